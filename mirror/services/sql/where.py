"""Searches with a condition in SQL: the records of a record set for which it is true, as a search prints them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa

from mirror.errors import SyntaxProblem
from mirror.services.search.columns import FoundRecords
from mirror.services.sql.question import checked_sql

if TYPE_CHECKING:
    from mirror.readthrough.policy import CacheDemand
    from mirror.services.search.search import Found, Search
    from mirror.services.sql.jsoc_tables import RecordTable
    from mirror.services.sql.service import Analytics
    from mirror.storage.index.index import Index
    from mirror.wire.info import RsListRequest
    from mirror.wire.rs_list import RsList


class WhereSearch:
    """Answers searches with a condition."""

    def __init__(self, search: Search, index: Index, analytics: Analytics) -> None:
        self._search = search
        self._index = index
        self._analytics = analytics

    async def rs_list(self, request: RsListRequest, where: str, demand: CacheDemand, principal: str = "") -> Found[RsList]:
        """As ``Search.rs_list``, of those records for which ``where`` is true; ``n`` applies to these.

        SyntaxProblem points into ``where``, or into the record set.
        """
        checked_sql(where, what="condition")
        before = f"SELECT recnum FROM jsoc('{request.ds.replace(chr(39), chr(39) * 2)}') WHERE (\n"
        try:
            place = (len(before), len(before) + len(where))
            table, data = await self._analytics.read(
                f"{before}{where}\n)", "arrow", demand, principal, place, few=bool(request.n)
            )
        except SyntaxProblem as problem:
            raise _moved(problem, request.ds, before, where) from None
        return await self._listed(request, table, data)

    async def _listed(self, request: RsListRequest, table: RecordTable, data: bytes) -> Found[RsList]:
        numbers = pa.ipc.open_stream(io.BytesIO(data)).read_all()["recnum"].combine_chunks()
        rows = await self._index.rows(table.series, numbers, request.n)
        part = FoundRecords(self._index.layout(table.series), rows, table.segments)
        return self._search.found(request, [part], table.origin, table.checked_at)


def _moved(problem: SyntaxProblem, ds: str, before: str, where: str) -> SyntaxProblem:
    """A problem with the statement as one with what the client wrote of it."""
    text, position = where, problem.position - len(before)
    if position < 0:
        quoted = before.partition("'")[2][: problem.position - before.index("'") - 1]
        text, position = ds, len(quoted.replace("''", "'"))
    return SyntaxProblem(problem.message, text=text, position=position, expected=problem.expected)
