"""What images show with --side: regions where HARPs are, flares at their times, oscillations with the dispersion of modes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits

from mirror.drms.times import parse_time
from mirror.simulator.archive import Archive
from mirror.simulator.evaluate import select
from mirror.simulator.exports import shelf as shelves
from mirror.simulator.exports.shelf import Shelf
from mirror.simulator.synthetic import synthetic_series
from mirror.simulator.synthetic.scenes import FLARES, light_curve, regions_at, scene_of
from mirror.wire.text import from_wire

SIDE = 128


@pytest.fixture(scope="module")
def shelf():
    series = [s for s in synthetic_series(lambda: parse_time("2026.10.01_TAI"), SIDE) if s.structure.name in NAMES]
    archive = Archive(series)
    return archive, Shelf(archive, None, scene_of)


NAMES = {"aia.lev1", "aia.lev1_euv_12s", "hmi.M_720s", "hmi.V_45s", "hmi.B_720s", "hmi.sharp_cea_720s"}


def image(shelf, ds, segment):
    """Pixels of the first record, and some of its keywords as they print."""
    archive, files = shelf
    [wanted] = archive.wanted(ds)
    rows = select(wanted.selection, wanted.data)
    data = files.read(from_wire(rows.segment(segment).paths[0]))
    told = {name: float(rows.printed(name, True)[0]) for name in ("CRPIX1", "CRPIX2", "CDELT1", "CDELT2", "RSUN_OBS")}
    with fits.open(io.BytesIO(data)) as hdus:
        return np.array(hdus[-1].data, float), told


def test_smaller_images_point_to_the_same_places(shelf):
    pixels, told = image(shelf, "hmi.M_720s[2011.02.15_01:48:00_TAI]", "magnetogram")
    assert pixels.shape == (SIDE, SIDE)
    assert told["CDELT1"] == told["CDELT2"] == pytest.approx(0.504 * 4096 / SIDE, rel=1e-3)
    y, x = np.indices(pixels.shape) + 1.0
    off = np.hypot(x - told["CRPIX1"], y - told["CRPIX2"]) * told["CDELT1"] / told["RSUN_OBS"]
    assert np.isnan(pixels[off > 1.01]).all()
    assert np.isfinite(pixels[off < 0.99]).all()


def test_a_region_is_where_its_harp_is(shelf):
    time = parse_time("2011.02.15_01:48:00_TAI")
    [region] = [r for r in regions_at(time) if r.number == 377]
    pixels, told = image(shelf, "hmi.M_720s[2011.02.15_01:48:00_TAI]", "magnetogram")
    _, x = np.unravel_index(np.nanargmax(np.abs(pixels)), pixels.shape)
    west = -(x + 1 - told["CRPIX1"]) * told["CDELT1"] / told["RSUN_OBS"]  # the camera is upside down
    assert abs(np.degrees(np.arcsin(west / np.cos(np.radians(region.latitude)))) - region.longitude) < region.width / 2


def test_a_flare_is_bright_at_its_peak_and_not_an_hour_before(shelf):
    before, _ = image(shelf, "aia.lev1_euv_12s[2011.02.15_00:55:00_TAI][131]", "image")
    peak, _ = image(shelf, "aia.lev1_euv_12s[2011.02.15_01:58:30_TAI][131]", "image")
    assert peak.max() > 5 * before.max()
    flare = FLARES[377]
    assert light_curve(flare, 131, flare.peak + 120) > 2 * light_curve(flare, 131, flare.peak + 1800)
    assert light_curve(flare, 304, flare.peak) > light_curve(flare, 304, flare.peak + 600)


def test_two_times_have_two_pictures_and_one_time_always_the_same(shelf):
    one, _ = image(shelf, "hmi.V_45s[2014.01.01_00:00:00_TAI]", "Dopplergram")
    two, _ = image(shelf, "hmi.V_45s[2014.01.01_00:02:15_TAI]", "Dopplergram")
    shelves._made.cache_clear()  # as in another process
    again = Shelf(shelf[0], None, scene_of)
    same, _ = image((shelf[0], again), "hmi.V_45s[2014.01.01_00:00:00_TAI]", "Dopplergram")
    np.testing.assert_array_equal(one, same)
    middle = slice(SIDE // 2 - 20, SIDE // 2 + 20)
    assert 150 < np.nanstd((one - two)[middle, middle]) < 1500, "half a period of the strongest waves"


def test_what_is_not_painted_is_as_ever_and_patches_keep_their_size(shelf):
    pixels, _ = image(shelf, "hmi.B_720s[2014.01.01_00:00:00_TAI]", "inclination")
    assert pixels.shape == (SIDE, SIDE)
    patch, told = image(shelf, "hmi.sharp_cea_720s[377][2011.02.15_01:48:00_TAI]", "Br")
    assert patch.shape[1] > SIDE
    assert told["CDELT1"] == pytest.approx(0.03)
    assert np.nanmax(patch) > 500 > -500 > np.nanmin(patch)
