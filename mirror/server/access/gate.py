"""The gate, which sees a request first: who sends it, whether the role suffices, and whether a browser was tricked.

Proxy requests (absolute targets) identify the sender by ``Proxy-Authorization``, and get 407 without it; all others by
``Authorization`` or the cookie of a session, and get 401. These headers are never logged, and malformed ones are
treated like missing ones.
"""

from __future__ import annotations

import base64
import logging
import socket
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.config.access import Role, name_in
from mirror.errors import BadRequest, MirrorError, Refused, TooMany
from mirror.server.access.refusals import (
    FORMS,
    Unknown,
    hides_its_page,
    is_embedded_elsewhere,
    is_from_elsewhere,
    is_of_browser,
    is_our_name,
    refused,
    secured,
)
from mirror.server.errors import problem_response
from mirror.server.requests import FORM_TOKEN, PRINCIPAL, form, is_mirror, is_passed_on
from mirror.server.roles import PASSED, SAFE, acts, costs, is_jsocs, is_page, role_of
from mirror.server.usage import is_counted
from mirror.wire.params import decode_params
from mirror.wire.paths import JSOC_HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp.typedefs import Handler

    from mirror.server.jsoc.proxy import Proxy
    from mirror.services.access.audit import Audit
    from mirror.services.access.authentication import Authenticator, Principal
    from mirror.services.access.quotas import Quotas


COOKIE = "jsoc-mirror"


@dataclass(frozen=True, slots=True)
class Credentials:
    """``user`` is the name that the sender gives, ``secret`` the proof; "" for what is missing."""

    user: str = ""
    secret: str = ""


NONE = Credentials()


def read_credentials(header: str) -> Credentials:
    """The header ``Authorization`` or ``Proxy-Authorization``: Bearer, or Basic whose password is the token.

    A token in place of the user name counts too. A malformed header counts as none.
    """
    kind, _, value = header.strip().partition(" ")
    if kind.lower() == "bearer":
        return Credentials(secret=value.strip())
    if kind.lower() != "basic":
        return NONE
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except ValueError:
        return NONE
    user, _, secret = text.partition(":")
    named = name_in(user)
    if named is not None and not secret:
        return Credentials(named, user)
    return Credentials(named or user, secret)


log = logging.getLogger(__name__)


