"""Images from a mirror: sunpy maps, and cubes over many files that read what is looked at.

A cube asks the mirror for the pixels that a slice needs, as a cutout of each file: the mirror reads these tiles only.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mirror.api.cutouts import CutoutQuery
from mirror.client.frames import needed
from mirror.errors import BadRequest

#: Gets the bytes of a file, or of the part of it that a query says; the first of them, if so many are named.
Get = Callable[[CutoutQuery, int | None], bytes]
#: Bytes in which the headers of a file are.
HEAD = 256 * 1024
#: Rows of an image in one chunk of a cube: some 8 MB of a full disk.
ROWS = 512


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
    """The images of files as an xarray.DataArray over a dask array, (time, y, x), floats, NaN where there is no value.

    ``frames`` have the record and what gets its file. All have the shape of the first: a frame of another, as cutouts in
    arcsec may be by a pixel, is cut or filled up.
    """
    lazy, labelled = needed("dask.array", "cube"), needed("xarray", "cube")
    part = asked != CutoutQuery()
    first, header = _image(frames[0][1](asked if part else _pixels(slice(0, 1), slice(0, 1)), None))
    shape = first.shape if part else _shape(frames[0][1])
    kind = np.dtype(np.float64 if first.dtype.itemsize > 4 else np.float32)
    chunk = shape if part else (min(ROWS, shape[0]), shape[1])
    stacked = lazy.stack([
        lazy.from_array(_Frame(get, asked if part else None, shape, kind), chunks=chunk, asarray=False, meta=np.empty((0, 0), kind))
        for _, get in frames
    ])  # fmt: skip
    coordinates = {"time": times, "record": ("time", [record for record, _ in frames])}
    unit = header.get("BUNIT", "")
    return labelled.DataArray(stacked, dims=("time", "y", "x"), coords=coordinates, attrs={**attributes, "units": unit})


@dataclass(frozen=True)
class _Frame:
    """One image as dask takes arrays: what is sliced is fetched. ``part``: the cutout that the frame is, all of it at once."""

    get: Get
    part: CutoutQuery | None
    shape: tuple[int, int]
    dtype: Any
    ndim: int = 2

    def __getitem__(self, key: Any) -> Any:
        """The pixels of a slice of rows and one of columns."""
        rows, columns = (slice(*each.indices(length)) for each, length in zip(key, self.shape, strict=True))
        if self.part is not None:
            return self._fitted(_image(self.get(self.part, None))[0])[rows, columns]
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return np.empty((0, 0), self.dtype)
        asked = _pixels(slice(rows.start, rows.stop), slice(columns.start, columns.stop))
        return np.asarray(_image(self.get(asked, None))[0], self.dtype)[:: rows.step, :: columns.step]

    def _fitted(self, image: Any) -> Any:
        made = np.full(self.shape, np.nan, self.dtype)
        height, width = (min(pair) for pair in zip(self.shape, image.shape, strict=True))
        made[:height, :width] = image[:height, :width]
        return made


def _pixels(rows: slice, columns: slice) -> CutoutQuery:
    """The question for these pixels, counted from 0."""
    return CutoutQuery(
        x=(columns.start + 1 + columns.stop) / 2, y=(rows.start + 1 + rows.stop) / 2,
        width=columns.stop - columns.start, height=rows.stop - rows.start, units="pixels",
    )  # fmt: skip


def _shape(get: Get) -> tuple[int, int]:
    """Rows and columns of an image, as the header tells, which is at the beginning."""
    from astropy.io import fits  # noqa: PLC0415  (takes long to import)

    with warnings.catch_warnings(), fits.open(io.BytesIO(get(CutoutQuery(), HEAD)), memmap=False) as hdus:
        warnings.simplefilter("ignore")  # the rest of the file is not there
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
