r"""PostgreSQL's regular expressions, as patterns of Python's ``re``.

An expression is an "advanced" one (ARE): POSIX's, with ``\d``, ``\m``, lazy quantifiers, lookaround and options at its
start. What differs from Python and is translated: ``$`` is only the very end, ``.`` and ``[^a]`` take a line break,
classes such as ``[[:alpha:]]``, a bracket's ``]`` first is itself, ``{`` before anything but a digit is itself,
``\m \M \y \Y \Z \B``, ``(?<options>)`` at the start and ``***=``. Letters are ASCII's, as in the locale C.

Which part of a text matches may differ from PostgreSQL's (the longest) where alternatives overlap; whether it
matches does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NoReturn

import re2

from mirror.errors import Refused

_MOST_REPEATS = 255
_LONGEST = 4000  #: characters of an expression
_CLASSES = {
    "alpha": "A-Za-z",
    "digit": "0-9",
    "alnum": "A-Za-z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "space": r"\t\n\v\f\r ",
    "blank": r"\t ",
    "punct": r"!-/:-@\[-`{-~",
    "cntrl": r"\x00-\x1f\x7f",
    "graph": "!-~",
    "print": " -~",
    "xdigit": "0-9A-Fa-f",
    "word": "A-Za-z0-9_",
    "ascii": r"\x00-\x7f",
}
_SHORT = {"d": "digit", "s": "space", "w": "word"}
_CHARACTERS = {
    "a": "\a",
    "b": "\b",
    "B": "\\",
    "e": "\x1b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}
_WORD = "[A-Za-z0-9_]"
_STARTS, _ENDS = f"(?:(?<!{_WORD})(?={_WORD}))", f"(?:(?<={_WORD})(?!{_WORD}))"
_CONSTRAINTS = {
    "A": r"(?:\A)",
    "Z": r"(?:\Z)",
    "m": _STARTS,
    "M": _ENDS,
    "y": f"(?:{_STARTS}|{_ENDS})",
    "Y": f"(?:(?<={_WORD})(?={_WORD})|(?<!{_WORD})(?!{_WORD}))",
}
_NAMED = {
    "NUL": "\0", "tab": "\t", "newline": "\n", "space": " ", "comma": ",", "hyphen": "-", "hyphen-minus": "-",
    "period": ".", "full-stop": ".", "slash": "/", "solidus": "/", "zero": "0", "one": "1", "two": "2",
    "left-square-bracket": "[", "right-square-bracket": "]", "backslash": "\\", "underscore": "_",
    "asterisk": "*", "plus-sign": "+", "question-mark": "?", "dollar-sign": "$", "circumflex": "^", "tilde": "~",
}  # fmt: skip


@lru_cache(maxsize=512)
def compiled(pattern: str, any_case: bool) -> re.Pattern[str]:
    """The Python pattern of an ARE, for ``search``; Refused in PostgreSQL's words if it is invalid."""
    made = _translation(pattern, any_case)
    try:
        return re.compile(made.text, made.flags)
    except (re.error, OverflowError, RecursionError) as problem:
        raise Refused(f"the regular expression {pattern!r} is not simulated: {problem}") from problem


def found(text: str, pattern: str, *, any_case: bool) -> bool:
    """``text ~ pattern``, or ``~*`` if ``any_case``."""
    return _searcher(pattern, any_case)(text) is not None


@lru_cache(maxsize=512)
def _searcher(pattern: str, any_case: bool) -> Callable[[str], object]:
    """For an expression without lookaround and back references a search in linear time; else Python's own."""
    made = _translation(pattern, any_case)
    if made.regular:
        options = re2.Options()
        options.case_sensitive, options.dot_nl, options.log_errors = (
            not made.flags & re.IGNORECASE,
            True,
            False,
        )
        try:
            search: Callable[[str], object] = re2.compile(
                made.text.replace(r"(?:\Z)", r"(?:\z)"), options
            ).search
        except re2.error:
            pass  # too many states: Python has none to make
        else:
            return search
    return compiled(pattern, any_case).search


