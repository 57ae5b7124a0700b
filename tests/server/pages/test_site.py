"""The pages without a browser: each is there, well-formed, self-contained, and tells what the mirror holds."""

import asyncio
import json
import re

import msgspec
import pytest
import pytest_asyncio

from mirror.humanize import counted, length, of_several, share, size
from mirror.server.api.monitoring import Events
from mirror.server.pages.site import NAVIGATION, many
from tests.lab import Lab, lab
from tests.server.webcheck import Page
from tests.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"
JSON = {"Content-Type": "application/json"}
OURS = ["/", "/coverage", "/coverage?series=hmi.v_45s", "/series", "/series/hmi.v_45s", "/jobs", "/upkeep"]
EVERY = [*OURS, *(address for address, _ in NAVIGATION if address not in OURS)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask(HOUR)
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def quiet(tmp_path_factory):
    """One that nobody asks for anything but an hour: links of pages above lead to searches."""
    async with lab(tmp_path_factory.mktemp("quiet")) as made:
        await made.ask(HOUR)
        yield made


async def page(mirror: Lab, path: str, code: int = 200) -> Page:
    path, _, query = path.partition("?")
    answer = await mirror.get(path, query)
    assert answer.code == code, answer.body
    assert answer.headers["Content-Type"].startswith("text/html")
    return Page(answer.body.decode())


# ---- every page ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EVERY)
async def test_a_page_is_well_formed_and_has_nothing_inline_and_nothing_from_outside(mirror, path):
    told = await page(mirror, path)
    assert told.problems == []
    assert told.title.endswith("JSOC mirror")
    assert len(told.headings) == 1


@pytest.mark.parametrize("path", EVERY)
async def test_links_and_files_of_a_page_are_there(mirror, path):
    told = await page(mirror, path)
    for address in {*told.links, *told.assets}:
        if address.startswith("#"):
            continue
        path, _, query = address.partition("?")
        answer = await mirror.get(path, query)
        # The series of the lab have fewer keywords than those of JSOC that the examples are about.
        assert answer.code == 200 or b"has no keyword" in answer.body, address


@pytest.mark.parametrize("path", EVERY)
async def test_a_page_forbids_scripts_that_are_not_ours(mirror, path):
    headers = (await mirror.get(*path.split("?"))).headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


async def test_the_navigation_says_where_one_is(mirror):
    text = (await mirror.get("/series/hmi.v_45s")).body.decode()
    assert re.findall(r'href="([^"]*)" aria-current="page"', text) == ["/series"]


async def test_static_files_may_be_kept_for_good_and_are_checked_otherwise(mirror):
    style = next(a for a in (await page(mirror, "/")).assets if a.endswith("site.css"))
    answer = await mirror.get(style)
    assert "immutable" in answer.headers["Cache-Control"]
    again = await mirror.get(style, headers={"If-None-Match": answer.headers["Etag"]})
    assert (again.code, again.body) == (304, b"")
    old = await mirror.get("/static/0/site.css")
    assert (old.code, old.body, old.headers["Cache-Control"]) == (200, answer.body, "no-cache")


@pytest.mark.parametrize("name", ["nothing.css", "../base.html", "%2e%2e/templates/base.html", "vendor"])
async def test_nothing_but_static_files_is_served_below_static(mirror, name):
    assert (await mirror.get(f"/static/0/{name}")).code == 404


async def test_modules_import_only_what_is_there(mirror):
    for address in [a for path in EVERY for a in (await page(mirror, path)).assets if a.endswith(".js")]:
        text = (await mirror.get(address)).body.decode()
        folder = address.rsplit("/", 1)[0]
        for name in re.findall(r'from "\./([^"]+)"', text):
            assert (await mirror.get(f"{folder}/{name}")).code == 200, name


# ---- hostile and wrong ---------------------------------------------------------------------------

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "hmi.'v_45s",
    "a" * 3000,
    "\x01",
    "%",
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_name_is_told_of_as_text(mirror, name):
    from urllib.parse import quote

    for path in (
        f"/coverage?series={quote(name)}",
        f"/series/{quote(name, safe='')}",
        f"/jobs/{quote(name, safe='')}",
    ):
        answer = await mirror.get(*path.split("?"))
        assert answer.code in (400, 404, 502, 503), path
        told = Page(answer.body.decode())
        assert told.problems == []
        assert told.headings == ["That did not work"]


async def test_a_series_that_is_not_there_is_told_of(mirror):
    assert "hmi.nothing" in (await page(mirror, "/series/hmi.nothing", 404)).text


# ---- what pages tell -----------------------------------------------------------------------------


async def test_the_front_page_tells_how_the_mirror_is(quiet):
    told = " ".join((await page(quiet, "/")).text.split())
    assert "JSOC online" in told
    assert "Cached records 80" in told


async def test_the_page_of_a_series_tells_keywords_with_types_and_units(mirror):
    told = await page(mirror, "/series/HMI.V_45S")
    assert told.headings == ["hmi.V_45s"]
    for text in ("CRLT_OBS", "QUALITY", "Dopplergram", "T_REC", "SELECT t_rec", "Fido.search"):
        assert text in told.text or text.lower() in told.text.lower(), text


async def test_a_series_is_opened_by_its_name_without_script(mirror):
    answer = await mirror.get("/series", "q=hmi.v_45s", allow_redirects=False)
    assert (answer.code, answer.headers["Location"]) == (303, "/series/hmi.v_45s")


async def test_the_spans_are_on_the_coverage_page_without_script(mirror):
    assert "2014.01.01_00:00:00_TAI" in (await page(mirror, "/coverage?series=hmi.v_45s")).text


async def test_who_used_how_much_is_shown_to_administrators_only(tmp_path):
    async with lab(tmp_path, config='[access]\nnetworks = ["127.0.0.0/8 read"]\n') as made:
        told = await page(made, "/upkeep")
        assert told.problems == []
        assert "127.0.0.1" not in told.text
        assert "Back up now" not in told.text


# ---- those who take us for JSOC --------------------------------------------------------------------


async def test_who_takes_us_for_jsoc_gets_jsocs_pages(mirror):
    import aiohttp

    async def through(path):
        target = f"http://jsoc.stanford.edu{path}"
        async with mirror.session.get(target, proxy=mirror.url) as response:
            return response.headers.get("X-Mirror"), await response.read()

    for path in ("/", "/coverage", "/series/hmi.v_45s"):
        plan, body = await through(path)
        assert b"JSOC mirror" not in body
        assert plan == "passed"
    assert isinstance(mirror.session, aiohttp.ClientSession)


# ---- the heat map ----------------------------------------------------------------------------------


async def test_days_tell_slots_records_and_quality(quiet):
    told = (await quiet.get("/api/coverage/days", {"series": "hmi.v_45s", "year": "2014"})).json
    assert (told["first"], len(told["states"]), told["width"]) == ("2014-01-01T00:00:00", 365, 86400)
    assert told["states"][0] == "p"
    assert set(told["states"][1:]) == {"-"}
    assert (told["expected"][0], told["held"][0], told["records"][0], sum(told["records"])) == (
        1920,
        80,
        80,
        80,
    )
    values = (await quiet.ask(HOUR, "QUALITY")).json["keywords"][0]["values"]
    assert told["flagged"][0] == sum(int(v, 16) != 0 for v in values)
    assert told["missing"][0] == sum(int(v, 16) >= 2**31 for v in values)


async def test_all_years_begin_with_the_first_that_has_anything(quiet):
    told = (await quiet.get("/api/coverage/days", {"series": "hmi.v_45s"})).json
    assert told["first"] == "2014-01-01T00:00:00"
    assert len(told["states"]) == 365 * 10 + 2  # to the end of 2023, where the clock of the test stands


async def test_hours_of_a_day(quiet):
    told = (await quiet.get("/api/coverage/hours", {"series": "hmi.v_45s", "day": "2014.01.01"})).json
    assert told["states"] == "f" + "-" * 23
    assert told["held"][:2] == [80, 0]


async def test_a_fill_closes_the_gap_and_the_map_shows_it(quiet):
    ds = "hmi.v_45s[2014.01.02_TAI/1h]"
    gaps = (await quiet.get("/api/gaps", {"ds": ds})).json
    assert (gaps["count"], gaps["slots"], gaps["gaps"][0]["first"]) == (1, 80, "2014.01.02_00:00:00_TAI")
    begun = await quiet.request("POST", "/api/fill", data=json.dumps({"ds": ds}), headers=JSON)
    assert (begun.code, begun.json["slots"]) == (202, 80)
    async with asyncio.timeout(PATIENCE):
        while (await quiet.get("/api/gaps", {"ds": ds})).json["count"]:
            pass  # to ask takes a while
    told = (await quiet.get("/api/coverage/days", {"series": "hmi.v_45s", "year": "2014"})).json
    assert told["held"][:3] == [80, 80, 0]


@pytest.mark.parametrize(
    "path, code, words",
    [
        ("/api/coverage/days", 400, "series is missing"),
        ("/api/coverage/days?series=hmi.nothing", 404, "not cached"),
        ("/api/coverage/days?series=hmi.v_45s&year=14", 400, "year = '14'"),
        ("/api/coverage/days?series=hmi.v_45s&year=1066", 400, "expected one from 1900"),
        ("/api/coverage/hours?series=hmi.v_45s&day=2014.02.30", 400, "day = '2014.02.30'"),
        ("/api/gaps", 400, "ds is missing"),
        ("/api/gaps?ds=hmi.v_45s[", 400, ""),
    ],
)
async def test_wrong_questions_are_told_what_is_wrong(quiet, path, code, words):
    answer = await quiet.get(*path.split("?"))
    assert (answer.code, words in answer.json["error"]) == (code, True), answer.body


async def test_a_fill_without_ends_fetches_what_there_is(quiet):
    answer = await quiet.request("POST", "/api/fill", data='{"ds": "hmi.v_sht_modes[]"}', headers=JSON)
    assert (answer.code, answer.json["slots"]) == (202, None)
    job = await quiet.running.fills.ended(answer.json["id"])
    assert (job.state, job.records) == ("done", len(await quiet.upstream("hmi.v_sht_modes[]")))


async def test_nothing_is_filled_offline(tmp_path):
    async with lab(tmp_path, MIRROR_UPSTREAM__POLICY="offline") as made:
        answer = await made.request("POST", "/api/fill", data=json.dumps({"ds": HOUR}), headers=JSON)
        assert (answer.code, "offline" in answer.json["error"]) == (503, True)


async def test_delays_are_told_by_month(quiet):
    told = (await quiet.get("/api/coverage/delays", {"series": "hmi.v_45s"})).json
    assert [m["month"] for m in told["months"]] == ["2014-01"]
    assert 0 < told["months"][0]["median"] <= told["months"][0]["most"]


# ---- live ------------------------------------------------------------------------------------------


async def test_events_begin_with_the_state(mirror):
    async with mirror.session.get(f"{mirror.url}/api/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert await response.content.readline() == b"event: status\n"
        state = json.loads((await response.content.readline()).removeprefix(b"data: "))
    assert {"answers", "bytes", "disk", "files", "fills", "jobs", "upstream"} <= state.keys()


async def test_only_news_is_told_to_each_and_the_loop_ends_with_the_last(mirror):
    class News(msgspec.Struct):
        n: int
        uptime_seconds: int

    states = iter([News(1, 1), News(1, 2), RuntimeError("nobody has foreseen this"), News(2, 3)])
    looks = asyncio.Semaphore(0)
    asked = []

    async def state(_):
        asked.append(1)
        found = next(states)
        if isinstance(found, Exception):
            raise found
        return found

    async def pause(_):
        await looks.acquire()

    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    events, app = Events(state, pause, most=1), web.Application()
    events.add_to(app.router)
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/api/events")
        first = await response.content.readuntil(b"\n\n")
        assert (
            await client.get("/api/events")
        ).status == 500  # one may listen; the table of codes is not here
        for _ in range(3):
            looks.release()
        second = await response.content.readuntil(b"\n\n")
        assert [json.loads(x.split(b"data: ")[1])["n"] for x in (first, second)] == [1, 2]
        events.stop()
        assert await response.content.read() == b""
        looks.release()
    assert len(asked) == 4


async def test_listening_is_no_use_of_the_mirror(mirror):
    async with mirror.session.get(f"{mirror.url}/api/events") as response:
        await response.content.readline()
        usage = (await mirror.get("/api/usage")).json
        assert all(line["requests"] < 1000 for line in usage)


# ---- how things print ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, text",
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (12345, "12.3 kB"), (999_600, "1.00 MB"), (None, "–")],
)
async def test_sizes_have_three_digits(value, text):
    assert size(value) == text


