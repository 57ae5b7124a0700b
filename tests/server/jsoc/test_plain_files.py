"""JSOC's plain files: kept, checked by ETag and Last-Modified, served stale while JSOC is away, and evicted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from mirror.readthrough.plain_files import PlainFileTable
from tests.lab import Lab
from tests.waiting import until

TABLE = "/doc/data/hmi/harpnum_to_noaa/all_harps_with_noaa_ars.txt"
MAP = "/data/hmi/synoptic/hmi.Synoptic_Mr.2210.fits"
LATEST = "/data/hmi/images/latest/HMI_latest_Mag_1024x1024.jpg"
FOLDER = "/data/hmi/synoptic/"
DATE, LATER = "Tue, 01 Nov 2022 10:00:00 GMT", "Wed, 02 Nov 2022 10:00:00 GMT"


@dataclass
class Page:
    """A file as the web server has it now."""

    body: bytes
    tag: str | None = '"5a3-5ec"'
    modified: str | None = DATE
    kind: str = "text/plain; charset=UTF-8"


@dataclass
class WebServer:
    """A web server like JSOC's: it answers conditions with 304; ``log`` has method, path, Host and condition."""

    pages: dict[str, Page] = field(default_factory=dict)
    log: list[tuple[str, str, str, str | None]] = field(default_factory=list)
    code: int | None = None  #: what all is answered with; None: as it should

    async def answer(self, request: web.Request) -> web.StreamResponse:
        condition = request.headers.get("If-None-Match") or request.headers.get("If-Modified-Since")
        self.log.append((request.method, request.raw_path, request.headers["Host"], condition))
        page = self.pages.get(request.path)
        if self.code is not None:
            return web.Response(status=self.code, text="not now")
        if page is None and f"{request.path}/" in self.pages:
            location = f"http://{request.headers['Host']}{request.path}/"
            return web.Response(status=301, headers={"Location": location}, text="moved")
        if page is None:
            return web.Response(status=404, text="<h1>Not Found</h1>", content_type="text/html")
        told = {"ETag": page.tag, "Last-Modified": page.modified, "Content-Type": page.kind}
        headers = {name: value for name, value in told.items() if value is not None}
        if condition is not None and condition in (page.tag, page.modified):
            return web.Response(status=304, headers=headers)
        return web.Response(body=page.body, headers=headers)


@dataclass
class World:
    """A mirror in front of a web server."""

    server: WebServer
    socket: TestServer
    mirror: Lab

    async def settled(self) -> None:
        """Return once no download is under way: the last byte may reach clients before its file is noted."""
        while running := self.mirror.running.downloads.running():
            await asyncio.wait([download.blob for download in running])
            await asyncio.sleep(0)

    async def away(self) -> None:
        await self.settled()
        await self.socket.close()

    async def get(self, path, method="GET", **headers):
        return await self.mirror.request(method, path, headers=headers, allow_redirects=False)


@asynccontextmanager
async def in_front(tmp_path, config="", **environ):
    server = WebServer({
        TABLE: Page(b"377 11158\n" * 3),
        MAP: Page(bytes(range(256)) * 2000, tag='"map-1"', kind="image/fits"),
        LATEST: Page(b"\xff\xd8picture", tag=None, kind="image/jpeg"),
        FOLDER: Page(b"<html><a href='x'>x</a></html>", tag=None, modified=None, kind="text/html"),
    })  # fmt: skip
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    socket = TestServer(app)
    await socket.start_server()
    settings = {"MIRROR_UPSTREAM__URL": f"http://127.0.0.1:{socket.port}", "MIRROR_STORAGE__PATH": str(tmp_path), **environ}
    async with aiohttp.ClientSession() as session:
        made = Lab(tmp_path, socket, session, settings)
        made.config = tmp_path / "config.toml"
        made.config.write_text(config)
        try:
            await made.start()
            yield World(server, socket, made)
        finally:
            await made.stop()
            await socket.close()


@pytest_asyncio.fixture
async def world(tmp_path):
    async with in_front(tmp_path) as made:
        yield made


