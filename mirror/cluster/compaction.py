"""Folds many rows of the journal into few: otherwise they grow without bound, and a new server must read all of them.

One server at a time does it, one part of the axis after the other, while nobody waits for it:

1. It takes over what the rows of the part tell, and writes what it then holds there to one new object.
2. In one transaction under the lock of the series, the new row is added at the end of the journal, with a number above
   all others, and what it says is removed from the old rows. A row with nothing left is deleted. All of this is given
   up if one of the old rows has gone, or if a row about the part was added meanwhile.
3. So a row goes only if the new one says all that it said: a server that has read the journal up to any point reads on
   from there, with the same result. An old row that a server remembers stays true as long as its object exists.
4. The objects of deleted rows stay for GRACE. A server that finds one gone checks whether its row is in the journal: if
   it is not, a later row says the same.
5. Rows of the kind 'drop' are applied to the rows before them, and stay for the servers that have not followed them
   yet, unless a later one gives up all of their records too.
6. Rows of another key space, or of a newer program, are left as they are.
"""

from __future__ import annotations

import json
import logging
import math
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.cluster.chunks import new_key, write_chunk
from mirror.cluster.journal import (
    Entry,
    bounds,
    claims_to_json,
    coverage_of,
    dropped,
    lock_series,
    note_spent,
    space_of,
    tail,
    write_entry,
)
from mirror.coverage.coverage import Box, Coverage
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.errors import ClusterAway, ObjectStoreError, StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path

    from mirror.cluster.database import ClusterDatabase, Cursor
    from mirror.cluster.objects import Objects
    from mirror.coverage.claims import CoverageClaim
    from mirror.drms.series import Series
    from mirror.storage.index.index import Index

log = logging.getLogger(__name__)

#: Rows of one series from which on they are folded, and by how many they must grow before the next look. A new server
#: reads this many in a second, and remembers them in some 2 MB.
MANY = 2000
#: Records and rows that become one row: an object of some 15 MB, and a condition that DuckDB handles in one piece.
RECORDS, TOGETHER = 100_000, 200
#: Rows about one part from which on it is written again; with fewer, every small object would cost a large one.
WORTH = 10
#: Seconds between two looks, and parts that are written at each.
LOOK, PARTS = 300.0, 20
#: Seconds for which an object without a row stays: a PostgreSQL backup up to that age still has all its objects.
GRACE = 7 * 86_400.0
#: Seconds between two looks for chunks without a row, left by a server that ended between writing the two.
DAY = 86_400.0
#: Objects that are deleted at a time.
SWEPT = 100
#: The first half of the advisory lock of the server that folds for all.
FOLDER = 0x6A736F12


# ---- what becomes of rows ------------------------------------------------------------------------


def standing(rows: Iterable[Entry]) -> list[Entry]:
    """The rows except those of the kind 'drop', in order, without what was given up after them."""
    found: list[Entry] = []
    for row in rows:
        if row.kind == "drop":
            found = [left for each in found if (left := dropped(each, row) if _meets(each, row) else each) is not None]
        else:
            found.append(row)
    return found


def _meets(row: Entry, gone: Entry) -> bool:
    return not gone.claims or _within(row, *bounds(gone.boxes))


def _within(row: Entry, lo: int, hi: int) -> bool:
    first, last = bounds(row.boxes)
    return first <= hi and last >= lo


def parts_of(rows: Iterable[Entry], records: int = RECORDS, together: int = TOGETHER) -> list[tuple[int, int]]:
    """Parts of the axis, end to end: in each begin rows with about ``records`` records, at most ``together`` rows."""
    starts: list[int] = [MIN]
    held = count = 0
    for lo, size in sorted((bounds(row.boxes)[0], row.rows) for row in rows):
        if (held + size > records or count >= together) and lo > starts[-1]:
            starts.append(lo)
            held = count = 0
        held, count = held + size, count + 1
    return [(lo, after - 1) for lo, after in zip(starts, [*starts[1:], MAX + 1], strict=True)]


def told_of(rows: Iterable[Entry], lo: int, hi: int) -> list[Box]:
    """What is held between two axis values, according to rows."""
    return [
        Box(region, steps)
        for region, spans in coverage_of(rows)
        if (steps := tuple(Steps(s.lo, s.hi) for s in spans.within(lo, hi)))
    ]


def left_of(rows: Iterable[Entry], new: Iterable[CoverageClaim], lo: int, hi: int) -> list[Entry]:
    """What rows say beyond a new row about the part ``lo..hi``, in order, without those that say nothing more.

    A row that cannot be taken over, since its object is damaged, stays with what only it says.
    """
    known, left = Coverage(), []
    for box, at in new:
        known.add(box, at)
    for row in rows:
        inside, claims = _cut(row, lo, hi)
        more = inside.news(known, inside.boxes)
        for box, at in more:
            known.add(box, at)
        if claims := [*claims, *more]:
            left.append(replace(row, claims=tuple(claims)))
    return left


