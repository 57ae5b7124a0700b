"""What is written is what astropy reads, and what is read of a file of astropy's is what it has; with its codec and without."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mirror.fits.header import Header
from mirror.fits.integrity import fits_problem, units
from mirror.services.quicklook import tiles
from mirror.services.quicklook.tiles import RiceRows, compressed, empty_primary, plain, rice

SHAPES = arrays.array_shapes(min_dims=2, max_dims=2, max_side=70)
INTEGERS = st.sampled_from(["u1", ">i2", "i2", "i4", ">i4"])


def images(kinds):
    """Images of whole ranges of numbers, and of few, which compress."""
    filled = kinds.flatmap(lambda kind: arrays.arrays(kind, SHAPES))
    few = st.tuples(kinds, SHAPES, st.integers(0, 2**32 - 1), st.integers(1, 100)).map(
        lambda drawn: np.random.default_rng(drawn[2]).integers(0, drawn[3], drawn[1]).astype(drawn[0])
    )
    return filled | few


def file_of(stored, *, primary=False):
    return (b"" if primary else empty_primary()) + Header(stored.cards).to_bytes() + stored.data


def read_by_astropy(content):
    assert fits_problem(lambda at, count: content[at : at + count], len(content), "a.fits") is None
    with fits.open(io.BytesIO(content), do_not_scale_image_data=True) as hdus:
        hdus.verify("exception")
        return hdus[-1].header.copy(), np.array(hdus[-1].data)


@given(images(INTEGERS), st.sampled_from(["RICE_1", "GZIP_1", "GZIP_2"]))
def test_astropy_reads_the_integers_that_were_compressed(pixels, kind):
    content = file_of(compressed(pixels, kind))
    _, data = read_by_astropy(content)
    np.testing.assert_array_equal(data, pixels)
    assert data.dtype.newbyteorder("=") == pixels.dtype.newbyteorder("=")
    with fits.open(io.BytesIO(content)) as hdus:
        assert hdus[1].compression_type == kind
    assert content == file_of(compressed(pixels, kind))  # the same bytes each time


@given(images(st.sampled_from(["i8", ">i8"])), st.sampled_from(["GZIP_1", "GZIP_2"]))
def test_integers_of_64_bits_are_compressed_by_gzip(pixels, kind):
    np.testing.assert_array_equal(read_by_astropy(file_of(compressed(pixels, kind)))[1], pixels)


@given(images(INTEGERS) | arrays.arrays(st.sampled_from(["f4", ">f8", "i8"]), SHAPES), st.booleans())
def test_astropy_reads_plain_pixels(pixels, primary):
    header, data = read_by_astropy(file_of(plain(pixels, primary=primary), primary=primary))
    np.testing.assert_array_equal(data, pixels)
    assert data.dtype.newbyteorder("=") == pixels.dtype.newbyteorder("=")
    assert ("XTENSION" in header) is not primary


def rice_file(pixels):
    out = io.BytesIO()
    image = fits.CompImageHDU(pixels, compression_type="RICE_1", tile_shape=(1, pixels.shape[1]))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(out)
    return out.getvalue()


def rows_of(content):
    *_, unit = units(lambda at, count: content[at : at + count], len(content))
    return RiceRows(unit.start, unit.start + 8 * unit.integer("NAXIS2"), unit.integer("ZNAXIS1"), unit.integer("ZVAL1"), unit.integer("ZVAL2"))


def without_beginnings():
    return replace(rice(), begin={})


@given(images(st.sampled_from(["u1", "i2", "i4"])), st.data())
def test_what_astropy_wrote_is_read_row_by_row(pixels, draw):
    content = rice_file(pixels)
    rows, columns = pixels.shape
    bottom, left = draw.draw(st.integers(0, rows - 1)), draw.draw(st.integers(0, columns - 1))
    top, right = draw.draw(st.integers(bottom + 1, rows)), draw.draw(st.integers(left + 1, columns))
    asked = rows_of(content), (lambda at, count: content[at : at + count]), (bottom, top), (left, right)
    found = asked[0].read(*asked[1:])
    np.testing.assert_array_equal(found, pixels[bottom:top, left:right])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "rice", without_beginnings)
        np.testing.assert_array_equal(asked[0].read(*asked[1:]), found)
        patch.setattr(tiles, "rice", lambda: None)
        assert asked[0].read(*asked[1:]) is None


@pytest.mark.parametrize("kind", ["u1", "i2", "i4"])
@pytest.mark.parametrize("known", [rice, without_beginnings], ids=["beginnings", "whole tiles"])
def test_a_tile_that_ends_too_early_is_an_error(monkeypatch, kind, known):
    monkeypatch.setattr(tiles, "rice", known)
    content = rice_file(np.random.default_rng(1).integers(0, 200, (3, 64)).astype(kind))
    at = rows_of(content)
    content = content[: at.table] + np.array([8, 0], ">i4").tobytes() + content[at.table + 8 :]
    with pytest.raises(rice().problem, match="hit end"):
        at.read(lambda start, count: content[start : start + count], (0, 2), (0, 60))


def test_without_the_codec_astropy_writes(monkeypatch):
    pixels = np.arange(30, dtype=np.int16).reshape(5, 6)
    monkeypatch.setattr(tiles, "rice", lambda: None)
    stored = compressed(pixels, "RICE_1")
    np.testing.assert_array_equal(read_by_astropy(file_of(stored))[1], pixels)


def broken(*_):
    raise TypeError("expected six arguments")


def test_a_codec_that_does_anything_else_is_not_used():
    assert rice() is not None
    for other in (
        replace(rice(), encode=lambda *_: b""),
        replace(rice(), decode=lambda *_: bytes(20)),
        replace(rice(), decode=broken),
        replace(rice(), begin={4: lambda *_: 0}),
        replace(rice(), begin={4: broken}),
    ):
        assert not other.works()
    assert without_beginnings().works()


def test_this_version_of_astropy_has_the_codec_and_decodes_the_beginnings_of_tiles():
    assert set(rice().begin) == {1, 2, 4}
