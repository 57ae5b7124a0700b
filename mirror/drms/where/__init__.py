"""The ``[? where ?]`` clause: a condition in PostgreSQL's language, kept as a tree of our own.

``where_columns`` are the columns, with types, that a series' table has at the server. ``parse_where`` reads a clause,
``bind_where`` checks it against these columns, and ``to_duckdb`` writes it as SQL over the mirror's own columns, as far
as the result is certain to be PostgreSQL's: ``may_hold`` is false for a condition that only JSOC can evaluate.
``str()`` of a tree parses to an equal one.
"""

import re

from mirror.drms.series import OF_SEGMENT, Keyword, Segment, Series
from mirror.drms.where.bind import bind_where
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

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Columns that every series has; sunum and slotnum say in which storage unit the record's files lie.
RECORD_COLUMNS = {
    "recnum": "longlong",
    "sunum": "longlong",
    "slotnum": "int",
    "sessionid": "longlong",
    "sessionns": "string",
}


def where_columns(series: Series) -> dict[str, str]:
    """The columns that a where clause on ``series`` may name: lower-case name to DRMS type.

    As at the server, constant and linked keywords have no column, nor do aliases such as DATE-OBS. A keyword that each
    segment has gives a column for each (DATAMIN_000, DATAMIN_001, ...); its name without a number binds too, but only
    JSOC knows what it means in a condition. Of two keywords with one name the first counts.
    """
    return series.derived("columns of conditions", lambda: _where_columns(series))


def _where_columns(series: Series) -> dict[str, str]:
    named = (*series.record_keywords, *(k for k in series.keywords if k.recscope == OF_SEGMENT))
    keywords = {k.name.lower(): k.type for k in reversed(named) if _has_column(k)}
    return {**keywords, **RECORD_COLUMNS, **_link_columns(series), **_segment_columns(series)}


def _has_column(keyword: Keyword) -> bool:
    return not keyword.constant and keyword.linkinfo is None and _NAME.fullmatch(keyword.name) is not None


def _link_columns(series: Series) -> dict[str, str]:
    """Columns of links: a static link has the target's recnum, a dynamic one whether it is set."""
    static = {f"ln_{x.name}_recnum".lower(): "longlong" for x in series.links if x.kind.upper() == "STATIC"}
    dynamic = {f"ln_{x.name}_isset".lower(): "short" for x in series.links if x.kind.upper() != "STATIC"}
    return static | dynamic


def _segment_columns(series: Series) -> dict[str, str]:
    """``sg_NNN_file``, and ``sg_NNN_axisNNN`` for a segment of variable size."""
    columns: dict[str, str] = {}
    for number, segment in enumerate(s for s in series.segments if not _linked(s)):
        columns[f"sg_{number:03d}_file"] = "string"
        columns |= {f"sg_{number:03d}_axis{axis:03d}": "int" for axis in range(_variable_axes(segment))}
    return columns


def _linked(segment: Segment) -> bool:
    return segment.type == "link" or segment.protocol.lower().startswith("link via")


def _variable_axes(segment: Segment) -> int:
    return len(segment.dims.split("x")) if segment.dims.upper().startswith("VAR") else 0


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
