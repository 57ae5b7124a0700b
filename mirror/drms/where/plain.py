"""Rewrites CASE, IS DISTINCT FROM and truth values used as values in terms of AND, OR and NOT. Pure.

``plain`` turns one leaf into a condition whose leaves have none of these: a comparison with a CASE in it holds if the
comparison holds with the value of the first WHEN that is true. The result is true exactly where the original is; it
may be false where the original is NULL, which makes no difference to a record set.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from mirror.drms.where.nodes import (
    And,
    Between,
    Boolean,
    Case,
    Cast,
    Compare,
    Distinct,
    Expr,
    InList,
    IsNull,
    IsTruth,
    Like,
    Not,
    Null,
    Number,
    Or,
    Regex,
    Similar,
    walk,
)

_TRUTHS = (Boolean, Compare, And, Or, Not, Like, Regex, Similar, IsNull, IsTruth, Distinct, Between, InList)


def plain(leaf: Expr, *, negated: bool) -> Expr | None:
    """``leaf``, or its negation, in plain terms; None if it is plain already."""
    match leaf:
        case Compare("=" | "<>" as op, left, right) if is_truth(left) and is_truth(right):
            same = (op == "=") is not negated
            return _equal(left, right if same else Not(right))
        case Distinct(left, right, other_way):
            return _distinct(left, right) if negated is other_way else _not_distinct(left, right)
    found = next((part for part in walk(leaf) if isinstance(part, Case)), None) or _truth_as_number(leaf)
    return None if found is None else _lifted(leaf, found, negated=negated)


def is_truth(expr: Expr) -> bool:
    """Whether a bound node is a truth value, or NULL."""
    if isinstance(expr, Case):
        return all(is_truth(value) for value in (*(v for _, v in expr.whens), expr.otherwise))
    return isinstance(expr, (*_TRUTHS, Null))


def _equal(left: Expr, right: Expr) -> Expr:
    return Or((And((left, right)), And((Not(left), Not(right)))))


def _distinct(left: Expr, right: Expr) -> Expr:
    one = And((IsNull(left), IsNull(right, negated=True)))
    other = And((IsNull(left, negated=True), IsNull(right)))
    return Or((one, other, Compare("<>", left, right)))


def _not_distinct(left: Expr, right: Expr) -> Expr:
    return Or((And((IsNull(left), IsNull(right))), Compare("=", left, right)))


def _truth_as_number(leaf: Expr) -> Expr | None:
    """A cast of a truth value to a number within the leaf, if any."""
    return next(
        (part for part in walk(leaf) if isinstance(part, Cast) and part.type == "int" and is_truth(part.operand)),
        None,
    )


def _lifted(leaf: Expr, found: Expr, *, negated: bool) -> Expr:
    """The leaf once for each value of a CASE in it, together with the condition of that value."""
    if isinstance(found, Case):
        whens, otherwise = found.whens, found.otherwise
    else:
        assert isinstance(found, Cast)
        whens = ((found.operand, Number(1)), (Not(found.operand), Number(0)))
        otherwise = Null()
    branches: list[Expr] = []
    earlier: list[Expr] = []
    for condition, value in (*whens, (Boolean(value=True), otherwise)):
        there = replaced(leaf, found, value)
        branches.append(And((*earlier, condition, Not(there) if negated else there)))
        earlier.append(IsTruth(condition, True, negated=True))
    return Or(tuple(branches))


def replaced(expr: Expr, old: Expr, new: Expr) -> Expr:
    """``expr`` with every ``old`` replaced by ``new``."""
    return _replaced(expr, old, new)  # type: ignore[no-any-return]


def _replaced(value: Any, old: Expr, new: Expr) -> Any:
    if value == old and isinstance(value, Expr):
        return new
    if isinstance(value, tuple):
        return tuple(_replaced(part, old, new) for part in value)
    if not isinstance(value, Expr):
        return value
    changed = {f.name: _replaced(getattr(value, f.name), old, new) for f in fields(value) if f.name != "position"}
    return replace(value, **changed)
