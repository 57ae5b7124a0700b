"""The search page in a browser: written by hand or built, looked at as a table, plot and pictures, and exported."""

import asyncio
from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.walk import looked_over, shot, walking
from tests.filelab import file_lab, synthetic

pytestmark = pytest.mark.asyncio(loop_scope="module")
SHARPS = "/search?ds=hmi.sharp_cea_720s%5B%5D%5B2014.01.01/12m%5D&key=HARPNUM,USFLUX,T_OBS"
HOUR = "/search?ds=hmi.v_45s%5B2014.01.01_TAI/2h%5D&key=T_REC,OBS_VR,DATAMEAN,QUALITY"
NARROW, DARK = {"width": 390, "height": 844}, {"color_scheme": "dark"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory, browser):
    async with file_lab(tmp_path_factory.mktemp("store"), synthetic()) as made:
        asked = {"ds": "hmi.sharp_cea_720s[][2014.01.01/12m]{Br}", "number": "1", "fetch": "1"}
        assert (await made.get("/api/quicklook", asked)).code == 200
        yield made


async def test_a_record_set_is_built_searched_plotted_and_shared(mirror, browser):
    async with walking(browser, mirror.url, viewport={"width": 1280, "height": 900}) as walk:
        page = walk.page
        await walk.to("/search")
        await page.fill("#b-series", "hmi.v_45s")
        await page.press("#b-series", "Tab")
        await page.fill("[name='start.T_REC']", "2014-01-01")
        await page.fill("[name='length.T_REC']", "2h")
        await walk.until("document.getElementById('ds').value == 'hmi.V_45s[2014.01.01_TAI/2h]'")
        await page.wait_for_selector("#checked:has-text('160 slots to be fetched')")
        await page.click("#picker summary")
        await page.fill("#find-keyword", "obs_vr")
        await page.check("#keywords label:not([hidden]) >> nth=0")
        assert await page.input_value("#key") == "OBS_VR"
        await looked_over(walk)
        await shot(walk, "search-builder")
        await page.click("#b-use")
        await page.wait_for_selector("#found-title:has-text('160 records')")
        await page.click("#tab-plot")
        await page.wait_for_selector("#plot canvas")
        await page.check("#plot-y >> text=CAMERA")
        shared = await page.evaluate("location.href")
        assert "y=OBS_VR%2CCAMERA" in shared or "y=CAMERA%2COBS_VR" in shared
        await shot(walk, "search-plot")
        await looked_over(walk)
        await page.goto(shared)
        await page.wait_for_selector("#plot canvas")
        assert await page.is_checked("#plot-y >> text=CAMERA")
        assert walk.complaints == []


