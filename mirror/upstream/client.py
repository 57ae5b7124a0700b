"""The upstream archive as functions: one for each thing that the mirror asks, with typed values both ways.

Every request takes its turn with the pacer, is decoded and checked as a whole, and is reported to ``on_request``
once per attempt. Errors are UpstreamUnreachable, UpstreamBroken and UpstreamRefused, and BadRequest for what
cannot be written in Latin-1.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, TypeVar, get_args
from urllib.parse import quote

from mirror.drms.export import (
    ExportAnswer,
    ExportRequest,
    FetchRequest,
    Finished,
    Immediate,
    RepeatRequest,
    StatusRequest,
)
from mirror.drms.parser import parse_query
from mirror.drms.series import Series
from mirror.errors import (
    ClusterAway,
    MirrorError,
    NotHeld,
    UpstreamBroken,
    UpstreamError,
    UpstreamLacks,
    UpstreamRefused,
    UpstreamUnreachable,
)
from mirror.upstream.budget import Budget, BudgetLimits
from mirror.upstream.pacing import Claim, Pace, Pacer, Priority, Turnstile
from mirror.upstream.transport import PAGE, PROGRAM, Passthrough, Transport, user_agent
from mirror.upstream.verification import MOST_RECNUM, Question
from mirror.wire.catalogue import (
    CatalogueRequest,
    SeriesEntry,
    decode_show_series,
    decode_showextseries,
    encode_catalogue,
)
from mirror.wire.export import (
    AddressAnswer,
    AddressRequest,
    decode_address_answer,
    encode_address,
    encode_fetch,
)
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
from mirror.wire.paths import CGI, is_program
from mirror.wire.rs_list import RsList, decode_rs_list
from mirror.wire.show_info import decode_formats, formats_query
from mirror.wire.structure import SERIES_NAME, decode_series_struct, structure_problem

T = TypeVar("T")
Outcome = Literal["ok", "unreachable", "broken", "refused"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

#: The database that drms names to showextseries, and the only public one.
DBHOST = "hmidb2"
#: Up to this many records are read without asking the budget: a first, a last, a sample.
FEW = 100
#: Answers from this size on are decoded in a thread, so that the event loop goes on.
LARGE = 256 * 1024
#: Most bytes of answers that do not grow with the question: lists of series and of files, structures; and of those
#: with little more than a number.
LARGEST_LIST, LARGEST_NUMBER = 32 << 20, 64 << 10
_OUTCOMES: dict[type[UpstreamError], Outcome] = {
    UpstreamUnreachable: "unreachable",
    ClusterAway: "unreachable",
    UpstreamBroken: "broken",
    UpstreamRefused: "refused",
    UpstreamLacks: "refused",
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One attempt at one request, for counters and logs.

    ``series`` is in lower case, "" if the request is not about one; ``bytes`` counts the body after
    decompression, ``records`` those of an rs_list; ``seconds`` is how long it took.
    """

    program: str
    outcome: Outcome
    series: str = ""
    records: int = 0
    bytes: int = 0
    seconds: float = field(default=0.0, compare=False)


