"""The configuration: one frozen tree with defaults, checked as a whole before anything uses it.

The sections and their keys are in ``mirror.config.sections``.
"""

from __future__ import annotations

import difflib
import errno
import os
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, fields, replace
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
    Exports,
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
    Webhook,
)
from mirror.errors import ConfigError
from mirror.redaction import redacted

__all__ = [
    "Access",
    "Cluster",
    "Config",
    "Exports",
    "Fill",
    "FreshnessRule",
    "Lake",
    "Log",
    "PlainFileRule",
    "Policy",
    "Problem",
    "Server",
    "Sql",
    "Storage",
    "Subscription",
    "Token",
    "Upkeep",
    "Upstream",
    "Webhook",
    "check_access",
    "check_value",
    "examine",
    "load_config",
    "read_config",
    "text_of",
    "variables",
]

T = TypeVar("T")
#: Bytes of a configuration; one of a thousand subscriptions has some 100 kB.
LARGEST = 4_000_000
_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}  # fmt: skip
_ENVIRONMENT = "environment: "

_TABLES: dict[str, type] = {
    "server": Server,
    "access": Access,
    "upstream": Upstream,
    "storage": Storage,
    "fill": Fill,
    "sql": Sql,
    "upkeep": Upkeep,
    "log": Log,
    "exports": Exports,
    "lake": Lake,
    "cluster": Cluster,
}
_LISTS: dict[str, type] = {
    "freshness": FreshnessRule,
    "plain_file": PlainFileRule,
    "subscription": Subscription,
    "webhook": Webhook,
    "token": Token,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a configuration: ``text`` names the section and the key, and what was expected.

    ``section``, ``number`` (of a ``[[section]]``, from 1) and ``key`` are its place in the file; all empty: elsewhere.
    """

    text: str
    section: str = ""
    number: int | None = None
    key: str = ""

    @property
    def in_environment(self) -> bool:
        """True if it is in an environment variable, not in the file."""
        return self.text.startswith(_ENVIRONMENT)


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration in the file ``path`` (None: defaults), with overrides from ``MIRROR_<SECTION>__<KEY>``.

    Paths in the file are relative to it. Raises ConfigError with the file, the key and what was expected there; a
    configuration is valid as a whole, or there is none.
    """
    return read_config("" if path is None else text_of(path), path, environ)


def read_config(text: str, path: Path | None, environ: Mapping[str, str]) -> Config:
    """The same for ``text``, which is the file's content, or is to be."""
    config, problems = examine(text, path, environ)
    for problem in problems:
        origin = "configuration" if path is None else str(path)
        raise ConfigError(problem.text if problem.in_environment else f"{origin}: {problem.text}")
    return config


def examine(text: str, path: Path | None, environ: Mapping[str, str]) -> tuple[Config, list[Problem]]:
    """The same, with all problems; values with problems have their defaults."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Config(), [Problem(f"is not TOML: {error}")]
    except RecursionError:
        return Config(), [Problem("is not a configuration: its values are nested too deeply")]
    problems: list[Problem] = []
    config = _placed(_build(tree, problems), Path() if path is None else path.parent)
    config = _overridden(config, environ, problems)
    for check, sections in _CHECKS:
        if not any(problem.section in sections for problem in problems):  # one may only follow from another
            problems += check(config)
    return config, problems


def check_value(section: str, key: str, value: str) -> None:
    """Raise ValueError with what is expected if a key of a section cannot have this value."""
    _keys(_TABLES[section])[key].metadata["read"](value)


def text_of(path: Path, form: str = "TOML") -> str:
    """The file's content; ConfigError if it cannot be read, is larger than LARGEST, or is not ``form``, in UTF-8.

    It must be a regular file: a pipe or a terminal, which others write to, is not waited for.
    """
    try:
        data = _regular(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a name that no file can have
        raise ConfigError(f"{str(path)!r}: cannot be read: {error}") from error
    if len(data) > LARGEST:
        raise ConfigError(f"{path}: is larger than {LARGEST:,} bytes; expected {form} that somebody wrote")
    try:
        return data.decode("utf-8-sig")  # some editors begin a file with a byte-order mark
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not {form}, which is UTF-8: {error}") from error


def _regular(path: Path) -> bytes:
    """The first bytes of a file, one more than allowed; OSError unless it is a regular file or /dev/null, an empty one."""
    opened = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(opened, "rb") as file:
        found = os.fstat(file.fileno())
        mode = found.st_mode
        if not stat.S_ISREG(mode) and not (stat.S_ISCHR(mode) and found.st_rdev == Path(os.devnull).stat().st_rdev):
            raise OSError(errno.EINVAL, f"it is {_KINDS.get(stat.S_IFMT(mode), 'no file')}; expected a file")
        return file.read(LARGEST + 1)


def _placed(config: Config, folder: Path) -> Config:
    """The same configuration, with relative paths placed below ``folder``."""
    inbox = None if config.storage.inbox is None else folder / config.storage.inbox
    storage = replace(config.storage, path=folder / config.storage.path.expanduser(), inbox=inbox)
    log = replace(config.log, file=None if config.log.file is None else folder / config.log.file)
    return replace(config, storage=storage, log=log)


def _build(tree: Mapping[str, Any], problems: list[Problem]) -> Config:
    known = [*_TABLES, *_LISTS]
    problems += [Problem(f"unknown section [{n}]; {_nearest(n, known)}", n) for n in tree if n not in known]
    parts: dict[str, Any] = {n: _section(t, tree.get(n, {}), _Place(n), problems) for n, t in _TABLES.items()}
    parts = {n: _TABLES[n]() if part is None else part for n, part in parts.items()}
    parts |= {n: _sections(t, tree.get(n, []), n, problems) for n, t in _LISTS.items()}
    parts["freshness"] += DEFAULT_FRESHNESS
    parts["plain_file"] += DEFAULT_PLAIN_FILES
    return Config(**parts)


@dataclass(frozen=True, slots=True)
class _Place:
    """A section of the file, or an environment variable."""

    section: str
    number: int | None = None
    variable: str = ""

    def problem(self, text: str, key: str = "") -> Problem:
        """A problem there."""
        if self.variable:
            return Problem(f"{_ENVIRONMENT}{self.variable}{text}", self.section)
        where = f"[{self.section}]" if self.number is None else f"[[{self.section}]] {self.number or ''}".rstrip()
        return Problem(f"{where}{text}", self.section, self.number or None, key)


def _sections(kind: Callable[..., T], tables: Any, name: str, problems: list[Problem]) -> tuple[T, ...]:
    if not isinstance(tables, list):
        expected = "expected a list of tables, each under its own heading in double brackets"
        problems.append(_Place(name, 0).problem(f": {expected}"))
        return ()
    found = [_section(kind, table, _Place(name, n), problems) for n, table in enumerate(tables, start=1)]
    return tuple(section for section in found if section is not None)


def _section(kind: Callable[..., T], table: Any, place: _Place, problems: list[Problem]) -> T | None:
    """A section without its wrong values; None if it lacks a required key."""
    if not isinstance(table, dict):
        problems.append(place.problem(": expected a table of keys and values"))
        return None
    keys = _keys(kind)
    unknown = [name for name in table if name not in keys]
    problems += [place.problem(f": unknown key {n!r}; {_nearest(n, list(keys))}", n) for n in unknown]
    must = [n for n, f in keys.items() if f.default is f.default_factory]
    problems += [place.problem(f": the key {n!r} is missing") for n in must if n not in table]
    read = {}
    for name, value in table.items():
        if name in keys:
            try:
                read[name] = keys[name].metadata["read"](value)
            except ValueError as problem:
                told = _misread(keys[name], value, problem)
                problems.append(place.problem(f" {name}{told}", name))
    return kind(**read) if all(name in read for name in must) else None


def _keys(kind: Any) -> dict[str, Field[Any]]:
    return {f.name: f for f in fields(kind)}


def _misread(key: Field[Any], value: Any, problem: ValueError) -> str:
    """What is wrong with a value; secrets are not shown, nor is a password in an address."""
    if key.metadata["secret"]:
        return f": expected {problem}"
    shown = redacted(repr(value)) if "://" in repr(value) else repr(value)
    marked = f"\n{problem.marked}" if isinstance(problem, values.Misread) else ""
    return f" = {shown}: expected {problem}{marked}"


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"


def variables(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Each environment variable that overrides a value, with its section and key."""
    meant = sorted(v for v in environ if v.startswith("MIRROR_") and "__" in v)
    parts = {variable: variable.removeprefix("MIRROR_").lower().partition("__") for variable in meant}
    return {variable: (section, key) for variable, (section, _, key) in parts.items()}


def _overridden(config: Config, environ: Mapping[str, str], problems: list[Problem]) -> Config:
    for variable, (name, key) in variables(environ).items():
        place = _Place(name, variable=variable)
        if name not in _TABLES:
            problems.append(place.problem(f": no such section; {_nearest(name, list(_TABLES))}"))
            continue
        keys = _keys(_TABLES[name])
        if key not in keys:
            problems.append(place.problem(f": no such key; {_nearest(key, list(keys))}"))
            continue
        try:
            value = keys[key].metadata["read"](environ[variable])
        except ValueError as problem:
            problems.append(place.problem(_misread(keys[key], environ[variable], problem)))
        else:
            config = replace(config, **{name: replace(getattr(config, name), **{key: value})})
    return config


def _check_manners(config: Config) -> Iterator[Problem]:
    upstream = config.upstream
    if urlsplit(upstream.url).hostname == JSOC_HOST and upstream.queries > JSOC_QUERIES:
        yield Problem(
            f"[upstream] queries = {upstream.queries}: expected at most {JSOC_QUERIES}, "
            f"which is what {JSOC_HOST} asks of everyone",
            "upstream",
            key="queries",
        )


def _check_marks(config: Config) -> Iterator[Problem]:
    storage = config.storage
    if storage.low > storage.high:
        told = f"[storage] low = {storage.low:.0%}: expected at most high, {storage.high:.0%}"
        yield Problem(told, "storage", key="low")


def _check_names(config: Config) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, subscription in enumerate(config.subscription, start=1):
        if subscription.identity.lower() in seen:
            what = "name" if subscription.name else "content"
            yield Problem(
                f"[[subscription]] {number}: {subscription.identity} has the same {what} as an earlier one; "
                f"expected a unique name",
                "subscription",
                number,
                "name" if subscription.name else "",
            )
        seen.add(subscription.identity.lower())


def _check_pictures(config: Config) -> Iterator[Problem]:
    for number, subscription in enumerate(config.subscription, start=1):
        if subscription.pictures and not subscription.segments:
            told = f"[[subscription]] {number}: pictures = true: expected segments too, since pictures are made of files"
            yield Problem(told, "subscription", number, "pictures")


def _check_tokens(config: Config) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, token in enumerate(config.token, start=1):
        if token.name.lower() in seen:
            told = f"[[token]] {number}: duplicate name {token.name}; expected a unique name"
            yield Problem(told, "token", number, "name")
        seen.add(token.name.lower())


def _check_upstream(config: Config) -> Iterator[Problem]:
    if config.upstream.token and urlsplit(config.upstream.url).hostname == JSOC_HOST:
        told = f"[upstream] token: {JSOC_HOST} takes no token; set one only if upstream is a mirror"
        yield Problem(told, "upstream", key="token")


def _check_cluster(config: Config) -> Iterator[Problem]:
    cluster = config.cluster
    for given, lacking in (("database", "objects"), ("objects", "database")):
        if getattr(cluster, given) is not None and getattr(cluster, lacking) is None:
            yield Problem(
                f"[cluster] {lacking} is missing beside {given}; expected both: PostgreSQL says what the "
                f"mirrors have, the objects are where it lies",
                "cluster",
                key=given,
            )
    if cluster.endpoint is not None and (cluster.objects or "").startswith("file:"):
        told = f"[cluster] endpoint: expected none beside the folder {cluster.objects}"
        yield Problem(told, "cluster", key="endpoint")


#: Checks of values that depend on each other, with the sections that they are in.
_CHECKS: tuple[tuple[Callable[[Config], Iterator[Problem]], tuple[str, ...]], ...] = (
    (_check_manners, ("upstream",)),
    (_check_names, ("subscription",)),
    (_check_pictures, ("subscription",)),
    (_check_marks, ("storage",)),
    (_check_tokens, ("token",)),
    (_check_upstream, ("upstream",)),
    (_check_cluster, ("cluster",)),
)


def check_access(config: Config) -> None:
    """Raise ConfigError if the mirror would listen to other computers, and nothing says to whom."""
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
