"""Against astropy's and sunpy's own ephemerides, and against what observers wrote into their headers."""

import numpy as np
import pytest

from mirror.drms.times import parse_time, to_datetime
from mirror.simulator.synthetic.ephemeris import Ephemeris

TIMES = [
    "1996.05.02_TAI",
    "2003.10.28_11:00_TAI",
    "2010.06.21_TAI",
    "2014.01.03_TAI",
    "2019.03.20_TAI",
    "2026.09.08_TAI",
]
SECONDS = np.array([parse_time(text) for text in TIMES])


def test_the_view_from_earth_is_that_of_sunpy():
    sun = pytest.importorskip("sunpy.coordinates.sun")
    time = [to_datetime(seconds) for seconds in SECONDS.tolist()]
    view = Ephemeris().from_earth(SECONDS)
    assert view.latitude == pytest.approx(sun.B0(time).deg, abs=0.01)
    assert view.longitude == pytest.approx(sun.L0(time).deg, abs=0.2)
    assert view.distance / 149597870700.0 == pytest.approx(sun.earth_distance(time).to_value("AU"), abs=1e-4)
    assert view.rotation.tolist() == [int(number) for number in sun.carrington_rotation_number(time)]


@pytest.mark.parametrize(
    "time,distance,latitude,velocities",
    [
        ("2014.03.01_00:01:25.36_TAI", 148205511547.7, -7.226688, (3300.69, 29699.78, -1365.25)),
        ("2011.02.15_00:00:35.34_TAI", 147724815128.0, -6.820544, (2812.01, 30057.50, -3110.63)),
        ("2024.06.28_00:00:08.21_TAI", 152059830419.2, 2.565958, (2669.48, 28415.00, 4945.65)),
    ],
)
def test_the_view_from_sdo_is_close_to_what_its_observers_wrote(time, distance, latitude, velocities):
    view = Ephemeris().from_sdo(np.array([parse_time(time)]))
    assert view.distance[0] == pytest.approx(distance, rel=1e-5)
    assert view.latitude[0] == pytest.approx(latitude, abs=0.002)
    assert (view.vr[0], view.vw[0], view.vn[0]) == pytest.approx(velocities, abs=15.0)


def test_interpolation_makes_no_steps_where_cells_of_the_grid_meet():
    times = np.arange(1.2e9, 1.2e9 + 30 * 86400.0, 600.0)
    view = Ephemeris().from_earth(times)
    assert np.gradient(view.distance, times) == pytest.approx(view.vr, abs=0.5)
    assert np.abs(np.diff(view.vr)).max() < 5.0


def test_the_carrington_rotation_changes_where_the_longitude_wraps():
    times = np.arange(1.0e9, 1.0e9 + 200 * 86400.0, 3600.0)
    view = Ephemeris().from_sdo(times)
    wraps = np.flatnonzero(np.diff(view.longitude) > 180.0)
    assert np.flatnonzero(np.diff(view.rotation)).tolist() == wraps.tolist()
    assert len(wraps) in (7, 8)
