"""What is completely cached, as ranges for people: repeated ones are one line, and all have records.

Coverage says what need not be fetched. It includes places for which JSOC has no record: nothing can be cached there,
so a range here begins and ends with a record, and one without any is left out. An end that is open in coverage stays
open.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mirror.api.coverage import Span
from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.intervals import MAX, MIN
from mirror.coverage.intervals import Span as Held
from mirror.coverage.plan import RECNUMS
from mirror.coverage.wording import ends, restriction
from mirror.humanize import length
from mirror.storage.index.answers import AnswerKind
from mirror.storage.index.reader import Occupied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mirror.coverage.coverage import Region
    from mirror.drms.series import Series
    from mirror.storage.index.answers import Kept
    from mirror.storage.index.index import Index


class Ranges:
    """The ranges of the series of an index."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._known: dict[str, _Counted] = {}

    async def ranges(self, name: str | None, *, folded: bool = False) -> list[Span]:
        """The ranges of one series or of all; ``folded``: repeated ones are one line."""
        return [line for s in self._chosen(name) for line in await self._lines(s, folded=folded)]

    def answers(self, name: str | None) -> list[Span]:
        """JSOC's answers that the records alone do not imply, by series: spans that say which answer it is."""
        return [
            line for s in self._chosen(name) for kept in self._index.answers.of(s.name) for line in _of_answer(s, kept)
        ]

    def _chosen(self, name: str | None) -> list[Series]:
        return [s for s in self._index.all_series() if name is None or s.name.lower() == name.lower()]

    async def _lines(self, series: Series, *, folded: bool) -> list[Span]:
        coverage = [(region, list(spans)) for region, spans in self._index.coverage(series)]
        found = (await self._counted(series, coverage)).found
        return [
            line
            for region, held in coverage
            for spans in [[(span, found[region, span.lo, span.hi]) for span in held]]
            for alike in (repeated(spans) if folded else ([span] for span in spans))
            if (line := _line(series, region, alike)) is not None
        ]

    async def _counted(self, series: Series, coverage: Sequence[tuple[Region, list[Held]]]) -> _Counted:
        """The records in each span: recounted only where records have changed since the last time."""
        version, key = self._index.version(series), series.name.lower()
        known = self._known.get(key)
        changed = None if known is None else self._index.changed_since(series, known.version)
        stretches = None if changed is None else _apart(changed)
        found: dict[_Place, Occupied] = {}
        for region, spans in coverage:
            kept = {} if known is None or stretches is None else known.found
            if stretches and region == RECNUMS:  # which have no axis
                kept = {}
            places = [(region, span.lo, span.hi) for span in spans]
            found |= {at: kept[at] for at in places if at in kept and not _touched(stretches or (), at[1], at[2])}
            due = [span for span, at in zip(spans, places, strict=True) if at not in found]
            if due:
                counted = await self._index.occupied(series, region, due)
                found |= {(region, span.lo, span.hi): each for span, each in zip(due, counted, strict=True)}
        self._known[key] = counted_now = _Counted(version, found)
        return counted_now


_Place = tuple["Region", int, int]


@dataclass(frozen=True, slots=True)
class _Counted:
    """The counts of the spans of a series, and the version of its records."""

    version: int
    found: dict[_Place, Occupied]


def _apart(stretches: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Stretches in order; those that touch are joined."""
    found: list[tuple[int, int]] = []
    for lo, hi in sorted(stretches):
        if found and lo <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], hi)
        else:
            found.append((lo, hi))
    return found


def _touched(stretches: Sequence[tuple[int, int]], lo: int, hi: int) -> bool:
    """True if any of these stretches, which are in order and disjoint, overlaps ``lo..hi``."""
    at = bisect_right(stretches, hi, key=lambda stretch: stretch[0]) - 1
    return at >= 0 and stretches[at][1] >= lo


Found = tuple[Held, Occupied]
#: So many ranges at equal distances are one line.
_FEW = 3


def repeated(spans: Iterable[Found]) -> Iterator[list[Found]]:
    """The spans in order; a few or more that are equally long and equally far apart are together."""
    group: list[Found] = []
    for span in spans:
        if len(group) > 1 and not _goes_on(group, span):
            if len(group) >= _FEW:
                yield group
                group = []
            else:  # the last of two may begin another series of spans
                yield group[:1]
                group = group[1:]
        if len(group) == 1 and _length(group[0]) != _length(span):
            yield group
            group = []
        group.append(span)
    yield from [group] if len(group) >= _FEW else [[span] for span in group]


def _goes_on(group: Sequence[Found], span: Found) -> bool:
    distance = group[-1][0].lo - group[-2][0].lo
    return span[0].lo - group[-1][0].lo == distance and _length(span) == _length(group[-1])


def _length(span: Found) -> int:
    return span[0].hi - span[0].lo


def _line(series: Series, region: Region, alike: Sequence[Found]) -> Span | None:
    """The line for spans at equal distances, from the first to the last that has a record; None if none has."""
    filled = [n for n, (_, found) in enumerate(alike) if found.records]
    if not filled:
        return None
    alike = alike[filled[0] : filled[-1] + 1]
    parts = [span if len(alike) > 1 else found.within(span) for span, found in alike]
    line = _span(series, region, Held(parts[0].lo, parts[-1].hi, min(part.checked_at for part in parts)))
    line = replace(line, records=sum(found.records for _, found in alike))
    if len(parts) == 1:
        return line
    axis, distance = coverage_axis(series), parts[1].lo - parts[0].lo
    slotted = region != RECNUMS and axis is not None and axis.kind is Kind.SLOTS
    return replace(
        line,
        slots=sum(part.hi - part.lo + 1 for part in parts),
        every=length(distance * axis.slots.step) if slotted and axis and axis.slots else f"{distance:,}",
    )


def _span(series: Series, region: Region, span: Held) -> Span:
    first, last = ends(series, region, span.lo, span.hi)
    return Span(
        series=series.name,
        restriction=restriction(series, region),
        first=first,
        last=last,
        slots=None if span.lo <= MIN or span.hi >= MAX else span.hi - span.lo + 1,
        checked_at=span.checked_at,
    )


def _of_answer(series: Series, kept: Kept) -> Iterator[Span]:
    numbered = kept.kind in (AnswerKind.CONDITION, AnswerKind.RECORDS)
    records = kept.size if numbered else None
    for region, spans in kept.coverage:
        for span in spans:
            line = _span(series, region, span)
            yield replace(line, answer=kept.kind.value, condition=kept.key, records=records)
