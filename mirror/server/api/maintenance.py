"""The API of upkeep: checks, forgetting, who used how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.errors import BadRequest
from mirror.server.bodies import Kinds, json_object
from mirror.server.requests import parameters

if TYPE_CHECKING:
    from mirror.services.access.usage import Accounting
    from mirror.services.maintenance.checker import Checker
    from mirror.services.maintenance.retention import Forgetter

_CHECK: dict[str, Kinds] = {"scope": str, "budget": int, "anew": bool}
_FORGET: dict[str, Kinds] = {"ds": str, "files": bool, "records": bool, "force": bool, "dry_run": bool}
_SCOPES = ("files", "index", "all")


class UpkeepApi:
    """The handlers of /api that are about upkeep."""

    def __init__(self, checker: Checker, forgetter: Forgetter, accounting: Accounting) -> None:
        self._checker = checker
        self._forgetter = forgetter
        self._accounting = accounting

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/api/check", self.progress)
        router.add_post("/api/check", self.check)
        router.add_post("/api/forget", self.forget)
        router.add_get("/api/usage", self.usage)

    async def check(self, request: web.Request) -> web.Response:
        """``scope, budget, anew``: begin a check, go on with one, or join the one that runs."""
        given = await json_object(request, _CHECK)
        scope, budget = given.get("scope", "all"), given.get("budget")
        if scope not in _SCOPES:
            raise BadRequest(f"scope is {scope!r}; expected one of {', '.join(_SCOPES)}")
        if budget is not None and budget < 1:
            raise BadRequest(f"budget is {budget}; expected a number of bytes above 0")
        told = await self._checker.start(scope, budget, anew=given.get("anew", False))
        return web.json_response(told, status=202)

    async def progress(self, _: web.Request) -> web.Response:
        """How far the check is that was asked for last, and what it found."""
        return web.json_response(await self._checker.progress())

    async def forget(self, request: web.Request) -> web.Response:
        """``ds, files, records, force, dry_run``: forget files and records of a record set."""
        given = await json_object(request, _FORGET)
        if not given.get("ds"):
            raise BadRequest(
                "ds is missing; expected a record set, as in hmi.m_720s[2014.01.01/1h], or a series"
            )
        named = {name: given[name] for name in ("files", "records") if name in given}
        wanted = named or {"files": True, "records": True}
        told = await self._forgetter.forget(
            given["ds"],
            files=wanted.get("files", False),
            records=wanted.get("records", False),
            force=given.get("force", False),
            dry_run=given.get("dry_run", False),
        )
        return web.json_response(told)

    async def usage(self, request: web.Request) -> web.Response:
        """``since``: who used the mirror how much, by day."""
        given = await parameters(request)
        return web.json_response(await self._accounting.usage(given.get("since") or None))