def similar(pattern: str, escape: str | None) -> str:
    """The ARE of a pattern of SIMILAR TO; ``escape`` is one character, or "" for none, None for a backslash."""
    escape = "\\" if escape is None else escape
    if len(escape) > 1:
        raise Refused("invalid escape string; expected one character")
    parts: list[str] = []
    at, in_bracket = 0, False
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if escape and character == escape and at < len(pattern):
            parts.append("\\" + pattern[at] if not pattern[at].isalnum() else pattern[at])
            at += 1
        elif in_bracket:
            parts.append("\\\\" if character == "\\" else character)
            in_bracket = character != "]"
        elif character == "[":
            in_bracket = True
            parts.append(character)
            for opening in ("^", "]"):  # these two are the bracket's own at its start
                if pattern[at : at + 1] == opening:
                    parts.append(opening)
                    at += 1
        else:
            parts.append(_SIMILAR.get(character, character))
    return "^(?:" + "".join(parts) + ")$"


_SIMILAR = {"%": ".*", "_": ".", "(": "(?:", "\\": r"\\", ".": r"\.", "^": r"\^", "$": r"\$"}


@dataclass(frozen=True, slots=True)
class _Translation:
    text: str
    flags: int
    regular: bool  #: it has no lookaround and no back references


@lru_cache(maxsize=512)
def _translation(pattern: str, any_case: bool) -> _Translation:
    if len(pattern) > _LONGEST:
        raise Refused(
            f"the regular expression is {len(pattern)} characters long; expected at most {_LONGEST}"
        )
    return _Translator(pattern, any_case).translated()


