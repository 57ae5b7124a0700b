"""Checks record sets while they are typed: what is wrong and where, or what a search would have to fetch.

JSOC is asked for nothing but the structure of a listed series that is not known yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.coverage.plan import Forward, Local, Plan, extreme_position, need, plan_read
from mirror.coverage.wording import describe
from mirror.drms.compose import compose
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.errors import MirrorError, NotHeld, SyntaxProblem, UnknownName, UnknownSeries, UpstreamError
from mirror.humanize import counted, near
from mirror.readthrough.policy import CacheDemand

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.coverage.coverage import Box
    from mirror.drms.compose import KeyChoice as Filled
    from mirror.drms.recordset import RecordSet, Selection
    from mirror.drms.series import Series
    from mirror.readthrough.first_last import FirstLast
    from mirror.readthrough.policy import Rules
    from mirror.readthrough.structures import Catalogue, Listing
    from mirror.storage.index.index import Index

#: Names that a completion offers.
MOST_NAMES = 50


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a search for one record set would find here, and what it would ask JSOC for.

    ``held`` cached records match already. Of ``slots`` (None: unknown) ``missing`` are not cached and ``stale`` must be
    checked again. ``plan`` is local, fetch or forward; ``text`` says it to people.
    """

    series: str
    held: int
    plan: str
    slots: int | None
    missing: int | None
    stale: int | None
    text: str


class QueryCheck:
    """Checks record sets, and helps to write them."""

    def __init__(
        self, index: Index, catalogue: Catalogue, extremes: FirstLast, listing: Listing, rules: Rules
    ) -> None:
        self._index = index
        self._catalogue = catalogue
        self._extremes = extremes
        self._listing = listing
        self._rules = rules

    async def check(self, ds: str) -> dict[str, Any]:
        """``ok`` with the record sets and their outlook, or the error with its place; as plain JSON."""
        try:
            sets = [await self._outlook(s, ds) for s in parse_query(ds).sets]
        except MirrorError as problem:
            return {"ok": False, "ds": ds, **marked(problem, ds)}
        return {"ok": True, "ds": ds, "sets": [_plain(outlook) for outlook in sets]}

    async def compose(
        self, series: str, keys: Mapping[str, Filled], where: str, segments: Sequence[str]
    ) -> str:
        """The record set for the fields that somebody filled in; BadRequest for invalid ones."""
        return str(compose(await self.structure(series), keys, where=where, segments=segments))

    async def structure(self, name: str) -> Series:
        """The structure of a series, as cached, however old; an unlisted one is not fetched."""
        held = self._index.series(name)
        if held is not None:
            return held[0]
        listed = await self._listed()
        if listed and name.lower() not in {n.lower() for n in listed}:
            raise UnknownSeries(name)
        return await self._catalogue.series(name)

    async def names(self, typed: str, most: int = MOST_NAMES) -> list[dict[str, Any]]:
        """The series whose names or notes contain the typed text: those known here first, then by its position."""
        word = typed.strip().lower()
        known = {s.name.lower() for s in self._index.all_series()}
        notes = {**await self._listed(), **{s.name: s.note for s in self._index.all_series()}}
        found = [
            (n, note) for n, note in notes.items() if word in n.lower() or (word and word in note.lower())
        ]
        found.sort(key=lambda x: (x[0].lower() not in known, not x[0].lower().startswith(word), x[0].lower()))
        return [{"series": n, "note": note, "known": n.lower() in known} for n, note in found[:most]]

    async def known(self, record_set: RecordSet, ds: str) -> Series:
        """The structure of the series of a record set; an error marks the name in ``ds`` if it is unknown."""
        try:
            return await self.structure(record_set.series)
        except UnknownSeries as problem:
            names = await self.near(record_set.series)
            hint = "the name of a series" + (f"; did you mean {' or '.join(names)}?" if names else "")
            message, at = f"no series {record_set.series}", ds.find(record_set.series)
            raise SyntaxProblem(message, text=ds, position=at, expected=hint) from problem

    async def near(self, name: str) -> list[str]:
        """Names of series that are spelled similarly."""
        return near(name, [*await self._listed(), *(s.name for s in self._index.all_series())])

    async def with_suggestions(self, problem: UnknownSeries) -> UnknownSeries:
        """The same error with names that are spelled similarly to the one that was not found."""
        return UnknownSeries(problem.name, await self.near(problem.name))

    async def _listed(self) -> dict[str, str]:
        try:
            return {entry.name: entry.note for entry in await self._listing.series()}
        except (NotHeld, UpstreamError):
            return {}

    async def _outlook(self, record_set: RecordSet, ds: str) -> Outlook:
        series = await self.known(record_set, ds)
        selection = bind(record_set, series, text=ds)
        open_ended = extreme_position(selection) is not None
        resolved = (await self._extremes.resolve(selection, CacheDemand.ONLY_IF_CACHED)).selection
        if resolved is None:
            return Outlook(series.name, 0, "fetch", None, None, None, "nothing cached; will be fetched from JSOC")
        held, _ = await self._index.tally(resolved)
        plan = plan_read(resolved, self._index.coverage(series), self._rules.freshness(series))
        return _outlook(resolved, held, plan, open_ended=open_ended, may_ask=self._rules.may_ask)


def marked(problem: MirrorError, ds: str) -> dict[str, Any]:
    """An error as JSON: what was wrong, what was expected, and where in ``ds`` (None: unknown)."""
    cause = problem.problem if isinstance(problem, UnknownName) else problem
    if not isinstance(cause, SyntaxProblem) or cause.text != ds:
        return {"error": str(problem), "expected": "", "position": None}
    return {"error": cause.message, "expected": cause.expected, "position": cause.position}


def _outlook(selection: Selection, held: int, plan: Plan, *, open_ended: bool, may_ask: bool) -> Outlook:
    name = selection.series.name
    boxes = need(selection)
    slots = None if isinstance(boxes, Forward) else _slots(boxes)
    records = f"{held:,} record{'' if held == 1 else 's'}"
    if isinstance(plan, Local):
        text = f"{records}, all cached" + ("; newest as of the last check" if open_ended else "")
        return Outlook(name, held, "local", slots, 0, 0, text)
    if isinstance(plan, Forward):
        text = f"{records} cached; passed on to JSOC: {plan.reason}"
        return Outlook(name, held, "forward", slots, None, None, text)
    missing, stale = _slots(plan.missing), _slots(plan.stale)
    text = f"{records} cached; {_asked(selection.series, plan.missing, missing, stale)}"
    return Outlook(
        name, held, "fetch", slots, missing, stale, text + ("" if may_ask else ", but the mirror is offline")
    )


def _asked(series: Series, boxes: Sequence[Box], missing: int | None, stale: int | None) -> str:
    if not boxes:
        return (
            "some must be checked again"
            if stale is None
            else f"{counted(stale, 'slot')} must be checked again"
        )
    count = "" if missing is None else f"{counted(missing, 'slot')} "
    return f"{count}to be fetched: {describe(series, boxes)}"


def _slots(boxes: Sequence[Box]) -> int | None:
    return sum(box.slots() for box in boxes) if all(box.bounded for box in boxes) else None


def _plain(outlook: Outlook) -> dict[str, Any]:
    return {name: getattr(outlook, name) for name in Outlook.__slots__}
