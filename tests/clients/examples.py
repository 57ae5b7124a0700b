"""What the examples of drms, sunpy and aiapy do with JSOC, as tests that scripts/suites runs through a mirror.

Clients are as they come, and find JSOC by HTTP_PROXY; JSOC_EMAIL is an address that may export, and HOME a folder in
which astropy has kept nothing yet. What an example plots is computed here and looked at. These tests wait as the
clients wait, and so are not collected by default.
"""

from __future__ import annotations

import os
import re
import tarfile
from pathlib import Path
from urllib.request import urlopen

import astropy.units as u
import drms
import numpy as np
import pytest
from aiapy.calibrate import degradation, fetch_spikes, register, respike, update_pointing
from aiapy.calibrate.util import get_correction_table, get_pointing_table
from aiapy.util import sdo_location
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.time import Time
from sunpy.map import Map
from sunpy.net import Fido
from sunpy.net import attrs as a

JSOC = "http://jsoc.stanford.edu"
EMAIL = os.environ.get("JSOC_EMAIL", "")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def client():
    return drms.Client(email=EMAIL)


def exported(client, ds, folder, index=None, **how):
    """The paths of the files of an export, each of which is there and holds something."""
    result = client.export(ds, **how)
    assert result.has_succeeded() or result.wait(timeout=300), result.status
    paths = [Path(path) for path in result.download(folder, index=index).download]
    assert paths
    assert all(path.stat().st_size > 0 for path in paths)
    return paths


# ---- drms: exports ------------------------------------------------------------------------------------


def test_segments_as_they_are(client, tmp_path):
    ds = "hmi.sharp_720s[7451][2020.09.27_00:00:00_TAI]{continuum, magnetogram, field}"
    names = [path.name for path in exported(client, ds, tmp_path)]
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in names} == {"continuum", "magnetogram", "field"}


def test_segments_as_fits(client, tmp_path):
    ds = "hmi.sharp_720s[12519][2024.12.30_22:24:00_TAI/1d@8h]{continuum, magnetogram, field}"
    paths = exported(client, ds, tmp_path, method="url", protocol="fits")
    assert len(paths) == 9
    for path in paths:
        with fits.open(path) as hdus:
            assert hdus[1].header["HARPNUM"] == 12519


def test_a_jpeg(client, tmp_path):
    how = {"ct": "aia_304.lut", "min": 4, "max": 800, "scaling": "log", "size": 2}
    ds = "aia.lev1_euv_12s[2012-08-31T19:48:01Z][304]{image}"
    (path,) = exported(client, ds, tmp_path, protocol="jpg", protocol_args=how)
    assert path.read_bytes().startswith(b"\xff\xd8")


def test_a_movie(client, tmp_path):
    how = {"ct": "grey.sao", "min": -1500, "max": 1500, "scaling": "mag", "size": 8}
    ds = "hmi.M_720s[2025.01.29_23:12:00_TAI/5d@1h]{magnetogram}"
    (path,) = exported(client, ds, tmp_path, index=0, protocol="mp4", protocol_args=how)
    assert path.suffix == ".mp4"


def test_addresses_of_files(client):
    result = client.export("hmi.ic_720s[2015.01.01_00:00:00_TAI/10d@1d]{continuum}")
    assert len(result.urls) == 10
    assert all(re.fullmatch(f"{JSOC}/SUM[0-9]+/D[0-9]+/S[0-9]+/continuum.fits", url) for url in result.urls.url)


def test_directories_in_a_tar(client, tmp_path):
    (path,) = exported(client, "hmi.rdvflows_fd15_frame[2150][360]{Ux, Uy}", tmp_path, method="url-tar")
    with tarfile.open(path) as tar:
        assert {name.rpartition(".")[2] for name in tar.getnames()} >= {"Ux", "Uy"}


def test_a_cutout(client, tmp_path):
    patch = {
        "t_ref": "2025-01-01T04:33:30.000", "t": 0, "r": 0, "c": 0, "locunits": "arcsec", "boxunits": "arcsec",
        "x": -517.2, "y": -246, "width": 345.6, "height": 345.6,
    }  # fmt: skip
    ds = "aia.lev1_euv_12s[2025-01-01T04:33:30.000/1m@12s][171]{image}"
    paths = exported(client, ds, tmp_path, method="url", protocol="fits", process={"im_patch": patch})
    assert len(paths) == 5


