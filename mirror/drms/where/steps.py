"""Takes SQL with named intermediate values apart into steps that a database computes by column. Text in, text out.

``mirror.drms.where.spans`` writes ``list_transform([value], lambda v: use)[1]`` so that a value is written once. As one
expression that is right but slow: it makes a list for each record. Here each such value becomes a column of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_OPEN, _LAMBDA, _CLOSE = "list_transform([", "], lambda v: ", ")[1]"
_QUOTED_OR_OPEN = re.compile(r"'[^']*'|\"[^\"]*\"|" + re.escape(_OPEN))
_NAME = re.compile(r"_step[0-9]+")
#: Values that need no column.
_AS_IT_IS = re.compile(rf"{_NAME.pattern}|CAST\('[^']*' AS DOUBLE\)")
_BRACKETS = {"(": ")", "[": "]"}


@dataclass(frozen=True, slots=True)
class Stepwise:
    """Columns to compute one level after the other, each a name and its SQL, and the condition over them.

    The SQL of a level names columns of the table, and steps of earlier levels.
    """

    levels: tuple[tuple[tuple[str, str], ...], ...]
    condition: str


def in_steps(sql: str) -> Stepwise | None:
    """The steps of a condition that ``to_duckdb`` has written; None if it names no intermediate value."""
    if _OPEN not in sql:
        return None
    reader = _Reader()
    try:
        condition = reader.rewritten(sql)
    except _OtherTextError:
        return None
    levels: list[list[tuple[str, str]]] = []
    for text, name in reader.names.items():
        level = reader.levels[name]
        levels += [[] for _ in range(level - len(levels))]
        levels[level - 1].append((name, text))
    return Stepwise(tuple(map(tuple, levels)), condition)


class _OtherTextError(Exception):
    """The SQL does not have the form that is known here."""


@dataclass(slots=True)
class _Reader:
    names: dict[str, str] = field(default_factory=dict)  #: by the SQL of a step
    levels: dict[str, int] = field(default_factory=dict)  #: by the name of a step, from 1

    def rewritten(self, sql: str) -> str:
        """The SQL with column names in place of its named values."""
        out, done = "", 0
        while (at := _find(sql, done)) >= 0:
            start = at + len(_OPEN)
            end = _closing(sql, start, "]")
            begin = end + len(_LAMBDA)
            stop = _closing(sql, begin, ")")
            value, use = sql[start:end], sql[begin:stop]
            if not sql.startswith(_LAMBDA, end) or not sql.startswith(_CLOSE, stop) or _OPEN in use:
                raise _OtherTextError
            out += f"{sql[done:at]}({self._used(value, use)})"
            done = stop + len(_CLOSE)
        return out + sql[done:]

    def _used(self, value: str, use: str) -> str:
        if not value.startswith("["):
            name = self._named(value)
            return re.sub(r"\bv\b", name, use)
        names = [self._named(part) for part in _parts(value[1:-1])]
        return re.sub(r"\bv\[([0-9]+)\]", lambda found: names[int(found[1]) - 1], use)

    def _named(self, value: str) -> str:
        text = self.rewritten(value)
        if _AS_IT_IS.fullmatch(text):
            return text
        name = self.names.get(text)
        if name is None:
            name = self.names[text] = f"_step{len(self.names) + 1}"
            self.levels[name] = 1 + max((self.levels.get(each, 0) for each in _NAME.findall(text)), default=0)
        return name


def _find(sql: str, start: int) -> int:
    """The place of the next named value outside quotes, from ``start``, which is outside them; -1 if there is none."""
    found = (match for match in _QUOTED_OR_OPEN.finditer(sql, start) if match[0] == _OPEN)
    return next((match.start() for match in found), -1)


def _closing(sql: str, start: int, closing: str) -> int:
    """The place where the bracket around ``start`` closes."""
    expected = [closing]
    at = start
    while at < len(sql):
        char = sql[at]
        if char in "'\"":
            at = sql.find(char, at + 1)
            if at < 0:
                break
        elif char in _BRACKETS:
            expected.append(_BRACKETS[char])
        elif char in ")]":
            if char != expected.pop():
                break
            if not expected:
                return at
        at += 1
    raise _OtherTextError


def _parts(text: str) -> list[str]:
    """The parts between commas that are outside brackets and quotes."""
    parts, start, at = [], 0, 0
    while at < len(text):
        char = text[at]
        if char in "'\"":
            at = text.find(char, at + 1)
        elif char in _BRACKETS:
            at = _closing(text, at + 1, _BRACKETS[char])
        elif char == ",":
            parts.append(text[start:at].strip())
            start = at + 1
        at += 1
    return [*parts, text[start:].strip()]