Slot = Callable[[str, Priority], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def _no_slot(kind: str, priority: Priority) -> AsyncIterator[None]:
    yield


class UpstreamClient:
    """The archive at ``url``. ``timeout`` is in seconds; at most ``queries`` run at a time.

    While ``allowed`` says no, nothing is asked, and NotHeld is raised. ``pacer`` replaces the default one, which
    repeats and gives up as in ``mirror.upstream.pacing``. Records and files wait for the ``budget``, or raise
    OverBudget; counts, structures and the like are small whoever asks. ``structure`` gives the structure of a series,
    if known, by which every record of an answer is compared with the question. ``slot`` gives one of the places that
    several mirrors share, of the kind "query" or "download".
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
        allowed: Callable[[], bool] = lambda: True,
        onward: Callable[[], Mapping[str, str]] = dict,
        budget: Budget | None = None,
        structure: Callable[[str], Series | None] = lambda _: None,
        slot: Slot | None = None,
    ) -> None:
        self._slot = slot or _no_slot
        self._structure = structure
        #: The most records at one place, by series and the prime keys that may have any value there.
        self._per_place: dict[object, int] = {}
        self._transport = Transport(url, timeout=timeout, agent=agent or user_agent(None), onward=onward)
        self._pacer = pacer or Pacer(queries)
        self._downloads = Turnstile(1)  # JSOC asks for one download connection at a time
        self._on_request = on_request
        self._allowed = allowed
        self._budget = budget or Budget(BudgetLimits(), time.time)

    def pace(self) -> Pace:
        """How many requests run and wait, and whether upstream is being left alone."""
        return self._pacer.pace()

    async def series_struct(self, ds: str) -> Series:
        """The structure of a series; UpstreamRefused if there is none of that name."""
        request, hint = SeriesStructRequest(ds), series_of(ds)
        return await self._ask(_about(request, lambda data: _structure(data, hint)), Priority.PEOPLE)

    async def print_formats(self, series: str) -> dict[str, str]:
        """The formats by which the keywords of a series print, as from ``mirror.wire.show_info.decode_formats``."""
        asked = _Question("show_info", formats_query(series), decode_formats, series=series.lower())
        return await self._ask(asked, Priority.PEOPLE)

    async def rs_summary(self, ds: str, priority: Priority | Claim = Priority.PEOPLE) -> int:
        """How many records the record set has."""
        return await self._ask(_about(SummaryRequest(ds), _summary, most=LARGEST_NUMBER), priority)

    async def rs_list(self, request: RsListRequest, priority: Priority | Claim = Priority.PEOPLE) -> RsList:
        """Records as columns: all that were asked for by name, in that order, each with ``count`` values.

        UpstreamBroken if a record was not asked for, or if some are lacking, where that can be counted: see
        ``mirror.upstream.verification``. For that, rs_summary is asked once unless the answer fills the question, and
        one record beside the span if the answer is empty.
        """
        question = Question.of(request, self._structure)
        answer = await self._records(question, priority)
        if not question.unproven(answer, self._per_place):
            return answer
        counted = await self.rs_summary(request.ds, priority)
        least = question.most(counted)
        if answer.count < least:
            # There may be new records; an answer given after the count must not lack any.
            answer = await self._records(question, priority)
        if answer.count < least:
            raise UpstreamBroken(
                f"incomplete answer: {request.ds} was asked for, {answer.count} records came, "
                f"and by rs_summary there are {least}"
            )
        if not answer.count:
            await self._prove_empty(question, priority)
        self._learn(question, answer)
        return answer

    async def _prove_empty(self, question: Question, priority: Priority | Claim) -> None:
        """Raise UpstreamBroken if there is no record beside an empty span either, although the series has some."""
        asked = False
        for request in question.neighbours():
            asked = True
            beside = await self._records(Question.of(request, self._structure), priority)
            if beside.count:
                question.check_neighbour(beside)
                return
        if asked and question.has_neighbours:
            raise UpstreamBroken(f"nothing came for {question.request.ds}, nor any record of the series, which has some")

    async def _records(self, question: Question, priority: Priority | Claim) -> RsList:
        request = question.request

        def decoded(data: bytes) -> RsList:
            answer = checked(request, decode_rs_list(data))
            question.check(answer)
            return answer

        asked = _about(request, decoded, lambda answer: answer.count, _aged, question.most_bytes())
        if request.n and abs(request.n) <= FEW:
            return await self._ask(asked, priority)
        claim = _claim(priority)
        async with self._budget.turn(claim):
            return await self._ask(replace(asked, large=True), claim)

    def _learn(self, question: Question, answer: RsList) -> None:
        """Remember how many records a place may have, so that later answers show that they are complete."""
        density, kind = question.density(answer), question.unrestricted
        if density is not None:
            self._per_place[kind] = max(density, self._per_place.get(kind, 1))

    async def show_series(self) -> tuple[SeriesEntry, ...]:
        """The public series with prime keys and notes."""
        asked = _Question("show_series", encode_catalogue(CatalogueRequest()), lambda x: _listed(decode_show_series(x)))
        return await self._ask(asked, Priority.PEOPLE)

    async def showextseries(self, *, info: bool = False) -> tuple[SeriesEntry, ...]:
        """All series, by name only, or with ``info`` with their notes."""
        params = encode_catalogue(CatalogueRequest(info=info, dbhost=DBHOST))
        asked = _Question("showextseries", params, lambda x: _listed(decode_showextseries(x)))
        return await self._ask(asked, Priority.PEOPLE)

    async def check_address(
        self, request: AddressRequest, priority: Priority | Claim = Priority.PEOPLE
    ) -> AddressAnswer:
        """Whether an e-mail address is registered for exports."""
        params = encode_address(request)
        asked = _Question("checkAddress.sh", params, decode_address_answer, most=LARGEST_NUMBER)
        return await self._ask(asked, priority)

    async def export(
        self, request: FetchRequest, priority: Priority | Claim = Priority.PEOPLE
    ) -> ExportAnswer:
        """What jsoc_fetch answers to a request, or a question about one, including its own errors."""
        return await self._ask(
            _Question("jsoc_fetch", encode_fetch(request), lambda x: _exported(request, decode_answer(x))), priority
        )

    @asynccontextmanager
    async def file(
        self,
        path: str,
        headers: Mapping[str, str],
        priority: Priority | Claim = Priority.PEOPLE,
        still: Callable[[], Awaitable[None]] | None = None,
    ) -> AsyncIterator[Passthrough]:
        """A file of the archive, streamed; one at a time, and not repeated here.

        ``still`` is awaited when its turn comes: if it raises, nothing is asked.
        """
        came = 0

        async def counted(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            nonlocal came
            async for piece in body:
                came += len(piece)
                yield piece

        claim = _claim(priority)
        async with self._budget.turn(claim, self._budget.file), self._download(claim):
            self._insist_on_leave()
            self._budget.check(claim)
            if still is not None:
                await still()
            outcome: Outcome = "ok"
            began = time.monotonic()
            try:
                async with self._transport.stream("GET", quote(path), headers, None) as answer:
                    yield replace(answer, body=counted(answer.body))
            except UpstreamError as problem:
                outcome = _outcome(problem)
                raise
            finally:
                took = time.monotonic() - began
                self._tell(Exchange("file", outcome, bytes=came, seconds=took), claim)

    @asynccontextmanager
    async def raw(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> AsyncIterator[Passthrough]:
        """Any other request of a client, streamed through, and never repeated.

        Questions to programs take their turn with all others, and do not wait for downloads; anything else
        counts as a download.
        """
        came = 0

        async def counted(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            nonlocal came
            async for piece in pieces:
                came += len(piece)
                yield piece

        claim, program = Claim(), is_program(target.partition("?")[0])
        async with self._query(claim) if program else self._download(claim):
            self._insist_on_leave()
            self._budget.check(claim)
            outcome: Outcome = "ok"
            bounds = PROGRAM if program else PAGE
            try:
                async with self._transport.stream(method, target, headers, body, bounds) as answer:
                    yield replace(answer, body=counted(answer.body))
            except UpstreamError as problem:
                outcome = _outcome(problem)
                raise
            finally:
                self._tell(Exchange("other", outcome, bytes=came), claim)

    @asynccontextmanager
    async def _download(self, claim: Claim) -> AsyncIterator[None]:
        async with self._downloads.turn(claim), self._slot("download", claim.priority):
            yield

    @asynccontextmanager
    async def _query(self, claim: Claim) -> AsyncIterator[None]:
        async with self._pacer.turn(claim), self._slot("query", claim.priority):
            yield

    async def close(self) -> None:
        """Closes all connections."""
        await self._transport.close()

    async def _ask(self, question: _Question[T], priority: Priority | Claim) -> T:
        self._insist_on_leave()
        claim = _claim(priority)
        return await self._pacer.run(lambda: self._attempt(question, claim), claim)

    def _insist_on_leave(self) -> None:
        """Raise once the mirror is offline, also for what has waited for its turn."""
        if not self._allowed():
            raise NotHeld("the mirror is offline")

    def _tell(self, exchange: Exchange, claim: Claim) -> None:
        self._budget.count(exchange.records, exchange.bytes, claim)
        self._on_request(exchange)

    async def _attempt(self, question: _Question[T], claim: Claim) -> T:
        async with self._slot("query", claim.priority):
            return await self._asked(question, claim)

    async def _asked(self, question: _Question[T], claim: Claim) -> T:
        self._insist_on_leave()
        if question.large:
            self._budget.check(claim)
        program, series, data = question.program, question.series, b""
        began = time.monotonic()
        try:
            fetched = await self._transport.fetch(CGI + program, question.params, question.most)
            data = fetched.body
            answer = question.aged(await question.decoded(data), fetched.age)
        except UpstreamError as problem:
            self._tell(Exchange(program, _outcome(problem), series, 0, len(data)), claim)
            raise
        took = time.monotonic() - began
        self._tell(Exchange(program, "ok", series, question.records(answer), len(data), took), claim)
        return answer


@dataclass(frozen=True)
class _Question(Generic[T]):
    """A request to one program, how its answer is decoded, and how many records that has."""

    program: str
    params: Mapping[str, str]
    decode: Callable[[bytes], T]
    series: str = ""
    records: Callable[[T], int] = lambda _: 0
    aged: Callable[[T, float], T] = lambda answer, _: answer
    large: bool = False  #: the answer may be, so the budget is asked first
    most: int = LARGEST_LIST

    async def decoded(self, data: bytes) -> T:
        """The answer; a large one is decoded in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.decode, data) if len(data) >= LARGE else self.decode(data)


