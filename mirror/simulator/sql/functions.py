"""PostgreSQL's functions of numbers and texts: for each name, its implementations by argument types."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from mirror.errors import Refused
from mirror.simulator.sql.operators import (
    exact,
    finite,
    like_escape,
    lower,
    power,
    remainder,
    rounded,
    scale_of,
    weight,
)
from mirror.simulator.sql.regex import compiled, similar
from mirror.simulator.sql.types import BOOLEAN, INTEGERS, NUMBERS, TEXT, Signature, integer

DOUBLE = "double precision"
_LONGEST_TEXT = 1 << 24
#: Functions of PostgreSQL that no column of a series' table needs.
NOT_SIMULATED = frozenset({
    "age", "array_length", "array_position", "clock_timestamp", "convert_from", "convert_to", "current_database",
    "current_schema", "current_setting", "date_part", "date_trunc", "decode", "encode", "extract", "format",
    "generate_series", "isfinite", "justify_days", "make_date", "make_interval", "make_timestamp", "now",
    "pg_sleep", "pg_typeof", "random", "row", "regexp_matches", "regexp_match", "regexp_split_to_array", "row_number",
    "setseed", "statement_timestamp", "string_to_array", "timeofday", "to_char", "to_date", "to_number",
    "to_timestamp", "transaction_timestamp", "unnest", "version",
})  # fmt: skip
#: Aggregates, which may not stand in a condition.
AGGREGATES = frozenset(
    {"avg", "bool_and", "bool_or", "count", "every", "max", "min", "stddev", "string_agg", "sum", "variance"}
)

# ---- rounding ---------------------------------------------------------------------------------------


def _round_double(value: float) -> float:
    return float(round(value)) if math.isfinite(value) else value


def _whole(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda value: float(function(value)) if math.isfinite(value) else value


def _numeric_to(mode: str) -> Callable[..., Decimal]:
    def run(value: Decimal, digits: int = 0) -> Decimal:
        if not value.is_finite():
            return value
        scale = max(-2000, min(2000, digits))
        made = exact(lambda: value.quantize(Decimal(1).scaleb(-scale), rounding=mode))
        return made if scale >= 0 else exact(lambda: made.quantize(Decimal(1)))

    return run


def _sign(value: Any) -> Any:
    if isinstance(value, Decimal) and value.is_nan():
        return value
    return type(value)(int(value > 0) - int(value < 0))


# ---- roots, logarithms, trigonometry ------------------------------------------------------------------


def _sqrt(value: Any) -> Any:
    if value < 0:
        raise Refused("cannot take square root of a negative number")
    if not isinstance(value, Decimal):
        return math.sqrt(value)
    if not value.is_finite() or not value:
        return value
    scale = max(16 - ((weight(value) + 1) * 4 // 2 - 1), scale_of(value), 0)
    return rounded(exact(value.sqrt), min(scale, 1000))


def _exp(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _numeric_function(value, lambda v: v.exp(), float(value) / math.log(10))
    try:
        made = math.exp(value)
    except OverflowError as problem:
        raise Refused("value out of range: overflow") from problem
    if made == 0.0 and math.isfinite(value):
        raise Refused("value out of range: underflow")
    return made


def _numeric_function(value: Decimal, run: Callable[[Decimal], Decimal], digits: float) -> Decimal:
    """A numeric result with 16 significant digits, of which ``digits`` stand before the point."""
    if not value.is_finite():
        return value
    if digits > 1000:
        raise Refused("value overflows numeric format")
    scale = min(1000, max(16 - int(digits), scale_of(value), 0))
    with localcontext() as context:
        context.prec = max(40, scale + int(abs(digits)) + 10)
        made = run(value)
    return rounded(made, scale)


def _logarithm(
    double: Callable[[float], float], numeric: Callable[[Decimal], Decimal]
) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        if value == 0:
            raise Refused("cannot take logarithm of zero")
        if value < 0:
            raise Refused("cannot take logarithm of a negative number")
        if isinstance(value, Decimal):
            size = abs(float(numeric(value))) if value.is_finite() else 1.0
            return _numeric_function(value, numeric, math.log10(size) if size else 0.0)
        return value if math.isinf(value) or math.isnan(value) else double(value)

    return run


def _log_to_base(base: Decimal, value: Decimal) -> Decimal:
    for each in (base, value):
        _logarithm(math.log, Decimal.ln)(each)
    if base == 1:
        raise Refused("division by zero")
    with localcontext() as context:
        context.prec = 60
        made = value.ln() / base.ln()
    return rounded(made, max(16, scale_of(base), scale_of(value)))


def _periodic(function: Callable[[float], float]) -> Callable[[float], float]:
    def run(value: float) -> float:
        if math.isinf(value):
            raise Refused("input is out of range")
        return finite(function(value), value)

    return run


def _bounded(function: Callable[[float], float], low: float, high: float) -> Callable[[float], float]:
    def run(value: float) -> float:
        if value < low or value > high:
            raise Refused("input is out of range")
        return function(value)

    return run


def _cot(value: float) -> float:
    tangent = math.tan(value)
    return math.copysign(math.inf, tangent) if tangent == 0.0 else 1.0 / tangent


def _in_degrees(function: Callable[[float], float]) -> Callable[[float], float]:
    """Of degrees; whole multiples of 30 and 45 come out as they should."""
    return _periodic(lambda value: _tidy(function(math.radians(math.fmod(value, 360.0)))))


def _tidy(value: float) -> float:
    near = round(value * 2.0) / 2.0 if abs(value) < 1e15 else value
    return near if abs(near - value) < 1e-15 else value


def _saturated(function: Callable[[float], float]) -> Callable[[float], float]:
    def run(value: float) -> float:
        try:
            return function(value)
        except OverflowError:
            return math.copysign(math.inf, value) if function is math.sinh else math.inf

    return run


# ---- integers ---------------------------------------------------------------------------------------


def _factorial(value: int) -> Decimal:
    if value < 0:
        raise Refused("factorial of a negative number is undefined")
    if value > 1500:
        raise Refused("value overflows numeric format")
    return Decimal(math.factorial(value))


def _width_bucket(value: Any, low: Any, high: Any, count: int) -> int:
    if count <= 0:
        raise Refused("count must be greater than zero")
    if low == high:
        raise Refused("lower bound cannot equal upper bound")
    up = low < high
    if (value < low) if up else (value > low):
        return 0
    if (value >= high) if up else (value <= high):
        return count + 1
    return int((value - low) * count / (high - low)) + 1


# ---- texts --------------------------------------------------------------------------------------------


def _upper(text: str) -> str:
    return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in text)


def _initcap(text: str) -> str:
    return re.sub("[A-Za-z0-9]+", lambda m: _upper(m[0][0]) + lower(m[0][1:]), text)


def _substring(text: str, start: int, length: int | None = None) -> str:
    """Positions count from 1, and those before it count as well: the first 3 from position -1 are one character."""
    if length is not None and length < 0:
        raise Refused("negative substring length not allowed")
    end = len(text) if length is None else start - 1 + length
    return text[max(0, start - 1) : max(0, end)]


def _substring_like(text: str, pattern: str) -> str | None:
    """The match of the first group, or the whole match without groups; NULL without a match."""
    match = compiled(pattern, any_case=False).search(text)
    return None if match is None else match[1 if match.re.groups else 0]


def _similar_part(text: str, pattern: str, escape: str) -> str | None:
    return _substring_like(text, similar(pattern, escape))


def _regexp_replace(text: str, pattern: str, replacement: str, flags: str = "") -> str:
    expression = compiled(pattern, any_case="i" in flags)

    def filled(match: re.Match[str]) -> str:
        def part(found: re.Match[str]) -> str:
            if found[1].isdigit():
                return match[int(found[1])] or "" if int(found[1]) <= match.re.groups else ""
            return match[0] if found[1] == "&" else found[1]

        return re.sub(r"\\(.)", part, replacement)

    return expression.sub(filled, text, count=0 if "g" in flags else 1)


def _regexp_like(text: str, pattern: str, flags: str = "") -> bool:
    return compiled(pattern, any_case="i" in flags).search(text) is not None


def _regexp_count(text: str, pattern: str) -> int:
    return sum(1 for _ in compiled(pattern, any_case=False).finditer(text))


def _strip(how: Callable[[str, str], str]) -> Callable[..., str]:
    return lambda text, characters=" ": how(text, characters) if characters else text


def _left(text: str, count: int) -> str:
    return text[:count] if count >= 0 else text[: max(0, len(text) + count)]


def _right(text: str, count: int) -> str:
    return (text[-count:] if count else "") if count >= 0 else text[-count:]


def _padded(*, left: bool) -> Callable[..., str]:
    def run(text: str, width: int, fill: str = " ") -> str:
        _not_too_long(width)
        missing = max(0, width) - len(text)
        if missing <= 0 or not fill:
            return text[: max(0, width)]
        padding = (fill * (missing // len(fill) + 1))[:missing]
        return padding + text if left else text + padding

    return run


def _repeat(text: str, count: int) -> str:
    _not_too_long(len(text) * max(0, count))
    return text * max(0, count)


def _not_too_long(length: int) -> None:
    if length > _LONGEST_TEXT:
        raise Refused("requested length too large")


def _translate(text: str, before: str, after: str) -> str:
    table: dict[str, str] = {}
    for at, character in enumerate(before):
        table.setdefault(character, after[at] if at < len(after) else "")
    return "".join(table.get(c, c) for c in text)


def _split_part(text: str, delimiter: str, number: int) -> str:
    if number == 0:
        raise Refused("field position must not be zero")
    parts = text.split(delimiter) if delimiter else [text]
    place = number - 1 if number > 0 else len(parts) + number
    return parts[place] if 0 <= place < len(parts) else ""


def _overlay(text: str, part: str, start: int, length: int | None = None) -> str:
    if start <= 0:
        raise Refused("negative substring length not allowed")
    end = start - 1 + (len(part) if length is None else length)
    return text[: start - 1] + part + text[max(0, end) :]


def _chr(code: int) -> str:
    if code == 0:
        raise Refused("null character not permitted")
    if not 0 < code < 256:
        raise Refused("requested character too large for encoding")
    return chr(code)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("latin-1", "replace"), usedforsecurity=False).hexdigest()


def _to_hex(bits: int) -> Callable[[int], str]:
    return lambda value: f"{value & ((1 << bits) - 1):x}"


# ---- the catalogue ------------------------------------------------------------------------------------


def _catalogue() -> dict[str, list[Signature]]:
    made: dict[str, list[Signature]] = {}

    def add(names: str, args: tuple[str, ...], result: str, run: Callable[..., Any]) -> None:
        for name in names.split():
            made.setdefault(name, []).append(Signature(args, result, run))

    _add_numbers(add)
    _add_doubles(add)
    _add_integers(add)
    _add_texts(add)
    return made


Add = Callable[[str, tuple[str, ...], str, Callable[..., Any]], None]


def _add_numbers(add: Add) -> None:
    for kind in NUMBERS:
        add("abs", (kind,), kind, (lambda v, k=kind: integer(abs(v), k)) if kind in INTEGERS else abs)
    numeric = ("numeric",)
    add("ceil ceiling", numeric, "numeric", _numeric_to(ROUND_CEILING))
    add("floor", numeric, "numeric", _numeric_to(ROUND_FLOOR))
    add("round", numeric, "numeric", _numeric_to(ROUND_HALF_UP))
    add("trunc", numeric, "numeric", _numeric_to(ROUND_DOWN))
    add("round", ("numeric", "integer"), "numeric", _numeric_to(ROUND_HALF_UP))
    add("trunc", ("numeric", "integer"), "numeric", _numeric_to(ROUND_DOWN))
    for kind in ("numeric", DOUBLE):
        add("sign", (kind,), kind, _sign)
        add("sqrt", (kind,), kind, _sqrt)
        add("exp", (kind,), kind, _exp)
        add("ln", (kind,), kind, _logarithm(math.log, Decimal.ln))
        add("log log10", (kind,), kind, _logarithm(math.log10, Decimal.log10))
        add("power pow", (kind, kind), kind, power)
        add("width_bucket", (kind, kind, kind, "integer"), "integer", _width_bucket)
    add("log", ("numeric", "numeric"), "numeric", _log_to_base)
    add("div", ("numeric", "numeric"), "numeric", _numeric_div)
    add("mod", ("numeric", "numeric"), "numeric", _numeric_mod)
    add("factorial", ("bigint",), "numeric", _factorial)
    add("scale", numeric, "integer", scale_of)


def _numeric_div(left: Decimal, right: Decimal) -> Decimal:
    if not right:
        raise Refused("division by zero")
    return exact(lambda: (left / right).to_integral_value(rounding=ROUND_DOWN))


def _numeric_mod(left: Decimal, right: Decimal) -> Decimal:
    return exact(lambda: left - right * _numeric_div(left, right))


def _add_doubles(add: Add) -> None:
    one, two = (DOUBLE,), (DOUBLE, DOUBLE)
    add("ceil ceiling", one, DOUBLE, _whole(math.ceil))
    add("floor", one, DOUBLE, _whole(math.floor))
    add("trunc", one, DOUBLE, _whole(math.trunc))
    add("round", one, DOUBLE, _round_double)
    add("cbrt", one, DOUBLE, math.cbrt)
    add("degrees", one, DOUBLE, lambda v: finite(v / (math.pi / 180.0), v))
    add("radians", one, DOUBLE, lambda v: v * (math.pi / 180.0))
    add("pi", (), DOUBLE, lambda: math.pi)
    for name in ("sin", "cos", "tan"):
        function: Callable[[float], float] = getattr(math, name)
        add(name, one, DOUBLE, _periodic(function))
        add(name + "d", one, DOUBLE, _in_degrees(function))
    add("cot", one, DOUBLE, _periodic(_cot))
    add("cotd", one, DOUBLE, _in_degrees(_cot))
    for name in ("asin", "acos"):
        inverse = _bounded(getattr(math, name), -1.0, 1.0)
        add(name, one, DOUBLE, inverse)
        add(name + "d", one, DOUBLE, lambda v, f=inverse: _tidy(math.degrees(f(v))))
    add("atan", one, DOUBLE, math.atan)
    add("atand", one, DOUBLE, lambda v: _tidy(math.degrees(math.atan(v))))
    add("atan2", two, DOUBLE, math.atan2)
    add("atan2d", two, DOUBLE, lambda a, b: _tidy(math.degrees(math.atan2(a, b))))
    add("sinh", one, DOUBLE, _saturated(math.sinh))
    add("cosh", one, DOUBLE, _saturated(math.cosh))
    add("tanh", one, DOUBLE, math.tanh)
    add("asinh", one, DOUBLE, math.asinh)
    add("acosh", one, DOUBLE, _bounded(math.acosh, 1.0, math.inf))
    add("atanh", one, DOUBLE, _bounded(_atanh, -1.0, 1.0))


def _atanh(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) == 1.0 else math.atanh(value)


def _add_integers(add: Add) -> None:
    for kind in INTEGERS:
        add("mod", (kind, kind), kind, remainder)
    for kind in INTEGERS[1:]:
        add("gcd", (kind, kind), kind, math.gcd)
        add("lcm", (kind, kind), kind, lambda a, b, k=kind: integer(math.lcm(a, b), k))
    for kind, bits in (("integer", 32), ("bigint", 64)):
        add("to_hex", (kind,), TEXT, _to_hex(bits))
    add("chr", ("integer",), TEXT, _chr)


def _add_texts(add: Add) -> None:
    text, texts, number = (TEXT,), (TEXT, TEXT), "integer"
    add("length char_length character_length octet_length", text, number, len)
    add("bit_length", text, number, lambda v: 8 * len(v))
    add("lower", text, TEXT, lower)
    add("upper", text, TEXT, _upper)
    add("initcap", text, TEXT, _initcap)
    add("reverse", text, TEXT, lambda v: v[::-1])
    add("md5", text, TEXT, _md5)
    add("ascii", text, number, lambda v: ord(v[0]) if v else 0)
    add("substr substring", (TEXT, number), TEXT, _substring)
    add("substr substring", (TEXT, number, number), TEXT, _substring)
    add("substring", texts, TEXT, _substring_like)
    add("substring", (TEXT, TEXT, TEXT), TEXT, _similar_part)
    add("strpos position", texts, number, lambda whole, part: whole.find(part) + 1)
    add("starts_with", texts, BOOLEAN, str.startswith)
    add("left", (TEXT, number), TEXT, _left)
    add("right", (TEXT, number), TEXT, _right)
    add("repeat", (TEXT, number), TEXT, _repeat)
    for name, how in (("ltrim", str.lstrip), ("rtrim", str.rstrip), ("btrim", str.strip)):
        add(name, text, TEXT, _strip(how))
        add(name, texts, TEXT, _strip(how))
    for name, left in (("lpad", True), ("rpad", False)):
        add(name, (TEXT, number), TEXT, _padded(left=left))
        add(name, (TEXT, number, TEXT), TEXT, _padded(left=left))
    add("replace", (TEXT, TEXT, TEXT), TEXT, lambda v, old, new: v.replace(old, new) if old else v)
    add("translate", (TEXT, TEXT, TEXT), TEXT, _translate)
    add("split_part", (TEXT, TEXT, number), TEXT, _split_part)
    add("overlay", (TEXT, TEXT, number), TEXT, _overlay)
    add("overlay", (TEXT, TEXT, number, number), TEXT, _overlay)
    add("like_escape", texts, TEXT, like_escape)
    add("similar_to_escape", text, TEXT, lambda v: similar(v, None))
    add("similar_to_escape", texts, TEXT, similar)
    add("regexp_replace", (TEXT, TEXT, TEXT), TEXT, _regexp_replace)
    add("regexp_replace", (TEXT, TEXT, TEXT, TEXT), TEXT, _regexp_replace)
    add("regexp_like", texts, BOOLEAN, _regexp_like)
    add("regexp_like", (TEXT, TEXT, TEXT), BOOLEAN, _regexp_like)
    add("regexp_count", texts, number, _regexp_count)


FUNCTIONS: Mapping[str, list[Signature]] = _catalogue()
