"""The ``[? where ?]`` clause: a condition in PostgreSQL's language, kept as a tree of our own.

``parse_where`` reads a clause, ``bind_where`` checks it against the columns of a series, and
``to_duckdb`` says it as SQL over the mirror's own columns. ``str()`` of a tree parses to an equal one.
"""

from mirror.drms.where.bind import bind_where
from mirror.drms.where.columns import where_columns
from mirror.drms.where.duckdb import ColumnInfo, to_duckdb
from mirror.drms.where.nodes import (
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
    needs,
)
from mirror.drms.where.parse import closes_early, parse_where

__all__ = [
    "And",
    "Arithmetic",
    "Between",
    "Boolean",
    "Column",
    "ColumnInfo",
    "Compare",
    "Complement",
    "Expr",
    "Function",
    "InList",
    "IsNull",
    "Like",
    "Negate",
    "Not",
    "Null",
    "Number",
    "Or",
    "String",
    "bind_where",
    "closes_early",
    "needs",
    "parse_where",
    "to_duckdb",
    "where_columns",
]
