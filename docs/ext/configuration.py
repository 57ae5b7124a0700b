"""The reference of config.toml: what the fields of ``mirror.config.loading`` take, in the words of config.toml."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from mirror.config.loading import Config

SHIPPED = Path(__file__).parents[2] / "config.toml"
#: The value of a key, the comment above it, and whether the key is commented out.
Shipped = tuple[str, str, bool]
_KEY = re.compile(r"(?P<key>\w+) = (?P<value>.+)")


@dataclass(frozen=True)
class Key:
    """One key: ``value`` as it stands in config.toml, ``text`` the comment above it there."""

    section: str
    name: str
    value: str
    text: str
    expected: str
    required: bool
    listed: bool  #: of a section that may come many times
    example: bool  #: ``value`` stands in a comment: without the key there is none

    @property
    def variable(self) -> str:
        """The environment variable that overrides it; lists have none."""
        return "" if self.listed else f"MIRROR_{self.section}__{self.name}".upper()


def keys() -> dict[str, list[Key]]:
    """The keys of each section, in the order of the code."""
    return {section.name: _section(section.name, _shipped()) for section in fields(Config)}


def _section(name: str, shipped: dict[tuple[str, str], Shipped]) -> list[Key]:
    return [_key(name, field, shipped) for field in fields(kind(name))]


def kind(section: str) -> Any:
    """The class of a section; of a list that of its tables."""
    hint = get_type_hints(Config)[section]
    return get_args(hint)[0] if is_list(section) else hint


def is_list(section: str) -> bool:
    """True for a section that may come many times, under double brackets."""
    return get_origin(get_type_hints(Config)[section]) is tuple


def _key(section: str, field: Field[Any], shipped: dict[tuple[str, str], Shipped]) -> Key:
    value, text, example = shipped.get((section, field.name), ("", "", False))
    required = field.default is MISSING
    return Key(section, field.name, value, text, _expected(field), required, is_list(section), example)


def _expected(field: Field[Any]) -> str:
    """What a value may be, as the error says that everybody gets who gives another."""
    for wrong in (object(), "\0"):
        try:
            field.metadata["read"](wrong)
        except ValueError as problem:
            return str(problem)
    raise AssertionError(f"{field.name} takes anything")


def _shipped() -> dict[tuple[str, str], Shipped]:
    """What config.toml says of each key, also of those that are commented out; the first counts."""
    found: dict[tuple[str, str], Shipped] = {}
    section, comment = "", ""
    for line in SHIPPED.read_text("utf-8").splitlines():
        bare = re.sub(r"^# (?=(# |\[\[|\w+ = ))", "", line)
        if heading := re.fullmatch(r"\[+(\w+)\]+", bare):
            section, comment = heading[1], ""
        elif bare.startswith("#"):
            comment += bare.lstrip("#").strip() + " "
        elif key := _KEY.fullmatch(bare):
            found.setdefault((section, key["key"]), (key["value"], comment.strip(), bare != line))
            comment = ""
        else:
            comment = ""
    return found


def page() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *(_told(name, held) for name, held in keys().items())])


def _told(section: str, held: list[Key]) -> str:
    heading = f"[[{section}]]" if is_list(section) else f"[{section}]"
    about = inspect.cleandoc(kind(section).__doc__).replace("``", "`")
    first, _, rest = about.partition("\n\n")
    return "\n".join([f"## {heading}\n", _without_heading(first), "", rest, "", *map(_entry, held)])


def _without_heading(text: str) -> str:
    told = re.sub(r"^`\[+\w+\]+`: ", "", text)
    return told[:1].upper() + told[1:]


def _entry(key: Key) -> str:
    lines = [f"`{key.name}`", f": {key.text or 'See above.'}", "", f"  Expected: {_literal(key.expected)}."]
    if key.required:
        lines += ["  Must be given."]
    elif key.value:
        lines += [f"  {'Example' if key.example else 'Default'}: `{key.value}`."]
    if key.variable:
        lines += [f"  Environment: `{key.variable}`."]
    return "\n".join([*lines, ""])


def _literal(text: str) -> str:
    """Quoted values as code."""
    return re.sub(r'"([^"]*)"', r'`"\1"`', text).replace("\n", " ")


_HEAD = """# Configuration

<!-- Made by docs/ext/configuration.py of mirror/config/loading.py and config.toml. -->

Every key of config.toml. A file is not needed: what is left out has its default. `mirror --config FILE COMMAND`
names one to any command, as `MIRROR_CONFIG` does, and `mirror config show` tells where each value comes from. An unknown key, or a value
that cannot be, is refused with its place and with what was expected; in a running mirror the last good
configuration stays in force. What a running mirror takes over from an edited file, and what needs a restart, is
told under [subscriptions](../subscriptions.md).

Durations are written `"45s"`, `"10m"`, `"6h"`, `"90d"`, `"2w"`; sizes `"500GB"`, `"2TB"`, `"1.5TiB"`. The
environment overrides the file: `MIRROR_<SECTION>__<KEY>`, such as `MIRROR_SERVER__PORT=8041`, and
options of `mirror serve` override both.
"""
