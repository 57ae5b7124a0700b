"""Every page in every state of what it shows: no value that a mirror may have makes a page fail.

First each template by itself, with values that are made up; then the pages of mirrors that run, in the states
in which a user meets them, and the news that pages listen to.
"""

from __future__ import annotations

import asyncio
import json
import math
import socket
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from mirror.api.contract import plain
from mirror.humanize import length, moment, number, share, size
from mirror.server.pages.site import FILTERS, NAVIGATION, Site, amount
from tests.accesslab import BROWSER, CONFIG, bearer
from tests.hostile.pagevalues import FRAME, PAGES, have, numbers
from tests.lab import Lab, lab
from tests.server.webcheck import Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SERIES, HOUR = "hmi.sharp_cea_720s", "hmi.v_45s[2014.01.01_TAI/1h]"
#: A window whose files are more than its budget lets come on one day.
SHORT = f"""
[[subscription]]
name = "short"
series = "{SERIES}"
start = "2014.01.01_TAI"
end = "2014.01.01_01:00:00_TAI"
segments = ["bitmap"]
budget = "20KB/day"
"""
PIECES = ("search-fields.html", "plot.html")
#: One example will do; the smallest is not looked for.
QUICK = settings(max_examples=50, phases=[Phase.generate], database=None)
site = Site(None, None)  # type: ignore[arg-type]  # nothing is passed on here, nor fails


# ---- templates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", sorted(PAGES))
@given(st.data())
def test_a_page_is_well_formed_whatever_it_shows(template, data):
    values = data.draw(PAGES[template]) | data.draw(have(**FRAME))
    text = site.render(template, **values)
    told = Page(text if template not in PIECES else f"<!DOCTYPE html>{text}")
    if template in PIECES:
        told.problems = [p for p in told.problems if not p.startswith("no such ids")]
    assert told.problems == []
    assert "<script>alert" not in text


def test_no_template_is_left_out():
    assert set(jinja2.PackageLoader("mirror", "web/templates").list_templates()) - {"base.html"} == set(PAGES)


@given(numbers, numbers)
def test_every_number_has_words(one, other):
    assert all(isinstance(words(one), str) and words(one) for words in (number, size, length, moment))
    assert isinstance(share(one, other), str)
    assert math.isfinite(amount(one))


def test_what_is_nothing_or_without_end_is_a_dash():
    for nothing in (None, math.inf, -math.inf, math.nan):
        assert {number(nothing), size(nothing), length(nothing), moment(nothing), share(nothing, 3)} == {"–"}
    assert (moment(1e20), moment(-1.0), length(-5.0)) == ("–", "1969-12-31 23:59 UTC", "0 s")
    assert length(10.0**30).endswith("h")


def test_a_filter_of_ours_hides_none_of_the_templates_own():
    """``length`` of jinja counts; a page that meant ours by it failed on the first number."""
    assert not set(jinja2.Environment().filters) & set(FILTERS)


# ---- mirrors that run --------------------------------------------------------------------------------


@asynccontextmanager
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, dict[str, Any]]]:
    """What templates are given meanwhile."""
    given_values: dict[str, dict[str, Any]] = {}
    real = Site.render

    def render(self: Site, template: str, /, **values: Any) -> str:
        given_values[template] = values
        return real(self, template, **values)

    with monkeypatch.context() as patch:
        patch.setattr(Site, "render", render)
        yield given_values


async def every_page(made: Lab, *more: str, **headers: str) -> None:
    """All pages are there and well-formed, and what programs and scripts ask is JSON that browsers take."""
    for path in (*(address for address, _ in NAVIGATION), "/login", *more):
        answer = await made.get(*path.split("?"), headers=headers)
        assert answer.code == 200, (path, answer.body[-500:])
        assert Page(answer.body.decode()).problems == [], path
    for path in ("/api/status", "/api/subscriptions", "/api/jobs", "/api/coverage", "/api/series"):
        answer = await made.get(path, headers=headers)
        assert answer.code == 200, (path, answer.body)
        strict(answer.body.decode())
    news = strict(await first_event(made, headers))
    assert {"answers", "subscriptions", "jobs", "fills"} <= news.keys()
    assert (await made.get("/metrics", headers=headers)).code == 200


def strict(text: str) -> Any:
    """JSON as browsers read it: no NaN and no Infinity."""

    def never(word: str) -> Any:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=never)


async def first_event(made: Lab, headers: dict[str, str]) -> str:
    async with made.session.get(made.url + "/api/events", headers=headers) as response:
        assert response.status == 200, await response.text()
        while not (line := (await response.content.readline()).decode()).startswith("data: "):
            assert line
        return line.removeprefix("data: ")


async def synced(made: Lab) -> list[dict[str, Any]]:
    """Let the subscriptions work until they rest."""
    await made.running.sync.once()
    await made.running.sync.finished()
    return [plain(report) for report in await made.running.sync.report()]


def ticking(made: Lab) -> None:
    """Let the mirror's clock go on a little with each look at it: work takes time."""
    stands = type(made.clock).__call__

    class Ticking(type(made.clock)):  # type: ignore[misc]
        def __call__(self) -> datetime:
            self.seconds += 0.01
            return stands(self)

    made.clock.__class__ = Ticking


async def test_a_mirror_that_holds_nothing_yet(tmp_path):
    async with lab(tmp_path) as made:
        await every_page(made, "/search?ds=" + HOUR, "/series/hmi.v_45s")


async def test_a_config_that_is_empty(tmp_path):
    async with lab(tmp_path, config="") as made:
        await every_page(made)


