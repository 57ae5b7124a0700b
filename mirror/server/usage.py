"""Who asks, and how much goes to whom: the middleware that counts.

The name of a token stands for the principal; else a name that comes without one (``HTTP_PROXY=http://ada@mirror:8040``),
else the address. Nothing is refused by it: this counts, it does not guard.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.config.access import without_secret
from mirror.redaction import redacted
from mirror.server.requests import PRINCIPAL, RECORDS
from mirror.services.access.usage import Used

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler, Middleware

    from mirror.services.access.usage import Accounting

#: Asked by machines every few seconds, or open for as long as somebody looks.
_UNCOUNTED = ("/healthz", "/metrics", "/api/events")
#: What pages are drawn with, which is none of the data.
_DRAWING = "/static/"
_LONGEST = 64


def who_asks(headers: Mapping[str, str], address: str | None) -> str:
    """``user:ada``, ``token:1f3a5b7c`` (never the token itself), or the address."""
    given = headers.get("Proxy-Authorization") or headers.get("Authorization") or ""
    kind, _, value = given.partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return f"token:{hashlib.sha256(value.strip().encode()).hexdigest()[:8]}"
    if kind.lower() == "basic" and (name := _user(value)):
        return f"user:{name}"
    return address or "unknown"


def counting(accounting: Accounting) -> Middleware:
    """The middleware that counts with ``accounting``."""

    @web.middleware
    async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in _UNCOUNTED or request.path.startswith(_DRAWING):
            return await handler(request)
        principal, sent = request.get(PRINCIPAL), 0
        who = principal.who if principal is not None and principal.name else who_asks(request.headers, request.remote)
        try:
            with accounting.asking(who):
                response = await handler(request)
                sent = _length(response)
                return response
        finally:
            accounting.count(who, Used(requests=1, records=request.get(RECORDS, 0), bytes=sent))

    return count


def _length(response: web.StreamResponse) -> int:
    """Bytes of an answer: those that went, or those that are about to."""
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
    return f"address-{hashlib.sha256(name.encode()).hexdigest()[:8]}"  # tells people apart, and says nothing of them
