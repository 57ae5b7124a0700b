"""The read-through for what JSOC says of series and addresses: structures, lists, whether an address is registered.

Each is requested once, kept, and requested again when old.

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
from mirror.storage.database.database import KeyedTable
from mirror.storage.index.layout import Layout
from mirror.wire.catalogue import SeriesEntry
from mirror.wire.export import AddressAnswer, AddressRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from mirror.drms.series import Series
    from mirror.readthrough.policy import JsocInfo, Rules
    from mirror.readthrough.shared import Shared
    from mirror.storage.database.database import Database
    from mirror.storage.index.index import Index
    from mirror.upstream.client import UpstreamClient

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


# ---- lists of series, addresses ------------------------------------------------------------------
# Small answers of JSOC that are kept whole.


#: Seconds that the lists count as current.
LIST_AGE = 86400.0
#: A registered address stays registered; any other answer may change with the next e-mail.
ADDRESS_AGE = 30 * 86400.0
REGISTERED = 2


class Listing:
    """Lists and addresses, from the index or from upstream."""

    def __init__(self, database: Database, upstream: UpstreamClient, rules: Rules, shared: Shared | None = None) -> None:
        self._shared = shared or Alone()
        self.lists = KeyedTable(database, "series_lists")
        self.addresses = KeyedTable(database, "addresses")
        self._upstream = upstream
        self._rules = rules
        self._flights: SingleFlight[str, tuple[SeriesEntry, ...]] = SingleFlight()

    async def series(self, demand: CacheDemand = CacheDemand.DEFAULT) -> tuple[SeriesEntry, ...]:
        """The public series, as show_series lists them."""
        return await self._list("show_series", self._upstream.show_series, demand)

    async def all_series(self, *, notes: bool, demand: CacheDemand = CacheDemand.DEFAULT) -> tuple[SeriesEntry, ...]:
        """All series, as showextseries lists them, with or without their notes."""
        name = "showextseries notes" if notes else "showextseries"
        # If only other lists are held: the one with notes names all series, show_series the public ones.
        others = ("showextseries notes", "show_series")
        return await self._list(name, lambda: self._upstream.showextseries(info=notes), demand, others)

    async def check_address(self, request: AddressRequest, demand: CacheDemand = CacheDemand.DEFAULT) -> AddressAnswer:
        """JSOC's answer about an address; that one is registered is remembered."""
        kept = await self.addresses.get(request.address.lower())
        if kept and self._is_good(kept[1], ADDRESS_AGE, demand):
            return AddressAnswer(REGISTERED, kept[0])
        if not self._rules.asks(demand):
            why = self._rules.why_not(demand)
            raise NotHeld(f"it is not known whether {request.address} is registered at JSOC: {why}")
        try:
            answer = await self._upstream.check_address(request)
        except UpstreamError:
            if kept and self._rules.stale_on_failure:
                return AddressAnswer(REGISTERED, kept[0])
            raise
        if answer.status == REGISTERED:
            now = self._rules.timestamp()
            await self.addresses.put(request.address.lower(), answer.msg, now)
        return answer

    def _is_good(self, fetched_at: float, age: float, demand: CacheDemand) -> bool:
        """True if an answer from that time is given without asking again."""
        young = abs(self._rules.timestamp() - fetched_at) < age and demand is not CacheDemand.REVALIDATE
        return young or not self._rules.asks(demand)

    async def _list(
        self,
        name: str,
        ask: Callable[[], Awaitable[tuple[SeriesEntry, ...]]],
        demand: CacheDemand,
        others: Sequence[str] = (),
    ) -> tuple[SeriesEntry, ...]:
        """The held list, or the one that ``ask`` gives; if neither can be had, the first of ``others`` that is held."""
        kept = await self.lists.get(name)
        if kept and self._is_good(kept[1], LIST_AGE, demand):
            return _from_json(kept[0])
        asks = self._rules.asks(demand)
        for other in others if kept is None and (self._rules.stale_on_failure or not asks) else ():
            kept = kept or await self.lists.get(other)
        if not asks and kept:
            return _from_json(kept[0])
        if not asks:
            raise NotHeld(f"the list of series is not cached, and {self._rules.why_not(demand)}")

        async def fetch() -> tuple[SeriesEntry, ...]:
            await self._shared.refresh()
            known = await self.lists.get(name)
            if known and self._is_good(known[1], LIST_AGE, demand):
                return _from_json(known[0])
            entries = await ask()
            await self.lists.put(name, _to_json(entries), self._rules.timestamp())
            return entries

        try:
            return await self._flights.run(name, fetch)
        except UpstreamError:
            if kept and self._rules.stale_on_failure:
                return _from_json(kept[0])
            raise


def _to_json(entries: tuple[SeriesEntry, ...]) -> str:
    return json.dumps([[e.name, e.primekeys, e.note] for e in entries])


def _from_json(text: str) -> tuple[SeriesEntry, ...]:
    return tuple(SeriesEntry(name, tuple(keys), note) for name, keys, note in json.loads(text))
