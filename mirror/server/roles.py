"""Which role each path needs: the one table. What is not in it needs ``admin``; a test walks all routes.

A path is written as the router knows it: names in braces, without their patterns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.api.endpoints import ENDPOINTS
from mirror.config.access import Role
from mirror.services.exports.planning import EXPORTS
from mirror.wire.paths import CGI, PROGRAMS, is_program

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Whatever no other path fits: passed on to JSOC.
PASSED = "/{path}"
JSOC_FETCH = CGI + "jsoc_fetch"
#: Programs that do something, whatever the method.
_ACTING = frozenset({JSOC_FETCH, CGI + "checkAddress.sh"})
#: How a parameter says no.
_NO = frozenset({"", "0", "false"})
_UNIT_FILE, _EXPORT_FILE = "/{disk}/{rest}", f"{EXPORTS}/{{request_id}}/{{name}}"
#: Methods that change nothing.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_NOBODY = """
    GET /login /static/{version}/{name}
    POST /login /logout
"""
_READ = """
    GET / /search /search/builder /coverage /series /series/{name} /sql /jobs /jobs/{id} /subscriptions /upkeep
"""


def _lines(text: str, role: Role) -> dict[tuple[str, str], Role]:
    lines = [line.split() for line in text.strip().splitlines()]
    return {(method, path): role for method, *paths in lines for path in paths}


#: Method and path; the method ``*`` stands for all.
ROLES: dict[tuple[str, str], Role] = {
    **_lines(_NOBODY, Role.NOBODY),
    **_lines(_READ, Role.READ),
    **{(e.method, e.path): Role[e.role.upper()] for e in ENDPOINTS},
    **{("*", CGI + program): Role.READ for program in PROGRAMS},
    ("*", JSOC_FETCH): Role.EXPORT,
    ("GET", _UNIT_FILE): Role.READ,
    ("GET", _EXPORT_FILE): Role.READ,
    ("GET", PASSED): Role.READ,
    ("*", PASSED): Role.EXPORT,
}
#: Paths that are JSOC's too: a client that takes us for JSOC reaches these, and no others.
_JSOCS = frozenset({"/", PASSED, _UNIT_FILE, _EXPORT_FILE, *(CGI + p for p in PROGRAMS)})
#: First parts of the paths that are ours alone.
OURS = frozenset(path.split("/")[1] for _, path in ROLES if path not in _JSOCS)


def role_of(method: str, canonical: str, path: str) -> Role:
    """What a request needs; ``canonical`` is the path of its route, ``path`` its own in the normal form."""
    method = "GET" if method in ("HEAD", "OPTIONS") else method
    if canonical == PASSED and is_program(path):
        return Role.EXPORT  # a program of JSOC that we know nothing of
    return ROLES.get((method, canonical), ROLES.get(("*", canonical), Role.ADMIN))


def is_listed(method: str, canonical: str) -> bool:
    """Whether somebody has thought about which role that needs."""
    method = "GET" if method == "HEAD" else method
    return (method, canonical) in ROLES or ("*", canonical) in ROLES


def is_jsocs(canonical: str) -> bool:
    """True for a path that JSOC has as well."""
    return canonical in _JSOCS


def is_page(canonical: str) -> bool:
    """True for what people look at with a browser."""
    rest = (CGI, "/api/", "/static/", "/healthz", "/metrics", EXPORTS)
    return canonical == "/" or not (is_jsocs(canonical) or canonical.startswith(rest))


def acts(method: str, canonical: str, path: str) -> bool:
    """Whether a request may change something, here or at JSOC; ``path`` in the normal form.

    Programs make exports, and register e-mail addresses, by GET as well.
    """
    unknown_program = canonical == PASSED and is_program(path)
    return method not in SAFE or canonical in _ACTING or unknown_program


def costs(canonical: str, query: Mapping[str, str]) -> bool:
    """Whether a GET may have the mirror work, compute or fetch: everything of the API, and pages that ask to fetch."""
    if canonical.startswith("/api/") or canonical == "/metrics":
        return True
    return is_page(canonical) and any(query.get(name, "") not in _NO for name in ("fill", "fetch"))
