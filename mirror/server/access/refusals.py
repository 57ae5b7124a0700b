"""Which requests of browsers another site sends, and how a request is refused: by a challenge, the login page, or a text.

Also the security headers of all answers.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from aiohttp import web

from mirror.errors import Refused, TooMany
from mirror.server.errors import codes, problem_response
from mirror.server.requests import FOREIGN, is_mirror
from mirror.upstream.transport import PROBLEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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


# ---- requests that another site makes a browser send ---------------------------------------------
# How they are recognized, as pure functions of headers.
#
# Two ways are closed. A page elsewhere may send a form, show a picture, or link to an address that makes an export: its
# browser says where the request comes from (``Sec-Fetch-Site``, ``Origin``, ``Referer``; over plain HTTP the first is not
# sent, and a page can suppress the last one). And a foreign name may resolve to our address (DNS rebinding): then the
# page counts as ours, but ``Host`` has that name. Scripts send none of these headers.

FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_LOCAL = ("localhost", "*.localhost")
_HOST = re.compile(r"(?:\[(?P<ip6>[0-9a-f:.]+)\]|(?P<name>[^:@/\[\]\s]+))(?::[0-9]{0,5})?", re.IGNORECASE)


def is_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """True if a browser says that a page of another site sends this; other clients do not say."""
    site = headers.get("Sec-Fetch-Site", "").strip().lower()
    if site:
        return site not in ("same-origin", "none")
    page = headers.get("Origin", headers.get("Referer"))
    if page is None:
        return False
    try:
        return urlsplit(page).netloc.lower() != headers.get("Host", "").strip().lower()
    except ValueError:
        return True


def is_embedded_elsewhere(headers: Mapping[str, str]) -> bool:
    """True if a page of another site embeds this or its script requests it, rather than linking to it."""
    mode = headers.get("Sec-Fetch-Mode", "navigate").strip().lower()
    return is_from_elsewhere(headers) and mode not in ("navigate", "nested-navigate")


def hides_its_page(headers: Mapping[str, str]) -> bool:
    """True if a browser sends this without naming its page: over plain HTTP a page can arrange that."""
    if any(name in headers for name in ("Sec-Fetch-Site", "Origin", "Referer")):
        return False
    return headers.get("User-Agent", "").startswith("Mozilla/") and "Accept-Language" in headers


def is_of_browser(headers: Mapping[str, str]) -> bool:
    """True if a browser sends this, as far as its headers show."""
    return any(name in headers for name in ("Sec-Fetch-Site", "Origin", "Cookie"))


def is_our_name(host: str, names: Iterable[str]) -> bool:
    """Whether a header ``Host`` names us: an address, this computer, or one of ``names`` (``*`` for anything)."""
    name = _name(host)
    try:
        ip_address(name)
    except ValueError:
        return any(fnmatchcase(name, pattern.lower()) for pattern in (*_LOCAL, *names))
    return True


def _name(host: str) -> str:
    """The header without its port; "" if it is not a name with a port."""
    found = _HOST.fullmatch(host.strip().lower())
    return "" if found is None else found["ip6"] or found["name"].rstrip(".")


def local_path(text: str) -> str:
    """A path of this mirror to redirect to; "/" for anything else, above all addresses of other sites."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if plain and "\\" not in text else "/"
