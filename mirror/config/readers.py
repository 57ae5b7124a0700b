"""Readers for the values in config.toml, one for each kind.

A reader takes a value from TOML, or a text from an environment variable, and returns the typed value. Otherwise it
raises ValueError with what was expected, worded to read well after "expected". It knows nothing about sections and
keys: ``mirror.config.loading`` adds those.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mirror.config.access import Destination, Network, Rate, Role, is_hash
from mirror.config.schedule import PERIODS, Budget, Hours, Moment, parse_hours, parse_moment
from mirror.errors import BadRequest, SyntaxProblem

Reader = Callable[[Any], Any]
T = TypeVar("T")


class Misread(ValueError):
    """What was expected, and the text with a mark where it becomes invalid."""

    def __init__(self, expected: str, marked: str) -> None:
        self.marked = marked
        super().__init__(expected)


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "B": 1} | {
    f"{letter}{kind}": base**power
    for power, letter in enumerate("KMGTP", start=1)
    for kind, base in (("B", 1000), ("iB", 1024))
}
_AMOUNT = re.compile(r"\s*(\d{1,15}(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def text(value: Any) -> str:
    """Any text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    return value


def address(value: Any) -> str:
    """An e-mail address, judged by its form."""
    if not isinstance(value, str) or not re.fullmatch(r"[^@\s()<>]+@[^@\s()<>]+", value):
        raise ValueError("an e-mail address")
    return value


def url(value: Any) -> str:
    """The address of a host, "http://host" or "http://host:port", without a slash at its end."""
    try:
        parts = urlsplit(value.strip() if isinstance(value, str) else "")
        plain = bool(parts.hostname) and not (parts.path.strip("/") or parts.query or parts.fragment)
        plain = plain and parts.username is None and parts.password is None
        plain = plain and parts.port != 0  # also raises ValueError for what is not a port
    except ValueError:
        plain = False
    if not plain or parts.scheme not in {"http", "https"} or not re.fullmatch(r"[!-~]+", parts.netloc):
        raise ValueError('the address of a host, such as "http://jsoc.stanford.edu"')
    return f"{parts.scheme}://{parts.netloc}"


def spark_address(value: Any) -> str:
    """The address of a Spark Connect: "sc://host", "sc://host:15002", perhaps with "/;token=...;use_ssl=true"."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        right = parts.scheme == "sc" and bool(parts.hostname) and parts.port != 0
        right = right and not parts.query and (not parts.path.strip("/") or parts.path.startswith("/;"))
    except ValueError:
        right = False
    if not right or not str(value).isprintable() or " " in str(value):
        raise ValueError('the address of a Spark Connect, such as "sc://spark.example.org:15002"')
    return str(value)


def web_address(value: Any) -> str:
    """Any address of http or https."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or not str(value).isprintable() or " " in str(value):
        raise ValueError('an address, such as "https://chat.example.org/hooks/abc"')
    return str(value)


def postgresql(value: Any) -> str:
    """The address of a PostgreSQL database, "postgresql://user@host:port/database", or of several hosts of one."""
    text = value.strip() if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        named = parts.scheme in {"postgresql", "postgres"} and bool(parts.path.strip("/"))
        for host in parts.netloc.rpartition("@")[2].split(","):
            named = named and (urlsplit(f"//{host}").port or 1) > 0  # also raises ValueError for what is not a port
    except ValueError:
        named = False
    if named and parts.netloc.count("@") > 1:
        raise ValueError("@ in a user or a password to be written as %40, and / as %2F")
    if not named:
        raise ValueError('the address of a PostgreSQL database, such as "postgresql://db.example.org/mirror"')
    return text