def _claim(priority: Priority | Claim) -> Claim:
    return priority if isinstance(priority, Claim) else Claim(priority)


def _about(
    request: InfoRequest,
    decode: Callable[[bytes], T],
    records: Callable[[T], int] = lambda _: 0,
    aged: Callable[[T, float], T] = lambda answer, _: answer,
    most: int = LARGEST_LIST,
) -> _Question[T]:
    series = series_of(request.ds).lower()
    return _Question("jsoc_info", encode_info(request), decode, series, records, aged, most=most)


def _aged(answer: RsList, age: float) -> RsList:
    """The answer with its age, which another mirror stated."""
    return replace(answer, age=age) if age else answer


def series_of(ds: str) -> str:
    """The name that a record set begins with, as written; "" if there is none."""
    found = re.match(r"\s*([\w.]*)", ds)
    return found[1] if found else ""


def checked(request: RsListRequest, answer: RsList) -> RsList:
    """The answer; UpstreamBroken if the request alone shows that it is not what was asked for."""
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


def _structure(data: bytes, hint: str) -> Series:
    """Decode the requested structure; UpstreamBroken if no series can have it."""
    series = decode_series_struct(data, name_hint=hint)
    problem = structure_problem(series)
    if problem is not None:
        raise UpstreamBroken(f"the structure of {series.name[:80]} cannot be: {problem}")
    return series


