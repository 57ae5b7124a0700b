"""The recorded worlds, and a naive server over them: the oracle that binding is held against.

A world holds every record of every version of a series. Conditions are left out: this is about keys.
"""

import gzip
import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from mirror.drms.parser import parse_query
from mirror.drms.recordset import (
    Extreme,
    FloatRange,
    IntRange,
    KeyFilter,
    RecnumFilter,
    RecnumRange,
    Selection,
    Term,
    Text,
)
from mirror.drms.selection import bind, prime_columns, stepless
from mirror.drms.series import INTEGER_TYPES, Keyword, PrimeKey, Segment, Series
from mirror.drms.times import parse_time
from mirror.errors import SyntaxProblem, UnknownSeries
from tests.recorded import WORLD

# ---- recorded worlds ------------------------------------------------------------------------------


def read_series(name: str, answer: dict[str, Any]) -> Series:
    members = ("name", "type", "recscope", "defval", "units", "note")
    return Series(
        name=name,
        note=answer["note"],
        retention=answer["retention"],
        unitsize=answer["unitsize"],
        archive=answer["archive"],
        tapegroup=answer["tapegroup"],
        primekeys=tuple(
            PrimeKey(p["name"], bool(p["slotted"]), p.get("step"))
            for p in answer["primekeysinfo"]
            if p is not None
        ),
        dbindex=(),
        keywords=tuple(
            Keyword(*(k.get(m, "") for m in members), linkinfo=k.get("linkinfo")) for k in answer["keywords"]
        ),
        segments=tuple(
            Segment(*(x[m] or "" for m in ("name", "type", "units", "protocol", "dims", "note")))
            for x in answer["segments"]
        ),
        links=(),
    )


@dataclass(frozen=True)
class World:
    """A series and its rows: columns of comparable values by name, with the printed ones beside."""

    series: Series
    printed: dict[str, list[Any]]
    values: dict[str, list[Any]]

    @cached_property
    def ordered(self) -> list[int]:
        """Row numbers in the order of the prime keys, older versions first."""
        columns = [self.values[name] for name in (*prime_columns(self.series), "recnum")]
        return sorted(range(len(columns[-1])), key=lambda row: [column[row] for column in columns])

    @cached_property
    def newest(self) -> frozenset[int]:
        """Row numbers of the records that no newer version has replaced."""
        names = prime_columns(self.series) or ("recnum",)
        return frozenset({tuple(self.values[n][row] for n in names): row for row in self.ordered}.values())


def read_value(text: str, type_: str) -> Any:
    if text == "MISSING":
        return {"string": "", "time": -211087684832.184}.get(type_, -(1 << 31))
    if type_ == "time":
        return parse_time(text)
    return int(text) if type_ in INTEGER_TYPES else text if type_ == "string" else float(text)


def read_world(path: Path) -> World:
    raw = json.loads(gzip.decompress(path.read_bytes()))
    series = read_series(raw["series"], json.loads(raw["series_struct"]))
    printed = {k["name"]: k["values"] for k in raw["answer"]["keywords"]}
    values: dict[str, list[Any]] = {"recnum": printed["*recnum*"]}
    for name in prime_columns(series):
        keyword = series.keyword(name)
        assert keyword is not None
        column = raw["precise"].get(name, printed[name])
        values[name] = [read_value(text, keyword.type) for text in column]
    return World(series, printed, values)


@cache
def worlds() -> dict[str, World]:
    found = [read_world(path) for path in WORLD.glob("*.json.gz")]
    return {world.series.name.lower(): world for world in found}


# ---- a naive server -------------------------------------------------------------------------------


def extremes(bound: KeyFilter, among: list[Any]) -> tuple[Any, ...]:
    """First and last value among rows, if a term asks for one."""
    asked = among and any(isinstance(term, Extreme) for term in bound.terms)
    return (min(among), max(among)) if asked else (None, None)


def meets(value: Any, term: Term, ends: tuple[Any, ...], column: list[Any]) -> bool:
    match term:
        case Text(text):
            return bool(value == text)
        case Extreme(last):
            return bool(value == ends[last])
        case FloatRange(first, last, open_end):
            below = last is None or value < last or (value == last and not open_end)
            return below and (first is None or value >= first)
        case IntRange(first, last, step):
            origin = first if first is not None else min(column) if step != 1 else value
            return value >= origin and (last is None or value <= last) and (value - origin) % step == 0


def numbered(r: RecnumRange, numbers: frozenset[int]) -> set[int]:
    """The record numbers that a range picks out of those there are."""
    low, high = min(numbers), max(numbers)
    ends = {"^": low, "$": high}
    first = low if r.first is None else ends.get(str(r.first), r.first)
    last = high if r.last is None else ends.get(str(r.last), r.last)
    return numbers & set(range(max(int(first), 0), min(int(last), high) + 1, r.step))


def matching(selection: Selection, world: World) -> list[int]:
    """Row numbers of every version that meets the filters."""
    rows = world.ordered
    for bound in selection.filters:
        if isinstance(bound, KeyFilter):
            column = world.values[bound.column]
            ends = extremes(bound, [column[row] for row in rows])
            rows = [row for row in rows if any(meets(column[row], t, ends, column) for t in bound.terms)]
        elif isinstance(bound, RecnumFilter):
            column = world.values["recnum"]
            picked = set().union(*(numbered(r, frozenset(column)) for r in bound.ranges))
            rows = [row for row in rows if column[row] in picked]
    return rows


def select(selection: Selection, world: World, n: int) -> list[int]:
    """Row numbers of the newest versions in the order of the prime keys, the first or last ``n``."""
    bare = stepless(selection)
    if bare is not None and matching(bare, world):
        raise SyntaxProblem("division by zero", text=str(selection.source), position=0)
    rows = [] if bare is not None else matching(selection, world)
    rows = [row for row in rows if selection.all_versions or row in world.newest]
    return rows[:n] if n > 0 else rows[n:]


def answer(ds: str, n: int) -> list[tuple[World, int]]:
    """The records of all sets, as (world, row)."""
    found: list[tuple[World, int]] = []
    for record_set in parse_query(ds).sets:
        world = worlds().get(record_set.series.lower())
        if world is None:
            raise UnknownSeries(record_set.series)
        selection = bind(record_set, world.series, text=ds, zero_steps=True)
        found += [(world, row) for row in select(selection, world, n)]
    return found
