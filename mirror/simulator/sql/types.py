"""Types of values, how they are converted, and which of several functions is chosen.

Values are Python's: int (smallint, integer, bigint), Decimal (numeric), float (real, which holds a single-precision
value, and double precision), str (text), bool, and None for NULL. A quoted constant is ``unknown`` until it is combined
with something that has a type.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from typing import Any, NamedTuple

from mirror.errors import Refused

#: As PostgreSQL prints them, from narrow to wide.
INTEGERS = ("smallint", "integer", "bigint")
NUMBERS = (*INTEGERS, "numeric", "real", "double precision")
TEXT, BOOLEAN, UNKNOWN, BIT = "text", "boolean", "unknown", "bit"
#: DRMS keeps a char in a smallint, and a time in a double precision.
OF_KEYWORD = {
    "char": "smallint",
    "short": "smallint",
    "int": "integer",
    "longlong": "bigint",
    "float": "real",
    "double": "double precision",
    "time": "double precision",
    "string": "text",
}
TYPE_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("smallint", "int2"), "smallint"),
    **dict.fromkeys(("integer", "int", "int4"), "integer"),
    **dict.fromkeys(("bigint", "int8"), "bigint"),
    **dict.fromkeys(("numeric", "decimal", "dec"), "numeric"),
    **dict.fromkeys(("real", "float4"), "real"),
    **dict.fromkeys(("double", "float", "float8"), "double precision"),
    **dict.fromkeys(("text", "varchar", "character", "character varying", "char", "bpchar", "name"), "text"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    "bit": "bit",
}
_BITS = {"smallint": 15, "integer": 31, "bigint": 63}
_BLANKS = " \t\n\r\f\v"
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_SPECIAL = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}
_TRUE = frozenset({"t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"})
_FALSE = frozenset({"f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"})
#: Digits to which a numeric is exact: more than any condition needs.
_PRECISION = 4000


class TypeName(NamedTuple):
    """A type as it was written: ``varchar(5)`` is text, with its own name and size."""

    type: str
    written: str
    sizes: tuple[int, ...] = ()


class BadValueError(Refused):
    """A value that PostgreSQL rejects; its text is PostgreSQL's."""


# ---- categories and implicit conversion -------------------------------------------------------------


def category(type_: str) -> str:
    """Types of one category can be converted to one of them; unknown fits all."""
    return "number" if type_ in NUMBERS else type_


def preferred(type_: str) -> bool:
    """Whether PostgreSQL prefers the type among those of its category."""
    return type_ in ("double precision", TEXT, BOOLEAN)


def coercible(source: str, target: str) -> bool:
    """Whether a value is converted to the type implicitly."""
    if source in (target, UNKNOWN):
        return True
    return source in NUMBERS and target in NUMBERS and NUMBERS.index(source) < NUMBERS.index(target)


def common_type(types: Sequence[str], place: str) -> str:
    """The type to which all can be converted (CASE, COALESCE, lists); BadValueError if there is none."""
    chosen = UNKNOWN
    for type_ in types:
        if type_ in (chosen, UNKNOWN):
            continue
        if chosen == UNKNOWN:
            chosen = type_
        elif category(chosen) != category(type_):
            raise BadValueError(f"{place} types {chosen} and {type_} cannot be matched")
        elif not preferred(chosen) and coercible(chosen, type_) and not coercible(type_, chosen):
            chosen = type_
    return TEXT if chosen == UNKNOWN else chosen


# ---- which function is meant ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signature:
    """A function or operator of given types; NULL if an argument is NULL, and never called with one."""

    args: tuple[str, ...]
    result: str
    run: Callable[..., Any]


class AmbiguousError(Exception):
    """Several candidates fit equally well."""


def choose(candidates: Sequence[Signature], args: Sequence[str]) -> Signature | None:
    """The candidate that PostgreSQL would choose for arguments of these types; None if none fits.

    The rules are those of "Function Type Resolution": exact matches, then preferred types, then the category
    of quoted constants, then the type that the other arguments share.
    """
    fitting = [c for c in candidates if len(c.args) == len(args) and all(map(coercible, args, c.args))]
    exact = [c for c in fitting if tuple(args) == c.args]
    if len(exact) == 1 or not fitting:
        return exact[0] if exact else None
    if len(args) == 2 and args.count(UNKNOWN) == 1:
        both = args[0] if args[1] == UNKNOWN else args[1]
        same = [c for c in fitting if c.args == (both, both)]
        if same:
            return same[0]
    for rule in (_most_exact, _most_preferred, _by_category, _by_the_others):
        fitting = rule(fitting, args)
        if len(fitting) == 1:
            return fitting[0]
    raise AmbiguousError


def _most_exact(candidates: list[Signature], args: Sequence[str]) -> list[Signature]:
    return _best(candidates, lambda c: sum(a == b != UNKNOWN for a, b in zip(args, c.args, strict=True)))


