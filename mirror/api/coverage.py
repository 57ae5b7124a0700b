"""What is cached, by span, day and hour, and how late records come."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from mirror.api.contract import Answer, Asked, Endpoint, RecordSets, SeriesName


class CoverageQuery(Asked, frozen=True, kw_only=True):
    """One series, by default all. ``folded``: ranges that repeat at a fixed distance are one line."""

    series: Annotated[str | None, Meta(description="a series", examples=["hmi.v_45s"])] = None
    folded: bool = False


class Span(Answer, frozen=True, kw_only=True):
    """A range of which every record is cached; ``first`` and ``last`` null: without bound. ``checked_at`` in Unix seconds.

    It has ``records`` records, and begins and ends with one. Or a range over which an ``answer`` of JSOC is kept
    (condition, records, count or body), to the question in ``condition``; ``records`` are those it names, null for a
    count or a body. A folded line has ``every``, the distance of its ranges, and ``slots``, all their slots together.
    """

    series: str
    restriction: str
    first: str | None
    last: str | None
    slots: int | None
    checked_at: float
    every: str | UnsetType = UNSET
    records: int | UnsetType | None = UNSET
    answer: str | UnsetType = UNSET
    condition: str | UnsetType = UNSET


class DaysQuery(Asked, frozen=True, kw_only=True):
    """Without ``year``, all years of which anything is cached or wanted."""

    series: SeriesName
    year: Annotated[str | None, Meta(description="a year", examples=["2014"])] = None


class HoursQuery(Asked, frozen=True, kw_only=True):
    """A day of a series."""

    series: SeriesName
    day: Annotated[str, Meta(description="a day", examples=["2014.01.01"])]


class DelaysQuery(Asked, frozen=True, kw_only=True):
    """A series."""

    series: SeriesName


class Cells(Answer, frozen=True, kw_only=True):
    """Days or hours in a row, ``width`` seconds each, from ``first`` on by the TAI clock; one figure per cell.

    ``states`` has a letter per cell: f full, p part, g gap, - nothing. Of ``expected`` slots, ``held`` have every
    record and ``touched`` some. ``flagged`` records have a QUALITY other than 0, ``missing`` ones no data.
    ``before`` precedes the bracket of ``key`` in a record set.
    """

    series: str
    key: str
    before: str
    width: int
    first: str
    states: str
    expected: list[int]
    held: list[int]
    touched: list[int]
    records: list[int]
    flagged: list[int]
    missing: list[int]
    files: list[int]


class MonthDelay(Answer, frozen=True, kw_only=True):
    """Seconds from a record's time to its DATE: the median, and the bound for 9 of 10 records."""

    month: str
    records: int
    median: float
    most: float


class Delays(Answer, frozen=True, kw_only=True):
    """How late the records of a series came, by month."""

    series: str
    months: list[MonthDelay]


class GapsQuery(Asked, frozen=True, kw_only=True):
    """A record set."""

    ds: RecordSets


class Gap(Answer, frozen=True, kw_only=True):
    """A span that is not cached; ``slots`` null: without bound."""

    series: str
    restriction: str
    first: str | None
    last: str | None
    slots: int | None


class Gaps(Answer, frozen=True, kw_only=True):
    """What is missing: the first gaps, their number, and all their slots together (null: without bound)."""

    gaps: list[Gap]
    count: int
    slots: int | None


COVERAGE = Endpoint(
    method="GET", path="/api/coverage", role="read", asked=CoverageQuery, answer=list[Span],
    text="Ranges that are fully cached, of one `series` or all.",
)  # fmt: skip
DAYS = Endpoint(
    method="GET", path="/api/coverage/days", role="read", asked=DaysQuery, answer=Cells,
    text="The days of a year: state, slots expected and cached, records, files. Without `year`: all years.",
)  # fmt: skip
HOURS = Endpoint(
    method="GET", path="/api/coverage/hours", role="read", asked=HoursQuery, answer=Cells,
    text="The same for the hours of a day.",
)  # fmt: skip
DELAYS = Endpoint(
    method="GET", path="/api/coverage/delays", role="read", asked=DelaysQuery, answer=Delays,
    text="Seconds from a record's time to when it was made, by month.",
)  # fmt: skip
GAPS = Endpoint(
    method="GET", path="/api/gaps", role="read", asked=GapsQuery, answer=Gaps,
    text="What is missing of a record set.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (COVERAGE, DAYS, HOURS, DELAYS, GAPS)
