"""Following a place on the Sun: against sunpy's own coordinates."""

from __future__ import annotations

import pytest

from mirror.drms.times import parse_time
from mirror.errors import BadRequest
from mirror.services.cutouts.tracking import earth, tracked

DAY = 86400.0


@pytest.mark.parametrize("time", ["2010.05.01_00:00:00_TAI", "2014.01.01_12:00:00_TAI", "2024.07.19_00:00:00_TAI"])
@pytest.mark.parametrize("place, days", [((-200.0, 300.0), 2.0), ((400.0, -500.0), -3.5), ((-10.0, 5.0), 0.25)])
def test_a_place_moves_as_sunpy_says(time, place, days):
    import astropy.units as u
    from astropy.coordinates import SkyCoord
    from astropy.time import Time
    from sunpy.coordinates import Helioprojective, get_earth, propagate_with_solar_surface, sun

    seconds = parse_time(time)
    at = Time(time.removesuffix("_TAI").replace(".", "-").replace("_", "T"), scale="tai")
    before, after = earth(seconds), earth(seconds + days * DAY)
    assert before.longitude == pytest.approx(sun.L0(at).deg, abs=1e-5)
    assert before.latitude == pytest.approx(sun.B0(at).deg, abs=1e-5)
    later = at + days * u.day
    seen = SkyCoord(*place, unit="arcsec", frame=Helioprojective(observer=get_earth(at), obstime=at, rsun=696000 * u.km))
    with propagate_with_solar_surface():
        moved = seen.transform_to(Helioprojective(observer=get_earth(later), obstime=later, rsun=696000 * u.km))
    assert tracked(place, days * DAY, before, after) == pytest.approx((moved.Tx.arcsec, moved.Ty.arcsec), abs=0.01)


def test_a_place_that_is_not_seen_is_an_error():
    now = earth(parse_time("2014.01.01_TAI"))
    with pytest.raises(BadRequest, match="beyond the limb"):
        tracked((1000.0, 0.0), 0.0, now, now)
    with pytest.raises(BadRequest, match="behind the limb"):
        tracked((900.0, 0.0), 5 * DAY, now, earth(parse_time("2014.01.06_TAI")))


def test_nothing_moves_in_no_time():
    now = earth(parse_time("2014.01.01_TAI"))
    assert tracked((123.0, -456.0), 0.0, now, now) == pytest.approx((123.0, -456.0))
