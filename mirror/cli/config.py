"""``mirror config``: whether a configuration is valid, and where each of its values comes from."""

from __future__ import annotations

import json
import math
import os
import re
import tomllib
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import click

from mirror.cli.support.output import json_option, remark, show
from mirror.cli.support.parameters import GivenPath
from mirror.config import readers
from mirror.config.loading import Problem, check_access, examine, read_config, text_of, variables
from mirror.errors import ConfigError
from mirror.redaction import SECRET, redacted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mirror.config.loading import Config

#: What [access] is about: who may come, and from where.
_OF_ACCESS = ("server", "access", "token")

_file = click.argument(
    "path", metavar="[FILE]", required=False, envvar="MIRROR_CONFIG", type=GivenPath(path_type=Path)
)


@click.group
def config() -> None:
    """Check a configuration, or show where its values come from.

    \b
        mirror config check config.toml
        mirror config show config.toml
    """


@config.command
@_file
@click.pass_context
def check(context: click.Context, path: Path | None) -> None:
    """Check a configuration file, and the environment variables that override it.

    Prints one line per problem. The exit code is 0 if the configuration is right, and 1 if not. Nothing is
    started or changed. Without FILE, the file that --config or MIRROR_CONFIG names is checked.

    \b
        mirror config check /etc/jsoc-mirror/config.toml
    """
    if path is None:
        raise click.UsageError("expected a FILE, or one named by --config or MIRROR_CONFIG")
    text = text_of(path)
    found, problems = examine(text, path, os.environ)
    lines = list(_lines(path, text, [*problems, *_of_access(found, problems)]))
    for line in lines:
        click.echo(line)
    if lines:
        context.exit(1)
    remark(f"{path} is valid")


def _of_access(found: Config, problems: Sequence[Problem]) -> Iterator[Problem]:
    """The problem that nobody has access, which only matters to a mirror that starts."""
    if any(problem.section in _OF_ACCESS for problem in problems):
        return
    try:
        check_access(found)
    except ConfigError as problem:
        yield Problem(str(problem).partition(" Set one of these")[0], "server", key="host")


def _lines(path: Path, text: str, problems: Sequence[Problem]) -> Iterator[str]:
    """A line for each problem, in the order of the file; those of the environment are last."""
    known = lines_of(text)
    found = []
    for problem in problems:
        told = problem.text.partition("\n")[0]
        told = redacted(told) if "://" in told else told
        places = ((problem.section, problem.number, name) for name in (problem.key, ""))
        line = None if problem.in_environment else next((known[place] for place in places if place in known), None)
        found.append((problem.in_environment, line or 0, told if problem.in_environment else f"{placed(path, line)}: {told}"))
    yield from (told for _, _, told in sorted(found, key=lambda each: each[:2]))


@config.command("show")
@_file
@json_option
def show_(path: Path | None, as_json: bool) -> None:
    """Show every key with its value, and where the value comes from.

    A value comes from an environment variable, or else from the file with its line, or else it is the default.
    Options of `mirror serve` override all of these. Tokens, their hashes and passwords are hidden. Without FILE,
    the file that --config or MIRROR_CONFIG names is shown, or the defaults.

    \b
        mirror config show config.toml
        mirror config show config.toml --json
    """
    text = "" if path is None else text_of(path)
    rows = list(shown(read_config(text, path, os.environ), text, os.environ))
    if as_json:
        file = None if path is None else str(path)
        show([_plain(row, file if row.source == "file" else None) for row in rows], "json")
        return
    wide = max(len(row.key) for row in rows)
    values = [row.value if isinstance(row.value, str) else json.dumps(row.value) for row in rows]
    room = min(max(map(len, values)), 45)
    for row, value in zip(rows, values, strict=True):
        origin = row.variable or ("default" if path is None or row.source == "default" else placed(path, row.line))
        click.echo(f"{row.key:<{wide}}  {value:<{room}}  {origin}")


def _plain(row: Shown, file: str | None) -> dict[str, Any]:
    return {
        "key": row.key, "value": row.value, "source": row.source, "file": file, "line": row.line, "variable": row.variable,
    }  # fmt: skip


# ---- what is shown -------------------------------------------------------------------------------
# Every value of a configuration, with its origin, and the lines of the file on which the keys are. Pure. Values are
# written as in config.toml; secrets are hidden.

#: The place of a key or a heading: the section, the number of a ``[[section]]`` from 1, the key ("" for the heading).
Place = tuple[str, int | None, str]

