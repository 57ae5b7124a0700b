"""What is cached of a series by days and hours, for the heat map: counted once for each version of its records.

The database groups records and files by day or hour, and by month how late records came. From that and the coverage a
row of cells is made, each with how much of it is cached. Cells are of the TAI clock, as record sets name them: cell
``n`` of a width in seconds begins at ``n * width`` after 1977.01.01_TAI.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mirror.api.coverage import Cells, Delays, MonthDelay
from mirror.concurrency import Bounded
from mirror.config.schedule import span
from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.plan import RECNUMS
from mirror.drms.times import from_datetime
from mirror.errors import BadRequest, Refused, UnknownName
from mirror.storage.database.database import Tables
from mirror.storage.index.layout import column_name, quoted
from mirror.storage.lake.columns import time_column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from mirror.config.loading import Subscription
    from mirror.coverage.axis import Axis
    from mirror.drms.series import Series
    from mirror.readthrough.policy import Rules
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout
    Numbers = npt.NDArray[np.int64]
    from collections.abc import Sequence

    import numpy.typing as npt

    Counts = npt.NDArray[np.int64]


DAY, HOUR = 86400, 3600
_EPOCH = date(1977, 1, 1)
#: Shorter runs of empty cells between cached ones are gaps; longer ones lie between two unrelated requests.
LONGEST_HOLE = 7
#: What a cell is.
FULL, PART, GAP, NONE = "f", "p", "g", "-"


def day_number(day: date) -> int:
    """The cell of a day."""
    return (day - _EPOCH).days


def bounds(axis: Axis, first: int, count: int, width: int) -> Counts | None:
    """The first axis value of each of ``count`` cells from ``first`` on, and the one after; None: no time axis."""
    starts = (first + np.arange(count + 1, dtype=np.float64)) * width
    if axis.kind is Kind.MILLISECONDS:
        return (starts * 1000).astype(np.int64)
    if axis.slots is None or not axis.slots.timed:
        return None
    # A slot that begins within a thousandth of its width before a cell counts as beginning with it.
    return np.ceil((starts - axis.slots.epoch) / axis.slots.step - 1e-3).astype(np.int64)


def held_of(edges: Counts, spans: Iterable[tuple[int, int]]) -> Counts:
    """How many axis values of each cell lie in the union of ``spans``, whose both ends are included."""
    first, end = int(edges[0]), int(edges[-1])
    inside = sorted((max(lo, first), min(hi, end - 1)) for lo, hi in spans if hi >= first and lo < end)
    lows, highs = _united(inside)
    if not len(lows):
        return np.zeros(len(edges) - 1, dtype=np.int64)
    sums = np.concatenate(([0], np.cumsum(highs - lows)))
    before = np.searchsorted(lows, edges, side="left")
    over = np.where(before > 0, np.maximum(highs[before - 1] - edges, 0), 0)
    return np.diff(sums[before] - over)


def states(expected: Counts, held: Counts, touched: Counts, wanted: Sequence[bool]) -> str:
    """A letter per cell. ``held`` counts values with every record, ``touched`` those with some of them.

    A gap is a cell of which nothing is cached, and that a subscription wants or that lies in a short hole.
    """
    full = (held >= expected) & (expected > 0)
    something = touched > 0
    gap = ~something & (np.asarray(wanted, dtype=bool) | _in_hole(something))
    letters = np.where(full, FULL, np.where(something, PART, np.where(gap, GAP, NONE)))
    return "".join(letters.tolist())


def _united(spans: Sequence[tuple[int, int]]) -> tuple[Counts, Counts]:
    """Disjoint spans in order, as first values and first values after."""
    lows: list[int] = []
    highs: list[int] = []
    for lo, hi in spans:
        if highs and lo <= highs[-1]:
            highs[-1] = max(highs[-1], hi + 1)
        else:
            lows.append(lo)
            highs.append(hi + 1)
    return np.asarray(lows, dtype=np.int64), np.asarray(highs, dtype=np.int64)


def _in_hole(something: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The empty cells between two others that are not too far from each other."""
    hole = np.zeros(len(something), dtype=bool)
    places = np.flatnonzero(something)
    for left, right in pairwise(places.tolist()):
        if 1 < right - left <= LONGEST_HOLE + 1:
            hole[left + 1 : right] = True
    return hole


_INTEGERS = frozenset({"SMALLINT", "INTEGER", "BIGINT"})
#: Above so many records, delays are taken from a sample.
_SAMPLE = 200_000
#: Seconds beyond which a time is a mistake: years 1900 and 2100, as for the months of the lake.
_FIRST, _LAST = -2_429_913_600, 3_881_520_000


class Tally(NamedTuple):
    """Columns, one row for each cell that has any record, in order: ``cells`` are numbers of cells.

    ``flagged`` records have a QUALITY other than 0, ``missing`` ones its highest bit: no data.
    """

    cells: Numbers
    records: Numbers
    flagged: Numbers
    missing: Numbers


class Delay(NamedTuple):
    """For a month ("2014-01"): seconds from a record's time to its DATE, the median and the 90th percentile."""

    month: str
    records: int
    median: float
    most: float


