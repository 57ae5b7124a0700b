"""Exports of the made-up series: what the online suites of the clients ask."""

from __future__ import annotations

import io

import pytest
from astropy.io import fits

from mirror.drms.times import parse_time
from mirror.simulator.exports.recorded import RecordedExports
from mirror.simulator.synthetic import synthetic_series

NOW = parse_time("2026.10.01_TAI")
CUTOUT = (
    "0|im_patch,t_ref=2011-02-15T00:00:00.340,t=0,r=0,c=0,locunits=arcsec,boxunits=arcsec,"
    "x=-175.0,y=50.0,width=650.0,height=650.0"
)


@pytest.fixture(scope="module")
def series():
    return synthetic_series(lambda: NOW)


@pytest.fixture
def simulate(start, series):
    return lambda *faults: start(*faults, series=series, recorded=RecordedExports())


async def opened(simulated, index, at=0):
    _, _, data = await simulated.file(f"{index['dir']}/{index['data'][at]['filename']}")
    return fits.open(io.BytesIO(data), checksum=True)


@pytest.mark.parametrize("method", ["url_quick", "url"])
async def test_nine_texts_as_they_are(simulate, method):
    simulated, ds = await simulate(), "hmi.v_sht_2drls[2024.09.19_00:00:00_TAI]{split,rot,err}"
    quick = method == "url_quick"
    told = (
        await simulated.request(ds, method, "as-is")
        if quick
        else await simulated.finished(ds, protocol="as-is")
    )
    assert len(told["data"]) == 9
    assert {row["record"].rpartition("{")[2] for row in told["data"]} == {"split}", "rot}", "err}"}
    code, _, data = await simulated.file(
        f"{told['dir']}/{told['data'][0]['filename']}".removeprefix("/" * quick)
    )
    assert (code, data[:2]) == (200, b"# ")


async def test_two_patches_as_fits(simulate):
    simulated = await simulate()
    done = await simulated.finished("hmi.sharp_720s[4864][2014.11.30_00:00_TAI]{continuum, magnetogram}")
    assert {row["record"] for row in done["data"]} == {"hmi.sharp_720s[4864][2014.11.30_00:00:00_TAI]"}
    assert [row["filename"].rpartition(".")[0].rpartition(".")[2] for row in done["data"]] == [
        "magnetogram",
        "continuum",
    ]
    with await opened(simulated, done, 1) as hdus:
        hdus.verify("exception")
        assert hdus[1].header["T_REC"] == "2014.11.30_00:00:00.000_TAI"


async def test_a_cutout_that_follows_the_rotation_is_six_images_of_1085_pixels(simulate):
    simulated = await simulate()
    ds = "aia.lev1_euv_12s[2011.02.15_00:00:34_TAI-2011.02.15_00:01:34_TAI][171]{image}"
    done = await simulated.finished(ds, **{"process=n": CUTOUT})
    assert len(done["data"]) == 6
    assert all(row["record"].startswith("aia.lev1_euv_12s_mod[2011-02-15T00:0") for row in done["data"])
    assert all(row["filename"].endswith("image.fits") for row in done["data"])
    for at in (0, 5):
        with await opened(simulated, done, at) as hdus:
            assert hdus[1].data.shape == (1085, 1085)


@pytest.mark.filterwarnings("ignore")
async def test_sunpy_reads_an_exported_image(simulate, tmp_path):
    from sunpy.map import Map

    simulated = await simulate()
    done = await simulated.finished("hmi.sharp_cea_720s[3604][2014.01.10_12:00_TAI]{Br}")
    with await opened(simulated, done) as hdus:
        hdus.writeto(tmp_path / "br.fits")
    read = Map(tmp_path / "br.fits")
    assert (read.observatory, read.detector) == ("SDO", "HMI")
    assert read.date.isot.startswith("2014-01-10T")


async def test_files_of_the_tutorial_lie_where_it_says(simulate):
    simulated = await simulate()
    told = await simulated.request("hmi.v_45s[2016.04.01_TAI/1d@6h]{Dopplergram}", "url_quick", "as-is")
    assert told["data"][0]["filename"] == "/SUM58/D803708321/S00008/Dopplergram.fits"
    code, _, data = await simulated.file("/SUM58/D803708321/S00008/Dopplergram.fits")
    assert code == 200
    assert fits.open(io.BytesIO(data))[1].shape == (4096, 4096)


async def test_linked_files_come_online_with_the_unit_of_their_target(simulate):
    simulated = await simulate()
    span = "aia.lev1_euv_12s[2015-03-01T00:00:00Z/20m]"
    told = await simulated.rs_list(span, key="T_REC,WAVELNTH", seg="image")
    at = told["segments"][0]["values"].index("NoDataDirectory")
    record = (
        "aia.lev1_euv_12s" + "".join(f"[{column['values'][at]}]" for column in told["keywords"]) + "{image}"
    )
    assert (await simulated.request(record, "url_quick", "as-is"))["status"] == 25
    done = await simulated.finished(record, protocol="as-is", o="1")
    quick = await simulated.request(record, "url_quick", "as-is")
    assert quick["data"][0]["filename"].endswith("/image_lev1.fits")
    assert done["data"][0]["record"] == quick["data"][0]["record"]
    assert (await simulated.client.head(quick["data"][0]["filename"])).status == 200


async def test_a_span_of_too_many_records_is_refused(simulate):
    told = await (await simulate()).request("hmi.v_45s[2012.01.01_TAI/90d]")
    assert told["status"] == 4
    assert "too many records" in told["error"]
