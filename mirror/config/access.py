"""Who may do what: roles, networks, and tokens with their hashes. Pure: no socket, no clock, no file.

A token is ``NAME.SECRET``: 256 random bits after the name of its table in config.toml, which has only a hash of it,
``sha256$DIGEST``. Nobody can guess 256 random bits, so a plain hash protects them; slow, salted hashes are for
passwords that people choose.
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

_SECRET = 32
_TOKEN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.([A-Za-z0-9_-]{43})")

Address = IPv4Address | IPv6Address


class Role(IntEnum):
    """What somebody may do; each role includes those before it."""

    NOBODY = 0  #: see that a mirror is there, and log in
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
        """The name in a configuration."""
        return self.name.lower()


ROLES = ("read", "export", "admin")

_RATE = re.compile(r"\s*([0-9]{1,9})\s*(?:(?:/|per)\s*(s|second|m|min|minute|h|hour|d|day))?\s*")
_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of requests in a number of seconds."""

    requests: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Rate:
        """``600`` (per minute), ``10/s``, ``5000/h``, ``100 per day``; ValueError with what was expected."""
        found = _RATE.fullmatch(text)
        if found is None or not int(found[1]):
            raise ValueError('requests of a minute such as 600, or of another period such as "5000/h"')
        return cls(int(found[1]), _PERIODS[(found[2] or "m")[0]])

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.requests}/{next(letter for letter, seconds in _PERIODS.items() if seconds == self.seconds)}"


@dataclass(frozen=True, slots=True)
class Network:
    """Addresses that have a role without a token."""

    addresses: IPv4Network | IPv6Network
    role: Role

    @classmethod
    def parse(cls, text: str) -> Network:
        """``10.1.0.0/16 export``; without a role it has ``read``. ValueError with what was expected."""
        words = text.split()
        try:
            addresses = ip_network(words[0])
            return cls(addresses, Role.named(words[1]) if len(words) > 1 else Role.READ)
        except (ValueError, IndexError):
            raise ValueError(_NETWORK) from None

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.addresses} {self.role}"


#: The ports of a destination that names none: HTTP and HTTPS.
_WEB_PORTS = (80, 443)
_DESTINATION = re.compile(
    r"(?P<host>(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
)


@dataclass(frozen=True, slots=True)
class Destination:
    """A host that the proxy passes requests on to; ``*.`` before its name stands for every name below it."""

    host: str
    ports: tuple[int, ...] = _WEB_PORTS

    @classmethod
    def parse(cls, text: str) -> Destination:
        """``vso.nascom.nasa.gov``, ``*.nasa.gov``, ``10.1.2.3:8080``; ValueError for anything else."""
        found = _DESTINATION.fullmatch(text.strip().lower())
        port = int(found["port"]) if found and found["port"] else None
        if found is None or port == 0 or (port or 0) > 65535:
            raise ValueError(text)
        return cls(found["host"].strip("[]"), _WEB_PORTS if port is None else (port,))

    @property
    def is_address(self) -> bool:
        """Whether it names one address, which may then be a private one, or this computer."""
        return self.host == "localhost" or address_of(self.host) is not None

    def serves(self, host: str, port: int) -> bool:
        """Whether a request for that host, in lower case, and port is passed on."""
        below = self.host.startswith("*.") and host.endswith(self.host[1:])
        return (below or host == self.host) and port in self.ports

    def __str__(self) -> str:
        """As it is written."""
        return self.host if self.ports == _WEB_PORTS else f"{self.host}:{self.ports[0]}"


_NETWORK = 'networks with their roles, such as ["10.1.0.0/16 export", "192.168.7.0/24 read"]'


def address_of(text: str | None) -> Address | None:
    """The address that a connection came from; an IPv4 address within IPv6 is given as IPv4."""
    try:
        found = ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def role_of_address(address: Address | None, networks: Iterable[Network], *, tokens: bool) -> Role:
    """The role of an address without a token: that of the smallest network that contains it.

    This computer may do everything if no network contains it and there are no ``tokens``.
    """
    if address is None:
        return Role.NOBODY
    fitting = [n for n in networks if n.addresses.version == address.version and address in n.addresses]
    if fitting:
        return max(fitting, key=lambda n: n.addresses.prefixlen).role
    return Role.ADMIN if address.is_loopback and not tokens else Role.NOBODY


def is_loopback(host: str) -> bool:
    """True if a server that listens at ``host`` can only be reached from its own computer."""
    address = address_of(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


# ---- tokens ---------------------------------------------------------------------------------------


def new_token(name: str, random: Callable[[int], bytes]) -> tuple[str, str]:
    """A token with this name, and its hash; ``random`` returns a number of unpredictable bytes."""
    secret = base64.urlsafe_b64encode(random(_SECRET)).decode().rstrip("=")
    token = f"{name}.{secret}"
    return token, hash_of(token)


def name_in(token: str) -> str | None:
    """The name in a token; None for what does not have the form of one."""
    found = _TOKEN.fullmatch(token)
    return found[1] if found else None


def without_secret(text: str) -> str:
    """A text that may be shown: of anything that looks like a token, only the name."""
    return name_in(text) or text


def hash_of(token: str) -> str:
    """What config.toml keeps of a token."""
    return f"sha256${hashlib.sha256(token.encode('utf-8', 'surrogatepass')).hexdigest()}"


def is_hash(text: str) -> bool:
    """True for a result of ``hash_of``."""
    return re.fullmatch(r"sha256\$[0-9a-f]{64}", text) is not None


def fits(token: str, hashed: str) -> bool:
    """Whether a hash is the token's, in a time that does not depend on where they differ."""
    return hmac.compare_digest(hash_of(token).encode(), hashed.encode())
