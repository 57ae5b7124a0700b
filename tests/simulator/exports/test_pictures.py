"""Pictures and films of the simulator: real files that others can read."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from mirror.drms.export import Protocol
from mirror.errors import BadRequest
from mirror.simulator.exports.pictures import film, picture, shrink_of

RAMP = np.arange(64 * 128, dtype=np.int16).reshape(64, 128)


@pytest.mark.parametrize("kind, form", [("jpg", "JPEG"), ("png", "PNG")])
def test_a_picture_has_north_up_and_is_made_smaller_by_its_size(kind, form):
    with Image.open(io.BytesIO(picture(RAMP, kind, 2))) as image:
        pixels = np.asarray(image)
        assert (image.format, image.size) == (form, (64, 32))
    assert pixels[0].mean() > 200
    assert pixels[-1].mean() < 50


def test_missing_pixels_are_black_and_an_empty_image_is_a_picture_too():
    holes = RAMP.copy()
    holes[:, :64] = np.iinfo(np.int16).min
    for image in (holes, np.full_like(RAMP, np.iinfo(np.int16).min)):
        with Image.open(io.BytesIO(picture(image, "png"))) as drawn:
            assert np.asarray(drawn)[:, :64].max() == 0


def test_what_is_no_size_is_a_bad_request():
    assert shrink_of(Protocol("jpg,CT=grey.sao,SCALING=MINMAX,size=4")) == 4
    assert shrink_of(Protocol("jpg")) == 1
    for text in ("jpg,size=0", "jpg,size=x", "jpg,size=3"):
        with pytest.raises(BadRequest, match="expected one of 1, 2, 4, 8"):
            shrink_of(Protocol(text))


def boxes(data, start=0, end=None):
    """The boxes of an MP4 file by name, with where their content begins and ends."""
    found = {}
    end = len(data) if end is None else end
    while start < end:
        size, name = struct.unpack_from(">I4s", data, start)
        assert 8 <= size <= end - start
        found[name] = (start + 8, start + size)
        start += size
    assert start == end
    return found


def test_a_film_has_its_frames_where_its_tables_say():
    frames = [picture(np.roll(RAMP, 9 * n, axis=1), "jpg") for n in range(5)]
    data = film(frames, 128, 64)
    tables = boxes(data)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        tables = boxes(data, *tables[name])
    sizes = struct.unpack_from(">5I", data, tables[b"stsz"][0] + 12)
    starts = struct.unpack_from(">5I", data, tables[b"stco"][0] + 8)
    assert [data[at : at + size] for at, size in zip(starts, sizes, strict=True)] == frames
