"""Spans of coverage in words, to tell people what is held and what is not. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.coverage.axis import coverage_axis
from mirror.coverage.coverage import Between
from mirror.coverage.intervals import MAX, MIN
from mirror.coverage.plan import RECNUMS, other_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.coverage.coverage import Box, Region
    from mirror.coverage.intervals import Steps
    from mirror.drms.series import Series

#: Spans that a sentence lists; the others are counted.
NAMED_SPANS = 5


def describe(series: Series, boxes: Iterable[Box]) -> str:
    """The spans of boxes, the first few written out: ``2014.01.01_00:00:00_TAI to ... (80 slots)``."""
    texts = [text for box in boxes for text in _texts(series, box)]
    more = f"; and {len(texts) - NAMED_SPANS:,} more" if len(texts) > NAMED_SPANS else ""
    return "; ".join(texts[:NAMED_SPANS]) + more


def restriction(series: Series, region: Region) -> str:
    """A region's restriction as in a record set: ``WAVELNTH=171``; "" for all records."""
    if region == RECNUMS:
        return "by record number"
    parts = [
        _between(key, r) if isinstance(r, Between) else f"{key}={r}"
        for key, r in zip(other_keys(series), region.others, strict=True)
        if r is not None
    ]
    return " ".join([*parts, *(["all versions"] if region.all_versions else [])])


def _between(key: str, r: Between) -> str:
    """``HARPNUM=377``, ``HARPNUM=377-401``; an open end in words."""
    if r.lo <= MIN:
        return f"{key} up to {r.hi}"
    if r.hi >= MAX:
        return f"{key} from {r.lo} on"
    return f"{key}={r.lo}" if r.lo == r.hi else f"{key}={r.lo}-{r.hi}"


def ends(series: Series, region: Region, lo: int, hi: int) -> tuple[str | None, str | None]:
    """The first and last value of a span as the key prints them; None for an open end."""
    axis = None if region == RECNUMS else coverage_axis(series)
    text = str if axis is None else axis.text
    return None if lo <= MIN else text(lo), None if hi >= MAX else text(hi)


def _texts(series: Series, box: Box) -> list[str]:
    if box.region == RECNUMS:
        return [f"records {_along(series, box.region, s)}" for s in box.steps]
    limits = restriction(series, box.region)
    within = f", {limits}" if limits else ""
    return [_along(series, box.region, s) + within for s in box.steps]


def _along(series: Series, region: Region, s: Steps) -> str:
    first, last = ends(series, region, s.lo, s.hi)
    axis = None if region == RECNUMS else coverage_axis(series)
    named = "" if axis is None else f"{axis.key} "
    if first is None and last is None:
        return f"all of {axis.key}" if axis else "all records"
    if first is None:
        return f"{named}up to {last}"
    if last is None:
        return f"{named}from {first} on"
    if s.lo == s.hi:
        return f"{named}{first}"
    return f"{named}{first} to {last}{_number(axis is not None and axis.slots is not None, s)}"


def _number(slotted: bool, s: Steps) -> str:
    if s.step > 1:
        return f" (every {s.step}th, {len(s):,} in all)"
    return f" ({len(s):,} slots)" if slotted else ""
