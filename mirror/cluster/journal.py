"""The journal, which all servers share: who holds what, and who is fetching what.

1. The journal of a series grows only at its end: a writer holds the lock of the series until the commit, so that
   numbers ascend in the order in which rows become visible. A reader that has read up to a number has missed nothing.
2. A flight is a part of a series that a server is fetching. It is written only if the journal has not moved since the
   position at which the gaps were computed, and only for parts that no other flight covers.
3. A row of the journal is written in the transaction that ends its flight, and not at all if the flight is gone.
4. Rows of a key space other than the series' present one say nothing.
5. Old rows are folded into new ones at the end: see ``compaction``.

All functions with a cursor work inside the caller's transaction.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from mirror.cluster.database import JOURNAL, LIVING, SERIES
from mirror.coverage.claims import CoverageClaim, both, held_parts, without
from mirror.coverage.coverage import Box, Coverage, Freshness
from mirror.coverage.intervals import GRAIN, MAX, MIN, Steps
from mirror.coverage.plan import key_space
from mirror.storage.index.changes import region_from_json, region_to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.cluster.database import Cursor
    from mirror.drms.series import Series

log = logging.getLogger(__name__)

Kind = Literal["content", "same", "drop"]
#: The format of rows; those with a later one are from a newer program, and say nothing to this one.
FORMAT = 1
#: Rows that are read at a time: they are decoded within the transaction, which must not idle for long.
ROWS = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the journal: these claims hold.

    ``object``, of ``size`` bytes with the hash ``sha256``, has the records; None: there are none. ``same``: nothing has
    changed for those who held it as of ``since`` or later. A ``drop`` without claims is about all of the series.
    """

    id: int
    kind: Kind
    claims: tuple[CoverageClaim, ...]
    since: float | None = None
    object: str | None = None
    sha256: str | None = None
    size: int = 0
    rows: int = 0
    server: str = ""

    @property
    def boxes(self) -> tuple[Box, ...]:
        return tuple(box for box, _ in self.claims)

    def tells(self, coverage: Coverage, boxes: Iterable[Box]) -> bool:
        """True if it says more about ``boxes`` than ``coverage``, whose times may be GRAIN older than the original."""
        return bool(self.news(coverage, boxes))

    def news(self, coverage: Coverage, boxes: Iterable[Box]) -> list[CoverageClaim]:
        """The parts of ``boxes`` about which it says more."""
        found: list[CoverageClaim] = []
        for box, at in self.claims:
            told = Coverage()
            told.add(box, at)
            for part, _ in held_parts(told, boxes):
                if self.kind == "same":
                    known = held_parts(coverage, [part])
                    found += [(p, at) for p, t in known if (self.since or at) - GRAIN <= t < at - GRAIN]
                else:
                    found += [(p, at) for p in lacking(coverage, part, at - GRAIN)]
        return found


def lacking(coverage: Coverage, box: Box, at: float) -> list[Box]:
    """The parts of a box that are not held, or were last checked before ``at``."""
    before = Freshness(at, 0.0, 0.0, MIN, ahead=math.inf)
    return [*coverage.gaps(box), *coverage.stale(box, before)]


def free_parts(wanted: Iterable[Box], flights: Sequence[Box]) -> list[Box]:
    """The parts of ``wanted`` that no flight covers; what cannot be cut along a flight that it touches is not free."""
    taken = Coverage()
    for box in flights:
        taken.add(box, 0.0)
    parts = (part for box in wanted for part in taken.gaps(box))
    return [part for part in parts if not any(touch(part, box) for box in flights)]


def touch(one: Box, other: Box) -> bool:
    """True if a record may lie in both boxes."""
    if both(one.region, other.region) is None:
        return False
    lo, hi = max(bounds([one])[0], bounds([other])[0]), min(bounds([one])[1], bounds([other])[1])
    if lo > hi:
        return False
    mine = Coverage()
    mine.add(replace(one, region=other.region), 0.0)
    return bool(held_parts(mine, [other]))


def bounds(boxes: Iterable[Box]) -> tuple[int, int]:
    """The lowest and highest axis value of boxes."""
    steps = [s for box in boxes for s in box.steps]
    return min((s.lo for s in steps), default=MIN), max((s.hi for s in steps), default=MAX)


def space_of(series: Series) -> str:
    """A text that identifies how the prime keys of a series place its records."""
    return hashlib.sha256(repr(key_space(series)).encode()).hexdigest()[:16]


