"""From our errors to DRMS status and HTTP code: the one table, and the middleware that applies it.

JSOC's programs answer every error with HTTP 200 and a status in the JSON; so do we at JSOC's own paths, but
for requests that forbid to ask JSOC (``only-if-cached``), which HTTP has a code for, and for programs whose
clients hear nothing else.
The mirror's own API answers with the HTTP code.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import ClientConnectionResetError, web

from mirror.errors import (
    BadRequest,
    ConfigError,
    MirrorError,
    NotHeld,
    ObjectStoreError,
    OutOfTime,
    OverLimit,
    Refused,
    StorageError,
    SyntaxProblem,
    TooLarge,
    TooMany,
    UnknownName,
    UnknownSeries,
    UpstreamBroken,
    UpstreamError,
    UpstreamLacks,
    UpstreamRefused,
    UpstreamUnreachable,
    WrongFields,
)
from mirror.readthrough.policy import CacheDemand
from mirror.server.mirror_chain import is_mirror
from mirror.server.requests import HungUp, demand_of
from mirror.upstream.transport import PROBLEM
from mirror.wire.answer import encode_error
from mirror.wire.paths import PROGRAM_PATHS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)

CGI_PREFIX = "/cgi-bin/"
#: The program in whose answers drms does not look for an error; a code and its reason it does pass on. That of
#: checkAddress.sh drms does not look for either: it takes the address for one that is not registered, as far as
#: anybody can tell, and its own suite holds it to that.
DEAF = ("/showextseries",)
GATEWAY_TIMEOUT = 504
#: What others log for a client that hung up.
GONE = 499
#: From this code on an error is ours, and not one that JSOC would have told too.
OURS = 500
#: Characters of a reason that fit into a header.
LONGEST_REASON = 1000

#: DRMS status and HTTP code of each kind of error; the nearest ancestor counts.
TABLE: dict[type[Exception], tuple[int, int]] = {
    SyntaxProblem: (1, 400),
    UnknownSeries: (1, 404),
    UnknownName: (1, 404),
    Refused: (1, 403),
    BadRequest: (1, 400),
    OverLimit: (1, 413),
    OutOfTime: (1, 408),
    TooLarge: (1, 413),
    TooMany: (1, 429),
    UpstreamUnreachable: (1, 504),
    UpstreamBroken: (1, 502),
    UpstreamRefused: (1, 502),
    UpstreamLacks: (1, 502),
    NotHeld: (1, 503),
    StorageError: (1, 507),
    ObjectStoreError: (1, 503),
    ConfigError: (1, 500),
    MirrorError: (1, 500),
}


def codes(error: MirrorError) -> tuple[int, int]:
    """DRMS status and HTTP code of an error."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


class Suggestions:
    """Adds what may have been meant to the error for a series that is not there, at the paths of our own API.

    ``improved`` gives the better error. JSOC's own programs are answered as JSOC does.
    """

    def __init__(self, improved: Callable[[UnknownSeries], Awaitable[UnknownSeries]]) -> None:
        self._improved = improved

    async def improved(self, problem: MirrorError) -> MirrorError:
        """An error as people should read it."""
        return await self._improved(problem) if isinstance(problem, UnknownSeries) else problem

    @web.middleware
    async def suggest(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer; an error for an unknown series says what may have been meant."""
        try:
            return await handler(request)
        except UnknownSeries as problem:
            if not request.path.startswith(("/api/", "/fits/")):
                raise
            raise await self._improved(problem) from problem


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into answers; what nobody foresaw is logged once, and answered as such."""
    try:
        return await handler(request)
    except MirrorError as error:
        return problem_response(request, error)
    except web.HTTPException:
        raise
    except (HungUp, ClientConnectionResetError):
        return web.Response(status=GONE)  # nobody hears it, but the log
    except Exception:
        log.exception("request failed path=%s", request.path)
        return problem_response(request, MirrorError("internal error; see the mirror's log"))


def problem_response(request: web.Request, error: MirrorError) -> web.Response:
    """The answer to an error, in the manner of the path that was asked."""
    response = _problem_response(request, error)
    if isinstance(error, TooMany) and error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return response


def _problem_response(request: web.Request, error: MirrorError) -> web.Response:
    status, code = codes(error)
    forbidden = isinstance(error, NotHeld) and demand_of(request) is CacheDemand.ONLY_IF_CACHED
    code = GATEWAY_TIMEOUT if forbidden else code  # what HTTP has for only-if-cached
    if code >= OURS and is_mirror(request):
        text = quote(str(error)[:LONGEST_REASON])
        return web.json_response({"error": str(error)}, status=code, headers={PROBLEM: text})
    if request.path.startswith(CGI_PREFIX):
        unheard = isinstance(error, NotHeld | UpstreamError) and request.path.endswith(DEAF)
        answered = code if forbidden or unheard else 200
        reason = " ".join(str(error)[:LONGEST_REASON].split()) if unheard else None
        if PROGRAM_PATHS.get(request.path) == "show_info":  # a program that prints text
            text = f"### show_info: {error}\n"
            return web.Response(text=text, status=answered, reason=reason, content_type="text/plain")
        body = encode_error(str(error), status)
        return web.Response(body=body, status=answered, reason=reason, content_type="application/json")
    answer: dict[str, object] = {"error": str(error)}
    if isinstance(error, SyntaxProblem):
        answer["position"] = error.position
    if isinstance(error, WrongFields):
        answer["fields"] = error.fields
    if isinstance(error, NotHeld):
        answer["missing"] = list(error.missing)
    return web.json_response(answer, status=code)
