"""How a subscription is doing, in figures: what it has, what is left, and how long that takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.errors import StorageError
from mirror.humanize import stamp
from mirror.services.subscriptions.holdings import Tally
from mirror.services.subscriptions.window import time_left

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mirror.services.subscriptions.worker import Worker, WorkerParts


@dataclass(frozen=True, slots=True)
class Estimate:
    """How many records and files there will be, as far as those that are held tell."""

    records: int
    files: int


def estimate(tally: Tally, slots: int, missing: int, segments: int) -> Estimate:
    """Of ``slots`` axis values ``missing`` are not held; the rest are taken to be like those that are."""
    covered = slots - missing
    density = tally.records / covered if covered and tally.records else 1.0
    records = tally.records + round(missing * density)
    share = tally.with_files / tally.records if tally.records else 1.0
    return Estimate(records, (tally.with_files + round(missing * density * share)) * segments)


async def report(worker: Worker, parts: WorkerParts) -> dict[str, Any]:
    """A subscription as plain JSON. Sizes are bytes, ``rate`` bytes a second; times are as dates."""
    subscription, state, memory = worker.subscription, worker.state, worker.memory
    now = parts.rules.timestamp()
    tally, wanted = await _figures(worker, parts)
    segments = len(worker.target.scope.segments) if worker.target else 0
    wanted_files = max(tally.files, wanted.files - len(worker.spared.absent)) if segments else 0
    left = wanted_files - tally.files
    typical = tally.bytes // tally.files if tally.files else 0
    until = time_left(left, typical, state.rate)
    return {
        "name": subscription.identity,
        "series": subscription.series,
        "start": str(subscription.start),
        "end": str(subscription.end),
        "segments": list(subscription.segments),
        "state": _state(worker),
        "why": state.problem or (state.resting.why if state.resting else ""),
        "records": tally.records,
        "records_wanted": wanted.records,
        "files": tally.files,
        "files_wanted": wanted_files,
        "files_absent": len(worker.spared.absent),
        "bytes": tally.bytes,
        "rate": round(state.rate),
        "seconds_left": None if until is None else round(until),
        "last_look": stamp(memory.looked) if memory and memory.looked else None,
        "next_look": stamp(max(now, worker.next_look)),
        "problem": state.problem,
        "budget": None if subscription.budget is None else _budget(worker, now),
        "passes": state.passes,
    }


#: Members of a report that are gauges, with what they are; each has the subscription's name as its label.
_GAUGES = {
    "records": "Records held of a subscription.",
    "records_wanted": "Records that a subscription will hold, as far as can be told.",
    "files": "Files held of a subscription.",
    "files_wanted": "Files that a subscription will hold, as far as can be told.",
    "files_absent": "Files of a subscription that are not to be had.",
    "bytes": "Bytes of files held of a subscription.",
    "rate": "Bytes a second at which files of a subscription came of late.",
}


def gauges(reports: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, str, list[tuple[str, Any]]]]:
    """Reports for Prometheus: name, kind and explanation of each gauge, and its samples with their labels."""
    for member, text in _GAUGES.items():
        samples = [(f'name="{r["name"]}"', r[member]) for r in reports]
        yield f"mirror_subscription_{member}", "gauge", text, samples
    left = [(f'name="{r["name"]}"', r["seconds_left"]) for r in reports if r["seconds_left"] is not None]
    yield "mirror_subscription_seconds_left", "gauge", "Seconds until a subscription is complete.", left
    failing = [(f'name="{r["name"]}"', int(r["state"] == "failing")) for r in reports]
    yield "mirror_subscription_failing", "gauge", "1 while a subscription waits after a failure.", failing


async def _figures(worker: Worker, parts: WorkerParts) -> tuple[Tally, Estimate]:
    found = worker.target
    if found is None:
        return Tally(), Estimate(0, 0)
    try:
        tally = await parts.standing.tally(found.scope)
    except StorageError:  # the figures are not worth an error of the whole status
        return Tally(), Estimate(0, 0)
    coverage = parts.index.coverage(found.series)
    missing = sum(gap.slots() for box in found.boxes for gap in coverage.gaps(box))
    slots = sum(box.slots() for box in found.boxes)
    return tally, estimate(tally, slots, missing, len(found.scope.segments))


def _state(worker: Worker) -> str:
    if worker.state.problem:
        return "failing"
    rest = worker.state.resting
    if rest is None:
        return "working"
    return "waiting" if rest.why else "current"


def _budget(worker: Worker, now: float) -> dict[str, Any]:
    budget, memory = worker.subscription.budget, worker.memory
    assert budget is not None
    began = budget.began(now)
    used = memory.used if memory is not None and memory.period == began else 0
    return {"limit": str(budget), "bytes": budget.size, "used": used, "until": stamp(began + budget.seconds)}
