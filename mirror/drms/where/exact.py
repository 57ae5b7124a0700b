"""SQL for the leaves of a condition that use only integers and text, which print exactly.

A value that is missing here may be NULL at the server, or the missing value of its type. With NULL a
leaf is never true. So the SQL reads a missing column as its missing value: then FALSE is certain, and TRUE
is only if nothing is missing. Arithmetic is PostgreSQL's: division truncates; a result too large for its
type, or a division by zero, is an error there and unknown here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from mirror.drms.series import INTEGER_TYPES
from mirror.drms.where.nodes import (
    Arithmetic,
    Cast,
    Column,
    Compare,
    Complement,
    Constant,
    Expr,
    Function,
    Like,
    Negate,
    Number,
    Regex,
    Similar,
    String,
    needs,
)
from mirror.drms.where.regex import of_similar, to_re2
from mirror.drms.where.types import INTEGERS, type_of_number, wider

#: The value by which DRMS says "missing", by type.
MISSING_VALUES: Mapping[str, int | str] = {
    "char": -(2**7),
    "short": -(2**15),
    "int": -(2**31),
    "longlong": -(2**63),
    "string": "",
}
_BITS = {"char": 16, "short": 16, "int": 32, "longlong": 64}
_SQL_TYPES = {"char": "SMALLINT", "short": "SMALLINT", "int": "INTEGER", "longlong": "BIGINT"}
_BIT_OPERATIONS = {"&": "({} & {})", "|": "({} | {})", "#": "xor({}, {})"}
_HUGE = 10**37  # beyond every value that can occur, within what DuckDB's integers hold


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column as the mirror holds it: typed values, with NULL for missing ones.

    ``sql`` is the quoted name, ``type`` the DRMS type. A value v stands for all numbers within
    ``abs_tol + rel_tol * |v|`` of it; both are 0 if values are exact. For the type float this must include
    the rounding to single precision, since the server compares rounded values.
    """

    sql: str
    type: str
    abs_tol: float = 0.0
    rel_tol: float = 0.0


class Value(NamedTuple):
    """SQL that is NULL only for errors, and its type: an integer type or "string"."""

    sql: str
    type: str


Columns = Mapping[str, ColumnInfo]


def quote(text: str) -> str:
    """A string constant of SQL."""
    return "'" + text.replace("'", "''") + "'"


def exact_compare(leaf: Compare, columns: Columns) -> str | None:
    """The three-valued SQL of a comparison of integers or text; None if it is not one."""
    simple = _column_and_constant(leaf, columns)
    if simple is not None:
        return simple
    left, right = exact_value(leaf.left, columns), exact_value(leaf.right, columns)
    if left is not None and right is not None:
        return certain(f"{left.sql} {leaf.op} {right.sql}", leaf, columns)
    value, constant = (left, leaf.right) if left is not None else (right, leaf.left)
    if value is None or value.type == "string" or not isinstance(constant, Number):
        return None
    op = leaf.op if value is left else FLIPPED[leaf.op]
    return certain(_against_number(value.sql, op, constant.value), leaf, columns)


def exact_like(leaf: Like, columns: Columns) -> str | None:
    """The three-valued SQL of LIKE with a constant pattern; None for any other."""
    value = exact_value(leaf.operand, columns)
    if value is None or value.type != "string" or not isinstance(leaf.pattern, String):
        return None
    negation = "NOT " if leaf.negated else ""
    pattern = quote(_pattern(leaf.pattern.value, leaf.escape))
    operator = "ILIKE" if leaf.any_case else "LIKE"
    return certain(rf"{value.sql} {negation}{operator} {pattern} ESCAPE '\'", leaf, columns)


def exact_regex(leaf: Regex | Similar, columns: Columns) -> str | None:
    """The three-valued SQL of a regular expression that certainly means the same here; None for any other."""
    value = exact_value(leaf.operand, columns)
    if value is None or value.type != "string" or not isinstance(leaf.pattern, String):
        return None
    if isinstance(leaf, Similar):
        text, any_case, negated = of_similar(leaf.pattern.value, leaf.escape), False, leaf.negated
    else:
        text, any_case, negated = leaf.pattern.value, leaf.op.endswith("*"), leaf.op.startswith("!")
    pattern = None if text is None else to_re2(text, any_case=any_case)
    if pattern is None:
        return None
    condition = f"{'NOT ' if negated else ''}regexp_matches({value.sql}, {quote(pattern.text)})"
    if pattern.ascii_only:
        condition = f"CASE WHEN {_is_ascii(value.sql)} THEN {condition} END"
    return certain(condition, leaf, columns)


def _is_ascii(sql: str) -> str:
    return rf"regexp_full_match({sql}, '[\x00-\x7f]*')"


