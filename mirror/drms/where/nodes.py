"""The nodes of a condition's tree: what a where clause may say.

Rule for editors: a clause with a construct that has no class here is ``Unread`` as a whole. A new class needs
its text (``str``), its rule in ``parse``, its types in ``bind``, and its SQL or its plainer form in ``duckdb``.

Equality ignores a node's position in the query. ``str()`` writes as few parentheses as parsing needs:
``_LEVEL`` of a class is how tightly PostgreSQL binds it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar

#: The value of a number.
Constant = int | Decimal | float
COMPARISONS = ("=", "<>", "<", "<=", ">", ">=")
#: Arithmetic on two operands, loosest first; the operators of a row bind from the left.
ARITHMETIC = (("&", "|", "#", "<<", ">>", "||"), ("+", "-"), ("*", "/", "%"), ("^",))
#: Types that a cast may name, as PostgreSQL writes them.
CASTS = {
    "short": "smallint",
    "int": "integer",
    "longlong": "bigint",
    "float": "real",
    "double": "double precision",
    "numeric": "numeric",
    "string": "text",
    "boolean": "boolean",
}
#: POSIX regular expressions; they bind as the first row of ``ARITHMETIC``.
REGEXES = ("~", "~*", "!~", "!~*")
_OR, _AND, _NOT, _IS, _COMPARE, _RANGE, _BITS, _UNARY, _ATOM = 1, 2, 3, 4, 5, 6, 7, 11, 12


@dataclass(frozen=True, slots=True)
class Expr:
    """A node; ``position`` is its offset in the query it was read from."""

    position: int = field(default=0, compare=False, repr=False, kw_only=True)
    _LEVEL: ClassVar[int] = _ATOM

    @property
    def level(self) -> int:
        """How tightly the node's text binds; an operand that binds more loosely than its place gets parentheses."""
        return self._LEVEL

    def parts(self) -> tuple[Expr, ...]:
        """The nodes directly below this one, in the order of the text."""
        return ()


