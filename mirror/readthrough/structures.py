"""The read-through for structures: requested once, kept, and requested again when old.

The formats by which keywords print are not in a structure. They are requested when first needed, and kept beside it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from mirror.concurrency import SingleFlight
from mirror.coverage.plan import key_space
from mirror.errors import NotHeld, OverBudget, UnknownSeries, UpstreamBroken, UpstreamError, UpstreamRefused
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.shared import Alone
from mirror.storage.database.keyed import KeyedTable
from mirror.storage.index.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.drms.series import Series
    from mirror.readthrough.policy import JsocInfo, Rules
    from mirror.readthrough.shared import Shared
    from mirror.storage.database.database import Database
    from mirror.storage.index.index import Index

#: Seconds that a structure counts as current: keywords are added a few times in a series' life.
STRUCTURE_AGE = 86400.0
#: Seconds for which a series is believed not to exist: JSOC says so of all series while its database is out of order.
ABSENT_AGE = 600.0


class Catalogue:
    """Structures of series, from the index or from upstream."""

    def __init__(
        self, database: Database, index: Index, upstream: JsocInfo, rules: Rules, shared: Shared | None = None
    ) -> None:
        self._shared = shared or Alone()
        self.absent = KeyedTable(database, "absent_series")
        self.known_formats = KeyedTable(database, "print_formats")
        self._index = index
        self._upstream = upstream
        self._rules = rules
        self._flights: SingleFlight[str, Series] = SingleFlight()
        self._formats_flights: SingleFlight[str, Mapping[str, str]] = SingleFlight()

    async def series(self, name: str, demand: CacheDemand = CacheDemand.DEFAULT) -> Series:
        """The structure of a series by its name in any case.

        Raises UnknownSeries, NotHeld, or the UpstreamError that kept it from being fetched.
        """
        held = self._current(name, demand)
        if held is not None:
            return held
        found = self._index.series(name)
        if not self._rules.asks(demand):
            if found is not None:
                return found[0]
            raise NotHeld(f"the structure of {name} is not cached, and {self._rules.why_not(demand)}", (name,))
        try:
            return await self._flights.run(name.lower(), lambda: self._fetch(name, demand))
        except (UpstreamError, UnknownSeries):
            # JSOC also says that a series does not exist when its database is out of order.
            if found is not None and self._rules.stale_on_failure:
                return found[0]
            raise

    def _current(self, name: str, demand: CacheDemand) -> Series | None:
        """The held structure, if it is recent enough."""
        held = self._index.series(name)
        current = held is not None and abs(self._rules.timestamp() - held[1]) < STRUCTURE_AGE
        return held[0] if held is not None and current and demand is not CacheDemand.REVALIDATE else None
    def is_current(self, series: Series, demand: CacheDemand) -> bool:
        """True if the method ``series`` would return this very structure now, without asking."""
        held = self._index.series(series.name)
        if held is None or held[0] is not series:
            return False
        return abs(self._rules.timestamp() - held[1]) < STRUCTURE_AGE or not self._rules.asks(demand)

    async def formats(
        self, series: Series, demand: CacheDemand = CacheDemand.DEFAULT
    ) -> Mapping[str, str]:
        """The known formats of a series' keywords: requested once; empty if nobody tells.

        They are requested again when the series gets a keyword, but not more often than its structure.
        """
        kept = await self.known_formats.get(series.name.lower())
        told: dict[str, str] = {} if kept is None else json.loads(kept[0])
        known = all(k.name.lower() in told for k in series.keywords)
        young = kept is not None and abs(self._rules.timestamp() - kept[1]) < STRUCTURE_AGE
        if known or young or not self._rules.asks(demand):
            return told
        with suppress(UpstreamError, OverBudget):
            return await self._formats_flights.run(series.name.lower(), lambda: self._fetch_formats(series))
        return told

    async def _fetch_formats(self, series: Series) -> Mapping[str, str]:
        noted_at = self._rules.timestamp()
        try:
            told = await self._upstream.print_formats(series.name)
        except (UpstreamBroken, UpstreamRefused):
            told, noted_at = {}, noted_at - STRUCTURE_AGE + ABSENT_AGE  # it may tell them later
        await self.known_formats.put(series.name.lower(), json.dumps(told), noted_at)
        return told

    async def is_absent(self, name: str, *, any_age: bool = False) -> bool:
        """True if JSOC recently (or ever) said that there is no such series, and none is held."""
        said = await self.absent.get(name.lower()) if self._index.series(name) is None else None
        return said is not None and (any_age or abs(self._rules.timestamp() - said[1]) < ABSENT_AGE)

    async def note_absent(self, name: str) -> None:
        """Note that JSOC said that there is no such series."""
        await self.absent.put(name.lower(), "", self._rules.timestamp())

    async def _fetch(self, name: str, demand: CacheDemand) -> Series:
        await self._shared.refresh()
        if (known := self._current(name, demand)) is not None:
            return known
        try:
            series = await self._upstream.series_struct(name)
            held = self._index.series(name)
            if held is not None and key_space(held[0]) != key_space(series):
                # Ask twice: keys hardly ever change, and everything held would have to be fetched again.
                again = await self._upstream.series_struct(name)
                if key_space(again) != key_space(series):
                    raise UpstreamBroken(f"two answers tell different prime keys of {name}")
        except UpstreamRefused as error:
            raise UnknownSeries(name) from error
        problem = Layout(series).problem
        if problem is not None:
            raise UpstreamBroken(f"the structure of {series.name} cannot be: {problem}")
        await self._index.keep_series(series, self._rules.timestamp())
        return series