def coverage_of(entries: Iterable[Entry]) -> Coverage:
    """The sum of a series' rows, in order; what an earlier row knows from a later check stays."""
    coverage = Coverage()
    for entry in entries:
        coverage = add_entry(coverage, entry)
    return coverage


def add_entry(coverage: Coverage, entry: Entry) -> Coverage:
    """The sum of earlier rows, with one more; ``coverage`` itself may be changed."""
    if entry.kind == "drop":
        return without(coverage, entry.boxes) if entry.claims else Coverage()
    if entry.kind == "same":
        for part, at in entry.news(coverage, entry.boxes):
            coverage.add(part, at)
    else:
        for box, at in entry.claims:
            for part in lacking(coverage, box, at):
                coverage.add(part, at)
    return coverage


def dropped(entry: Entry, gone: Entry) -> Entry | None:
    """An earlier entry without what ``gone`` gave up; None if nothing is left."""
    if not gone.claims:
        return None
    coverage = Coverage()
    for box, at in entry.claims:
        coverage.add(box, at)
    left = without(coverage, gone.boxes)
    claims = tuple((Box(region, (Steps(s.lo, s.hi),)), s.checked_at) for region, spans in left for s in spans)
    return replace(entry, claims=claims) if claims else None


# ---- JSON ----------------------------------------------------------------------------------------


def claims_to_json(claims: Iterable[CoverageClaim]) -> list[Any]:
    """Claims in the journal's form, grouped by region."""
    by_region: dict[str, list[Any]] = {}
    for box, at in claims:
        spans = by_region.setdefault(region_to_json(box.region), [])
        spans += [[s.lo, s.hi, s.step, at] for s in box.steps]
    return [[json.loads(region), spans] for region, spans in by_region.items()]


def claims_from_json(members: Sequence[Any]) -> tuple[CoverageClaim, ...]:
    """The inverse of ``claims_to_json``, with claims of one time in one box."""
    claims: list[CoverageClaim] = []
    for text, spans in members:
        region = region_from_json(json.dumps(text))
        by_moment: dict[float, list[Steps]] = {}
        for lo, hi, step, at in spans:
            by_moment.setdefault(float(at), []).append(Steps(int(lo), int(hi), int(step)))
        claims += [(Box(region, tuple(steps)), at) for at, steps in by_moment.items()]
    return tuple(claims)


def boxes_to_json(boxes: Iterable[Box]) -> list[Any]:
    """Boxes in the form of flights."""
    return [[json.loads(region_to_json(box.region)), [[s.lo, s.hi, s.step] for s in box.steps]] for box in boxes]


def boxes_from_json(members: Sequence[Any]) -> tuple[Box, ...]:
    """The inverse of ``boxes_to_json``."""
    return tuple(
        Box(region_from_json(json.dumps(region)), tuple(Steps(*map(int, each)) for each in steps)) for region, steps in members
    )


# ---- statements ----------------------------------------------------------------------------------


async def tail(cursor: Cursor, series: str, space: str, position: int) -> tuple[list[Entry], int]:
    """At most ROWS rows after a position, in order, and the new position, which stays the same at the end."""
    sql = (
        "SELECT id, kind, claims, since, object, sha256, size, rows, server, space, format FROM journal "
        "WHERE series = %s AND id > %s ORDER BY id LIMIT %s"
    )
    await cursor.execute(sql, (series, position, ROWS))
    entries: list[Entry] = []
    for number, kind, claims, since, key, sha256, size, rows, server, of_space, form in await cursor.fetchall():
        position = number
        told = _claims_of(number, claims) if of_space == space and form <= FORMAT else None
        if told is not None:
            entries.append(Entry(number, kind, told, since, key, sha256, size, rows, server))
    return entries, position


async def series_rows(cursor: Cursor, series: str) -> list[tuple[Any, ...]]:
    """All rows of a series in order, of whatever key space, for ``rows_of``."""
    sql = (
        "SELECT id, kind, claims, since, object, space, extract(epoch FROM at)::FLOAT8 FROM journal "
        "WHERE series = %s AND format <= %s ORDER BY id"
    )
    return await (await cursor.execute(sql, (series, FORMAT))).fetchall()


def rows_of(found: Iterable[tuple[Any, ...]]) -> list[tuple[Entry, str, float]]:
    """Entries with their key space, and when they were written; rows that cannot be read are left out."""
    rows = []
    for number, kind, claims, since, key, space, at in found:
        told = _claims_of(number, claims)
        if told is not None:
            rows.append((Entry(number, kind, told, since, key), space, at))
    return rows


