"""Overview, coverage, series, jobs and upkeep in a browser: no complaint, usable by keyboard, live."""

import json

import pytest
import pytest_asyncio

from tests.browser.walk import looked_over, shot, walking
from tests.lab import lab

pytestmark = pytest.mark.asyncio(loop_scope="module")
PAGES = {
    "overview": "/",
    "coverage": "/coverage?series=hmi.v_45s",
    "coverage-day": "/coverage?series=hmi.v_45s&year=2014&day=2014.01.01",
    "series": "/series",
    "one-series": "/series/hmi.v_45s",
    "jobs": "/jobs",
    "upkeep": "/upkeep",
}
#: Colours, width and height.
LOOKS = {"light": ("light", 1280, 900), "dark": ("dark", 1280, 900), "narrow": ("light", 390, 844)}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory, browser):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask("hmi.v_45s[2014.01.01_TAI/3h]")
        await made.ask("hmi.v_45s[2014.01.03_TAI/1h]")
        yield made


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_shows_without_complaint_and_an_accessibility_checker_finds_nothing(mirror, browser, name):
    async with walking(browser, mirror.url, reduced_motion="reduce") as walk:  # colours change at once
        for look, (colours, width, height) in LOOKS.items():
            await walk.page.emulate_media(color_scheme=colours)
            await walk.page.set_viewport_size({"width": width, "height": height})
            if look == "light":
                await walk.to(PAGES[name])
            if name.startswith("coverage"):
                await walk.page.wait_for_selector("#summary:has-text('records')")
            await shot(walk, f"{name}-{look}")
            await looked_over(walk)


async def test_the_checker_would_find_something(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        await walk.to("/jobs")
        await walk.page.evaluate("document.querySelector('h1').innerHTML = '<img src=/static/0/icon.svg>'")
        assert [line for line in await walk.accessibility() if "image-alt" in line]


async def test_the_keyboard_reaches_everything_and_skips_the_navigation(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        await walk.to("/upkeep")
        await walk.page.keyboard.press("Tab")
        assert await walk.page.evaluate("document.activeElement.textContent") == "Skip to the content"
        await walk.page.keyboard.press("Enter")
        assert await walk.page.evaluate("document.activeElement.id") == "main"
        seen = []
        for _ in range(40):
            await walk.page.keyboard.press("Tab")
            seen.append(await walk.page.evaluate("document.activeElement.id"))
        assert {"scope", "restart", "need", "to", "keep", "backup-list", "since"} <= set(seen)


async def test_the_theme_is_kept(mirror, browser):
    async with walking(browser, mirror.url, color_scheme="light") as walk:
        await walk.to("/")
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        light = await walk.page.evaluate(ground)
        await walk.page.click("#theme")
        await walk.page.click("#theme")
        dark = await walk.page.evaluate(ground)
        await walk.to("/series")
        assert await walk.page.evaluate(ground) == dark != light
        assert walk.complaints == []


async def test_the_overview_is_live(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        await walk.to("/")
        before = int((await walk.page.text_content("[data-live=local]")).split()[0])
        await mirror.ask("hmi.v_45s[2014.01.01_TAI/1h]")
        await walk.page.wait_for_selector(f"[data-live=local]:has-text('{before + 1} search')")
        assert await walk.page.text_content("#live-badge") == "live"
        assert walk.complaints == []


async def test_a_gap_is_found_by_keyboard_and_filled_from_the_heat_map(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        page = walk.page
        await walk.to("/coverage?series=hmi.v_45s")
        await page.wait_for_selector("#summary:has-text('records')")
        await page.focus("#heat")
        await page.keyboard.press("ArrowRight")
        assert (await page.text_content("#announcer")).startswith("2014.01.02: missing")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#fill")
        assert await page.text_content("#detail-title") == "2014.01.02"
        assert "day=2014.01.02" in await page.evaluate("location.href")
        assert "1 gap, 1,920 slots" in await page.text_content("#detail-body")
        await page.click("#fill")
        await page.wait_for_selector("#fill:has-text('Fetch 1,9')")  # its size, before anything is fetched
        await page.click("#fill")
        await page.wait_for_selector("#detail-body:has-text('Nothing is missing')")
        states = (await mirror.get("/api/coverage/days", {"series": "hmi.v_45s", "year": "2014"})).json[
            "states"
        ]
        assert states[1] == "f"
        assert walk.complaints == []


async def test_the_heat_map_zooms_by_pointer_and_goes_back(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        page = walk.page
        await walk.to("/coverage?series=hmi.v_45s")
        await page.wait_for_selector("#summary:has-text('records')")
        await page.click("#heat", position={"x": 48, "y": 24})
        await page.wait_for_selector("#detail canvas")
        assert await page.text_content("#detail-title") == "2014.01.01"
        await page.go_back()
        await page.wait_for_selector("#detail", state="hidden")
        assert await page.text_content("#crumbs [aria-current]") == "All years"
        assert walk.complaints == []


async def test_the_table_leads_to_the_same_days(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        page = walk.page
        await walk.to("/coverage?series=hmi.v_45s")
        await page.click("#as-table summary")
        await page.click("#table button[aria-label='Open 2014']")
        await page.click("#table button[aria-label^='2014.01.03']")
        await page.wait_for_selector("#fill")
        assert await page.text_content("#detail-title") == "2014.01.03"
        assert walk.complaints == []


async def test_keywords_are_filtered(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        await walk.to("/series/hmi.v_45s")
        await walk.page.fill("#filter", "crlt_obs")
        rows = await walk.page.eval_on_selector_all(
            "#keyword-table tbody tr", "rows => rows.filter(r => !r.hidden).map(r => r.cells[0].textContent)"
        )
        assert rows == ["CRLT_OBS"]


async def test_a_check_is_begun_and_watched_to_its_end(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        await walk.to("/upkeep")
        await walk.page.click("#check button")
        await walk.page.wait_for_selector("#check-state .badge.good:has-text('no problems')")
        await walk.page.fill("#need", "0.001")
        await walk.page.click("#evict button")
        await walk.page.wait_for_selector("#evict-state p")
        assert walk.complaints == []


async def test_a_backup_is_made_and_listed(mirror, browser, tmp_path):
    async with walking(browser, mirror.url) as walk:
        await walk.to("/upkeep")
        await walk.page.fill("#to", str(tmp_path / "backups"))
        await walk.page.click("#backup button[type=submit]")
        await walk.page.wait_for_selector("#backup-state table")
        assert str(tmp_path / "backups") in await walk.page.text_content("#backup-state")
        assert walk.complaints == []


async def test_an_error_is_shown_where_it_can_be_read(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        await walk.to("/upkeep")
        await walk.page.fill("#to", "not/absolute")
        await walk.page.click("#backup button[type=submit]")
        await walk.page.wait_for_selector("#problems:has-text('not an absolute path')")


async def test_a_job_is_shown_with_its_files(mirror, browser):
    body = json.dumps({"ds": "hmi.v_45s[2014.01.01_TAI/90s]{Dopplergram}", "email": "ada@example.org"})
    made = await mirror.request("POST", "/api/jobs", data=body, headers={"Content-Type": "application/json"})
    assert made.code == 202, made.body
    async with walking(browser, mirror.url) as walk:
        await walk.to("/jobs")
        await walk.page.click(f"#jobs a:has-text('{made.json['id']}')")
        await walk.page.wait_for_selector("dl:has-text('hmi.v_45s[2014.01.01_TAI/90s]')")
        assert await walk.accessibility() == []
        assert walk.complaints == []
