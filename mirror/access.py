"""Who may do what: roles, networks, and tokens with their hashes. Pure: no socket, no clock, no file.

A token is ``NAME.SECRET``, 256 random bits after the name of its table in config.toml. There stands only a
hash of it, ``scrypt$N$R$P$SALT$DIGEST``; as the token says by itself whose it is, no more than one hash has to
be computed for it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

#: What scrypt costs: 16 MB and some 40 ms, once for each token that a running mirror sees.
_N, _R, _P = 2**14, 8, 1
#: Bytes that a hash may cost: one in config.toml that asks for more is not taken.
_MOST_MEMORY = 2**26
_SECRET = 32
_SALT = 16
_TOKEN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.([A-Za-z0-9_-]{43})")

Address = IPv4Address | IPv6Address


class Role(IntEnum):
    """What somebody may do; each role may do what those before it may."""

    NOBODY = 0  #: see that there is a mirror, and log in
    READ = 1  #: search, files, SQL, pages
    EXPORT = 2  #: exports and pins
    ADMIN = 3  #: everything else

    @classmethod
    def named(cls, name: str) -> Role:
        """The role that a configuration names; ValueError with what was expected."""
        if name not in ROLES:
            raise ValueError(f"a role, one of {', '.join(ROLES)}")
        return cls[name.upper()]

    def __str__(self) -> str:
        """As a configuration names it."""
        return self.name.lower()


ROLES = ("read", "export", "admin")


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses that have a role without a token."""

    addresses: IPv4Network | IPv6Network
    role: Role

    @classmethod
    def parse(cls, text: str) -> Network:
        """``10.1.0.0/16 export``; without a role it is read. ValueError with what was expected."""
        words = text.split()
        try:
            addresses = ip_network(words[0])
            return cls(addresses, Role.named(words[1]) if len(words) > 1 else Role.READ)
        except (ValueError, IndexError):
            raise ValueError(_NETWORK) from None

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.addresses} {self.role}"


_NETWORK = 'networks with their roles, such as ["10.1.0.0/16 export", "192.168.7.0/24 read"]'


def address_of(text: str | None) -> Address | None:
    """The address that a connection came from, an IPv4 address as such also where IPv6 carries it."""
    try:
        found = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def role_of_address(address: Address | None, networks: Iterable[Network], *, tokens: bool) -> Role:
    """What may be done from an address without a token: what the smallest network says that holds it.

    This computer may do everything where no network names it and there are no ``tokens``.
    """
    if address is None:
        return Role.NOBODY
    fitting = [n for n in networks if n.addresses.version == address.version and address in n.addresses]
    if fitting:
        return max(fitting, key=lambda n: n.addresses.prefixlen).role
    return Role.ADMIN if address.is_loopback and not tokens else Role.NOBODY


def is_loopback(host: str) -> bool:
    """True if a server that listens at ``host`` is heard on its own computer only."""
    address = address_of(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


# ---- tokens ---------------------------------------------------------------------------------------


def new_token(name: str, random: Callable[[int], bytes]) -> tuple[str, str]:
    """A token of this name, and its hash; ``random`` gives so many unpredictable bytes."""
    token = f"{name}.{_text(random(_SECRET))}"
    return token, hash_of(token, random(_SALT))


def name_in(token: str) -> str | None:
    """Whose token it says it is; None for what has not the shape of a token."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def without_secret(text: str) -> str:
    """A text that may be shown: of what looks like a token only the name."""
    return name_in(text) or text


def hash_of(token: str, salt: bytes, n: int = _N, r: int = _R, p: int = _P) -> str:
    """What config.toml keeps of a token."""
    digest = hashlib.scrypt(token.encode(), salt=salt, n=n, r=r, p=p, maxmem=2 * _MOST_MEMORY, dklen=32)
    return f"scrypt${n}${r}${p}${_text(salt)}${_text(digest)}"


def is_hash(text: str) -> bool:
    """True for what ``hash_of`` gives, at a cost that can be borne."""
    return _parts(text) is not None


def fits(token: str, hashed: str) -> bool:
    """Whether a hash is that of the token; takes as long as computing it, and as long if it is not."""
    parts = _parts(hashed)
    if parts is None:
        return False
    n, r, p, salt = parts
    return hmac.compare_digest(hash_of(token, salt, n, r, p).encode(), hashed.encode())


def _parts(text: str) -> tuple[int, int, int, bytes] | None:
    found = re.fullmatch(
        r"scrypt\$(\d{1,8})\$(\d{1,3})\$(\d{1,2})\$([\w-]{11,86})\$([\w-]{43})", text, re.ASCII
    )
    if found is None:
        return None
    n, r, p = (int(found[i]) for i in (1, 2, 3))
    if n < 2 or n & (n - 1) or not r or not p or 128 * n * r > _MOST_MEMORY or p > 4:
        return None
    try:
        return n, r, p, base64.urlsafe_b64decode(found[4] + "=" * (-len(found[4]) % 4))
    except ValueError:
        return None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