class CellCounts:
    """Counts what the index has of a series."""

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
        """Cells, and how many segment files are cached of the records of each."""
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
        """How many files of records of a series there are, of both kinds: it changes with them."""
        name = series.name.lower()
        sql = (
            "SELECT (SELECT count(*) FROM mirror.holdings WHERE series = ?), "
            "(SELECT count(*) FROM mirror.adopted WHERE series = ?)"
        )
        row = await self._tables.read(lambda cursor: cursor.execute(sql, [name, name]).fetchone())
        return (row[0], row[1]) if row else (0, 0)

    async def delays(self, series: Series) -> list[Delay]:
        """By month; empty where records have no DATE. If there are many records a sample is used."""
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
    # The highest bit is the sign of an int.
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
    # A printed time may lie a thousandth before the cell that it begins.
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


#: More years than this are not shown at once: the last ones are.
MOST_YEARS = 60
#: Answers that are cached.
_REMEMBERED = 200
_DAY = re.compile(r"(\d{4})[.-](\d\d)[.-](\d\d)")


@dataclass(frozen=True, slots=True)
class _Counted:
    """The database's counts for one question, and the version of the records and number of files that they belong to."""

    version: int
    holdings: tuple[int, int]
    tally: Tally
    files: tuple[Counts, Counts]


