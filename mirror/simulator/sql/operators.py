"""PostgreSQL's operators: for each name, its implementations by operand types."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, localcontext
from functools import lru_cache
from itertools import product
from typing import Any

from mirror.errors import Refused
from mirror.simulator.sql.regex import found
from mirror.simulator.sql.types import BOOLEAN, INTEGERS, TEXT, Signature, as_single, integer

_FLOATS = ("real", "double precision")
_MOST_DIGITS = 4000  #: of a numeric in between
_SIGNIFICANT, _LARGEST_SCALE = (
    16,
    1000,
)  #: digits of a numeric quotient: at least, and at most behind the point


# ---- comparison -------------------------------------------------------------------------------------


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1 for two values of one kind; NaN equals itself and is greater than everything else."""
    if isinstance(left, float | Decimal) or isinstance(right, float | Decimal):
        left_nan, right_nan = math.isnan(left), math.isnan(right)
        if left_nan or right_nan:
            return int(left_nan) - int(right_nan)
    return int(left > right) - int(left < right)


COMPARISONS: Mapping[str, Callable[[int], bool]] = {
    "=": lambda order: order == 0,
    "<>": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}
#: Operators that compare in the opposite order.
COMMUTED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _comparing(test: Callable[[int], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: test(compare(left, right))


# ---- arithmetic -------------------------------------------------------------------------------------


def divide(left: int, right: int) -> int:
    """Toward zero; Refused for a divisor of 0."""
    _no_zero(right)
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def remainder(left: int, right: int) -> int:
    """With the sign of the dividend."""
    return left - right * divide(left, right)


def _no_zero(divisor: Any) -> None:
    if divisor == 0:
        raise Refused("division by zero")


def finite(made: float, *sources: float) -> float:
    """A float result; Refused if it overflowed: infinite although no operand is."""
    if math.isinf(made) and not any(math.isinf(source) for source in sources):
        raise Refused("value out of range: overflow")
    return made


def _float(op: str, single_result: Callable[[float], float]) -> Callable[[float, float], float]:
    def run(left: float, right: float) -> float:
        if op == "/":
            if right == 0.0 and not math.isnan(left):
                raise Refused("division by zero")
            made = left / right if right else math.nan
        else:
            made = left + right if op == "+" else left - right if op == "-" else left * right
        made = single_result(finite(made, left, right))
        vanished = made == 0.0 and left != 0.0 and (op == "*" and right != 0.0)
        if vanished or (op == "/" and made == 0.0 and left != 0.0 and not math.isinf(right)):
            raise Refused("value out of range: underflow")
        return made

    return run


def scale_of(value: Decimal) -> int:
    """Digits behind the point, as they are written."""
    return max(0, -int(value.as_tuple().exponent)) if value.is_finite() else 0


def exact(run: Callable[[], Decimal]) -> Decimal:
    """A result with all its digits."""
    with localcontext() as context:
        context.prec = _MOST_DIGITS
        context.Emax, context.Emin = 10**6, -(10**6)
        return run()


def rounded(value: Decimal, scale: int) -> Decimal:
    """Half away from zero."""
    return exact(lambda: value.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP))


def _numeric(op: str) -> Callable[[Decimal, Decimal], Decimal]:
    def run(left: Decimal, right: Decimal) -> Decimal:
        if not (left.is_finite() and right.is_finite()):
            return _beyond(op, left, right)
        if op in ("+", "-", "*"):
            return exact(lambda: left + right if op == "+" else left - right if op == "-" else left * right)
        _no_zero(right)
        if op == "/":
            return quotient(left, right)
        return exact(
            lambda: left - right * (left / right).to_integral_value(rounding=ROUND_DOWN) if left else left
        )

    return run


def _beyond(op: str, left: Decimal, right: Decimal) -> Decimal:
    """With NaN or infinities: as for floats."""
    if left.is_nan() or right.is_nan():
        return Decimal("NaN")
    if op in ("/", "%"):
        _no_zero(right)
        if op == "%":
            return Decimal("NaN") if left.is_infinite() else left
        if right.is_infinite():
            return Decimal("NaN") if left.is_infinite() else Decimal(0)
    first, second = float(left), float(right)
    made = {"+": first + second, "-": first - second, "*": first * second}.get(op)
    return Decimal(made if made is not None else first * math.copysign(1.0, second))


def quotient(left: Decimal, right: Decimal) -> Decimal:
    """With at least 16 significant digits, by PostgreSQL's estimate from base-10,000 digits."""
    weights = [_weight(left), _weight(right)]
    weight = weights[0][0] - weights[1][0] - (weights[0][1] <= weights[1][1])
    scale = max(_SIGNIFICANT - weight * 4, scale_of(left), scale_of(right), 0)
    scale = min(scale, _LARGEST_SCALE)
    return rounded(exact(lambda: left / right), scale)


def _weight(value: Decimal) -> tuple[int, int]:
    """The position and value of the first base-10,000 digit; 0, 0 for zero."""
    if not value:
        return 0, 0
    weight = value.adjusted() // 4
    return weight, int(exact(lambda: abs(value).scaleb(-weight * 4)))


def weight(value: Decimal) -> int:
    """The position of the first base-10,000 digit."""
    return _weight(value)[0]


def _power(left: float, right: float) -> float:
    if math.isnan(left) or math.isnan(right):
        return 1.0 if right == 0.0 or left == 1.0 else math.nan
    if left == 0.0 and right < 0.0:
        raise Refused("zero raised to a negative power is undefined")
    if left < 0.0 and math.isfinite(right) and right != math.floor(right):
        raise Refused("a negative number raised to a non-integer power yields a complex result")
    try:
        made = left**right
    except OverflowError as problem:
        raise Refused("value out of range: overflow") from problem
    if made == 0.0 and left != 0.0 and math.isfinite(left) and math.isfinite(right):
        raise Refused("value out of range: underflow")
    return float(made)


def _numeric_power(left: Decimal, right: Decimal) -> Decimal:
    if not (left.is_finite() and right.is_finite()):
        return Decimal(_power(float(left), float(right)))
    if not left and right < 0:
        raise Refused("zero raised to a negative power is undefined")
    if left < 0 and right != right.to_integral_value():
        raise Refused("a negative number raised to a non-integer power yields a complex result")
    digits = float(right) * (math.log10(abs(left)) if left else 0.0)
    if digits > _MOST_DIGITS:
        raise Refused("value overflows numeric format")
    whole = right == right.to_integral_value()
    scale = max(_SIGNIFICANT - (0 if whole else int(digits)), scale_of(left), scale_of(right), 0)
    with localcontext() as context:
        context.prec = min(_MOST_DIGITS, max(40, int(abs(digits)) + scale + 20))
        made = left**right if left else Decimal(1 if not right else 0)
    return rounded(made, min(scale, _LARGEST_SCALE))


def power(left: Any, right: Any) -> Any:
    """``left ^ right`` of two doubles, or of two numerics."""
    return _numeric_power(left, right) if isinstance(left, Decimal) else _power(left, right)


# ---- bits -------------------------------------------------------------------------------------------


def _shift(op: str, type_: str) -> Callable[[int, int], int]:
    """By a number of bits modulo the width, as the processor does: 32 for a smallint, too."""
    width = {"smallint": 16, "integer": 32, "bigint": 64}[type_]

    def run(left: int, right: int) -> int:
        bits = right % max(width, 32)
        shifted = left << bits if op == "<<" else left >> bits
        half = 1 << (width - 1)
        return (shifted + half) % (1 << width) - half

    return run


# ---- LIKE -------------------------------------------------------------------------------------------

_NOTHING = ""


def like(text: str, pattern: str, *, any_case: bool) -> bool:
    """``text LIKE pattern``, ILIKE when ``any_case``; a backslash escapes."""
    if any_case:
        text, pattern = lower(text), lower(pattern)
    parts = _like_parts(pattern)
    if parts[-1][-1:] != [_NOTHING]:
        return _matches(parts, text)
    # PostgreSQL complains about a final escape character only when it reaches it.
    before = (*parts[:-1], parts[-1][:-1])
    if any(_matches(before, text[:end]) for end in range(len(text))):
        raise Refused("LIKE pattern must not end with escape character")
    return False


def lower(text: str) -> str:
    """Lower-cases ASCII letters only, as in the locale C."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


@lru_cache(maxsize=256)
def _like_parts(pattern: str) -> tuple[list[str | None], ...]:
    """The pattern between its ``%``: characters, None for any one, ``_NOTHING`` for a lone escape at the end."""
    parts: list[list[str | None]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            parts[-1].append(next(characters, _NOTHING))
        elif character == "%":
            parts.append([])
        else:
            parts[-1].append(None if character == "_" else character)
    return tuple(parts)


def _matches(parts: tuple[list[str | None], ...], text: str) -> bool:
    """The first part at the start, the last at the end, those between as early as they fit."""
    first, last = parts[0], parts[-1]
    if not _fits_at(first, text, 0):
        return False
    if len(parts) == 1:
        return len(text) == len(first)
    at, end = len(first), len(text) - len(last)
    for part in parts[1:-1]:
        while at + len(part) <= end and not _fits_at(part, text, at):
            at += 1
        if at + len(part) > end:
            return False
        at += len(part)
    return at <= end and _fits_at(last, text, end)


def _fits_at(part: list[str | None], text: str, at: int) -> bool:
    return at + len(part) <= len(text) and all(p in (None, text[at + i]) for i, p in enumerate(part))


def like_escape(pattern: str, escape: str) -> str:
    """The pattern with a backslash for its own escape character; "" for none."""
    if len(escape) > 1:
        raise Refused("invalid escape string; expected one character")
    if escape == "\\":
        return pattern
    made: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if escape and character == escape:
            made.append("\\" + next(characters, ""))
        else:
            made.append("\\\\" if character == "\\" else character)
    return "".join(made)


# ---- the catalogue ----------------------------------------------------------------------------------


def _catalogue() -> dict[str, list[Signature]]:
    made: dict[str, list[Signature]] = {}

    def add(name: str, args: tuple[str, ...], result: str, run: Callable[..., Any]) -> None:
        made.setdefault(name, []).append(Signature(args, result, run))

    kinds = [*product(INTEGERS, repeat=2), ("numeric", "numeric"), *product(_FLOATS, repeat=2)]
    for name, test in COMPARISONS.items():
        for pair in [*kinds, (TEXT, TEXT), (BOOLEAN, BOOLEAN)]:
            add(name, pair, BOOLEAN, _comparing(test))
    for left, right in product(INTEGERS, repeat=2):
        wide = max(left, right, key=INTEGERS.index)
        for name in "+-*/":
            add(name, (left, right), wide, _of_integers(name, wide))
    for kind in INTEGERS:
        _add_bits(add, kind)
    for name in "+-*/%":
        add(name, ("numeric", "numeric"), "numeric", _numeric(name))
    for left, right in product(_FLOATS, repeat=2):
        result = "real" if left == right == "real" else "double precision"
        for name in "+-*/":
            add(name, (left, right), result, _float(name, as_single if result == "real" else _same))
    for kind in ("numeric", "double precision"):
        add("^", (kind, kind), kind, power)
    for kind in (*INTEGERS, "numeric", *_FLOATS):
        add("-", (kind,), kind, _negated(kind))
        add("+", (kind,), kind, _same)
        add("@", (kind,), kind, (lambda v, k=kind: integer(abs(v), k)) if kind in INTEGERS else abs)
    add("|/", ("double precision",), "double precision", _square_root)
    add("||/", ("double precision",), "double precision", math.cbrt)
    _add_texts(add)
    return made


Add = Callable[[str, tuple[str, ...], str, Callable[..., Any]], None]


def _add_bits(add: Add, kind: str) -> None:
    both = (kind, kind)
    add("%", both, kind, remainder)
    add("&", both, kind, lambda a, b: a & b)
    add("|", both, kind, lambda a, b: a | b)
    add("#", both, kind, lambda a, b: a ^ b)
    add("~", (kind,), kind, lambda a: ~a)
    for name in ("<<", ">>"):
        add(name, (kind, "integer"), kind, _shift(name, kind))


def _add_texts(add: Add) -> None:
    texts = (TEXT, TEXT)
    add("||", texts, TEXT, lambda a, b: a + b)
    for name, any_case in (("~", False), ("~*", True)):
        add(name, texts, BOOLEAN, lambda a, b, c=any_case: found(a, b, any_case=c))
        add("!" + name, texts, BOOLEAN, lambda a, b, c=any_case: not found(a, b, any_case=c))
    for name, any_case in (("~~", False), ("~~*", True)):
        add(name, texts, BOOLEAN, lambda a, b, c=any_case: like(a, b, any_case=c))
        add("!" + name, texts, BOOLEAN, lambda a, b, c=any_case: not like(a, b, any_case=c))
    add("^@", texts, BOOLEAN, str.startswith)


def _of_integers(op: str, type_: str) -> Callable[[int, int], int]:
    if op == "/":
        return lambda a, b: integer(divide(a, b), type_)
    if op == "*":
        return lambda a, b: integer(a * b, type_)
    return (lambda a, b: integer(a + b, type_)) if op == "+" else (lambda a, b: integer(a - b, type_))


def _same(value: Any) -> Any:
    return value


def _negated(kind: str) -> Callable[[Any], Any]:
    if kind in INTEGERS:
        return lambda value: integer(-value, kind)
    return (
        (lambda value: value.copy_negate() if value else value)
        if kind == "numeric"
        else (lambda value: -value)
    )


def _square_root(value: float) -> float:
    if value < 0:
        raise Refused("cannot take square root of a negative number")
    return math.sqrt(value)


OPERATORS: Mapping[str, list[Signature]] = _catalogue()
