"""Cuts a where clause into tokens, as PostgreSQL does after DRMS has made its replacements, and checks that they are harmless.

DRMS turns every ``"`` into ``'`` and ``$(time)`` into seconds before PostgreSQL sees the clause.
Operators are cut greedily, so ``a &-1`` holds an operator ``&-``, as in PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, NoReturn

from mirror.drms.times import scan_time
from mirror.errors import SyntaxProblem

_NAME = re.compile(r"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*")
_NUMBER = re.compile(r"(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_STRING = re.compile(r"(?:'[^']*')+")
#: Further parts of a text: PostgreSQL joins strings on separate lines.
_CONTINUED = re.compile(r"[ \t\f\v]*[\r\n][ \t\r\n\f\v]*(?=')")
_ESCAPED = re.compile(r"[eE]'((?:[^'\\]|\\.|'')*)'", re.DOTALL)
_BITS = re.compile(r"[bB]'([01]*)'|[xX]'([0-9A-Fa-f]*)'")
_DOLLAR = re.compile(r"\$((?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?)\$(.*?)\$\1\$", re.DOTALL)
_OTHER_TEXT = re.compile(r"(?:[nN]|[uU]&)'")
_TIME = re.compile(r"\$\(([^)]*)\)")
_OPERATOR = re.compile(r"[-+*/<>=~!@#%^&|`?]+")
_KEEPS_SIGN = re.compile(r"[~!@#%^&|`?]")  # an operator with one of these may end in + or -
_BLANKS = " \t\n\r\f\v"
_SINGLE = "(),[]."
LONGEST_CLAUSE = 65536  # several times what the server itself can take
_LONGEST_NUMBER = 400  # digits, and tens of an exponent: far beyond any double

#: PostgreSQL operators that are read here.
KNOWN_OPERATORS = frozenset(
    ["=", "<>", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "^", "&", "|", "#", "~", "<<", ">>", "||", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*", "@", "|/", "||/"]
)
#: PostgreSQL's others, for types that hardly any series has; they are left to JSOC.
_OTHER_OPERATORS = frozenset(
    ["!", "!!", "&&", "@>", "<@", "@@", "@@@", "^@", "<->", "->", "->>", "#>", "#>>", "#-", "@?", "?|", "?&", "?", "&<", "&>", "<<|", "|>>", "&<|", "|&>", "<^", ">^", "?#", "?-", "?-|", "?||", "~=", "##", "@-@", "<<", ">>", "<<=", ">>=", "-|-", "~<~", "~<=~", "~>~", "~>=~", "*=", "*<>", "*<", "*<=", "*>", "*>=", "|&>"]
)
#: Operators of other languages, and what PostgreSQL has for them. (Its own && is about arrays.)
_MEANT = {"==": "=", "===": "=", "!==": "<>", "=<": "<=", "=>": ">=", "=!": "<>", "=~": "~", "**": "^", "//": "/"}
_FORBIDDEN = (
    (";", "several statements are not accepted in a condition"),
    ("$(", "the time after '$(' is not closed"),
    ("'", "the quoted text is not closed"),
)
_SIMPLE_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(
    r"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))|''", re.DOTALL
)


class Token(NamedTuple):
    """``kind`` is name, number, string, bits, mark, other or end; ``word`` is what grammar rules look at.

    ``text`` is a name in lower case, an operator, one of ``( ) , [ ] .``, or the text between quotes; ``word`` is the
    same for names and marks, and "" for everything else. "other" is valid in PostgreSQL, but not read here.
    """

    kind: str
    text: str
    position: int
    word: str = ""
    value: int | Decimal = 0


def mark(text: str, position: int) -> Token:
    """The token of an operator, a comma or a parenthesis."""
    return Token("mark", text, position, text)


@dataclass(frozen=True, slots=True)
class Source:
    """The clause, and its place in the query that errors show."""

    text: str
    query: str
    offset: int

    def fail(self, message: str, position: int, expected: str = "") -> NoReturn:
        """Raise the ``SyntaxProblem`` for a position in the query."""
        raise SyntaxProblem(message, text=self.query, position=position, expected=expected)

    def tokens(self) -> list[Token]:
        """All tokens of the clause, followed by an end token."""
        if len(self.text) > LONGEST_CLAUSE:
            self.fail(f"a condition is not longer than {LONGEST_CLAUSE} characters", self.offset)
        text = self.text.replace('"', "'")
        tokens: list[Token] = []
        place = self._skip_blank(text, 0)
        while place < len(text):
            token, place = self._next(text, place)
            tokens.append(token)
            place = self._skip_blank(text, place)
        return [*tokens, Token("end", "", self.offset + place)]

    def _skip_blank(self, text: str, place: int) -> int:
        """The position after blanks and comments."""
        while place < len(text):
            if text[place] in _BLANKS:
                place += 1
            elif text.startswith("--", place):
                end = min((i for i in (text.find(c, place) for c in "\r\n") if i >= 0), default=-1)
                if end < 0:
                    self.fail(
                        "a comment to the end of the condition also hides what JSOC writes behind it",
                        self.offset + place,
                        "the condition without it",
                    )
                place = end
            elif text.startswith("/*", place):
                place = self._comment_end(text, place)
            else:
                break
        return place

    def _comment_end(self, text: str, start: int) -> int:
        """The end of a comment; comments may be nested."""
        depth = 0
        for found in re.finditer(r"/\*|\*/", text[start:]):
            depth += 1 if found[0] == "/*" else -1
            if not depth:
                return start + found.end()
        return self.fail("the comment is not closed", self.offset + start, "'*/' behind it")

    def _next(self, text: str, place: int) -> tuple[Token, int]:
        position = self.offset + place
        if match := _BITS.match(text, place):
            bits = match[1] if match[1] is not None else "".join(f"{int(d, 16):04b}" for d in match[2])
            return Token("bits", bits, position), match.end()
        if match := _ESCAPED.match(text, place):
            return self._escaped(match, position), match.end()
        if match := _OTHER_TEXT.match(text, place):
            return Token("other", match[0], position), match.end() - 1
        if match := _NAME.match(text, place):
            return Token("name", match[0].lower(), position, match[0].lower()), match.end()
        if match := _NUMBER.match(text, place):
            return self._number(text, match, position), match.end()
        if match := _STRING.match(text, place):
            return self._string(text, match, position)
        if match := _TIME.match(text, place):
            return self._time(match, position), match.end()
        if match := _DOLLAR.match(text, place):
            return Token("string", match[2], position), match.end()
        if text.startswith("::", place):
            return mark("::", position), place + 2
        if text[place] in _SINGLE:
            return mark(text[place], position), place + 1
        return self._operator(text, place, position)

    def _string(self, text: str, match: re.Match[str], position: int) -> tuple[Token, int]:
        value, place = match[0][1:-1].replace("''", "'"), match.end()
        while (gap := _CONTINUED.match(text, place)) and (more := _STRING.match(text, gap.end())):
            value, place = value + more[0][1:-1].replace("''", "'"), more.end()
        return Token("string", value, position), place

    def _escaped(self, match: re.Match[str], position: int) -> Token:
        """``E'...'``; one with a NUL, or a character that Latin-1 lacks, is left to JSOC."""
        value = _ESCAPE.sub(_unescaped, match[1])
        kind = "other" if "\0" in value or any(ord(c) > 0x7F for c in value) else "string"
        return Token(kind, value, position)

    def _number(self, text: str, match: re.Match[str], position: int) -> Token:
        digits = match[0]
        if _NAME.match(text, match.end()):
            self.fail(f"trailing junk after the number {digits!r}", position, "an operator or a blank")
        if digits.isdigit() and len(digits) <= _LONGEST_NUMBER:
            return Token("number", digits, position, value=int(digits))
        mantissa, _, exponent = digits.lower().partition("e")
        if len(mantissa) > _LONGEST_NUMBER or len(exponent) > 5 or abs(int(exponent or 0)) > _LONGEST_NUMBER:
            return Token("other", digits, position)
        return Token("number", digits, position, value=Decimal(digits))

    def _time(self, match: re.Match[str], position: int) -> Token:
        """``$(time)``: the seconds with six decimals, as DRMS writes them into the clause."""
        scan = scan_time(match[1])
        if scan is None or scan.consumed < len(match[1].rstrip()):
            return Token("other", match[0], position)  # only JSOC knows what DRMS makes of it
        return Token("number", match[0], position, value=Decimal(f"{scan.seconds:.6f}"))

    def _operator(self, text: str, place: int, position: int) -> tuple[Token, int]:
        for opening, message in _FORBIDDEN:
            if text.startswith(opening, place):
                self.fail(message, position)
        match = _OPERATOR.match(text, place)
        if match is None:
            if text[place] in "$:{}\\":
                return Token("other", text[place], position), place + 1
            self.fail(
                f"unexpected character {text[place]!r}", position, "a column, a constant or an operator"
            )
        operator = _cut(match[0])
        name = "<>" if operator == "!=" else operator
        if name in KNOWN_OPERATORS:
            return mark(name, position), place + len(operator)
        if name in _OTHER_OPERATORS:
            return Token("other", name, position), place + len(operator)
        meant = _MEANT.get(operator)
        return self.fail(f"operator {operator!r} does not exist in PostgreSQL", position, f"'{meant}'" if meant else _known())


def _unescaped(match: re.Match[str]) -> str:
    byte, octal, short, long, character = match.groups()
    if code := next((int(c, base) for c, base in ((byte, 16), (octal, 8), (short, 16), (long, 16)) if c), None):
        return chr(min(code, 0x10FFFF))
    if character is not None:
        return _SIMPLE_ESCAPES.get(character, character)
    return "'" if match[0] == "''" else "\0"


def _cut(run: str) -> str:
    """The operator at the beginning of a run of operator characters, by PostgreSQL's rules."""
    comment = re.search(r"--|/\*", run)
    operator = run[: comment.start()] if comment else run
    while len(operator) > 1 and operator[-1] in "+-" and not _KEEPS_SIGN.search(operator):
        operator = operator[:-1]
    return operator