async def test_a_subscription_whose_budget_is_used_up_says_until_when(tmp_path):
    async with lab(tmp_path, config=SHORT) as made:
        await every_page(made)
        ticking(made)
        await made.restart()
        [report] = await synced(made)
        assert report["state"] == "waiting"
        assert report["seconds_left"] is None, "the rate does not tell when there is more of the budget"
        await every_page(made)
        page = (await made.get("/subscriptions")).body.decode()
        assert report["why"].startswith("budget used up until 20") and report["why"] in page


async def test_a_next_look_that_no_calendar_has(tmp_path):
    config = SHORT.replace("budget", 'every = "999999999w"\nbudget')
    async with lab(tmp_path, config=config) as made:
        [report] = await synced(made)
        assert report["next_look"] == "9999-12-31T23:59:59Z"
        await every_page(made)


async def test_every_state_of_subscriptions_and_of_jsoc(tmp_path):
    async with lab(tmp_path, config=SHORT.replace("20KB", "1GB")) as made:
        await made.faults({"match": {}, "fault": "refuse"})
        assert (await synced(made))[0]["state"] == "failing"
        await every_page(made)
        await made.faults()
        assert (await synced(made))[0]["state"] == "current"
        await every_page(made)
        await made.restart(MIRROR_UPSTREAM__POLICY="offline", MIRROR_STORAGE__QUOTA="90KB")
        assert (await synced(made))[0]["why"] == "the mirror is offline"
        await every_page(made)


async def test_answers_that_are_stale(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(HOUR)
        made.clock.forward(days=400)
        await made.faults({"match": {}, "fault": "refuse"})
        assert (await made.ask(HOUR)).plan == "stale"
        await every_page(made, "/search?ds=" + HOUR)


async def test_an_export_that_waits_and_one_that_failed(tmp_path):
    async with lab(tmp_path, MIRROR_UPSTREAM__EMAIL="a@example.com") as made:
        await made.faults({"match": {"op": "exp_request"}, "fault": "http500"})
        body = {"ds": f"{SERIES}[3536][2014.01.01_TAI/24m]{{bitmap}}", "method": "url", "protocol": "as-is"}
        job = await made.request("POST", "/api/jobs", json=body)
        if job.code < 300:
            await every_page(made, f"/jobs/{job.json['id']}")
        await every_page(made)
        assert (await made.get("/jobs/NOT_THERE")).code == 404


async def test_a_config_that_is_wrong_meanwhile(tmp_path):
    async with lab(tmp_path, config=SHORT) as made:
        made.config.write_text("[log\n")
        await made.running.watch.reload()
        await every_page(made)
        assert "is not TOML" in (await made.get("/subscriptions")).body.decode()


@pytest.mark.parametrize("role", ["read", "export", "admin", None])
async def test_every_role_and_none(tmp_path, role):
    async with lab(tmp_path, config=CONFIG + SHORT) as made:
        if role is not None:
            await every_page(made, **bearer(role))
            return
        for path in [address for address, _ in NAVIGATION]:
            answer = await made.get(path, headers=BROWSER, allow_redirects=False)
            assert answer.code in (200, 303, 401), path
            assert (await made.get(path, headers={**BROWSER, "Cookie": "mirror_session=over"})).code in (
                200,
                401,
            )
        assert Page((await made.get("/login", headers=BROWSER)).body.decode()).problems == []


async def test_names_that_are_no_names(tmp_path):
    hostile = (
        "<script>alert(1)</script>",
        "%ff%fe",
        "\u202e",
        "a b",
        "..",
        "%",
        "%00",
        "\U0001f31e",
        "'\"",
        "x" * 5000,
    )
    async with lab(tmp_path) as made:
        for name in hostile:
            quoted = name if name.startswith("%") and len(name) > 1 else quote(name, safe="")
            for path in (
                "/series/",
                "/jobs/",
                "/search?ds=",
                "/coverage?series=",
                "/sql?query=",
                "/login?next=",
                "/series?q=",
                "/upkeep?since=",
            ):
                target, _, query = (path + quoted).partition("?")
                answer = await made.get(target, query)
                assert answer.code < 500, (path, name, answer.body[-300:])
                assert b"<script>alert" not in answer.body


async def test_a_request_line_and_headers_that_are_not_utf8(tmp_path):
    async with lab(tmp_path) as made:
        for line in (b"/series/\xff\xed\xa0\x80", b"/jobs/\xff", b"/", b"/search?ds=\xff", b"/nothing\xff"):
            with socket.create_connection(("127.0.0.1", made.server.port)) as raw:
                raw.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(
                    raw, b"GET " + line + b" HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n"
                )
                head = await loop.sock_recv(raw, 100)
            assert head.startswith(b"HTTP/1."), head
            assert int(head.split()[1]) < 500, (line, head)


async def test_what_pages_are_really_given_is_what_is_made_up_here(tmp_path, monkeypatch):
    async with watched(monkeypatch) as seen, lab(tmp_path, config=SHORT) as made:
        ticking(made)
        await synced(made)
        await made.ask(HOUR)
        await every_page(made, "/search?ds=" + HOUR, "/series/hmi.v_45s")
        await made.get("/search/builder", "series=hmi.v_45s")
        await made.get("/coverage", f"series={SERIES}")
        await made.get("/series/there.is_none", headers={"Accept": "text/html"})
    for template, values in seen.items():
        names = set(values) - set(FRAME)
        assert find(PAGES[template], lambda made_up, names=names: set(made_up) == names, settings=QUICK), (
            template
        )