def object_store(value: Any) -> str:
    """Where objects lie, "s3://bucket/prefix" or "file:///folder", without a slash at its end."""
    text = value.strip() if isinstance(value, str) else ""
    parts = urlsplit(text)
    bucket = parts.scheme == "s3" and bool(re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", parts.netloc))
    prefix = parts.path.rstrip("/")[1:]
    if bucket and prefix:  # no key of an object has such a part
        bucket = not {"", ".", ".."} & set(prefix.split("/")) and text.isprintable()
    folder = parts.scheme == "file" and not parts.netloc and parts.path.strip("/")
    if not (bucket or folder) or parts.query or parts.fragment:
        raise ValueError('a bucket or a folder, such as "s3://solar-mirror/v1" or "file:///ceph/mirror"')
    return text.rstrip("/")


def folder_address(value: Any) -> str:
    """The address of a folder of this machine, "file:///folder", without a slash at its end."""
    address = object_store(value) if isinstance(value, str) and value.startswith("file:") else ""
    if not address:
        raise ValueError('the address of a folder, such as "file:///data/iceberg"')
    return address


def server_name(value: Any) -> str:
    """A name of letters, digits, dots, dashes and underscores."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
        raise ValueError('a name of at most 63 letters, digits, dots, dashes and underscores, such as "mirror1"')
    return value


def rate(value: Any) -> Rate:
    """Requests of a minute, or of another period: 600, "5000/h"."""
    return Rate.parse("" if isinstance(value, bool) else str(value))


def tables(kind: Any) -> Reader:
    """A list of tables, each a ``kind``; a text has values of its first key, separated by commas."""

    def read(value: Any) -> tuple[Any, ...]:
        keys = {f.name: f.metadata["read"] for f in fields(kind)}
        items = [{next(iter(keys)): item} for item in texts(value)] if isinstance(value, str) else value
        if not isinstance(items, list) or not all(isinstance(item, dict) and item.keys() <= keys.keys() for item in items):
            raise ValueError(f"tables of the keys {', '.join(keys)}, each under its own heading in double brackets")
        try:
            return tuple(kind(**{name: keys[name](given) for name, given in item.items()}) for item in items)
        except TypeError:
            raise ValueError(f"tables that have the key {next(iter(keys))}") from None

    return read


def path(value: Any) -> Path:
    """A path; "~" is the home folder."""
    return Path(text(value)).expanduser()


def texts(value: Any) -> tuple[str, ...]:
    """A list of texts; a text with commas counts as a list."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(x, str) and x.strip() for x in items):
        raise ValueError("a list of texts")
    return tuple(x.strip() for x in items)


def some_of(*allowed: str) -> Reader:
    """A list of some of the texts ``allowed``; a text with commas counts as a list."""

    def read(value: Any) -> tuple[str, ...]:
        found = texts(value) if value not in ("", []) else ()
        if set(found) - set(allowed):
            raise ValueError("a list of some of " + ", ".join(f'"{x}"' for x in allowed))
        return found

    return read


def choice(*allowed: str) -> Reader:
    """One of the texts ``allowed``."""

    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError("one of " + ", ".join(f'"{x}"' for x in allowed))
        return str(value)

    return read


def integer(low: int, high: int) -> Reader:
    """A whole number from ``low`` to ``high``, both included."""

    def read(value: Any) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value) else value
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            raise ValueError(f"a whole number from {low:,} to {high:,}")
        return number

    return read


def yes_or_no(value: Any) -> bool:
    """True or false; from the environment also as text."""
    named = {"true": True, "false": False}
    found = value if isinstance(value, bool) else named.get(str(value).lower())
    if found is None:
        raise ValueError("true or false")
    return found


def duration(value: Any) -> float:
    """Seconds, from "45s", "10m", "1.5h", "90d", "2w", or a number of seconds; more than zero."""
    seconds = _amount(value, _SECONDS | {"": 1.0})
    if seconds is None or seconds <= 0:
        raise ValueError('a duration such as "45s", "10m", "6h", "90d"')
    return seconds


def size(value: Any) -> int:
    """Bytes, from "500GB", "2TB", "1.5 TiB", or a number of bytes; more than zero."""
    amount = _amount(value, _BYTES)
    if amount is None or amount < 1:
        raise ValueError('a size such as "500GB", "2TB", "1.5TiB"')
    return round(amount)


#: Bytes without which DuckDB cannot run a statement at all.
_LEAST_MEMORY = 10_000_000


def memory(value: Any) -> int:
    """Bytes of memory for a statement."""
    if (found := size(value)) < _LEAST_MEMORY:
        raise ValueError('a size of at least 10MB, such as "1GB"')
    return found


def share(value: Any) -> float:
    """A fraction, from a percentage such as "95%"; from 1% to 100%."""
    found = re.fullmatch(r"\s*(\d{1,3}(?:\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
    if found is None or not 1 <= float(found[1]) <= 100:
        raise ValueError('a part from "1%" to "100%", such as "95%"')
    return float(found[1]) / 100


@dataclass(frozen=True, slots=True)
class Unless:
    """None for ``word`` ("never", "none"), else what ``read`` reads."""

    word: str
    read: Reader

    def __call__(self, value: Any) -> Any:
        """The value."""
        if value == self.word:
            return None
        try:
            return self.read(value)
        except Misread as problem:
            raise Misread(f'"{self.word}", or {problem}', problem.marked) from None
        except ValueError as problem:
            raise ValueError(f'{problem}, or "{self.word}"') from None


def unless(word: str, read: Reader) -> Reader:
    """None for ``word`` ("never", "none"), else what ``read`` reads."""
    return Unless(word, read)


# ---- of access ------------------------------------------------------------------------------------


def role(value: Any) -> Role:
    """A role: "read", "export" or "admin"."""
    return Role.named(value if isinstance(value, str) else "")


def networks(value: Any) -> tuple[Network, ...]:
    """Networks, each perhaps with its role: "10.1.0.0/16 export"."""
    if value in ("", []):
        return ()
    try:
        return tuple(map(Network.parse, texts(value)))
    except ValueError:
        raise ValueError(
            'networks with their roles, such as ["10.1.0.0/16 export", "192.168.7.0/24 read"]'
        ) from None


def hosts(value: Any) -> tuple[str, ...]:
    """Names of hosts, in lower case; "*" stands for anything."""
    if value in ("", []):
        return ()
    names = texts(value)
    if not all(re.fullmatch(r"[A-Za-z0-9.*_-]+", name) for name in names):
        raise ValueError('names of hosts without port, such as ["mirror.example.org"]')
    return tuple(name.lower() for name in names)


def destinations(value: Any) -> tuple[Destination, ...]:
    """Hosts that the proxy passes requests on to: "vso.nascom.nasa.gov", "*.nso.edu", "10.1.2.3:8080"."""
    if value in ("", []):
        return ()
    try:
        return tuple(map(Destination.parse, texts(value)))
    except ValueError:
        raise ValueError('names of hosts, such as ["docs.virtualsolar.org", "*.nso.edu"]; a single * is none') from None


def token_hash(value: Any) -> str:
    """The hash of a token."""
    if not isinstance(value, str) or not is_hash(value):
        raise ValueError("a hash as `mirror token create` writes it, sha256$ and 64 hexadecimal digits")
    return value


def secret(value: Any) -> str:
    """A token as it is sent in a header."""
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]{1,500}", value):
        raise ValueError("a token, as `mirror token create` printed it")
    return value


