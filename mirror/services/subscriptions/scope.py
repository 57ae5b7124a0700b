"""What a subscription means in its series at one moment: which slots come next, and when to look again. Pure.

A subscription and a structure in, boxes and scopes out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.config.schedule import FIRST_PAUSE, LONGEST_PAUSE, span
from mirror.coverage.axis import coverage_axis
from mirror.coverage.coverage import Box, Coverage, Freshness
from mirror.coverage.intervals import Steps
from mirror.coverage.plan import Forward, need
from mirror.drms.recordset import Bracket, RecordSet, Where
from mirror.drms.selection import bind
from mirror.errors import Refused, UnknownName
from mirror.services.subscriptions.holdings import Scope
from mirror.upstream.pacing import Priority

if TYPE_CHECKING:
    from mirror.config.loading import Subscription
    from mirror.coverage.axis import Axis
    from mirror.coverage.coverage import Box
    from mirror.drms.recordset import Filter, Selection
    from mirror.drms.series import Series


def slots_between(first: int, last: int, stride: int, *, anchored: bool) -> Steps | None:
    """Every ``stride``-th slot of a window, counted from its first; None if there is none.

    A moving window is not ``anchored``: there multiples of the stride count, so that it picks the same slots at any
    time.
    """
    if not anchored and stride > 1:
        first += -first % stride
    if first > last:
        return None
    return Steps(first, first + (last - first) // stride * stride, stride if first + stride <= last else 1)


def newest(boxes: Iterable[Box], slots: int) -> Box | None:
    """The last ``slots`` axis values, at most, of the box that reaches furthest; None if there is no box."""
    box = max(boxes, key=lambda b: max(s.hi for s in b.steps), default=None)
    if box is None:
        return None
    parts: list[Steps] = []
    for steps in sorted(box.steps, key=lambda s: -s.hi):
        part = _tail(steps, slots)
        parts.append(part)
        slots -= len(part)
        if slots <= 0:
            break
    return replace(box, steps=tuple(reversed(parts)))


def _tail(steps: Steps, slots: int) -> Steps:
    return steps if len(steps) <= slots else replace(steps, lo=steps.hi - (slots - 1) * steps.step)


def pause(failures: int, chance: float) -> float:
    """Seconds to leave something alone after so many failures in a row; ``chance`` is spread over 0 to 1."""
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 30))
    return longest * (0.5 + 0.5 * chance)


def time_left(files: int, size: int, per_second: float) -> float | None:
    """Seconds that so many files of a typical ``size`` take at a rate; None if unknown."""
    if not files:
        return 0.0
    return files * size / per_second if per_second > 0 and size > 0 else None


ALL = "all"
PRIORITIES = {"high": Priority.SOON, "normal": Priority.SUBSCRIPTION, "low": Priority.SPARE}


@dataclass(frozen=True, slots=True)
class Target:
    """A window, in slots: its boxes, and the records and files in them. If it has none, it is empty."""

    series: Series
    boxes: tuple[Box, ...]
    scope: Scope


@dataclass(frozen=True, slots=True)
class NextFetch:
    """What is fetched next: a part of one box that is missing or must be checked."""

    missing: tuple[Box, ...] = ()
    stale: tuple[Box, ...] = ()


def target(subscription: Subscription, series: Series, now: float) -> Target | None:
    """What a subscription is about at ``now``, in DRMS seconds; None while its window is empty.

    Raises BadRequest for a series without times, and for keys, segments and conditions that it does not have.
    """
    axis = _axis(subscription, series)
    window = _steps(subscription, axis, now, None)
    # Bound even if nothing is available yet, so that errors show at once.
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
