"""/fits/<record set>{segment}, `mirror cutout` and Client.cutout in front of a whole mirror, read by sunpy and astropy."""

from __future__ import annotations

import asyncio
import io
import json
from urllib.parse import quote

import astropy.units as u
import numpy as np
import pytest
import pytest_asyncio
from astropy.coordinates import SkyCoord
from astropy.io import fits
from click.testing import CliRunner

import mirror as package
from mirror.cli.main import main
from mirror.errors import BadRequest
from tests.filelab import file_lab, synthetic

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.filterwarnings("ignore")]
DISK = "hmi.M_720s[2014.01.01_00:00:00_TAI]{magnetogram}"
SHARP = "hmi.sharp_720s[377][2011.02.14_00:00:00_TAI]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory):
    async with file_lab(tmp_path_factory.mktemp("store"), synthetic()) as made:
        yield made


async def get(lab, ds, **params):
    return await lab.get(f"/fits/{quote(ds, safe='[]{}:')}", {k: str(v) for k, v in params.items()})


async def open_fits(lab, ds, **params):
    answer = await get(lab, ds, **params)
    assert answer.code == 200, answer.body
    assert answer.headers["Content-Type"] == "image/fits"
    hdus = fits.open(io.BytesIO(answer.body), checksum=True)
    hdus.verify("exception")
    return hdus[-1].header, np.array(hdus[-1].data)


def sun(header, data):
    import sunpy.map  # two seconds of processor, which whoever only looks for tests does not spend

    return sunpy.map.Map(data, header)


async def test_a_record_has_one_address_with_all_its_keywords_and_the_same_bytes_each_time(lab):
    first, again = await get(lab, DISK), await get(lab, DISK)
    assert first.body == again.body
    assert first.headers["Content-Disposition"].endswith("magnetogram.fits")
    header = fits.open(io.BytesIO(first.body))[1].header
    assert (header["T_REC"][:19], header["CAMERA"], header["TELESCOP"]) == ("2014.01.01_00:00:00", 1, "SDO/HMI")
    part = await lab.get(f"/fits/{quote(DISK)}", headers={"Range": "bytes=2880-5759"})
    assert (part.code, part.body) == (206, first.body[2880:5760])
    same = await lab.get(f"/fits/{quote(DISK)}", headers={"If-None-Match": first.headers["Etag"]})
    assert (same.code, same.body) == (304, b"")


@pytest.mark.parametrize("x, y, width, height", [(200, -300, 600, 400), (-905.5, 10.25, 121.3, 77.7), (0, 0, 1, 1)])
async def test_a_cutout_is_the_submap_of_sunpy(lab, x, y, width, height):
    whole = sun(*await open_fits(lab, DISK))
    part = sun(*await open_fits(lab, DISK, x=x, y=y, width=width, height=height))
    corner = SkyCoord((x - width / 2) * u.arcsec, (y - height / 2) * u.arcsec, frame=whole.coordinate_frame)
    expected = whole.submap(corner, width=width * u.arcsec, height=height * u.arcsec)
    np.testing.assert_array_equal(part.data, expected.data)
    for pixel in ((0, 0), (3, 1)):
        mine, theirs = (m.pixel_to_world(*(p * u.pix for p in pixel)) for m in (part, expected))
        assert abs(mine.Tx - theirs.Tx).to_value("arcsec") < 1e-6
        assert abs(mine.Ty - theirs.Ty).to_value("arcsec") < 1e-6


async def test_a_followed_place_stays_on_the_same_spot_of_the_sun(lab):
    from sunpy.coordinates import propagate_with_solar_surface

    later = "hmi.M_720s[2014.01.03_00:00:00_TAI]{magnetogram}"
    first = sun(*await open_fits(lab, DISK, x=-200, y=300, width=100, height=100, t_ref="2014.01.01_00:00:00_TAI"))
    second = sun(*await open_fits(lab, later, x=-200, y=300, width=100, height=100, t_ref="2014.01.01_00:00:00_TAI"))
    assert first.data.shape == second.data.shape
    with propagate_with_solar_surface():
        moved = first.center.transform_to(second.coordinate_frame)
    assert abs(moved.Tx - second.center.Tx) < 1 * u.arcsec  # a pixel is half of that
    assert abs(moved.Ty - second.center.Ty) < 1 * u.arcsec


