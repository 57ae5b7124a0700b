"""Alternatives that are asked while JSOC does not answer: another NetDRMS site, another mirror.

1. They are asked in the order of ``[[upstream.alternative]]``, and only where JSOC would have been asked: never
   offline, never for what is cached, nor beyond the budget. The first one's answer that has something is passed on as
   it came.
2. Nothing of it is kept: no record, no coverage, no file. What another site lacks says nothing about JSOC, and its
   records cannot be told from JSOC's. So every cached answer is JSOC's.
3. ``X-Mirror: alternative`` and ``X-Mirror-Source`` say where an answer came from. It may be shorter than JSOC's; one
   without records does not count.
4. Only reading is forwarded: searches (also those of our own API, which other mirrors have), structures, lists of
   series, files. An export belongs to the place that made it.
5. Another mirror is told that JSOC does not answer, rather than given an alternative's answer: it has alternatives of
   its own, and two mirrors that are each other's would ask in circles.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.api.search import SEARCH
from mirror.errors import ClusterAway, MirrorError, NotHeld, OverBudget, UpstreamUnreachable
from mirror.server.jsoc.proxy import asked_of, given_back
from mirror.server.jsoc.sendfile import send
from mirror.server.requests import demand_of, is_mirror
from mirror.server.roles import UNIT_FILE
from mirror.upstream.transport import PAGE, PROGRAM, Transport, user_agent
from mirror.wire.paths import PROGRAM_PATHS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from aiohttp.typedefs import Handler

    from mirror.config.sections import Alternative
    from mirror.readthrough.policy import Rules
    from mirror.upstream.transport import Passthrough


log = logging.getLogger(__name__)

#: Programs that only read.
_READING = frozenset({"jsoc_info", "show_info", "show_series", "showextseries", SEARCH.path})
#: Seconds for which one that did not answer is left alone.
PAUSE = 30.0
SOURCE = "X-Mirror-Source"
_OK, _PARTIAL = 200, 206


@dataclass
class _Place:
    """One alternative, and until when it is left alone."""

    url: str
    transport: Transport
    until: float = field(default=0.0)


class Alternatives:
    """The alternatives; ``clock`` gives seconds that only go forward."""

    def __init__(
        self,
        configured: Iterable[Alternative],
        rules: Rules,
        email: str | None,
        timeout: float,
        onward: Callable[[], Mapping[str, str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._places = [_place(each, user_agent(email), timeout, onward) for each in configured]

    async def close(self) -> None:
        """Close the connections."""
        for place in self._places:
            await place.transport.close()

    @web.middleware
    async def ask(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer; that of an alternative if it needs JSOC, and JSOC does not answer."""
        try:
            return await handler(request)
        except (UpstreamUnreachable, NotHeld) as problem:
            final = isinstance(problem, (ClusterAway, OverBudget)) or not self._rules.asks(demand_of(request))
            if final or not self._places or is_mirror(request) or not _reads(request):
                raise
            answer = await self._first(request)
            if answer is None:
                raise
            return answer

    async def _first(self, request: web.Request) -> web.StreamResponse | None:
        """The first answer that has something; None if there is none."""
        for place in self._places:
            if self._clock() < place.until:
                continue
            try:
                answer = await _answered(request, place)
            except MirrorError as problem:
                log.info("alternative does not answer url=%s problem=%s", place.url, problem)
                place.until = self._clock() + PAUSE
                continue
            if answer is not None:
                return answer
        return None


def _place(given: Alternative, agent: str, timeout: float, onward: Callable[[], Mapping[str, str]]) -> _Place:
    known_by = {"Authorization": f"Bearer {given.token}"} if given.token else {}
    return _Place(given.url, Transport(given.url, timeout=timeout, agent=agent, onward=lambda: {**onward(), **known_by}))


def _reads(request: web.Request) -> bool:
    return _program(request) in _READING or (_canonical(request) == UNIT_FILE.path and request.method in ("GET", "HEAD"))


def _program(request: web.Request) -> str | None:
    """The program whose text answer is checked; None for a file."""
    return SEARCH.path if _canonical(request) == SEARCH.path else PROGRAM_PATHS.get(request.path)


def _canonical(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


async def _answered(request: web.Request, place: _Place) -> web.StreamResponse | None:
    """The answer of one alternative, sent; None if it has nothing. Raises what prevents it from answering."""
    target, headers, body = await asked_of(request)
    program = _program(request)
    if program is not None:
        headers["Accept-Encoding"] = "identity"
    bounds = PAGE if program is None else PROGRAM
    async with place.transport.stream(request.method, target, headers, body, bounds) as answer:
        if answer.status not in (_OK, _PARTIAL):
            return None
        marks = {"X-Mirror": "alternative", SOURCE: place.url}
        if program is None:
            response = web.StreamResponse(status=answer.status, headers=given_back(answer.headers))
            response.headers.update(marks)
            return await send(request, response, answer.body)
        text = await _whole(answer)
        if not _has_something(text):
            return None
        found = given_back(answer.headers)
        found.popall("Content-Length", None)
        found.update(marks)
        return web.Response(status=answer.status, headers=found, body=text)


async def _whole(answer: Passthrough) -> bytes:
    return b"".join([piece async for piece in answer.body])


def _has_something(body: bytes) -> bool:
    """Whether a program's answer has something: no error, and at least one record if it has records."""
    text = body.lstrip()
    if not text.startswith(b"{"):
        return bool(text) and not text.startswith(b"###")
    try:
        found = json.loads(text.decode("latin-1"))
    except ValueError:
        return False
    return str(found.get("status", 0)) == "0" and found.get("count", 1) != 0
