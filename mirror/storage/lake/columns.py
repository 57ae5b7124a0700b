"""The columns of the lake: how a record looks in SQL and in Parquet, derived from its series' layout.

Columns are named after their keywords. A time is a TIMESTAMP in UTC under the keyword's name, with the exact
DRMS time, TAI seconds since 1977.01.01_TAI, beside it as ``<keyword>_tai``. MISSING is NULL. A segment is the path
of its file, as JSOC names it. ``recnum`` and ``sunum`` come first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.calendar import LEAP_TIMES
from mirror.drms.series import SLOTTED_SCOPES
from mirror.storage.index.layout import SEPARATOR, column_name, quoted, segment_field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.drms.series import Series
    from mirror.storage.index.layout import Layout

#: 1977.01.01_00:00:00 in Unix seconds: the offset from a clock without leap seconds to a TIMESTAMP.
EPOCH = 220_924_800
#: The last and the first second of DuckDB's TIMESTAMP, with room for leap seconds.
LAST, FIRST = 9_223_371_000_000 - EPOCH, -9_223_371_000_000 - EPOCH
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class LakeColumn:
    """A column: its name, its SQL type, the expression over the index's table that computes it, its meaning."""

    name: str
    type: str
    sql: str
    comment: str = ""


def lake_columns(layout: Layout, keysets: Mapping[int, Mapping[str, int]]) -> tuple[LakeColumn, ...]:
    """The columns of a series; ``keysets`` has the positions of fields in ``_raw`` for each key set."""
    columns = {
        "recnum": LakeColumn(
            "recnum", "BIGINT", "recnum", "the record's number: a higher one is a newer version"
        )
    }
    columns["sunum"] = LakeColumn("sunum", "BIGINT", "sunum", "the storage unit of its files")
    for column, keyword in zip(layout.columns, layout.keywords, strict=True):
        comment = ": ".join(x for x in (_units(keyword.units), keyword.note) if x)
        name, source = _free(column.keyword, columns), quoted(column.name)
        if column.type == "time":
            columns[name.lower()] = LakeColumn(name, "TIMESTAMP", utc(source), f"[UTC] {keyword.note}")
            exact = _free(f"{column.keyword}_tai", columns)
            columns[exact.lower()] = LakeColumn(
                exact, "DOUBLE", source, f"[TAI seconds since 1977] {keyword.note}"
            )
        else:
            columns[name.lower()] = LakeColumn(name, column.sql_type, source, comment)
    for segment in layout.series.segments:
        name = _free(segment.name, columns)
        source = _segment(layout, segment.name, keysets)
        columns[name.lower()] = LakeColumn(name, "VARCHAR", source, f"[path of the file] {segment.note}")
    return tuple(columns.values())


def _free(name: str, taken: Mapping[str, object]) -> str:
    """The name, changed if another column has it."""
    while name.lower() in taken:
        name += "_"
    return name


def _units(text: str) -> str:
    return "" if text.lower() in ("", "none", "n/a") else f"[{text}]"


def utc(seconds: str) -> str:
    """SQL that converts a DRMS time, TAI seconds since 1977, to a TIMESTAMP in UTC.

    A leap second becomes the second before it, since a TIMESTAMP has no 61st; what a TIMESTAMP cannot hold becomes
    NULL. Before 1977, from which JSOC has no data, TAI and UTC differ as they did in 1977.
    """
    since = [t for t in LEAP_TIMES if t >= 0]
    before = len(LEAP_TIMES) - len(since)
    whens = " ".join(
        f"WHEN {seconds} >= {t - 1!r} THEN {before + n}" for n, t in reversed(list(enumerate(since, 1)))
    )
    leaps = f"CASE {whens} ELSE {before} END"
    micros = f"CAST(round(({seconds} + {EPOCH} - ({leaps})) * 1e6) AS BIGINT)"
    return f"CASE WHEN {seconds} BETWEEN {FIRST} AND {LAST} THEN make_timestamp({micros}) END"


def _segment(layout: Layout, segment: str, keysets: Mapping[int, Mapping[str, int]]) -> str:
    """SQL: the path of a segment's file, NULL if it has none. ``raw`` is the list of a record's fields."""
    field = segment_field(segment, "values")
    places = {number: at[field] + 1 for number, at in keysets.items() if field in at}
    whens = " ".join(f"WHEN {number} THEN raw[{place}]" for number, place in places.items())
    value = f"replace(CASE _keyset {whens} END, '\\/', '/')" if places else "NULL::VARCHAR"
    return f"CASE WHEN starts_with({value}, '/') THEN {value} END" if places else value


def select_sql(
    table: str, layout: Layout, columns: tuple[LakeColumn, ...], where: str, *, ordered: bool = True
) -> str:
    """SQL: the records of ``table`` that satisfy ``where``, by prime keys if ``ordered``."""
    names = ", ".join(f"{c.sql} AS {quoted(c.name)}" for c in columns)
    raw = f"string_split(_raw, '{SEPARATOR}') AS raw"
    order = f" ORDER BY {', '.join(map(quoted, (*layout.order, 'recnum')))}" if ordered else ""
    return f"SELECT {names} FROM (SELECT *, {raw} FROM {table} WHERE {where}){order}"


def layout_hash(columns: tuple[LakeColumn, ...]) -> str:
    """Equal for equal columns; files with another hash are written again."""
    return hashlib.sha256("\n".join(f"{c.name} {c.type}" for c in columns).encode()).hexdigest()[:16]


def time_column(series: Series) -> str | None:
    """The column by whose months a series is divided: its first prime key that is a time, else None."""
    for key in series.primekeys:
        keyword = series.keyword(key.name)
        if (
            keyword is not None
            and keyword.type == "time"
            and keyword.recscope in (*SLOTTED_SCOPES, "variable")
        ):
            return column_name(key.name)
    return None
