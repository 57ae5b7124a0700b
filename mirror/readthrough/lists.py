"""The read-through for lists of series and registered addresses: small answers of JSOC that are kept whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mirror.concurrency import SingleFlight
from mirror.errors import NotHeld, UpstreamError
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.shared import Alone
from mirror.storage.database.keyed import KeyedTable
from mirror.wire.address import AddressAnswer, AddressRequest
from mirror.wire.catalogue import SeriesEntry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mirror.readthrough.policy import Rules
    from mirror.readthrough.shared import Shared
    from mirror.storage.database.database import Database
    from mirror.upstream.client import UpstreamClient

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
