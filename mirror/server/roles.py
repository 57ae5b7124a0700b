"""The paths of a mirror with the role that each needs: those of our API from its contract, those of pages and JSOC here.

Handlers are added by these tables, so every path has a role. A path that is in no table needs ``admin``; a test walks
all routes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mirror.api.endpoints import ENDPOINTS
from mirror.config.access import Role
from mirror.services.exports.planning import EXPORTS
from mirror.wire.paths import PROGRAM_PATHS, is_program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import web
    from aiohttp.typedefs import Handler

#: Matches what no other path matches: passed on to JSOC.
PASSED = "/{path}"
#: Paths of jsoc_fetch, and of all programs with effects, whatever the method.
_FETCHES = frozenset(path for path, program in PROGRAM_PATHS.items() if program == "jsoc_fetch")
_ACTING = _FETCHES | {path for path, program in PROGRAM_PATHS.items() if program == "checkAddress.sh"}
#: Values of a parameter that mean no.
_NO = frozenset({"", "0", "false"})
#: Methods that change nothing.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Route(NamedTuple):
    """A path of a page or of JSOC's, and the role that it needs; the method ``*`` stands for all.

    ``path`` has its variables without their patterns, as the router reports it; ``pattern`` is what the router is
    given. Those of our API are in ``mirror.api``.
    """

    method: str
    path: str
    role: Role
    pattern: str = ""

    def add(self, router: web.UrlDispatcher, handler: Handler) -> None:
        """Add its handler to the router."""
        if self.method == "GET":
            router.add_get(self.pattern or self.path, handler)  # HEAD too
        else:
            router.add_route(self.method, self.pattern or self.path, handler)


FRONT = Route("GET", "/", Role.READ)
SEARCH_PAGE = Route("GET", "/search", Role.READ)
BUILDER = Route("GET", "/search/builder", Role.READ)
COVERAGE_PAGE = Route("GET", "/coverage", Role.READ)
SERIES_LIST = Route("GET", "/series", Role.READ)
SERIES_PAGE = Route("GET", "/series/{name}", Role.READ)
SQL_PAGE = Route("GET", "/sql", Role.READ)
JOBS_PAGE = Route("GET", "/jobs", Role.READ)
JOB_PAGE = Route("GET", "/jobs/{id}", Role.READ)
SUBSCRIPTIONS_PAGE = Route("GET", "/subscriptions", Role.READ)
DATASETS_PAGE = Route("GET", "/datasets", Role.READ)
DATASET_PAGE = Route("GET", "/datasets/{name}", Role.READ)
UPKEEP_PAGE = Route("GET", "/upkeep", Role.READ)
CLUSTER_PAGE = Route("GET", "/cluster", Role.READ)
LOGIN_PAGE = Route("GET", "/login", Role.NOBODY)
LOG_IN = Route("POST", "/login", Role.NOBODY)
LOG_OUT = Route("POST", "/logout", Role.NOBODY)
STATIC = Route("GET", "/static/{version}/{name}", Role.NOBODY, "/static/{version}/{name:.+}")
PAGES = (
    FRONT, SEARCH_PAGE, BUILDER, COVERAGE_PAGE, SERIES_LIST, SERIES_PAGE, SQL_PAGE, JOBS_PAGE, JOB_PAGE,
    SUBSCRIPTIONS_PAGE, DATASETS_PAGE, DATASET_PAGE, UPKEEP_PAGE, CLUSTER_PAGE, LOGIN_PAGE, LOG_IN, LOG_OUT, STATIC,
)  # fmt: skip

#: JSOC's programs, by each of their paths: an export has effects.
PROGRAM_ROUTES = {
    path: Route("*", path, Role.EXPORT if path in _FETCHES else Role.READ) for path in PROGRAM_PATHS
}
UNIT_FILE = Route("GET", "/{disk}/{rest}", Role.READ, r"/{disk:SUM\d*}/{rest:D\d+/S\d+/.+}")
EXPORT_FILE = Route("GET", f"{EXPORTS}/{{request_id}}/{{name}}", Role.READ, f"{EXPORTS}/{{request_id}}/{{name:.*}}")
#: Every other path: for GET, and for all methods.
LOOKED_AT = Route("GET", PASSED, Role.READ)
PASSED_ON = Route("*", PASSED, Role.EXPORT, "/{path:.*}")
_JSOC_ROUTES = (*PROGRAM_ROUTES.values(), UNIT_FILE, EXPORT_FILE, LOOKED_AT, PASSED_ON)

#: Method and path; the method ``*`` stands for all.
ROLES: dict[tuple[str, str], Role] = {
    **{(e.method, e.path): Role[e.role.upper()] for e in ENDPOINTS},
    **{(route.method, route.path): route.role for route in (*PAGES, *_JSOC_ROUTES)},
}
#: Paths that are JSOC's too: a client that takes us for JSOC reaches these, and no others.
_JSOCS = frozenset({FRONT.path, *(route.path for route in _JSOC_ROUTES)})
#: First parts of the paths that are ours alone.
OURS = frozenset(path.split("/")[1] for _, path in ROLES if path not in _JSOCS)


def role_of(method: str, canonical: str, path: str) -> Role:
    """The role that a request needs; ``canonical`` is the path of its route, ``path`` its own in the normal form."""
    method = "GET" if method in ("HEAD", "OPTIONS") else method
    if canonical == PASSED and is_program(path):
        return Role.EXPORT  # an unknown program of JSOC
    return ROLES.get((method, canonical), ROLES.get(("*", canonical), Role.ADMIN))


def is_listed(method: str, canonical: str) -> bool:
    """Whether the tables have that path, so that its role was decided on."""
    method = "GET" if method == "HEAD" else method
    return (method, canonical) in ROLES or ("*", canonical) in ROLES


def is_jsocs(canonical: str) -> bool:
    """True for a path that JSOC also has."""
    return canonical in _JSOCS


def is_page(canonical: str) -> bool:
    """True for paths that people open in a browser."""
    rest = ("/cgi-bin/", "/api/", "/static/", "/fits/", "/healthz", "/metrics", EXPORTS)
    return canonical == "/" or not (is_jsocs(canonical) or canonical.startswith(rest))


def acts(method: str, canonical: str, path: str) -> bool:
    """Whether a request may change something, here or at JSOC; ``path`` in the normal form.

    Programs make exports, and register e-mail addresses, by GET as well.
    """
    unknown_program = canonical == PASSED and is_program(path)
    return method not in SAFE or canonical in _ACTING or unknown_program


def costs(canonical: str, query: Mapping[str, str]) -> bool:
    """Whether a GET may make the mirror compute or fetch: the whole API, and pages that are asked to fetch."""
    if canonical.startswith(("/api/", "/fits/")) or canonical == "/metrics":
        return True
    return is_page(canonical) and any(query.get(name, "") not in _NO for name in ("fill", "fetch"))
