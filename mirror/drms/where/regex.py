r"""Regular expressions that certainly mean the same in PostgreSQL and in RE2, which DuckDB uses.

Read here: characters, ``.``, ``^``, ``$``, classes in brackets of letters, digits, signs and ranges, ``\\d \\w \\s`` and
their negations, escaped signs, groups, alternation, and repetition. Not read, as dialects differ: look-ahead, back
references, options (``(?i)``, ``***=``), constraints such as ``\\y \\m \\A``, named classes, escaped letters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LONGEST = 500
_MOST_REPEATS, _MOST_BOUNDS = 100, 2
_BOUND = re.compile(r"\{([0-9]{1,3})(?:(,)([0-9]{0,3}))?\}")
_CLASSES = {
    "d": "[0-9]", "D": "[^0-9]", "w": "[0-9A-Za-z_]", "W": "[^0-9A-Za-z_]",
    "s": r"[\t-\r ]", "S": r"[^\t-\r ]",
}  # fmt: skip
_SIGNS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ ")
#: Characters that stand for themselves in brackets.
_IN_BRACKETS = re.compile(r"[A-Za-z0-9 !\"#$%&'()*+,./:;<=>?@_`{|}~]")
_RANGE = re.compile(r"([0-9])-([0-9])|([a-z])-([a-z])|([A-Z])-([A-Z])")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern for RE2; with ``ascii_only`` it is certain only for ASCII texts."""

    text: str
    ascii_only: bool


class _UnknownError(Exception):
    """A construct that may not mean the same in both."""


def to_re2(pattern: str, *, any_case: bool = False) -> Pattern | None:
    """The RE2 pattern that finds what PostgreSQL finds; None if that is not certain."""
    if len(pattern) > _LONGEST or pattern.startswith("***") or (any_case and not pattern.isascii()):
        return None
    reader = _Reader(pattern)
    try:
        text = reader.branches()
        if reader.place < len(pattern):
            return None
    except _UnknownError:
        return None
    return Pattern(f"(?{'i' if any_case else ''}s){text}", reader.ascii_only)


def of_similar(pattern: str, escape: str) -> str | None:
    """The regular expression equivalent to ``SIMILAR TO pattern``; None if that is not plain."""
    parts: list[str] = []
    place = 0
    while place < len(pattern):
        character = pattern[place]
        if escape and character == escape:
            place += 1
            if place >= len(pattern) or pattern[place] not in _SIGNS or pattern[place] == '"':
                return None
            parts.append("\\" + pattern[place])
        elif character == "[":
            end = pattern.find("]", place + 2)
            inside = pattern[place : end + 1]
            if end < 0 or "\\" in inside or (escape and escape in inside):
                return None
            parts.append(inside)
            place = end
        elif character in "\\.^$":
            parts.append("\\" + character)
        else:
            parts.append({"%": ".*", "_": "."}.get(character, character))
        place += 1
    return f"^(?:{''.join(parts)})$"


class _Reader:
    """Reads a pattern and writes it for RE2."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.depth = 0
        self.bounds = 0
        self.ascii_only = False

    def branches(self) -> str:
        """``branch { "|" branch }``."""
        found = [self.branch()]
        while self.peek() == "|":
            self.place += 1
            found.append(self.branch())
        return "|".join(found)

    def peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def branch(self) -> str:
        """Atoms, each perhaps repeated, and anchors, which are not."""
        parts: list[str] = []
        while self.peek() and self.peek() not in "|)":
            if self.peek() in "^$":
                parts.append(self.peek())
                self.place += 1
                if self.peek() in tuple("*+?{"):
                    raise _UnknownError
            else:
                parts.append(self.atom() + self.repetition())
        if not parts and self.text:
            raise _UnknownError  # an empty branch
        return "".join(parts)

    def repetition(self) -> str:
        character = self.peek()
        if character in tuple("*+?"):
            self.place += 1
            found = character
        elif character == "{":
            found = self.bound()
        else:
            return ""
        if self.peek() == "?":  # not greedy: the match is shorter, but exists all the same
            self.place += 1
        if self.peek() in tuple("*+?{"):
            raise _UnknownError
        return found

    def bound(self) -> str:
        match = _BOUND.match(self.text, self.place)
        self.bounds += 1
        if match is None or self.bounds > _MOST_BOUNDS:
            raise _UnknownError
        low, high = int(match[1]), int(match[3]) if match[3] else int(match[1])
        if low > high or high > _MOST_REPEATS:
            raise _UnknownError
        self.place = match.end()
        return match[0]

    def atom(self) -> str:
        character = self.peek()
        self.place += 1
        if character == "(":
            return self.group()
        if character == "[":
            return self.bracket()
        if character == "\\":
            return self.escape()
        if character in "*+?{}":
            raise _UnknownError
        if character == ".":
            return "."
        if ord(character) < ord(" "):
            return f"\\x{ord(character):02x}"
        return "\\" + character if character in "]-" else character

    def group(self) -> str:
        if self.text.startswith("?:", self.place):
            self.place += 2
        elif self.peek() in tuple("?*"):
            raise _UnknownError
        self.depth += 1
        if self.depth > 10:
            raise _UnknownError
        inside = self.branches()
        if self.peek() != ")":
            raise _UnknownError
        self.depth -= 1
        self.place += 1
        return f"(?:{inside})"

    def escape(self) -> str:
        character = self.peek()
        self.place += 1
        if character in _CLASSES:
            self.ascii_only = True
            return _CLASSES[character]
        if not character or character not in _SIGNS or character == "_":
            raise _UnknownError
        return character if character in " \"!#%&',/:;<=>@`~" else "\\" + character

    def bracket(self) -> str:
        negated = self.peek() == "^"
        self.place += negated
        parts: list[str] = []
        if self.peek() in tuple("]-"):
            parts.append("\\" + self.peek())
            self.place += 1
        while self.peek() != "]":
            match = _RANGE.match(self.text, self.place)
            if match is not None:
                low, high = match[0][0], match[0][2]
                if low > high or self.text[match.end() : match.end() + 1] == "-":
                    raise _UnknownError
                parts.append(match[0])
                self.place = match.end()
            elif self.peek() == "-" and self.text[self.place + 1 : self.place + 2] == "]":
                parts.append("\\-")
                self.place += 1
            elif self.peek() and _IN_BRACKETS.match(self.peek()) and self.text[self.place + 1 : self.place + 2] != "-":
                parts.append("\\" + self.peek() if self.peek() in "&~|" else self.peek())
                self.place += 1
            elif (
                self.peek()
                and _IN_BRACKETS.match(self.peek())
                and self.text[self.place + 1 : self.place + 3] == "-]"
            ):
                parts.append(self.peek())
                self.place += 1
            else:
                raise _UnknownError
        self.place += 1
        return f"[{'^' if negated else ''}{''.join(parts)}]"
