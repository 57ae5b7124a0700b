"""The limits of a request, in one table. Pure: numbers, and functions of request heads.

Rule for editors: everything that happens before a request is processed (router, cookies, media types, forms) takes time
that grows faster than the text. So each text has a limit here, which is checked before any of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.wire.params import MOST_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Iterable

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

#: Bytes of the request target, including the query: a record set of 80,000 characters, all of them escaped.
#: JSOC's own server accepts 8 kB; longer queries need POST.
TARGET = 256 * KIB
#: Bytes before the query: the path, and the host if the target is absolute. The path of a file in a storage unit has
#: some 300 at most.
PATH = 4 * KIB
#: Parameters of a query or a form.
PARAMETERS = MOST_PARAMETERS
#: Headers: how many, and bytes of each and of all together.
HEADERS, HEADER, ALL_HEADERS = 100, 8190, 32 * KIB
#: Bytes of headers that are parsed by code for which 8 kB would be too much.
SHORT_HEADERS = {
    "content-type": 256,
    "content-disposition": 256,
    "content-length": 20,
    "host": 300,
    "if-range": 300,
    "range": 300,
    "transfer-encoding": 100,
}
#: Requests of one connection that are read in advance of the one being answered.
READ_AHEAD = 2

#: Seconds for a whole head, and for a connection on which nothing happens.
HEAD_SECONDS, IDLE_SECONDS = 20.0, 75.0
#: A body has so many seconds before its bytes are counted, and must then have at least so many per second.
BODY_SECONDS, BODY_RATE = 20.0, 512
#: Seconds after which a client that reads nothing of its answer is closed.
STALLED_SECONDS = 600
#: Seconds for which an unwanted body is still read, so that the client sees the answer.
LINGER_SECONDS = 5.0

#: Bytes of the body, by the path of the route; ``BODY`` for all others.
BODY = 64 * KIB
BODIES = {
    "/api/sql": MIB,
    "/api/queries": MIB,
    "/api/adopt": MIB,
    "/api/adopt/upload": 4 * GIB,
    "/login": 4 * KIB,
    "/logout": 4 * KIB,
}
#: Bytes of a body for JSOC's programs, here or at JSOC: a record set of 262,144 characters, all of them escaped.
JSOC_BODY = MIB
JSOC_PATHS = ("/cgi-bin/", "/{path}")


@dataclass(frozen=True, slots=True)
class Excess:
    """Why a request is refused: the HTTP code, and what was expected in words."""

    status: int
    reason: str


def body_limit(canonical: str) -> int:
    """The most bytes of a request's body on the route of this path, as the router writes it."""
    if canonical.startswith(JSOC_PATHS):
        return JSOC_BODY
    return BODIES.get(canonical, BODY)


def target_excess(target: str) -> Excess | None:
    """What is too large in a request target, if anything."""
    before, _, query = target.partition("?")
    if len(target) > TARGET:
        return Excess(414, f"the address is longer than {TARGET:,} bytes; send its parameters with POST")
    if len(before) > PATH:
        return Excess(414, f"the path has {len(before):,} bytes; expected at most {PATH:,}")
    if not target.startswith("/") and "xn--" in before.lower():
        # aiohttp decodes it before any of our code, in quadratic time, and gives no answer if it cannot.
        return Excess(400, "a host with letters beyond ASCII (xn--) is not served; this is a proxy for JSOC only")
    if query.count("&") >= PARAMETERS:
        return Excess(414, f"the query has {query.count('&') + 1:,} parameters; expected at most {PARAMETERS:,}")
    return None


def headers_excess(headers: Iterable[tuple[bytes, bytes]]) -> Excess | None:
    """What is too large in the headers, if anything; a compressed body is refused too."""
    total = 0
    for name, value in headers:
        total += len(name) + len(value) + 4
        kind = name.decode("latin-1").lower()
        limit = SHORT_HEADERS.get(kind, HEADER)
        if len(value) > limit:
            return Excess(431, f"the header {kind[:40]} has {len(value):,} bytes; expected at most {limit:,}")
        if kind == "content-encoding" and value.strip().lower() not in (b"", b"identity"):
            return Excess(415, "a body with Content-Encoding is not read; send it as it is")
    if total > ALL_HEADERS:
        return Excess(431, f"the headers have {total:,} bytes; expected at most {ALL_HEADERS:,}")
    return None