async def test_an_error_is_marked_while_one_types_and_goes_when_it_is_mended(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        page = walk.page
        await walk.to("/search")
        await page.fill("#ds", "hmi.v_45s[2014.13.01]")
        await page.wait_for_selector("#checked mark")
        assert await page.text_content("#checked mark") == "2"
        assert await page.get_attribute("#ds", "aria-invalid") == "true"
        await looked_over(walk)
        await shot(walk, "search-error")
        await page.fill("#ds", "hmi.v_45s[2014.12.01]")
        await page.wait_for_selector("#checked:has-text('to be fetched')")
        assert await page.get_attribute("#ds", "aria-invalid") is None
        assert walk.complaints == []


async def test_a_table_is_sorted_and_paged_in_the_browser(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        page = walk.page
        await walk.to(HOUR)
        column = "[...document.querySelectorAll('#table tbody tr')].map(row => row.cells[1].textContent)"
        await page.click("#table thead button:has-text('OBS_VR')")
        up = [float(v) for v in await page.evaluate(column) if v != "MISSING"]
        assert up == sorted(up)
        await page.click("#table thead button:has-text('OBS_VR')")
        down = [float(v) for v in await page.evaluate(column) if v != "MISSING"]
        assert down == sorted(down, reverse=True) and down[0] >= up[-1]
        assert await page.get_attribute("#table thead th >> nth=1", "aria-sort") == "descending"
        await page.click("#pager button:has-text('Next')")
        assert "101 to 160" in await page.text_content("#pager")
        await looked_over(walk)
        await shot(walk, "search-table")


async def test_pictures_are_shown_fetched_and_seen_large(mirror, browser):
    async with walking(browser, mirror.url, viewport={"width": 1280, "height": 900}) as walk:
        page = walk.page
        await walk.to(SHARPS + "&pictures=Br")
        await walk.until("document.querySelector('#strip img').naturalWidth > 0")
        absent = await page.locator("#strip a.absent").count()
        go_on = asyncio.Event()

        async def wait(route):
            await go_on.wait()
            await route.continue_()

        await page.route("**/api/quicklook*fetch=1*", wait)
        await page.click("#strip a.absent >> nth=0")
        await walk.until("document.querySelector('#strip a.loading') !== null")
        assert (await page.text_content("#strip-said")).strip() == "1 of 2 pictures"
        go_on.set()
        await walk.until("document.querySelector('#strip a.loading') === null")
        await walk.until("[...document.querySelectorAll('#strip img')].filter(i => i.naturalWidth).length == 2")
        await walk.until("document.getElementById('strip-said').hidden")
        assert await page.locator("#strip a.absent").count() == absent - 1
        await shot(walk, "search-pictures")
        await page.click("#strip img >> nth=0")
        await walk.until("document.querySelector('#large img').naturalWidth > 0")
        first = await page.text_content("#large-title")
        await page.keyboard.press("ArrowRight")
        assert await page.text_content("#large-title") != first
        await page.keyboard.press("Escape")
        assert not await page.evaluate("document.getElementById('large').open")
        await looked_over(walk)


async def test_an_export_is_begun_watched_and_its_files_are_there(mirror, browser):
    async with walking(browser, mirror.url, viewport=NARROW) as walk:
        page = walk.page
        await walk.to(SHARPS)
        await page.click("#tab-export")
        await page.fill("#export [name=seg]", "Br")
        await page.select_option("#export [name=method]", "url-tar")
        await page.click("#export button")
        await page.wait_for_selector("#exported .badge.good")
        tar = await page.get_attribute("#exported a[download]", "href")
        assert (await mirror.get(tar)).code == 200
        await looked_over(walk)
        await shot(walk, "search-export-narrow")
        await page.fill("#export [name=seg]", "nothing")
        await page.click("#export button")
        await page.wait_for_selector("#export-problem:has-text('nothing')")


async def test_tabs_and_code_work_by_keyboard_and_in_the_dark(mirror, browser):
    async with walking(browser, mirror.url, **DARK) as walk:
        page = walk.page
        await walk.to(HOUR)
        await page.focus("#tab-table")
        await page.keyboard.press("End")
        assert await page.evaluate("document.activeElement.id") == "tab-code"
        assert await page.is_visible("#code-sunpy")
        await page.click("button[data-copy='#code-sql']")
        await page.wait_for_selector("button:has-text('Copied')")
        await looked_over(walk)
        await page.keyboard.press("Home")
        await page.click("#tab-plot")
        await page.wait_for_selector("#plot canvas")
        await looked_over(walk)
        await shot(walk, "search-plot-dark")


async def test_plots_have_two_axes_errors_logarithms_histograms_the_disk_and_code_to_copy(mirror, browser):
    path = "/search?ds=hmi.sharp_cea_720s%5B377%5D%5B2011.02.14/1d@1h%5D&key=T_REC,USFLUX,AREA_ACR&y=USFLUX,AREA_ACR"
    async with walking(browser, mirror.url, viewport={"width": 1280, "height": 900}) as walk:
        page = walk.page
        await walk.to(path)
        await page.wait_for_selector("#plot canvas")
        assert await page.is_visible("#plot-errors")
        assert await page.locator("#plot .u-axis").count() == 3
        code = await page.text_content("#plot-code")
        assert 'axes.errorbar(frame["T_REC"], frame["USFLUX"], yerr=frame["ERRVF"]' in code
        assert "right = axes.twinx()" in code
        await looked_over(walk)
        await shot(walk, "plot-lines")
        await page.check("#plot-log")
        assert 'axes.set_yscale("log")' in await page.text_content("#plot-code")
        await shot(walk, "plot-log")
        await page.select_option("#plot-style", "histogram")
        assert "axes.hist(" in await page.text_content("#plot-code")
        await page.select_option("#plot-style", "scatter")
        async with page.expect_download() as told:
            await page.click("#plot-csv")
        saved = await (await told.value).path()
        lines = (await asyncio.to_thread(Path(saved).read_text)).splitlines()
        assert (lines[0], len(lines)) == ("T_REC,USFLUX,ERRVF,AREA_ACR", 25)
        await page.select_option("#plot-style", "disk")
        assert await page.locator("#plot svg circle title").count() == 24
        await looked_over(walk)
        await shot(walk, "plot-disk")
        assert walk.complaints == []


async def test_it_works_without_script(mirror, browser):
    async with walking(browser, mirror.url, java_script_enabled=False) as walk:
        page = walk.page
        await page.goto(mirror.url + "/search")
        await page.fill("#ds", "hmi.v_45s[2014.01.01_TAI/2h]")
        async with page.expect_navigation():
            await page.click("button.main")
        assert await page.locator("#table tbody tr").count() == 100
        async with page.expect_navigation():
            await page.click("#pager a")
        assert await page.locator("#table tbody tr").count() == 60
        await page.click("#build summary")
        await page.fill("[name='length.T_REC']", "1h")
        async with page.expect_navigation():
            await page.click("#b-use")
        assert "80 records" in await page.text_content("#found-title")
