"""The configuration: one frozen tree with defaults, checked as a whole before anything uses it.

The sections and their keys are in ``mirror.config.sections``.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from mirror.config import readers as values
from mirror.config.access import is_loopback
from mirror.config.sections import (
    DEFAULT_FRESHNESS,
    DEFAULT_PLAIN_FILES,
    JSOC_HOST,
    JSOC_QUERIES,
    Access,
    Cluster,
    Config,
    Fill,
    FreshnessRule,
    Lake,
    Log,
    PlainFileRule,
    Policy,
    Server,
    Sql,
    Storage,
    Subscription,
    Token,
    Upkeep,
    Upstream,
)
from mirror.errors import ConfigError

__all__ = [
    "Access",
    "Cluster",
    "Config",
    "Fill",
    "FreshnessRule",
    "Lake",
    "Log",
    "PlainFileRule",
    "Policy",
    "Server",
    "Sql",
    "Storage",
    "Subscription",
    "Token",
    "Upkeep",
    "Upstream",
    "check_access",
    "load_config",
    "read_config",
]

T = TypeVar("T")


_TABLES: dict[str, type] = {
    "server": Server,
    "access": Access,
    "upstream": Upstream,
    "storage": Storage,
    "fill": Fill,
    "sql": Sql,
    "upkeep": Upkeep,
    "log": Log,
    "lake": Lake,
    "cluster": Cluster,
}
_LISTS: dict[str, type] = {
    "freshness": FreshnessRule,
    "plain_file": PlainFileRule,
    "subscription": Subscription,
    "token": Token,
}


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration of the file ``path`` (None: defaults), as ``MIRROR_<SECTION>__<KEY>`` overrides it.

    A path in the file is relative to the file. Raises ConfigError with the file, the key and what
    was expected there; a configuration is right as a whole, or there is none.
    """
    return read_config("" if path is None else _text(path), path, environ)


def read_config(text: str, path: Path | None, environ: Mapping[str, str]) -> Config:
    """The same, where ``text`` is what stands in the file, or is to stand there."""
    origin = "configuration" if path is None else str(path)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: is not TOML: {error}") from error
    config = _placed(_build(tree, origin), Path() if path is None else path.parent)
    config = _overridden(config, environ)
    _check_manners(config, origin)
    _check_names(config, origin)
    _check_marks(config, origin)
    _check_tokens(config, origin)
    _check_cluster(config, origin)
    return config


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not TOML, which is UTF-8: {error}") from error


def _placed(config: Config, folder: Path) -> Config:
    """The same, with its paths below ``folder`` where they are relative."""
    inbox = None if config.storage.inbox is None else folder / config.storage.inbox
    storage = replace(config.storage, path=folder / config.storage.path.expanduser(), inbox=inbox)
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
    parts["plain_file"] += DEFAULT_PLAIN_FILES
    return Config(**parts)


def _sections(kind: Callable[..., T], tables: Any, where: str) -> tuple[T, ...]:
    if not isinstance(tables, list):
        raise ConfigError(
            f"{where}: expected a list of tables, each under its own heading in double brackets"
        )
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
    if key.metadata["secret"]:
        return _secret(key, value, where)
    try:
        return key.metadata["read"](value)
    except values.Misread as problem:
        raise ConfigError(f"{where} = {value!r}: expected {problem}\n{problem.marked}") from None
    except ValueError as problem:
        raise ConfigError(f"{where} = {value!r}: expected {problem}") from None


def _secret(key: Field[Any], value: Any, where: str) -> Any:
    try:
        return key.metadata["read"](value)
    except ValueError as problem:
        raise ConfigError(f"{where}: expected {problem}") from None


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


def _check_marks(config: Config, origin: str) -> None:
    storage = config.storage
    if storage.low > storage.high:
        raise ConfigError(
            f"{origin}: [storage] low = {storage.low:.0%}: expected at most high, {storage.high:.0%}"
        )


def _check_names(config: Config, origin: str) -> None:
    seen: set[str] = set()
    for number, subscription in enumerate(config.subscription, start=1):
        if subscription.identity.lower() in seen:
            what = "name" if subscription.name else "content"
            raise ConfigError(
                f"{origin}: [[subscription]] {number}: {subscription.identity} has the same {what} as an earlier one; "
                f"expected a unique name"
            )
        seen.add(subscription.identity.lower())


def _check_tokens(config: Config, origin: str) -> None:
    seen: set[str] = set()
    for number, token in enumerate(config.token, start=1):
        if token.name.lower() in seen:
            raise ConfigError(
                f"{origin}: [[token]] {number}: duplicate name {token.name}; expected a unique name"
            )
        seen.add(token.name.lower())
    if config.upstream.token and urlsplit(config.upstream.url).hostname == JSOC_HOST:
        raise ConfigError(
            f"{origin}: [upstream] token: {JSOC_HOST} takes no token; set one only if upstream is a mirror"
        )


def _check_cluster(config: Config, origin: str) -> None:
    cluster = config.cluster
    for given, lacking in (("database", "objects"), ("objects", "database")):
        if getattr(cluster, given) is not None and getattr(cluster, lacking) is None:
            raise ConfigError(
                f"{origin}: [cluster] {lacking} is missing beside {given}; expected both: PostgreSQL says what the "
                f"mirrors have, the objects are where it lies"
            )
    if cluster.endpoint is not None and (cluster.objects or "").startswith("file:"):
        raise ConfigError(f"{origin}: [cluster] endpoint: expected none beside the folder {cluster.objects}")


def check_access(config: Config) -> None:
    """ConfigError if the mirror is to listen to others, and nobody said to whom."""
    host = config.server.host
    if is_loopback(host) or config.access.networks or config.token:
        return
    raise ConfigError(
        f"[server] host = {host!r} listens to other computers, but no network or token has access. Set one of these:\n"
        '  networks = ["10.1.0.0/16 export"]   below [access] in config.toml, or in MIRROR_ACCESS__NETWORKS; the\n'
        '                                      roles are read, export and admin, "0.0.0.0/0 read" is everybody\n'
        "  mirror token create NAME            for people and programs that come from anywhere\n"
        '  host = "127.0.0.1"                  for this computer only'
    )
