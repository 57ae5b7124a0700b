"""The configuration: one frozen tree with defaults, checked as a whole before anything uses it.

A field here is a key in config.toml, and its metadata holds the reader of its value. To add a key, add
a field, and a line with a comment to config.toml: a test compares the two.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from mirror import config_values as values
from mirror.drms.errors import ConfigError

Policy = Literal["strict", "fallback", "offline"]
T = TypeVar("T")

#: What JSOC asks of everyone: no more than this many queries at a time.
JSOC_HOST, JSOC_QUERIES = "jsoc.stanford.edu", 2


def _key(read: values.Reader, default: Any = ...) -> Any:
    """A field read by ``read``; without a default it must be given."""
    metadata = {"read": read}
    return field(metadata=metadata) if default is ... else field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Server:
    """``[server]``: where the mirror listens; port 0 picks a free one."""

    host: str = _key(values.text, "127.0.0.1")
    port: int = _key(values.integer(0, 65535), 8040)


@dataclass(frozen=True, slots=True)
class Upstream:
    """``[upstream]``: whom the mirror asks, when, and how politely. Durations are seconds."""

    url: str = _key(values.url, f"http://{JSOC_HOST}")
    email: str | None = _key(values.unless("none", values.address), None)
    policy: Policy = _key(values.choice("strict", "fallback", "offline"), "fallback")
    timeout: float = _key(values.duration, 60.0)
    queries: int = _key(values.integer(1, 64), JSOC_QUERIES)


@dataclass(frozen=True, slots=True)
class Storage:
    """``[storage]``: where everything is kept; ``quota`` in bytes, None for no limit.

    ``readable_tree``: whether files also stand under ``by-record/<series>/<date>/<name>``.
    """

    path: Path = _key(values.path, Path("~/.local/share/jsoc-mirror"))
    quota: int | None = _key(values.unless("none", values.size), None)
    readable_tree: bool = _key(values.yes_or_no, True)


@dataclass(frozen=True, slots=True)
class Log:
    """``[log]``: what the daemon writes down, how, and where; ``file`` None is stderr.

    A file of more than ``size`` bytes is put aside, and ``files`` of those are kept.
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
    """``[fill]``: sizes in records of what is fetched from upstream.

    ``chunk_records`` in one request and one transaction; a client waits for a gap of up to
    ``waiting_limit``, a larger one is filled in the background.
    """

    chunk_records: int = _key(values.integer(1, 50_000), 10_000)
    waiting_limit: int = _key(values.integer(0, 10**9), 200_000)


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
class Subscription:
    """``[[subscription]]``: data that the mirror keeps without being asked.

    ``start`` and ``end`` are DRMS times, no ``end`` means up to now; ``segments`` empty: keywords only;
    looked after every ``every`` seconds; files are kept ``keep`` seconds, None: as long as there is room.
    """

    series: str = _key(values.text)
    start: str = _key(values.text)
    end: str | None = _key(values.unless("now", values.text), None)
    segments: tuple[str, ...] = _key(values.texts, ())
    every: float = _key(values.duration, 3600.0)
    keep: float | None = _key(values.unless("forever", values.duration), None)


#: Used after the rules of config.toml: near-real-time data never settle, all other data do.
DEFAULT_FRESHNESS = (
    FreshnessRule("*_nrt*", max_age=600.0, settled_after=None),
    FreshnessRule("*"),
)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of config.toml; ``Config()`` is what holds without one."""

    server: Server = Server()
    upstream: Upstream = Upstream()
    storage: Storage = Storage()
    fill: Fill = Fill()
    log: Log = Log()
    freshness: tuple[FreshnessRule, ...] = DEFAULT_FRESHNESS
    subscription: tuple[Subscription, ...] = ()

    def freshness_of(self, series: str) -> FreshnessRule:
        """The first rule whose pattern fits the name, in any case; ``*`` fits all."""
        name = series.lower()
        return next(r for r in self.freshness if fnmatchcase(name, r.pattern.lower()))


_TABLES: dict[str, type] = {"server": Server, "upstream": Upstream, "storage": Storage, "fill": Fill, "log": Log}
_LISTS: dict[str, type] = {"freshness": FreshnessRule, "subscription": Subscription}


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration of the file ``path`` (None: defaults), as ``MIRROR_<SECTION>__<KEY>`` overrides it.

    A path in the file is relative to the file. Raises ConfigError with the file, the key and what
    was expected there; a configuration is right as a whole, or there is none.
    """
    tree = {} if path is None else _parse(path)
    origin = "configuration" if path is None else str(path)
    config = _placed(_build(tree, origin), Path() if path is None else path.parent)
    config = _overridden(config, environ)
    _check_manners(config, origin)
    return config


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error


