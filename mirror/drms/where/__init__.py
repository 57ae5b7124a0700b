"""The ``[? where ?]`` clause: a condition in PostgreSQL's language, kept as a tree of our own.

``parse_where`` reads a clause, ``bind_where`` checks it against the columns of a series, and
``to_duckdb`` says it as SQL over the mirror's own columns, as far as its answer is certain to be PostgreSQL's:
``may_hold`` is false of a condition that only JSOC can evaluate. ``str()`` of a tree parses to an equal one.
"""

from mirror.drms.where.bind import bind_where
from mirror.drms.where.columns import where_columns
from mirror.drms.where.duckdb import ColumnInfo, is_volatile, may_hold, to_duckdb
from mirror.drms.where.nodes import (
    And,
    Arithmetic,
    Between,
    Boolean,
    Case,
    Cast,
    Column,
    Compare,
    Complement,
    Distinct,
    Expr,
    Function,
    InList,
    IsNull,
    IsTruth,
    Like,
    Negate,
    Not,
    Null,
    Number,
    Or,
    Regex,
    Similar,
    String,
    Unread,
    needs,
)
from mirror.drms.where.parse import closes_early, parse_where

__all__ = [
    "And",
    "Arithmetic",
    "Between",
    "Boolean",
    "Case",
    "Cast",
    "Column",
    "ColumnInfo",
    "Compare",
    "Complement",
    "Distinct",
    "Expr",
    "Function",
    "InList",
    "IsNull",
    "IsTruth",
    "Like",
    "Negate",
    "Not",
    "Null",
    "Number",
    "Or",
    "Regex",
    "Similar",
    "String",
    "Unread",
    "bind_where",
    "closes_early",
    "is_volatile",
    "may_hold",
    "needs",
    "parse_where",
    "to_duckdb",
    "where_columns",
]
