"""Types of a condition's parts: how PostgreSQL reads a quoted constant of each, and what its functions take and give.

A type is a DRMS type (char .. longlong, float, double, time, string), "numeric" (a constant with a point or an
exponent), "boolean", or "unknown": a quoted constant or NULL, which takes the type of the other operand. "any" is
the type of what only JSOC knows, such as a function of its own.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from mirror.drms.series import INTEGER_TYPES
from mirror.drms.where.nodes import Constant

INTEGERS = ("char", "short", "int", "longlong")  # from narrow to wide
INEXACT = frozenset({"float", "double", "time"})
_RANGES = {"char": 15, "short": 15, "int": 31, "longlong": 63}  # DRMS keeps a char in a smallint
_POSTGRES = {
    "char": "smallint",
    "short": "smallint",
    "int": "integer",
    "longlong": "bigint",
    "float": "real",
    "double": "double precision",
    "time": "double precision",
    "string": "text",
}
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_SPECIAL = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}
_TRUE = frozenset({"t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"})
_FALSE = frozenset({"f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"})
_BLANKS = " \t\n\r\f\v"


class BadConstantError(ValueError):
    """A quoted constant that PostgreSQL does not accept as the type of the other operand."""


def postgres_name(type_: str) -> str:
    """PostgreSQL's name of a type."""
    return _POSTGRES.get(type_, type_)


def group(type_: str) -> str:
    """Types of one group can be compared: "number", "string" or "boolean"."""
    return "number" if type_ in INTEGER_TYPES or type_ in INEXACT or type_ == "numeric" else type_


def type_of_number(value: Constant) -> str:
    """The type of an unquoted constant; an integer gets the narrowest type that fits."""
    if isinstance(value, float):
        return "double"
    if isinstance(value, Decimal):
        return "numeric"
    return next((t for t in ("int", "longlong") if in_range(value, t)), "numeric")


def in_range(value: int, type_: str) -> bool:
    """Whether an integer type can hold ``value``."""
    limit = 1 << _RANGES[type_]
    return -limit <= value < limit


def wider(left: str, right: str) -> str:
    """The type of arithmetic on two numbers."""
    if left in INTEGER_TYPES and right in INTEGER_TYPES:
        return max(left, right, key=INTEGERS.index)
    if left == right == "float":
        return "float"
    return "double" if INEXACT & {left, right} else "numeric"


def common(types: Collection[str]) -> str:
    """The common type to which alternative values of these types are cast, as in CASE."""
    if not types or types == {"string"}:
        return "string"
    if "any" in types or group(next(iter(types))) != "number":
        return "any" if "any" in types else next(iter(types))
    for type_ in ("double", "time", "float", "numeric"):
        if type_ in types:
            return "double" if type_ == "time" else type_
    return max(types, key=INTEGERS.index)


# ---- quoted constants -------------------------------------------------------------------------


def read_integer(text: str, type_: str) -> int:
    """A quoted integer: blanks around it and a sign are fine, a fraction is not."""
    digits = text.strip(_BLANKS)
    if not _INTEGER.fullmatch(digits):
        raise BadConstantError(f'invalid input syntax for type {postgres_name(type_)}: "{text}"')
    if len(digits) > 30 or not in_range(int(digits), type_):
        raise BadConstantError(f'value "{text}" is out of range for type {postgres_name(type_)}')
    return int(digits)


def read_numeric(text: str) -> Decimal | float:
    """A quoted number compared with a constant with a point; NaN and infinities are floats."""
    special = _special(text)
    if special is not None:
        return special
    digits = text.strip(_BLANKS)
    if not _NUMBER.fullmatch(digits):
        raise BadConstantError(f'invalid input syntax for type numeric: "{text}"')
    return Decimal(digits)


def read_float(text: str, type_: str) -> float:
    """A quoted number compared with a float, double or time; for a float it is rounded to single precision."""
    special = _special(text)
    if special is not None:
        return special
    digits = text.strip(_BLANKS)
    if not _NUMBER.fullmatch(digits):
        raise BadConstantError(f'invalid input syntax for type {postgres_name(type_)}: "{text}"')
    try:
        value = single(float(digits)) if type_ == "float" else float(digits)
    except OverflowError:
        value = math.inf
    if math.isinf(value) or (value == 0.0 and Decimal(digits) != 0):
        raise BadConstantError(f'"{text}" is out of range for type {postgres_name(type_)}')
    return value


