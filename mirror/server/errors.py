"""From our errors to DRMS status and HTTP code: the one table, and the middleware that applies it.

JSOC's programs answer every error with HTTP 200 and a status in the JSON; so do we at JSOC's own paths, except for
requests that forbid asking JSOC (``only-if-cached``), for which HTTP has a code, and for programs whose clients notice
nothing else. The mirror's own API answers with the HTTP code.
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
from mirror.server.requests import HungUp, demand_of, is_mirror
from mirror.upstream.transport import PROBLEM
from mirror.wire.answer import encode_error
from mirror.wire.paths import PROGRAM_PATHS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aiohttp.typedefs import Handler


log = logging.getLogger(__name__)

CGI_PREFIX = "/cgi-bin/"
#: The program in whose answers drms does not look for an error; it does pass on a code and its reason. In answers of
#: checkAddress.sh drms does not look for one either: it then takes the address for one that is not registered, and its
#: own suite tests that.
DEAF = ("/showextseries",)
GATEWAY_TIMEOUT = 504
#: The code that other servers log for a client that disconnected.
GONE = 499
#: From this code on an error is ours, and not one that JSOC would also give.
OURS = 500
#: The most characters of a reason in a header.
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
    """Adds similar names to the error for an unknown series, at the paths of our own API.

    ``improved`` gives the better error. JSOC's own programs are answered as JSOC does.
    """

    def __init__(self, improved: Callable[[UnknownSeries], Awaitable[UnknownSeries]]) -> None:
        self._improved = improved

    async def improved(self, problem: MirrorError) -> MirrorError:
        """An error as people should read it."""
        return await self._improved(problem) if isinstance(problem, UnknownSeries) else problem

    @web.middleware
    async def suggest(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer; the error for an unknown series suggests similar names."""
        try:
            return await handler(request)
        except UnknownSeries as problem:
            if not request.path.startswith(("/api/", "/fits/")):
                raise
            raise await self._improved(problem) from problem


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into answers; unexpected ones are logged once, and answered too."""
    try:
        return await handler(request)
    except MirrorError as error:
        return problem_response(request, error)
    except web.HTTPException:
        raise
    except (HungUp, ClientConnectionResetError):
        return web.Response(status=GONE)  # only the log sees it
    except Exception:
        log.exception("request failed path=%s", request.path)
        return problem_response(request, MirrorError("internal error; see the mirror's log"))


def problem_response(request: web.Request, error: MirrorError) -> web.Response:
    """The answer to an error, in the form of the requested path."""
    response = _problem_response(request, error)
    if isinstance(error, TooMany) and error.retry_after is not None:
        response.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    return response


def _problem_response(request: web.Request, error: MirrorError) -> web.Response:
    status, code = codes(error)
    forbidden = isinstance(error, NotHeld) and demand_of(request) is CacheDemand.ONLY_IF_CACHED
    code = GATEWAY_TIMEOUT if forbidden else code  # HTTP's code for only-if-cached
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
