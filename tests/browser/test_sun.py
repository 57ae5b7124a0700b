"""The Sun on the front page, and the pages of data sets, in a browser."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.browser.walk import looked_over, shot, walking
from tests.filelab import file_lab, synthetic

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory, browser):
    async with file_lab(tmp_path_factory.mktemp("store"), synthetic()) as made:
        for ds in (
            "aia.lev1_euv_12s[2014.01.01_00:00:00_TAI/12s][171]{image}",
            "aia.lev1_euv_12s[2014.01.01_00:01:00_TAI/12s][171]{image}",
            "hmi.M_720s[2014.01.01_00:00:00_TAI]{magnetogram}",
        ):
            answer = await made.get("/api/quicklook", {"ds": ds, "number": "1", "fetch": "1", "size": "512"})
            assert answer.code == 200
        await made.ask("hmi.sharp_cea_720s[][2014.01.01_00:00:00_TAI]")
        body = {"name": "region", "ds": ["hmi.sharp_cea_720s[][2014.01.01_00:00:00_TAI]"], "title": "All regions"}
        assert (await made.request("POST", "/api/datasets", json=body)).code == 200
        yield made


async def test_the_cached_sun_is_shown_switched_played_and_overlaid(mirror, browser):
    async with walking(browser, mirror.url, viewport={"width": 1280, "height": 900}) as walk:
        page = walk.page
        await walk.to("/")
        await page.wait_for_selector("#sun:not([hidden])")
        await walk.until("document.getElementById('sun-image').naturalWidth == 512")
        assert await page.locator("#sun-over a").count() > 0
        assert "2 cached" in await page.inner_text("#sun-age")
        last = await page.inner_text("#sun-time")
        await page.uncheck("#sun-loop")
        await page.click("#sun-play")
        await walk.until("document.getElementById('sun-play').textContent == 'Play'")
        assert await page.inner_text("#sun-time") == last
        await shot(walk, "sun-aia")
        await looked_over(walk)
        await page.click("#sun-film")
        await page.wait_for_selector("#sun-mp4")
        async with page.expect_download() as saved:
            await page.click("#sun-mp4")
        made = await (await saved.value).path()
        assert made.read_bytes()[4:8] == b"ftyp"
        assert (await saved.value).suggested_filename.startswith("AIA_171_20")
        await shot(walk, "sun-film")
        await looked_over(walk)
        await page.select_option("#sun-from", "1")
        assert await page.is_disabled("#sun-play")
        assert await page.get_attribute("#sun-frame", "min") == "1"
        await walk.until("document.getElementById('sun-image').complete")
        await page.goto(f"{mirror.url}/jobs/{(await mirror.get('/api/jobs')).json[0]['id']}")
        await page.wait_for_selector("video")
        await looked_over(walk)
        await walk.to("/")
        await page.wait_for_selector("#sun:not([hidden])")
        await page.select_option("#sun-channel", "HMI magnetogram")
        await walk.until("document.getElementById('sun-image').alt.startsWith('HMI magnetogram')")
        await walk.until("document.getElementById('sun-image').complete")
        await shot(walk, "sun-hmi")
        await page.uncheck("#sun-regions")
        assert await page.locator("#sun-over a").count() == 0
        assert await page.is_disabled("#sun-play")
        assert walk.complaints == []


@pytest.mark.parametrize("width", [1280, 390])
async def test_the_pages_of_data_sets_pass_the_checker(mirror, browser, width):
    async with walking(browser, mirror.url, viewport={"width": width, "height": 900}) as walk:
        await walk.to("/datasets")
        await looked_over(walk)
        await walk.page.click("text=region")
        await walk.page.wait_for_selector("#bibtex")
        await shot(walk, f"dataset-{width}")
        await looked_over(walk)