@dataclass(frozen=True, slots=True)
class Column(Expr):
    """A column, by its name in lower case."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Number(Expr):
    """A constant: an int, a Decimal (written with a point or an exponent), or, once bound, a float.

    A float is a quoted constant that is compared with a float, double or time column; it may be NaN.
    """

    value: Constant

    def __str__(self) -> str:
        if not isinstance(self.value, float):
            return str(self.value)
        return "'NaN'" if math.isnan(self.value) else f"'{self.value!r}'"


@dataclass(frozen=True, slots=True)
class String(Expr):
    """A quoted constant; unless it is compared with text, binding converts it to the type of the other side."""

    value: str

    def __str__(self) -> str:
        return "'" + self.value.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class Boolean(Expr):
    """``TRUE`` or ``FALSE``."""

    value: bool

    def __str__(self) -> str:
        return "TRUE" if self.value else "FALSE"


@dataclass(frozen=True, slots=True)
class Null(Expr):
    """``NULL``."""

    def __str__(self) -> str:
        return "NULL"


@dataclass(frozen=True, slots=True)
class Negate(Expr):
    """``-operand``; never of a ``Number``, whose sign is its own."""

    operand: Expr
    _LEVEL: ClassVar[int] = _UNARY

    def __str__(self) -> str:
        return f"-{_text(self.operand, _ATOM)}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Complement(Expr):
    """``~operand``: all bits flipped."""

    operand: Expr
    _LEVEL: ClassVar[int] = _BITS

    def __str__(self) -> str:
        # "~" directly followed by a sign would be one operator.
        return f"~ {_text(self.operand, _ATOM)}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Arithmetic(Expr):
    """``left op right`` with an operator of ``ARITHMETIC``."""

    op: str
    left: Expr
    right: Expr

    @property
    def level(self) -> int:
        return _BITS + next(i for i, row in enumerate(ARITHMETIC) if self.op in row)

    def __str__(self) -> str:
        return f"{_text(self.left, self.level)} {self.op} {_text(self.right, self.level + 1)}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class Function(Expr):
    """``name(args)``, the name in lower case, known or not."""

    name: str
    args: tuple[Expr, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.args))})"

    def parts(self) -> tuple[Expr, ...]:
        return self.args


@dataclass(frozen=True, slots=True)
class Compare(Expr):
    """``left op right`` with an operator of ``COMPARISONS``."""

    op: str
    left: Expr
    right: Expr
    _LEVEL: ClassVar[int] = _COMPARE

    def __str__(self) -> str:
        return f"{_text(self.left, _RANGE)} {self.op} {_text(self.right, _RANGE)}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class Between(Expr):
    """``operand BETWEEN low AND high``, both ends included."""

    operand: Expr
    low: Expr
    high: Expr
    negated: bool = False
    _LEVEL: ClassVar[int] = _RANGE

    def __str__(self) -> str:
        operand, low, high = (_text(e, _BITS) for e in self.parts())
        return f"{operand} {_not(self.negated)}BETWEEN {low} AND {high}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand, self.low, self.high)


@dataclass(frozen=True, slots=True)
class InList(Expr):
    """``operand IN (items)``; there is at least one item."""

    operand: Expr
    items: tuple[Expr, ...]
    negated: bool = False
    _LEVEL: ClassVar[int] = _RANGE

    def __str__(self) -> str:
        return f"{_text(self.operand, _BITS)} {_not(self.negated)}IN ({', '.join(map(str, self.items))})"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand, *self.items)


@dataclass(frozen=True, slots=True)
class Like(Expr):
    """``operand LIKE pattern``; ``escape`` is one character, or "" for none; ``any_case`` is ILIKE."""

    operand: Expr
    pattern: Expr
    escape: str = "\\"
    any_case: bool = False
    negated: bool = False
    _LEVEL: ClassVar[int] = _RANGE

    def __str__(self) -> str:
        operand, pattern = (_text(e, _BITS) for e in self.parts())
        tail = "" if self.escape == "\\" else f" ESCAPE {String(self.escape)}"
        return f"{operand} {_not(self.negated)}{'ILIKE' if self.any_case else 'LIKE'} {pattern}{tail}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand, self.pattern)


@dataclass(frozen=True, slots=True)
class Regex(Expr):
    """``operand op pattern`` with one of ``REGEXES``: whether a part of the text matches."""

    op: str
    operand: Expr
    pattern: Expr
    _LEVEL: ClassVar[int] = _BITS

    def __str__(self) -> str:
        return f"{_text(self.operand, _BITS)} {self.op} {_text(self.pattern, _BITS + 1)}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand, self.pattern)


@dataclass(frozen=True, slots=True)
class Similar(Expr):
    """``operand SIMILAR TO pattern``; ``escape`` as in ``Like``."""

    operand: Expr
    pattern: Expr
    escape: str = "\\"
    negated: bool = False
    _LEVEL: ClassVar[int] = _RANGE

    def __str__(self) -> str:
        operand, pattern = (_text(e, _BITS) for e in self.parts())
        tail = "" if self.escape == "\\" else f" ESCAPE {String(self.escape)}"
        return f"{operand} {_not(self.negated)}SIMILAR TO {pattern}{tail}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand, self.pattern)


@dataclass(frozen=True, slots=True)
class Cast(Expr):
    """``CAST(operand AS type)``; ``type`` is one of ``CASTS``."""

    operand: Expr
    type: str

    def __str__(self) -> str:
        return f"CAST({self.operand} AS {CASTS[self.type]})"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Case(Expr):
    """``CASE WHEN condition THEN value ... ELSE otherwise END``; there is at least one WHEN."""

    whens: tuple[tuple[Expr, Expr], ...]
    otherwise: Expr

    def __str__(self) -> str:
        whens = " ".join(f"WHEN {condition} THEN {value}" for condition, value in self.whens)
        return f"CASE {whens} ELSE {self.otherwise} END"

    def parts(self) -> tuple[Expr, ...]:
        return (*(part for when in self.whens for part in when), self.otherwise)


@dataclass(frozen=True, slots=True)
class Unread(Expr):
    """A whole condition, as written, that PostgreSQL may understand but we do not: only JSOC evaluates it.

    ``names`` are its words in lower case: columns, functions and SQL keywords alike.
    """

    text: str
    names: frozenset[str]
    _LEVEL: ClassVar[int] = _OR

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class IsTruth(Expr):
    """``operand IS TRUE``, ``IS FALSE`` or, if ``value`` is None, ``IS UNKNOWN``; each perhaps with NOT."""

    operand: Expr
    value: bool | None
    negated: bool = False
    _LEVEL: ClassVar[int] = _IS

    def __str__(self) -> str:
        word = {True: "TRUE", False: "FALSE", None: "UNKNOWN"}[self.value]
        return f"{_text(self.operand, _COMPARE)} IS {_not(self.negated)}{word}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Distinct(Expr):
    """``left IS DISTINCT FROM right``: inequality, with NULL as a value like others."""

    left: Expr
    right: Expr
    negated: bool = False
    _LEVEL: ClassVar[int] = _IS

    def __str__(self) -> str:
        sides = _text(self.left, _COMPARE), _text(self.right, _RANGE)
        return f"{sides[0]} IS {_not(self.negated)}DISTINCT FROM {sides[1]}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class IsNull(Expr):
    """``operand IS NULL``, or ``IS NOT NULL`` when ``negated``."""

    operand: Expr
    negated: bool = False
    _LEVEL: ClassVar[int] = _IS

    def __str__(self) -> str:
        return f"{_text(self.operand, _COMPARE)} IS {_not(self.negated)}NULL"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class Not(Expr):
    """``NOT operand``."""

    operand: Expr
    _LEVEL: ClassVar[int] = _NOT

    def __str__(self) -> str:
        return f"NOT {_text(self.operand, _NOT)}"

    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)


@dataclass(frozen=True, slots=True)
class And(Expr):
    """All of two or more conditions."""

    operands: tuple[Expr, ...]
    _LEVEL: ClassVar[int] = _AND

    def __str__(self) -> str:
        return " AND ".join(_text(e, _NOT) for e in self.operands)

    def parts(self) -> tuple[Expr, ...]:
        return self.operands


@dataclass(frozen=True, slots=True)
class Or(Expr):
    """Any of two or more conditions."""

    operands: tuple[Expr, ...]
    _LEVEL: ClassVar[int] = _OR

    def __str__(self) -> str:
        return " OR ".join(_text(e, _AND) for e in self.operands)

    def parts(self) -> tuple[Expr, ...]:
        return self.operands


def walk(expr: Expr) -> Iterator[Expr]:
    """The node and all below it, in the order of the text."""
    yield expr
    for part in expr.parts():
        yield from walk(part)


def needs(expr: Expr) -> frozenset[str]:
    """The names, in lower case, of the columns that the condition uses; more if it is ``Unread``."""
    if isinstance(expr, Unread):
        return expr.names
    return frozenset(e.name for e in walk(expr) if isinstance(e, Column))


def _text(expr: Expr, level: int) -> str:
    return str(expr) if expr.level >= level else f"({expr})"


def _not(negated: bool) -> str:
    return "NOT " if negated else ""
