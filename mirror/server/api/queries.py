"""``/api/queries``: statements that people keep under a name, shared by all who use this mirror."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mirror.errors import TooLarge, TooMany, UnknownName, WrongFields
from mirror.server.bodies import json_object
from mirror.server.usage import who_asks
from mirror.services.sql.service import SavedQuery

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.services.sql.service import SavedQueries

#: Characters of a name and of a statement, and statements in all, at most.
LONGEST_NAME, LONGEST, MOST = 80, 100_000, 1000


class QueriesApi:
    """The handlers of /api/queries; ``now`` gives Unix seconds."""

    def __init__(self, queries: SavedQueries, now: Callable[[], float]) -> None:
        self._queries = queries
        self._now = now

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/api/queries", self.list)
        router.add_post("/api/queries", self.save)
        router.add_delete("/api/queries", self.remove)

    async def list(self, _: web.Request) -> web.Response:
        """All of them: ``name, sql, saved_by, saved_at`` (Unix seconds)."""
        return web.json_response([asdict(query) for query in await self._queries.all()])

    async def save(self, request: web.Request) -> web.Response:
        """``name, sql``: keep a statement, in place of the one that has its name."""
        given = await json_object(request, {"name": str, "sql": str})
        query = SavedQuery(
            _name(given), given.get("sql", ""), who_asks(request.headers, request.remote), self._now()
        )
        if not query.sql.strip():
            raise WrongFields({"sql": "expected a statement"}, given)
        if len(query.sql) > LONGEST:
            raise TooLarge(f"the statement has {len(query.sql):,} characters; expected at most {LONGEST:,}")
        kept = {q.name.lower() for q in await self._queries.all()}
        if len(kept) >= MOST and query.name.lower() not in kept:
            raise TooMany(f"{len(kept):,} statements are kept already; expected fewer: remove some")
        await self._queries.save(query)
        return web.json_response(asdict(query), status=201)

    async def remove(self, request: web.Request) -> web.Response:
        """``name``: forget a statement."""
        name = _name(await json_object(request, {"name": str}))
        if not await self._queries.remove(name):
            raise UnknownName(f"there is no statement {name!r}; expected the name of one that is kept")
        return web.json_response({"name": name})


def _name(given: dict[str, Any]) -> str:
    name = " ".join(str(given.get("name", "")).split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise WrongFields({"name": f"expected a name of at most {LONGEST_NAME} characters"}, given)
    return name