def test_an_export_is_found_again_by_its_number(client, tmp_path):
    first = client.export("hmi.v_sht_2drls[2024.09.19_00:00:00_TAI]{rot}", method="url", protocol="as-is")
    assert first.wait(timeout=180)
    again = client.export_from_id(first.id)
    assert list(again.urls.url) == list(first.urls.url)
    assert all(Path(path).stat().st_size > 0 for path in again.download(tmp_path).download)


# ---- drms: keywords -----------------------------------------------------------------------------------


def test_series_with_their_notes(client):
    found = client.series(regex=r"hmi\.", full=True)
    assert {"name", "note"} <= set(found.columns)
    assert (found.note.str.len() > 0).any()


def test_keywords_of_a_series(client):
    keywords = client.info("hmi.v_45s").keywords
    assert keywords.loc["OBS_VR"].type == "double"
    assert keywords.loc["DATAMEAN"].units


def test_a_year_of_aia(client):
    keys = ["T_REC", "T_OBS", "DATAMIN", "DATAMAX", "DATAMEAN", "DATARMS", "DATASKEW", "DATAKURT", "QUALITY"]
    assert client.info("aia.lev1_euv_12s").keywords.loc["DATAMEAN"].linkinfo.startswith("lev1->")
    assert client.info("aia.lev1").keywords.loc["DATAMEAN"].note
    found = client.query("aia.lev1_euv_12s[2014-01-01T00:00:01Z/365d@1d][335]", key=keys)
    good = found[found.QUALITY == 0]
    assert 300 < len(good) <= len(found) == 365
    assert drms.to_datetime(good.T_REC).is_monotonic_increasing
    assert good.DATAMEAN.dtype.kind == "f"


def test_six_years_of_intensity(client):
    found = client.query("hmi.ic_720s[2010.05.01_TAI-2016.04.01_TAI@6h]", key=["T_REC", "DATAMEAN", "DATARMS"])
    assert len(found) > 8000
    assert drms.to_datetime(found.T_REC).is_monotonic_increasing


def test_six_years_of_the_polar_field(client):
    found = client.query("hmi.meanpf_720s[2010.05.01_TAI-2016.04.01_TAI@12h]", key=["T_REC", "CAPN2", "CAPS2"])
    found.index = drms.to_datetime(found.pop("T_REC"))
    whole = found.asfreq(np.diff(found.index.to_pydatetime()).min())
    assert len(whole) >= len(found) > 4000
    mean = whole.rolling(60, min_periods=1, center=True).mean()
    assert mean.CAPN2.iloc[0] * mean.CAPN2.iloc[-1] < 0  # it has reversed


def test_a_table_of_modes(client):
    keys = ["T_START", "T_STOP", "LMIN", "LMAX", "NDT"]
    found, files = client.query("hmi.v_sht_modes[2024.09.19_00:00:00_TAI]", key=keys, seg="m6")
    assert found.LMIN[0] < found.LMAX[0]
    table = np.genfromtxt(f"{JSOC}{files.m6[0]}")
    assert table.shape[1] in (24, 26)
    assert 800 < table[:, 2].min() < table[:, 2].max() < 6000


def test_a_synoptic_chart(client):
    found, files = client.query("hmi.synoptic_mr_720s[2150]", key=drms.JsocInfoConstants.all, seg="synopMr")
    with urlopen(f"{JSOC}{files.synopMr[0]}") as answer:
        path = answer.read()
    rows, columns = fits.HDUList.fromstring(path)[-1].shape
    chart = found.iloc[0]
    west = (columns - chart.CRPIX1) * chart.CDELT1 + chart.CRVAL1
    assert chart.LON_LAST - west > 300
    assert (rows - chart.CRPIX2) * chart.CDELT2 + chart.CRVAL2 <= 1


# ---- sunpy's gallery ----------------------------------------------------------------------------------


def fetched(query, folder):
    files = Fido.fetch(query, path=folder, progress=False)
    assert not files.errors, files.errors
    return sorted(files)