def _summary(data: bytes) -> int:
    count = decode_summary(data)
    if not 0 <= count <= MOST_RECNUM:
        raise UpstreamBroken(f"rs_summary counts {count} records; expected 0 or more")
    return count


def _listed(entries: tuple[SeriesEntry, ...]) -> tuple[SeriesEntry, ...]:
    """A list of series; UpstreamBroken if it has an impossible name, or a name twice."""
    for entry in entries:
        if SERIES_NAME.fullmatch(entry.name) is None:
            raise UpstreamBroken(f"the list of series has {entry.name[:80]!r}; expected names such as hmi.m_45s")
    if len({entry.name.lower() for entry in entries}) < len(entries):
        raise UpstreamBroken("the list of series names one twice; expected each once")
    return entries


def _exported(request: FetchRequest, answer: ExportAnswer) -> ExportAnswer:
    """jsoc_fetch's answer to this request; UpstreamBroken if it is about another one, or names other records."""
    if isinstance(request, StatusRequest | RepeatRequest):
        if isinstance(answer, Immediate):
            raise UpstreamBroken(f"export {request.request_id}: the answer to a new request came")
        if answer.request_id is not None and answer.request_id not in (request.request_id, "VOID"):
            raise UpstreamBroken(f"export {request.request_id} was asked for, and {answer.request_id} came")
    if isinstance(request, ExportRequest) and isinstance(answer, Immediate):
        wanted = _series_in(request.ds)
        for file in answer.files:
            if wanted and series_of(file.record).lower() not in wanted:
                raise UpstreamBroken(f"{request.ds} was asked for, and a file of {file.record[:80]!r} came")
    if isinstance(answer, Finished) and answer.tarfile and not answer.tarfile.startswith(f"{answer.dir}/"):
        raise UpstreamBroken(
            f"export {answer.request_id}: the tar file {answer.tarfile!r} does not lie in {answer.dir!r}"
        )
    return answer


def _series_in(ds: str) -> set[str]:
    """The names of the series of a query, in lower case; none if it cannot be read here."""
    try:
        return {part.series.lower() for part in parse_query(ds).sets}
    except MirrorError:
        return set()


def _outcome(problem: UpstreamError) -> Outcome:
    return _OUTCOMES[type(problem)]