def _known() -> str:
    return "one of " + " ".join(sorted(KNOWN_OPERATORS)) + ", with a blank before a sign"


# ---- what no condition may contain ---------------------------------------------------------------
# Whether or not JSOC would run it: statements, and functions that do more than compute. The check looks at words, so
# that it also covers what the grammar does not read. A function's name without a call is a
# column like any other.

#: Functions that wait, write, reach files, other databases or settings, or run text as a statement.
_FUNCTIONS = re.compile(
    r"(?:pg_|lo_|dblink|_?postgres_fdw|file_fdw|binary_upgrade_|loread$|lowrite$|nextval$|setval$|lastval$|currval$|"
    r"set_config$|current_setting$|query_to_|table_to_|schema_to_|database_to_|cursor_to_|txid_|inet_|ts_stat$|"
    r"ts_rewrite$|suppress_redundant|copy_|adminpack|plpgsql|brin_|gin_clean|xpath_table$|crosstab|connectby)"
)
_STATEMENTS = frozenset(
    ["insert", "update", "delete", "merge", "drop", "create", "alter", "truncate", "grant", "revoke", "copy", "execute", "prepare", "do", "call", "vacuum", "analyze", "listen", "notify", "lock", "returning", "into"]
)
#: Words that are followed by the name of a table.
_BEFORE_TABLES = frozenset({"from", "join", "table"})
#: Functions whose own grammar has a FROM.
_OWN_FROM = frozenset({"extract", "substring", "trim", "overlay"})


