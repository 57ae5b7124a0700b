"""Whom the mirror lets in: tokens, sessions of the page, and a limit on wrong tokens.

Secrets are kept as digests only. A token holds as long as its table stands in config.toml; a session as long as
its token does, and no longer than half a day.

Tables ``[[token]]`` of config.toml: made, listed and taken out. The token itself is told once, and kept nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING

import tomlkit
from tomlkit.items import AoT

from mirror.config.access import Address, Role, address_of, fits, name_in, new_token, role_of_address
from mirror.config.readers import name as read_name
from mirror.errors import BadRequest, ConfigError, Refused, TooMany, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ipaddress import IPv4Network, IPv6Network

    from mirror.config.editing import ConfigFile
    from mirror.config.loading import Access, Config, Token

#: Seconds that a session of the page holds.
SESSION = 12 * 3600.0
#: Sessions, and addresses that sent wrong tokens, kept in memory.
MOST = 10_000
#: Wrong tokens that one address may send in so many seconds.
FAILURES, PERIOD = 10, 60.0


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what may be done: ``name`` that of a token, "" for an address of a network.

    ``ambient`` says that a browser would bring this right along unasked: an address has it, a header has not.
    ``session`` is the digest of a session's cookie, "" without one.
    """

    address: str
    role: Role
    name: str = ""
    ambient: bool = False
    session: str = ""

    @property
    def who(self) -> str:
        """As it is counted and written down."""
        return f"token:{self.name}" if self.name else self.address


@dataclass(frozen=True, slots=True)
class _Session:
    token: Token
    until: float


class FailedLogins:
    """Counts the wrong tokens of an address, so that logs and processor are not flooded; ``now`` gives Unix seconds.

    A right token is never held up by it.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._failures: dict[IPv4Network | IPv6Network | None, tuple[float, int]] = {}

    def count(self, address: Address | None) -> None:
        """Count one more; TooMany if there were too many within the period."""
        source, now = _source(address), self._now()
        since, count = self._failures.pop(source, (now, 0))
        if not 0.0 <= now - since < PERIOD:
            since, count = now, 0
        _bound(self._failures)
        self._failures[source] = since, count + 1
        if count >= FAILURES:
            raise TooMany(
                f"too many invalid tokens from this address; try again in {since + PERIOD - now:.0f} s"
            )


class Authenticator:
    """Who is admitted by a configuration; ``now`` gives Unix seconds."""

    def __init__(self, config: Config, now: Callable[[], float]) -> None:
        self._now = now
        self._key = secrets.token_bytes(32)
        self._sessions: dict[str, _Session] = {}
        self._failed = FailedLogins(now)
        self._ambient: dict[tuple[str | None, bool], Principal] = {}  #: who has no token, as the configuration says
        self._access, self._tokens = config.access, {t.name: t for t in config.token}

    def apply(self, config: Config) -> None:
        """Let in whom another configuration names; tokens that went are refused from now on, and their sessions."""
        self._ambient.clear()
        self._access, self._tokens = config.access, {t.name: t for t in config.token}

    @property
    def access(self) -> Access:
        """The section of the configuration that holds."""
        return self._access

    def token(self, name: str) -> Token | None:
        """The token of that name, if the configuration has it."""
        return self._tokens.get(name)

    @property
    def has_tokens(self) -> bool:
        """Whether there are tokens at all."""
        return bool(self._tokens)

    def by_address(self, remote: str | None, *, passed_on: bool = False) -> Principal:
        """What may be done from an address without a token; ``passed_on`` by a server in front it is not this computer."""
        known = self._ambient.get((remote, passed_on))
        if known is None:
            address = address_of(remote)
            role = role_of_address(address, self._access.networks, tokens=self.has_tokens or passed_on)
            if len(self._ambient) >= MOST:
                self._ambient.clear()
            known = self._ambient[remote, passed_on] = Principal(_shown(address), role, ambient=True)
        return known

    def by_token(self, token: str, remote: str | None) -> Principal | None:
        """Whoever sends this token, None if it is not one; TooMany for an address that sends many wrong ones."""
        address = address_of(remote)
        known = self._tokens.get(name_in(token) or "")
        if known is None or not fits(token, known.hash):
            self._failed.count(address)
            return None
        return Principal(_shown(address), known.role, known.name)

    # ---- sessions of the page ---------------------------------------------------------------------

    def log_in(self, token: str, remote: str | None) -> tuple[str, Principal]:
        """A new session's cookie; Refused if that is no token, TooMany for an address that sends many wrong ones."""
        principal = self.by_token(token, remote)
        if principal is None:
            raise Refused("Invalid or revoked token.")
        cookie = secrets.token_urlsafe(32)
        for old in [key for key, session in self._sessions.items() if session.until < self._now()]:
            del self._sessions[old]
        _bound(self._sessions)
        self._sessions[_hashed(cookie)] = _Session(self._tokens[principal.name], self._now() + SESSION)
        return cookie, principal

    def by_session(self, cookie: str, remote: str | None) -> Principal | None:
        """Whoever has this cookie; None if its session is over."""
        key = _hashed(cookie)
        session = self._sessions.get(key)
        token = self._tokens.get(session.token.name) if session else None
        if (
            session is None
            or token is None
            or token.hash != session.token.hash
            or session.until < self._now()
        ):
            self._sessions.pop(key, None)
            return None
        return Principal(_shown(address_of(remote)), token.role, token.name, session=key)

    def log_out(self, cookie: str) -> None:
        """End a session."""
        self._sessions.pop(_hashed(cookie), None)

    def form_token(self, principal: Principal) -> str:
        """What a form must bring along, so that it is one of ours, made for this principal."""
        return hmac.new(self._key, f"form {principal.session}".encode(), "sha256").hexdigest()

    def is_form_token(self, principal: Principal, given: str) -> bool:
        """Whether a form brought it along."""
        return hmac.compare_digest(self.form_token(principal).encode(), given.encode("utf-8", "replace"))