def test_cutouts_that_follow_the_sun(tmp_path):
    start = Time("2012-09-24T14:56:03", scale="utc")
    corner, other = (
        SkyCoord(x * u.arcsec, y * u.arcsec, obstime=start, observer="earth", frame="helioprojective")
        for x, y in ((-500, -275), (150, 375))
    )
    query = Fido.search(
        a.Time(start - 6 * u.h, start + 6 * u.h),
        a.Wavelength(171 * u.angstrom),
        a.Sample(2 * u.h),
        a.jsoc.Series.aia_lev1_euv_12s,
        a.jsoc.Notify(EMAIL),
        a.jsoc.Segment.image,
        a.jsoc.Cutout(corner, top_right=other, tracking=True),
    )
    maps = Map(fetched(query, tmp_path), sequence=True).maps
    assert len(maps) == len(query["jsoc"]) >= 6
    assert all(abs(each.dimensions.x.value - 1085) < 3 for each in maps)


def test_records_of_ten_seconds(tmp_path):
    when = a.Time("2010/8/1 03:40", "2010/8/1 3:40:10")
    query = Fido.search(when, a.jsoc.Series("hmi.m_45s") & a.jsoc.Notify(EMAIL))
    assert {"T_REC", "TELESCOP", "INSTRUME", "WAVELNTH", "CAR_ROT"} <= set(query["jsoc"].colnames)
    assert len(fetched(query, tmp_path)) == 1


def test_a_sharp_as_a_map(tmp_path):
    query = Fido.search(
        a.Time("2011-03-09 23:20:00", "2011-03-09 23:30:00"),
        a.Sample(1 * u.hour),
        a.jsoc.Series("hmi.sharp_cea_720s"),
        a.jsoc.PrimeKey("HARPNUM", 401),
        a.jsoc.Notify(EMAIL),
        a.jsoc.Segment("Bp"),
    )
    (path,) = fetched(query, tmp_path)
    assert Map(path).meta["harpnum"] == 401


def test_a_synoptic_map_that_lies_on_the_server(tmp_path):
    path = tmp_path / "map.fits"
    with urlopen(f"{JSOC}/data/hmi/synoptic/hmi.Synoptic_Mr.2191.fits") as answer:
        path.write_bytes(answer.read())
    chart = Map(path)
    assert (chart.meta["car_rot"], chart.date.strftime("%Y-%m")) == (2191, "2017-06")


# ---- aiapy --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corona(tmp_path_factory):
    """A picture of the corona in full size."""
    query = Fido.search(
        a.Time("2013-03-15T12:01:06", "2013-03-15T12:01:12"),
        a.Wavelength(193 * u.angstrom),
        a.jsoc.Series.aia_lev1_euv_12s,
        a.jsoc.Notify(EMAIL),
        a.jsoc.Segment.image,
    )
    return Map(fetched(query, tmp_path_factory.mktemp("corona"))[0])


def test_spikes_are_put_back(corona):
    coords, values = fetch_spikes(corona)
    assert corona.meta["nspikes"] == len(values) == len(coords.x) > 0
    spiked = respike(corona)
    x, y = (each.value.round().astype(int) for each in coords)
    assert (spiked.data[y, x] == values).all()
    assert (spiked.meta["lvl_num"], spiked.meta["nspikes"]) == (0.5, 0)


def test_spikes_of_a_cutout(corona):
    corner = SkyCoord(-500 * u.arcsec, -500 * u.arcsec, frame=corona.coordinate_frame)
    other = SkyCoord(500 * u.arcsec, 500 * u.arcsec, frame=corona.coordinate_frame)
    coords, values = fetch_spikes(corona.submap(corner, top_right=other), as_coords=True)
    assert 0 < len(coords) == len(values) < corona.meta["nspikes"]


def test_a_picture_of_level_1_5(corona):
    table = get_pointing_table("JSOC", time_range=(corona.date - 12 * u.h, corona.date + 12 * u.h))
    pointed = update_pointing(corona, pointing_table=table)
    assert abs(pointed.scale[0].value - 0.6) < 0.002
    small = pointed.submap([1800, 1800] * u.pix, top_right=[2300, 2300] * u.pix)
    with pytest.raises(ValueError, match="full disk"):
        register(small)


def test_degradation_over_the_years():
    times = Time("2010-04-25") + np.arange(0, 8 * 365, 90) * u.day
    table = get_correction_table("JSOC")
    for channel in (94, 131, 171, 193, 211, 304, 335):
        left = degradation(channel * u.angstrom, times, correction_table=table)
        assert 0 < left.min() <= left[-1] < left[0] < 1.1


def test_where_the_spacecraft_was():
    place = sdo_location("2014-01-01T00:00:00")
    assert 0.97 < place.spherical.distance.to_value("AU") < 1.0