def _claims_of(number: int, claims: Sequence[Any]) -> tuple[CoverageClaim, ...] | None:
    """The claims of a row; None, and a line in the log, if they cannot be read."""
    try:
        return claims_from_json(claims)
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        log.warning("a row of the journal cannot be read id=%s problem=%r", number, str(problem))
        return None


async def newest_row(cursor: Cursor, number: int | None = None) -> tuple[int, float] | None:
    """The newest row of all series, or the one with a number: its number, and when it was written."""
    where = "" if number is None else "WHERE id = %s"
    sql = f"SELECT id, extract(epoch FROM at)::FLOAT8 FROM journal {where} ORDER BY id DESC LIMIT 1"
    row = await (await cursor.execute(sql.encode(), () if number is None else (number,))).fetchone()
    return None if row is None else (int(row[0]), float(row[1]))


async def is_there(cursor: Cursor, entry: int) -> bool:
    """True if a row has not been folded into others meanwhile."""
    await cursor.execute("SELECT 1 FROM journal WHERE id = %s", (entry,))
    return await cursor.fetchone() is not None


async def lock_series(cursor: Cursor, series: str) -> None:
    """Keep others from writing about a series until the transaction ends."""
    await cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", (SERIES, series))


async def claim(
    cursor: Cursor, series: str, position: int, wanted: Sequence[Box], server: int
) -> tuple[int | None, list[Box]] | None:
    """A flight for the parts of ``wanted`` that nobody fetches, and these parts; None if the journal has moved.

    No flight, and no parts, if others fetch all of it.
    """
    await lock_series(cursor, series)
    await cursor.execute("SELECT coalesce(max(id), 0) FROM journal WHERE series = %s", (series,))
    row = await cursor.fetchone()
    if row is None or row[0] > position:
        return None
    await cursor.execute(
        f"DELETE FROM flights WHERE series = %s AND server <> %s AND server NOT IN ({LIVING})".encode(), (series, server)
    )
    await cursor.execute("SELECT boxes FROM flights WHERE series = %s AND server <> %s", (series, server))
    flights = [box for (boxes,) in await cursor.fetchall() for box in _flying(boxes)]
    parts = free_parts(wanted, flights)
    if not parts:
        return None, []
    sql = "INSERT INTO flights (series, boxes, server) VALUES (%s, %s::JSONB, %s) RETURNING id"
    await cursor.execute(sql, (series, json.dumps(boxes_to_json(parts)), server))
    row = await cursor.fetchone()
    return (0 if row is None else int(row[0])), parts


def _flying(boxes: Sequence[Any]) -> tuple[Box, ...]:
    """The boxes of a flight of another server; one that cannot be read keeps nobody from fetching."""
    try:
        return boxes_from_json(boxes)
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        log.warning("a flight of another server cannot be read problem=%r", str(problem))
        return ()


async def end_flight(cursor: Cursor, series: str, flight: int) -> bool:
    """End a flight; False if it was gone."""
    await cursor.execute("DELETE FROM flights WHERE id = %s RETURNING id", (flight,))
    there = await cursor.fetchone() is not None
    await cursor.execute("SELECT pg_notify(%s, %s)", (JOURNAL, series))
    return there


async def write_entry(cursor: Cursor, series: str, space: str, entry: Entry) -> int:
    """Write a row; its number. The lock of the series is held."""
    lo, hi = bounds(entry.boxes)
    sql = (
        "INSERT INTO journal (series, space, kind, claims, lo, hi, since, object, sha256, size, rows, server, format) "
        "VALUES (%s, %s, %s, %s::JSONB, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id"
    )
    claims = json.dumps(claims_to_json(entry.claims))
    values = (
        series, space, entry.kind, claims, lo, hi, entry.since, entry.object, entry.sha256, entry.size, entry.rows,
        entry.server, FORMAT,
    )  # fmt: skip
    await cursor.execute(sql, values)
    row = await cursor.fetchone()
    payload = f"{entry.kind} {series}" if entry.kind == "drop" else series
    await cursor.execute("SELECT pg_notify(%s, %s)", (JOURNAL, payload))
    return 0 if row is None else int(row[0])


async def note_spent(cursor: Cursor, objects: Sequence[str]) -> None:
    """Note objects that no row names, to be deleted later unless a row names them by then."""
    await cursor.execute("INSERT INTO spent (object) SELECT unnest(%s::TEXT[]) ON CONFLICT DO NOTHING", (list(objects),))
