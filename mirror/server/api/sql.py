"""``/api/sql``: a statement in, its answer streamed as Arrow, JSON, CSV or Parquet; and saved statements."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mirror.api import sql as api
from mirror.errors import BadRequest, MirrorError, TooLarge, TooMany, UnknownName, WrongFields
from mirror.server.endpoints import serve
from mirror.server.requests import parse_json, while_connected
from mirror.server.usage import who_asks
from mirror.services.sql.messages import MOST_BYTES, checked_form, checked_params, checked_sql
from mirror.services.sql.service import SavedQuery

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.api.contract import Nothing
    from mirror.services.sql.messages import Form, Params
    from mirror.services.sql.service import Analytics, SavedQueries

log = logging.getLogger(__name__)

_SAID = {None: False, True: True, False: False, "1": True, "0": False, "true": True, "false": False}
#: The most characters of a name and of a saved statement, and the most saved statements.
LONGEST_NAME, LONGEST, MOST = 80, 100_000, 1000


class SqlApi:
    """The handlers of /api/sql and /api/queries; ``now`` gives Unix seconds."""

    def __init__(self, analytics: Analytics, queries: SavedQueries, now: Callable[[], float]) -> None:
        self._analytics = analytics
        self._queries = queries
        self._now = now

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path; statements by GET, if they are short, and by POST."""
        router.add_get(api.GET_SQL.path, self.sql)
        router.add_post(api.SQL.path, self.sql)
        serve(router, api.QUERIES, self.queries)
        serve(router, api.SAVE_QUERY, self.save)
        serve(router, api.REMOVE_QUERY, self.remove)

    async def sql(self, request: web.Request) -> web.StreamResponse:
        """Errors of the statement are reported before anything is sent.

        An answer that fails midway is cut off, so that no client takes a part for the whole.
        """
        sql, params, form, fill = await _asked(request)
        principal = request.remote or ""
        async with (
            while_connected(request),
            self._analytics.ask(sql, params, form, principal=principal, fill=fill) as answer,
        ):
            response = web.StreamResponse(headers={"Content-Type": api.MEDIA[form]})
            await response.prepare(request)
            try:
                async for piece in answer.pieces:
                    await response.write(piece)
                await response.write_eof()
            except (MirrorError, ConnectionError) as problem:
                log.warning("an answer broke off path=%s error=%s", request.path, problem)
                if request.transport is not None:
                    request.transport.abort()
        return response

    async def queries(self, _: web.Request, __: Nothing) -> list[api.Query]:
        """All saved statements."""
        return list(map(_told, await self._queries.all()))

    async def save(self, request: web.Request, asked: api.QueryBody) -> api.Query:
        """Save a statement; replaces one of the same name."""
        query = SavedQuery(_name(asked), asked.sql, who_asks(request.headers, request.remote), self._now())
        if not query.sql.strip():
            raise WrongFields({"sql": "expected a statement"}, {"name": asked.name})
        if len(query.sql) > LONGEST:
            raise TooLarge(f"the statement has {len(query.sql):,} characters; expected at most {LONGEST:,}")
        kept = {q.name.lower() for q in await self._queries.all()}
        if len(kept) >= MOST and query.name.lower() not in kept:
            raise TooMany(f"{len(kept):,} statements are saved already; delete some first")
        await self._queries.save(query)
        return _told(query)

    async def remove(self, _: web.Request, asked: api.QueryName) -> api.ForgottenQuery:
        """Delete a saved statement."""
        name = _name(asked)
        if not await self._queries.remove(name):
            raise UnknownName(f"no saved statement {name!r}")
        return api.ForgottenQuery(name=name)


def _told(query: SavedQuery) -> api.Query:
    return api.Query(name=query.name, sql=query.sql, saved_by=query.saved_by, saved_at=query.saved_at)


def _name(asked: api.QueryBody | api.QueryName) -> str:
    name = " ".join(asked.name.split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise WrongFields(
            {"name": f"expected a name of at most {LONGEST_NAME} characters"}, {"name": asked.name}
        )
    return name


async def _asked(request: web.Request) -> tuple[str, Params, Form, bool]:
    """Statement, parameters, form, and whether to fetch what is missing; BadRequest if there is no statement."""
    given: dict[str, Any] = dict(request.query) if request.method == "GET" else await _body(request)
    sql = given.get("query")
    if not isinstance(sql, str) or not sql.strip():
        raise BadRequest(
            "missing statement; expected SQL as the body, or JSON with a member query"
        )
    params = given.get("params")
    if isinstance(params, str):
        params = parse_json(params, "params")
    return (
        checked_sql(sql),
        checked_params(params),
        _form(request),
        _fill(given.get("fill", request.query.get("fill"))),
    )


async def _body(request: web.Request) -> dict[str, Any]:
    text = (await _read(request)).decode("utf-8", errors="replace")
    if "json" not in request.headers.get("Content-Type", "") and not text.lstrip().startswith("{"):
        return {"query": text}
    answer = parse_json(text, "the body")
    if not isinstance(answer, dict):
        raise BadRequest('the body is not a JSON object; expected {"query": "SELECT ...", "params": [...]}')
    return answer


async def _read(request: web.Request) -> bytes:
    """The body; TooLarge as soon as it is known to exceed the limit for a statement with its parameters."""
    pieces, size = [], 0
    async for piece in request.content.iter_any():
        size += len(piece)
        if size > MOST_BYTES:
            raise TooLarge(
                f"the body has {max(size, request.content_length or 0):,} bytes; expected at most {MOST_BYTES:,} of a "
                "statement with its parameters"
            )
        pieces.append(piece)
    return b"".join(pieces)


def _fill(given: object) -> bool:
    for value, fill in _SAID.items():
        if given == value:
            return fill
    raise BadRequest(f"fill is {str(given)[:50]!r}; expected true or false, or 1 or 0 in an address")


def _form(request: web.Request) -> Form:
    """The form in ``format=``, else the first known one of Accept, else JSON."""
    if named := request.query.get("format"):
        return checked_form(named)
    accepted = [part.split(";")[0].strip() for part in request.headers.get("Accept", "").split(",")]
    return next((form for kind in accepted for form, name in api.MEDIA.items() if name == kind), "json")