# ---- of subscriptions -----------------------------------------------------------------------------


def series(value: Any) -> str:
    """The name of a series, without filters; only the archive can tell whether it exists."""
    from mirror.drms.parser import parse_query  # noqa: PLC0415  (commands read configurations, most without any)

    found = _parsed(value, parse_query)
    if len(found.sets) != 1 or found.sets[0].filters or found.sets[0].segments is not None:
        raise ValueError('the name of one series, such as "hmi.M_720s"; what of it is said by the other keys')
    return found.sets[0].series


def name(value: Any) -> str:
    """A short name, fit for commands and metrics."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value):
        raise ValueError("letters, digits, '.', '_' and '-', at most 64 of them")
    return value


def moment(value: Any) -> Moment:
    """A DRMS time, "now", or a time before now such as "-30d"."""
    return _parsed(value, parse_moment)


def hours(value: Any) -> Hours:
    """Hours of the day, "20:00-06:00"."""
    return _parsed(value, parse_hours)


def condition(value: Any) -> str:
    """A condition as between ``[?`` and ``?]``; its keywords are checked later, against the series."""
    from mirror.drms.where import parse_where  # noqa: PLC0415  (as above)

    _parsed(value, parse_where)
    return str(value)


def budget(value: Any) -> Budget:
    """Bytes in a period of time, "50GB/day"."""
    amount, _, period = str(value).partition("/")
    if not isinstance(value, str) or period.strip() not in PERIODS:
        raise ValueError('a size in a time, such as "50GB/day"; the time is hour, day or week')
    return Budget(size(amount), PERIODS[period.strip()], value)


def keeping(value: Any) -> float | None:
    """None for "forever", infinity for "window", else the seconds of a duration."""
    if value in ("forever", "window"):
        return None if value == "forever" else math.inf
    try:
        return duration(value)
    except ValueError as problem:
        raise ValueError(f'{problem}, "window" or "forever"') from None


def prime_keys(value: Any) -> tuple[tuple[str, str], ...]:
    """A table of prime keys: each with one value, several, or the text for its bracket."""
    if not isinstance(value, dict):
        raise ValueError("a table of prime keys, such as { WAVELNTH = [171, 193] }")  # noqa: TRY004  (as all readers)
    return tuple((key, _bracket(key, values)) for key, values in value.items())


def _bracket(key: str, value: Any) -> str:
    from mirror.drms.parser import parse_query  # noqa: PLC0415  (as above)
    from mirror.drms.recordset import Bracket  # noqa: PLC0415

    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(x, str | int | float) and not isinstance(x, bool) for x in items):
        raise ValueError(f'numbers or texts for {key}, such as [171, 193] or "4000-4100"')
    text = ",".join(map(str, items))
    found = _parsed(f"series[{key}={text}]", parse_query).sets[0].filters
    if found != (Bracket(text, key),):
        raise ValueError(f"the values of one prime key for {key}, and no bracket")
    return text


def _parsed(value: Any, parse: Callable[[str], T]) -> T:
    """A text, parsed; an error marks where it becomes invalid."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a text that is not empty")
    try:
        return parse(value)
    except SyntaxProblem as problem:
        expected = f"{problem.expected}; " if problem.expected else "another text; "
        raise Misread(f"{expected}{problem.message}", problem.marked()) from None
    except BadRequest as problem:
        raise ValueError(f"another text; {problem}") from None


def _amount(value: Any, units: dict[str, float] | dict[str, int]) -> float | None:
    """A number times its unit; None for anything but a number, or a number with one of the units."""
    found = None if isinstance(value, bool) else _AMOUNT.fullmatch(str(value))
    factor = units.get(found[2]) if found else None
    return None if found is None or factor is None else float(found[1]) * factor
