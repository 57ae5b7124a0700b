"""Rice-compressed rows of an image, as the tiles of a FITS binary table; astropy does the compression."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirror.simulator.exports.loading import fits

Image = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Rows:
    """The compressed rows of an image, one after the other: how long each is, and their bytes."""

    lengths: NDArray[np.int64]
    data: bytes

    def with_first(self, other: Rows) -> Rows:
        """These rows, the first of them replaced by those of ``other``."""
        count = len(other.lengths)
        kept = self.data[int(self.lengths[:count].sum()) :]
        return Rows(np.concatenate([other.lengths, self.lengths[count:]]), other.data + kept)

    def table(self) -> bytes:
        """The data unit without its padding: length and offset of each row, then the bytes."""
        descriptors = np.empty((len(self.lengths), 2), dtype=">i4")
        descriptors[:, 0] = self.lengths
        descriptors[:, 1] = np.cumsum(self.lengths) - self.lengths
        return descriptors.tobytes() + self.data


def compress(image: Image) -> Rows:
    """The rows of an image of 8 (unsigned), 16 or 32 bits, each a tile of its own."""
    hdu = fits().CompImageHDU(image, compression_type="RICE_1", tile_shape=(1, image.shape[1]))
    file = io.BytesIO()
    fits().HDUList([fits().PrimaryHDU(), hdu]).writeto(file)
    data = file.getvalue()
    with fits().open(io.BytesIO(data), disable_image_compression=True) as hdus:
        head, start = hdus[1].header, hdus[1].fileinfo()["datLoc"]
    width, count = head["NAXIS1"], head["NAXIS2"]
    descriptors = np.frombuffer(data, dtype=">i4", count=count * width // 4, offset=start)
    lengths, offsets = descriptors.reshape(count, -1)[:, :2].T.astype(np.int64)
    heap = start + head.get("THEAP", count * width)
    pieces = [data[heap + at : heap + at + size] for at, size in zip(offsets, lengths, strict=True)]
    return Rows(lengths, b"".join(pieces))