async def test_several_files_are_a_list_of_addresses_that_work(lab):
    answer = await get(lab, SHARP)
    assert answer.code == 300
    choices = {choice["segment"]: choice for choice in answer.json["choices"]}
    assert len(choices) == 31
    one = await lab.get(quote(choices["bitmap"]["path"], safe="/%"))
    assert (one.code, one.body[:9]) == (200, b"SIMPLE  =")


WRONG = [
    (DISK, {"x": 5000, "y": 0, "width": 10, "height": 10}, 400, "lies outside the image"),
    (DISK, {"x": 1020, "y": 0, "width": 9, "height": 9}, 400, "has no values: all of its"),
    (DISK, {"x": 0, "y": 0, "width": 9000, "height": 10}, 400, "expected at most the 4096 x 4096 of the image"),
    (DISK, {"x": 0, "y": 0}, 400, "width, height is missing"),
    (DISK, {"x": 0, "y": 0, "width": -1, "height": 3}, 400, "width is -1; expected a number above 0"),
    (DISK, {"x": "nan", "y": 0, "width": 1, "height": 3}, 400, "x is nan; expected a number"),
    (DISK, {"scale": "0.25"}, 400, "scale is '0.25'; expected 1 over a whole number, such as 1/4"),
    (DISK, {"scale": "1/5000"}, 400, "scale is 1/5000; expected at most 1/1024"),
    (DISK, {"scal": "1/4"}, 400, "'scal' is no parameter of a cutout; did you mean scale?"),
    (DISK, {"x": 0, "y": 0, "widht": 9, "height": 9}, 400, "'widht' is no parameter of a cutout; did you mean width?"),
    (DISK, {"frame": "a"}, 400, "'frame' is no parameter of a cutout; expected some of x, y, width,"),
    (DISK, {"units": "stony"}, 400, "expected one of arcsec, pixels"),
    (DISK, {"t_ref": "2014.01.01"}, 400, "tracking needs a centre"),
    (DISK, {"x": 990, "y": 0, "width": 9, "height": 9, "t_ref": "2014.01.01"}, 400, "beyond the limb"),
    (DISK, {"x": 0, "y": 0, "width": 9, "height": 9, "t_ref": "2013.12.19"}, 400, "behind the limb"),
    (DISK, {"x": 0, "y": 0, "width": 9, "height": 9, "t_ref": "soon"}, 400, "'soon' is not a time"),
    ("hmi.sharp_cea_720s[377][2011.02.14]{Br}", {"x": 0, "y": 0, "width": 9, "height": 9}, 400, "units=arcsec does not apply"),
    ("hmi.v_sht_modes[2010.04.30_TAI][0][300][138240]{m6}", {"scale": "1/2"}, 403, "no FITS file"),
    ("hmi.M_720s[2014.01.01]{nope}", {}, 404, "no segment 'nope'"),
    ("hmi.M_720s[1999.01.01]", {}, 404, "no records match"),
    ("hmi.nope[1]", {}, 404, "hmi.nope"),
    ("hmi.m_721s[2014.01.01]", {}, 404, "did you mean hmi.M_720s"),
    ("hmi.M_720s[2014.13.01]{magnetogram}", {}, 400, "\n  hmi.M_720s[2014.13.01]{magnetogram}\n             ^"),
    ("hmi.M_720s[", {}, 400, "expected ']'"),
]


@pytest.mark.parametrize("ds, params, code, words", WRONG, ids=range(len(WRONG)))
async def test_what_cannot_be_cut_is_one_clear_error(lab, ds, params, code, words):
    answer = await get(lab, ds, **params)
    assert (answer.code, words in answer.json["error"]) == (code, True), answer.body


async def test_a_request_that_may_not_ask_jsoc_asks_it_nothing(lab):
    held = {"Cache-Control": "only-if-cached"}
    ds = "hmi.M_720s[2014.02.01_00:00:00_TAI]{magnetogram}"
    for known in (False, True):  # neither the record, nor its values and its file
        if known:
            await lab.ask(ds)
        before = len(await lab.log())
        refused = await lab.get(f"/fits/{quote(ds)}", headers=held)
        assert refused.code in (404, 504), refused.body
        assert len(await lab.log()) == before