def check_harmless(source: Source, tokens: Sequence[Token]) -> None:
    """Raise ``SyntaxProblem`` at the first word that could do harm."""
    selects = any(token.word == "select" for token in tokens)
    for token, behind in zip(tokens, (*tokens[1:], Token("end", "", 0)), strict=True):
        if token.kind != "name":
            continue
        if behind.word == "(" and _FUNCTIONS.match(token.text):
            source.fail(
                f"function {token.text!r} is not accepted in a condition: it does more than compute", token.position
            )
        if selects and token.text in _STATEMENTS:
            source.fail(f"{token.text.upper()} is not accepted in a condition", token.position)


def tables(tokens: Sequence[Token]) -> Iterator[tuple[str, Token]]:
    """The tables that subselects name, each with the first token of its name."""
    calls: list[bool] = []  # for each open parenthesis, whether it belongs to a function with a FROM of its own
    for i, token in enumerate(tokens):
        if token.word == "(":
            calls.append(i > 0 and tokens[i - 1].text in _OWN_FROM)
        elif token.word == ")" and calls:
            calls.pop()
        elif _names_tables(tokens, i, own=bool(calls and calls[-1])):
            yield from _listed(tokens, i + 1)


def _names_tables(tokens: Sequence[Token], i: int, *, own: bool) -> bool:
    token = tokens[i]
    if token.word not in _BEFORE_TABLES or own:
        return False
    return not (token.word == "from" and i > 0 and tokens[i - 1].word == "distinct")


def _listed(tokens: Sequence[Token], place: int) -> Iterator[tuple[str, Token]]:
    """``name { "." name } [ [ AS ] alias ] { "," name ... }``; parenthesised parts are checked separately."""
    while place < len(tokens):
        while place < len(tokens) and tokens[place].word in ("only", "lateral"):
            place += 1
        if place >= len(tokens) or tokens[place].word == "(":
            return
        first, name = tokens[place], tokens[place].text
        place += 1
        while place + 1 < len(tokens) and tokens[place].word == ".":
            name, place = f"{name}.{tokens[place + 1].text}", place + 2
        if place >= len(tokens) or tokens[place].word != "(":  # else it is a function
            yield name, first
        while place < len(tokens) and (tokens[place].word == "as" or _is_alias(tokens[place])):
            place += 1
        if place >= len(tokens) or tokens[place].word != ",":
            return
        place += 1


def _is_alias(token: Token) -> bool:
    return token.kind == "name" and token.text not in _CLAUSES


_CLAUSES: Collection[str] = frozenset(
    ["where", "group", "order", "limit", "offset", "having", "union", "except", "intersect", "window", "fetch", "for", "join", "inner", "left", "right", "full", "cross", "natural", "on", "using", "tablesample"]
)