_HEADING = re.compile(r"\s*(\[{1,2})\s*[\"']?([\w-]+)[\"']?\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"\s*[\"']?([\w-]+)[\"']?\s*(?:\.\s*[\"']?([\w-]+)[\"']?\s*)?=")
_TRIPLE = re.compile(r'"""|\'\'\'')
_DURATIONS = (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60))
_SIZES = (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3))
#: A duration is written in the largest unit of which it has at least this many: a minute is 60s, 14 days are not 2w.
_LEAST = {"w": 5, "m": 2}


@dataclass(frozen=True, slots=True)
class Shown:
    """One value: ``key`` is "server.port", or "token[1].role" of the first ``[[token]]``.

    ``line`` is the file's line, None if unknown; ``variable`` the name of the environment variable.
    """

    key: str
    value: Any
    source: Literal["default", "file", "environment"]
    line: int | None = None
    variable: str | None = None


def shown(config: Config, text: str, environ: Mapping[str, str]) -> Iterator[Shown]:
    """All values of ``config``, which was made from ``text`` and ``environ``."""
    tree, lines = tomllib.loads(text), lines_of(text)
    overriding = {place: variable for variable, place in variables(environ).items()}
    for section in fields(config):
        given, value = tree.get(section.name, {}), getattr(config, section.name)
        if isinstance(value, tuple):
            listed = given or []
            for number, entry in enumerate(value, start=1):
                own = listed[number - 1] if number <= len(listed) else {}
                for key in fields(entry):
                    yield _row(f"{section.name}[{number}]", key, entry, own, lines, (section.name, number, key.name))
            continue
        for key in fields(value):
            variable = overriding.get((section.name, key.name))
            if variable is None:
                yield _row(section.name, key, value, given, lines, (section.name, None, key.name))
            else:
                put = _put(key, getattr(value, key.name))
                yield Shown(f"{section.name}.{key.name}", put, "environment", variable=variable)


def _row(
    name: str, key: Field[Any], section: Any, given: Mapping[str, Any], lines: Mapping[Place, int], place: Place
) -> Shown:
    put = _put(key, getattr(section, key.name))
    if key.name not in given:
        return Shown(f"{name}.{key.name}", put, "default")
    line = lines.get(place) or lines.get((place[0], place[1], ""))
    return Shown(f"{name}.{key.name}", put, "file", line)


def _put(key: Field[Any], value: Any) -> Any:
    """A value as in config.toml, or a sign that it is hidden."""
    if key.metadata["read"] is readers.web_address:
        return f"{value[: value.index('://')]}://{urlsplit(value).hostname}/{SECRET}"
    if key.metadata["secret"] and value is not None and not isinstance(value, tuple):  # lists omit their secrets themselves
        return redacted(value) if "://" in value else SECRET
    read = key.metadata["read"]
    if isinstance(read, readers.Unless):
        if value is None:
            return read.word
        read = read.read
    return _written(read, value)


def _written(read: readers.Reader, value: Any) -> Any:
    if read is readers.keeping and (value is None or math.isinf(value)):
        return "forever" if value is None else "window"
    if read in (readers.duration, readers.keeping):
        for unit, seconds in _DURATIONS:
            if value % seconds == 0 and value >= seconds * _LEAST.get(unit, 1):
                return f"{value / seconds:.0f}{unit}"
        return f"{value:.3f}".rstrip("0").rstrip(".") + "s"
    if read in (readers.size, readers.memory):
        unit, factor = next(((u, n) for u, n in _SIZES if value % n == 0), ("", 1))
        return f"{value // factor}{unit}"
    if read is readers.share:
        return f"{value * 100:g}%"
    if read is readers.prime_keys:
        return dict(value)
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value if type(value) in (bool, int) else str(value)


def lines_of(text: str) -> dict[Place, int]:
    """The line, from 1, of each heading and key of a TOML file; for what spans several, the first."""
    found: dict[Place, int] = {}
    counted: dict[str, int] = {}
    section, number, within = "", None, False
    for line, content in enumerate(text.split("\n"), start=1):
        was_within, within = within, within ^ (len(_TRIPLE.findall(content)) % 2 == 1)
        if was_within:  # a text of several lines
            continue
        if (heading := _HEADING.match(content)) is not None:
            section, number = heading[2], None
            if heading[1] == "[[":
                number = counted[section] = counted.get(section, 0) + 1
            found.setdefault((section, number, ""), line)
        elif (key := _KEY.match(content)) is not None:
            if section:
                found.setdefault((section, number, key[1]), line)
            else:
                found.setdefault((key[1], None, key[2] or ""), line)
    return found


def placed(path: Path, line: int | None) -> str:
    """Where in a file."""
    return str(path) if line is None else f"{path}:{line}"
