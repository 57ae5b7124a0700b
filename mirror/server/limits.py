"""What a request may have: the one table of its limits. Pure: numbers, and questions about heads of requests.

Rule for editors: everything that comes before the work on a request (router, cookies, media types, forms) takes
time that grows faster than the text. So each text has a bound here, and it is checked before any of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.wire.params import MOST_PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Iterable

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

#: Bytes of the request target, which holds the query: a record set of 80,000 characters, all of them escaped.
#: JSOC's own server takes 8 kB; what is longer is for POST.
TARGET = 256 * KIB
#: Bytes of what is before the query: the path, and the host where the target is absolute. A path of a file in
#: a storage unit has some 300 at most.
PATH = 4 * KIB
#: Parameters of a query or a form.
PARAMETERS = MOST_PARAMETERS
#: Headers: how many, and bytes of each and of all together.
HEADERS, HEADER, ALL_HEADERS = 100, 8190, 32 * KIB
#: Bytes of headers that are read by code for which 8 kB would be much.
SHORT_HEADERS = {
    "content-type": 256,
    "content-disposition": 256,
    "content-length": 20,
    "host": 300,
    "if-range": 300,
    "range": 300,
    "transfer-encoding": 100,
}
#: Requests of one connection that are read ahead of the one that is being answered.
READ_AHEAD = 2

#: Seconds for a whole head, and for a connection on which nothing happens.
HEAD_SECONDS, IDLE_SECONDS = 20.0, 75.0
#: A body has so many seconds before its bytes are counted, and then comes faster than so many a second.
BODY_SECONDS, BODY_RATE = 20.0, 512
#: Seconds after which a client that takes nothing of its answer is given up.
STALLED_SECONDS = 600
#: Seconds for which the rest of a body that nobody wants is read, so that the client sees the answer.
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
#: Those of JSOC's programs, answered here or passed on: a record set of 262,144 characters, all of them escaped.
JSOC_BODY = MIB
JSOC_PATHS = ("/cgi-bin/", "/{path}")


@dataclass(frozen=True, slots=True)
class Excess:
    """Why a request is not taken: the code of HTTP, and in words what was expected."""

    status: int
    reason: str


def body_limit(canonical: str) -> int:
    """Bytes that the body of a request may have on the route of this path, as the router writes it."""
    if canonical.startswith(JSOC_PATHS):
        return JSOC_BODY
    return BODIES.get(canonical, BODY)


def target_excess(target: str) -> Excess | None:
    """What is too much about a request target, if anything."""
    before, _, query = target.partition("?")
    if len(target) > TARGET:
        return Excess(414, f"the address is longer than {TARGET:,} bytes; send its parameters with POST")
    if len(before) > PATH:
        return Excess(414, f"the path has {len(before):,} bytes; expected at most {PATH:,}")
    if not target.startswith("/") and "xn--" in before.lower():
        # aiohttp decodes it before any code of ours, in quadratic time, and gives no answer if it cannot.
        return Excess(400, "a host with letters beyond ASCII (xn--) is not served; this is a proxy for JSOC only")
    if query.count("&") >= PARAMETERS:
        return Excess(414, f"the query has {query.count('&') + 1:,} parameters; expected at most {PARAMETERS:,}")
    return None


def headers_excess(headers: Iterable[tuple[bytes, bytes]]) -> Excess | None:
    """What is too much about headers, if anything; a body that is compressed is not taken either."""
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
