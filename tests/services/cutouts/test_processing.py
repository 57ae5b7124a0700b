"""im_patch and rebin made here: what of them is understood, and exports that need no JSOC for it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import pytest_asyncio
from astropy.io import fits

from mirror.drms.export import parse_process
from mirror.services.cutouts.processing import recipe
from mirror.services.quicklook.cutout import Window
from tests.filelab import file_lab, synthetic

BOX = "im_patch,x=200,y=-300,width=60,height=40,locunits=arcsec,boxunits=arcsec,t=1,r=0,c=0"
PIXELS = "im_patch,x=30,y=20,width=12,height=8,locunits=pixels,boxunits=pixels,t=1,r=0,c=0"
REGION = "hmi.sharp_720s[377][2011.02.14_00:00:00_TAI/24m]{bitmap}"


@pytest.mark.parametrize(
    "text, window, since",
    [
        (BOX, Window((200, -300), (60, 40), "arcsec", rigid=True, box="arcsec"), None),
        (BOX.replace("boxunits=arcsec", "boxunits=pixels"), Window((200, -300), (60, 40), "arcsec", rigid=True, box="pixels"), None),
        (PIXELS, Window((30, 20), (12, 8), "pixels", rigid=True, box="pixels"), None),
        (BOX.replace("t=1", "t=0,t_ref=1977.01.01_00:00:30_TAI"), Window((200, -300), (60, 40), rigid=True, box="arcsec"), 30.0),
        ("rebin,scale=0.25,method=boxcar", Window(scale=4), None),
        (f"n=3|{PIXELS}|rebin,scale=0.5", Window((30, 20), (12, 8), "pixels", 2, rigid=True, box="pixels"), None),
    ],
)
def test_what_is_made_here(text, window, since):
    made = recipe(parse_process(text).steps)
    assert (made.window, made.since) == (window, since)


@pytest.mark.parametrize(
    "text",
    [
        "resize,scale_to=0.6",
        f"rebin,scale=0.5|{PIXELS}",
        "rebin,scale=0.3",
        "rebin,scale=2",
        "rebin,scale=0.5,method=gaussian",
        "rebin,scale=nan",
        "rebin",
        BOX.replace("r=0", "r=1"),
        BOX.replace("c=0", "c=1"),
        BOX.replace("t=1", "t=0"),
        BOX.replace("t=1", "t=0,t_ref=soon"),
        BOX.replace("locunits=arcsec", "locunits=stony"),
        BOX.replace("locunits=arcsec", "locunits=pixels"),
        BOX.replace("x=200", "x=east"),
        BOX.replace("width=60", "width=0"),
        BOX + ",car_rot=2100",
    ],
)
def test_what_is_left_to_jsoc(text):
    assert recipe(parse_process(text).steps) is None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory):
    path = tmp_path_factory.mktemp("store")
    async with file_lab(path, synthetic(), MIRROR_EXPORTS__PROCESS_HERE="im_patch,rebin") as made:
        yield made


async def asked_of_jsoc(lab):
    return [e for e in await lab.log() if e["params"].get("op") == "exp_request"]


@pytest.mark.asyncio(loop_scope="module")
async def test_an_export_is_processed_here_and_says_so(lab):
    index = await lab.exported(REGION, protocol="fits", process=f"{PIXELS}|rebin,scale=0.5")
    assert await asked_of_jsoc(lab) == []
    assert index["count"] == "2"
    whole = await lab.exported(REGION, protocol="fits")
    for made, full in zip(index["data"], whole["data"], strict=True):
        cut = fits.open(io.BytesIO((await lab.get(f"{index['dir']}/{made['filename']}")).body), checksum=True)[-1]
        image = fits.open(io.BytesIO((await lab.get(f"{whole['dir']}/{full['filename']}")).body))[-1]
        part = np.asarray(image.data[16:24, 24:36], float)
        np.testing.assert_allclose(cut.data, part.reshape(4, 2, 6, 2).mean(axis=(1, 3)), rtol=1e-6)
        assert "in the place of JSOC, as process=im_patch" in "".join(map(str, cut.header["HISTORY"]))
        assert cut.header["T_REC"] == image.header["T_REC"]
    job = (await lab.get(f"/api/jobs/{index['requestid']}")).json
    assert any("processed by this mirror, not by JSOC" in note for note in job["notes"])
    again = await lab.exported(REGION, protocol="fits", process=f"{PIXELS}|rebin,scale=0.5")
    assert again["requestid"] == index["requestid"]


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_not_done_here_goes_to_jsoc(lab):
    before = len(await asked_of_jsoc(lab))
    await lab.export(REGION, protocol="fits", process=PIXELS.replace("r=0", "r=1"))
    assert len(await asked_of_jsoc(lab)) == before + 1
    await lab.restart(MIRROR_EXPORTS__PROCESS_HERE="")
    await lab.export(REGION, protocol="fits", process="rebin,scale=0.5")
    assert len(await asked_of_jsoc(lab)) == before + 2
