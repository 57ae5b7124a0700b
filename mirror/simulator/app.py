"""A simulated JSOC: the programs over HTTP, with latency, faults on command and a log of requests.

    /cgi-bin/ajax/<program>, /cgi-bin/<program>   GET and POST, as at JSOC
    /SUMn/...                                     files of the archive and of exports: GET, HEAD, Range
    /data/..., /doc/data/...                      plain files (see ``published``), directories as lists
    /                                             a page; clients look whether it is there
    /healthz                                      "ok"
    /_simulator/log                               GET: every request since the start, as JSON
    /_simulator/faults                            POST: replaces the faults (see ``faults``)
    /_simulator/reprocess                         POST {"ds": "..."}: a new version of each of these records
    /_simulator/withdraw                          POST {"ds": "..."}: these records are gone, with all their versions and files

Several slashes are one, and a directory without the slash at its end redirects, as with Apache.
Requests below /_simulator and /healthz are neither logged nor delayed, and no fault hits them.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.drms.recordset import RecnumFilter, RecnumRange
from mirror.drms.times import from_datetime
from mirror.errors import BadRequest, ConfigError, MirrorError
from mirror.listening import bind, url_of
from mirror.simulator.archive import Archive
from mirror.simulator.delivery import deliver
from mirror.simulator.evaluate import select
from mirror.simulator.exports.contents import Content, Whole
from mirror.simulator.exports.desk import Desk
from mirror.simulator.exports.ledger import Pace
from mirror.simulator.exports.owners import owner
from mirror.simulator.exports.recorded import RecordedExports
from mirror.simulator.exports.serving import entity_tag, send, wanted_part
from mirror.simulator.exports.shelf import Shelf
from mirror.simulator.exports.staging import StagedSeries, Staging
from mirror.simulator.faults import Fault, FaultPlan, as_met, decode_faults
from mirror.simulator.log import Entry, Log
from mirror.simulator.programs import Asked, Reply, run_program
from mirror.simulator.published import listing, published
from mirror.simulator.reprocessing import Reprocessed
from mirror.wire.answer import encode_error
from mirror.wire.params import decode_body, decode_params

if TYPE_CHECKING:
    from mirror.simulator.base import SeriesData
    from mirror.simulator.exports.shelf import Scenes

_LARGEST_BODY = 16 * 1024 * 1024
#: Faults of programs' answers, which do not affect downloads.
_NOT_OF_FILES = frozenset(
    {"broken_json", "wrong_count", "staging", "other_answer", "half", "doubled", "gzip_bomb"}
    | {
        "out_of_memory",
        "hash_not_saved",
        "too_long",
        "one_pending",
        "too_large",
        "joined_sets",
        "uri_too_long",
    }
)
#: Faults for which a download is answered like a program: without the file.
_INSTEAD = frozenset({"refuse", "timeout", "http500", "gateway", "gone", "status", "redirect", "endless"})
_NO_FILE = b"<!DOCTYPE html><title>404 Not Found</title><h1>Not Found</h1>\n"
_PAGE = "<!DOCTYPE html><title>JSOC simulator</title><h1>A JSOC in a box</h1><p>Its data are made up.</p>\n"


@dataclass(frozen=True, slots=True)
class Clock:
    """Gives the simulator the time, and waits: tests use their own."""

    now: Callable[[], float] = time.time  #: Unix time
    steady: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass
class Simulator:
    """The handlers; ``latency`` is in milliseconds, added to every answer and download."""

    archive: Archive
    desk: Desk
    latency: float = 0.0
    faults: FaultPlan = field(default_factory=FaultPlan)
    log: Log = field(default_factory=Log)
    clock: Clock = field(default_factory=Clock)
    reprocessed: Mapping[str, Reprocessed] = field(default_factory=dict)  #: series by lower-case name
    asked_before: dict[tuple[str, str], dict[str, str]] = field(
        default_factory=dict
    )  #: by program and operation

    async def program(self, request: web.Request) -> web.StreamResponse:
        """One request to a CGI program."""
        arrived, started = self.clock.now(), self.clock.steady()
        name = request.match_info["program"]
        params, problem = await _read_params(request)
        fault = self.faults.take(name, params, started)
        met = fault.kind if fault else ""
        fault = as_met(fault, params) if fault else None
        if fault is not None and fault.kind == "uri_too_long" and request.method != "GET":
            fault = None
        runtime, pace = lambda: self.clock.steady() - started, _pace(fault)
        asked = Asked(self._understood(name, params, fault), self.archive, runtime, self.desk, pace)
        reply, status = await asyncio.to_thread(_answer, name, asked, problem)
        happened = met if fault and pace is None else status
        self.log.add(Entry(arrived, name, params, happened, reply.records, len(reply.body)))
        await self._delay()
        return await deliver(request, reply.body, reply.content_type, fault, self.clock.sleep)

    def _understood(self, program: str, params: dict[str, str], fault: Fault | None) -> dict[str, str]:
        """The parameters that are answered: with the fault other_answer those of another question."""
        kind = (program, params.get("op", ""))
        if fault is None or fault.kind != "other_answer":
            self.asked_before[kind] = params
            return params
        if fault.instead:
            return {**params, "ds": fault.instead}
        return self.asked_before.get(kind, params)

    async def _delay(self) -> None:
        if self.latency:
            await self.clock.sleep(self.latency / 1000)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A download; in the log its program is ``file``, and its bytes are those of the requested part."""
        arrived, path = self.clock.now(), re.sub("/+", "/", request.path)
        params = {"path": path, "method": request.method, "range": request.headers.get("Range", "")}
        fault = self.faults.take("file", params, self.clock.steady())
        fault = None if fault and fault.kind in _NOT_OF_FILES else fault
        content = await asyncio.to_thread(self._content, path)
        log = partial(Entry, arrived, "file", params)
        await self._delay()
        if content is None or (fault and fault.kind in _INSTEAD):
            self.log.add(log(fault.kind if fault else 404, 0, 0))
            if fault:
                return await deliver(request, b"", "text/html", fault, self.clock.sleep)
            return web.Response(body=_NO_FILE, status=404, content_type="text/html")
        if isinstance(content, str):
            self.log.add(log(301, 0, 0))
            return web.Response(status=301, headers={"Location": content}, content_type="text/html")
        part = wanted_part(request, content.size, entity_tag(path, content.size))
        self.log.add(
            log(fault.kind if fault else part.code, 0, 0 if request.method == "HEAD" else part.length)
        )
        return await send(request, content, part, fault, self.clock.sleep)

    def _content(self, path: str) -> Content | str | None:
        """The content of a path; the address with a slash for a directory that was requested without one."""
        directory = path.rstrip("/")
        if path != directory or not self.desk.is_directory(directory):
            content = self.desk.content(path)
            today = from_datetime(datetime.fromtimestamp(self.clock.now(), UTC))
            data = published(path, today) if content is None else None
            if content is not None or data is not None:
                return content if data is None else Whole(data)
            page = listing(directory, self.archive)
            if page is None:
                return None
            if path != directory:
                return Whole(page)
        return directory + "/"

    async def page(self, _: web.Request) -> web.Response:
        """The page for a browser."""
        return web.Response(text=_PAGE, content_type="text/html")

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def show_log(self, _: web.Request) -> web.Response:
        return web.json_response(self.log.to_json())

    async def set_faults(self, request: web.Request) -> web.Response:
        """Replaces the faults; 400 with a message if they cannot be read."""
        try:
            rules = decode_faults(await request.json())
        except (ConfigError, ValueError) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        self.faults.replace(rules)
        return web.json_response({"faults": len(rules)})

    async def reprocess(self, request: web.Request) -> web.Response:
        """Gives each of the newest records of a query a new version; returns the new numbers by series."""
        return await self._changed(request, self._reprocess)

    async def withdraw(self, request: web.Request) -> web.Response:
        """Removes the records of a query and their older versions; returns their numbers by series."""
        return await self._changed(request, self._withdraw)

    async def _changed(self, request: web.Request, change: Callable[[str], dict[str, list[int]]]) -> web.Response:
        try:
            asked = await request.json()
            numbers = await asyncio.to_thread(change, str(asked["ds"]))
        except (MirrorError, ValueError, KeyError, TypeError) as problem:
            return web.json_response({"error": str(problem)}, status=400)
        return web.json_response(numbers)

    def _reprocess(self, ds: str) -> dict[str, list[int]]:
        found = [(w.structure.name, select(w.selection, w.data)) for w in self.archive.wanted(ds)]
        return {name: self.reprocessed[name.lower()].process(rows) for name, rows in found}

    def _withdraw(self, ds: str) -> dict[str, list[int]]:
        every = RecnumFilter((RecnumRange(None, None),))  # so that older versions are chosen too
        wanted = [(w, replace(w.selection, filters=(*w.selection.filters, every))) for w in self.archive.wanted(ds)]
        found = [(w.structure.name, select(selection, w.data)) for w, selection in wanted]
        return {name: self.reprocessed[name.lower()].withdraw(rows) for name, rows in found}