async def test_a_file_comes_once_and_is_answered_here_as_jsoc_described_it(world):
    first, second = await world.get(TABLE), await world.get(TABLE)
    assert (first.code, first.plan, second.code, second.plan) == (200, "filled", 200, "local")
    assert first.body == second.body == world.server.pages[TABLE].body
    for answer in (first, second):
        told = answer.headers
        assert (told["Etag"], told["Last-Modified"]) == ('"5a3-5ec"', DATE)
        assert told["Content-Type"] == "text/plain; charset=UTF-8"
    assert len(world.server.log) == 1


async def test_what_is_old_is_checked_and_does_not_come_again_if_it_has_not_changed(world):
    await world.get(TABLE)
    world.mirror.clock.forward(hours=7)
    assert (await world.get(TABLE)).plan == "filled"
    assert world.server.log[-1][3] == '"5a3-5ec"'
    assert (await world.get(TABLE)).plan == "local"
    assert len(world.server.log) == 2


async def test_a_file_without_etag_is_checked_by_its_date_and_what_is_latest_more_often(world):
    await world.get(LATEST)
    world.mirror.clock.forward(minutes=11)
    assert (await world.get(LATEST)).plan == "filled"
    assert world.server.log[-1][3] == DATE
    await world.get(TABLE)
    world.mirror.clock.forward(minutes=11)
    assert (await world.get(TABLE)).plan == "local"


async def test_what_has_changed_takes_the_place_of_what_was_held(world):
    await world.get(TABLE)
    world.server.pages[TABLE] = Page(b"377 11158,11160\n", '"new"', LATER)
    world.mirror.clock.forward(hours=7)
    answer = await world.get(TABLE)
    assert (answer.body, answer.headers["Etag"], answer.plan) == (b"377 11158,11160\n", '"new"', "filled")
    await world.away()
    assert (await world.get(TABLE)).body == b"377 11158,11160\n"


async def test_no_cache_checks_at_once_and_only_if_cached_never_asks(world):
    assert (await world.get(TABLE, **{"Cache-Control": "only-if-cached"})).code == 504
    await world.get(TABLE)
    assert (await world.get(TABLE, **{"Cache-Control": "no-cache"})).plan == "filled"
    world.mirror.clock.forward(days=3)
    old = await world.get(TABLE, **{"Cache-Control": "only-if-cached"})
    assert (old.code, old.plan, old.headers["Age"]) == (200, "stale", str(3 * 86400))
    assert len(world.server.log) == 2


@pytest.mark.parametrize("code", [None, 500, 503, 429])
async def test_while_jsoc_is_away_what_is_old_is_served_and_says_so(world, code):
    await world.get(TABLE)
    world.mirror.clock.forward(hours=7)
    world.server.code = code
    if code is None:
        await world.away()
    for _ in range(2):
        answer = await world.get(TABLE)
        assert (answer.code, answer.plan, answer.headers["Age"]) == (200, "stale", str(7 * 3600))
        assert answer.headers["Warning"].startswith("110")
        assert answer.body == world.server.pages[TABLE].body
    assert len(world.server.log) == (1 if code is None else 2)  # not asked again for each
    if code is not None:
        world.server.code = None
        world.mirror.clock.forward(minutes=1)
        assert (await world.get(TABLE)).plan == "filled"


async def test_a_restart_and_an_offline_mirror_keep_them(world):
    await world.get(MAP)
    await world.settled()
    await world.mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
    answer = await world.get(MAP)
    assert (answer.body, answer.plan) == (world.server.pages[MAP].body, "local")
    assert (await world.get(TABLE)).code == 503


async def test_strict_fails_where_the_check_fails(tmp_path):
    async with in_front(tmp_path, MIRROR_UPSTREAM__POLICY="strict") as world:
        await world.get(TABLE)
        world.mirror.clock.forward(hours=7)
        await world.away()
        assert (await world.get(TABLE)).code == 504


