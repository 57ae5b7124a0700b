"""The upstream archive as functions: one for each thing the mirror asks it, typed values both ways.

Every request takes its turn with the pacer, is decoded and checked whole, and is told to ``on_request``
once for each attempt. Errors are UpstreamUnreachable, UpstreamBroken and UpstreamRefused, and BadRequest
for what cannot be said in Latin-1.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar
from urllib.parse import quote

from mirror.drms.errors import UpstreamBroken, UpstreamError, UpstreamRefused, UpstreamUnreachable
from mirror.drms.export import ExportAnswer, FetchRequest
from mirror.drms.series import Series
from mirror.upstream.pacing import Pace, Pacer, Priority, Turnstile
from mirror.upstream.transport import Passthrough, Transport, user_agent
from mirror.wire.address import AddressAnswer, AddressRequest, decode_address_answer, encode_address
from mirror.wire.catalogue import (
    CatalogueRequest,
    SeriesEntry,
    decode_show_series,
    decode_showextseries,
    encode_catalogue,
)
from mirror.wire.export import encode_fetch
from mirror.wire.export_answer import decode_answer
from mirror.wire.info import (
    ALL,
    InfoRequest,
    RsListRequest,
    SeriesStructRequest,
    SummaryRequest,
    decode_summary,
    encode_info,
    expand_names,
)
from mirror.wire.rs_list import RsList, decode_rs_list
from mirror.wire.structure import decode_series_struct

T = TypeVar("T")
Outcome = Literal["ok", "unreachable", "broken", "refused"]

CGI = "/cgi-bin/ajax/"
#: The database that drms names to showextseries, and the only one the public may ask.
DBHOST = "hmidb2"
#: Answers from this size on are decoded in a thread, so that the event loop goes on.
LARGE = 256 * 1024
_OUTCOMES: dict[type[UpstreamError], Outcome] = {
    UpstreamUnreachable: "unreachable",
    UpstreamBroken: "broken",
    UpstreamRefused: "refused",
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One attempt at one request, for counters and logs.

    ``series`` is "" where the request is not about one, in lower case otherwise; ``bytes`` counts the
    body after decompression, ``records`` those of an rs_list.
    """

    program: str
    outcome: Outcome
    series: str = ""
    records: int = 0
    bytes: int = 0


