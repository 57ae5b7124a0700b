"""What a fill, an export or a subscription would fetch from JSOC: records, files, bytes, time.

Only questions that cost JSOC next to nothing are asked, and a bounded number of them: for each record set one count of
its records, one of those that a condition leaves, and, where sizes are not known here, one for the sizes of a few
records. Counts are cached for some minutes. An estimate fetches and keeps nothing. The size of a file is derived from
records and from the structure of their series.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from mirror.api import fills as api
from mirror.concurrency import Bounded, SingleFlight
from mirror.coverage.coverage import Box
from mirror.coverage.plan import Forward, extreme_position, has_where, need
from mirror.drms.exportrules import ALL_SEGMENTS, with_quality_filter
from mirror.drms.parser import parse_query
from mirror.drms.recordset import RecordSet, RecordSetQuery, Selection, Where, WhereFilter
from mirror.drms.selection import bind
from mirror.drms.times import from_datetime
from mirror.errors import BadRequest, MirrorError, NotHeld, UpstreamError, UpstreamRefused
from mirror.humanize import duration, in_words
from mirror.services.exports.segment_files import segment_names
from mirror.services.search.names import newest
from mirror.services.subscriptions.holdings import Scope
from mirror.services.subscriptions.scope import target
from mirror.storage.index.layout import segment_field
from mirror.wire.info import RsListRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mirror.config.loading import Subscription
    from mirror.drms.series import Series
    from mirror.readthrough.first_last import FirstLast
    from mirror.readthrough.policy import JsocInfo, Rules
    from mirror.readthrough.structures import Catalogue
    from mirror.services.subscriptions.holdings import SubscriptionHoldings, Tally
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Row
    from mirror.upstream.pacing import Rates
    from mirror.wire.rs_list import RsList


#: Bytes of a pixel, by the type of a segment.
_WIDTHS = {"char": 1, "short": 2, "int": 4, "longlong": 8, "float": 4, "double": 8}
_LINK = "link via "


@dataclass(frozen=True, slots=True)
class Typical:
    """The average size of a file in bytes, and its source: "held", "records" or "structure"."""

    size: float
    source: str


def from_rows(series: Series, rows: Sequence[Row], segments: Sequence[str]) -> Typical | None:
    """From cached records: the sizes of their storage units, else the dimensions of the images."""
    sizes = [row["*size*"] for row in rows if "*size*" in row.fields]
    dims = {
        name: [row[field] for row in rows if field in row.fields]
        for name in segments
        for field in (segment_field(name, "dims"),)
    }
    return _told(series, sizes, dims, segments)


def from_sample(series: Series, answer: RsList, segments: Sequence[str]) -> Typical | None:
    """The same, from the answer to a question for ``*size*`` and these segments."""
    sizes = [str(value) for _, values in answer.keywords or () for value in values]
    dims = {s.name: list(s.dims or ()) for s in answer.segments or ()}
    return _told(series, sizes, dims, segments)


def from_structure(series: Series, segments: Sequence[str]) -> Typical | None:
    """From the dimensions that the series gives its segments: the size of an uncompressed image, an upper bound."""
    found = [series.segment(name) for name in segments]
    sizes = [_pixels(s.dims, s.type) for s in found if s is not None]
    return _average(sizes, "structure") if sizes and all(sizes) else None


def _told(
    series: Series, sizes: Iterable[str], dims: dict[str, list[str]], segments: Sequence[str]
) -> Typical | None:
    # A unit has the files of all segments of a record; linked ones are in the unit of another record.
    own = sum(not s.protocol.startswith(_LINK) for s in series.segments)
    units = [int(size) / max(1, own) for size in sizes if size.isdigit() and int(size)]
    if units:
        return _average(units, "records")
    kinds = {s.name: s.type for s in series.segments}
    images = [_pixels(text, kinds.get(name, "")) for name in segments for text in dims.get(name, ())]
    return _average(images, "structure") if any(images) else None


def _pixels(dims: str, kind: str) -> float:
    """Bytes of an image of these dimensions, ``4096x4096``; 0 if they cannot be read."""
    sides = dims.split("x")
    if kind not in _WIDTHS or not all(side.isascii() and side.isdigit() for side in sides):
        return 0.0
    return float(prod(map(int, sides)) * _WIDTHS[kind])


def _average(sizes: Iterable[float], source: str) -> Typical:
    known = [size for size in sizes if size]
    return Typical(sum(known) / len(known), source)


#: Record sets of one estimate.
MOST_SETS = 50
#: Seconds that JSOC has to answer a count, and for which a count is cached.
PATIENCE, REMEMBERED = 30.0, 300.0
#: Counts that are cached.
MOST_REMEMBERED = 500
#: Records whose sizes are sampled: of cached ones, and of those at JSOC if none is cached.
HELD_SAMPLE, ASKED_SAMPLE = 200, 4
#: Above so many records, counting those with an image costs JSOC more than the count is worth.
MANY = 100_000
#: In gaps of more ranges than this, cached records that no coverage vouches for are not counted.
MOST_RANGES = 200
_ALL = frozenset({"ALL", ALL_SEGMENTS})


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is not cached and would be fetched from JSOC; the whole, cached or not, is in ``total_``.

    None means unknown; ``notes`` say why, for people. ``seconds`` is from the first request to the last byte,
    including waiting for the budget. ``counted`` is false where the number of records is a guess. ``size_from`` is the
    source of the size of a file: "held" files, the sizes that "records" give, or the "structure", which gives an upper
    bound; "" where there are no files, or no size is known.
    """

    records: int | None = 0
    files: int | None = 0
    bytes: int | None = 0
    seconds: float | None = 0.0
    total_records: int | None = 0
    total_files: int | None = 0
    held_bytes: int = 0
    counted: bool = True
    size_from: str = ""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for people, without the notes."""
        if self.records is None and self.total_records is None and self.seconds is None:
            return "to fetch: how much is not known"
        about = "" if self.counted else "about "
        parts = [f"{about}{_of(self.records, self.total_records)} {_noun(self.total_records, 'record')}"]
        if self.total_files or self.total_files is None:
            size = (
                "of unknown size" if self.bytes is None else f"{_MOST[self.size_from]} {in_words(self.bytes)}"
            )
            parts.append(f"{_of(self.files, self.total_files)} {_noun(self.total_files, 'file')}, {size}")
        if self.records == 0 and not self.files:
            return f"nothing to fetch: {', '.join(parts)}"
        took = "for an unknown time" if self.seconds is None else f"about {duration(self.seconds)}"
        return f"to fetch: {', '.join(parts)}; {took}"

    def summary(self) -> api.Estimate:
        """All of it as the API returns it, with ``text`` for people."""
        return api.Estimate(**{**asdict(self), "notes": list(self.notes)}, text=str(self))


#: How certain the bytes are, by the source of the sizes.
_MOST = {"": "", "held": "about", "records": "about", "structure": "at most"}


@dataclass(frozen=True, slots=True)
class _Counted:
    """Records of a selection: how many there are, and how many of them are missing; None: unknown."""

    total: int | None
    missing: int | None
    exact: bool = True
    notes: tuple[str, ...] = ()


class Estimates:
    """Makes estimates; ``wait`` gives the seconds that so many records and bytes wait for the budget."""

    def __init__(
        self,
        index: Index,
        catalogue: Catalogue,
        extremes: FirstLast,
        standing: SubscriptionHoldings,
        upstream: JsocInfo,
        rules: Rules,
        rates: Rates,
        wait: Callable[[int, int], float | None] = lambda _records, _bytes: 0.0,
    ) -> None:
        self._index = index
        self._catalogue = catalogue
        self._extremes = extremes
        self._standing = standing
        self._upstream = upstream
        self._rules = rules
        self._rates = rates
        self._wait = wait
        self._asking: SingleFlight[str, int] = SingleFlight()
        self._known: Bounded[str, tuple[int, float]] = Bounded(MOST_REMEMBERED)

    # ---- what can be estimated -----------------------------------------------------------------------

    async def estimate(
        self, ds: str, segments: Sequence[str] | None = None, *, n: int | None = None, export: bool = False
    ) -> Estimate:
        """What is missing of a record set and of the files of ``segments``; None: of those that it names itself.

        ``n`` is the most records of each set. An ``export`` is of all segments where none is named, and only of
        records that have an image. Raises for what is wrong with ``ds``; where JSOC does not answer, the estimate says
        so.
        """
        query = parse_query(ds)
        if len(query.sets) > MOST_SETS:
            raise BadRequest(
                f"{len(query.sets)} record sets are too many for an estimate; expected at most {MOST_SETS}"
            )
        if segments is not None and any(part.segments is not None for part in query.sets):
            raise BadRequest(
                "segments are named twice, beside the record set and in it; expected one of both"
            )
        parts = []
        for part in query.sets:
            series = await self._catalogue.series(part.series)
            named = part.segments if segments is None else tuple(segments)
            whole = bind(part, series, text=ds)
            matching = _with_images(part, series) if export else whole
            wanted = _segments(series, named, every=export)
            parts.append(
                await self._of(_without_conditions(whole), matching, wanted, n, implied=matching != whole)
            )
        return self._timed(_sum(parts))

    async def of_subscription(self, subscription: Subscription) -> Estimate:
        """What a subscription would fetch now, before it only follows new data."""
        series = await self._catalogue.series(subscription.series)
        found = target(subscription, series, from_datetime(self._rules.now()))
        if found is None:
            return Estimate(notes=("the window is empty",))
        scope = found.scope
        wanted = [] if scope.files is None else segment_names(series, scope.segments)
        estimate = self._timed(await self._of(scope.records, scope.files or scope.records, wanted, None))
        if estimate.total_records == 0 and (last := newest(series)):
            return replace(estimate, notes=(*estimate.notes, f"no data yet; the newest record is {last}"))
        return estimate

    # ---- one record set ------------------------------------------------------------------------------

    async def _of(
        self,
        records: Selection,
        matching: Selection,
        segments: Sequence[str],
        n: int | None,
        *,
        implied: bool = False,
    ) -> Estimate:
        """What is missing of ``records``, and of the files of those that are ``matching`` too.

        ``implied``: nobody wrote the condition of ``matching``, and hardly any record fails it.
        """
        try:
            resolved = (await self._extremes.resolve(matching)).selection
        except (UpstreamError, NotHeld) as problem:
            note = f"JSOC is not responding, so the record set cannot be resolved: {problem}"
            return Estimate(None, None, None, None, None, None, counted=False, notes=(note,))
        if resolved is None:
            return Estimate()
        whole = _without_conditions(resolved) if has_where(resolved) else resolved
        open_ended = extreme_position(matching) is not None
        counted = _at_most(await self._count(whole, matching if open_ended else records), n)
        found = Estimate(
            records=counted.missing, total_records=counted.total, counted=counted.exact, notes=counted.notes
        )
        if not segments:
            return found
        chosen = counted
        if implied and not open_ended and (counted.total or 0) > MANY:
            found = replace(
                found, notes=(*found.notes, "records without an image are counted as if they had one")
            )
        elif has_where(matching) and not open_ended:
            chosen = _at_most(await self._count(resolved, matching), n)
        tally = await self._standing.tally(_scope(whole, resolved, segments))
        return await self._with_files(found, chosen, tally, resolved, segments)

    async def _with_files(
        self, found: Estimate, chosen: _Counted, tally: Tally, selection: Selection, segments: Sequence[str]
    ) -> Estimate:
        notes = tuple(dict.fromkeys((*found.notes, *chosen.notes)))
        if chosen.total is None:
            return replace(
                found, files=None, total_files=None, bytes=None, held_bytes=tally.bytes, notes=notes
            )
        total = chosen.total * len(segments)
        missing = max(0, total - tally.files)
        found = replace(found, files=missing, total_files=total, held_bytes=tally.bytes, notes=notes)
        found = replace(found, counted=found.counted and chosen.exact)
        if not missing:
            return found
        typical = await self._typical(selection, segments, chosen.total)
        if typical is None:
            return replace(found, bytes=None, notes=(*notes, "the file size is not known"))
        return replace(found, bytes=round(missing * typical.size), size_from=typical.source)

    # ---- counting ------------------------------------------------------------------------------------

    async def _count(self, resolved: Selection, asked: Selection) -> _Counted:
        """Count ``resolved``; JSOC counts it as ``asked`` unless all of it is cached."""
        series = resolved.series
        boxes = need(resolved)
        tally, _ = await self._index.tally(resolved)
        gaps = [] if isinstance(boxes, Forward) else self._gaps(series, boxes)
        if not isinstance(boxes, Forward) and not gaps:
            return _Counted(tally, 0)
        try:
            total = await self.count(str(RecordSet(series.name, asked.source.filters)))
        except (UpstreamError, NotHeld, TimeoutError) as problem:
            if isinstance(problem, UpstreamRefused) and has_where(asked):
                raise  # the fetch would be refused too
            return _guessed(boxes, gaps, tally, str(problem) or f"no answer within {PATIENCE:g} s")
        if isinstance(boxes, Forward):
            return _Counted(total, total, notes=(f"JSOC answers this each time: {boxes.reason}",))
        loose = 0 if has_where(resolved) else await self._loose(series, gaps)
        return _Counted(total, max(0, total - max(0, tally - loose)))

    def _gaps(self, series: Series, boxes: Sequence[Box]) -> list[Box]:
        coverage = self._index.coverage(series)
        return [gap for box in boxes for gap in coverage.gaps(box)]

    async def _loose(self, series: Series, gaps: Sequence[Box]) -> int:
        """Records in gaps that are cached all the same: they may not be all, so they are fetched again."""
        if sum(len(gap.steps) for gap in gaps) > MOST_RANGES:
            return 0
        return await self._index.count_in(series, gaps)

    async def count(self, ds: str) -> int:
        """How many records JSOC says a record set has; asked once in a while, however many want to know.

        TimeoutError if that takes long, NotHeld if the mirror is offline.
        """
        now = self._rules.timestamp()
        known = self._known.get(ds)
        if known is not None and abs(now - known[1]) < REMEMBERED:
            return known[0]
        if not self._rules.may_ask:
            raise NotHeld("the mirror is offline")
        async with asyncio.timeout(PATIENCE):
            counted = await self._asking.run(ds, lambda: self._upstream.rs_summary(ds))
        self._known[ds] = counted, now
        return counted

    # ---- sizes and time ------------------------------------------------------------------------------

    async def _typical(self, selection: Selection, segments: Sequence[str], total: int) -> Typical | None:
        """The size of one of these files in bytes, from the best source."""
        series = selection.series
        if (held := await self._standing.typical(series.name, segments)) is not None:
            return Typical(held, "held")
        plain = _without_conditions(selection)
        rows = (await self._index.select(plain, HELD_SAMPLE)).rows
        if (answer := from_rows(series, rows, segments)) is not None:
            return answer
        if total and self._rules.may_ask and (answer := await self._sampled(plain, segments)) is not None:
            return answer
        return from_structure(series, segments)

    async def _sampled(self, selection: Selection, segments: Sequence[str]) -> Typical | None:
        """The same, from a few records that JSOC is asked for."""
        ds = str(RecordSet(selection.series.name, selection.source.filters))
        request = RsListRequest(ds, keys=("*size*",), segments=tuple(segments), n=ASKED_SAMPLE)
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await self._upstream.rs_list(request)
        except (MirrorError, TimeoutError):
            return None  # the structure gives a bound too
        return from_sample(selection.series, answer, segments)

    def _timed(self, found: Estimate) -> Estimate:
        records, files = found.records, found.files
        if records is None or files is None:
            return replace(found, seconds=None)
        if not self._rules.may_ask:
            found = replace(found, notes=(*found.notes, "the mirror is offline: nothing can be fetched"))
        took = self._rates.for_records(records)
        took += self._rates.for_files(files, found.bytes) if files else 0.0
        records_known, files_known = self._rates.measured
        if (records and not records_known) or (files and not files_known):
            note = "the time is a guess: the download rate has not been measured yet"
            found = replace(found, notes=(*found.notes, note))
        held_up = self._wait(records, found.bytes or 0)
        if held_up is None:
            note = "the budget allows no requests to JSOC"
            return replace(found, seconds=None, notes=(*found.notes, note))
        if held_up > took:
            note = f"the budget spreads it over {duration(held_up)}"
            found = replace(found, notes=(*found.notes, note))
        return replace(found, seconds=round(max(took, held_up), 1))


# ---- pure ---------------------------------------------------------------------------------------------


def _of(part: int | None, whole: int | None) -> str:
    if part is None:
        return "an unknown number of"
    return f"{part:,}" if part == whole or whole is None else f"{part:,} of {whole:,}"


def _noun(number: int | None, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


def _segments(series: Series, named: tuple[str, ...] | None, *, every: bool) -> list[str]:
    if named is None and not every:
        return []
    if named is None or any(name.upper() in _ALL for name in named):
        return segment_names(series, None)
    return segment_names(series, named)


def _with_images(part: RecordSet, series: Series) -> Selection:
    """The records that an export includes."""
    return bind(with_quality_filter(RecordSetQuery((part,)), series).sets[0], series)


def _without_conditions(selection: Selection) -> Selection:
    """What a fill fetches of a selection: its prime keys limit it, a condition does not.

    A condition that asks for all versions stays: it changes which records there are.
    """
    if selection.all_versions or not has_where(selection):
        return selection
    source = replace(
        selection.source, filters=tuple(f for f in selection.source.filters if not isinstance(f, Where))
    )
    filters = tuple(f for f in selection.filters if not isinstance(f, WhereFilter))
    return replace(selection, source=source, filters=filters)


def _scope(records: Selection, files: Selection, segments: Sequence[str]) -> Scope:
    return Scope("", records, files, tuple(name.lower() for name in segments))


def _at_most(counted: _Counted, n: int | None) -> _Counted:
    if not n:
        return counted
    total, missing = (None if x is None else min(x, abs(n)) for x in (counted.total, counted.missing))
    return replace(counted, total=total, missing=missing)


def _guessed(boxes: Sequence[Box] | Forward, gaps: Sequence[Box], tally: int, problem: str) -> _Counted:
    """Without JSOC: what is missing is assumed to be as dense as what is cached of the same record set."""
    note = f"the records could not be counted at JSOC: {problem}"
    bounded = not isinstance(boxes, Forward) and all(box.bounded for box in boxes)
    if isinstance(boxes, Forward) or not bounded:
        return _Counted(None, None, exact=False, notes=(note, "how many records are missing is not known"))
    slots, missing = (sum(box.slots() for box in some) for some in (boxes, gaps))
    if not tally or slots <= missing:
        return _Counted(None, None, exact=False, notes=(note, "how many records are missing is not known"))
    guess = round(missing * tally / (slots - missing))
    return _Counted(
        tally + guess, guess, exact=False, notes=(note, "the number of records is estimated from cached records")
    )


def _sum(parts: Sequence[Estimate]) -> Estimate:
    """The sum of several record sets."""

    def total(values: Sequence[int | None]) -> int | None:
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    sources = {part.size_from for part in parts if part.size_from}
    order = ("structure", "records", "held")
    return Estimate(
        records=total([p.records for p in parts]),
        files=total([p.files for p in parts]),
        bytes=total([p.bytes for p in parts]),
        total_records=total([p.total_records for p in parts]),
        total_files=total([p.total_files for p in parts]),
        held_bytes=sum(p.held_bytes for p in parts),
        counted=all(p.counted for p in parts),
        size_from=next((source for source in order if source in sources), ""),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )
