"""PostgreSQL's operators on single values, as far as a where clause may use them.

Values are Python's: int, Decimal (numeric), float (double precision), str, bool, and None for NULL. No
function here is called with None. A real column is a float that holds a single-precision value.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Any

from mirror.errors import Refused

Number = int | Decimal | float


def same_kind(left: Any, right: Any) -> tuple[Any, Any]:
    """Both as double if one is, else both as numeric if one is; texts and integers stay."""
    if isinstance(left, float) or isinstance(right, float):
        return float(left), float(right)
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return Decimal(left), Decimal(right)
    return left, right


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1; NaN equals itself and is greater than everything else."""
    left, right = same_kind(left, right)
    if isinstance(left, float) and (math.isnan(left) or math.isnan(right)):
        return math.isnan(left) - math.isnan(right)
    return int(left > right) - int(left < right)


COMPARISONS: Mapping[str, Callable[[int], bool]] = {
    "=": lambda order: order == 0,
    "<>": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}


def arithmetic(op: str, left: Any, right: Any) -> Any:
    """The result of ``left op right``; Refused where PostgreSQL raises an error."""
    left, right = same_kind(left, right)
    if op in {"/", "%"} and right == 0:
        raise Refused("division by zero")
    if isinstance(left, int) and isinstance(right, int):
        return _INTEGER[op](left, right)
    try:
        return _EXACT[op](left, right)
    except OverflowError as problem:
        raise Refused("value out of range: overflow") from problem


def _divide(left: int, right: int) -> int:
    """Toward zero."""
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _shift(left: int, right: int) -> int:
    """By a number of bits that is taken modulo 32, as the processor does; four-byte result."""
    shifted = left << (right % 32)
    return (shifted + (1 << 31)) % (1 << 32) - (1 << 31)


_EXACT: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": lambda left, right: math.fmod(left, right) if isinstance(left, float) else left % right,
}
_INTEGER: Mapping[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide,
    "%": lambda left, right: left - right * _divide(left, right),
    "&": operator.and_,
    "|": operator.or_,
    "#": operator.xor,
    "<<": _shift,
    ">>": lambda left, right: left >> (right % 32),
}

# ---- functions ------------------------------------------------------------------------------------


def call(name: str, args: tuple[Any, ...]) -> Any:
    """The value of a function of ``where.FUNCTIONS``."""
    return _FUNCTIONS[name](*args)


def _rounded(to_integer: Callable[[float], float], mode: str) -> Callable[..., Any]:
    """A function that gives numeric for numeric, which may ask for digits, and double for all else."""

    def function(value: Number, digits: int = 0) -> Decimal | float:
        if isinstance(value, Decimal) or digits:
            return Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=mode)
        value = float(value)
        return to_integer(value) if math.isfinite(value) else value

    return function


def _sqrt(value: Number) -> Any:
    if value < 0:
        raise Refused("cannot take square root of a negative number")
    return value.sqrt() if isinstance(value, Decimal) else math.sqrt(value)


def _sign(value: Number) -> Decimal | float:
    sign = int(value > 0) - int(value < 0)
    return Decimal(sign) if isinstance(value, Decimal) else float(sign)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": _rounded(math.ceil, ROUND_CEILING),
    "ceiling": _rounded(math.ceil, ROUND_CEILING),
    "floor": _rounded(math.floor, ROUND_FLOOR),
    "length": len,
    "lower": str.lower,
    "mod": lambda left, right: arithmetic("%", left, right),
    "round": _rounded(round, ROUND_HALF_UP),
    "sign": _sign,
    "sqrt": _sqrt,
    "trunc": _rounded(math.trunc, ROUND_DOWN),
    "upper": str.upper,
}


# ---- LIKE -----------------------------------------------------------------------------------------


def like(text: str, pattern: str, escape: str, any_case: bool) -> bool:
    """``text LIKE pattern ESCAPE escape``; ILIKE when ``any_case``."""
    return _expression(pattern, escape, any_case).fullmatch(text) is not None


@lru_cache(maxsize=256)
def _expression(pattern: str, escape: str, any_case: bool) -> re.Pattern[str]:
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            parts.append(re.escape(next(characters, "")))
        else:
            parts.append({"%": ".*", "_": "."}.get(character) or re.escape(character))
    return re.compile("".join(parts), re.DOTALL | (re.IGNORECASE if any_case else 0))