class UpstreamClient:
    """The archive at ``url``. ``timeout`` is in seconds; at most ``queries`` run at a time.

    ``pacer`` replaces the default one, which repeats and gives up as ``mirror.upstream.pacing`` says.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 60.0,
        queries: int = 2,
        agent: str | None = None,
        on_request: Callable[[Exchange], None] = lambda _: None,
        pacer: Pacer | None = None,
    ) -> None:
        self._transport = Transport(url, timeout=timeout, agent=agent or user_agent(None))
        self._pacer = pacer or Pacer(queries)
        self._downloads = Turnstile(1)  # JSOC asks for one connection that downloads
        self._on_request = on_request

    def pace(self) -> Pace:
        """How many requests run and wait, and whether upstream is being left alone."""
        return self._pacer.pace()

    async def series_struct(self, ds: str, priority: Priority = Priority.PEOPLE) -> Series:
        """The structure of a series; UpstreamRefused if there is none of that name."""
        request, hint = SeriesStructRequest(ds), series_of(ds)
        return await self._ask(_about(request, lambda x: decode_series_struct(x, name_hint=hint)), priority)

    async def rs_summary(self, ds: str, priority: Priority = Priority.PEOPLE) -> int:
        """How many records the record set has."""
        return await self._ask(_about(SummaryRequest(ds), decode_summary), priority)

    async def rs_list(self, request: RsListRequest, priority: Priority = Priority.PEOPLE) -> RsList:
        """Records as columns: all that were asked for by name, in that order, each with ``count`` values."""
        return await self._ask(
            _about(request, lambda x: checked(request, decode_rs_list(x)), lambda answer: answer.count), priority
        )

    async def show_series(
        self, pattern: str | None = None, priority: Priority = Priority.PEOPLE
    ) -> tuple[SeriesEntry, ...]:
        """The public series with prime keys and notes; ``pattern`` is a regular expression."""
        params = encode_catalogue(CatalogueRequest(pattern))
        return await self._ask(_Question("show_series", params, decode_show_series), priority)

    async def showextseries(
        self, pattern: str | None = None, *, info: bool = False, priority: Priority = Priority.PEOPLE
    ) -> tuple[SeriesEntry, ...]:
        """All series, by name only, or with ``info`` with their notes."""
        params = encode_catalogue(CatalogueRequest(pattern, info=info, dbhost=DBHOST))
        return await self._ask(_Question("showextseries", params, decode_showextseries), priority)

    async def check_address(
        self, request: AddressRequest, priority: Priority = Priority.PEOPLE
    ) -> AddressAnswer:
        """Whether an e-mail address is registered for exports."""
        params = encode_address(request)
        return await self._ask(_Question("checkAddress.sh", params, decode_address_answer), priority)

    async def export(
        self, request: FetchRequest, priority: Priority = Priority.PEOPLE
    ) -> ExportAnswer:
        """What jsoc_fetch says to a request or a question about one, errors of its own included."""
        return await self._ask(_Question("jsoc_fetch", encode_fetch(request), decode_answer), priority)

    @asynccontextmanager
    async def file(
        self, path: str, headers: Mapping[str, str], priority: Priority = Priority.PEOPLE
    ) -> AsyncIterator[Passthrough]:
        """A file of the archive, streamed; one at a time, and not repeated here."""
        came = 0

        async def counted(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            nonlocal came
            async for piece in body:
                came += len(piece)
                yield piece

        async with self._downloads.turn(priority):
            outcome: Outcome = "ok"
            try:
                async with self._transport.stream("GET", quote(path), headers, None) as answer:
                    yield replace(answer, body=counted(answer.body))
            except UpstreamError as problem:
                outcome = _outcome(problem)
                raise
            finally:
                self._on_request(Exchange("file", outcome, bytes=came))

    @asynccontextmanager
    async def raw(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[Passthrough]:
        """Any other request of a client, streamed through, and never repeated.

        Questions to programs take their turn with all others, and do not wait for what is downloaded; all
        else counts as a download.
        """
        async with self._pacer.turn() if target.startswith(CGI) else self._downloads.turn():
            counted = Exchange("other", "ok")
            try:
                async with self._transport.stream(method, target, headers, body) as answer:
                    yield answer
            except UpstreamError as problem:
                counted = Exchange("other", _outcome(problem))
                raise
            finally:
                self._on_request(counted)

    async def close(self) -> None:
        """Closes all connections."""
        await self._transport.close()

    async def _ask(self, question: _Question[T], priority: Priority) -> T:
        return await self._pacer.run(lambda: self._attempt(question), priority)

    async def _attempt(self, question: _Question[T]) -> T:
        program, series, data = question.program, question.series, b""
        try:
            data = await self._transport.fetch(CGI + program, question.params)
            answer = await question.decoded(data)
        except UpstreamError as problem:
            self._on_request(Exchange(program, _outcome(problem), series, 0, len(data)))
            raise
        self._on_request(Exchange(program, "ok", series, question.records(answer), len(data)))
        return answer


@dataclass(frozen=True)
class _Question(Generic[T]):
    """What is asked of one program, how its answer is read, and how many records that holds."""

    program: str
    params: Mapping[str, str]
    decode: Callable[[bytes], T]
    series: str = ""
    records: Callable[[T], int] = lambda _: 0

    async def decoded(self, data: bytes) -> T:
        """The answer; a large one is read in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.decode, data) if len(data) >= LARGE else self.decode(data)


def _about(
    request: InfoRequest, decode: Callable[[bytes], T], records: Callable[[T], int] = lambda _: 0
) -> _Question[T]:
    return _Question("jsoc_info", encode_info(request), decode, series_of(request.ds).lower(), records)


def series_of(ds: str) -> str:
    """The name that a record set begins with, as it is written; "" if it begins with none."""
    found = re.match(r"\s*([\w.]*)", ds)
    return found[1] if found else ""


def checked(request: RsListRequest, answer: RsList) -> RsList:
    """The answer; UpstreamBroken if it is not what was asked for, as far as the request can tell."""
    columns = (
        ("keywords", request.keys, answer.keywords),
        ("links", request.links, answer.links),
        ("segments", request.segments, [(s.name, ()) for s in answer.segments or ()]),
    )
    for what, asked, found in columns:
        if answer.count and asked is not None and ALL not in asked:
            expected, names = expand_names(asked, ()), [name for name, _ in found or ()]
            if expected != names:
                raise UpstreamBroken(f"{what} {names} instead of {expected}")
    return answer


def _outcome(problem: UpstreamError) -> Outcome:
    return _OUTCOMES[type(problem)]
