"""Every value of a configuration, with its origin, and the lines of the file on which the keys are.

Pure. Values are written as in config.toml; secrets are hidden.
"""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from mirror.config import readers
from mirror.config.loading import variables
from mirror.redaction import SECRET, redacted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mirror.config.loading import Config

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
    if read is readers.size:
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
