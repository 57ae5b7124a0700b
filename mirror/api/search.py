"""Searches and series, and help with writing record sets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from mirror.api.contract import (
    UNSET,
    Answer,
    Asked,
    Endpoint,
    Names,
    Nothing,
    RecordSets,
    UnsetType,
    Whole,
)

#: How an answer came about.
Plan = Literal["local", "filled", "forwarded", "stale"]


class SearchQuery(Asked, frozen=True, kw_only=True):
    """As for rs_list: ``key``, ``seg`` and ``link``: names with commas; ``n``: the first or, below 0, last records."""

    EMPTY = frozenset({"where"})

    ds: RecordSets
    key: Names = ""
    seg: Names = ""
    link: Names = ""
    n: Whole | None = None
    where: Annotated[
        str | None, Meta(description="a condition in SQL over the keywords", examples=["QUALITY = 0"])
    ] = None


class Found(Answer, frozen=True, kw_only=True):
    """A row per record, a value per column, as JSOC prints them. ``age_seconds``: since a stale answer's last check.

    ``types`` and ``units`` of the columns are from the structure: int, float, time and so on; "" for no unit.
    ``note`` explains an answer without records.
    """

    columns: list[str]
    types: list[str] | UnsetType = UNSET
    units: list[str] | UnsetType = UNSET
    rows: list[tuple[str | int, ...]]
    count: int
    plan: Plan
    age_seconds: int | UnsetType = UNSET
    note: str | UnsetType = UNSET

    @property
    def kinds(self) -> list[str]:
        """The types of the columns; from an older mirror, which does not send them, all are text."""
        return ["string"] * len(self.columns) if self.types is UNSET else self.types

    @property
    def units_of(self) -> list[str]:
        """The units of the columns, "" for none."""
        return [""] * len(self.columns) if self.units is UNSET else self.units


class SeriesLine(Answer, frozen=True, kw_only=True):
    """A known series, with the number of cached records."""

    series: str
    records: int
    primekeys: list[str]
    keywords: int
    segments: list[str]
    note: str


class CheckQuery(Asked, frozen=True, kw_only=True):
    """The text to check."""

    ds: Annotated[str, Meta(description="a record set", examples=["hmi.v_45s[$]"])] = ""


class SetOutlook(Answer, frozen=True, kw_only=True):
    """What a search for one record set would find here, and what it would ask JSOC for.

    ``held`` records match already. Of ``slots`` (null: unknown) ``missing`` are not cached and ``stale`` are due for
    a check. ``text`` says it for people.
    """

    series: str
    held: int
    plan: str
    slots: int | None
    missing: int | None
    stale: int | None
    text: str


class Checked(Answer, frozen=True, kw_only=True):
    """Right, with the outlook of each record set; or what is wrong, what was expected, and where (null: unknown)."""

    ok: bool
    ds: str
    sets: list[SetOutlook] | UnsetType = UNSET
    error: str | UnsetType = UNSET
    expected: str | UnsetType = UNSET
    position: int | UnsetType | None = UNSET


class NamesQuery(Asked, frozen=True, kw_only=True):
    """What was typed."""

    q: str = ""


class KnownName(Answer, frozen=True, kw_only=True):
    """A series; ``known``: its structure is cached."""

    series: str
    note: str
    known: bool


SEARCH = Endpoint(
    method="GET", path="/api/search", role="read", asked=SearchQuery, answer=Found,
    text="Records of a record set, as rows. Without names: the prime keys. With `where` only the records for which "
    "this condition in SQL is true. Missing records are fetched from JSOC.",
)  # fmt: skip
SERIES = Endpoint(
    method="GET", path="/api/series", role="read", asked=Nothing, answer=list[SeriesLine],
    text="The cached series.",
)  # fmt: skip
CHECK_QUERY = Endpoint(
    method="GET", path="/api/check-query", role="read", asked=CheckQuery, answer=Checked,
    text="Checks a record set: what a search would fetch, or what is wrong and where.",
)  # fmt: skip
BUILD_QUERY = Endpoint(
    method="GET", path="/api/build-query", role="read", asked=Nothing, answer=Checked,
    text="The form of the search page's builder (`b.series`, `b.where`, `b.seg`, `v.KEY`, `start.KEY`, `end.KEY`, "
    "`length.KEY`, `step.KEY`): the record set that it makes, checked.",
)  # fmt: skip
NAMES = Endpoint(
    method="GET", path="/api/names", role="read", asked=NamesQuery, answer=list[KnownName],
    text="The series that have `q` in their names or notes, those known here first.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (SEARCH, SERIES, CHECK_QUERY, BUILD_QUERY, NAMES)