def _most_preferred(candidates: list[Signature], args: Sequence[str]) -> list[Signature]:
    def score(candidate: Signature) -> int:
        pairs = [(a, b) for a, b in zip(args, candidate.args, strict=True) if a != UNKNOWN]
        return sum(a == b or (preferred(b) and category(a) == category(b)) for a, b in pairs)

    return _best(candidates, score)


def _best(candidates: list[Signature], score: Callable[[Signature], int]) -> list[Signature]:
    scores = [score(c) for c in candidates]
    return [c for c, s in zip(candidates, scores, strict=True) if s == max(scores)]


def _by_category(candidates: list[Signature], args: Sequence[str]) -> list[Signature]:
    places = [i for i, a in enumerate(args) if a == UNKNOWN]
    kept = candidates
    wanted: dict[int, tuple[str, bool]] = {}
    for place in places:
        categories = {category(c.args[place]) for c in candidates}
        chosen = TEXT if TEXT in categories else next(iter(categories)) if len(categories) == 1 else None
        if chosen is None:
            return candidates
        is_preferred = any(category(c.args[place]) == chosen and preferred(c.args[place]) for c in candidates)
        wanted[place] = (chosen, is_preferred)
    for place, (chosen, is_preferred) in wanted.items():
        kept = [
            c
            for c in kept
            if category(c.args[place]) == chosen and (preferred(c.args[place]) or not is_preferred)
        ]
    return kept or candidates


def _by_the_others(candidates: list[Signature], args: Sequence[str]) -> list[Signature]:
    known = {a for a in args if a != UNKNOWN}
    if len(known) != 1 or UNKNOWN not in args:
        return candidates
    (type_,) = known
    found = [c for c in candidates if all(coercible(type_, a) for a in c.args)]
    return found if len(found) == 1 else candidates


# ---- reading and printing -----------------------------------------------------------------------------


def read(text: str, type_: str) -> Any:
    """A text as a value of the type; BadValueError in PostgreSQL's words."""
    readers: Mapping[str, Callable[[str, str], Any]] = {
        **dict.fromkeys(INTEGERS, _read_integer),
        "numeric": _read_numeric,
        "real": _read_float,
        "double precision": _read_float,
        BOOLEAN: _read_boolean,
    }
    return readers[type_](text, type_) if type_ in readers else text


def _bad(text: str, type_: str) -> BadValueError:
    return BadValueError(f'invalid input syntax for type {type_}: "{text}"')


def _read_integer(text: str, type_: str) -> int:
    digits = text.strip(_BLANKS)
    if not _INTEGER.fullmatch(digits):
        raise _bad(text, type_)
    if len(digits) > 30 or not fits(int(digits), type_):
        raise BadValueError(f'value "{text}" is out of range for type {type_}')
    return int(digits)


def _read_numeric(text: str, type_: str) -> Decimal:
    special = _special(text)
    if special is not None:
        return Decimal(special)
    digits = text.strip(_BLANKS)
    if not _NUMBER.fullmatch(digits):
        raise _bad(text, type_)
    return plain(Decimal(digits))


def _read_float(text: str, type_: str) -> float:
    special = _special(text)
    if special is not None:
        return special
    digits = text.strip(_BLANKS)
    if not _NUMBER.fullmatch(digits):
        raise _bad(text, type_)
    try:
        value = single(float(digits)) if type_ == "real" else float(digits)
    except OverflowError:
        value = math.inf
    if math.isinf(value) or (value == 0.0 and Decimal(digits) != 0):
        raise BadValueError(f'"{text}" is out of range for type {type_}')
    return value


def _special(text: str) -> float | None:
    word = text.strip(_BLANKS).lower()
    bare = word[1:] if word[:1] in ("+", "-") else word
    value = _SPECIAL.get(bare)
    if value is None or (bare == "nan" and bare != word):
        return None
    return -value if word.startswith("-") else value


def _read_boolean(text: str, type_: str) -> bool:
    word = text.strip(_BLANKS).lower()
    if word not in _TRUE | _FALSE:
        raise _bad(text, type_)
    return word in _TRUE


def printed(value: Any, type_: str) -> str:
    """A value as PostgreSQL's cast to text prints it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return _printed_numeric(value)
    return _printed_float(value, type_) if isinstance(value, float) else str(value)


def _printed_numeric(value: Decimal) -> str:
    if not value.is_finite():
        return "NaN" if value.is_nan() else "Infinity" if value > 0 else "-Infinity"
    return f"{plain(value):f}"


def _printed_float(value: float, type_: str) -> str:
    """The shortest digits that restore the value, with an exponent beyond 15 (real: 6) of them."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if value == 0.0:
        return "-0" if math.copysign(1.0, value) < 0 else "0"
    shortest = Decimal(_shortest_single(value) if type_ == "real" else repr(value)).normalize()
    sign, digits, exponent = shortest.as_tuple()
    text = "".join(map(str, digits))
    power = len(text) + int(exponent) - 1
    if -5 < power < (6 if type_ == "real" else 15):
        return f"{shortest:f}"
    mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
    return f"{'-' if sign else ''}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"


