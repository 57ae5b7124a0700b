"""Searches: what jsoc_info answers, from the read-through and the structures.

There is one method per operation; each gives the typed answer and how it came about. Nothing here knows HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from mirror.concurrency import Offload
from mirror.coverage.claims import oldest_check
from mirror.coverage.plan import Forward, extreme_position, need
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind, stepless
from mirror.errors import BadRequest, NotHeld, Refused, UnknownSeries, UpstreamError
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.records import CacheStatus
from mirror.services.search.columns import FoundRecords, answer
from mirror.services.search.names import check_segments, unknown_keyword, unknown_link, unknown_segment
from mirror.storage.index.blocks import BlockRows
from mirror.storage.index.layout import PSEUDO_NAMES
from mirror.wire.info import ALL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mirror.drms.recordset import RecordSet, Selection
    from mirror.drms.series import Series
    from mirror.readthrough.policy import Rules
    from mirror.readthrough.records import Basis, Records, Spare
    from mirror.readthrough.structures import Catalogue
    from mirror.storage.index.index import Index
    from mirror.wire.info import RsListRequest, SummaryRequest
    from mirror.wire.rs_list import RsList

T = TypeVar("T")

#: Characters of a query, and records of an answer, above which they are processed outside the event loop.
LONG_QUERY, LONG_ANSWER = 2000, 1000


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """An answer, and how it came about; ``checked_at``: when a stale one was last checked."""

    value: T
    origin: CacheStatus
    checked_at: float | None = None
    basis: tuple[Basis, ...] = ()  #: what it depends on; none: it must be made each time


class Search:
    """Answers the operations of jsoc_info; ``count`` is called with the origin of every search."""

    def __init__(
        self,
        index: Index,
        catalogue: Catalogue,
        records: Records,
        count: Callable[[CacheStatus], None] = lambda _: None,
    ) -> None:
        self._index = index
        self._catalogue = catalogue
        self._records = records
        self._count = count
        self.offload = Offload()

    async def structure(self, ds: str, demand: CacheDemand = CacheDemand.DEFAULT) -> Series:
        """The structure of the one series that ``ds`` names; anything after the name is ignored."""
        sets = await self._parsed(ds)
        if len(sets) != 1:
            raise BadRequest(f"{ds[:200]!r} names {len(sets)} record sets; expected one series")
        return await self._catalogue.series(sets[0].series, demand)

    async def structures(self, ds: str, demand: CacheDemand = CacheDemand.ONLY_IF_CACHED) -> list[Series]:
        """The structures of the series that a query names, each once."""
        names = dict.fromkeys(record_set.series for record_set in await self._parsed(ds))
        return [await self._catalogue.series(name, demand) for name in names]

    async def check_names(self, request: RsListRequest, demand: CacheDemand = CacheDemand.DEFAULT) -> None:
        """UnknownName for a keyword, segment or link that none of the request's series has, with suggestions.

        JSOC's own programs answer such a name with a word in every record; here it is an error.
        """
        known = CacheDemand.ONLY_IF_CACHED if demand is CacheDemand.ONLY_IF_CACHED else CacheDemand.DEFAULT
        series = await self.structures(request.ds, known)
        for name in request.keys or ():
            if name != ALL and name not in PSEUDO_NAMES and not any(s.keyword(name) for s in series):
                raise unknown_keyword(series[0], name)
        for name in request.segments or ():
            if name != ALL and not any(s.segment(name) for s in series):
                raise unknown_segment(series[0], name)
        by_name = {s.name.lower(): s for s in series}
        for part in await self._parsed(request.ds):
            named = by_name.get(part.series.lower(), series[0])
            check_segments(named, part.segments)
        for name in request.links or ():
            if name != ALL and not any(s.link(name) for s in series):
                raise unknown_link(series[0], name)

    async def formats(self, series: Series, demand: CacheDemand = CacheDemand.DEFAULT) -> Mapping[str, str]:
        """The formats in which the keywords of a series are printed, as far as they are known."""
        return await self._catalogue.formats(series, demand)

    async def selections(
        self, ds: str, demand: CacheDemand = CacheDemand.DEFAULT, spare: Spare | None = None
    ) -> list[Selection]:
        """The record sets of a query, each bound to its series."""
        spare = spare or self._records.spare()
        return [await self._bound(s, ds, demand, spare) for s in await self._parsed(ds)]

    async def is_one_set(self, ds: str) -> bool:
        """True if a query is a single record set."""
        return len(await self._parsed(ds)) == 1

    async def _parsed(self, ds: str) -> tuple[RecordSet, ...]:
        return await self.offload.run(lambda: parse_query(ds).sets, long=len(ds) > LONG_QUERY)

    async def _bound(self, record_set: RecordSet, ds: str, demand: CacheDemand, spare: Spare) -> Selection:
        # A forced check is about records; structures are fetched when they are due.
        known = CacheDemand.ONLY_IF_CACHED if demand is CacheDemand.ONLY_IF_CACHED else CacheDemand.DEFAULT
        series = await self._catalogue.series(record_set.series, known)
        selection = await self.offload.run(
            lambda: bind(record_set, series, text=ds, zero_steps=True), long=len(ds) > LONG_QUERY
        )
        ordinary = stepless(selection)
        if ordinary is None:
            return selection
        # Recorded: a step that rounds to 0 is an error if there is any record, and an empty answer if not.
        if (await self._records.read(ordinary, 1, known, spare)).rows:
            return bind(record_set, series, text=ds)
        return ordinary

    async def rs_list(self, request: RsListRequest, demand: CacheDemand = CacheDemand.DEFAULT) -> Found[RsList]:
        """The records of a request, column by column; ``n`` applies to each set."""
        spare = self._records.spare()  # one for all sets
        selections = await self.selections(request.ds, demand, spare)
        if len(selections) > 1 and (request.n or 0) < 0:
            raise Refused(
                "a negative n over several record sets; expected n above 0, or a query for each set"
            )
        reads = [await self._records.read(s, request.n, demand, spare) for s in selections]
        parts = [
            FoundRecords(self._index.layout(s.series), read.rows, s.source.segments)
            for s, read in zip(selections, reads, strict=True)
        ]
        origin = max(read.origin for read in reads)
        self._count(origin)
        many = sum(p.rows.uncut if isinstance(p.rows, BlockRows) else len(p.rows) for p in parts) > LONG_ANSWER
        value = await self.offload.run(lambda: answer(request, parts), long=many)
        basis = tuple(read.basis for read in reads if read.basis is not None)
        known = basis if len(basis) == len(reads) else ()
        return Found(value, origin, _oldest(read.checked_at for read in reads), known)

    def again(self, basis: tuple[Basis, ...], demand: CacheDemand) -> bool:
        """Whether what depends on ``basis`` would be found again, in the index; counted as a search if so."""
        if demand is CacheDemand.REVALIDATE or not basis:
            return False
        for each in basis:
            if not self._catalogue.is_current(each.selection.series, demand) or not self._records.holds(each, demand):
                return False
        self._count(CacheStatus.LOCAL)
        return True

    def found(
        self, request: RsListRequest, parts: Sequence[FoundRecords], origin: CacheStatus, checked_at: float | None
    ) -> Found[RsList]:
        """The answer made from the records of ``parts``; counted as a search."""
        self._count(origin)
        return Found(answer(request, parts), origin, checked_at)

    async def rs_summary(self, request: SummaryRequest, demand: CacheDemand = CacheDemand.DEFAULT) -> Found[int]:
        """How many records a query has; counted here if they are cached, else by upstream."""
        # Recorded: with n the real server counts the records of a series that is not there.
        if request.n and demand is not CacheDemand.REVALIDATE and await self._is_absent(request.ds):
            return Found(0, CacheStatus.LOCAL)
        try:
            selections = await self.selections(request.ds, demand)
        except UnknownSeries as problem:
            if request.n:
                await self._catalogue.note_absent(problem.name)
                return Found(0, CacheStatus.LOCAL)
            raise
        except (NotHeld, UpstreamError):
            if request.n and await self._is_absent(request.ds, any_age=True):
                return Found(0, CacheStatus.STALE)
            raise
        counts = [await self._records.count(s, request.n, demand) for s in selections]
        oldest = _oldest(c.checked_at for c in counts)
        found = Found(sum(c.total for c in counts), max(c.origin for c in counts), oldest)
        self._count(found.origin)
        return found

    async def _is_absent(self, ds: str, *, any_age: bool = False) -> bool:
        """True if JSOC said recently (or ever) that a series of a query does not exist."""
        sets = await self._parsed(ds)
        return any([await self._catalogue.is_absent(s.series, any_age=any_age) for s in sets])


def _oldest(moments: Iterable[float | None]) -> float | None:
    return min((at for at in moments if at is not None), default=None)


class Ages:
    """Finds ages in the coverage."""

    def __init__(self, index: Index, search: Search, rules: Rules) -> None:
        self._index = index
        self._search = search
        self._rules = rules

    async def of(self, ds: str, origin: CacheStatus, checked_at: float | None = None) -> int:
        """Seconds since the records of a query were checked, rounded up; 0 if they were just fetched.

        For stale records it is old enough that a mirror with the same rules also finds them stale. ``checked_at`` is
        the time of an answer that says what coverage does not.
        """
        if origin is CacheStatus.FORWARDED:
            return 0
        ages = [self._one(s, origin) for s in await self._search.selections(ds)]
        ages += [] if checked_at is None else [self._rules.timestamp() - checked_at]
        return max([0, *(-int(-age // 1) for age in ages)])

    def _one(self, selection: Selection, origin: CacheStatus) -> float:
        least = self._rules.rule_for(selection.series.name).max_age + 1 if origin is CacheStatus.STALE else 0.0
        boxes = None if extreme_position(selection) is not None else need(selection)
        if boxes is None or isinstance(boxes, Forward):
            return least
        oldest = oldest_check(self._index.coverage(selection.series), boxes)
        return least if oldest is None else max(least, self._rules.timestamp() - oldest)
