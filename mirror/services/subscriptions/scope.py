"""What a subscription means in its series, at one moment. Pure: a subscription and a structure in, boxes and scopes out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.config.schedule import span
from mirror.coverage.axis import coverage_axis
from mirror.coverage.coverage import Box, Coverage, Freshness
from mirror.coverage.intervals import Steps
from mirror.coverage.plan import Forward, need
from mirror.drms.recordset import Bracket, RecordSet, Where
from mirror.drms.selection import bind
from mirror.errors import Refused, UnknownName
from mirror.services.subscriptions.holdings import Scope
from mirror.services.subscriptions.window import newest, slots_between
from mirror.upstream.pacing import Priority

if TYPE_CHECKING:
    from mirror.config.loading import Subscription
    from mirror.coverage.axis import Axis
    from mirror.drms.recordset import Filter, Selection
    from mirror.drms.series import Series

ALL = "all"
PRIORITIES = {"high": Priority.SOON, "normal": Priority.SUBSCRIPTION, "low": Priority.SPARE}


@dataclass(frozen=True, slots=True)
class Target:
    """A window, in slots: the boxes to hold, and the records and files in them. None of it: it is empty."""

    series: Series
    boxes: tuple[Box, ...]
    scope: Scope


@dataclass(frozen=True, slots=True)
class NextFetch:
    """What is asked for next: of one box, that is missing or to be checked."""

    missing: tuple[Box, ...] = ()
    stale: tuple[Box, ...] = ()


def target(subscription: Subscription, series: Series, now: float) -> Target | None:
    """What a subscription is about at ``now``, in DRMS seconds; None while its window is empty.

    Raises BadRequest for a series without times, and for keys, segments and conditions it does not have.
    """
    axis = _axis(subscription, series)
    window = _steps(subscription, axis, now, None)
    # Bound even if nothing is to be had yet: what is wrong is told at once.
    anyway = window or Steps(0, 0)
    keys = tuple(_key(subscription, axis, key, text) for key, text in subscription.keys)
    records = _selection(series, (axis.bracket((anyway,)), *keys))
    where = (Where(subscription.where),) if subscription.where else ()
    segments = _segments(subscription, series)
    _selection(series, (*keys, *where))
    kept = _steps(subscription, axis, now, subscription.keep if subscription.keep not in (None, math.inf) else None)
    files = _selection(series, (axis.bracket((kept,)), *keys, *where)) if kept and segments else None
    if window is None:
        return None
    boxes = need(records)
    if isinstance(boxes, Forward):
        raise Refused(f"a subscription of {records.source} is not served: {boxes.reason}")
    return Target(series, boxes, Scope(subscription.identity, records, files, segments, subscription.protocol == "fits"))


def next_piece(boxes: tuple[Box, ...], coverage: Coverage, freshness: Freshness, slots: int) -> NextFetch | None:
    """The newest part that is missing, else the newest that must be checked again; None if there is none."""
    if missing := newest((gap for box in boxes for gap in coverage.gaps(box)), slots):
        return NextFetch(missing=(missing,))
    stale = newest((old for box in boxes for old in coverage.stale(box, freshness)), slots)
    return None if stale is None else NextFetch(stale=(stale,))


def edges(boxes: tuple[Box, ...], last: int | None) -> tuple[Box, ...]:
    """The parts of boxes after the axis value ``last``, where new data appear."""
    if last is None:
        return ()
    after = ((box, tuple(c for s in box.steps if (c := s.cut(last + 1, s.hi)))) for box in boxes)
    return tuple(replace(box, steps=steps) for box, steps in after if steps)


def looking(freshness: Freshness, every: float) -> Freshness:
    """The same, where checks of young data may be no older than ``every`` seconds."""
    return replace(freshness, young_age=min(freshness.young_age, every))


def _axis(subscription: Subscription, series: Series) -> Axis:
    axis = coverage_axis(series)
    if axis is None or axis.place(0.0) is None:
        raise Refused(f"{series.name} has no prime key that is a time; expected one for start and end")
    if subscription.step is not None and axis.slots is None:
        raise Refused(f'{axis.key} of {series.name} has no slots; expected step = "all"')
    return axis


def _steps(subscription: Subscription, axis: Axis, now: float, keep: float | None) -> Steps | None:
    """The slots of the window, or of its last ``keep`` seconds."""
    ends = span(subscription.start, subscription.end, now)
    if ends is None:
        return None
    first, last = (axis.place(end) for end in ends)
    assert first is not None
    assert last is not None
    stride = 1
    if subscription.step is not None and axis.slots is not None:
        stride = max(1, axis.slots.stride(subscription.step))
    steps = slots_between(first, last, stride, anchored=subscription.start.time is not None)
    if steps is None or keep is None:
        return steps
    oldest = axis.place(now - keep)
    assert oldest is not None
    return steps.cut(max(oldest, steps.lo), steps.hi)


def _key(subscription: Subscription, axis: Axis, key: str, text: str) -> Bracket:
    if key.lower() in (axis.key.lower(), axis.column.lower()):
        raise Refused(f"keys names {key}; expected start, end and step for it")
    return Bracket(text, key)


def _selection(series: Series, filters: tuple[Filter, ...]) -> Selection:
    return bind(RecordSet(series.name, filters), series)


def _segments(subscription: Subscription, series: Series) -> tuple[str, ...]:
    if [name.lower() for name in subscription.segments] == [ALL]:
        return tuple(s.name.lower() for s in series.segments)
    for name in subscription.segments:
        if series.segment(name) is None:
            known = ", ".join(s.name for s in series.segments)
            raise UnknownName(f"{series.name} has no segment {name!r}; expected some of {known}, or ALL")
    return tuple(dict.fromkeys(name.lower() for name in subscription.segments))
