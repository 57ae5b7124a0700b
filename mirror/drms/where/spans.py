"""SQL for comparisons of any numbers, with each value as the span of what it may be.

A printed float stands for a span of stored ones. Arithmetic on spans gives spans, slightly wider where PostgreSQL may
round differently. A comparison holds for certain if it holds throughout both spans. NaN is a span of its own. What is
an error in PostgreSQL (a division by zero, the root of a negative number, a number out of range) is NULL.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from decimal import Decimal

from mirror.drms.series import INTEGER_TYPES
from mirror.drms.times import MISSING_TIME
from mirror.drms.where.exact import ColumnInfo, Columns, certain, exact_value
from mirror.drms.where.inexact import literal
from mirror.drms.where.nodes import Arithmetic, Cast, Column, Compare, Expr, Function, Negate, Number
from mirror.drms.where.types import INEXACT, type_of_number, wider

#: Relative errors: of single precision, of numeric and of rounding to double, of functions, of casts to numeric.
_SINGLE, _ROUNDED, _FUNCTION, _TO_NUMERIC = 1.3e-7, 1e-15, 1e-14, 1e-14
_SINGLE_TO_NUMERIC = 1e-5
_SLACK = 1.0 + 1e-9
_LONGEST = 8_000
_MONOTONE = {"cbrt": "cbrt", "radians": "radians", "degrees": "degrees", "atan": "atan"}
_STEPS = {"floor": "floor", "ceil": "ceil", "ceiling": "ceil", "trunc": "trunc"}
_MOST_POWER = 100


@dataclass(frozen=True, slots=True)
class Span:
    """SQL of the smallest and the largest value, the same text for an exact one; a DRMS type or "numeric".

    ``as_double`` is what a constant becomes in an operation with a float, double or time.
    """

    lo: str
    hi: str
    type: str
    as_double: str | None = None

    @property
    def exact(self) -> bool:
        return self.lo == self.hi

    def wider(self, relative: float) -> Span:
        """The span widened by this relative error."""
        return replace(
            self,
            lo=_let(self.lo, f"(v - {relative!r} * abs(v))"),
            hi=_let(self.hi, f"(v + {relative!r} * abs(v))"),
            as_double=None,
        )

    def meeting(self, other: Span) -> Span:
        """This value as an operand together with the other."""
        if self.as_double is not None and other.type in INEXACT:
            return Span(self.as_double, self.as_double, "double")
        return self


#: SQL up to this length is repeated rather than named.
_SHORT = 60


def _let(sql: str, use: str) -> str:
    """``use`` with ``v`` for ``sql``, which is written once: else the text would double with each operation."""
    if len(sql) <= _SHORT:
        return re.sub(r"\bv\b", lambda _: sql, use)
    return f"list_transform([{sql}], lambda v: {use})[1]"


def _let_all(parts: tuple[str, ...], use: str) -> str:
    """``use`` with ``v[1]``, ``v[2]`` and so on standing for the parts."""
    return f"list_transform([[{', '.join(parts)}]], lambda v: {use})[1]"


class _UnknownError(Exception):
    """A value of which no span can be computed."""


def span_compare(leaf: Compare, columns: Columns) -> str | None:
    """The three-valued SQL of a comparison of numbers; None if it is not one, or has no spans."""
    try:
        left, right = _span(leaf.left, columns), _span(leaf.right, columns)
    except (_UnknownError, OverflowError):
        return None
    left, right = left.meeting(right), right.meeting(left)
    names = ("v[1]", "v[2]", "v[3]", "v[4]")
    holds, fails = _tests(leaf.op, Span(names[0], names[1], ""), Span(names[2], names[3], ""))
    known = " AND ".join(f"{name} IS NOT NULL" for name in names)
    use = f"CASE WHEN NOT ({known}) THEN NULL WHEN {holds} THEN TRUE WHEN {fails} THEN FALSE END"
    sql = _let_all((left.lo, left.hi, right.lo, right.hi), use)
    return None if len(sql) > _LONGEST else certain(sql, leaf, columns)


def _tests(op: str, a: Span, b: Span) -> tuple[str, str]:
    """The conditions under which the comparison certainly holds, and certainly does not."""
    equal = f"{a.lo} = {b.hi} AND {a.hi} = {b.lo}"
    apart = f"{a.hi} < {b.lo} OR {a.lo} > {b.hi}"
    return {
        "=": (equal, apart),
        "<>": (apart, equal),
        "<": (f"{a.hi} < {b.lo}", f"{a.lo} >= {b.hi}"),
        "<=": (f"{a.hi} <= {b.lo}", f"{a.lo} > {b.hi}"),
        ">": (f"{a.lo} > {b.hi}", f"{a.hi} <= {b.lo}"),
        ">=": (f"{a.lo} >= {b.hi}", f"{a.hi} < {b.lo}"),
    }[op]


# ---- values -----------------------------------------------------------------------------------


def _span(expr: Expr, columns: Columns) -> Span:
    found = _value(expr, columns)
    if len(found.lo) + len(found.hi) > _LONGEST:
        raise _UnknownError
    return found


def _value(expr: Expr, columns: Columns) -> Span:
    match expr:
        case Column(name) if columns[name].type in INEXACT:
            return _column(columns[name])
        case Number(value) if not isinstance(value, int) or type_of_number(value) == "numeric":
            return _constant(value)
        case Negate(operand) if not _is_whole(expr, columns):
            return _negated(_span(operand, columns))
        case Cast(operand, type_):
            return _cast(_span(operand, columns), type_)
        case Arithmetic("^", base, exponent):
            return _power(_span(base, columns), exponent)
        case Function("power" | "pow", (base, exponent)):
            return _power(_span(base, columns), exponent)
        case Arithmetic(op, left, right) if not _is_whole(expr, columns):
            return _arithmetic(op, _span(left, columns), _span(right, columns))
        case Function(name, (operand,)) if not _is_whole(expr, columns):
            return _function(name, _span(operand, columns))
    return _whole(expr, columns)


def _is_whole(expr: Expr, columns: Columns) -> bool:
    value = exact_value(expr, columns)
    return value is not None and value.type != "string"


def _whole(expr: Expr, columns: Columns) -> Span:
    value = exact_value(expr, columns)
    if value is None or value.type == "string":
        raise _UnknownError
    sql = f"CAST({value.sql} AS DOUBLE)"
    found = Span(sql, sql, value.type)
    return found if value.type != "longlong" else found.wider(_ROUNDED)


def _column(info: ColumnInfo) -> Span:
    missing = MISSING_TIME if info.type == "time" else math.nan
    sql = _finite(f"coalesce(CAST({info.sql} AS DOUBLE), {literal(missing)})")
    if info.abs_tol == 0.0 and info.rel_tol == 0.0:
        return Span(sql, sql, info.type)
    reach = f"({info.abs_tol * _SLACK!r} + {info.rel_tol * _SLACK + 4e-16!r} * abs(v))"
    return Span(_let(sql, f"(v - {reach})"), _let(sql, f"(v + {reach})"), info.type)


def _finite(sql: str) -> str:
    """NULL in place of an infinity."""
    return f"nullif(nullif({sql}, CAST('inf' AS DOUBLE)), CAST('-inf' AS DOUBLE))"


def _in_single(sql: str) -> str:
    """NULL in place of what single precision cannot hold."""
    return f"CAST(TRY_CAST({sql} AS FLOAT) AS DOUBLE)"


def _constant(value: Decimal | float) -> Span:
    nearest = float(value)
    if math.isinf(nearest):
        raise _UnknownError
    sql = literal(nearest)
    if isinstance(value, float):
        return Span(sql, sql, "double")
    exact = Decimal(nearest) == value
    found = Span(sql, sql, "numeric")
    return replace(found if exact else found.wider(_ROUNDED), as_double=sql)


def _negated(a: Span) -> Span:
    zero = literal(0.0)
    return Span(f"({zero} - {a.hi})", f"({zero} - {a.lo})", _number(a.type))


def _number(type_: str) -> str:
    return "double" if type_ == "time" else type_


def _settled(lo: str, hi: str, type_: str, *, exact: bool) -> Span:
    """The result of an operation: rounded like its type, and NULL if it is out of range."""
    span = Span(_finite(lo), _finite(hi), type_)
    if type_ == "float":
        return Span(_in_single(span.lo), _in_single(span.hi), type_).wider(_SINGLE)
    return span if exact and type_ == "double" else span.wider(_ROUNDED)


def _arithmetic(op: str, a: Span, b: Span) -> Span:
    a, b = a.meeting(b), b.meeting(a)
    type_ = wider(_number(a.type), _number(b.type))
    if type_ in INTEGER_TYPES:
        raise _UnknownError  # integers made of floats, whose division would truncate
    exact = a.exact and b.exact
    match op:
        case "+":
            return _settled(f"({a.lo} + {b.lo})", f"({a.hi} + {b.hi})", type_, exact=exact)
        case "-":
            return _settled(f"({a.lo} - {b.hi})", f"({a.hi} - {b.lo})", type_, exact=exact)
        case "*":
            return _spread("*", a, b, type_)
        case "/":
            return _spread("/", a, b, type_)
        case _:
            raise _UnknownError


def _spread(op: str, a: Span, b: Span, type_: str) -> Span:
    """Products or quotients: between those of the ends; NULL if the divisor may be 0."""
    if a.exact and b.exact:
        there = f"CASE WHEN v <> {literal(0.0)} THEN v END" if op == "/" else "v"
        result = f"({a.lo} {op} {_let(b.lo, there)})"
        return _settled(result, result, type_, exact=True)
    results = ", ".join(f"v[{x}] {op} v[{y}]" for x in (1, 2) for y in (3, 4))
    there = " AND ".join(f"v[{i}] IS NOT NULL" for i in (1, 2, 3, 4))
    there += f" AND (v[3] > {literal(0.0)} OR v[4] < {literal(0.0)})" if op == "/" else ""
    lo, hi = (
        _let_all((a.lo, a.hi, b.lo, b.hi), f"CASE WHEN {there} THEN {which}({results}) END")
        for which in ("least", "greatest")
    )
    return _settled(lo, hi, type_, exact=False)


def _cast(a: Span, type_: str) -> Span:
    if type_ == "double":
        return Span(a.as_double or a.lo, a.as_double or a.hi, "double")
    if type_ == "float":
        found = Span(a.as_double or a.lo, a.as_double or a.hi, "float")
        return found if a.type == "float" else _settled(found.lo, found.hi, "float", exact=False)
    if type_ == "numeric":
        slack = {"float": _SINGLE_TO_NUMERIC, "double": _TO_NUMERIC, "time": _TO_NUMERIC}.get(a.type, _ROUNDED)
        return replace(a, type="numeric") if a.type == "numeric" else replace(a.wider(slack), type="numeric")
    if type_ in INTEGER_TYPES:
        bits = {"char": 15, "short": 15, "int": 31, "longlong": 53}[type_]
        # Beyond the integers that a double represents exactly, nothing is certain.
        fits = f"CASE WHEN v BETWEEN {literal(-(2.0**bits))} AND {literal(2.0**bits - 1)} THEN v END"
        return _each(Span(_round(a.lo, a.type), _round(a.hi, a.type), type_), fits)
    raise _UnknownError


def _each(a: Span, use: str) -> Span:
    """``use`` applied to both ends."""
    return replace(a, lo=_let(a.lo, use), hi=_let(a.hi, use), as_double=None)


def _round(end: str, type_: str) -> str:
    """Round: halves to even, or away from zero for numeric."""
    return f"round({end})" if type_ == "numeric" else f"round_even({end}, 0)"


def _function(name: str, a: Span) -> Span:
    numeric = a.type == "numeric"
    type_ = "numeric" if numeric else "double"
    if name == "abs":
        zero = literal(0.0)
        if a.exact:
            return Span(f"abs({a.lo})", f"abs({a.lo})", _number(a.type))
        lo = f"CASE WHEN v[1] > {zero} THEN v[1] WHEN v[2] < {zero} THEN {zero} - v[2] ELSE {zero} END"
        ends = (
            _let_all((a.lo, a.hi), f"CASE WHEN v[1] IS NOT NULL AND v[2] IS NOT NULL THEN {end} END")
            for end in (lo, "greatest(abs(v[1]), abs(v[2]))")
        )
        return Span(next(ends), next(ends), _number(a.type))
    if name in _STEPS:
        return Span(f"{_STEPS[name]}({a.lo})", f"{_STEPS[name]}({a.hi})", type_)
    if name == "round":
        return Span(_round(a.lo, a.type), _round(a.hi, a.type), type_)
    if name == "sign":
        return replace(_each(a, "CASE WHEN isnan(v) THEN 0.0::DOUBLE ELSE sign(v)::DOUBLE END"), type=type_)
    return replace(_smooth(name, a), type=type_)


def _smooth(name: str, a: Span) -> Span:
    if name == "sqrt":
        found = _each(a, "CASE WHEN v >= 0 THEN sqrt(v) END")
        return found if a.exact and a.type != "numeric" else found.wider(_ROUNDED)
    if name in ("ln", "log"):
        return _each(a, f"CASE WHEN v > 0 THEN {'ln' if name == 'ln' else 'log10'}(v) END").wider(_FUNCTION)
    if name == "exp":
        lo, hi = (f"nullif({_finite(f'exp({end})')}, {literal(0.0)})" for end in (a.lo, a.hi))
        return Span(lo, hi, "double").wider(_FUNCTION)
    if name in _MONOTONE:
        lo, hi = (_finite(f"{_MONOTONE[name]}({end})") for end in (a.lo, a.hi))
        return Span(lo, hi, "double").wider(_FUNCTION)
    if name in ("asin", "acos"):
        found = _each(a, f"CASE WHEN abs(v) <= 1 OR isnan(v) THEN {name}(v) END")
        return (found if name == "asin" else Span(found.hi, found.lo, "double")).wider(_FUNCTION)
    if name in ("sin", "cos"):
        # Neither function changes by more than its argument.
        ends = (
            _let_all((a.lo, a.hi), f"({name}(v[1]) {sign} (v[2] - v[1] + {_FUNCTION!r}))") for sign in ("-", "+")
        )
        return Span(next(ends), next(ends), "double")
    raise _UnknownError


def _power(base: Span, exponent: Expr) -> Span:
    """A power with a constant exponent."""
    if not isinstance(exponent, Number):
        raise _UnknownError
    power = float(exponent.value)
    exact_types = INTEGER_TYPES | {"numeric"}
    written = "double" if isinstance(exponent.value, float) else type_of_number(exponent.value)
    numeric = base.type in exact_types and written in exact_types and "numeric" in (base.type, written)
    base = base.meeting(Span("", "", written if written in INEXACT else "double"))
    if power == 0 or not math.isfinite(power) or abs(power) > _MOST_POWER:
        raise _UnknownError
    raised = literal(abs(power))
    source = _function("abs", base) if power % 2 == 0 else base
    least = "-inf" if power.is_integer() else "0"
    lo, hi = (_raised(end, raised, least) for end in (source.lo, source.hi))
    type_ = "numeric" if numeric else "double"
    found = Span(_finite(lo), _finite(hi), type_)
    whole = base.exact and base.type in INTEGER_TYPES and power.is_integer()
    found = _wider_if_large(found) if whole else found.wider(_FUNCTION)
    if power > 0:
        return found
    one = Span(literal(1.0), literal(1.0), type_)
    return _spread("/", one, found, type_)


def _wider_if_large(power: Span) -> Span:
    """A power of an integer: exact as long as a double represents every integer."""
    slack = f"CASE WHEN abs(v) < {literal(2.0**53)} THEN 0.0 ELSE {_FUNCTION!r} * abs(v) END"
    return replace(power, lo=_let(power.lo, f"(v - {slack})"), hi=_let(power.hi, f"(v + {slack})"))


def _raised(base: str, power: str, least: str) -> str:
    """A power; NULL if the base is below ``least``, or if the result underflows to 0."""
    zero = literal(0.0)
    some = f"CASE WHEN v >= CAST('{least}' AS DOUBLE) THEN nullif(pow(v, {power}), {zero}) END"
    return _let(base, f"CASE WHEN v = {zero} THEN {zero} ELSE {some} END")
