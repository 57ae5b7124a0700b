"""Values at full precision (M=1) for a mirror that asks this one: what is kept here need not be asked again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.wire.rs_list import RsList
from mirror.wire.text import to_wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.engine.records import Records
    from mirror.services.assembling import Assembler
    from mirror.services.search import Search
    from mirror.storage.index import Index
    from mirror.wire.info import RsListRequest

RECNUM = "*recnum*"
_FLAGS = {"M": "1"}


class Precise:
    """Answers questions for keywords of records by number, as ``mirror.services.assembling`` asks them."""

    def __init__(self, search: Search, records: Records, index: Index, assembler: Assembler) -> None:
        self._search = search
        self._records = records
        self._index = index
        self._assembler = assembler

    async def answer(self, request: RsListRequest) -> RsList | None:
        """The answer; None for what only the archive itself can tell."""
        if request.flags != _FLAGS or request.segments or request.links or request.recinfo or request.n:
            return None
        selections = await self._search.selections(request.ds)
        if len(selections) != 1 or "[:#" not in request.ds:
            return None
        selection, keys = selections[0], request.keys or ()
        layout = self._index.layout(selection.series)
        if keys[:1] != (RECNUM,) or set(keys[1:]) - {k.name for k in layout.keywords}:
            return None
        rows = (await self._records.read(selection)).rows
        await self._assembler.keep_precise(layout, rows)
        values = [await self._assembler.kept(selection.series, row.recnum) for row in rows]
        if any(kept is None for kept in values):
            return None
        columns: list[tuple[str, Sequence[str | int]]] = [(RECNUM, [row.recnum for row in rows])]
        columns += [(name, [to_wire(kept[name]) for kept in values if kept is not None]) for name in keys[1:]]
        return RsList(len(rows), keywords=columns)
