"""Whom the mirror lets in: tokens, sessions of the page, and patience with those who guess.

Secrets are kept as digests only. A token costs its hash once; after that a digest in memory is enough, until
its table in config.toml changes or goes. A session lives as long as its token does, and no longer than a day.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.access import Address, Role, address_of, fits, name_in, role_of_address
from mirror.drms.errors import Refused
from mirror.services.guessing import Guessing

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.config import Access, Config, Token

#: Seconds that a session of the page holds.
SESSION = 12 * 3600.0
#: Sessions, and tokens that were seen, kept in memory.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Asker:
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


class Doors:
    """Who is let in by a configuration; ``now`` gives Unix seconds."""

    def __init__(self, config: Config, now: Callable[[], float]) -> None:
        self._now = now
        self._key = secrets.token_bytes(32)
        self._seen: dict[bytes, Token] = {}
        self._sessions: dict[str, _Session] = {}
        self._hashing = asyncio.Lock()
        self._guessing = Guessing(now)
        self._access, self._tokens = config.access, {t.name: t for t in config.token}

    def apply(self, config: Config) -> None:
        """Let in whom another configuration names; tokens that went are refused from now on, and their sessions."""
        self._access, self._tokens = config.access, {t.name: t for t in config.token}

    @property
    def access(self) -> Access:
        """The section of the configuration that holds."""
        return self._access

    @property
    def has_tokens(self) -> bool:
        """Whether there are tokens at all."""
        return bool(self._tokens)

    def by_address(self, remote: str | None, *, passed_on: bool = False) -> Asker:
        """What may be done from an address without a token; ``passed_on`` by a server in front it is not this computer."""
        address = address_of(remote)
        role = role_of_address(address, self._access.networks, tokens=self.has_tokens or passed_on)
        return Asker(_shown(address), role, ambient=True)

    async def by_token(self, token: str, remote: str | None) -> Asker | None:
        """Whoever sends this token, None if it is not one; TooMany for an address that guesses."""
        address = address_of(remote)
        digest = self._digest(token)
        known = self._remembered(digest)
        if known is None:
            async with (
                self._hashing
            ):  # each hash takes its memory, and the same token comes many times at once
                known = self._remembered(digest) or await self._verified(token, digest, address)
        return None if known is None else Asker(_shown(address), known.role, known.name)

    async def _verified(self, token: str, digest: bytes, address: Address | None) -> Token | None:
        self._guessing.admit(address)
        claimed = self._tokens.get(name_in(token) or "")
        if claimed is None or not await asyncio.to_thread(fits, token, claimed.hash):
            self._guessing.failed(address)
            return None
        self._guessing.succeeded(address)
        _bound(self._seen)
        self._seen[digest] = claimed
        return claimed

    def _remembered(self, digest: bytes) -> Token | None:
        """The token of a digest that was seen before, if it still stands in the configuration as it did then."""
        seen = self._seen.get(digest)
        now = self._tokens.get(seen.name) if seen else None
        if seen is None or now is None or now.hash != seen.hash:
            return None
        return now

    def _digest(self, token: str) -> bytes:
        return hmac.digest(self._key, token.encode("utf-8", "replace"), "sha256")

    # ---- sessions of the page ---------------------------------------------------------------------

    async def log_in(self, token: str, remote: str | None) -> tuple[str, Asker]:
        """A new session's cookie; Refused if that is no token, TooMany for an address that guesses."""
        asker = await self.by_token(token, remote)
        if asker is None:
            raise Refused("this is not a token of this mirror, or not any more")
        cookie = secrets.token_urlsafe(32)
        for old in [key for key, session in self._sessions.items() if session.until < self._now()]:
            del self._sessions[old]
        _bound(self._sessions)
        self._sessions[_hashed(cookie)] = _Session(self._tokens[asker.name], self._now() + SESSION)
        return cookie, asker

    def by_session(self, cookie: str, remote: str | None) -> Asker | None:
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
        return Asker(_shown(address_of(remote)), token.role, token.name, session=key)

    def log_out(self, cookie: str) -> None:
        """End a session."""
        self._sessions.pop(_hashed(cookie), None)

    def form_token(self, asker: Asker) -> str:
        """What a form must bring along, so that it is one of ours, made for this asker."""
        return hmac.new(self._key, f"form {asker.session}".encode(), "sha256").hexdigest()

    def is_form_token(self, asker: Asker, given: str) -> bool:
        """Whether a form brought it along."""
        return hmac.compare_digest(self.form_token(asker).encode(), given.encode("utf-8", "replace"))


def _hashed(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()


def _shown(address: Address | None) -> str:
    return "unknown" if address is None else str(address)


def _bound(kept: dict[str, _Session] | dict[bytes, Token]) -> None:
    """Make room for one more, the oldest first."""
    while len(kept) >= MOST:
        kept.pop(next(iter(kept)))  # type: ignore[call-overload]