def read_boolean(text: str) -> bool:
    """A quoted truth value, in any of PostgreSQL's spellings."""
    word = text.strip(_BLANKS).lower()
    if word not in _TRUE | _FALSE:
        raise BadConstantError(f'invalid input syntax for type boolean: "{text}"')
    return word in _TRUE


def single(value: float) -> float:
    """``value`` rounded to single precision; ``OverflowError`` if it does not fit."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def _special(text: str) -> float | None:
    word = text.strip(_BLANKS).lower()
    value = _SPECIAL.get(word.lstrip("+-"))
    if value is None or word.count("-") + word.count("+") > 1:
        return None
    return -value if word.startswith("-") else value


# ---- functions -----------------------------------------------------------------------------------
# Those that conditions may call. Other functions may exist at JSOC: a call of one is bound to the type "any", and
# evaluated by JSOC.

@dataclass(frozen=True, slots=True)
class Signature:
    """``takes`` are the groups of the arguments, of which the first ``least`` are required; see ``result``."""

    takes: tuple[str, ...]
    least: int
    gives: str


def _of(takes: str, gives: str, least: int | None = None) -> Signature:
    groups = tuple({"n": "number", "s": "string", "i": "integer", "x": "exact"}[c] for c in takes)
    return Signature(groups, len(groups) if least is None else least, gives)


#: ``gives`` is a type, or "inexact" (numeric for a numeric argument, else double), "same" (that of the argument),
#: "wider" (of both), "digits" (numeric with a second argument, else as inexact).
SIGNATURES: Mapping[str, Signature] = {
    "abs": _of("n", "same"),
    **dict.fromkeys(("ceil", "ceiling", "floor", "sign", "sqrt", "exp", "ln"), _of("n", "inexact")),
    **dict.fromkeys(
        ("cbrt", "radians", "degrees", "sin", "cos", "tan", "cot", "asin", "acos", "atan"), _of("n", "double")
    ),
    **dict.fromkeys(("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"), _of("n", "double")),
    **dict.fromkeys(("sind", "cosd", "tand", "cotd", "asind", "acosd", "atand"), _of("n", "double")),
    **dict.fromkeys(("atan2", "atan2d"), _of("nn", "double")),
    "pi": _of("", "double"),
    **dict.fromkeys(("round", "trunc", "log"), _of("nn", "digits", 1)),
    **dict.fromkeys(("power", "pow"), _of("nn", "inexact")),
    "mod": _of("xx", "wider"),
    "div": _of("xx", "numeric"),
    **dict.fromkeys(("lower", "upper", "initcap", "reverse", "md5"), _of("s", "string")),
    **dict.fromkeys(
        ("length", "char_length", "character_length", "octet_length", "bit_length", "ascii"), _of("s", "int")
    ),
    **dict.fromkeys(("btrim", "ltrim", "rtrim"), _of("ss", "string", 1)),
    "substr": _of("sii", "string", 2),
    "strpos": _of("ss", "int"),
    **dict.fromkeys(("left", "right", "repeat"), _of("si", "string")),
    "replace": _of("sss", "string"),
    "translate": _of("sss", "string"),
    "split_part": _of("ssi", "string"),
}
#: Functions whose value may differ with each call, so that an answer of JSOC cannot be used again.
VOLATILE = frozenset(
    {"random", "now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday", "age",
     "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "gen_random_uuid"}
)  # fmt: skip


def fits(wanted: str, type_: str) -> bool:
    """Whether an argument of a type is accepted where one of a group is expected."""
    if type_ == "any":
        return True
    if wanted == "integer":
        return type_ in INTEGER_TYPES - {"longlong"}
    if wanted == "exact":
        return type_ in INTEGER_TYPES or type_ == "numeric"
    return group(type_) == wanted


def result(name: str, args: Sequence[str]) -> str:
    """The type that a function of ``SIGNATURES`` returns for arguments of these types."""
    gives = SIGNATURES[name].gives
    if gives == "same":
        return "double" if args[0] == "time" else args[0]
    if gives == "wider":
        return wider(args[0], args[1])
    if gives == "digits" and len(args) > 1:
        return "numeric"
    if gives in ("inexact", "digits"):
        exact = all(type_ in INTEGER_TYPES or type_ == "numeric" for type_ in args)
        return "numeric" if exact and "numeric" in args else "double"
    return gives
