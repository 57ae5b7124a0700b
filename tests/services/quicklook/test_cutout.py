"""Cutouts of images: which pixels, the same values, the pointing moved along, stored as they were."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import BadRequest, Refused
from mirror.services.quicklook import tiles
from mirror.services.quicklook.cutout import Box, Window, box_of, cutout

ROWS, COLUMNS = 40, 60
POINTING = {
    "CTYPE1": "HPLN-TAN", "CTYPE2": "HPLT-TAN", "CUNIT1": "arcsec", "CUNIT2": "arcsec", "CRVAL1": 0.0, "CRVAL2": 0.0,
    "CDELT1": 2.0, "CDELT2": 2.0, "CRPIX1": 30.25, "CRPIX2": 20.5, "CROTA2": 179.9,
}  # fmt: skip
MADE = "somebody cut this out"


def image(tmp_path, data, kind=None, primary=False, **cards):
    header = fits.Header(POINTING | cards)
    if kind:
        hdus = [fits.PrimaryHDU(), fits.CompImageHDU(data, header, compression_type=kind, tile_shape=(1, data.shape[1]))]
    else:
        hdus = [fits.PrimaryHDU(data, header)] if primary else [fits.PrimaryHDU(), fits.ImageHDU(data, header)]
    for name in ("BSCALE", "BZERO", "BLANK"):
        if name in cards:
            hdus[-1].header[name] = cards[name]
    path = tmp_path / "a.fits"
    fits.HDUList(hdus).writeto(path, overwrite=True, output_verify="fix")
    return path


def cut(path, window):
    """What a cutout has: the image's header and data; it is a valid file."""
    with path.open("rb") as file:
        made = cutout(file, path.read_bytes().decode("latin-1"), window, MADE, 1_700_000_000.0)
    with fits.open(io.BytesIO(made), checksum=True) as hdus:
        hdus.verify("exception")
        found = hdus[-1] if len(hdus) > 1 else hdus[0]
        return type(found).__name__, found.header.copy(), np.array(found.data)


WINDOW = Window((31.0, 21.0), (7.0, 4.0), "pixels")
INTEGERS = np.arange(ROWS * COLUMNS, dtype=np.int32).reshape(ROWS, COLUMNS) - 1000


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_1", "GZIP_2", None])
def test_integers_stay_as_they_are_stored(tmp_path, kind):
    path = image(tmp_path, INTEGERS, kind, BSCALE=0.1, BZERO=5.0, BLANK=-1000)
    with fits.open(path) as whole:
        expected = np.array(whole[1].data)[19:23, 27:34]
    name, header, data = cut(path, WINDOW)
    assert name == ("CompImageHDU" if kind else "ImageHDU")
    np.testing.assert_array_equal(data, expected)
    assert (header["CRPIX1"], header["CRPIX2"]) == (30.25 - 27, 20.5 - 19)
    assert (header["BSCALE"], header["BZERO"]) == (0.1, 5.0)
    assert header["CDELT1"] == 2.0
    assert "columns 28-34, rows 20-23 of 60 x 40" in "".join(header["HISTORY"])


@pytest.mark.parametrize("kind", ["RICE_1", "GZIP_2", None])
def test_floating_point_values_are_the_same(tmp_path, kind):
    values = np.random.default_rng(1).normal(0, 100, (ROWS, COLUMNS)).astype(np.float32)
    path = image(tmp_path, values, kind, primary=kind is None)
    with fits.open(path) as whole:
        expected = np.array(whole[1 if kind else 0].data)[19:23, 27:34]
    name, _, data = cut(path, WINDOW)
    assert name == ("ImageHDU" if kind else "PrimaryHDU")
    np.testing.assert_array_equal(data, expected)


@pytest.mark.parametrize("kind", ["u1", "i2", "i4"])
def test_a_cutout_is_the_same_without_the_codec_that_is_not_public(tmp_path, monkeypatch, kind):
    pixels = np.random.default_rng(2).integers(0, 250, (ROWS, COLUMNS)).astype(kind)
    path = image(tmp_path, pixels, "RICE_1", BSCALE=0.1, BZERO=5.0, BLANK=7)
    name, header, data = cut(path, WINDOW)
    monkeypatch.setattr(tiles, "rice", lambda: None)
    others_name, others, others_data = cut(path, WINDOW)
    np.testing.assert_array_equal(data, others_data)
    assert data.dtype == others_data.dtype
    assert name == others_name
    kept = [card for card in others.items() if card[0] not in ("EXTNAME", "CHECKSUM", "DATASUM")]
    assert [card for card in header.items() if card[0] not in ("CHECKSUM", "DATASUM")] == kept


def test_a_keyword_without_a_value_is_none(tmp_path):
    path = image(tmp_path, INTEGERS, "RICE_1", CROTA2=None, CRPIX2=None)
    for window in (WINDOW, Window((0.0, 0.0), (5.0, 5.0))):
        _, header, data = cut(path, window)
        assert data.size
        assert (header["CROTA2"], header["CRPIX2"]) == (None, None)


