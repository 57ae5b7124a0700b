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
def test_a_picture_has_north_up(kind, form):
    with Image.open(io.BytesIO(picture(RAMP, kind))) as image:
        pixels = np.asarray(image)
        assert (image.format, image.size) == (form, (128, 64))
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
    images = [np.roll(RAMP, 9 * n, axis=1) for n in range(5)]
    frames = [picture(image, "jpg") for image in images]
    data = film(images, "mp4")
    tables = boxes(data)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        tables = boxes(data, *tables[name])
    sizes = struct.unpack_from(">5I", data, tables[b"stsz"][0] + 12)
    starts = struct.unpack_from(">5I", data, tables[b"stco"][0] + 8)
    assert [data[at : at + size] for at, size in zip(starts, sizes, strict=True)] == frames


class Bits:
    """A cursor over bits."""

    def __init__(self, data):
        self.text, self.place = "".join(f"{byte:08b}" for byte in data), 0

    def take(self, width):
        self.place += width
        return int(self.text[self.place - width : self.place], 2)

    def skip(self, word):
        found = self.text.startswith(word, self.place)
        self.place += len(word) * found
        return found


SIZES = {"100": 0, "00": 1, "01": 2, "101": 3, "110": 4, "1110": 5, "11110": 6, "111110": 7, "1111110": 8}
MATRIX = [  # ISO 11172-2, 2.4.3.2
    [8, 16, 19, 22, 26, 27, 29, 34], [16, 16, 22, 24, 27, 29, 34, 37], [19, 22, 26, 27, 29, 34, 34, 38],
    [22, 22, 26, 27, 29, 34, 37, 40], [22, 26, 27, 29, 32, 35, 40, 48], [26, 27, 29, 32, 35, 40, 48, 58],
    [26, 27, 29, 34, 38, 46, 56, 69], [27, 29, 35, 38, 46, 56, 69, 83],
]  # fmt: skip
ZIGZAG = (
    "0 1 8 16 9 2 3 10 17 24 32 25 18 11 4 5 12 19 26 33 40 48 41 34 27 20 13 6 7 14 21 28 35 42 49 56 57 50 43 36 29 22 "
    "15 23 30 37 44 51 58 59 52 45 38 31 39 46 53 60 61 54 47 55 62 63"
)


def block(bits, coarse, before):
    """A block of brightness: its 8 by 8 pixels, and its mean."""
    size = next(size for word, size in SIZES.items() if bits.skip(word))
    change = bits.take(size) if size else 0
    mean = before + (change if not size or change >> (size - 1) else change - (1 << size) + 1)
    spectrum, place = np.zeros(64), 0
    spectrum[0] = 8 * mean
    places = [int(each) for each in ZIGZAG.split()]
    while not bits.skip("10"):
        assert bits.skip("000001")
        place += bits.take(6) + 1
        level = bits.take(8)
        level = bits.take(8) if level == 0 else bits.take(8) - 256 if level == 128 else (level ^ 128) - 128
        spectrum[places[place]] = 2 * level * coarse * MATRIX[places[place] // 8][places[place] % 8] / 16
    waves = np.cos(np.pi / 16 * np.outer(np.arange(8), 2 * np.arange(8) + 1)) / 2
    waves[0] /= np.sqrt(2)
    return waves.T @ spectrum.reshape(8, 8) @ waves, mean


def row(data, width):
    """16 lines of a frame."""
    bits, before, lines = Bits(data), 128, np.zeros((16, width))
    coarse = bits.take(5)
    assert bits.take(1) == 0
    for left in range(0, width, 16):
        assert bits.skip("11")
        for y, x in ((0, 0), (0, 8), (8, 0), (8, 8)):
            lines[y : y + 8, left + x : left + x + 8], before = block(bits, coarse, before)
        assert bits.skip("00100010")
    assert set(bits.text[bits.place :]) <= {"0"}
    return lines


def test_a_film_of_mpeg_1_shows_its_images():
    images = [np.roll(RAMP, 9 * n, axis=1) for n in range(3)]
    images[2][:16, :16] = np.arange(256).reshape(16, 16) % 2 * 8000  # the sharpest there is
    data = film(images, "mpg")
    assert data.startswith(b"\0\0\1\xb3" + bytes([128 >> 4, 0, 64]))
    assert data.endswith(b"\0\0\1\xb7")
    frames = data.split(b"\0\0\1\0")[1:]
    assert len(frames) == 3
    for frame, image in zip(frames, images, strict=True):
        _, *rows = frame.split(b"\0\0\1")
        seen = np.concatenate([row(each[1:], 128) for each in rows if each[0] <= 0xAF])
        with Image.open(io.BytesIO(picture(image, "png"))) as drawn:
            difference = np.abs(seen - np.asarray(drawn))
        assert difference.mean() < 4
        assert difference.max() < 40


def test_a_film_of_images_of_several_sizes_is_as_large_as_the_first():
    data = film([RAMP, RAMP[:32, :200], RAMP[:, :64]], "mpg")
    assert data.count(b"\0\0\1\0") == 3
    assert data.count(b"\0\0\1\4") == 3  # the fourth row of 16 lines
    assert b"\0\0\1\5" not in data


def test_images_larger_than_an_mpg_film_may_be_are_made_smaller():
    data = film([np.zeros((16, 4096), np.int16)], "mpg")
    assert int.from_bytes(data[4:7]) >> 12 == 2048