def _answer(name: str, asked: Asked, problem: BadRequest | None) -> tuple[Reply, int]:
    """The reply and its DRMS status; errors are replies too."""
    try:
        if problem is not None:
            raise problem
        reply = run_program(name, asked)
    except MirrorError as found:
        return Reply(encode_error(str(found))), 1
    return reply, reply.status


def _pace(fault: Fault | None) -> Pace | None:
    """The pace of an export that a fault sets; it cannot end with status 1."""
    if fault is None or fault.kind != "staging":
        return None
    return Pace(fault.polls, fault.seconds, 0 if fault.status == 1 else fault.status, fault.message)


async def _read_params(request: web.Request) -> tuple[dict[str, str], BadRequest | None]:
    """The parameters of query string and body, those of the body first; a problem instead of an error."""
    try:
        params = decode_params(request.rel_url.raw_query_string)
        if request.method == "POST":
            params |= decode_body(await request.read(), request.headers.get("Content-Type", ""))
    except BadRequest as problem:
        return {}, problem
    return params, None


def build_app(
    series: Sequence[SeriesData],
    *,
    latency: float = 0.0,
    faults: Sequence[Fault] = (),
    clock: Clock | None = None,
    pace: Pace | None = None,
    recorded: RecordedExports | None = None,
    scenes: Scenes = lambda _, __: None,
) -> web.Application:
    """The application that serves these series; ``latency`` in milliseconds, ``pace``: how long exports take.

    ``scenes``: what images show, by their records.
    """
    clock = clock or Clock()
    reprocessed = {each.structure.name.lower(): Reprocessed(each) for each in series}
    desk = _desk(list(reprocessed.values()), clock, pace or Pace(), recorded or RecordedExports(), scenes)
    simulator = Simulator(
        desk.archive, desk, latency, FaultPlan(tuple(faults)), clock=clock, reprocessed=reprocessed
    )
    app = web.Application(client_max_size=_LARGEST_BODY)
    for method in ("GET", "POST"):
        app.router.add_route(method, r"/{_:/*}cgi-bin/{__:/*(?:ajax/+)?}{program:[^/]+}", simulator.program)
    for below in ("SUM[0-9]+", "/*data", "/*doc/+data"):
        app.router.add_get(rf"/{{_:/*}}{{disk:{below}}}{{rest:(?:/.*)?}}", simulator.file)
    app.router.add_get("/", simulator.page)
    app.router.add_get("/healthz", simulator.health)
    app.router.add_get("/_simulator/log", simulator.show_log)
    app.router.add_post("/_simulator/faults", simulator.set_faults)
    app.router.add_post("/_simulator/reprocess", simulator.reprocess)
    app.router.add_post("/_simulator/withdraw", simulator.withdraw)
    return app


def _desk(
    series: Sequence[SeriesData], clock: Clock, pace: Pace, recorded: RecordedExports, scenes: Scenes
) -> Desk:
    """The desk for exports, and the archive in which units come online."""
    staging = Staging()
    archive = Archive([StagedSeries(each, staging) for each in series])
    staging.find_owner = partial(owner, archive)
    return Desk(archive, Shelf(archive, recorded.files, scenes), staging, clock.now, pace, recorded)


async def run(
    series: Sequence[SeriesData],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    latency: float = 0.0,
    faults: Sequence[Fault] = (),
    recorded: RecordedExports | None = None,
    scenes: Scenes = lambda _, __: None,
    ready: Callable[[str], None] = lambda _: None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serves until SIGTERM, SIGINT or ``stop``; ``ready`` is called with the address once requests are accepted.

    ConfigError if the address cannot be used.
    """
    sockets = bind(host, port, "--host and --port of mirror simulate; --port 0 picks a free one")
    stop = stop or asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = build_app(series, latency=latency, faults=faults, recorded=recorded, scenes=scenes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        for made in sockets:
            await web.SockSite(runner, made).start()
        ready(url_of(host, runner.addresses[0][1]))
        await stop.wait()
    finally:
        await runner.cleanup()
