"""Finding the records that files may belong to: one question for many files, to the index first where it can answer.

Prime keys are queried along the series' axis, so that the fetched records become coverage and exports find them again
without JSOC; record numbers are queried only where the newest record is another one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.coverage.axis import coverage_axis
from mirror.coverage.claims import runs_of
from mirror.drms.recordset import Bracket, RecnumRange, Recnums, RecordSet, Where
from mirror.drms.selection import bind
from mirror.drms.series import INTEGER_TYPES
from mirror.errors import MirrorError, NotHeld, UpstreamError
from mirror.services.adoption.match import (
    Candidate,
    Match,
    SegmentFacts,
    Unplaced,
    described,
    other_key,
    printed_keys,
)
from mirror.storage.index.layout import NAME_FIELD, SEPARATOR, segment_field
from mirror.wire.paths import unit_file
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from mirror.coverage.axis import Axis
    from mirror.drms.series import Series
    from mirror.readthrough.records import Records
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout, Row

#: Files in one question: its text stays a few kilobytes.
AT_ONCE = 100
#: Values of the first key that are queried one by one; if there are more, all its values are queried.
FEW = 3
#: Times with a larger uncertainty than this, in seconds, do not identify a record.
_FINE = 0.5


#: The first prime key and a value of it, or nothing.
_Before = tuple[str, int] | tuple[()]


@dataclass
class Found:
    """The records found of a series, by number; ``problem`` says why some may not have been found."""

    rows: dict[int, Row] = field(default_factory=dict)
    problem: str | None = None

    def add(self, rows: Iterable[Row]) -> None:
        """Add more records."""
        self.rows |= {row.recnum: row for row in rows}


class Finder:
    """Asks index and JSOC for the records of claims."""

    def __init__(self, index: Index, records: Records) -> None:
        self._index = index
        self._records = records

    async def find(self, series: Series, claims: Sequence[Match]) -> Found:
        """Every record that one of the claims may mean; others may be among them."""
        found = Found()
        for claim_set in key_questions(series, [c for c in claims if c.recnum is not None]):
            await self._read(series, claim_set, found)
        # Without a record number a file may be of any version.
        for claim_set in key_questions(series, [c for c in claims if c.recnum is None]):
            every = RecordSet(claim_set.series, (*claim_set.filters, Where("1=1", all_versions=True)))
            await self._read(series, claim_set, found)
            await self._read(series, every, found)
        await self._read_units(series, claims, found)
        rest = sorted({c.recnum for c in claims if c.recnum is not None} - found.rows.keys())
        for start in range(0, len(rest), AT_ONCE):
            ranges = tuple(RecnumRange(n, n) for n in rest[start : start + AT_ONCE])
            await self._read(series, RecordSet(series.name, (Recnums(ranges),)), found)
        return found

    async def _read(self, series: Series, wanted: RecordSet, found: Found) -> None:
        selection = bind(wanted, series)
        try:
            found.add((await self._records.read(selection)).rows)
        except (UpstreamError, NotHeld) as problem:
            found.problem = str(problem)
            found.add((await self._index.select(selection)).rows)
        except MirrorError as problem:  # a question that is too large: the index has what it has
            found.problem = str(problem)

    async def _read_units(self, series: Series, claims: Sequence[Match], found: Found) -> None:
        """Records by the storage unit in a path: only the index can find these."""
        files = [unit_file(c.path) for c in claims if c.path is not None]
        units = sorted({file.sunum for file in files if file is not None})
        if not units:
            return
        numbers = ", ".join(map(str, units))
        recnums = await self._index.recnums(series, f"sunum IN ({numbers})")
        for number in sorted(recnums - found.rows.keys()):
            selection = bind(RecordSet(series.name, (Recnums((RecnumRange(number, number),)),)), series)
            found.add((await self._index.select(selection)).rows)


def key_questions(series: Series, claims: Iterable[Match]) -> list[RecordSet]:
    """The record sets that contain all records with the prime keys of these claims, by AT_ONCE slots.

    A first key that is not the axis (HARPNUM before T_REC) is named if its values are few: people name it,
    and all its values would be many records.
    """
    axis = coverage_axis(series)
    if axis is None:
        return []
    spans: dict[_Before, set[tuple[int, int]]] = {}
    for claim in claims:
        span = _span(axis, claim)
        if span is not None:
            spans.setdefault(_before(series, axis.key, claim), set()).add(span)
    if len(spans) > FEW:
        spans = {(): set().union(*spans.values())}
    questions = []
    for before, group in spans.items():
        named = (Bracket(str(before[1]), before[0]),) if before else ()
        joined = tuple(runs_of(group))
        parts = (joined[start : start + AT_ONCE] for start in range(0, len(joined), AT_ONCE))
        questions += [RecordSet(series.name, (*named, axis.bracket(part))) for part in parts]
    return questions


def _span(axis: Axis, claim: Match) -> tuple[int, int] | None:
    """Where on the axis the record must be; None if the file does not say, or only roughly (a day)."""
    value = claim.keys.get(axis.key)
    if value is None or isinstance(value.value, str) or value.resolution > _FINE:
        return None
    ends = [axis.place(value.value + by) for by in (-value.resolution, value.resolution)]
    lo, hi = (int(value.value) if end is None else end for end in ends)
    return lo, hi


def _before(series: Series, axis: str, claim: Match) -> _Before:
    """The first prime key and its value, if it is an integer and not the axis itself."""
    key = series.primekeys[0]
    keyword, value = series.keyword(key.name), claim.keys.get(key.name)
    if (
        key.name == axis
        or key.slotted
        or keyword is None
        or keyword.type not in INTEGER_TYPES
        or value is None
    ):
        return ()
    return key.name, int(value.value)


# ---- rows ---------------------------------------------------------------------------------------


def candidate(layout: Layout, row: Row) -> Candidate:
    """A row as what files are compared with."""
    values = row.raw.split(SEPARATOR)
    fields = {name: values[position] for name, position in row.fields.items()}
    texts = {k.name: from_wire(fields[k.name]) for k in layout.keywords if k.name in fields}
    return Candidate(
        row.recnum,
        from_wire(fields[NAME_FIELD]),
        printed_keys(layout.series, texts),
        texts,
        {segment: _facts(fields, segment) for segment in layout.segments},
    )


def _facts(fields: Mapping[str, str], segment: str) -> SegmentFacts:
    def part(name: str) -> str:
        text = from_wire(fields.get(segment_field(segment, name), ""))
        return "" if text in ("\x1e", "NA", "MISSING") else text

    path = part("values")
    return SegmentFacts(
        path if path.startswith("/SUM") else "", part("dims"), part("bzeros"), part("bscales")
    )


def wanted_by(claim: Match, series: Series, found: Mapping[int, Candidate]) -> list[Candidate]:
    """The candidates that a claim may mean: by path, by number, or all whose prime keys agree.

    Without number and path it must say its place on the axis: otherwise records may match that nobody asked for.
    """
    if claim.path is not None:
        file = unit_file(claim.path)
        tail = "" if file is None else str(file)
        return [c for c in found.values() if any(_tail(f.path) == tail for f in c.segments.values())]
    if claim.recnum is not None:
        own = found.get(claim.recnum)
        return [] if own is None else [own]
    axis = coverage_axis(series)
    if axis is None or _span(axis, claim) is None:
        return []
    return [c for c in found.values() if other_key(claim, c) is None]


def _tail(path: str) -> str:
    file = unit_file(path)
    return "" if file is None else str(file)


def no_owner(unit: str) -> Unplaced:
    """Why a file at the path of a storage unit has no place: JSOC cannot say which record a unit belongs to."""
    number = unit.split("/")[2][1:]
    return Unplaced(
        f"no cached record is in storage unit {number}; search for its records first", True
    )


def not_found(claim: Match, series: Series, problem: str | None) -> Unplaced:
    """Why there is no record for a claim, and whether there may be one later."""
    if problem is not None:
        return Unplaced(f"its record is not cached, and JSOC could not be contacted: {problem}", for_now=True)
    if claim.path is not None:
        return no_owner(claim.path)
    if claim.recnum is None and not claim.keys:
        return Unplaced(f"neither header nor file name identifies its record of {series.name} it is of")
    return Unplaced(f"JSOC has no such record: {described(claim, series)}")