async def test_the_command_and_the_client_put_cutouts_in_a_folder_under_the_names_of_drms(lab, tmp_path):
    hours = "hmi.M_720s[2014.01.01_00:00:00_TAI/24m]"
    asked = ("cutout", hours, "--center", "200,-300", "--size", "50,50", "--track", "--to", str(tmp_path / "a"), "--json")
    result = await asyncio.to_thread(CliRunner().invoke, main, asked, env={"MIRROR_URL": lab.url})
    assert result.exit_code == 0, result.output
    names = [file["name"] for file in json.loads(result.stdout)["files"]]
    assert names == [f"hmi.m_720s.20140101_00{m}00_TAI.1.magnetogram.fits" for m in ("00", "12")]
    client = package.Client(lab.url)
    paths = await asyncio.to_thread(client.cutout, hours, (200, -300), (50, 50), tmp_path / "b", track=True)
    assert [path.name for path in paths] == names
    assert [path.read_bytes() for path in paths] == [(tmp_path / "a" / name).read_bytes() for name in names]
    for asked, words in (
        (("--center", "1"), "expected two numbers with a comma"),
        (("--center", "1,2"), "expected both, or neither"),
        ((), "nothing to do"),
        (("--scale", "4"), "expected 1 over a whole number"),
        (("--scale", "1/4", "--track"), "tracking needs"),
        (("--center", "1,2", "--size", "-1,3"), "width is -1; expected a number above 0"),
        (("--center", "nan,2", "--size", "1,3"), "x is nan; expected a number"),
    ):
        wrong = await asyncio.to_thread(CliRunner().invoke, main, ("cutout", hours, *asked), env={"MIRROR_URL": lab.url})
        assert (wrong.exit_code, words in wrong.output) == (2, True), wrong.output
    for center, size, units, words in (
        ((0, 0), (-1, 3), "arcsec", "width is -1; expected a number above 0"),
        ((float("nan"), 0), (1, 3), "arcsec", "x is nan; expected a number"),
        ((0, 0), (1, 3), "stony", "units is 'stony'; expected one of arcsec, pixels"),
    ):
        with pytest.raises(BadRequest, match=words):  # before anything is asked
            await asyncio.to_thread(client.cutout, "hmi.nothing[", center, size, tmp_path / "c", units=units)


async def test_cutouts_of_what_is_cached_need_no_jsoc(lab):
    before = await get(lab, DISK, x=0, y=0, width=100, height=100)
    asked = len(await lab.log())
    await lab.restart(MIRROR_UPSTREAM__POLICY="offline")
    after = await get(lab, DISK, x=0, y=0, width=100, height=100)
    assert after.body == before.body
    assert len(await lab.log()) == asked


async def test_a_cutout_does_not_wait_for_pictures(lab):
    async with lab.running.browsing.renderer._turn:  # as if one were being made
        assert (await get(lab, DISK, x=0, y=0, width=100, height=100)).code == 200


async def test_jsoc_addresses_are_files_for_fsspec_and_astropy(lab, monkeypatch):
    import fsspec

    monkeypatch.setenv("MIRROR_URL", lab.url)
    fsspec.register_implementation("jsoc", "mirror.client.filesystem.JsocFileSystem", clobber=True)
    whole = (await get(lab, DISK)).body

    def read():
        files = fsspec.filesystem("jsoc", skip_instance_cache=True)
        with fits.open(f"jsoc://{DISK}", use_fsspec=True) as hdus:
            section = hdus[1].section[2000:2010, 2000:2020]
        return files.info(f"jsoc://{DISK}")["size"], files.cat_file(DISK, 2880, 5760), files.cat_file(DISK, -10), section

    size, part, end, section = await asyncio.to_thread(read)
    assert (size, part, end) == (len(whole), whole[2880:5760], whole[-10:])
    np.testing.assert_array_equal(section, fits.open(io.BytesIO(whole))[1].data[2000:2010, 2000:2020])

    def wrong():
        files = fsspec.filesystem("jsoc", skip_instance_cache=True)
        with pytest.raises(ValueError, match="names 31 files"):
            files.open(f"jsoc://{SHARP}")
        with pytest.raises(OSError, match=r"^no records match"):  # not a word of glob characters
            fsspec.open("jsoc://hmi.M_720s[1999.01.01]{magnetogram}").open()
        with pytest.raises(ValueError, match="no record set after jsoc://"):
            fsspec.open("jsoc://").open()
        with pytest.raises(ValueError, match="expected ']'"):
            files.open("jsoc://hmi.M_720s[")
        with pytest.raises(ValueError, match="read-only"):
            files.open(f"jsoc://{DISK}", "wb")
        return files.ls(SHARP, detail=False)

    assert len(await asyncio.to_thread(wrong)) == 31


