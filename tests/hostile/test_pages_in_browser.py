"""The scripts of the pages, told of states with values that are not there: nothing fails, and what is known is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_asyncio

from tests.browser.walk import Walk, chromium, walking
from tests.lab import lab

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with chromium() as made:
        yield made


SUBSCRIPTION: dict[str, Any] = {
    "name": "odd <b>", "series": "hmi.m_720s", "start": "-30d", "end": "now", "segments": ["magnetogram"], "state": "unheard of",
    "why": None, "records": None, "records_wanted": 0, "files": None, "files_wanted": None, "files_absent": None, "bytes": None,
    "rate": None, "seconds_left": 90061, "last_look": None, "next_look": None, "problem": None, "budget": None, "passes": 0,
}  # fmt: skip
JOB: dict[str, Any] = {
    "id": "JSOC_20260101_1",
    "state": "cancelled",
    "ready": None,
    "total": None,
    "ds": "hmi.m_720s[$]",
}


async def told(walk: Walk, path: str, kind: str, body: str) -> None:
    """Let the page hear this in place of what the mirror says."""

    async def answer(route: Any) -> None:
        await route.fulfill(status=200, content_type=kind, body=body)

    await walk.page.route(f"**{path}", answer)


async def test_scripts_take_values_that_are_not_there(browser, tmp_path):
    async with lab(tmp_path, config="") as made, walking(browser, made.url) as walk:
        state = (await made.get("/api/status")).json | {
            "answers": {"local": None, "asked": None, "all": None}, "bytes": dict.fromkeys(("spared", "sent", "asked", "ahead")),
            "records": None, "disk": {"free": None, "total": 0}, "jobs": [JOB], "changes": [], "subscriptions": [SUBSCRIPTION],
            "fills": [{"series": "hmi.m_720s", "done": None, "total": 0}], "files": {"count": None, "bytes": None, "quota": None},
        }  # fmt: skip
        await told(walk, "/api/events", "text/event-stream", f"event: status\ndata: {json.dumps(state)}\n\n")
        await told(walk, "/api/subscriptions", "application/json", json.dumps([SUBSCRIPTION]))
        await walk.to("/")
        await walk.page.wait_for_selector("#subscriptions :text('odd <b>')")
        await walk.page.wait_for_selector("#work :text('cancelled')")
        await walk.to("/subscriptions")
        await walk.page.wait_for_selector("#list :text('1 d 1 h left')")
        for path in ("/jobs", "/coverage", "/upkeep", "/series", "/sql", "/search"):
            await walk.to(path)
        assert walk.complaints == []


async def test_an_editor_whose_file_is_broken_meanwhile_says_so(browser, tmp_path):
    async with lab(tmp_path, config="") as made, walking(browser, made.url) as walk:
        await walk.to("/subscriptions")
        made.config.write_text("[log\n")
        await walk.page.click("#new")
        await walk.page.fill("#f-series", "hmi.m_720s")
        await walk.page.fill("#f-start", "-1d")
        await walk.page.click("#write")
        await walk.page.wait_for_selector("#edit-problem:has-text('is not TOML')")
        assert [c for c in walk.complaints if not c.startswith("error: Failed to load resource")] == []


async def test_moments_and_lengths_that_do_not_exist_are_dashes(browser, tmp_path):
    async with lab(tmp_path) as made, walking(browser, made.url) as walk:
        await walk.to("/")
        [source] = await walk.page.eval_on_selector_all(
            "script[src$='site.js']", "all => all.map(one => one.src)"
        )
        words = await walk.page.evaluate(
            "async (source) => { const s = await import(source); return [s.moment(1e20), s.moment(null), s.moment(-1),"
            " s.length(-5), s.length(null), s.number(null), s.size(-5), s.share(null, 3), s.share(1, 0)]; }",
            source,
        )
        assert words == ["–", "–", "1969-12-31 23:59 UTC", "0 s", "–", "–", "-5 B", "–", "–"]