def test_averages_leave_out_what_has_no_value_and_move_the_pointing(tmp_path):
    blank = INTEGERS.copy()
    blank[0, 0:2], blank[0:2, 2:4] = -9999, -9999
    path = image(tmp_path, blank, "RICE_1", BSCALE=0.5, BZERO=1.0, BLANK=-9999)
    _, header, data = cut(path, Window(scale=2))
    assert data.shape == (ROWS // 2, COLUMNS // 2)
    assert data[0, 0] == pytest.approx((INTEGERS[1, 0:2] * 0.5 + 1.0).mean())
    assert np.isnan(data[0, 1])
    assert data[3, 4] == pytest.approx((INTEGERS[6:8, 8:10] * 0.5 + 1.0).mean())
    assert "BSCALE" not in header
    # The edge of the first pixel stays where it is on the sky.
    assert (header["CDELT1"], header["CRPIX1"]) == (4.0, (30.25 - 0.5) / 2 + 0.5)
    _, _, odd = cut(path, Window((31.0, 21.0), (7.0, 5.0), "pixels", scale=2))
    assert odd.shape == (2, 3)


@given(st.floats(-80, 80), st.floats(-50, 50), st.floats(0.5, 60), st.floats(0.5, 40))
def test_a_window_in_arcsec_has_the_pixels_that_sunpy_gives(x, y, width, height):
    import astropy.units as u
    import sunpy.map
    from astropy.coordinates import SkyCoord

    header = POINTING | {
        "DATE-OBS": "2014-01-01T00:00:00", "DSUN_OBS": 1.471e11, "HGLN_OBS": 0.0, "HGLT_OBS": -3.0, "RSUN_REF": 6.96e8,
    }  # fmt: skip
    whole = sunpy.map.Map(INTEGERS.astype(float), header)
    cards = fits.Header(POINTING).tostring()
    cards = [cards[i : i + 80] for i in range(0, len(cards), 80)]
    corner = SkyCoord((x - width / 2) * u.arcsec, (y - height / 2) * u.arcsec, frame=whole.coordinate_frame)
    expected = whole.submap(corner, width=width * u.arcsec, height=height * u.arcsec)
    window = Window((x, y), (width, height))
    if 0 in expected.data.shape or width > 2 * COLUMNS - 4 or height > 2 * ROWS - 4:
        with suppress(BadRequest):
            box_of(window, cards, (ROWS, COLUMNS))
            assert 0 not in expected.data.shape
        return
    box = box_of(window, cards, (ROWS, COLUMNS))
    assert box.shape == expected.data.shape
    assert INTEGERS[box.bottom, box.left] == expected.data[0, 0]


def test_a_rigid_window_has_one_shape_wherever_it_lies():
    cards = fits.Header(POINTING).tostring()
    cards = [cards[i : i + 80] for i in range(0, len(cards), 80)]
    shapes = {box_of(Window((n / 7, n / 11), (21.0, 13.0), rigid=True), cards, (ROWS, COLUMNS)).shape for n in range(40)}
    assert len(shapes) == 1, shapes


@pytest.mark.parametrize(
    "window, problem",
    [
        (Window((500.0, 20.0), (5.0, 5.0), "pixels"), "lies outside the image: columns 498 to 502"),
        (Window((30.0, 20.0), (61.0, 5.0), "pixels"), "61 x 5 pixels; expected at most the 60 x 40"),
        (Window((30.0, 20.0), (5.0, 5.0), "pixels", scale=8), "scale is 1/8; expected at most 1/5 for 5 x 5 pixels"),
        (Window((4e5, 0.0), (5.0, 5.0)), "is no place on the sky"),
    ],
)
def test_what_does_not_fit_is_one_clear_error(tmp_path, window, problem):
    with pytest.raises(BadRequest, match=problem):
        cut(image(tmp_path, INTEGERS), window)


def test_arcsec_need_helioprojective_coordinates(tmp_path):
    path = image(tmp_path, INTEGERS, CTYPE1="CRLN-CEA", CTYPE2="CRLT-CEA")
    with pytest.raises(BadRequest, match="units=arcsec does not apply to an image in CRLN and CRLT; expected units=pixels"):
        cut(path, Window((0.0, 0.0), (5.0, 5.0)))
    assert cut(path, WINDOW)[2].shape == (4, 7)


def test_a_cutout_over_the_edge_is_smaller(tmp_path):
    _, header, data = cut(image(tmp_path, INTEGERS), Window((1.0, 1.0), (9.0, 9.0), "pixels"))
    assert data.shape == (5, 5)
    assert header["CRPIX1"] == 30.25


def test_what_is_no_image_of_two_dimensions_is_refused(tmp_path):
    with pytest.raises(Refused, match="no image of two dimensions"):
        cut(image(tmp_path, np.zeros((3, 4, 5), np.int16)), WINDOW)


def test_a_box_knows_its_shape():
    assert Box(1, 4, 10, 12).shape == (2, 3)


def test_a_place_on_the_sky_where_the_image_has_no_values_is_an_error_and_pixels_are_not(tmp_path):
    blank = INTEGERS.copy()
    blank[:] = -9999
    path = image(tmp_path, blank, "RICE_1", BLANK=-9999)
    with pytest.raises(BadRequest, match=r"at 0, 0 arcsec has no values: all of its \d x \d pixels are missing, as off the disk"):
        cut(path, Window((0, 0), (3, 3)))
    cut(path, Window((5, 5), (3, 3), "pixels"))
    cut(path, Window((0, 0), (3, 3), rigid=True))
