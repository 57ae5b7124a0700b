"""Keywords of the records in which linked files lie: JSOC names such files by these where a layout is given.

They are asked for once, for many records together, and kept.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from mirror.errors import UpstreamError
from mirror.fits.filenames import laid_out_keywords
from mirror.fits.values import BROKEN_LINK
from mirror.storage.index.layout import link_field
from mirror.wire.info import RsListRequest
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.series import Series
    from mirror.readthrough.archive import Upstream
    from mirror.readthrough.policy import Rules
    from mirror.services.exports.planning import Plan
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.storage.files.holdings import RecordSegment
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout, Row

    Texts = dict[str, str]

log = logging.getLogger(__name__)

#: Records in one question.
AT_ONCE = 100
#: The kind of these facts in the index, each under the query of its record.
LINKED = "linked texts"
LINK_VIA = "link via "
_NO_LINK = "Invalid_Link"


class LinkedTexts:
    """Finds the texts of records at the ends of links."""

    def __init__(self, index: Index, upstream: Upstream, rules: Rules) -> None:
        self._index = index
        self._upstream = upstream
        self._rules = rules

    async def of(self, plan: Plan, files: Sequence[RequestedFile]) -> dict[RecordSegment, Texts]:
        """For each linked file the printed texts that the names of files may ask for.

        Nothing where names ask for none. Where JSOC cannot be asked for them, they are left out, and the log
        says so: a file is named by its own record then.
        """
        names = wanted_names(plan)
        records = linked_records(plan, files) if names else {}
        known = {query: await self._kept(query, names) for query in dict.fromkeys(records.values())}
        missing = [query for query, texts in known.items() if texts is None]
        if missing and self._rules.may_ask:
            try:
                for start in range(0, len(missing), AT_ONCE):
                    known |= await self._ask(missing[start : start + AT_ONCE], names)
            except UpstreamError as problem:
                log.warning(
                    "files are named without their links series=%s error=%s", plan.series.name, problem
                )
        return {
            owner: _there(texts) for owner, query in records.items() if (texts := known[query]) is not None
        }

    async def keep(self, layout: Layout, rows: Sequence[Row]) -> None:
        """Have the texts that names of linked files usually ask for: clients lay out times among the prime keys.

        Raises UpstreamError if JSOC cannot be asked for them.
        """
        names = usual_names(layout)
        queries = link_queries(layout.series, rows) if names else []
        missing = [query for query in queries if await self._kept(query, names) is None]
        for start in range(0, len(missing), AT_ONCE):
            await self._ask(missing[start : start + AT_ONCE], names)

    async def _kept(self, query: str, names: Sequence[str]) -> Texts | None:
        texts = await self._known(query)
        return texts if all(name in texts for name in names) else None

    async def _known(self, query: str) -> Texts:
        fact = await self._index.fact(LINKED, query)
        return {} if fact is None else dict(json.loads(fact[0]))

    async def _ask(self, queries: Sequence[str], names: Sequence[str]) -> dict[str, Texts | None]:
        answer = await self._upstream.rs_list(
            RsListRequest(",".join(queries), keys=tuple(names), recinfo=True)
        )
        found: dict[str, Texts | None] = {}
        for i, (record, _) in enumerate(answer.recinfo or ()):
            query = from_wire(record)
            told = {name: from_wire(str(values[i])) for name, values in answer.keywords or ()}
            found[query] = texts = await self._known(query) | told
            await self._index.keep_fact(LINKED, query, json.dumps(texts), self._rules.timestamp())
        return {query: found.get(query) for query in queries}


def _there(texts: Texts) -> Texts:
    return {name: text for name, text in texts.items() if text != BROKEN_LINK}


def wanted_names(plan: Plan) -> list[str]:
    """The keywords that names of linked files take from the record at the end of the link."""
    found = (plan.series.keyword(name) for name in laid_out_keywords(plan.request.filenamefmt))
    own = [k for k in found if k is not None and k.linkinfo is None]
    return list(dict.fromkeys(plan.layout.aliases.get(k.name.lower(), k.name) for k in own))


def usual_names(layout: Layout) -> list[str]:
    """The series' own times among its prime keys, as they are called in its records."""
    keys = (layout.series.keyword(key.name) for key in layout.series.primekeys)
    own = [k.name for k in keys if k is not None and k.type == "time" and k.linkinfo is None]
    return [layout.aliases.get(name.lower(), name) for name in own]


def link_queries(series: Series, rows: Sequence[Row]) -> list[str]:
    """The queries of the records at the ends of the links of these, each once."""
    names = {s.protocol.removeprefix(LINK_VIA) for s in series.segments if s.protocol.startswith(LINK_VIA)}
    links = [link for name in sorted(names) if (link := series.link(name)) is not None]
    found = (from_wire(row[link_field(link.name)]) for row in rows for link in links)
    return [query for query in dict.fromkeys(found) if query != _NO_LINK]


def linked_records(plan: Plan, files: Sequence[RequestedFile]) -> dict[RecordSegment, str]:
    """The query of the record at the end of the link of each linked file."""
    rows = {row.recnum: row for row in plan.rows}
    found = {}
    for wanted in files:
        segment = plan.series.segment(wanted.segment)
        if segment is None or not segment.protocol.startswith(LINK_VIA):
            continue
        link = plan.series.link(segment.protocol.removeprefix(LINK_VIA))
        query = _NO_LINK if link is None else from_wire(rows[wanted.owner.recnum][link_field(link.name)])
        if query != _NO_LINK:
            found[wanted.owner] = query
    return found
