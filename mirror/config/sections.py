"""The sections of config.toml: a field is a key, and its metadata has the reader of its value.

To add a key, add a field, and a line with a comment to config.toml: a test compares the two.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from mirror.config import readers as values
from mirror.config.access import Destination, Network, Rate, Role
from mirror.config.schedule import NOW, Budget, Hours, Moment

Policy = Literal["strict", "fallback", "offline"]

#: JSOC, and how many queries at a time it allows everyone.
JSOC_HOST, JSOC_QUERIES = "jsoc.stanford.edu", 2


def _key(read: values.Reader, default: Any = ..., *, secret: bool = False) -> Any:
    """A field that is read by ``read``; without a default it is required. ``secret`` values are never shown."""
    metadata = {"read": read, "secret": secret}
    if default is ...:
        return field(metadata=metadata, repr=not secret)
    return field(default=default, metadata=metadata, repr=not secret)


@dataclass(frozen=True, slots=True)
class Server:
    """``[server]``: where the mirror listens; port 0 picks a free one.

    ``processes``: how many mirrors answer there, each with a store of its own; they share what they fetch.
    ``connections``: how many may be open at a time, in all and for one address, None: any number; this computer may
    have all of them.
    """

    host: str = _key(values.text, "127.0.0.1")
    port: int = _key(values.integer(0, 65535), 8040)
    processes: int = _key(values.integer(1, 64), 1)
    connections: int = _key(values.integer(1, 60_000), 2000)
    connections_per_address: int | None = _key(values.unless("none", values.integer(1, 60_000)), 500)


@dataclass(frozen=True, slots=True)
class Alternative:
    """``[[upstream.alternative]]``: another site or mirror that is asked while JSOC does not answer."""

    url: str = _key(values.url)
    token: str | None = _key(values.unless("none", values.secret), None, secret=True)

    def __str__(self) -> str:
        """The place, without secrets."""
        return self.url


@dataclass(frozen=True, slots=True)
class Upstream:
    """``[upstream]``: whom the mirror asks, when, and how politely. Durations are seconds.

    ``records_per_hour`` and ``bytes_per_day`` limit what JSOC is asked for, apart from people's small questions;
    None: any number. The ``alternative`` places are asked in order while ``url`` does not answer.
    """

    url: str = _key(values.url, f"http://{JSOC_HOST}")
    email: str | None = _key(values.unless("none", values.address), None)
    policy: Policy = _key(values.choice("strict", "fallback", "offline"), "fallback")
    timeout: float = _key(values.duration, 60.0)
    queries: int = _key(values.integer(1, 64), JSOC_QUERIES)
    token: str | None = _key(values.unless("none", values.secret), None, secret=True)
    records_per_hour: int | None = _key(values.unless("none", values.integer(1, 10**12)), 5_000_000)
    bytes_per_day: int | None = _key(values.unless("none", values.size), 1_000_000_000_000)
    alternative: tuple[Alternative, ...] = _key(values.tables(Alternative), (), secret=True)


@dataclass(frozen=True, slots=True)
class Access:
    """``[access]``: who is admitted without a token, and how much at a time.

    ``networks``: addresses with their roles. ``hosts``: names under which browsers find the mirror, besides that of
    the machine. ``requests``: how many from one address are answered at a time, None: any number. ``pass_through``:
    hosts that the proxy passes requests on to, besides JSOC's.
    """

    networks: tuple[Network, ...] = _key(values.networks, ())
    hosts: tuple[str, ...] = _key(values.hosts, ())
    requests: int | None = _key(values.unless("none", values.integer(1, 100_000)), 256)
    pass_through: tuple[Destination, ...] = _key(values.destinations, ())


@dataclass(frozen=True, slots=True)
class Token:
    """``[[token]]``: somebody who is admitted from anywhere with a token, of which ``hash`` is the hash.

    ``bytes_per_day`` may be sent to it, and requested from JSOC for it, in a day of UTC; ``requests`` is how many it
    may send in a period. None: any number.
    """

    name: str = _key(values.name)
    hash: str = _key(values.token_hash, secret=True)
    role: Role = _key(values.role, Role.READ)
    bytes_per_day: int | None = _key(values.unless("none", values.size), None)
    requests: Rate | None = _key(values.unless("none", values.rate), None)


@dataclass(frozen=True, slots=True)
class Storage:
    """``[storage]``: where everything is kept; ``quota`` in bytes, None for no limit.

    ``readable_tree``: whether files also appear under ``by-record/<series>/<date>/<name>``. FITS files that
    are put into ``inbox`` are adopted; None: there is no such folder. Above the fraction ``high`` of the quota
    files are evicted down to ``low`` of it, as they are if less than ``keep_free`` bytes of the disk are free.
    Quick looks take at most ``pictures`` bytes, in addition to the quota; None: none are kept.
    """

    path: Path = _key(values.path, Path("~/.local/share/jsoc-mirror"))
    quota: int | None = _key(values.unless("none", values.size), None)
    readable_tree: bool = _key(values.yes_or_no, True)
    inbox: Path | None = _key(values.unless("none", values.path), None)
    high: float = _key(values.share, 0.95)
    low: float = _key(values.share, 0.90)
    keep_free: int | None = _key(values.unless("none", values.size), None)
    pictures: int | None = _key(values.unless("none", values.size), 500_000_000)


@dataclass(frozen=True, slots=True)
class Upkeep:
    """``[upkeep]``: how the mirror checks by itself what it holds.

    At most ``check_per_day`` bytes are read in a day, None: none; a check begins ``check_every`` seconds
    after the last one ended, and works during ``hours``, None: at any time. A file is read whole before it is
    sent if that was not done in the last ``verify_after`` seconds.
    """

    check_per_day: int | None = _key(values.unless("none", values.size), 200_000_000_000)
    check_every: float = _key(values.duration, 30 * 86400.0)
    hours: Hours | None = _key(values.unless("always", values.hours), None)
    verify_after: float = _key(values.duration, 86400.0)


@dataclass(frozen=True, slots=True)
class Sql:
    """``[sql]``: what statements of users may take. Sizes are bytes, ``seconds`` those of work.

    ``places`` statements run at a time, each in a process with ``memory`` and ``threads`` of its own; as many
    more may wait. An answer has at most ``rows`` and ``bytes``.
    """

    places: int = _key(values.integer(1, 64), 2)
    waiting: int = _key(values.integer(0, 10_000), 16)
    memory: int = _key(values.memory, 1_000_000_000)
    threads: int = _key(values.integer(1, 256), 2)
    seconds: float = _key(values.duration, 60.0)
    rows: int = _key(values.integer(1, 10**12), 50_000_000)
    bytes: int = _key(values.size, 10_000_000_000)


@dataclass(frozen=True, slots=True)
class Log:
    """``[log]``: what the daemon logs, how, and where; ``file`` None is stderr.

    A file of more than ``size`` bytes is rotated, and ``files`` old ones are kept.
    """

    level: Literal["debug", "info", "warning", "error"] = _key(
        values.choice("debug", "info", "warning", "error"), "info"
    )
    format: Literal["text", "json"] = _key(values.choice("text", "json"), "text")
    file: Path | None = _key(values.unless("none", values.path), None)
    size: int = _key(values.size, 10_000_000)
    files: int = _key(values.integer(1, 1000), 5)
    requests: bool = _key(values.yes_or_no, False)


@dataclass(frozen=True, slots=True)
class Fill:
    """``[fill]``: how many records are fetched from upstream.

    ``chunk_records`` in one request and one transaction; a client waits for a gap of up to
    ``waiting_limit``, a larger one is forwarded, and filled only on demand.
    """

    chunk_records: int = _key(values.integer(1, 50_000), 10_000)
    waiting_limit: int = _key(values.integer(0, 10**9), 200_000)


@dataclass(frozen=True, slots=True)
class Exports:
    """``[exports]``: processing steps that the mirror makes itself instead of asking JSOC."""

    process_here: tuple[str, ...] = _key(values.some_of("im_patch", "rebin"), ())


@dataclass(frozen=True, slots=True)
class Lake:
    """``[lake]``: all months that are held, published as Iceberg tables in the folder ``iceberg``.

    That is done every ``publish`` seconds. None: not at all.
    """

    iceberg: str | None = _key(values.unless("none", values.folder_address), None)
    publish: float | None = _key(values.unless("none", values.duration), 600.0)


@dataclass(frozen=True, slots=True)
class Cluster:
    """``[cluster]``: what several mirrors share; without ``database`` this one stands alone.

    ``database`` is a PostgreSQL, ``objects`` the place of chunks and files, ``endpoint`` the address of an S3 that is
    not AWS. ``name`` identifies the server, None: the name of the machine. Finished months are published as Iceberg
    tables every ``publish`` seconds, None: never. ``spark`` is an engine that reads these, for ``mirror sql --on
    cluster``.
    """

    database: str | None = _key(values.unless("none", values.postgresql), None, secret=True)
    objects: str | None = _key(values.unless("none", values.object_store), None)
    endpoint: str | None = _key(values.unless("none", values.url), None)
    name: str | None = _key(values.unless("none", values.server_name), None)
    publish: float | None = _key(values.unless("none", values.duration), 600.0)
    spark: str | None = _key(values.unless("none", values.spark_address), None, secret=True)


@dataclass(frozen=True, slots=True)
class FreshnessRule:
    """``[[freshness]]``: how old a check may be, in seconds, for series whose name fits ``pattern``.

    Data observed longer than ``settled_after`` ago are checked every ``settled_max_age`` instead of
    every ``max_age``; None: they never settle.
    """

    pattern: str = _key(values.text)
    max_age: float = _key(values.duration, 6 * 3600.0)
    settled_after: float | None = _key(values.unless("never", values.duration), 60 * 86400.0)
    settled_max_age: float = _key(values.duration, 90 * 86400.0)


@dataclass(frozen=True, slots=True)
class PlainFileRule:
    """``[[plain_file]]``: how old a check of JSOC's plain files may be, in seconds, if their path fits ``pattern``.

    None: such files are passed on, and not kept.
    """

    pattern: str = _key(values.text)
    max_age: float | None = _key(values.unless("none", values.duration), 6 * 3600.0)


@dataclass(frozen=True, slots=True)
class Subscription:
    """``[[subscription]]``: data that the mirror keeps without being asked.

    From ``start`` to ``end`` of ``series``: records whose prime keys satisfy ``keys`` (each a key and the text in its
    bracket), one every ``step`` seconds, None: all. ``segments`` empty: only keywords; files only of records that
    satisfy ``where``. JSOC is asked every ``every`` seconds. ``keep``: files of older records go after so many
    seconds, math.inf: when they leave the window, None: never. ``pictures``: quick looks of new files are made ahead.
    """

    series: str = _key(values.series)
    start: Moment = _key(values.moment)
    end: Moment = _key(values.moment, NOW)
    name: str = _key(values.name, "")
    keys: tuple[tuple[str, str], ...] = _key(values.prime_keys, ())
    where: str = _key(values.condition, "")
    step: float | None = _key(values.unless("all", values.duration), None)
    segments: tuple[str, ...] = _key(values.texts, ())
    protocol: Literal["as-is", "fits"] = _key(values.choice("as-is", "fits"), "as-is")
    every: float = _key(values.duration, 3600.0)
    keep: float | None = _key(values.keeping, None)
    priority: Literal["high", "normal", "low"] = _key(values.choice("high", "normal", "low"), "normal")
    hours: Hours | None = _key(values.unless("always", values.hours), None)
    budget: Budget | None = _key(values.unless("none", values.budget), None)
    pictures: bool = _key(values.yes_or_no, False)

    @property
    def identity(self) -> str:
        """Its name; without one, what it is about identifies it, whatever else is edited."""
        if self.name:
            return self.name
        about = repr((self.series.lower(), self.keys, self.where, self.step, self.segments))
        return f"{self.series}-{hashlib.sha256(about.encode()).hexdigest()[:6]}"


@dataclass(frozen=True, slots=True)
class Webhook:
    """``[[webhook]]``: an address to which news are sent as JSON, about series whose names fit a pattern in ``series``.

    ``secret`` signs them. Both may give access, and are never shown.
    """

    url: str = _key(values.web_address, secret=True)
    secret: str | None = _key(values.unless("none", values.text), None, secret=True)
    series: tuple[str, ...] = _key(values.texts, ("*",))
    events: tuple[str, ...] = _key(values.some_of("new", "reprocessed"), ("new", "reprocessed"))


#: Used after the rules of config.toml: near-real-time data never settle, all other data do.
DEFAULT_FRESHNESS = (
    FreshnessRule("*_nrt*", max_age=600.0, settled_after=None),
    FreshnessRule("*"),
)


#: Used after the rules of config.toml: files named latest or near-real-time change within minutes.
DEFAULT_PLAIN_FILES = (
    PlainFileRule("/data/*latest*", max_age=600.0),
    PlainFileRule("/data/*nrt*", max_age=600.0),
    PlainFileRule("/data/*"),
    PlainFileRule("/doc/data/*"),
)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of config.toml; ``Config()`` has the defaults."""

    server: Server = Server()
    access: Access = Access()
    upstream: Upstream = Upstream()
    storage: Storage = Storage()
    fill: Fill = Fill()
    exports: Exports = Exports()
    sql: Sql = Sql()
    log: Log = Log()
    upkeep: Upkeep = Upkeep()
    lake: Lake = Lake()
    cluster: Cluster = Cluster()
    freshness: tuple[FreshnessRule, ...] = DEFAULT_FRESHNESS
    plain_file: tuple[PlainFileRule, ...] = DEFAULT_PLAIN_FILES
    subscription: tuple[Subscription, ...] = ()
    webhook: tuple[Webhook, ...] = ()
    token: tuple[Token, ...] = ()

    def freshness_of(self, series: str) -> FreshnessRule:
        """The first rule whose pattern fits the name, in any case; ``*`` fits all."""
        name = series.lower()
        return next(r for r in self.freshness if fnmatchcase(name, r.pattern.lower()))

    def plain_file_age(self, path: str) -> float | None:
        """The seconds that a check of a plain file lasts, by the first rule that fits its path; None: it is not kept."""
        name = path.lower()
        return next((r.max_age for r in self.plain_file if fnmatchcase(name, r.pattern.lower())), None)
