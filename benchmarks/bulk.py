"""An index of millions of records in minutes: days of the simulator, copied to other days.

Every record has all keywords of hmi.V_45s, a day's records are one transaction as in a fill, and the rows go
into the same tables and columns; but each value is converted only once.

    python benchmarks/bulk.py STORE RECORDS
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import Steps
from mirror.coverage.plan import box_query
from mirror.daemon import DATABASE
from mirror.drms.series import Series
from mirror.drms.slots import SlotAxis, slot_axis
from mirror.drms.times import format_time, parse_time
from mirror.simulator.archive import Archive
from mirror.simulator.programs import Asked, run_program
from mirror.simulator.synthetic import synthetic_series
from mirror.storage.database.database import Cursor, Database
from mirror.storage.index.index import Index
from mirror.storage.index.layout import SEPARATOR, Layout
from mirror.storage.index.rows import batch, fill_request
from mirror.wire.info import encode_info
from mirror.wire.rs_list import RsList, decode_rs_list

SERIES = "hmi.V_45s"
DAY = 1920  #: records
BLOCK = 64  #: different days; then they repeat, at other times
FIRST = "2010.05.01_TAI"  #: the first day of an index
_SOURCE = "2014.01.01_TAI"


def first_slot(series: Series) -> int:
    """The slot with which every index begins."""
    return _axis(series).slot(parse_time(FIRST))


@dataclass(frozen=True)
class Day:
    """A day of records: the typed columns, its first slot, and the wire text of each record in pieces.

    Between the pieces go the fields that another day has otherwise, in the order of ``own``.
    """

    table: pa.Table
    slot: int
    own: tuple[str, ...]
    pieces: Sequence[Sequence[str]]
    clocks: Sequence[str]
    cameras: Sequence[str]

    def moved(self, series: Series, slot: int) -> pa.Table:
        """The same records on the day that begins at ``slot``, under numbers of their own."""
        axis = _axis(series)
        index = np.asarray(self.table["t_rec_index"]) + (slot - self.slot)
        date = format_time(axis.epoch + slot * axis.step, "TAI").partition("_")[0]
        names = [date + clock for clock in self.clocks]
        numbers = list(map(str, index.tolist()))
        texts = {
            "T_REC": names,
            "T_REC_index": numbers,
            "*recnum*": numbers,
            "*sunum*": numbers,
            "*spec*": [f"{series.name}[{t}][{c}]" for t, c in zip(names, self.cameras, strict=True)],
        }
        first, *others = self.pieces
        parts = [first, *(part for name, piece in zip(self.own, others, strict=True) for part in (texts[name], piece))]
        columns = {
            "recnum": index,
            "sunum": index,
            "t_rec": axis.epoch + index * axis.step,
            "t_rec_index": index,
            "_raw": list(map("".join, zip(*parts, strict=True))),
        }
        table = self.table
        for name, values in columns.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, pa.array(values, table.schema.field(name).type))
        return table


def _day(layout: Layout, table: pa.Table, slot: int) -> Day:
    rows = [raw.split(SEPARATOR) for raw in table["_raw"].to_pylist()]
    places = sorted(map(layout.fields.index, ("T_REC", "T_REC_index", "*recnum*", "*sunum*", "*spec*")))
    ends = [*places, len(layout.fields)]
    pieces = []
    for start, end in zip([-1, *places], ends, strict=True):
        before = SEPARATOR if start >= 0 else ""
        after = SEPARATOR if end < len(layout.fields) else ""
        middles = (SEPARATOR.join(row[start + 1 : end]) for row in rows)
        pieces.append([before + middle + after if end - start > 1 else before or after for middle in middles])
    time_place, camera_place = layout.fields.index("T_REC"), layout.fields.index("CAMERA")
    clocks = ["_" + row[time_place].partition("_")[2] for row in rows]
    own = tuple(layout.fields[place] for place in places)
    return Day(table, slot, own, pieces, clocks, [row[camera_place] for row in rows])


def _axis(series: Series) -> SlotAxis:
    axis = slot_axis(series, "T_REC")
    assert axis is not None
    return axis


def _box(slot: int, days: int = 1) -> Box:
    return Box(Region((None,)), (Steps(slot, slot + days * DAY - 1),))


def _ask(archive: Archive, layout: Layout, box: Box) -> RsList:
    request = fill_request(layout, str(box_query(layout.series, box)))
    return decode_rs_list(run_program("jsoc_info", Asked(encode_info(request), archive, lambda: 0.0)).body)


def _days(archive: Archive, series: Series, keyset: int) -> Iterator[Day]:
    """Days of the simulator, eleven days apart, so that they cover more than a year of values."""
    layout = Layout(series)
    start = _axis(series).slot(parse_time(_SOURCE))
    for slot in range(start, start + BLOCK * 11 * DAY, 11 * DAY):
        yield _day(layout, batch(layout, _ask(archive, layout, _box(slot)), keyset=keyset), slot)


async def build(store: Path, records: int, name: str = SERIES, every: int = 1) -> None:
    """Put ``records`` of a series into a store that has none of it, rounded up to whole blocks of days.

    With ``every`` above 1 all other blocks are left out, so that the records are spread over that many times the years.
    """
    archive = Archive(synthetic_series(lambda: parse_time("2026.01.01_TAI")))
    series = archive.find(name).structure
    database = await asyncio.to_thread(Database.open, store / DATABASE)
    try:
        index = await Index.load(database)
        await index.keep_series(series, time.time())
        slot = first_slot(series)
        # What a first fill leaves in addition to the rows: the tables, the key set, the tolerances.
        answer = _ask(archive, index.layout(series), _box(_axis(series).slot(parse_time(_SOURCE))))
        await index.keep(series, answer, complete=(), checked_at=time.time())
        await database.write(lambda c: c.execute(f"DELETE FROM {index.layout(series).table}"))
        keyset = await database.read(lambda c: _keyset(c, series))
        days, done = list(_days(archive, series, keyset)), 0

        def block(slot: int) -> pa.Table:
            return pa.concat_tables(day.moved(series, slot + i * DAY) for i, day in enumerate(days))

        rows = block(slot)
        while done < records:
            # The next block is made while DuckDB compresses this one.
            ahead = asyncio.create_task(asyncio.to_thread(block, slot + every * BLOCK * DAY))
            await database.write(partial(_insert, layout=index.layout(series), rows=rows))
            await index.confirm(series, (_box(slot, BLOCK),), time.time())
            slot, done = slot + every * BLOCK * DAY, done + len(rows)
            rows = await ahead
            print(f"\r{done:,} records", end="", file=sys.stderr, flush=True)
        await database.checkpoint()
    finally:
        await asyncio.to_thread(database.close)
    print(file=sys.stderr)


def _keyset(cursor: Cursor, series: Series) -> int:
    sql = "SELECT max(id) FROM mirror.keysets WHERE series = ?"
    return int((cursor.execute(sql, [series.name.lower()]).fetchone() or (1,))[0])


def _insert(cursor: Cursor, *, layout: Layout, rows: pa.Table) -> None:
    cursor.register("bulk_rows", rows)
    cursor.execute(f"INSERT INTO {layout.table} BY NAME FROM bulk_rows")
    cursor.unregister("bulk_rows")


if __name__ == "__main__":
    asyncio.run(build(Path(sys.argv[1]), int(sys.argv[2])))
