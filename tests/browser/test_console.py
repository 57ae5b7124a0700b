"""The SQL console and the editor of subscriptions in a browser."""

from pathlib import Path

import pytest
import pytest_asyncio

from tests.browser.walk import looked_over, shot, walking
from tests.lab import lab

pytestmark = pytest.mark.asyncio(loop_scope="module")
WIDE = {"viewport": {"width": 1280, "height": 900}}
CONFIG = "# Ours.\n[log]\nlevel = 'error'\n"
#: Runs for a minute, unless somebody ends it.
SLOW = "SELECT count(*) FROM range(10000000) a, range(1000000) b WHERE a.range + b.range = 3"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory, browser):
    async with lab(tmp_path_factory.mktemp("store"), config=CONFIG) as made:
        await made.ask("hmi.v_45s[2014.01.01_TAI/1h]")
        yield made


@pytest.mark.parametrize("options", [{"viewport": {"width": 390, "height": 844}}, {"color_scheme": "dark"}], ids=["narrow", "dark"])
@pytest.mark.parametrize("path", ["/search", "/search?ds=hmi.v_45s[2014.01.01_TAI/1h]&key=T_REC,QUALITY", "/sql", "/subscriptions"])
async def test_pages_show_without_complaint_in_the_dark_and_on_a_telephone(mirror, browser, path, options):
    async with walking(browser, mirror.url, **options) as walk:
        await walk.to(path)
        await walk.page.wait_for_load_state("networkidle")
        await looked_over(walk)


async def test_a_statement_is_run_charted_downloaded_and_kept(mirror, browser):
    async with walking(browser, mirror.url, **WIDE) as walk:
        page = walk.page
        await walk.to("/sql")
        await page.fill("#query", "SELECT t_rec, obs_vr, quality FROM hmi.v_45s ORDER BY t_rec")
        await page.keyboard.press("Control+Enter")
        await page.wait_for_selector("#answer-title:has-text('80 rows')")
        for width in (1440, 390):
            await page.set_viewport_size({"width": width, "height": 900})
            shown = await page.evaluate("document.querySelector('#answer-title').getBoundingClientRect().top")
            below = await page.evaluate("document.querySelector('aside').getBoundingClientRect().top")
            assert 0 < shown < 720, f"the answer begins below the fold at {width} pixels"
            assert width == 1440 or below > shown, "saved statements stand between a statement and its answer"
        await page.set_viewport_size(WIDE["viewport"])
        await looked_over(walk)
        async with page.expect_download() as waiting:
            await page.click("#downloads a:has-text('CSV')")
        lines = Path(await (await waiting.value).path()).read_text().splitlines()  # noqa: ASYNC240  (a small file)
        assert (lines[0], len(lines)) == ('"T_REC","OBS_VR","QUALITY"', 81)
        await page.click("#tab-chart")
        await page.wait_for_selector("#plot canvas")
        await page.fill("#save-name", "Velocities")
        await page.click("#save button")
        await page.wait_for_selector("#saved button:has-text('Velocities')")
        await looked_over(walk)
        await shot(walk, "sql-chart")
        await page.fill("#query", "SELECT 1")
        await page.click("#saved button:has-text('Velocities')")
        assert "obs_vr" in await page.input_value("#query")
        await page.click("button[aria-label='Delete Velocities']")
        await page.wait_for_selector("#saved-none:not([hidden])")
        assert walk.complaints == []


async def test_an_error_is_marked_in_the_statement(mirror, browser):
    async with walking(browser, mirror.url, **WIDE) as walk:
        page = walk.page
        await walk.to("/sql")
        await page.fill("#query", "SELECT t_rec, datameen\nFROM hmi.v_45s")
        await page.click("#run")
        await page.wait_for_selector("#behind mark")
        assert await page.text_content("#behind mark") == "datameen"
        assert "no column datameen; did you mean" in await page.text_content("#sql-said")
        assert await page.evaluate("document.getElementById('query').selectionStart") == 14
        assert await walk.accessibility() == []
        await shot(walk, "sql-error")
        await page.keyboard.type("x")
        assert await page.locator("#behind mark").count() == 0
        assert [c for c in walk.complaints if "400 (Bad Request)" not in c] == []