def _hashed(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()


def _shown(address: Address | None) -> str:
    return "unknown" if address is None else str(address)


def _source(address: Address | None) -> IPv4Network | IPv6Network | None:
    """What counts as one source: an IPv4 address, or the /64 of one host's IPv6 addresses."""
    if address is None:
        return None
    return ip_network((address, 64 if isinstance(address, IPv6Address) else 32), strict=False)


def _bound(kept: dict[str, _Session] | dict[IPv4Network | IPv6Network | None, tuple[float, int]]) -> None:
    """Make room for one more, the oldest first."""
    while len(kept) >= MOST:
        kept.pop(next(iter(kept)))  # type: ignore[arg-type]


TABLE = "token"
NO_LIMITS: Mapping[str, object] = MappingProxyType({})


def create(
    file: ConfigFile, name: str, role: str, random: Callable[[int], bytes], limits: Mapping[str, object] = NO_LIMITS
) -> str:
    """A new token, whose hash stands in the file with its ``limits``; BadRequest for a name that cannot be or is taken."""
    try:
        read_name(name)
    except ValueError as problem:
        raise BadRequest(f"{name!r} is no name of a token; expected {problem}") from None
    document, before = file.read()
    if any(known.name.lower() == name.lower() for known in before.token):
        raise BadRequest(
            f"{file.path} has a token {name!r} already; expected another name, or revoke it first"
        )
    token, hashed = new_token(name, random)
    table = tomlkit.table()
    table.update({"name": name, "role": role, "hash": hashed, **limits})
    tables = _tables(document)
    tables.append(table)
    tables[-1].trivia.indent = "\n"  # a line apart from what stands before
    file.write(document)
    return token


def listed(file: ConfigFile) -> tuple[Token, ...]:
    """The tokens of the file."""
    return file.read()[1].token


def revoke(file: ConfigFile, name: str) -> None:
    """Take a token out; UnknownName if there is none of that name."""
    document, before = file.read()
    names = [token.name.lower() for token in before.token]
    if name.lower() not in names:
        known = ", ".join(token.name for token in before.token)
        raise UnknownName(f"{file.path} has no token {name!r}; {f'expected one of: {known}' if known else 'it has none'}")
    tables = _tables(document)
    del tables[names.index(name.lower())]
    if not len(tables):
        del document[TABLE]
    file.write(document)


def _tables(document: tomlkit.TOMLDocument) -> AoT:
    if TABLE not in document:
        document.add(TABLE, tomlkit.aot())
    tables = document[TABLE]
    if not isinstance(tables, AoT):
        raise ConfigError("the tokens stand in one line; expected each under a heading [[token]]")
    return tables
