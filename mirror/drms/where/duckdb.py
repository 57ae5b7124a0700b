"""A condition as three-valued SQL over the mirror's own columns. Text in, text out: no database is needed.

The mirror holds printed values: a float stands for an interval, and a missing value may be NULL or the missing
value of its type at the server. So the SQL is TRUE for a record that satisfies the condition whatever was stored,
FALSE for one that does not whatever was stored, and NULL if that cannot be known. NOT is pushed down to the
leaves; AND and OR of SQL do the rest, since a leaf that is false or NULL at the server is "not true" either way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from mirror.drms.where.exact import (
    MISSING_VALUES,
    ColumnInfo,
    Columns,
    exact_compare,
    exact_like,
    exact_regex,
    keep_missing,
)
from mirror.drms.where.inexact import inexact_compare
from mirror.drms.where.nodes import (
    And,
    Between,
    Boolean,
    Case,
    Cast,
    Column,
    Compare,
    Distinct,
    Expr,
    Function,
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
    String,
    Unread,
    needs,
    walk,
)
from mirror.drms.where.spans import span_compare
from mirror.drms.where.types import SIGNATURES, VOLATILE

__all__ = ["ColumnInfo", "is_volatile", "may_hold", "to_duckdb"]

_UNKNOWN, _TRUE, _FALSE = "CAST(NULL AS BOOLEAN)", "TRUE", "FALSE"
_NEGATED = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_LONG_LIST = 2  # items from which IN of SQL is shorter than a chain of ORs
#: How often CASEs are taken apart in one condition, and characters of its SQL: nested CASEs grow exponentially.
_MOST_LIFTED, _LONGEST = 500, 4_000_000


class _TooLongError(Exception):
    """The SQL would be too long to be useful."""


def to_duckdb(expr: Expr, columns: Columns) -> str:
    """The SQL of a condition that ``bind_where`` has returned; ``columns`` by lower-case name.

    A column that ``columns`` lacks is not held: what depends on it is unknown.
    """
    try:
        return _Writer(columns).sql(expr, negated=False)
    except _TooLongError:
        return _UNKNOWN


def may_hold(expr: Expr, columns: Mapping[str, str]) -> bool:
    """Whether any record can be known to satisfy a bound condition; if not, only JSOC can evaluate it.

    ``columns`` are the held ones, with their types.
    """
    writer = _Writer({name: ColumnInfo(name, type_) for name, type_ in columns.items()})
    try:
        return writer.may_hold(expr, negated=False)
    except _TooLongError:
        return False


def is_volatile(expr: Expr) -> bool:
    """Whether a condition may give different answers on the same records."""
    if isinstance(expr, Unread):
        return bool(expr.names & VOLATILE)
    return any(isinstance(part, Function) and part.name in VOLATILE for part in walk(expr))


@dataclass(slots=True)
class _Writer:
    """Writes one condition."""

    columns: Columns
    lifted: int = 0
    written: int = 0

    def sql(self, expr: Expr, *, negated: bool) -> str:
        match expr:
            case Not(operand):
                return self.sql(operand, negated=not negated)
            case And(operands) | Or(operands):
                word = "AND" if isinstance(expr, And) is not negated else "OR"
                return "(" + f" {word} ".join(self.sql(e, negated=negated) for e in operands) + ")"
            case Between():
                return self.sql(_ends(expr), negated=negated is not expr.negated)
            case Boolean(value):
                return _TRUE if value is not negated else _FALSE
            case Null():
                return _FALSE
            case IsTruth(operand, value, other_way):
                return self.truth(operand, value, negated=negated is not other_way)
            case IsNull(operand, other_way) if is_truth(operand) and not isinstance(operand, Null):
                return self.truth(operand, None, negated=negated is not other_way)
        simpler = self.plain(expr, negated=negated)
        if simpler is not None:
            return self.sql(simpler, negated=False)
        if isinstance(expr, Unread) or not needs(expr) <= self.columns.keys():
            return _UNKNOWN
        sql = _leaf(expr, self.columns, negated=negated)
        self.written += len(sql)
        if self.written > _LONGEST:
            raise _TooLongError
        return sql

    def plain(self, expr: Expr, *, negated: bool) -> Expr | None:
        simpler = plain(expr, negated=negated)
        self.lifted += simpler is not None
        if self.lifted > _MOST_LIFTED:
            raise _TooLongError
        return simpler

    def truth(self, operand: Expr, value: bool | None, *, negated: bool) -> str:
        """IS TRUE, IS FALSE and IS UNKNOWN, which are never NULL at the server, so that NOT is exact."""
        if value is not None:
            sql = self.sql(operand, negated=not value)
        else:
            sql = f"(NOT {self.sql(operand, negated=False)} AND NOT {self.sql(operand, negated=True)})"
        return f"(NOT {sql})" if negated else sql

    def may_hold(self, expr: Expr, *, negated: bool) -> bool:
        match expr:
            case Not(operand):
                return self.may_hold(operand, negated=not negated)
            case And(operands) | Or(operands):
                every = all if isinstance(expr, And) is not negated else any
                return every(self.may_hold(e, negated=negated) for e in operands)
            case Between():
                return self.may_hold(_ends(expr), negated=negated is not expr.negated)
        simpler = self.plain(expr, negated=negated)
        if simpler is not None:
            return self.may_hold(simpler, negated=False)
        return _UNKNOWN not in self.sql(expr, negated=negated)


def _ends(expr: Between) -> Expr:
    return And((Compare(">=", expr.operand, expr.low), Compare("<=", expr.operand, expr.high)))


def _leaf(expr: Expr, columns: Columns, *, negated: bool) -> str:
    match expr:
        case Compare(op):
            return _compare(replace(expr, op=_NEGATED[op]) if negated else expr, columns)
        case InList():
            return _in_list(replace(expr, negated=expr.negated is not negated), columns)
        case Like():
            like = replace(expr, negated=expr.negated is not negated)
            return _FALSE if _has_null(like) else exact_like(like, columns) or _UNKNOWN
        case Similar():
            similar = replace(expr, negated=expr.negated is not negated)
            return _FALSE if _has_null(similar) else exact_regex(similar, columns) or _UNKNOWN
        case Regex(op):
            regex = replace(expr, op=_other_way(op)) if negated else expr
            return _FALSE if _has_null(regex) else exact_regex(regex, columns) or _UNKNOWN
        case IsNull(operand, other_way):
            return _is_null(operand, columns, negated=negated is not other_way)
        case _:
            return _UNKNOWN


def _other_way(op: str) -> str:
    return op.removeprefix("!") if op.startswith("!") else f"!{op}"


def _compare(leaf: Compare, columns: Columns) -> str:
    if _has_null(leaf):
        return _FALSE
    return (
        exact_compare(leaf, columns)
        or inexact_compare(leaf, columns)
        or span_compare(leaf, columns)
        or _UNKNOWN
    )


def _has_null(leaf: Expr) -> bool:
    """True if a leaf has a NULL, and is never true: operators give NULL for NULL; unknown functions may not."""
    return not _calls_unknown(leaf) and any(isinstance(node, Null) for node in walk(leaf))


def _calls_unknown(leaf: Expr) -> bool:
    return any(isinstance(node, Function) and node.name not in SIGNATURES for node in walk(leaf))


def _in_list(leaf: InList, columns: Columns) -> str:
    items = tuple(item for item in leaf.items if not isinstance(item, Null))
    if isinstance(leaf.operand, Null) or not items or (leaf.negated and len(items) < len(leaf.items)):
        return _FALSE  # x = NULL is never true, nor is x <> NULL
    return _short_list(leaf, items, columns) or _spelled_out(leaf, items, columns)


def _short_list(leaf: InList, items: tuple[Expr, ...], columns: Columns) -> str | None:
    """IN of SQL, for a column of integers and a list of them; None for any other."""
    if not isinstance(leaf.operand, Column) or len(items) < _LONG_LIST:
        return None
    info = columns[leaf.operand.name]
    missing = MISSING_VALUES.get(info.type)
    values = [item.value for item in items if isinstance(item, Number) and isinstance(item.value, int)]
    if not isinstance(missing, int) or len(values) < len(items):
        return None
    word = "NOT IN" if leaf.negated else "IN"
    condition = f"{info.sql} {word} ({', '.join(map(str, values))})"
    return keep_missing(condition, info.sql, holds=(missing in values) is not leaf.negated)


def _spelled_out(leaf: InList, items: tuple[Expr, ...], columns: Columns) -> str:
    op, word = ("<>", " AND ") if leaf.negated else ("=", " OR ")
    return "(" + word.join(_compare(Compare(op, leaf.operand, item), columns) for item in items) + ")"


def _is_null(operand: Expr, columns: Columns, *, negated: bool) -> str:
    match operand:
        case Null():
            return _FALSE if negated else _TRUE
        case Number() | String() | Boolean():
            return _TRUE if negated else _FALSE
        case Column(name):
            sql = columns[name].sql
            return f"({sql} IS NOT NULL OR NULL)" if negated else f"({sql} IS NULL AND NULL)"
        case Cast(inner):
            return _is_null(inner, columns, negated=negated)  # what cannot be cast is an error
        case _:
            return _UNKNOWN


# ---- CASE, IS DISTINCT FROM, truth values --------------------------------------------------------
# Rewritten in terms of AND, OR and NOT.
#
# ``plain`` turns one leaf into a condition whose leaves have none of these: a comparison with a CASE in it holds if the
# comparison holds with the value of the first WHEN that is true. The result is true exactly where the original is; it
# may be false where the original is NULL, which makes no difference to a record set.

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
    return _replaced_in(expr, old, new)  # type: ignore[no-any-return]


def _replaced_in(value: Any, old: Expr, new: Expr) -> Any:
    if value == old and isinstance(value, Expr):
        return new
    if isinstance(value, tuple):
        return tuple(_replaced_in(part, old, new) for part in value)
    if not isinstance(value, Expr):
        return value
    changed = {f.name: _replaced_in(getattr(value, f.name), old, new) for f in fields(value) if f.name != "position"}
    return replace(value, **changed)
