"""A mirror with tokens in a browser: who is asked for one, what each role may do, and what a refusal looks like."""

import pytest
import pytest_asyncio

from mirror.services.access.authentication import SESSION
from tests.accesslab import CONFIG, TOKENS
from tests.browser.walk import looked_over, shot, walking
from tests.lab import lab

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR = "/search?ds=hmi.v_45s[2014.01.01_TAI/1h]&key=T_REC,QUALITY"
PAGES = ["/", "/coverage", HOUR, "/sql", "/series", "/series/hmi.v_45s", "/jobs", "/subscriptions", "/upkeep"]
#: What a browser says of any answer with such a code; the page tells people in its own words.
EXPECTED = "Failed to load resource: the server responded with a status of"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory, browser):
    async with lab(tmp_path_factory.mktemp("store"), config=CONFIG) as made:
        yield made


async def log_in(walk, role, onward="/"):
    """Come to a page, be sent to the login, and give the token of that role there."""
    page = walk.page
    await page.goto(walk.url + onward)
    assert "/login" in page.url
    await page.fill("#token", TOKENS[role])
    await page.keyboard.press("Enter")
    await page.wait_for_selector(".account")
    assert page.url == walk.url + onward


def only(walk, code):
    """Nothing was complained of but answers with this code."""
    said, walk.complaints = walk.complaints, []
    assert said
    assert all(f"{EXPECTED} {code}" in each for each in said), said


async def test_whoever_comes_is_asked_for_a_token_and_led_on_to_the_page(mirror, browser):
    async with walking(browser, mirror.url, viewport={"width": 1280, "height": 900}) as walk:
        page = walk.page
        await walk.to("/series/hmi.v_45s")
        assert await page.title() == "Log in - JSOC mirror"
        await looked_over(walk)
        await shot(walk, "login")
        await page.fill("#token", "rita.wrong")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("[role=alert]:has-text('Invalid or revoked token')")
        only(walk, 403)
        assert await walk.accessibility() == []
        await page.fill("#token", TOKENS["read"])
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".account:has-text('rita, role read')")
        assert page.url == walk.url + "/series/hmi.v_45s"
        await looked_over(walk)


@pytest.mark.parametrize("role", ["read", "admin"])
async def test_every_page_shows_without_complaint_to_the_least_and_the_greatest(mirror, browser, role):
    async with walking(browser, mirror.url) as walk:
        await log_in(walk, role)
        for path in PAGES:
            await walk.to(path)
            assert await walk.page.text_content(".account p") == f"{TOKENS[role].partition('.')[0]}, role {role}"
        assert walk.complaints == []


async def test_logging_out_ends_it(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        page = walk.page
        await log_in(walk, "admin")
        await page.click(".account button")
        await page.wait_for_selector("#token")
        await page.goto(walk.url + "/sql")
        assert "/login" in page.url
        assert walk.complaints == []


async def test_a_reader_sees_no_button_for_what_takes_another_role_and_may_not_do_it_without(mirror, browser):
    async with walking(browser, mirror.url) as walk:
        page = walk.page
        await log_in(walk, "read", "/subscriptions")
        assert await page.query_selector("#new") is None
        edit = """async () => {
            const headers = {"Content-Type": "application/json"};
            const answer = await fetch("/api/subscriptions", {method: "POST", headers, body: '{"series": "hmi.v_45s"}'});
            return [answer.status, await answer.text()];
        }"""
        code, words = await page.evaluate(edit)
        assert (code, "role read" in words, "role admin" in words) == (403, True, True)
        only(walk, 403)
        assert mirror.config.read_text() == CONFIG


async def test_a_session_that_is_over_costs_nothing_that_was_typed(mirror, browser):
    statement = "SELECT 6 * 7 AS answer"
    async with walking(browser, mirror.url) as walk:
        page = walk.page
        await log_in(walk, "read", "/sql")
        await page.fill("#query", statement)
        mirror.clock.seconds += SESSION + 1
        await page.click("#run")
        await page.wait_for_selector("#sql-said a:has-text('Log in')")
        only(walk, 401)
        async with page.context.expect_page() as opened:
            await page.click("#sql-said a")
        door = await opened.value
        await door.fill("#token", TOKENS["read"])
        await door.keyboard.press("Enter")
        await door.wait_for_selector(".account")
        await page.click("#run")
        await page.wait_for_selector("td:has-text('42')")
        assert await page.input_value("#query") == statement
        assert walk.complaints == []
