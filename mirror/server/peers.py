"""Exports, fills and films of other mirrors of the cluster: a client that asks here gets the answer of their maker.

The number of an export, a fill or a film says which mirror made it. Requests about it (its state, its files, its page)
are passed on to that mirror unchanged, with their authorization; its answer is returned unchanged. A request from
another mirror is passed on no further. The export of a mirror that is gone is continued by the first one that is asked
about it; its fills go on when it is back, and until then clients are told which mirror has them. Lists of jobs have
those of all mirrors.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import msgspec
from aiohttp import web
from msgspec.structs import replace
from yarl import URL

from mirror.api.exports import ENDED_STATES, JOBS, Job, JobsQuery
from mirror.drms.export import parse_request_id
from mirror.errors import BadRequest, MirrorError, UnknownName, UpstreamError
from mirror.server.forwarding import end_to_end, relay
from mirror.server.requests import parameters
from mirror.services.exports.requests import FIRST_NUMBER
from mirror.services.fills import FILL
from mirror.services.films import FILM
from mirror.upstream.transport import PAGE, bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp.typedefs import Handler

    from mirror.readthrough.shared import Peer, Shared


log = logging.getLogger(__name__)

#: Marks a request from another mirror of the cluster.
FROM_PEER = "X-Mirror-Peer"
#: The headers that identify the client; seconds for another mirror's list of jobs.
_WHO, PATIENCE = ("Authorization", "Cookie"), 3.0
#: Seconds between two questions for the front page, seconds that it waits for an answer, and most jobs of each mirror.
EACH, SHORTLY, _LISTED = 5.0, 0.2, 100
#: The part of a path, and the parameter, that may be an export's id.
_PARTS, _PARAMETER = ("request_id", "id"), "requestid"
#: The endings of paths that may be about one.
_ABOUT_EXPORTS = ("/jsoc_fetch", "/{request_id}/{name}", "/jobs/{id}", "/films/{id}")


class Peers:
    """Passes on requests about exports of other mirrors."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def stand_before(self, router: web.UrlDispatcher) -> None:
        """Be asked first on the paths that may be about an export; other paths are not affected."""
        for route in router.routes():
            resource = route.resource
            if resource is not None and resource.canonical.endswith(_ABOUT_EXPORTS):
                route._handler = partial(self.pass_on, handler=route.handler)  # noqa: SLF001

    async def pass_on(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer of the mirror that made the requested export; for most requests our own."""
        if FROM_PEER in request.headers:
            return await handler(request)
        found = await _export(request)
        if found is None:
            return await handler(request)
        address = await self._shared.address_of(*found)
        if address is not None:
            try:
                return await _forwarded(request, address)
            except (aiohttp.ClientConnectorError, UpstreamError) as problem:
                log.warning("the mirror that made an export does not answer address=%s problem=%s", address, problem)
        try:
            return await handler(request)
        except UnknownName as problem:
            name = await self._shared.name_of(found[1])
            if name is None:
                raise
            there = "does not answer" if address else "is not there now"
            raise UnknownName(f"{found[0]} was made by {name}, another mirror of this cluster, which {there}; try again once it is back") from problem

    async def made(self, request: web.Request, request_id: str) -> web.StreamResponse | None:
        """The answer to this export request of the mirror that has the identical one under an id.

        None if that mirror does not answer, or is gone: then the export is made or continued here.
        """
        number = parse_request_id(request_id).number
        address = await self._shared.address_of(request_id, number - FIRST_NUMBER)
        if address is None:
            return None
        try:
            return await _forwarded(request, address)
        except (aiohttp.ClientConnectorError, UpstreamError) as problem:
            log.warning("the mirror that made an export does not answer address=%s problem=%s", address, problem)
            return None

    async def jobs(self, request: web.Request, own: list[Job], asked: JobsQuery) -> list[Job]:
        """A list of this mirror's jobs, and of those of the others that answer in time, newest first; each with its mirror.

        Subscriptions come last, as they are here: all mirrors have the same.
        """
        if FROM_PEER in request.headers or asked.kind == "subscription":
            return own
        theirs = await asyncio.gather(*(_jobs_of(request.headers, peer, asked) for peer in await self._shared.others()))
        there = {job.id: job for jobs in theirs for job in jobs if job.kind != "subscription"}
        here = {job.id: job for job in own if job.kind != "subscription"}
        found = sorted((there | here).values(), key=lambda job: (job.created or "", job.id), reverse=True)
        return [*found[: max(1, asked.n)], *(job for job in own if job.kind == "subscription")]


class RunningElsewhere:
    """The jobs under way at the other mirrors, for the front page: asked for now and then, while somebody looks.

    Nobody waits long for them: until an answer has come, the last one counts.
    """

    def __init__(self, shared: Shared, clock: Callable[[], float]) -> None:
        self._shared = shared
        self._clock = clock
        self._asked_at: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._found: list[Job] = []

    async def jobs(self, headers: Mapping[str, str]) -> list[Job]:
        """The jobs, each with its mirror; asked for as whoever sent these headers."""
        if self._asking is None and (self._asked_at is None or self._clock() - self._asked_at >= EACH):
            self._asked_at = self._clock()
            self._asking = asyncio.ensure_future(self._ask(headers))
        if self._asking is not None:
            await asyncio.wait([self._asking], timeout=SHORTLY)
        return self._found

    async def _ask(self, headers: Mapping[str, str]) -> None:
        try:
            asked = JobsQuery(n=_LISTED)
            theirs = await asyncio.gather(*(_jobs_of(headers, peer, asked) for peer in await self._shared.others()))
            self._found = [job for jobs in theirs for job in jobs if job.kind != "subscription" and job.state not in ENDED_STATES]
        except MirrorError as problem:
            log.warning("the jobs of the other mirrors are not known problem=%s", problem)
        finally:
            self._asking = None


async def _jobs_of(sent: Mapping[str, str], peer: Peer, asked: JobsQuery) -> list[Job]:
    """The jobs of another mirror, as whoever sent these headers may see them there; none if it does not answer in time."""
    kept = end_to_end(sent)
    headers = {name: kept[name] for name in _WHO if name in kept} | {FROM_PEER: "1"}
    address = URL(peer.address + JOBS.path).with_query({"n": asked.n, **({} if asked.kind is None else {"kind": asked.kind})})
    patience = aiohttp.ClientTimeout(total=PATIENCE)
    try:
        async with (
            aiohttp.ClientSession(timeout=patience, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.get(address, headers=headers) as answer,
        ):
            answer.raise_for_status()
            body = b"".join([piece async for piece in bounded(answer.content.iter_any(), PAGE)])
            return [replace(job, server=peer.name) for job in msgspec.json.decode(body, type=list[Job])]
    except (aiohttp.ClientError, TimeoutError, OSError, msgspec.MsgspecError, UpstreamError) as problem:
        log.warning("the jobs of another mirror are not known name=%s problem=%r", peer.name, problem)
        return []


async def _export(request: web.Request) -> tuple[str, int] | None:
    """The id of the export, fill or film in a request, and its number of ours; None if there is none."""
    text = next((request.match_info[name] for name in _PARTS if name in request.match_info), None)
    if text is not None and (known := FILM.fullmatch(text) or FILL.fullmatch(text)):
        return text, int(known[1])
    if text is None and request.path.rpartition("/")[2] == "jsoc_fetch":
        text = (await parameters(request)).get(_PARAMETER)
    try:
        number = None if text is None else parse_request_id(text).number
    except BadRequest:
        return None
    return (text, number - FIRST_NUMBER) if text is not None and number is not None and number > FIRST_NUMBER else None


async def _forwarded(request: web.Request, address: str) -> web.StreamResponse:
    headers = end_to_end(request.headers)
    headers[FROM_PEER] = "1"
    target = request.raw_path if request.raw_path.startswith("/") else URL(request.raw_path, encoded=True).raw_path_qs
    return await relay(request, URL(address + target, encoded=True), headers, {})
