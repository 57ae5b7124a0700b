"""The API of files: what there is of a record set, exports, pins, eviction, quick looks.

Whatever changes something takes a JSON object as its body, and wants to be told that it is one: a page
of some other site that a browser shows cannot send that here.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aiohttp import web

from mirror.drms.errors import BadRequest
from mirror.drms.export import DEFAULT_FILENAME_FORMAT, METHODS, ExportRequest, Protocol, parse_process
from mirror.server.cgi import parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.services.filelist import FileLists
    from mirror.services.joblist import JobList
    from mirror.services.quicklook import QuickLooks
    from mirror.services.store import Store

Kinds = type | tuple[type, ...]

_TEXT, _NUMBER, _AMOUNT = str, int, (int, float)
#: What a body may have, and of what kind.
_RECORDS: dict[str, Kinds] = {"ds": _TEXT, "seg": _TEXT, "n": _NUMBER}
_EXPORT: dict[str, Kinds] = {
    **_RECORDS, "method": _TEXT, "protocol": _TEXT, "process": _TEXT, "name": _TEXT, "email": _TEXT,
}  # fmt: skip
_PIN: dict[str, Kinds] = {**_RECORDS, "owner": _TEXT, "reason": _TEXT, "seconds": _AMOUNT}
_EVICTION: dict[str, Kinds] = {"need": _NUMBER, "dry_run": bool}
_LATEST = 100


class FilesApi:
    """The handlers of /api that are about files."""

    def __init__(self, lists: FileLists, jobs: JobList, store: Store, quicklooks: QuickLooks) -> None:
        self._lists = lists
        self._jobs = jobs
        self._store = store
        self._quicklooks = quicklooks

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/api/files", self.files)
        router.add_get("/api/jobs", self.jobs)
        router.add_post("/api/jobs", self.submit)
        router.add_get("/api/jobs/{id}", self.job)
        router.add_get("/api/pins", self.pins)
        router.add_post("/api/pins", self.pin)
        router.add_delete("/api/pins", self.unpin)
        router.add_post("/api/evict", self.evict)
        router.add_get("/api/quicklook", self.quicklook)

    async def files(self, request: web.Request) -> web.Response:
        """``ds, seg, n, name``: the archived files; with ``places=1`` also where they lie on this machine."""
        given = await parameters(request)
        listed = await self._lists.of(_request(given), places=given.get("places") == "1")
        return web.json_response([asdict(file) for file in listed])

    async def jobs(self, request: web.Request) -> web.Response:
        """``n``: the last exports, newest first."""
        n = _whole(await parameters(request), "n", _LATEST)
        return web.json_response(await self._jobs.latest(max(1, n)))

    async def job(self, request: web.Request) -> web.Response:
        """One export with its files; ``places=1`` as above."""
        places = (await parameters(request)).get("places") == "1"
        return web.json_response(await self._jobs.one(request.match_info["id"], places=places))

    async def submit(self, request: web.Request) -> web.Response:
        """``ds, seg, n, method, protocol, process, name, email``: begin an export."""
        given = await _body(request, _EXPORT)
        return web.json_response(await self._jobs.submit(_request(given)), status=202)

    async def pins(self, _: web.Request) -> web.Response:
        """The pins that hold."""
        return web.json_response(await self._store.pins())

    async def pin(self, request: web.Request) -> web.Response:
        """``ds, seg, n, owner, reason, seconds``: pin the files that are held."""
        given = await _body(request, _PIN)
        reason = given.get("reason") or given.get("ds", "")
        pinned = await self._store.pin(_request(given), _owner(given), reason, given.get("seconds"))
        return web.json_response(pinned)

    async def unpin(self, request: web.Request) -> web.Response:
        """``ds, seg, n, owner``: take pins away."""
        given = await _body(request, _PIN)
        return web.json_response(await self._store.unpin(_request(given), _owner(given)))

    async def evict(self, request: web.Request) -> web.Response:
        """``need`` bytes, ``dry_run``: throw out what was not used for longest, or say what would go."""
        given = await _body(request, _EVICTION)
        answer = await self._store.evict(given.get("need"), dry_run=given.get("dry_run", False))
        return web.json_response(answer)

    async def quicklook(self, request: web.Request) -> web.Response:
        """``ds, seg, n, number``: the PNG of a record's first image."""
        given = await parameters(request)
        made = await self._quicklooks.of(_request(given), _whole(given, "number", 1))
        # Headers are ASCII; names of records need not be.
        told = {"X-Mirror-Record": quote(made.record, safe="[]{}:#"), "X-Mirror-Segment": quote(made.segment)}
        return web.Response(body=made.png, content_type="image/png", headers=told)


def _request(given: Mapping[str, Any]) -> ExportRequest:
    """What is asked for: an export as JSOC knows it, with only what was given."""
    if not given.get("ds"):
        raise BadRequest("ds is missing; expected a record set, as in hmi.m_720s[2014.01.01/1h]")
    method = given.get("method") or "url"
    if method == METHODS[0] or method not in METHODS:
        raise BadRequest(f"method is {method!r}; expected {' or '.join(METHODS[1:])}")
    segments = tuple(name.strip() for name in given.get("seg", "").split(",") if name.strip())
    return ExportRequest(
        given["ds"],
        method=method,
        protocol=Protocol(given.get("protocol") or "as-is"),
        filenamefmt=given.get("name") or DEFAULT_FILENAME_FORMAT,
        notify=given.get("email") or None,
        process=parse_process(given.get("process", "")),
        segments=segments or None,
        max_recs=_whole(given, "n", 0) or None,
        allow_staging=True,
    )


def _owner(given: Mapping[str, Any]) -> str:
    if not given.get("owner"):
        raise BadRequest("owner is missing; expected who the pin is for")
    return str(given["owner"])


def _whole(given: Mapping[str, Any], name: str, default: int) -> int:
    value = given.get(name, default)
    try:
        return int(value) if value != "" else default
    except ValueError:
        raise BadRequest(f"{name} is {value!r}; expected a whole number") from None


async def _body(request: web.Request, members: Mapping[str, Kinds]) -> dict[str, Any]:
    """The JSON object in a request's body, with no other members than these; null is as good as absent."""
    if request.content_type != "application/json":
        raise BadRequest("expected a JSON object, with the header Content-Type: application/json")
    try:
        given = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is no JSON: {error}") from error
    if not isinstance(given, dict):
        raise BadRequest('the body is no JSON object; expected one such as {"ds": "hmi.m_720s[$]"}')
    for name, value in given.items():
        if name not in members:
            raise BadRequest(f"the member {name!r} is not known; expected some of {', '.join(members)}")
        if value is not None and not _is(value, members[name]):
            raise BadRequest(f"{name} is {value!r}; expected {_in_words(members[name])}")
    return {name: value for name, value in given.items() if value is not None}


def _is(value: Any, kinds: Kinds) -> bool:
    # True is an int to Python, and to nobody else.
    return isinstance(value, kinds) and (kinds is bool or not isinstance(value, bool))


def _in_words(kinds: Kinds) -> str:
    words: dict[Any, str] = {str: "a text", int: "a whole number", bool: "true or false"}
    return words.get(kinds, "a number")
