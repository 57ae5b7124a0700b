"""The API of searches: rows for the command line, the page and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aiohttp import web
from msgspec import UnsetType
from msgspec.structs import replace

from mirror.api.contract import JSON, UNSET, Nothing, encoded
from mirror.api.search import SEARCH, SERIES, Found, SearchQuery, SeriesLine
from mirror.errors import BadRequest
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.records import CacheStatus
from mirror.server.endpoints import serve
from mirror.server.requests import RECORDS, cache_headers, demand_of, names_of, while_connected
from mirror.services.search.names import CHECKED, SIFTED, UNCHECKED, explained
from mirror.services.search.search import LONG_ANSWER
from mirror.wire.info import ALL, RsListRequest, expand_names
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.api.search import Plan
    from mirror.drms.series import Series
    from mirror.services.monitoring.status import Status
    from mirror.services.search.search import Search
    from mirror.services.sql.jsoc_tables import WhereSearch
    from mirror.wire.rs_list import RsList

#: The numbers that every record has.
_NUMBERS = frozenset({"*recnum*", "*sunum*", "*size*"})


class SearchApi:
    """The handlers of /api/search and /api/series."""

    def __init__(self, search: Search, sifter: WhereSearch, status: Status) -> None:
        self._search = search
        self._sifter = sifter
        self._status = status

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, SEARCH, self.search)
        serve(router, SERIES, self.series)

    async def search(self, request: web.Request, asked: SearchQuery) -> web.Response:
        """The records of a record set."""
        found, headers = await self.found(request, asked)
        body = await self._search.offload.run(lambda: _encoded(found), long=found.count > LONG_ANSWER)
        return web.Response(body=body, headers=headers, content_type=JSON, charset="utf-8")

    async def found(self, request: web.Request, asked: SearchQuery) -> tuple[Found, dict[str, str]]:
        """The result of a search, with the headers that say how it came about."""
        demand = demand_of(request)
        keys, segments, links = (names_of(text) or None for text in (asked.key, asked.seg, asked.link))
        if not keys and not segments and not links:
            series = await self._structure(asked.ds, demand)
            keys = tuple(k.name for k in series.primekeys) or ("*recnum*",)
        if ALL in (segments or ()):
            # By name each record has a value; ALL leaves out, as at JSOC, records whose link does not resolve.
            series = await self._structure(asked.ds, demand)
            segments = tuple(expand_names(segments, [s.name for s in series.segments]))
        wanted = RsListRequest(asked.ds, keys=keys, segments=segments, links=links, n=asked.n or None)
        await self._search.check_names(wanted, demand)
        if asked.where is None:
            found = await self._search.rs_list(wanted, demand)
        else:
            async with while_connected(request):
                found = await self._sifter.rs_list(wanted, asked.where, demand, request.remote or "")
        request[RECORDS] = found.value.count
        columns, rows = await self._search.offload.run(
            lambda: _table(wanted, found.value), long=found.value.count > LONG_ANSWER
        )
        headers = cache_headers(found.origin, found.checked_at, self._status.now())
        age = int(headers["Age"]) if "Age" in headers else UNSET
        plan = cast("Plan", found.origin.name.lower())
        note: str | UnsetType = UNSET
        known = await self._search.structures(asked.ds)
        if not found.value.count:
            verdict = UNCHECKED if found.origin is CacheStatus.STALE else CHECKED
            verdict = verdict if asked.where is None else SIFTED
            note = explained(asked.ds, known, verdict)
        kinds = [_kind(known, name) for name in columns]
        answer = Found(
            columns=columns, types=[kind for kind, _ in kinds], units=[unit for _, unit in kinds], rows=rows,
            count=found.value.count, plan=plan, age_seconds=age, note=note,
        )  # fmt: skip
        return answer, headers

    async def _structure(self, ds: str, demand: CacheDemand) -> Series:
        """The cached structure if it is recent enough: a forced check is about records."""
        held_only = demand is CacheDemand.ONLY_IF_CACHED
        found = await self._search.structures(ds, demand if held_only else CacheDemand.DEFAULT)
        if len(found) != 1:
            raise BadRequest(f"{ds[:200]!r} names {len(found)} series; expected one, or the names of keywords")
        return found[0]

    async def series(self, _: web.Request, __: Nothing) -> list[SeriesLine]:
        """The cached series."""
        return await self._status.series()


def _encoded(found: Found) -> bytes:
    """The answer as JSON, encoded row by row, since nothing else runs while one object is encoded."""
    rows = b",".join(map(encoded, found.rows))
    before, _, after = encoded(replace(found, rows=[])).partition(b'"rows":[]')
    return b'%b"rows":[%b]%b' % (before, rows, after)


def _kind(series: Sequence[Series], name: str) -> tuple[str, str]:
    """The type and the unit of a column, from the first series that has it."""
    if name in _NUMBERS:
        return "longlong", ""
    keyword = next((k for each in series if (k := each.keyword(name)) is not None), None)
    if keyword is None:
        return "string", ""
    return keyword.type, "" if keyword.units.lower() in ("none", "n/a") else keyword.units


def _table(wanted: RsListRequest, answer: RsList) -> tuple[list[str], list[tuple[str | int, ...]]]:
    """The names of the columns, and the printed values of each record."""
    columns = [*(answer.keywords or ())]
    columns += [(s.name, s.values) for s in answer.segments or ()]
    columns += [*(answer.links or ())]
    if not answer.count:
        return [*(wanted.keys or ()), *(wanted.segments or ()), *(wanted.links or ())], []
    plain = [[from_wire(v) if isinstance(v, str) else v for v in values] for _, values in columns]
    return [name for name, _ in columns], list(zip(*plain, strict=True))
