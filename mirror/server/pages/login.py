"""Login on the page: a token in exchange for a cookie that no script can read; and logout."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.errors import Refused, TooMany
from mirror.server.access.gate import COOKIE
from mirror.server.access.refusals import local_path
from mirror.server.errors import codes
from mirror.server.requests import PRINCIPAL, form
from mirror.server.roles import LOG_IN, LOG_OUT, LOGIN_PAGE
from mirror.services.access.authentication import SESSION

if TYPE_CHECKING:
    from mirror.server.pages.site import Site
    from mirror.services.access.audit import Audit
    from mirror.services.access.authentication import Authenticator

log = logging.getLogger(__name__)


class LoginPage:
    """The handlers of /login and /logout."""

    def __init__(self, web_: Site, authenticator: Authenticator, audit: Audit) -> None:
        self._web = web_
        self._authenticator = authenticator
        self._audit = audit

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        LOGIN_PAGE.add(router, self.form)
        LOG_IN.add(router, self.log_in)
        LOG_OUT.add(router, self.log_out)

    async def form(self, request: web.Request) -> web.StreamResponse:
        """The form; ``next`` is the page to go to afterwards."""
        return self._page(request, local_path(request.query.get("next", "/")))

    def _page(self, request: web.Request, onward: str, problem: str = "", status: int = 200) -> web.Response:
        return self._web.page(
            request,
            "login.html",
            status=status,
            onward=onward,
            problem=problem,
            tokens=self._authenticator.has_tokens,
        )

    async def log_in(self, request: web.Request) -> web.StreamResponse:
        """``token, next``: a session, or the form again with what was wrong."""
        given = await form(request)
        token, onward = given.get("token", "").strip(), local_path(given.get("next", "/"))
        try:
            cookie, principal = self._authenticator.log_in(token, request.remote)
        except (Refused, TooMany) as problem:
            log.warning("login refused address=%s", request.remote)
            return self._page(request, onward, str(problem), codes(problem)[1])
        await self._audit.note(principal.who, principal.address, "login", b"", 200)
        response = web.Response(status=303, headers={"Location": onward})
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=int(SESSION),
            httponly=True,
            samesite="Strict",
            secure=request.secure,
            path="/",
        )
        return response

    async def log_out(self, request: web.Request) -> web.StreamResponse:
        """End the session, if there is one."""
        cookie, principal = request.cookies.get(COOKIE), request.get(PRINCIPAL)
        if cookie and principal is not None and principal.session:
            self._authenticator.log_out(cookie)
            await self._audit.note(principal.who, principal.address, "logout", b"", 200)
        response = web.Response(status=303, headers={"Location": "/login"})
        response.del_cookie(COOKIE, path="/")
        return response