def _placed(config: Config, folder: Path) -> Config:
    """The same, with its paths below ``folder`` where they are relative."""
    storage = replace(config.storage, path=folder / config.storage.path.expanduser())
    log = replace(config.log, file=None if config.log.file is None else folder / config.log.file)
    return replace(config, storage=storage, log=log)


def _build(tree: Mapping[str, Any], origin: str) -> Config:
    known = [*_TABLES, *_LISTS]
    for name in tree:
        if name not in known:
            raise ConfigError(f"{origin}: unknown section [{name}]; {_nearest(name, known)}")
    parts: dict[str, Any] = {n: _section(t, tree.get(n, {}), f"{origin}: [{n}]") for n, t in _TABLES.items()}
    parts |= {n: _sections(t, tree.get(n, []), f"{origin}: [[{n}]]") for n, t in _LISTS.items()}
    parts["freshness"] += DEFAULT_FRESHNESS
    return Config(**parts)


def _sections(kind: Callable[..., T], tables: Any, where: str) -> tuple[T, ...]:
    if not isinstance(tables, list):
        raise ConfigError(f"{where}: expected a list of tables, each under its own heading in double brackets")
    return tuple(_section(kind, table, f"{where} {n}") for n, table in enumerate(tables, start=1))


def _section(kind: Callable[..., T], table: Any, where: str) -> T:
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: expected a table of keys and values")
    keys = _keys(kind)
    for name in table:
        if name not in keys:
            raise ConfigError(f"{where}: unknown key {name!r}; {_nearest(name, list(keys))}")
    missing = [n for n, f in keys.items() if f.default is f.default_factory and n not in table]
    if missing:
        raise ConfigError(f"{where}: the key {missing[0]!r} is missing")
    return kind(**{n: _value(keys[n], value, f"{where} {n}") for n, value in table.items()})


def _keys(kind: Any) -> dict[str, Field[Any]]:
    return {f.name: f for f in fields(kind)}


def _value(key: Field[Any], value: Any, where: str) -> Any:
    try:
        return key.metadata["read"](value)
    except ValueError as problem:
        raise ConfigError(f"{where} = {value!r}: expected {problem}") from None


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"


def _overridden(config: Config, environ: Mapping[str, str]) -> Config:
    for variable in sorted(v for v in environ if v.startswith("MIRROR_") and "__" in v):
        name, _, key = variable.removeprefix("MIRROR_").lower().partition("__")
        if name not in _TABLES:
            raise ConfigError(f"environment: {variable}: no such section; {_nearest(name, list(_TABLES))}")
        keys = _keys(_TABLES[name])
        if key not in keys:
            raise ConfigError(f"environment: {variable}: no such key; {_nearest(key, list(keys))}")
        value = _value(keys[key], environ[variable], f"environment: {variable}")
        config = replace(config, **{name: replace(getattr(config, name), **{key: value})})
    return config


def _check_manners(config: Config, origin: str) -> None:
    upstream = config.upstream
    if urlsplit(upstream.url).hostname == JSOC_HOST and upstream.queries > JSOC_QUERIES:
        raise ConfigError(
            f"{origin}: [upstream] queries = {upstream.queries}: expected at most {JSOC_QUERIES}, "
            f"which is what {JSOC_HOST} asks of everyone"
        )
