"""SQL for the leaves that compare one float, double or time column with a constant.

The mirror knows such a value as printed; the stored one lies within a tolerance of it. A leaf is unknown if
the constant lies within that tolerance too. Only arithmetic that scales a tolerance is handled: signs, abs,
and sums, products and quotients with a constant.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from mirror.drms.times import MISSING_TIME
from mirror.drms.where.exact import FLIPPED, ColumnInfo, Columns, compares, keep_missing
from mirror.drms.where.nodes import Arithmetic, Column, Compare, Expr, Function, Negate, Number
from mirror.drms.where.types import INEXACT

# Tolerances are exact in decimal but not in binary, so they are widened slightly.
_SLACK_FACTOR, _SLACK_REL = 1.0 + 1e-9, 4e-16


@dataclass(frozen=True, slots=True)
class Line:
    """A function of one column: its SQL, the factor by which it scales a tolerance, and its missing value."""

    sql: str
    stretch: float
    missing: float
    column: ColumnInfo
    computed: bool = False

    def then(self, sql: str, stretch: float, of_missing: Callable[[float], float]) -> Line:
        """The line after one more operation."""
        return Line(f"({sql})", self.stretch * stretch, of_missing(self.missing), self.column, computed=True)

    @property
    def tolerance(self) -> str | None:
        """SQL for how far the stored value may be from the printed one; None if they are equal."""
        info = self.column
        if info.abs_tol == 0.0 and info.rel_tol == 0.0:
            return None
        factor = self.stretch * _SLACK_FACTOR
        absolute, relative = factor * info.abs_tol, factor * info.rel_tol
        slack = f" + {_SLACK_REL!r} * abs({self.sql})" if self.computed else ""
        return f"{absolute!r} + {relative + _SLACK_REL * factor!r} * abs({info.sql}){slack}"


def inexact_compare(leaf: Compare, columns: Columns) -> str | None:
    """The three-valued SQL of such a leaf; None if it is not one."""
    line, constant, op = _line(leaf.left, columns), _constant(leaf.right), leaf.op
    if line is None or constant is None:
        line, constant, op = _line(leaf.right, columns), _constant(leaf.left), FLIPPED[op]
    if line is None or constant is None:
        return None
    bound = literal(constant)
    condition, tolerance = f"{line.sql} {op} {bound}", line.tolerance
    if tolerance is not None:
        condition = f"CASE WHEN abs({line.sql} - {bound}) <= {tolerance} THEN NULL ELSE {condition} END"
    return keep_missing(condition, line.column.sql, holds=compares(op, line.missing, constant))


def literal(value: float) -> str:
    """A double in SQL; through text, since DuckDB reads 0.1 as a decimal."""
    return f"CAST('{value!r}' AS DOUBLE)"


def _constant(expr: Expr) -> float | None:
    if not isinstance(expr, Number):
        return None
    value: int | Decimal | float = expr.value
    try:
        return float(value)
    except OverflowError:
        return None


def _line(expr: Expr, columns: Columns) -> Line | None:
    match expr:
        case Column(name) if columns[name].type in INEXACT:
            info = columns[name]
            return Line(f"CAST({info.sql} AS DOUBLE)", 1.0, _missing(info), info)
        case Negate(operand):
            # DuckDB turns "-x < c" into "x > -c", which differs for NaN; it leaves a difference alone.
            line = _line(operand, columns)
            return line and line.then(f"{literal(0.0)} - {line.sql}", 1.0, lambda v: -v)
        case Function("abs", (operand,)):
            line = _line(operand, columns)
            return line and line.then(f"abs({line.sql})", 1.0, abs)
        case Arithmetic(op, left, right):
            return _arithmetic(op, left, right, columns)
        case _:
            return None


def _missing(info: ColumnInfo) -> float:
    return MISSING_TIME if info.type == "time" else math.nan


def _arithmetic(op: str, left: Expr, right: Expr, columns: Columns) -> Line | None:
    """Operations on a line and a constant; not on quoted constants, which may mean single precision."""
    line, number = _line(left, columns), right
    swapped = line is None
    if swapped:
        line, number = _line(right, columns), left
    constant = _constant(number)
    if line is None or constant is None or isinstance(getattr(number, "value", None), float):
        return None
    return _operation(op, line, constant, swapped=swapped)


def _operation(op: str, line: Line, constant: float, *, swapped: bool) -> Line | None:
    sql = literal(constant)
    match op:
        case "+":
            return line.then(f"{line.sql} + {sql}", 1.0, lambda v: v + constant)
        case "-" if swapped:
            return line.then(f"{sql} - {line.sql}", 1.0, lambda v: constant - v)
        case "-":
            return line.then(f"{line.sql} - {sql}", 1.0, lambda v: v - constant)
        case "*":
            return line.then(f"{line.sql} * {sql}", abs(constant), lambda v: v * constant)
        case "/" if not swapped and constant != 0.0:
            return line.then(f"{line.sql} / {sql}", 1.0 / abs(constant), lambda v: v / constant)
        case _:
            return None
