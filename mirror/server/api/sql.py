"""``/api/sql``: one statement in, its answer streamed out as Arrow, JSON, CSV or Parquet."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mirror.errors import BadRequest, MirrorError, TooLarge
from mirror.server.bodies import parse_json
from mirror.server.requests import while_connected
from mirror.services.sql.question import MOST_BYTES, checked_form, checked_params, checked_sql

if TYPE_CHECKING:
    from mirror.services.sql.question import Form, Params
    from mirror.services.sql.service import Analytics

log = logging.getLogger(__name__)

TYPES: dict[Form, str] = {
    "json": "application/json",
    "arrow": "application/vnd.apache.arrow.stream",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}


_SAID = {None: False, True: True, False: False, "1": True, "0": False, "true": True, "false": False}


class SqlApi:
    """The handler of /api/sql."""

    def __init__(self, analytics: Analytics) -> None:
        self._analytics = analytics

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve it by GET, for short statements, and by POST."""
        router.add_get("/api/sql", self.sql)
        router.add_post("/api/sql", self.sql)

    async def sql(self, request: web.Request) -> web.StreamResponse:
        """``query``, ``params``, ``format`` and ``fill``, see ``docs/sql.md``; what is wrong is told before anything is sent.

        An answer that fails in the middle is broken off, so that no client takes a part for the whole.
        """
        sql, params, form, fill = await _asked(request)
        principal = request.remote or ""
        async with (
            while_connected(request),
            self._analytics.ask(sql, params, form, principal=principal, fill=fill) as answer,
        ):
            response = web.StreamResponse(headers={"Content-Type": TYPES[form]})
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


async def _asked(request: web.Request) -> tuple[str, Params, Form, bool]:
    """Statement, parameters, form, and whether to fetch what is missing; BadRequest if there is no statement."""
    given: dict[str, Any] = dict(request.query) if request.method == "GET" else await _body(request)
    sql = given.get("query")
    if not isinstance(sql, str) or not sql.strip():
        raise BadRequest(
            "there is no statement; expected SQL as the body, or JSON with a text as its member query"
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
    told = parse_json(text, "the body")
    if not isinstance(told, dict):
        raise BadRequest('the body is JSON but no object; expected {"query": "SELECT ...", "params": [...]}')
    return told


async def _read(request: web.Request) -> bytes:
    """The body; TooLarge as soon as it is known to be larger than a statement with its parameters may be."""
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
    """What ``format=`` says, else the first of Accept that there is, else JSON."""
    if named := request.query.get("format"):
        return checked_form(named)
    accepted = [part.split(";")[0].strip() for part in request.headers.get("Accept", "").split(",")]
    return next((form for kind in accepted for form, name in TYPES.items() if name == kind), "json")
