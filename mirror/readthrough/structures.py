"""The read-through for structures: a series is asked for once, kept, and asked for again when old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.concurrency import SingleFlight
from mirror.coverage.plan import key_space
from mirror.errors import NotHeld, UnknownSeries, UpstreamBroken, UpstreamError, UpstreamRefused
from mirror.readthrough.policy import CacheDemand
from mirror.storage.database.keyed import KeyedTable
from mirror.storage.index.layout import Layout

if TYPE_CHECKING:
    from mirror.drms.series import Series
    from mirror.readthrough.policy import JsocInfo, Rules
    from mirror.storage.database.database import Database
    from mirror.storage.index.index import Index

#: Seconds that a structure counts as current: keywords are added a few times in a series' life.
STRUCTURE_AGE = 86400.0
#: Seconds for which it is believed that a series is not there: JSOC says the same of all series while its database is
#: out of order.
ABSENT_AGE = 600.0


class Catalogue:
    """Structures of series, from the index or from upstream."""

    def __init__(self, database: Database, index: Index, upstream: JsocInfo, rules: Rules) -> None:
        self._absent = KeyedTable(database, "absent_series")
        self._index = index
        self._upstream = upstream
        self._rules = rules
        self._flights: SingleFlight[str, Series] = SingleFlight()

    async def series(self, name: str, demand: CacheDemand = CacheDemand.DEFAULT) -> Series:
        """The structure of a series by its name in any case.

        Raises UnknownSeries, NotHeld, or the UpstreamError that kept it from being fetched.
        """
        held = self._index.series(name)
        current = held is not None and abs(self._rules.timestamp() - held[1]) < STRUCTURE_AGE
        if held is not None and current and demand is not CacheDemand.REVALIDATE:
            return held[0]
        if not self._rules.asks(demand):
            if held is not None:
                return held[0]
            raise NotHeld(f"the structure of {name} is not cached, and {self._rules.why_not(demand)}", (name,))
        try:
            return await self._flights.run(name.lower(), lambda: self._fetch(name))
        except (UpstreamError, UnknownSeries):
            # JSOC also says that a series is not there when its database is out of order.
            if held is not None and self._rules.stale_on_failure:
                return held[0]
            raise

    def is_current(self, series: Series, demand: CacheDemand) -> bool:
        """True if ``series`` would give this very structure now, without asking."""
        held = self._index.series(series.name)
        if held is None or held[0] is not series:
            return False
        return abs(self._rules.timestamp() - held[1]) < STRUCTURE_AGE or not self._rules.asks(demand)

    async def is_absent(self, name: str, *, any_age: bool = False) -> bool:
        """True if JSOC said lately (or ever) that there is no such series, and none is held."""
        said = await self._absent.get(name.lower()) if self._index.series(name) is None else None
        return said is not None and (any_age or abs(self._rules.timestamp() - said[1]) < ABSENT_AGE)

    async def note_absent(self, name: str) -> None:
        """JSOC said that there is no such series."""
        await self._absent.put(name.lower(), "", self._rules.timestamp())

    async def _fetch(self, name: str) -> Series:
        try:
            series = await self._upstream.series_struct(name)
            held = self._index.series(name)
            if held is not None and key_space(held[0]) != key_space(series):
                # The keys of a series hardly ever change, and all that is held would have to be asked for again.
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
