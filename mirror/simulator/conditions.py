"""Where clauses on rows: the tree evaluated a column at a time, in three-valued logic.

Each node becomes one value a row: True, False or None (unknown) for a condition; number, text or None
(NULL) for an expression.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TYPE_CHECKING, Any

import numpy as np

from mirror.drms.where import (
    And,
    Arithmetic,
    Between,
    Boolean,
    Column,
    Compare,
    Complement,
    Expr,
    Function,
    InList,
    IsNull,
    Like,
    Negate,
    Not,
    Null,
    Number,
    Or,
    String,
)
from mirror.errors import Refused
from mirror.simulator.sqlvalues import COMPARISONS, arithmetic, call, compare, like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from mirror.simulator.base import Rows

Values = list[Any]


def holds(expr: Expr, rows: Rows) -> NDArray[np.bool_]:
    """For each row whether the condition is true: not false, and not unknown."""
    return np.array([value is True for value in values(expr, rows)], dtype=bool)


@singledispatch
def values(expr: Expr, rows: Rows) -> Values:
    """The value of a node in each row."""
    raise Refused(f"{type(expr).__name__} is not simulated: {expr}")


@values.register(Column)
def _(expr: Column, rows: Rows) -> Values:
    try:
        return rows.stored(expr.name).tolist()
    except KeyError as problem:
        raise Refused(f"column {expr.name!r} is not simulated") from problem


@values.register(Number)
@values.register(String)
@values.register(Boolean)
def _(expr: Number | String | Boolean, rows: Rows) -> Values:
    return [expr.value] * len(rows)


@values.register(Null)
def _(expr: Null, rows: Rows) -> Values:
    return [None] * len(rows)


@values.register(Negate)
def _(expr: Negate, rows: Rows) -> Values:
    return [None if value is None else -value for value in values(expr.operand, rows)]


@values.register(Complement)
def _(expr: Complement, rows: Rows) -> Values:
    return [None if value is None else ~value for value in values(expr.operand, rows)]


@values.register(Arithmetic)
def _(expr: Arithmetic, rows: Rows) -> Values:
    return _strict(lambda left, right: arithmetic(expr.op, left, right), (expr.left, expr.right), rows)


@values.register(Function)
def _(expr: Function, rows: Rows) -> Values:
    return _strict(lambda *args: call(expr.name, args), expr.args, rows)


@values.register(Compare)
def _(expr: Compare, rows: Rows) -> Values:
    test = COMPARISONS[expr.op]
    return _strict(lambda left, right: test(compare(left, right)), (expr.left, expr.right), rows)


@values.register(Like)
def _(expr: Like, rows: Rows) -> Values:
    def matches(text: str, pattern: str) -> bool:
        return like(text, pattern, expr.escape, expr.any_case) != expr.negated

    return _strict(matches, (expr.operand, expr.pattern), rows)


@values.register(Between)
def _(expr: Between, rows: Rows) -> Values:
    inside = And((Compare(">=", expr.operand, expr.low), Compare("<=", expr.operand, expr.high)))
    return values(Not(inside) if expr.negated else inside, rows)


@values.register(InList)
def _(expr: InList, rows: Rows) -> Values:
    found = Or(tuple(Compare("=", expr.operand, item) for item in expr.items))
    return values(Not(found) if expr.negated else found, rows)


@values.register(IsNull)
def _(expr: IsNull, rows: Rows) -> Values:
    return [(value is None) != expr.negated for value in values(expr.operand, rows)]


@values.register(Not)
def _(expr: Not, rows: Rows) -> Values:
    return [None if value is None else not value for value in values(expr.operand, rows)]


@values.register(And)
def _(expr: And, rows: Rows) -> Values:
    return [_joined(row, decisive=False) for row in _across(expr.operands, rows)]


@values.register(Or)
def _(expr: Or, rows: Rows) -> Values:
    return [_joined(row, decisive=True) for row in _across(expr.operands, rows)]


def _joined(truths: tuple[bool | None, ...], *, decisive: bool) -> bool | None:
    """AND (False decides) or OR (True decides); otherwise one unknown makes the whole unknown."""
    return decisive if decisive in truths else None if None in truths else not decisive


def _across(operands: Iterable[Expr], rows: Rows) -> Iterable[tuple[Any, ...]]:
    return zip(*(values(operand, rows) for operand in operands), strict=True)


def _strict(function: Callable[..., Any], operands: Iterable[Expr], rows: Rows) -> Values:
    """A function of the operands' values that is NULL where one of them is."""
    return [None if None in row else function(*row) for row in _across(operands, rows)]