async def test_a_statement_is_cancelled_and_ends_at_the_mirror_too(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        page = walk.page
        await walk.to("/sql")
        await page.fill("#query", SLOW)
        await page.click("#run")
        await page.click("#cancel")
        await page.wait_for_selector("#sql-said:has-text('Cancelled')")
        # The mirror has two places: were the first still busy, the third statement would wait for a minute.
        for _ in range(3):
            await page.fill("#query", SLOW)
            await page.click("#run")
            await page.keyboard.press("Escape")
            await page.click("#cancel") if await page.is_visible("#cancel") else None
            await page.wait_for_selector("#sql-said:has-text('Cancelled')")
        await page.fill("#query", "SELECT 42 AS x")
        await page.click("#run")
        await page.wait_for_selector("#answer-title:has-text('1 row')")
        assert walk.complaints == []


async def test_names_are_completed_by_keyboard(mirror, browser):
    async with walking(browser, mirror.url, **WIDE) as walk:
        page = walk.page
        await walk.to("/sql")
        await page.fill("#query", "SELECT  FROM hmi.v_45s")
        await page.evaluate("document.getElementById('query').setSelectionRange(7, 7)")
        await page.focus("#query")
        await page.keyboard.type("datam")
        await page.wait_for_selector("#choices:not([hidden]) li:has-text('datamean')")
        assert await walk.accessibility() == []
        await shot(walk, "sql-completion")
        while await page.text_content("#choices li[aria-selected=true] .mono") != "datamean":
            await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Tab")
        assert await page.input_value("#query") == "SELECT datamean FROM hmi.v_45s"
        await page.fill("#query", "SELECT 1 FROM ")
        await page.keyboard.press("Control+Space")
        await page.wait_for_selector("#choices:not([hidden]) li:has-text('hmi.v_45s')")
        await page.keyboard.press("Escape")
        assert await page.is_hidden("#choices")
        assert walk.complaints == []


async def test_a_subscription_is_written_corrected_changed_and_taken_out(mirror, browser):
    async with walking(browser, mirror.url, **WIDE) as walk:
        page = walk.page
        await walk.to("/subscriptions")
        await page.click("#new")
        await page.fill("#f-series", "hmi.sharp_cea_72s")
        await page.fill("#f-start", "soon")
        await page.click("#write")
        await page.wait_for_selector("#e-series:has-text('did you mean')")
        await page.wait_for_selector("#e-start:has-text('a time such as')")
        assert await page.evaluate("document.activeElement.id") == "f-series"
        assert await walk.accessibility() == []
        await shot(walk, "subscription-errors")
        await page.fill("#f-series", "hmi.sharp_cea_720s")
        await page.fill("#f-start", "2014.01.01_TAI")
        await page.fill("#f-end", "2014.01.01_01:00:00_TAI")
        await page.fill("#f-keys", "HARPNUM=3536,3560")
        await page.fill("#f-segments", "bitmap")
        await page.click("#write")
        card = "article[data-name='hmi.sharp_cea_720s']"
        await page.wait_for_selector(card)
        written = mirror.config.read_text()
        assert written.startswith(CONFIG) and "HARPNUM = [3536, 3560]" in written
        await shot(walk, "subscriptions")
        await page.click(f"{card} button:has-text('Edit')")
        assert await page.input_value("#f-keys") == "HARPNUM=3536,3560"
        await page.fill("#f-every", "2h")
        await page.click("#write")
        await walk.until("!document.getElementById('edit').open")
        assert 'every = "2h"' in mirror.config.read_text()
        assert await walk.accessibility() == []
        await page.click(f"{card} button:has-text('Remove')")
        await page.click("#sure button[value=yes]")
        await page.wait_for_selector(".empty")
        assert mirror.config.read_text().rstrip() == CONFIG.rstrip()
        assert [c for c in walk.complaints if "400 (Bad Request)" not in c] == []