@dataclass(slots=True)
class _Translator:
    """Reads an ARE from left to right; each rule returns its Python translation."""

    pattern: str
    any_case: bool
    at: int = 0
    newline_in_any: bool = True  #: whether ``.`` and ``[^a]`` take a line break
    lines: bool = False  #: whether ``^`` and ``$`` stand at lines, too
    expanded: bool = False  #: blanks and comments mean nothing
    advanced: bool = True  #: \\d and its like, lazy quantifiers, (?...)
    basic: bool = False  #: \\( \\) group, + ? | are themselves
    regular: bool = True
    groups: int = 0
    open_groups: list[int] = field(default_factory=list)

    def fail(self, reason: str) -> NoReturn:
        raise Refused(f"invalid regular expression: {reason}, in {self.pattern!r}")

    def translated(self) -> _Translation:
        flags = re.ASCII | re.DOTALL
        if self.pattern.startswith("***="):
            text = re.escape(self.pattern[4:])
        else:
            if self.pattern.startswith("***:"):
                self.at = 4
            elif self.pattern.startswith("***"):
                self.fail("quantifier operand invalid")
            literal = self.options()
            text = re.escape(self.pattern[self.at :]) if literal else self.alternatives()
            if self.at < len(self.pattern) and not literal:
                self.fail("parentheses () not balanced")
        return _Translation(text, flags | (re.IGNORECASE if self.any_case else 0), self.regular)

    def options(self) -> bool:
        """``(?xyz)`` at the start; True if the rest is a literal text."""
        match = re.compile(r"\(\?([a-z]+)\)").match(self.pattern, self.at)
        if match is None:
            return False
        self.at = match.end()
        literal = False
        for option in match[1]:
            if option in "ci":
                self.any_case = option == "i"
            elif option in "nmpsw":
                self.newline_in_any = option in "sw"
                self.lines = option in "nmw"
            elif option in "xt":
                self.expanded = option == "x"
            elif option in "be":
                self.advanced, self.basic = False, option == "b"
            elif option == "q":
                literal = True
            else:
                self.fail("invalid embedded option")
        return literal

    # ---- structure ------------------------------------------------------------------------------

    def peek(self, length: int = 1) -> str:
        return self.pattern[self.at : self.at + length]

    def blanks(self) -> None:
        while self.expanded and self.at < len(self.pattern):
            if self.peek() in " \t\n\r\f\v":
                self.at += 1
            elif self.peek() == "#":
                end = self.pattern.find("\n", self.at)
                self.at = len(self.pattern) if end < 0 else end + 1
            else:
                return

    def alternatives(self) -> str:
        branches = [self.branch()]
        while self.peek() == "|" and not self.basic:
            self.at += 1
            branches.append(self.branch())
        return "|".join(branches)

    def branch(self) -> str:
        parts: list[str] = []
        while True:
            self.blanks()
            if self.at >= len(self.pattern) or self.ends_branch():
                return "".join(parts)
            piece, is_constraint = self.atom(first=not parts)
            parts.append(piece if is_constraint else piece + self.quantifier())
            self.blanks()
            if self.is_quantifier(after_constraint=is_constraint):
                self.fail("quantifier operand invalid")

    def ends_branch(self) -> bool:
        if self.basic:
            return self.peek(2) == r"\)"
        return self.peek() == "|" or (self.peek() == ")" and (self.advanced or bool(self.open_groups)))

    def is_quantifier(self, *, after_constraint: bool) -> bool:
        """Whether a quantifier follows, which may follow neither another one nor a constraint."""
        if self.basic:
            return self.peek() == "*" and not after_constraint
        next_two = self.peek(2)
        return bool(next_two) and (next_two[0] in "*+?" or (next_two[0] == "{" and next_two[1:].isdigit()))

    def quantifier(self) -> str:
        self.blanks()
        bounds = self.bounds()
        if bounds is None:
            if not self.peek() or self.peek() not in ("*" if self.basic else "*+?"):
                return ""
            bounds = self.peek()
            self.at += 1
        if self.advanced and self.peek() == "?":
            self.at += 1
            return bounds + "?"
        return bounds

    def bounds(self) -> str | None:
        """``{m}``, ``{m,}`` or ``{m,n}``; a brace before anything but a digit is itself."""
        opening, closing = (r"\{", r"\}") if self.basic else ("{", "}")
        length = len(opening)
        if (
            self.peek(length) != opening
            or not self.pattern[self.at + length : self.at + length + 1].isdigit()
        ):
            return None
        end = self.pattern.find(closing, self.at)
        match = (
            re.fullmatch(r"([0-9]+)(?:(,)([0-9]*))?", self.pattern[self.at + length : end])
            if end >= 0
            else None
        )
        if match is None:
            self.fail("invalid repetition count(s)" if end >= 0 else "braces {} not balanced")
        counts = [int(match[1])] + ([int(match[3])] if match[3] else [])
        if max(counts) > _MOST_REPEATS or counts != sorted(counts):
            self.fail("invalid repetition count(s)")
        self.at = end + len(closing)
        return "{" + self.pattern[self.at - len(match[0]) - len(closing) : self.at - len(closing)] + "}"

    # ---- atoms ----------------------------------------------------------------------------------

    def atom(self, *, first: bool) -> tuple[str, bool]:
        """One atom, or a constraint (True)."""
        character = self.peek()
        if character == "(" and not self.basic:
            return self.group()
        if character == "[":
            return self.bracket()
        if character == "\\":
            return self.escape(first=first)
        self.at += 1
        if character == ".":
            return ("." if self.newline_in_any else r"[^\n]"), False
        if character == "^" and (not self.basic or first):
            return (r"(?:(?<![^\n]))" if self.line_break() else r"(?:\A)"), True
        if character == "$" and (not self.basic or not self.peek() or self.peek(2) == r"\)"):
            return (r"(?:(?![^\n]))" if self.line_break() else r"(?:\Z)"), True
        if character in "*+?" and not (self.basic and (character != "*" or first)):
            self.fail("quantifier operand invalid")
        if character == "{" and self.peek().isdigit() and not self.basic:
            self.fail("quantifier operand invalid")
        return re.escape(character), False

    def line_break(self) -> bool:
        self.regular = self.regular and not self.lines
        return self.lines

    def group(self) -> tuple[str, bool]:
        """``(re)``, ``(?:re)`` and lookaround."""
        self.at += 1
        opening = "("
        if self.peek() == "?" and self.advanced:
            if self.peek(2) == "?#":
                end = self.pattern.find(")", self.at)
                if end < 0:
                    self.fail("parentheses () not balanced")
                self.at = end + 1
                return "(?:)", True
            opening = next((o for o in ("(?:", "(?=", "(?!", "(?<=", "(?<!") if self.follows(o[1:])), "")
            if not opening:
                self.fail("quantifier operand invalid")
            self.at += len(opening) - 1
        captures = opening == "("
        looks = not captures and opening != "(?:"
        self.groups += captures
        self.open_groups.append(self.groups if captures else 0)
        inside = self.alternatives()
        if self.peek() != ")":
            self.fail("parentheses () not balanced")
        self.at += 1
        self.open_groups.pop()
        self.regular = self.regular and not looks
        return f"{opening}{inside})", looks

    def follows(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    # ---- escapes --------------------------------------------------------------------------------

    def escape(self, *, first: bool) -> tuple[str, bool]:
        self.at += 1
        character = self.peek()
        if not character:
            self.fail(r"invalid escape \ sequence")
        if self.basic:
            return self.basic_escape(first=first)
        if not self.advanced or not (character.isalnum() and character.isascii()):
            self.at += 1
            return re.escape(character), False
        if character in "dswDSW":
            self.at += 1
            inside = _CLASSES[_SHORT[character.lower()]]
            return (f"[^{inside}]" if character.isupper() else f"[{inside}]"), False
        if character in _CONSTRAINTS:
            self.at += 1
            self.regular = self.regular and character in "AZ"
            return _CONSTRAINTS[character], True
        if character in "123456789":
            return self.back_reference(), False
        return re.escape(self.character()), False

    def basic_escape(self, *, first: bool) -> tuple[str, bool]:
        character = self.peek()
        self.at += 1
        if character == "(":
            self.groups += 1
            self.open_groups.append(self.groups)
            inside = self.alternatives()
            if self.peek(2) != r"\)":
                self.fail("parentheses () not balanced")
            self.at += 2
            self.open_groups.pop()
            return f"({inside})", False
        if character in "<>":
            self.regular = False
            return (_STARTS if character == "<" else _ENDS), True
        if character in "123456789":
            self.at -= 1
            return self.back_reference(), False
        if character == "{" and first:
            self.fail("quantifier operand invalid")
        return re.escape(character), False

    def back_reference(self) -> str:
        r"""``\12`` where there are so many groups; else it is octal, or an error."""
        digits = re.compile("[0-9]+" if not self.basic else "[0-9]").match(self.pattern, self.at)
        number = int(digits[0]) if digits else 0
        if digits and (len(digits[0]) == 1 or number <= self.groups):
            if number > self.groups or number in self.open_groups:
                self.fail("invalid backreference number")
            self.at = digits.end()
            self.regular = False
            return f"(?:\\{number})"
        return re.escape(self.octal())

    def octal(self) -> str:
        match = re.compile("[0-7]{1,3}").match(self.pattern, self.at)
        if match is None:
            self.fail("invalid backreference number")
        self.at = match.end()
        return chr(int(match[0], 8) & 0xFF)

    def character(self) -> str:
        r"""The character that an escape stands for: ``\n``, ``\x41``, ``\cM``."""
        letter = self.peek()
        if letter == "0":
            return self.octal()
        self.at += 1
        if letter in _CHARACTERS:
            return _CHARACTERS[letter]
        if letter == "c" and self.peek():
            self.at += 1
            return chr(ord(self.pattern[self.at - 1]) & 0x1F)
        digits = {"x": "[0-9A-Fa-f]+", "u": "[0-9A-Fa-f]{4}", "U": "[0-9A-Fa-f]{8}"}.get(letter)
        match = re.compile(digits).match(self.pattern, self.at) if digits else None
        if match is None or int(match[0], 16) > 0x10FFFF:
            self.fail(r"invalid escape \ sequence")
        self.at = match.end()
        return chr(int(match[0], 16))

    # ---- brackets -------------------------------------------------------------------------------

    def bracket(self) -> tuple[str, bool]:
        """``[abc]``, ``[^a-z]``, ``[[:alpha:]_]``, and ``[[:<:]]``, the start of a word."""
        for text, constraint in (("[[:<:]]", _STARTS), ("[[:>:]]", _ENDS)):
            if self.follows(text):
                self.at += len(text)
                self.regular = False
                return constraint, True
        self.at += 1
        negated = self.peek() == "^"
        self.at += negated
        parts: list[str] = []
        complements: list[str] = []
        while self.peek() != "]" or not (parts or complements):
            if not self.peek():
                self.fail("brackets [] not balanced")
            self.member(parts, complements)
        self.at += 1
        if negated and not self.newline_in_any:
            parts.append(r"\n")
        inside = "".join(parts)
        if not complements:
            return f"[{'^' if negated else ''}{inside}]", False
        # [\D_]: what is in one of them; [^\D_]: what is in none
        choices = [f"[{inside}]"] if inside else []
        choices += [f"[^{c}]" for c in complements]
        if not negated:
            return f"(?:{'|'.join(choices)})", False
        self.regular = False
        return f"(?:(?!{'|'.join(choices)}).)", False

    def member(self, parts: list[str], complements: list[str]) -> None:
        """One member of a bracket: a class, a character or a range."""
        if self.follows("[:"):
            parts.append(self.named_class())
            return
        if (
            self.peek() == "\\"
            and self.advanced
            and self.pattern[self.at + 1 : self.at + 2] in tuple("dswDSW")
        ):
            letter = self.pattern[self.at + 1]
            self.at += 2
            (complements if letter.isupper() else parts).append(_CLASSES[_SHORT[letter.lower()]])
            return
        first = self.element()
        if self.peek() != "-" or self.pattern[self.at + 1 : self.at + 2] == "]":
            parts.append(_in_bracket(first))
            return
        self.at += 1
        if not self.peek():
            self.fail("brackets [] not balanced")
        if self.follows("[:"):
            self.fail("invalid character range")
        last = self.element()
        if last < first or (self.peek() == "-" and self.pattern[self.at + 1 : self.at + 2] != "]"):
            self.fail("invalid character range")
        parts.append(f"{_in_bracket(first)}-{_in_bracket(last)}")

    def named_class(self) -> str:
        end = self.pattern.find(":]", self.at + 2)
        name = self.pattern[self.at + 2 : end] if end >= 0 else ""
        if name not in _CLASSES:
            self.fail("invalid character class")
        self.at = end + 2
        if self.any_case and name in ("upper", "lower"):
            name = "alpha"
        return _CLASSES[name]

    def element(self) -> str:
        """One character: itself, ``[.-.]``, ``[=a=]`` or an escape."""
        for opening in ("[.", "[="):
            if self.follows(opening):
                end = self.pattern.find(opening[1] + "]", self.at + 2)
                name = self.pattern[self.at + 2 : end] if end >= 0 else ""
                if len(name) != 1 and name not in _NAMED:
                    self.fail("invalid collating element")
                self.at = end + 2
                return _NAMED.get(name, name)
        character = self.peek()
        if character == "\\" and self.advanced:
            self.at += 1
            following = self.peek()
            if not following:
                self.fail(r"invalid escape \ sequence")
            if following.isalnum() and following.isascii():
                if following in "AmMyYZ" or following in "123456789":
                    self.fail(r"invalid escape \ sequence")
                return self.character()
            self.at += 1
            return following
        self.at += 1
        return character


def _in_bracket(character: str) -> str:
    return (
        "\\" + character
        if character in r"\]^-[&~|"
        else character
        if character.isprintable()
        else f"\\x{ord(character):02x}"
    )
