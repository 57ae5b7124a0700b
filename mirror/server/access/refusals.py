"""How a request is refused: by a challenge, the login page, or a text; and the security headers of all answers."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

from mirror.errors import Refused, TooMany
from mirror.server.access.csrf import is_of_browser
from mirror.server.errors import codes, problem_response
from mirror.server.mirror_chain import is_mirror
from mirror.server.requests import FOREIGN
from mirror.upstream.transport import PROBLEM

if TYPE_CHECKING:

    from mirror.errors import MirrorError


#: What a page of ours may load and do; ``blob:`` and ``data:`` are pictures that our own scripts make.
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)


HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


_REALM = 'realm="jsoc-mirror"'
#: For JSOC's pages below our address: their scripts run, but not as ours, and their requests do not name us.
_FOREIGN = {
    "Content-Security-Policy": "sandbox allow-scripts allow-forms allow-popups allow-downloads",
    "Referrer-Policy": "no-referrer",
}
#: The most characters of a text in the first line of an answer.
_LINE = 200


class Unknown(Refused):
    """An unknown client, which may authenticate."""


def refused(request: web.Request, problem: MirrorError, *, page: bool, proxied: bool) -> web.Response:
    """The answer to a request that is not admitted."""
    if is_mirror(request):  # at JSOC's own paths it would take our text for JSOC's
        code = codes(problem)[1] if isinstance(problem, TooMany) else 407 if proxied else 401
        return web.json_response({"error": str(problem)}, status=code, headers={PROBLEM: quote(str(problem))})
    if not isinstance(problem, Unknown):
        response = problem_response(request, problem)
        if page:
            later = {k: v for k, v in response.headers.items() if k == "Retry-After"}
            return web.Response(text=f"{problem}\n", status=codes(problem)[1], headers=later)
        return response
    if page and request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return web.Response(
            status=303, headers={"Location": f"/login?next={quote(request.path_qs, safe='')}"}
        )
    return _challenge(request, problem, proxied=proxied)


def _challenge(request: web.Request, problem: MirrorError, *, proxied: bool) -> web.Response:
    status, name = (407, "Proxy-Authenticate") if proxied else (401, "WWW-Authenticate")
    # A script of our pages handles this itself; with Basic a browser would ask for a password first.
    kinds = ["Basic"] if proxied else ["Bearer"] if is_of_browser(request.headers) else ["Basic", "Bearer"]
    reason = " ".join(str(problem)[:_LINE].split())
    response = web.json_response({"error": str(problem)}, status=status, reason=reason)
    for kind in kinds:
        response.headers.add(name, f"{kind} {_REALM}")
    return response


async def secured(request: web.Request, response: web.StreamResponse) -> None:
    """The security headers for browsers. To a client that takes us for JSOC, JSOC's pages are not foreign."""
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if not request.raw_path.startswith("/"):
        return
    if request.get(FOREIGN) or response.headers.get("X-Mirror") in ("passed", "forwarded"):
        response.headers.update(_FOREIGN)
        return
    if response.content_type == "text/html":
        for header, value in HEADERS.items():
            response.headers.setdefault(header, value)
