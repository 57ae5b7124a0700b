"""Cuts blocks while nobody waits, and puts them into the file (``block_file``), where a first look finds them."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from mirror.storage.index.blocks import blocks_of, packed
from mirror.storage.index.layout import quoted
from mirror.storage.index.reader import MOST_ROWS, arrow_of, runs
from mirror.storage.index.windows import is_in_order, stretch, window_sql

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.block_file import BlockFile
    from mirror.storage.index.blocks import Blocks
    from mirror.storage.index.layout import Layout
    from mirror.storage.index.reader import Held

#: Blocks that are cut in one transaction, during which other writes wait.
CUT_AT_ONCE = 16
#: Time until a series is searched again for blocks to cut: LOOK_FACTOR times what that took, within these seconds.
LOOK_FACTOR, SHORTEST_LOOK, LONGEST_LOOK = 100, 10.0, 600.0


class BlocksAhead:
    """The blocks of all series that records were kept of; the arguments are the index's own."""

    def __init__(
        self,
        database: Database,
        held: dict[str, Held],
        keysets: dict[int, dict[str, int]],
        blocks: Blocks,
        file: BlockFile,
    ) -> None:
        self._database = database
        self._held = held
        self._keysets = keysets
        self._blocks = blocks
        self._file = file
        #: When all blocks of each series were in the file: its version, and how often the file had been given up.
        self._cut: dict[str, tuple[int, int]] = {}
        self._next_look: dict[str, float] = {}  #: when to look at a series again, by the loop's clock

    async def cut(self, may_go_on: Callable[[], bool]) -> None:
        """Cut the blocks that are not in the file, some at a time, for as long as ``may_go_on`` allows.

        The last block of a series waits until it is full. StorageError if blocks cannot be written.
        """
        now = asyncio.get_running_loop().time
        for name, held in tuple(self._held.items()):
            state = held.version.number, self._file.given_up
            is_due = self._cut.get(name) != state and now() >= self._next_look.get(name, 0.0)
            if not is_due or not held.has_tables or not is_in_order(held.series) or not may_go_on():
                continue
            began = now()
            missing = await self._missing(name, held)
            self._next_look[name] = now() + min(max(LOOK_FACTOR * (now() - began), SHORTEST_LOOK), LONGEST_LOOK)
            for run in runs(missing, CUT_AT_ONCE):
                if not may_go_on():
                    return
                await self._cut_run(name, held, run, self._blocks.slots(name))
            self._cut[name] = state

    async def _missing(self, name: str, held: Held) -> list[int]:
        """The blocks of a series that have records but are not in the file, in order."""
        while True:
            slots = self._blocks.slots(name)
            sql = _counts_sql(held.layout, slots)
            found = await self._database.read(lambda cursor, sql=sql: cursor.execute(sql).fetchall())  # type: ignore[misc]
            if not self._blocks.shorten(name, max((count for _, count, _ in found), default=0)):
                break
        if found and found[-1][2] < found[-1][0] * slots + slots - 1:
            del found[-1]
        there = await asyncio.to_thread(self._file.numbers, name, slots)
        return [number for number, _, _ in found if number not in there]

    async def _cut_run(self, name: str, held: Held, run: range, slots: int) -> None:
        sql, of_structure = window_sql(held.layout, stretch(run[0], run[-1], slots)), held.fetched_at

        def work(cursor: Cursor) -> None:
            stored = cursor.execute("SELECT fetched_at FROM mirror.series WHERE lower(name) = ?", [name]).fetchall()
            if stored != [(of_structure,)]:
                return  # another structure came meanwhile, in whose order these are perhaps no blocks
            rows = arrow_of(cursor, sql, MOST_ROWS)
            found = [None] * len(run) if rows is None else blocks_of(rows, self._keysets, run, slots)
            token = secrets.token_hex(8)
            self._file.put(name, slots, map(packed, run, found), token)
            cursor.execute("DELETE FROM mirror.block_file")
            cursor.execute("INSERT INTO mirror.block_file VALUES (?)", [token])

        await self._database.write(work, little=True)


def _counts_sql(layout: Layout, slots: int) -> str:
    """SQL: each block of a table with the number of its records, in order, and the last axis value of the table."""
    axis = quoted(layout.order[0])
    sql = f"SELECT floor({axis} / {slots})::BIGINT AS number, count(*), max(max({axis})) OVER () FROM {layout.table}"
    return f"{sql} WHERE {axis} IS NOT NULL GROUP BY number ORDER BY number"