def certain(condition: str, leaf: Expr, columns: Columns) -> str:
    """``condition``, which reads missing columns as their missing values, made TRUE only if none is missing."""
    present = " AND ".join(f"{columns[name].sql} IS NOT NULL" for name in sorted(needs(leaf)))
    return f"({condition} AND ({present} OR NULL))" if present else f"({condition})"


#: What a comparison becomes when its sides are swapped.
FLIPPED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _column_and_constant(leaf: Compare, columns: Columns) -> str | None:
    """The frequent case, without coalesce, so that DuckDB can skip blocks of rows."""
    column, constant, op = leaf.left, leaf.right, leaf.op
    if isinstance(constant, Column):
        column, constant, op = constant, column, FLIPPED[op]
    if not isinstance(column, Column):
        return None
    info, missing = columns[column.name], MISSING_VALUES.get(columns[column.name].type)
    if isinstance(constant, String) and isinstance(missing, str):
        sql = f"{info.sql} {op} {quote(constant.value)}"
        return keep_missing(sql, info.sql, holds=compares(op, missing, constant.value))
    if isinstance(constant, Number) and isinstance(constant.value, int) and isinstance(missing, int):
        sql = _against_number(info.sql, op, constant.value)
        return keep_missing(sql, info.sql, holds=compares(op, missing, constant.value))
    return None


def keep_missing(condition: str, sql: str, *, holds: bool) -> str:
    """``condition``, which is NULL where the column is: left so if the missing value satisfies it, else FALSE."""
    return f"({condition})" if holds else f"({condition} AND {sql} IS NOT NULL)"


