"""A condition as SQL over the mirror's own columns, with three answers.

The mirror holds printed values: a float stands for an interval, and a missing value may be NULL or
the missing value of its type at the server. So the SQL is TRUE for a record that fulfils the
condition whatever was stored, FALSE for one that does not whatever was stored, and NULL where that
cannot be known. NOT is pushed down to the leaves; AND and OR of SQL do the rest, since a leaf that is
false or NULL at the server is alike "not true".

Text only: nothing here needs a database.
"""

from __future__ import annotations

from dataclasses import replace

from mirror.drms.where.exact import (
    MISSING_VALUES,
    ColumnInfo,
    Columns,
    exact_compare,
    exact_like,
    keep_missing,
)
from mirror.drms.where.inexact import inexact_compare
from mirror.drms.where.nodes import (
    And,
    Between,
    Boolean,
    Column,
    Compare,
    Expr,
    InList,
    IsNull,
    Like,
    Not,
    Null,
    Number,
    Or,
    String,
    needs,
    walk,
)

__all__ = ["ColumnInfo", "to_duckdb"]

_UNKNOWN, _TRUE, _FALSE = "CAST(NULL AS BOOLEAN)", "TRUE", "FALSE"
_NEGATED = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_LONG_LIST = 2  # items from which IN of SQL is shorter than a chain of ORs


def to_duckdb(expr: Expr, columns: Columns) -> str:
    """The SQL of a condition that ``bind_where`` has returned; ``columns`` by lower-case name.

    A column that ``columns`` lacks is not held: what depends on it cannot be known.
    """
    return _sql(expr, columns, negated=False)


def _sql(expr: Expr, columns: Columns, *, negated: bool) -> str:
    match expr:
        case Not(operand):
            return _sql(operand, columns, negated=not negated)
        case And(operands) | Or(operands):
            word = "AND" if isinstance(expr, And) is not negated else "OR"
            return "(" + f" {word} ".join(_sql(e, columns, negated=negated) for e in operands) + ")"
        case Between(operand, low, high, other_way):
            ends = (Compare(">=", operand, low), Compare("<=", operand, high))
            return _sql(And(ends), columns, negated=negated is not other_way)
        case Boolean(value):
            return _TRUE if value is not negated else _FALSE
        case Null():
            return _FALSE
        case _:
            held = needs(expr) <= columns.keys()
            return _leaf(expr, columns, negated=negated) if held else _UNKNOWN


def _leaf(expr: Expr, columns: Columns, *, negated: bool) -> str:
    match expr:
        case Compare(op):
            return _compare(replace(expr, op=_NEGATED[op]) if negated else expr, columns)
        case InList():
            return _in_list(replace(expr, negated=expr.negated is not negated), columns)
        case Like():
            leaf = replace(expr, negated=expr.negated is not negated)
            return _FALSE if _has_null(leaf) else exact_like(leaf, columns) or _UNKNOWN
        case IsNull(operand, other_way):
            return _is_null(operand, columns, negated=negated is not other_way)
        case _:
            return _UNKNOWN


def _compare(leaf: Compare, columns: Columns) -> str:
    if _has_null(leaf):
        return _FALSE
    return exact_compare(leaf, columns) or inexact_compare(leaf, columns) or _UNKNOWN


def _has_null(leaf: Expr) -> bool:
    """A leaf with a NULL in it is never true: all its operators give NULL for NULL."""
    return any(isinstance(node, Null) for node in walk(leaf))


def _in_list(leaf: InList, columns: Columns) -> str:
    items = tuple(item for item in leaf.items if not isinstance(item, Null))
    if leaf.negated and len(items) < len(leaf.items):
        return _FALSE  # x <> NULL is never true
    if not items:
        return _FALSE
    return _short_list(leaf, items, columns) or _spelled_out(leaf, items, columns)


def _short_list(leaf: InList, items: tuple[Expr, ...], columns: Columns) -> str | None:
    """IN of SQL, for a column of whole numbers and a list of them; None for any other."""
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
        case _:
            return _UNKNOWN
