"""From our errors to DRMS status and HTTP code: the one table, and the middleware that applies it.

JSOC's programs answer every error with HTTP 200 and a status in the JSON; so do we at JSOC's own paths.
The mirror's own API answers with the HTTP code.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.drms.errors import (
    BadRequest,
    ConfigError,
    MirrorError,
    NotHeld,
    Refused,
    StorageError,
    SyntaxProblem,
    UnknownName,
    UnknownSeries,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamUnreachable,
)
from mirror.wire.errors import encode_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)

CGI_PREFIX = "/cgi-bin/"

#: DRMS status and HTTP code of each kind of error; the nearest ancestor counts.
TABLE: dict[type[Exception], tuple[int, int]] = {
    SyntaxProblem: (1, 400),
    UnknownSeries: (1, 404),
    UnknownName: (1, 404),
    Refused: (1, 403),
    BadRequest: (1, 400),
    UpstreamUnreachable: (1, 504),
    UpstreamBroken: (1, 502),
    UpstreamRefused: (1, 502),
    NotHeld: (1, 503),
    StorageError: (1, 507),
    ConfigError: (1, 500),
    MirrorError: (1, 500),
}


def codes(error: MirrorError) -> tuple[int, int]:
    """DRMS status and HTTP code of an error."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into answers; what nobody foresaw is logged once, and answered as such."""
    try:
        return await handler(request)
    except MirrorError as error:
        return problem_response(request, error)
    except web.HTTPException:
        raise
    except Exception:
        log.exception("request failed path=%s", request.path)
        return problem_response(request, MirrorError("the mirror failed on this request; its log says why"))


def problem_response(request: web.Request, error: MirrorError) -> web.Response:
    """The answer to an error, in the manner of the path that was asked."""
    status, code = codes(error)
    if request.path.startswith(CGI_PREFIX):
        return web.Response(body=encode_error(str(error), status), content_type="application/json")
    body: dict[str, object] = {"error": str(error)}
    if isinstance(error, SyntaxProblem):
        body["position"] = error.position
    if isinstance(error, NotHeld):
        body["missing"] = list(error.missing)
    return web.json_response(body, status=code)