async def test_parts_conditions_and_heads_as_of_any_file(world):
    body = world.server.pages[MAP].body
    assert (await world.get(MAP, "HEAD")).headers["Content-Length"] == str(len(body))
    assert world.server.log[-1][0] == "HEAD"
    cold = await world.get(MAP, Range="bytes=1000-1999")
    assert (cold.code, cold.body, cold.headers["Content-Range"]) == (206, body[1000:2000], f"bytes 1000-1999/{len(body)}")
    for name, value, code in [
        ("Range", "bytes=-10", 206), ("Range", "bytes=9999999-", 416), ("If-None-Match", '"map-1"', 304),
        ("If-None-Match", '"other"', 200), ("If-Modified-Since", LATER, 304), ("If-Match", '"other"', 412),
    ]:  # fmt: skip
        assert (await world.get(MAP, **{name: value})).code == code, (name, value)
    head = await world.get(MAP, "HEAD")
    assert (head.code, head.plan, head.headers["Content-Length"], head.body) == (200, "local", str(len(body)), b"")
    assert len(world.server.log) == 2


async def test_a_condition_of_a_client_is_met_by_a_file_that_is_just_coming(world):
    for path, tag in ((TABLE, '"5a3-5ec"'), (MAP, '"map-1"')):  # one at once, one while it is sent
        answer = await world.get(path, **{"If-None-Match": tag})
        assert (answer.code, answer.body) == (304, b"")
    assert (await world.get(TABLE)).plan == "local"
    assert (await world.get(MAP)).body == world.server.pages[MAP].body
    assert len(world.server.log) == 2


async def test_a_file_that_came_while_it_was_looked_up_is_not_requested_again(world, monkeypatch):
    look, looked = PlainFileTable.at, []

    async def too_early(table, path):
        looked.append(path)
        if len(looked) > 1:
            return await look(table, path)
        await world.get(MAP)
        await until(lambda: not world.mirror.running.downloads.running())
        return None

    monkeypatch.setattr(PlainFileTable, "at", too_early)
    assert (await world.get(MAP)).body == world.server.pages[MAP].body
    assert len(world.server.log) == 1


async def test_many_who_ask_at_once_are_one_request(world):
    answers = await asyncio.gather(*(world.get(MAP) for _ in range(8)))
    assert {a.body for a in answers} == {world.server.pages[MAP].body}
    assert len(world.server.log) == 1


async def test_what_jsoc_says_instead_of_a_file_is_passed_on_and_not_kept(world):
    for _ in range(2):
        answer = await world.get("/data/hmi/none.txt")
        assert (answer.code, answer.plan, answer.body) == (404, "passed", b"<h1>Not Found</h1>")
    moved = await world.get("/data/hmi/synoptic")
    assert (moved.code, moved.headers["Location"]) == (301, FOLDER)
    assert len(world.server.log) == 3
    await world.get(TABLE)
    world.mirror.clock.forward(hours=7)
    page = world.server.pages.pop(TABLE)
    assert (await world.get(TABLE)).code == 404  # JSOC's word, as long as it gives one
    await world.away()
    assert (await world.get(TABLE)).body == page.body


async def test_a_page_in_place_of_data_is_not_kept(world):
    await world.get(LATEST)
    world.mirror.clock.forward(hours=7)
    good = world.server.pages[LATEST]
    world.server.pages[LATEST] = Page(b"<html>the gateway is busy</html>", None, LATER, "text/html")
    assert (await world.get(LATEST)).body == good.body
    await world.away()
    assert (await world.get(LATEST)).body == good.body


async def test_a_folder_is_kept_too_and_cannot_act_as_a_page_of_ours(world):
    for plan in ("filled", "local"):
        answer = await world.get(FOLDER)
        assert (answer.code, answer.plan) == (200, plan)
        assert answer.headers["Content-Security-Policy"].startswith("sandbox")


async def test_a_held_folder_without_its_slash_leads_to_it_while_jsoc_is_away(world):
    world.server.pages["/data/"] = world.server.pages[FOLDER]
    for folder in (FOLDER, "/data/"):
        await world.get(folder)
    await world.away()
    for folder in (FOLDER, "/data/"):
        for method in ("GET", "HEAD"):
            moved = await world.get(folder.rstrip("/"), method=method)
            assert (moved.code, moved.headers["Location"]) == (301, folder)
    assert (await world.get("/data/none")).code == 504