class Gate:
    """Admits the requests that ``authenticator`` admits; ``machine`` is the name of this computer."""

    def __init__(
        self, authenticator: Authenticator, audit: Audit, proxy: Proxy, quotas: Quotas, machine: str = ""
    ) -> None:
        self._quotas = quotas
        self._authenticator = authenticator
        self._audit = audit
        self._proxy = proxy
        name = machine or socket.gethostname()
        self._names = (name, name.partition(".")[0], name.partition(".")[0] + ".local")
        self._running: Counter[str] = Counter()

    def guard(self, app: web.Application) -> None:
        """Add security headers for browsers to every answer of an application."""
        app.on_response_prepare.append(secured)

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Admit the request, or say why not."""
        proxied = not request.raw_path.startswith("/")
        resource = request.match_info.route.resource
        canonical = PASSED if resource is None else resource.canonical
        if proxied and not is_jsocs(canonical):
            canonical = PASSED
        others = proxied and self._proxy.is_for_others(request)
        needed = Role.READ if others else role_of(request.method, canonical, request.rel_url.raw_path)
        if needed is Role.NOBODY and request.method in SAFE and not is_page(canonical):
            return await handler(request)
        with self._counted(request) as admitted:
            if not admitted:
                return problem_response(
                    request, TooMany("too many concurrent requests from this address")
                )
            return await self._answer(request, handler, canonical, needed, proxied=proxied)

    @web.middleware
    async def pass_on(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The last step before the handlers: a client that takes us for JSOC reaches JSOC's paths only."""
        resource = request.match_info.route.resource
        if request.raw_path.startswith("/") or resource is None or is_jsocs(resource.canonical):
            return await handler(request)
        return await self._proxy.handle(request)

    async def _answer(
        self, request: web.Request, handler: Handler, canonical: str, needed: Role, *, proxied: bool
    ) -> web.StreamResponse:
        try:
            principal = await self._principal(request, proxied=proxied)
            request[PRINCIPAL] = principal
            token = self._authenticator.token(principal.name)
            if token is not None and is_counted(request):
                self._quotas.check(token)
            if is_page(canonical):
                request[FORM_TOKEN] = self._authenticator.form_token(principal)
            await self._check(request, principal, canonical, needed, proxied=proxied)
        except (BadRequest, TooMany) as problem:
            response: web.StreamResponse = refused(request, problem, page=is_page(canonical), proxied=proxied)
            await self._note(request, needed, response.status, let_in=False)
            return response
        try:
            response = await handler(request)
        except web.HTTPException as answer:
            await self._note(request, needed, answer.status)
            raise
        await self._note(request, needed, response.status)
        return response

    async def _note(self, request: web.Request, needed: Role, code: int, *, let_in: bool = True) -> None:
        """Record an action that only admins may do, done or refused."""
        if needed is not Role.ADMIN or request.method in SAFE:
            return
        principal, body = request.get(PRINCIPAL) or self._authenticator.by_address(request.remote), b""
        if let_in and request.content_type == "application/json":
            with suppress(web.HTTPException, ConnectionError):
                body = await request.read()  # the handler has read it, so aiohttp has it
        await self._audit.note(principal.who, principal.address, f"{request.method} {request.path}", body, code)

    async def _principal(self, request: web.Request, *, proxied: bool) -> Principal:
        """Who sends it; Unknown for an invalid token, TooMany after too many of them."""
        given = read_credentials(
            request.headers.get("Proxy-Authorization" if proxied else "Authorization", "")
        )
        if given.secret and self._authenticator.has_tokens:
            found = self._authenticator.by_token(given.secret, request.remote)
            if found is None:
                log.warning("invalid token address=%s path=%s", request.remote, request.path)
                raise Unknown("Invalid or revoked token.")
            return found
        cookie = None if proxied else request.cookies.get(COOKIE)
        found = self._authenticator.by_session(cookie, request.remote) if cookie else None
        if found is not None:
            return found
        return self._authenticator.by_address(request.remote, passed_on=is_passed_on(request))

    async def _check(
        self, request: web.Request, principal: Principal, canonical: str, needed: Role, *, proxied: bool
    ) -> None:
        """Pass if this principal may send this request; Unknown or Refused otherwise."""
        if principal.role < needed:
            raise _too_little(principal, needed, tokens=self._authenticator.has_tokens)
        acting = acts(request.method, canonical, request.rel_url.raw_path)
        if not proxied and principal.ambient and needed is not Role.NOBODY:
            self._check_host(request, canonical, acting=acting)
        _check_sender(request, canonical, acting=acting, proxied=proxied)
        if not proxied and request.method not in SAFE and is_page(canonical):
            await self._check_form(request, principal)

    def _check_host(self, request: web.Request, canonical: str, *, acting: bool) -> None:
        """Refused for a page, the API or an export under a foreign name; for exports JSOC's names are ours."""
        names = (*self._authenticator.access.hosts, *self._names)
        if is_page(canonical) or not is_jsocs(canonical):
            _check_name(request.host, names)
        elif acting and not is_mirror(request):  # no page can make a browser send the header Via
            _check_name(request.host, (*names, *JSOC_HOSTS))

    async def _check_form(self, request: web.Request, principal: Principal) -> None:
        """Refused for a form that is not ours. Only browsers can be tricked into sending one."""
        if request.content_type not in FORMS or not is_of_browser(request.headers):
            return
        given = (await form(request)).get("form_token", "")
        if not self._authenticator.is_form_token(principal, given):
            raise Refused("this form has expired; reload the page and try again")

    @contextmanager
    def _counted(self, request: web.Request) -> Iterator[bool]:
        """While this is open the request counts for its address; False if there are too many."""
        address, most = request.remote or "", self._authenticator.access.requests
        if most is not None and self._running[address] >= most:
            yield False
            return
        self._running[address] += 1
        try:
            yield True
        finally:
            self._running[address] -= 1
            if not self._running[address]:
                del self._running[address]


def _too_little(principal: Principal, needed: Role, *, tokens: bool) -> MirrorError:
    """The text for somebody whose role is not enough."""
    if principal.ambient and tokens:
        return Unknown(f"this requires a token with role {needed}; create one with `mirror token create`")
    if principal.ambient and principal.role is Role.NOBODY:
        return Refused(f"{principal.address} is in no network of [access] in the mirror's config.toml")
    return Refused(f"this requires role {needed}; {principal.who} has role {principal.role}")


def _check_sender(request: web.Request, canonical: str, *, acting: bool, proxied: bool) -> None:
    """Refused if another site's page makes a browser request what acts, costs, or is meant for our own pages.

    A proxy request counts as one to JSOC's site: the browser has that in ``Host``.
    """
    headers = request.headers
    costly, query = False, {}
    if (not proxied and not is_jsocs(canonical)) or is_page(canonical):
        query = decode_params(request.rel_url.raw_query_string)
        costly = not proxied and costs(canonical, query)
    if (acting or costly) and is_from_elsewhere(headers):
        raise Refused("request from another site refused; use the mirror's own pages")
    asks_to_fetch = costly and not is_page(canonical) and any(name in query for name in ("fill", "fetch"))
    if (acting or asks_to_fetch) and hides_its_page(headers):
        raise Refused(
            "request refused: the browser sent no Referer; use the mirror's own pages, or a program"
        )
    if not proxied and canonical != PASSED and is_embedded_elsewhere(headers):
        raise Refused("other sites may link to this mirror but not embed it")


def _check_name(host: str, names: tuple[str, ...]) -> None:
    if not is_our_name(host, names):
        raise Refused(
            f"{host[:100]!r} is not a known name of this mirror; add it to hosts in [access] in config.toml, or "
            "use a token"
        )
