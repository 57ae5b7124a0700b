"""What a record set lacks, and filling it, as people see it. Everything given is plain JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mirror.coverage.wording import ends, restriction
from mirror.drms.parser import parse_query
from mirror.drms.recordset import RecordSetQuery
from mirror.humanize import stamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.coverage.coverage import Box
    from mirror.drms.series import Series
    from mirror.services.estimates.estimates import Estimates
    from mirror.services.fills.fills import FillJob, Fills

#: Gaps that are listed one by one; of the rest there are the sums.
MOST_LISTED = 500


class Filling:
    """Looks for gaps, and has them filled."""

    def __init__(self, fills: Fills, estimates: Estimates) -> None:
        self._fills = fills
        self._estimates = estimates

    async def gaps(self, ds: str) -> dict[str, Any]:
        """The parts of a record set that are not held completely."""
        return _listed(await self._fills.gaps(ds))

    async def fill(self, ds: str, by: str) -> dict[str, Any]:
        """Begin to fetch what is missing of a record set: that, and the fill. Raises as ``Fills.start``."""
        missing = _listed(await self._fills.gaps(ds))
        return {**missing, **fill_line(await self._fills.start(ds, by))}

    async def estimate(self, ds: str) -> dict[str, Any]:
        """What a fill of a record set would fetch, and how much that is: records only, whatever segments it names."""
        missing = _listed(await self._fills.gaps(ds))
        sets = tuple(replace(part, segments=None) for part in parse_query(ds).sets)
        return {**missing, "estimate": (await self._estimates.estimate(str(RecordSetQuery(sets)))).plain()}


def fill_line(job: FillJob) -> dict[str, Any]:
    """A fill with the members that every job has."""
    left = job.seconds_left
    waits = {"why": job.error, "next_try": stamp(job.next_try)} if job.next_try is not None else None
    return {
        "id": job.id,
        "kind": "fill",
        "state": job.state,
        "ready": job.records,
        "total": job.total or 0,
        "counted": "records",
        "seconds_left": None if left is None else round(left),
        "bytes": 0,
        "ds": job.ds,
        "by": job.by,
        "created": stamp(job.created),
        "updated": stamp(job.updated),
        "error": job.error,
        "waits": waits,
        "notes": [],
        "files": [],
    }


def _listed(found: Sequence[tuple[Series, Box]]) -> dict[str, Any]:
    lines = [line for series, box in found for line in _lines(series, box)]
    slots = [line["slots"] for line in lines]
    return {
        "gaps": lines[:MOST_LISTED],
        "count": len(lines),
        "slots": None if None in slots else sum(slots),
    }


def _lines(series: Series, box: Box) -> Iterator[dict[str, Any]]:
    for steps in box.steps:
        first, last = ends(series, box.region, steps.lo, steps.hi)
        yield {
            "series": series.name,
            "restriction": restriction(series, box.region),
            "first": first,
            "last": last,
            "slots": len(steps) if box.bounded else None,
        }