def _cut(row: Entry, lo: int, hi: int) -> tuple[Entry, list[CoverageClaim]]:
    """A row within a part, and its claims outside."""
    inside: list[CoverageClaim] = []
    outside: list[CoverageClaim] = []
    for box, at in row.claims:
        for first, last, into in ((MIN, lo - 1, outside), (lo, hi, inside), (hi + 1, MAX, outside)):
            steps = tuple(cut for s in box.steps if first <= last and (cut := s.cut(first, last)) is not None)
            if steps:
                into.append((replace(box, steps=steps), at))
    return replace(row, claims=tuple(inside)), outside


def needless(rows: Sequence[Entry]) -> list[Entry]:
    """The rows of the kind 'drop' whose records are all given up by a later one too."""
    drops = [row for row in rows if row.kind == "drop"]
    found, later = [], Coverage()
    for number, row in reversed(list(enumerate(drops))):
        everything = any(not each.claims for each in drops[number + 1 :])
        if everything or (row.claims and not any(later.gaps(box) for box in row.boxes)):
            found.append(row)
        for box in row.boxes:
            later.add(box, 0.0)
    return found


# ---- doing it ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fold:
    """Rows that become one: ``gone`` are deleted, ``left`` say less than before, ``new`` says what they said."""

    position: int  #: up to which the journal was read
    lo: int
    hi: int
    new: Entry
    gone: tuple[Entry, ...]
    left: tuple[Entry, ...]


def fold_of(position: int, rows: Sequence[Entry], new: Entry, lo: int, hi: int) -> Fold | None:
    """What becomes of ``rows``, the standing ones about a part, with a new row about it.

    None if one of them confirms what the new row has: it would then precede what it confirms.
    """
    known = Coverage()
    for box, at in new.claims:
        known.add(box, at)
    if any(row.kind == "same" and row.tells(known, row.boxes) for row in rows):
        return None
    left = {row.id: row for row in left_of(rows, new.claims, lo, hi)}
    gone = tuple(row for row in rows if row.id not in left)
    changed = tuple(left[row.id] for row in rows if row.id in left and left[row.id].claims != row.claims)
    return Fold(position, lo, hi, new, gone, changed)


class _Moved(Exception):
    """The journal has changed."""


async def replace_rows(cursor: Cursor, series: str, space: str, fold: Fold) -> int:
    """Write a fold; the number of the new row. After any error the transaction must be rolled back."""
    await lock_series(cursor, series)
    sql = "SELECT 1 FROM journal WHERE series = %s AND id > %s AND (kind = 'drop' OR (lo <= %s AND hi >= %s)) LIMIT 1"
    await cursor.execute(sql, (series, fold.position, fold.hi, fold.lo))
    if await cursor.fetchone() is not None:
        raise _Moved
    for row in fold.left:
        claims, ends = json.dumps(claims_to_json(row.claims)), bounds(row.boxes)
        await cursor.execute("UPDATE journal SET claims = %s::JSONB, lo = %s, hi = %s WHERE id = %s", (claims, *ends, row.id))
        if cursor.rowcount != 1:
            raise _Moved
    await delete_rows(cursor, series, fold.gone)
    return await write_entry(cursor, series, space, fold.new)


async def delete_rows(cursor: Cursor, series: str, rows: Sequence[Entry]) -> None:
    """Delete rows, or raise if any is missing; the lock of the series is held. Their objects go later."""
    await cursor.execute("DELETE FROM journal WHERE id = ANY(%s)", ([row.id for row in rows],))
    if cursor.rowcount != len(rows):
        raise _Moved
    await cursor.execute(
        "INSERT INTO spent (object) SELECT DISTINCT old FROM unnest(%s::TEXT[]) AS old "
        "WHERE old NOT IN (SELECT object FROM journal WHERE series = %s AND object IS NOT NULL) ON CONFLICT DO NOTHING",
        ([row.object for row in rows if row.object is not None], series),
    )


