"""Large fetches of records, and how much something is before it is fetched."""

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
    """A record set; with ``dry_run`` only how much it is."""

    ds: RecordSets
    dry_run: bool = False


class EstimateQuery(Asked, frozen=True, kw_only=True):
    """``seg``: names, or ALL, for files; ``n`` at most of each record set; ``export``: as an export has them."""

    ds: RecordSets
    seg: Names = ""
    n: Whole | None = None
    export: bool = False


class Estimate(Answer, frozen=True, kw_only=True):
    """What is not held and would be asked of JSOC; the whole of it, held or not, is in ``total_``.

    null: nobody can tell; ``notes`` say why. ``seconds`` is from the first request to the last byte. ``counted`` is
    false where the number of records is a guess. ``size_from`` says where the size of a file comes from: "held"
    files, the sizes that "records" tell, the "structure" (the most that they can have), or "". ``text`` says it all.
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
    """What is missing of a record set: gaps, how many there are, their slots.

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