def _shortest_single(value: float) -> str:
    return next(text for digits in range(1, 18) if single(float(text := f"{value:.{digits}g}")) == value)


# ---- conversion ---------------------------------------------------------------------------------------


def fits(value: int, type_: str) -> bool:
    """Whether an integer type can hold ``value``."""
    limit = 1 << _BITS[type_]
    return -limit <= value < limit


def integer(value: int, type_: str) -> int:
    """The value, if the type holds it; else Refused."""
    if not fits(value, type_):
        raise Refused(f"{type_} out of range")
    return value


def plain(value: Decimal) -> Decimal:
    """Without an exponent above 0: 1E+3 becomes 1000, which has no digits after its point."""
    if value.is_finite() and int(value.as_tuple().exponent) > 0:
        with localcontext() as context:
            context.prec = _PRECISION
            return value.quantize(Decimal(1))
    return value


def single(value: float) -> float:
    """``value`` rounded to single precision; OverflowError if it does not fit."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def as_single(value: Any) -> float:
    """A number as a real; Refused if it is too large or vanishes."""
    number = as_double(value)
    try:
        made = single(number)
    except OverflowError as problem:
        raise Refused("value out of range: overflow") from problem
    if made == 0.0 and number != 0.0:
        raise Refused("value out of range: underflow")
    return made


def as_double(value: Any) -> float:
    """A number as a double precision; Refused if it is too large, or vanishes."""
    try:
        made = float(value)
    except OverflowError as problem:
        raise Refused("value out of range: overflow") from problem
    if (
        isinstance(value, Decimal)
        and value.is_finite()
        and (math.isinf(made) or (made == 0.0 and value != 0))
    ):
        raise Refused(f'"{value}" is out of range for type double precision')
    return made


def as_numeric(value: Any, source: str) -> Decimal:
    """A number as a numeric: 15 digits of a double precision, 6 of a real."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return Decimal(value)
        return plain(Decimal(f"{value:.{6 if source == 'real' else 15}g}"))
    return Decimal(value)


def as_integer(value: Any, type_: str) -> int:
    """A number rounded to an integer: a numeric half away from zero, a float half to even."""
    if isinstance(value, float | Decimal):
        if not math.isfinite(value):
            kind = "NaN" if math.isnan(value) else "infinity"
            raise Refused(
                f"cannot convert {kind} to {type_}" if isinstance(value, Decimal) else f"{type_} out of range"
            )
        exact = Decimal(value)
        mode = ROUND_HALF_UP if isinstance(value, Decimal) else ROUND_HALF_EVEN
        value = int(exact.to_integral_value(rounding=mode))
    return integer(value, type_)


def converter(source: str, target: str, *, explicit: bool) -> Callable[[Any], Any] | None:
    """Converts values of one type to another; None if there is no such conversion."""
    if source == target:
        return lambda value: value
    if target == TEXT:
        return (lambda value: printed(value, source)) if explicit else None
    if source == TEXT:
        return (lambda value: read(value, target)) if explicit else None
    if source == BIT and target in ("integer", "bigint"):
        return (lambda bits: _from_bits(bits, target)) if explicit else None
    if source == BOOLEAN and target == "integer" and explicit:
        return int
    if source == "integer" and target == BOOLEAN and explicit:
        return bool
    if source not in NUMBERS or target not in NUMBERS or not (explicit or coercible(source, target)):
        return None
    if target in INTEGERS:
        return lambda value: as_integer(value, target)
    if target == "numeric":
        return lambda value: as_numeric(value, source)
    return as_single if target == "real" else as_double


def _from_bits(bits: str, type_: str) -> int:
    width = _BITS[type_] + 1
    if len(bits) > width:
        raise Refused(f"{type_} out of range")
    value = int(bits or "0", 2)
    return value - (1 << width) if value >> (width - 1) else value


def sized(value: Any, name: TypeName) -> Any:
    """A value cut or rounded to the size after the type: ``varchar(5)``, ``numeric(6, 2)``."""
    if value is None or (not name.sizes and name.written not in ("char", "character", "name")):
        return value
    if name.type == "numeric":
        return _rounded(value, name.sizes[0], name.sizes[1] if len(name.sizes) > 1 else 0)
    if name.type == TEXT:
        width = 63 if name.written == "name" else name.sizes[0] if name.sizes else 1
        cut = value[:width]
        return cut.rstrip(" ") if name.written in ("char", "character") else cut
    if name.type == BIT:
        return value[: name.sizes[0]].ljust(name.sizes[0], "0")
    return value


def _rounded(value: Decimal, precision: int, scale: int) -> Decimal:
    if not value.is_finite():
        if value.is_nan():
            return value
        raise Refused("numeric field overflow")
    with localcontext() as context:
        context.prec = _PRECISION
        made = value.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP)
        if abs(made) >= Decimal(10) ** (precision - scale):
            raise Refused("numeric field overflow")
    return made