def compares(op: str, left: float | str, right: float | str) -> bool:
    """Whether ``left op right``, in PostgreSQL's order: NaN equals itself and is above all other numbers."""
    a, b = _rank(left), _rank(right)
    return {"=": a == b, "<>": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[op]


def _rank(value: float | str) -> tuple[bool, str, float]:
    if isinstance(value, str):
        return False, value, 0.0
    # An integer may be too large for the float that math.isnan takes.
    nan = value != value  # noqa: PLR0124
    return nan, "", 0.0 if nan else value


def _against_number(sql: str, op: str, constant: Constant) -> str:
    """An integer compared with a constant that may have a fraction, or be out of range."""
    if not isinstance(constant, int) and not math.isfinite(constant):
        return f"{sql} {op} {_HUGE if math.isnan(constant) or constant > 0 else -_HUGE}"
    whole = math.floor(constant)
    if whole == constant:
        return f"{sql} {op} {max(-_HUGE, min(_HUGE, whole))}"
    if op in ("=", "<>"):
        return f"{sql} {'<' if op == '=' else '='} {sql}"  # never, always
    return f"{sql} {'<=' if op in ('<', '<=') else '>'} {max(-_HUGE, min(_HUGE, whole))}"


# ---- values -----------------------------------------------------------------------------------


def exact_value(expr: Expr, columns: Columns) -> Value | None:
    """The value of an expression of integers or text; None for anything else."""
    match expr:
        case Column(name):
            return _column(columns[name])
        case Number(value):
            return _number(value)
        case String(value):
            return Value(quote(value), "string")
        case Cast(operand, type_):
            return _cast(exact_value(operand, columns), type_)
        case Negate(operand):
            return _unary("-({})", exact_value(operand, columns))
        case Complement(operand):
            return _unary("-1 - ({})", exact_value(operand, columns))
        case Arithmetic(op, left, right):
            return _arithmetic(op, exact_value(left, columns), exact_value(right, columns), right)
        case Function(name, args):
            return _function(name, [exact_value(e, columns) for e in args])
        case _:
            return None


def _column(info: ColumnInfo) -> Value | None:
    missing = MISSING_VALUES.get(info.type)
    if missing is None:
        return None
    if isinstance(missing, str):
        return Value(f"coalesce({info.sql}, '')", "string")
    return Value(f"coalesce(CAST({info.sql} AS HUGEINT), {missing})", info.type)


def _number(value: Constant) -> Value | None:
    type_ = type_of_number(value)
    return Value(f"CAST({value} AS HUGEINT)", type_) if type_ in INTEGER_TYPES else None


def _unary(template: str, operand: Value | None) -> Value | None:
    if operand is None or operand.type == "string":
        return None
    return _fitted(template.format(operand.sql), operand.type)


def _fitted(sql: str, type_: str) -> Value:
    """A result that is NULL if it does not fit into its type."""
    return Value(f"CAST(TRY_CAST({sql} AS {_SQL_TYPES[type_]}) AS HUGEINT)", type_)


def _arithmetic(op: str, left: Value | None, right: Value | None, count: Expr) -> Value | None:
    if left is None or right is None:
        return None
    if op == "||" and left.type == right.type == "string":
        return Value(f"({left.sql} || {right.sql})", "string")
    if op in ("||", "^") or "string" in (left.type, right.type):
        return None
    if op in ("<<", ">>"):
        return _shift(op, left, count)
    type_ = wider(left.type, right.type)
    if op in _BIT_OPERATIONS:
        bits = (f"CAST({v.sql} AS BIGINT)" for v in (left, right))
        return Value(f"CAST({_BIT_OPERATIONS[op].format(*bits)} AS HUGEINT)", type_)
    if op in ("/", "%"):
        return _fitted(f"({left.sql} {'//' if op == '/' else op} nullif({right.sql}, 0))", type_)
    return _fitted(f"({left.sql} {op} {right.sql})", type_)


def _shift(op: str, value: Value, count: Expr) -> Value | None:
    """A shift by a constant; as in C, the count is taken modulo the width, and high bits fall out."""
    if not isinstance(count, Number) or not isinstance(count.value, int):
        return None
    width = _BITS[value.type]
    places = count.value % max(width, 32)
    if op == ">>":
        return Value(f"CAST((CAST({value.sql} AS BIGINT) >> {places}) AS HUGEINT)", value.type)
    half, whole = 2 ** (width - 1), 2**width
    shifted = f"({value.sql} * CAST({2**places} AS HUGEINT) + {half}) % {whole}"
    return Value(f"((({shifted}) + {whole}) % {whole} - {half})", value.type)


def _cast(operand: Value | None, type_: str) -> Value | None:
    """Integers to others or to text; text to integers, NULL if PostgreSQL does not accept it as one."""
    if operand is None or type_ == operand.type:
        return operand
    if type_ == "string":
        return Value(f"CAST({operand.sql} AS VARCHAR)", "string")
    if type_ not in INTEGER_TYPES:
        return None
    if operand.type != "string":
        return _fitted(operand.sql, type_)
    blanks = r"[\t-\r ]*"
    digits = f"regexp_extract({operand.sql}, '^{blanks}([+-]?[0-9]{{1,18}}){blanks}$', 1)"
    return Value(f"CAST(TRY_CAST(nullif({digits}, '') AS {_SQL_TYPES[type_]}) AS HUGEINT)", type_)


_PLAIN_TEXT = {"btrim": "trim", "ltrim": "ltrim", "rtrim": "rtrim", "replace": "replace"}


def _function(name: str, args: list[Value | None]) -> Value | None:
    values = [a for a in args if a is not None]
    if len(values) < len(args) or not values:
        return None
    first, *rest = (v.sql for v in values)
    if name in ("lower", "upper"):
        # Beyond ASCII, case depends on the server's locale.
        return Value(f"CASE WHEN {_is_ascii(first)} THEN {name}({first}) END", "string")
    if name in ("length", "char_length", "character_length"):
        return Value(f"CAST(length({first}) AS HUGEINT)", "int")
    if name == "strpos":
        return Value(f"CAST(strpos({first}, {rest[0]}) AS HUGEINT)", "int")
    if name == "reverse":
        return Value(f"reverse({first})", "string")
    if name == "substr":
        return _substring(first, *rest)
    if name in ("left", "right"):
        return _end_of(name, first, rest[0])
    if name in _PLAIN_TEXT:
        return Value(f"{_PLAIN_TEXT[name]}({', '.join((first, *(rest or [quote(' ')])))})", "string")
    if name == "abs":
        return _unary("abs({})", values[0])
    if name == "mod":
        return _fitted(f"({first} % nullif({rest[0]}, 0))", _widest(values))
    return None


def _substring(text: str, start: str, length: str | None = None) -> Value:
    """The text from ``start`` on, which may be before its beginning; a length below 0 is an error at the server."""
    begins = f"greatest({start}, 1)"
    if length is None:
        return Value(f"substring({text}, CAST({begins} AS BIGINT))", "string")
    taken = f"least(greatest({start} + {length} - {begins}, 0), 1000000)"
    sql = f"substring({text}, CAST({begins} AS BIGINT), CAST({taken} AS BIGINT))"
    return Value(f"CASE WHEN {length} >= 0 THEN {sql} END", "string")


def _end_of(name: str, text: str, count: str) -> Value:
    """``left`` and ``right``: that many characters, or all but that many at the other end."""
    kept = f"CAST(CASE WHEN {count} < 0 THEN greatest(length({text}) + {count}, 0) ELSE {count} END AS BIGINT)"
    return Value(f"{name}({text}, least({kept}, 1000000))", "string")


def _widest(values: list[Value]) -> str:
    return max((v.type for v in values), key=INTEGERS.index)


def _pattern(pattern: str, escape: str) -> str:
    """The pattern with a backslash as its escape character, and every other backslash escaped."""
    out, chars = [], iter(pattern)
    for char in chars:
        if escape and char == escape:
            out.append("\\" + next(chars, ""))
        else:
            out.append("\\\\" if char == "\\" else char)
    return "".join(out)