async def test_the_client_gives_maps_of_sunpy(lab):
    client = package.Client(lab.url)
    hours = "hmi.M_720s[2014.01.01_00:00:00_TAI/24m]"
    one = await asyncio.to_thread(client.maps, DISK, (100, 100), (60, 40))
    several = await asyncio.to_thread(client.maps, hours, (100, 100), (60, 40), track=True)
    assert one.instrument == "HMI SIDE1" or one.observatory == "SDO"
    assert one.center.Tx.to_value("arcsec") == pytest.approx(100, abs=0.5)
    assert [m.data.shape for m in several] == [several[0].data.shape] * 2
    assert several[1].date > several[0].date


async def test_a_cutout_of_a_held_file_writes_nothing(lab):
    await get(lab, DISK, x=0, y=0, width=10, height=10)
    database, writes = lab.running.database, []
    before = database.write
    database.write = lambda work: (writes.append(work), before(work))[1]
    try:
        await get(lab, DISK, x=5, y=5, width=10, height=10)
    finally:
        database.write = before
    assert writes == []


async def test_files_are_fetched_under_the_names_of_drms_and_a_second_time_left_alone(lab, tmp_path):
    client = package.Client(lab.url)
    hours = "hmi.M_720s[2014.01.01_00:00:00_TAI/24m]"
    paths = await asyncio.to_thread(client.fetch, hours, tmp_path, seg="magnetogram")
    assert [path.name for path in paths] == [f"hmi.m_720s.20140101_00{m}00_TAI.1.magnetogram.fits" for m in ("00", "12")]
    stamps = [path.stat().st_mtime_ns for path in paths]
    assert fits.open(paths[0])[1].header["CAMERA"] == 1
    again = await asyncio.to_thread(client.fetch, hours, tmp_path, seg="magnetogram", progress=False)
    assert [path.stat().st_mtime_ns for path in again] == stamps


async def test_a_cube_is_lazy_and_reads_what_is_computed(lab):
    await lab.restart(MIRROR_UPSTREAM__POLICY="fallback")
    client = package.Client(lab.url)
    hours = "hmi.M_720s[2014.01.01_00:00:00_TAI/36m]"
    cube = await asyncio.to_thread(client.cube, hours)
    assert (cube.dims, cube.shape) == (("time", "y", "x"), (3, 4096, 4096))
    assert str(cube.time.values[1])[:19] == "2014-01-01T00:12:00"
    part = await asyncio.to_thread(lambda: cube[:, 2000:2010, 1000:1030:2].compute())
    _, whole = await open_fits(lab, DISK)
    np.testing.assert_array_equal(part.values[0], whole[2000:2010, 1000:1030:2])
    followed = await asyncio.to_thread(client.cube, hours, (100, 100), (60, 40), track=True)
    still = await asyncio.to_thread(client.cube, hours, (100, 100), (60, 40))
    assert followed.shape[1:] == (79, 119)
    light = await asyncio.to_thread(lambda: followed.mean(("y", "x")).compute())
    assert np.isfinite(light).all()
    maps = await asyncio.to_thread(client.maps, hours, cutout=package.Cutout((100, np.float32(100)), (60, 40)))
    with pytest.raises(BadRequest, match="the cutout is given twice"):
        client.maps(hours, (1, 2), (3, 4), cutout=package.Cutout((100, 100), (60, 40)))
    with pytest.raises(BadRequest, match="has no files: its series has no segments"):
        await asyncio.to_thread(client.cube, "jsoc.noaa_active_regions[2011.02.15][11158]")
    np.testing.assert_array_equal((await asyncio.to_thread(still.compute)).values[0], maps[0].data)
