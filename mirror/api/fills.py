"""Large fetches of records, and estimates of what a fetch would cost."""

from __future__ import annotations

from typing import Any, Literal

from mirror.api.contract import (
    UNSET,
    Answer,
    Asked,
    Endpoint,
    Names,
    RecordSets,
    Stamp,
    UnsetType,
    Whole,
)
from mirror.api.coverage import Gap
from mirror.api.exports import JobFile, Kind, Waits


class FillBody(Asked, frozen=True, kw_only=True):
    """A record set; with ``dry_run`` only an estimate."""

    ds: RecordSets
    dry_run: bool = False


class EstimateQuery(Asked, frozen=True, kw_only=True):
    """``seg``: names, or ALL, for files; ``n`` at most of each record set; ``export``: as an export has them."""

    ds: RecordSets
    seg: Names = ""
    n: Whole | None = None
    export: bool = False


class Estimate(Answer, frozen=True, kw_only=True):
    """What is not cached and would be requested from JSOC; totals, cached or not, are in ``total_``.

    null: unknown; ``notes`` say why. ``seconds`` is from the first request to the last byte. ``counted`` is false if
    the number of records is a guess. ``size_from`` is the source of file sizes: "held" files, the sizes in "records",
    the "structure" (the most that they can have), or "". ``text`` says it all for people.
    """

    records: int | None
    files: int | None
    bytes: int | None
    seconds: float | None
    total_records: int | None
    total_files: int | None
    held_bytes: int
    counted: bool
    size_from: str
    notes: list[str]
    text: str


class Fill(Answer, frozen=True, kw_only=True):
    """What is missing of a record set: gaps, their number, their slots.

    With ``dry_run`` an ``estimate``; else the members of the job that fetches it.
    """

    gaps: list[Gap]
    count: int
    slots: int | None
    estimate: Estimate | UnsetType = UNSET
    id: str | UnsetType = UNSET
    kind: Kind | UnsetType = UNSET
    by: str | UnsetType | None = UNSET
    state: str | UnsetType = UNSET
    ready: int | UnsetType = UNSET
    total: int | UnsetType = UNSET
    counted: Literal["files", "records"] | UnsetType = UNSET
    seconds_left: int | UnsetType | None = UNSET
    bytes: int | UnsetType = UNSET
    ds: str | UnsetType = UNSET
    created: Stamp | UnsetType = UNSET
    updated: Stamp | UnsetType = UNSET
    error: str | UnsetType | None = UNSET
    waits: Waits | UnsetType | None = UNSET
    notes: list[str] | UnsetType = UNSET
    files: list[JobFile] | UnsetType = UNSET


FILL = Endpoint(
    method="POST", path="/api/fill", role="export", asked=FillBody, answer=Fill, status=202,
    text="Start a job that fetches what is missing of a record set; with `dry_run` only its size, with code 200.",
)  # fmt: skip
ESTIMATE = Endpoint(
    method="GET", path="/api/estimate", role="read", asked=EstimateQuery, answer=Estimate,
    text="What a fill or an export would fetch from JSOC. An export is of all segments where none is named, and only of "
    "records that have an image.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (FILL, ESTIMATE)