async def test_a_rule_for_everything_keeps_neither_programs_nor_what_could_only_be_ours(tmp_path):
    async with in_front(tmp_path, '[[plain_file]]\npattern = "*"\n') as world:
        world.server.pages["/cgi-bin/other"] = world.server.pages["/api/other"] = Page(b"made again")
        assert [(await world.get("/cgi-bin/other")).plan for _ in range(2)] == ["passed", "passed"]
        assert (await world.get("/api/other")).code == 404


async def test_a_query_is_jsocs_to_answer_while_it_does(world):
    await world.get(TABLE)
    assert (await world.get(f"{TABLE}?t=1")).plan == "passed"
    assert world.server.log[-1][1] == f"{TABLE}?t=1"
    await world.away()
    assert (await world.get(f"{TABLE}?t=2")).plan == "stale"


async def test_rules_say_how_long_and_what_is_not_kept_and_hold_at_once(tmp_path):
    rule = '[[plain_file]]\npattern = "/DATA/hmi/*"\nmax_age = "none"\n[[plain_file]]\npattern = "/pub/*"\nmax_age = "1m"\n'
    async with in_front(tmp_path, rule) as world:
        world.server.pages["/pub/a.txt"] = Page(b"a")
        assert [(await world.get(MAP)).plan for _ in range(2)] == ["passed", "passed"]
        assert [(await world.get("/pub/a.txt")).plan for _ in range(2)] == ["filled", "local"]
        world.mirror.clock.forward(seconds=61)
        assert (await world.get("/pub/a.txt")).plan == "filled"
        world.mirror.config.write_text("")
        await world.mirror.running.watch.reload()
        assert [(await world.get(MAP)).plan for _ in range(2)] == ["filled", "local"]


async def test_they_count_in_the_quota_and_are_evicted_like_other_files(tmp_path):
    async with in_front(tmp_path, MIRROR_STORAGE__QUOTA="1MB") as world:
        for number in range(6):
            world.server.pages[f"/data/m{number}"] = Page(bytes([number]) * 300_000, f'"{number}"')
            assert (await world.get(f"/data/m{number}")).code == 200
            world.mirror.clock.forward(seconds=10)
        usage = world.mirror.running.blobs.usage()
        assert usage.held <= 1_000_000
        await world.away()
        answers = [(await world.get(f"/data/m{number}")).code for number in range(6)]
        assert answers[0] == 504 and answers[-1] == 200


async def test_a_damaged_file_is_fetched_again(world):
    await world.get(MAP)
    await world.mirror.stop()
    blob = next(p for p in (world.mirror.path / "blobs").rglob("*") if p.is_file() and p.stat().st_size > 1000)
    blob.chmod(0o600)
    blob.write_bytes(b"x" * blob.stat().st_size)
    await world.mirror.start()
    assert (await world.get(MAP)).body == world.server.pages[MAP].body
    assert len(world.server.log) == 2


async def test_the_host_that_was_asked_is_the_host_that_is_asked(world):
    for host in ("jsoc.stanford.edu", "jsoc1.stanford.edu", "jsoc2.stanford.edu"):
        for path in (f"/data/{host}", f"/other/{host}"):
            world.server.pages[path] = Page(b"here")
            async with world.mirror.session.get(f"http://{host}{path}", proxy=world.mirror.url) as answer:
                assert (answer.status, await answer.read()) == (200, b"here")
            assert world.server.log[-1][1:3] == (path, host)
    async with world.mirror.session.get(
        "http://jsoc2.stanford.edu/data/hmi/synoptic", proxy=world.mirror.url, allow_redirects=False
    ) as moved:
        assert (moved.status, moved.headers["Location"]) == (301, f"http://jsoc2.stanford.edu{FOLDER}")
    direct = await world.get("/other/none", Host="localhost")
    assert direct.code == 404 and world.server.log[-1][2].startswith("127.0.0.1")
