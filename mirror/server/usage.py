"""Who asks, and how much is sent to whom: the middleware that counts, and the log of requests.

A principal is counted under its token's name; otherwise under a name without a token
(``HTTP_PROXY=http://ada@mirror:8040``), else under the address. Nothing is refused by it: this only counts.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from mirror.api.sql import SQL
from mirror.config.access import without_secret
from mirror.redaction import redacted
from mirror.server.requests import PRINCIPAL, RECORDS, SENT
from mirror.server.roles import EXPORT_FILE, PASSED, UNIT_FILE, is_page
from mirror.services.access.usage import Used
from mirror.wire.paths import PROGRAM_PATHS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler, Middleware

    from mirror.services.access.usage import Accounting

#: How long answers take, by program.
Latency = Callable[[str, float], None]
#: Paths that machines poll every few seconds, or that stay open while somebody looks.
_UNCOUNTED = ("/healthz", "/metrics", "/api/events")
#: Paths of what pages are drawn with, which are not data.
_DRAWING = "/static/"
_LONGEST = 64


def who_asks(headers: Mapping[str, str], address: str | None) -> str:
    """``user:ada``, ``token:1f3a5b7c`` (never the token itself), or the address."""
    given = headers.get("Proxy-Authorization") or headers.get("Authorization") or ""
    kind, _, value = given.partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return f"token:{hashlib.sha256(value.strip().encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
    if kind.lower() == "basic" and (name := _user(value)):
        return f"user:{name}"
    return address or "unknown"


def is_counted(request: web.BaseRequest) -> bool:
    """Whether a request is a user's, and not that of a monitoring machine or an open page of ours."""
    path = request.raw_path.partition("?")[0]  # of another host it is none of these
    return path not in _UNCOUNTED and not path.startswith(_DRAWING)


def asker(request: web.BaseRequest) -> str:
    """Who sends a request, as it is counted and logged."""
    principal = request.get(PRINCIPAL)
    return principal.who if principal is not None and principal.name else who_asks(request.headers, request.remote)


def program_of(request: web.Request) -> str:
    """The kind of a request: the name of a program of JSOC's, or file, sql, api, page, or other."""
    path, resource = request.path, request.match_info.route.resource
    canonical = PASSED if resource is None else resource.canonical
    if program := PROGRAM_PATHS.get(path):
        return program
    if canonical in (UNIT_FILE.path, EXPORT_FILE.path):
        return "file"
    if canonical.startswith("/api/"):
        return "sql" if canonical == SQL.path else "api"
    return "page" if is_page(canonical) else "other"


def counting(accounting: Accounting, latency: Latency) -> Middleware:
    """The middleware that counts with ``accounting``, and measures with ``latency``."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_counted(request):
            return await handler(request)
        who, sent, began = asker(request), 0, time.perf_counter()
        try:
            with accounting.asking(who):
                response = await handler(request)
                sent = _length(response)
                return response
        finally:
            went = sent + request.get(SENT, 0)
            accounting.count(who, Used(requests=1, records=request.get(RECORDS, 0), bytes=went))
            latency(program_of(request), time.perf_counter() - began)

    return count


class Requests(AbstractAccessLogger):
    """One line for each answered request, if the configuration asks for it."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line; the query is left out, since it may be a megabyte or contain an e-mail address."""
        self.logger.info(
            "request method=%s path=%s status=%d bytes=%d ms=%d origin=%s who=%s client=%s",
            request.method,
            request.path,
            response.status,
            response.body_length + request.get(SENT, 0),
            round(time * 1000),
            response.headers.get("X-Mirror"),
            asker(request),
            request.remote,
        )


def _length(response: web.StreamResponse) -> int:
    """Bytes of an answer: those sent, or those about to be sent."""
    if response.prepared:
        return response.body_length
    return (
        len(response.body) if isinstance(response, web.Response) and isinstance(response.body, bytes) else 0
    )


def _user(text: str) -> str:
    try:
        name = base64.b64decode(text.strip(), validate=True).decode("utf-8").partition(":")[0]
    except ValueError:
        return ""
    shown = "".join(c for c in without_secret(name) if c.isprintable())[:_LONGEST]
    if redacted(shown) == shown:
        return shown
    return f"address-{hashlib.sha256(name.encode()).hexdigest()[:8]}"  # distinguishes people, and identifies nobody
