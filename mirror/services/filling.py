"""What a record set lacks, and filling it while nobody waits. Everything given is plain JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.drms.errors import BadRequest, NotHeld, Refused
from mirror.drms.plan import Forward, need
from mirror.drms.spans import ends, restriction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from mirror.drms.coverage import Box
    from mirror.drms.series import Series
    from mirror.engine.extremes import Extremes
    from mirror.engine.filler import Filler
    from mirror.engine.policy import Rules
    from mirror.services.search import Search
    from mirror.storage.index import Index

#: Gaps that are told one by one; of the rest there are the sums.
MOST_TOLD = 500


class Filling:
    """Looks for gaps, and fills them in the background."""

    def __init__(
        self, search: Search, extremes: Extremes, index: Index, filler: Filler, rules: Rules
    ) -> None:
        self._search = search
        self._extremes = extremes
        self._index = index
        self._filler = filler
        self._rules = rules

    async def gaps(self, ds: str) -> dict[str, Any]:
        """The parts of a record set that are not held completely."""
        return _told([gap async for gap in self._gaps(ds)])

    async def fill(self, ds: str) -> dict[str, Any]:
        """Begin to fetch what is missing of a record set; what that is. NotHeld if JSOC is not to be asked."""
        if not self._rules.may_ask:
            raise NotHeld("nothing can be filled: the mirror is offline", (ds,))
        found = [gap async for gap in self._gaps(ds)]
        for series, box in found:
            if not box.bounded:
                raise BadRequest(
                    f"{ds!r} has no end; expected times from and to, as in {series.name}[2014.01.01/1d]"
                )
        for series in {s.name: s for s, _ in found}.values():
            self._filler.fill_later(series, tuple(box for s, box in found if s.name == series.name))
        return _told(found)

    async def _gaps(self, ds: str) -> AsyncIterator[tuple[Series, Box]]:
        for selection in await self._search.selections(ds):
            resolved = (await self._extremes.resolve(selection)).selection
            boxes = need(resolved) if resolved is not None else ()
            if isinstance(boxes, Forward):
                raise Refused(f"{ds!r} cannot be filled: {boxes.reason}")
            coverage = self._index.coverage(selection.series)
            for gap in (gap for box in boxes for gap in coverage.gaps(box)):
                yield selection.series, gap


def _told(found: list[tuple[Series, Box]]) -> dict[str, Any]:
    lines = [line for series, box in found for line in _lines(series, box)]
    slots = [line["slots"] for line in lines]
    return {
        "gaps": lines[:MOST_TOLD],
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
