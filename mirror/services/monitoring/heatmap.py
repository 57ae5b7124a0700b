"""What is held of a series by days and hours, for the heat map: plain JSON, counted once for each edition."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from mirror.config.schedule import span
from mirror.coverage.axis import coverage_axis
from mirror.coverage.cells import DAY, HOUR, bounds, day_number, held_of, states
from mirror.coverage.plan import RECNUMS
from mirror.drms.times import from_datetime
from mirror.errors import BadRequest, NotHeld, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mirror.config.loading import Subscription
    from mirror.coverage.axis import Axis
    from mirror.coverage.cells import Counts
    from mirror.drms.series import Series
    from mirror.readthrough.policy import Rules
    from mirror.services.monitoring.cell_counts import CellCounts, Tally
    from mirror.storage.index.index import Index

#: More years than this are not shown at once: the last ones are.
MOST_YEARS = 60
#: Answers that are remembered.
_REMEMBERED = 200
_DAY = re.compile(r"(\d{4})[.-](\d\d)[.-](\d\d)")


@dataclass(frozen=True, slots=True)
class _Counted:
    """What the database counted for one question, and of which state of the store."""

    state: tuple[int, ...]
    tally: Tally
    files: tuple[Counts, Counts]


class HeatMap:
    """Tells what is held by cells; ``subscriptions`` gives the wishes that hold."""

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
        self._known: dict[tuple[str, int, int | None, int | None], _Counted] = {}
        self._delays: dict[str, tuple[int, list[dict[str, Any]]]] = {}

    async def days(self, name: str, year: int | None = None) -> dict[str, Any]:
        """The days of a year, or of all years of which anything is held or wanted."""
        series, axis = self._series(name)
        span_of_year = None if year is None else (_first(year), _first(year + 1) - 1)
        counted = await self._counted(series, DAY, *(span_of_year or (None, None)))
        first, last = span_of_year or self._years(series, axis, counted)
        return self._told(series, axis, DAY, first, last, counted)

    async def hours(self, name: str, day: str) -> dict[str, Any]:
        """The hours of a day, as in 2014.01.01 or 2014-01-01."""
        series, axis = self._series(name)
        first = day_number(_day(day)) * 24
        counted = await self._counted(series, HOUR, first, first + 23)
        return self._told(series, axis, HOUR, first, first + 23, counted)

    async def delays(self, name: str) -> dict[str, Any]:
        """By month, the seconds from a record's time to its DATE: in the middle, and for 9 of 10 records."""
        series, _ = self._series(name)
        edition, key = self._index.edition(series), series.name.lower()
        if key not in self._delays or self._delays[key][0] != edition:
            found = await self._counts.delays(series)
            self._delays[key] = (edition, [d._asdict() for d in found])
        return {"series": series.name, "months": self._delays[key][1]}

    # ---- inside ----------------------------------------------------------------------------------

    def _series(self, name: str) -> tuple[Series, Axis]:
        held = self._index.series(name)
        if held is None:
            raise NotHeld(f"the series {name!r} is not held", (name,))
        axis = coverage_axis(held[0])
        if axis is None or axis.place(0.0) is None:
            raise Refused(f"{held[0].name} has no prime key that is a time: it has no days")
        return held[0], axis

    async def _counted(self, series: Series, width: int, first: int | None, last: int | None) -> _Counted:
        key = (series.name.lower(), width, first, last)
        state = (self._index.edition(series), *await self._counts.holdings(series))
        known = self._known.get(key)
        if known is None or known.state != state:
            tally = await self._counts.records(series, width, first, last)
            assert tally is not None, "a series with a time axis has a time"
            known = _Counted(state, tally, await self._counts.files(series, width, first, last))
            while len(self._known) >= _REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = known
        return known

    def _years(self, series: Series, axis: Axis, counted: _Counted) -> tuple[int, int]:
        """First and last day of the years to show."""
        now = self._rules.now().astimezone(UTC)
        told = [int(c) for c in (counted.tally.cells[:1], counted.tally.cells[-1:]) for c in c]
        days = [_year(d) for d in told] + [_year(int(s // DAY)) for s in self._ends(series, axis)]
        sane = [y for y in days if 1900 <= y <= now.year + 1]
        last = max([*sane, now.year])
        first = max(min([*sane, now.year]), last - MOST_YEARS + 1)
        return _first(first), _first(last + 1) - 1

    def _ends(self, series: Series, axis: Axis) -> Iterable[float]:
        """Moments at which something that is held or wanted begins or ends, in DRMS seconds."""
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
    ) -> dict[str, Any]:
        count = last - first + 1
        edges = bounds(axis, first, count, width)
        assert edges is not None, "the axis has times"
        whole, some = self._spans(series)
        held, touched = held_of(edges, whole), held_of(edges, some)
        # Records that were asked for by other ways than their time are there too.
        records = _row(counted.tally.cells, counted.tally.records, first, count)
        starts = (first + np.arange(count)) * width
        wanted = np.zeros(count, dtype=bool)
        for low, high in self._windows(series):
            wanted |= (starts + width > low) & (starts <= high)
        expected = np.diff(edges)
        return {
            "series": series.name,
            "key": axis.key,
            "before": "[]" * [k.name for k in series.primekeys].index(axis.key),
            "width": width,
            "first": _moment(first * width),
            "states": states(expected, held, touched + records, wanted.tolist()),
            "expected": expected.tolist(),
            "held": held.tolist(),
            "touched": touched.tolist(),
            "records": records.tolist(),
            "flagged": _row(counted.tally.cells, counted.tally.flagged, first, count).tolist(),
            "missing": _row(counted.tally.cells, counted.tally.missing, first, count).tolist(),
            "files": _row(*counted.files, first, count).tolist(),
        }

    def _spans(self, series: Series) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Spans of which every record is held, and those of which some are: of one wavelength, say."""
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


def _day(text: str) -> date:
    found = _DAY.fullmatch(text)
    try:
        return date(*map(int, found.groups())) if found else date.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"day is {text!r}; expected one such as 2014.01.01") from None


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