async def test_a_share_is_never_whole_before_all_is_there():
    assert [share(9999, 10000), share(1, 1), share(0, 0), share(1, 3)] == ["99.9 %", "100 %", "–", "33.3 %"]


async def test_lengths_have_two_units():
    assert [length(0), length(59.6), length(90061), length(None)] == ["0 s", "1 min", "1 d 1 h", "–"]


# ---- what is not there -----------------------------------------------------------------------------


async def asked_by_browser(mirror: Lab, path: str) -> tuple[int, str, str]:
    answer = await mirror.request("GET", path, headers={"Accept": "text/html,*/*;q=0.8"})
    return answer.code, answer.headers["Content-Type"].partition(";")[0], answer.body.decode()


@pytest.mark.parametrize(
    "path, suggested", [("/serach", "/search"), ("/coverage/x", "/coverage"), ("/hmi.v_45s", "/series/hmi.v_45s"), ("/zzz", "/")]
)
async def test_a_browser_gets_a_page_where_nothing_is_found(mirror, path, suggested):
    code, kind, body = await asked_by_browser(mirror, path)
    told = Page(body)
    assert (code, kind, told.problems, told.headings) == (404, "text/html", [], ["Page not found"])
    assert path in body and f'<a href="{suggested}">' in body


async def test_a_program_gets_no_page_where_nothing_is_found(mirror):
    for path in ("/serach", "/coverage/x"):
        answer = await mirror.get(path)
        assert (answer.code, answer.headers["Content-Type"].startswith("text/html")) == (404, False)
    assert (await asked_by_browser(mirror, "/api/nothing"))[1] == "application/json"


@pytest.mark.parametrize(
    "count, noun, text",
    [(0, "search", "0 searches"), (1, "search", "1 search"), (1, "file", "1 file"), (1920, "file", "1,920 files")],
)
async def test_a_count_with_its_noun_is_the_same_on_pages_and_in_the_terminal(count, noun, text):
    assert many(count, noun) == counted(count, noun) == text


async def test_the_verb_of_some_of_several_follows_the_part():
    said = [of_several(*counts, "file", "is", "are") for counts in ((1, 1), (1, 3), (2, 3), (0, 1920))]
    assert said == ["1 of 1 file is", "1 of 3 files is", "2 of 3 files are", "0 of 1,920 files are"]