class HeatMap:
    """Shows what is cached by cells; ``subscriptions`` gives the configured ones."""

    def __init__(
        self,
        index: Index,
        counts: CellCounts,
        rules: Rules,
        subscriptions: Callable[[], tuple[Subscription, ...]],
    ) -> None:
        self._index = index
        self._counts = counts
        self._rules = rules
        self._subscriptions = subscriptions
        self._known: Bounded[tuple[str, int, int | None, int | None], _Counted] = Bounded(_REMEMBERED)
        self._delays: dict[str, tuple[int, list[MonthDelay]]] = {}

    async def days(self, name: str, year: int | None = None) -> Cells:
        """The days of a year, or of all years with anything cached or wanted."""
        series, axis = self._series(name)
        span_of_year = None if year is None else (_first(year), _first(year + 1) - 1)
        counted = await self._counted(series, DAY, *(span_of_year or (None, None)))
        first, last = span_of_year or self._years(series, axis, counted)
        return self._told(series, axis, DAY, first, last, counted)

    async def hours(self, name: str, day: str) -> Cells:
        """The hours of a day, as in 2014.01.01 or 2014-01-01."""
        series, axis = self._series(name)
        first = day_number(_day(day)) * 24
        counted = await self._counted(series, HOUR, first, first + 23)
        return self._told(series, axis, HOUR, first, first + 23, counted)

    async def delays(self, name: str) -> Delays:
        """By month, the seconds from a record's time to its DATE: the median and the 90th percentile."""
        series, _ = self._series(name)
        version, key = self._index.version(series), series.name.lower()
        if key not in self._delays or self._delays[key][0] != version:
            found = await self._counts.delays(series)
            self._delays[key] = (version, [MonthDelay(**d._asdict()) for d in found])
        return Delays(series=series.name, months=self._delays[key][1])

    # ---- inside ----------------------------------------------------------------------------------

    def _series(self, name: str) -> tuple[Series, Axis]:
        held = self._index.series(name)
        if held is None:
            raise UnknownName(f"the series {name!r} is not cached")
        axis = coverage_axis(held[0])
        if axis is None or axis.place(0.0) is None:
            raise Refused(f"{held[0].name} has no prime key of type time, so it has no days")
        return held[0], axis

    async def _counted(self, series: Series, width: int, first: int | None, last: int | None) -> _Counted:
        """By cells: all of them the first time, later only those in which something has changed."""
        key = (series.name.lower(), width, first, last)
        version, holdings = self._index.version(series), await self._counts.holdings(series)
        known = self._known.recall(key)
        changed = None if known is None else self._changed(series, known.version, width)
        if known is None or changed is None:
            tally, files = await self._tally(series, width, first, last), await self._counts.files(series, width, first, last)
        else:
            tally, files = known.tally, known.files
            low, high = (changed[0] if first is None else max(first, changed[0]), changed[1] if last is None else min(last, changed[1]))
            if low <= high:
                tally = Tally(*_spliced(tally, await self._tally(series, width, low, high), low, high))
            if holdings != known.holdings:
                files = await self._counts.files(series, width, first, last)
            elif low <= high:
                cells, counts = _spliced(files, await self._counts.files(series, width, low, high), low, high)
                files = cells, counts
        self._known[key] = counted = _Counted(version, holdings, tally, files)
        return counted

    async def _tally(self, series: Series, width: int, first: int | None, last: int | None) -> Tally:
        found = await self._counts.records(series, width, first, last)
        assert found is not None, "a series with a time axis has a time"
        return found

    def _changed(self, series: Series, version: int, width: int) -> tuple[int, int] | None:
        """The first and the last cell in which records have changed since a version; None if it may be any."""
        stretches, axis = self._index.changed_since(series, version), coverage_axis(series)
        if not stretches:
            return None if stretches is None else (0, -1)
        if axis is None or axis.slots is None or column_name(axis.key) != time_column(series):
            return None
        begin, end = min(lo for lo, _ in stretches), max(hi for _, hi in stretches)
        # A record's time may differ from that of its slot by less than the slot.
        return int(axis.slots.start(begin - 1) // width), int(axis.slots.start(end + 1) // width)

    def _years(self, series: Series, axis: Axis, counted: _Counted) -> tuple[int, int]:
        """First and last day of the years to show."""
        now = self._rules.now().astimezone(UTC)
        answer = [int(c) for c in (counted.tally.cells[:1], counted.tally.cells[-1:]) for c in c]
        days = [_year(d) for d in answer] + [_year(int(s // DAY)) for s in self._ends(series, axis)]
        sane = [y for y in days if 1900 <= y <= now.year + 1]
        last = max([*sane, now.year])
        first = max(min([*sane, now.year]), last - MOST_YEARS + 1)
        return _first(first), _first(last + 1) - 1

    def _ends(self, series: Series, axis: Axis) -> Iterable[float]:
        """Times at which something cached or wanted begins or ends, in DRMS seconds."""
        for window in self._windows(series):
            yield from window
        for region, spans in self._index.coverage(series):
            if region != RECNUMS:
                for place in (p for s in spans for p in (s.lo, s.hi) if abs(p) < 2**61):
                    yield axis.slots.start(place) if axis.slots else place / 1000

    def _windows(self, series: Series) -> list[tuple[float, float]]:
        """What subscriptions want of a series, in DRMS seconds."""
        now = from_datetime(self._rules.now())
        named = (w for w in self._subscriptions() if w.series.lower() == series.name.lower())
        return [found for w in named if (found := span(w.start, w.end, now)) is not None]

    def _told(
        self, series: Series, axis: Axis, width: int, first: int, last: int, counted: _Counted
    ) -> Cells:
        count = last - first + 1
        edges = bounds(axis, first, count, width)
        assert edges is not None, "the axis has times"
        whole, some = self._spans(series)
        held, touched = held_of(edges, whole), held_of(edges, some)
        # This includes records that were requested by something other than their time.
        records = _row(counted.tally.cells, counted.tally.records, first, count)
        starts = (first + np.arange(count)) * width
        wanted = np.zeros(count, dtype=bool)
        for low, high in self._windows(series):
            wanted |= (starts + width > low) & (starts <= high)
        expected = np.diff(edges)
        return Cells(
            series=series.name,
            key=axis.key,
            before="[]" * [k.name for k in series.primekeys].index(axis.key),
            width=width,
            first=_moment(first * width),
            states=states(expected, held, touched + records, wanted.tolist()),
            expected=expected.tolist(),
            held=held.tolist(),
            touched=touched.tolist(),
            records=records.tolist(),
            flagged=_row(counted.tally.cells, counted.tally.flagged, first, count).tolist(),
            missing=_row(counted.tally.cells, counted.tally.missing, first, count).tolist(),
            files=_row(*counted.files, first, count).tolist(),
        )

    def _spans(self, series: Series) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Spans of which every record is cached, and those of which only some are, for example of one wavelength."""
        whole: list[tuple[int, int]] = []
        some: list[tuple[int, int]] = []
        for region, spans in self._index.coverage(series):
            if region == RECNUMS:
                continue
            found = [(s.lo, s.hi) for s in spans]
            some += found
            if all(restriction is None for restriction in region.others):
                whole += found
        return whole, some


def _row(cells: Counts, values: Counts, first: int, count: int) -> Counts:
    """The values of ``count`` cells from ``first`` on; 0 where there are none."""
    row = np.zeros(count, dtype=np.int64)
    inside = (cells >= first) & (cells < first + count)
    row[cells[inside] - first] = values[inside]
    return row


def _spliced(whole: Sequence[Counts], part: Sequence[Counts], low: int, high: int) -> list[Counts]:
    """Columns, the first of which are cells in order, with the part from ``low`` to ``high`` replaced."""
    before, after = np.searchsorted(whole[0], [low, high + 1])
    return [np.concatenate((w[:before], p, w[after:])) for w, p in zip(whole, part, strict=True)]


def _day(text: str) -> date:
    found = _DAY.fullmatch(text)
    try:
        return date(*map(int, found.groups())) if found else date.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"day = {text!r}; expected a day such as 2014.01.01") from None


def _first(year: int) -> int:
    if not 1900 <= year <= 2100:
        raise BadRequest(f"year is {year}; expected one from 1900 to 2099")
    return day_number(date(year, 1, 1))


def _year(day: int) -> int:
    try:
        return (date(1977, 1, 1) + timedelta(days=day)).year
    except OverflowError:
        return 0


def _moment(seconds: int) -> str:
    """The beginning of a cell by the TAI clock, as ``2014-01-01T00:00:00``."""
    return (datetime(1977, 1, 1) + timedelta(seconds=seconds)).isoformat()  # noqa: DTZ001  (TAI has no tzinfo)
