"""Images from a mirror: sunpy maps, and lazy cubes over many files.

A cube asks the mirror for the pixels that a slice needs, as a cutout of each file: the mirror reads only these tiles.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mirror.api.images import CutoutQuery
from mirror.client.frames import needed
from mirror.errors import BadRequest

#: Returns the bytes of a file, or of the part in a query; if a number is given, only that many from the beginning.
Get = Callable[[CutoutQuery, int | None], bytes]
#: The headers of a file are within this many bytes.
HEAD = 256 * 1024
#: Most rows of an image in one chunk of a cube: some 13 MB for a full disk.
ROWS = 1024


def sun_map(data: bytes) -> Any:
    """A FITS file as a sunpy Map."""
    maps = needed("sunpy.map", "maps")
    image, header = _image(data)
    return maps.Map(image, header)


def sun_maps(files: Sequence[bytes]) -> Any:
    """A Map, or a MapSequence of several."""
    made = [sun_map(data) for data in files]
    return made[0] if len(made) == 1 else needed("sunpy.map", "maps").Map(made, sequence=True)


def cube(frames: Sequence[tuple[str, Get]], asked: CutoutQuery, times: Any, attributes: dict[str, Any]) -> Any:
    """The images of files as an xarray.DataArray over a dask array: (time, y, x), floats, NaN where there is no value.

    ``frames`` has records, each with a function that gets its file. All images have the shape of the first: one that
    differs, as cutouts in arcsec may by a pixel, is cut or padded.
    """
    lazy, labelled = needed("dask.array", "cube"), needed("xarray", "cube")
    part = asked != CutoutQuery()
    first, header = _image(frames[0][1](asked if part else _pixels(slice(0, 1), slice(0, 1)), None))
    shape = first.shape if part else _shape(frames[0][1])
    kind = np.dtype(np.float64 if first.dtype.itemsize > 4 else np.float32)
    chunk = shape if part else (_rows(shape[0]), shape[1])
    images = _Images([get for _, get in frames], asked if part else None, (len(frames), *shape), kind)
    # One array, not a stack of many: dask passes slices on to it, so that only their pixels are requested.
    stacked = lazy.from_array(images, chunks=(1, *chunk), asarray=False, meta=np.empty((0, 0, 0), kind))
    coordinates = {"time": times, "record": ("time", [record for record, _ in frames])}
    unit = header.get("BUNIT", "")
    return labelled.DataArray(stacked, dims=("time", "y", "x"), coords=coordinates, attrs={**attributes, "units": unit})


@dataclass(frozen=True, eq=False)
class _Images:
    """Images in the form that dask takes: slicing fetches. With ``part`` each is that cutout, fetched as a whole."""

    gets: Sequence[Get]
    part: CutoutQuery | None
    shape: tuple[int, int, int]
    dtype: Any
    ndim: int = 3

    def __getitem__(self, key: tuple[Any, ...]) -> Any:
        """The pixels at slices, or lists, of images, rows and columns; a number removes its axis."""
        chosen = [np.atleast_1d(np.arange(length)[each]) for each, length in zip(key, self.shape, strict=True)]
        images, rows, columns = chosen
        made = np.empty(tuple(map(len, chosen)), self.dtype)
        if made.size:
            for place, n in enumerate(images.tolist()):
                made[place] = self._of(self.gets[n], rows, columns)
        return made[tuple(slice(None) if isinstance(each, slice) else 0 if np.ndim(each) == 0 else slice(None) for each in key)]

    def _of(self, get: Get, rows: Any, columns: Any) -> Any:
        """These rows and columns of an image, by their numbers from 0; everything between them is requested."""
        if self.part is not None:
            return self._fitted(_image(get(self.part, None))[0])[np.ix_(rows, columns)]
        (bottom, top), (left, right) = ((int(each.min()), int(each.max()) + 1) for each in (rows, columns))
        found = _image(get(_pixels(slice(bottom, top), slice(left, right)), None))[0]
        return np.asarray(found, self.dtype)[np.ix_(rows - bottom, columns - left)]

    def _fitted(self, image: Any) -> Any:
        made = np.full(self.shape[1:], np.nan, self.dtype)
        height, width = (min(pair) for pair in zip(made.shape, image.shape, strict=True))
        made[:height, :width] = image[:height, :width]
        return made


def _rows(height: int) -> int:
    """Rows per chunk: for an odd number of chunks, so that none ends at the middle of the disk, where most look."""
    count = -(-height // ROWS)
    return -(-height // (count + 1 - count % 2))


def _pixels(rows: slice, columns: slice) -> CutoutQuery:
    """The query for these pixels, counted from 0."""
    return CutoutQuery(
        x=(columns.start + 1 + columns.stop) / 2, y=(rows.start + 1 + rows.stop) / 2,
        width=columns.stop - columns.start, height=rows.stop - rows.start, units="pixels",
    )  # fmt: skip


def _shape(get: Get) -> tuple[int, int]:
    """Rows and columns of an image, from its header, which is at the beginning."""
    from astropy.io import fits  # noqa: PLC0415  (takes long to import)

    with warnings.catch_warnings(), fits.open(io.BytesIO(get(CutoutQuery(), HEAD)), memmap=False) as hdus:
        warnings.simplefilter("ignore")  # the rest of the file is missing
        rows, columns = hdus[-1].shape
    return int(rows), int(columns)


def _image(data: bytes) -> tuple[Any, Any]:
    """Pixels and header of the image of a FITS file."""
    from astropy.io import fits  # noqa: PLC0415  (takes long to import)

    with fits.open(io.BytesIO(data)) as hdus:
        image = hdus[-1]
        if image.data is None or image.data.ndim != 2:
            raise BadRequest("the file has no image of two dimensions")
        return np.array(image.data), image.header