class Compaction:
    """Folds the rows of the journal, and removes objects that are no longer needed.

    ``take_over`` brings here what others hold of boxes, ``adopt`` takes up chunks without rows, ``now`` gives seconds.
    """

    def __init__(
        self,
        index: Index,
        database: ClusterDatabase,
        objects: Objects,
        folder: Path,
        take_over: Callable[[Series, tuple[Box, ...]], Awaitable[object]],
        adopt: Callable[[], Awaitable[object]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index = index
        self._database = database
        self._objects = objects
        self._folder = folder
        self._take_over = take_over
        self._adopt = adopt
        self._adopted_at = now()  #: when chunks without rows were last looked for
        self._now = now
        self._looked_at = -math.inf
        self._as = 0  #: the number under which this server folds for all
        self._left: dict[str, int] = {}  #: rows of each series after its last fold
        self.went = 0  #: rows that were folded away

    async def go_on(self, may_go_on: Callable[[], bool]) -> None:
        """Fold what has become much, for as long as ``may_go_on`` allows; nothing if another server does it."""
        if self._now() < self._looked_at + LOOK or not self._database.connected or not may_go_on():
            return
        self._looked_at = self._now()
        try:
            if not await self._may_fold():
                return
            await self._sweep()
            if self._now() > self._adopted_at + DAY:
                self._adopted_at = self._now()
                await self._adopt()
            for name, count in await self._many():
                held = self._index.series(name)
                if held is not None and count >= self._left.get(name, 0) + MANY:
                    await self._series(held[0], may_go_on)
        except (ClusterAway, ObjectStoreError, StorageError) as problem:
            log.info("the journal is not folded now problem=%r", str(problem))

    async def _may_fold(self) -> bool:
        if self._as != self._database.id:
            if not await self._database.lock("%s, 0", (FOLDER,)):
                return False
            self._as = self._database.id
        return True

    async def _many(self) -> list[tuple[str, int]]:
        sql = "SELECT series, count(*) FROM journal GROUP BY series HAVING count(*) >= %s ORDER BY 2 DESC"
        async with self._database.transaction() as cursor:
            await cursor.execute(sql, (MANY,))
            return [(str(name), int(count)) for name, count in await cursor.fetchall()]

    async def _series(self, series: Series, may_go_on: Callable[[], bool]) -> None:
        name, space, before = series.name.lower(), space_of(series), self.went
        rows, position = await self._read(name, space, 0)
        folded = 0
        for lo, hi in parts_of(row for row in standing(rows.values()) if row.kind == "content"):
            if folded >= PARTS or not may_go_on():
                self._looked_at = -math.inf  # continue at the next turn
                break
            more, position = await self._read(name, space, position)
            rows |= more
            fold = await self._part(series, [row for row in standing(rows.values()) if _within(row, lo, hi)], position, lo, hi)
            if fold is not None:
                folded += 1
                rows |= {row.id: row for row in fold.left}
                for row in fold.gone:
                    del rows[row.id]
        else:
            there = {row.id for row in standing(rows.values())}
            dead = [row for row in rows.values() if row.kind != "drop" and row.id not in there]
            await self._end(name, [*dead, *needless(list(rows.values()))])
            self._left[name] = len(rows)
        if self.went > before:
            log.info("folded the journal series=%s rows=%d", name, self.went - before)

    async def _read(self, name: str, space: str, position: int) -> tuple[dict[int, Entry], int]:
        rows: dict[int, Entry] = {}
        while True:
            async with self._database.transaction() as cursor:
                found, after = await tail(cursor, name, space, position)
            rows |= {row.id: row for row in found}
            if after == position:
                return rows, position
            position = after

    async def _part(self, series: Series, rows: Sequence[Entry], position: int, lo: int, hi: int) -> Fold | None:
        """Fold the rows about one part; None if they stay as they are."""
        boxes = told_of(rows, lo, hi)
        if len(rows) < WORTH or not boxes:
            return None
        await self._take_over(series, tuple(boxes))
        chunk = await write_chunk(self._index, series, boxes, self._folder)
        key = None if chunk.path is None else new_key(series.name)
        new = Entry(0, "content", chunk.claims, None, key, chunk.sha256, chunk.size, chunk.rows, self._database.name)
        try:
            fold = fold_of(position, rows, new, lo, hi)
            if fold is None or len(fold.gone) < WORTH - 1 or not chunk.claims:
                return None
            if chunk.path is not None and key is not None:
                await self._objects.put_new(key, chunk.path)
        finally:
            if chunk.path is not None:
                chunk.path.unlink(missing_ok=True)
        try:
            async with self._database.transaction() as cursor:
                await replace_rows(cursor, series.name.lower(), space_of(series), fold)
        except _Moved:
            if key is not None:
                async with self._database.transaction() as cursor:
                    await note_spent(cursor, [key])
            return None
        self.went += len(fold.gone) - 1
        return fold

    async def _end(self, name: str, rows: Sequence[Entry]) -> None:
        """Delete rows that nobody needs, whatever follows them."""
        if rows:
            with suppress(_Moved):
                async with self._database.transaction() as cursor:
                    await lock_series(cursor, name)
                    await delete_rows(cursor, name, rows)
                self.went += len(rows)

    async def _sweep(self) -> None:
        """Delete objects that nobody can be reading any more."""
        sql = (
            "SELECT object, object IN (SELECT object FROM journal WHERE object IS NOT NULL) FROM spent "
            "WHERE since < now() - make_interval(secs => %s) LIMIT %s"
        )
        async with self._database.transaction() as cursor:
            await cursor.execute(sql, (GRACE, SWEPT))
            found = await cursor.fetchall()
        for key, is_named in found:
            if not is_named:  # a PostgreSQL that was restored from a backup may name it again
                await self._objects.delete(key)
            async with self._database.transaction() as cursor:
                await cursor.execute("DELETE FROM spent WHERE object = %s", (key,))
