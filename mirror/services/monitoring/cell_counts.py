"""Records and files of a series by day or hour, and how late records came: grouped by the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mirror.storage.database.database import Tables
from mirror.storage.index.layout import quoted
from mirror.storage.lake.columns import time_column

if TYPE_CHECKING:
    import numpy.typing as npt

    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout

    Numbers = npt.NDArray[np.int64]

_INTEGERS = frozenset({"SMALLINT", "INTEGER", "BIGINT"})
#: Records from which on delays are told by a sample.
_SAMPLE = 200_000
#: Seconds beyond which a time is a mistake: years 1900 and 2100, as for the months of the lake.
_FIRST, _LAST = -2_429_913_600, 3_881_520_000


class Tally(NamedTuple):
    """Columns, one row a cell that has any record, in order: ``cells`` are numbers of cells.

    ``flagged`` records have a QUALITY other than 0, ``missing`` ones its highest bit: no data.
    """

    cells: Numbers
    records: Numbers
    flagged: Numbers
    missing: Numbers


class Delay(NamedTuple):
    """Of a month ("2014-01"): seconds from a record's time to its DATE, in the middle and for 9 of 10."""

    month: str
    records: int
    median: float
    most: float


class CellCounts:
    """Counts what the index holds of a series."""

    def __init__(self, database: Database, index: Index) -> None:
        self._tables = Tables(database)
        self._index = index

    async def records(self, series: Series, width: int, first: int | None, last: int | None) -> Tally | None:
        """By cells of ``width`` seconds, from ``first`` to ``last``; None for a series without a time."""
        layout, time = self._index.layout(series), time_column(series)
        if time is None:
            return None
        if self._index.view(series) is None:
            return _tally([])
        sql = _records_sql(layout, time, width, first, last)
        return _tally(await self._tables.read(lambda cursor: _columns(cursor, sql, [])))

    async def files(
        self, series: Series, width: int, first: int | None, last: int | None
    ) -> tuple[Numbers, Numbers]:
        """Cells, and how many segment files are held of the records of each."""
        layout, time = self._index.layout(series), time_column(series)
        if time is None or self._index.view(series) is None:
            return _whole([]), _whole([])
        sql = (
            f"SELECT {_cell(time, width)} AS cell, count(*) FROM {layout.table} JOIN ("
            "SELECT recnum, segment FROM mirror.holdings WHERE series = ? AND recnum IS NOT NULL UNION "
            "SELECT recnum, segment FROM mirror.adopted WHERE series = ?) USING (recnum) "
            f"WHERE {_range(time, width, first, last)} GROUP BY cell ORDER BY cell"
        )
        name = series.name.lower()
        found = await self._tables.read(lambda cursor: _columns(cursor, sql, [name, name]))
        return (_whole(found[0]), _whole(found[1])) if found else (_whole([]), _whole([]))

    async def holdings(self, series: Series) -> tuple[int, int]:
        """How many files of records of a series there are, of both kinds: it changes as they come and go."""
        name = series.name.lower()
        sql = (
            "SELECT (SELECT count(*) FROM mirror.holdings WHERE series = ?), "
            "(SELECT count(*) FROM mirror.adopted WHERE series = ?)"
        )
        row = await self._tables.read(lambda cursor: cursor.execute(sql, [name, name]).fetchone())
        return (row[0], row[1]) if row else (0, 0)

    async def delays(self, series: Series) -> list[Delay]:
        """By month; none where records have no DATE. Of many records a sample counts."""
        layout, time = self._index.layout(series), time_column(series)
        made = layout.columns_by_name.get("date")
        if time is None or made is None or made.type != "time" or self._index.view(series) is None:
            return []
        share = max(1, await self._index.count(series) // _SAMPLE)
        sql = _delays_sql(layout, time, share)
        return [Delay(*row) for row in await self._tables.read(lambda c: c.execute(sql).fetchall())]


def _records_sql(layout: Layout, time: str, width: int, first: int | None, last: int | None) -> str:
    quality = layout.columns_by_name.get("quality")
    known = quality is not None and quality.sql_type in _INTEGERS
    flagged = "count(*) FILTER (quality <> 0)" if known else "0"
    # The highest bit: an int shows it by its sign.
    missing = "count(*) FILTER (quality < 0)" if known else "0"
    return (
        f"SELECT {_cell(time, width)} AS cell, count(*), {flagged}, {missing} FROM {layout.table} "
        f"WHERE {_range(time, width, first, last)} GROUP BY cell ORDER BY cell"
    )


def _delays_sql(layout: Layout, time: str, share: int) -> str:
    late = f"date - {quoted(time)}"
    return (
        f"SELECT strftime(DATE '1977-01-01' + {_cell(time, 86400)}, '%Y-%m') AS month, count(*), "
        f"quantile_cont({late}, 0.5), quantile_cont({late}, 0.9) FROM {layout.table} "
        f"WHERE {_range(time, 86400, None, None)} AND date BETWEEN {_FIRST} AND {_LAST} "
        f"AND hash(recnum) % {share} = 0 GROUP BY month ORDER BY month"
    )


def _cell(time: str, width: int) -> str:
    # A time as it prints may lie a thousandth before the cell that it opens.
    return f"CAST(floor(({quoted(time)} + 0.001) / {width}) AS INTEGER)"


def _range(time: str, width: int, first: int | None, last: int | None) -> str:
    low = _FIRST if first is None else first * width - 0.001
    high = _LAST if last is None else (last + 1) * width - 0.001
    return f"{quoted(time)} >= {low} AND {quoted(time)} < {high}"


def _columns(cursor: Cursor, sql: str, values: list[object]) -> list[Numbers]:
    return list(cursor.execute(sql, values).fetchnumpy().values())


def _tally(columns: list[Numbers]) -> Tally:
    return Tally(*(_whole(c) for c in columns)) if columns else Tally(*(_whole([]) for _ in range(4)))


def _whole(values: object) -> Numbers:
    return np.asarray(values, dtype=np.int64)
