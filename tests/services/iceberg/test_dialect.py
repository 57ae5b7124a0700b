"""Statements for an engine of others: what is ours is written out, and all else stays as it is."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import SyntaxProblem
from mirror.services.iceberg.dialect import Known, headings, tables_of, view_of, written_out

TABLES = ("hmi.v_45s", "hmi.v_45s__old", "mirror.series", "su_a.b.c")
TYPES = {"t_rec": {"timestamp_ntz"}, "t_rec_tai": {"double"}, "quality": {"int"}, "wide": {"bigint"}, "t_rec_text": {"string"}}


def no_structure(name):
    raise AssertionError(name)


KNOWN = Known({name: view_of(name) for name in TABLES}, {k: frozenset(v) for k, v in TYPES.items()}, no_structure)


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT * FROM hmi.v_45s", "SELECT * FROM hmi__v_45s"),
        ("SELECT HMI.V_45S.quality FROM Hmi . V_45s", "SELECT hmi__v_45s.quality FROM hmi__v_45s"),
        ("SELECT * FROM `hmi`.`v_45s`, `hmi.v_45s`", "SELECT * FROM hmi__v_45s, hmi__v_45s"),
        ("FROM hmi.v_45s__old", "FROM hmi__v_45s__old"),
        ("FROM su_a.b.c", "FROM su_a__b__c"),
        ("SELECT 'hmi.v_45s', \"hmi.v_45s\" -- hmi.v_45s\n/* hmi.v_45s */", None),
        ("SELECT x.hmi.v_45s, hmi.other, hmi FROM x", None),
        ("SELECT 'it''s \\' hmi.v_45s', jsoc_time", None),
        ("SELECT my.jsoc_time(1), 'jsoc_time(1)'", None),
        ("SELECT jsoc_time('2014.01.01_TAI')", "SELECT TIMESTAMP_NTZ'2013-12-31 23:59:25.000000'"),
        ("SELECT JSOC_TIME ( 'MISSING' )", "SELECT CAST(NULL AS TIMESTAMP_NTZ)"),
        ("SELECT jsoc_seconds('1977.01.01_TAI') + 1", "SELECT CAST('0.0' AS DOUBLE) + 1"),
        ("SELECT jsoc_time(s.t_rec)", "SELECT (s.t_rec)"),
        ("SELECT quality_bit(s.quality, 3)", "SELECT ((CAST((s.quality) AS BIGINT) & CAST((8) AS BIGINT)) <> 0)"),
        ("SELECT quality_bit(wide, 63)", "SELECT ((CAST((wide) AS BIGINT) & CAST((-9223372036854775807 - 1) AS BIGINT)) <> 0)"),
    ],
)
def test_what_is_ours_is_written_out(sql, expected):
    assert written_out(sql, KNOWN) == (sql if expected is None else expected)


@pytest.mark.parametrize(
    "sql, said",
    [
        ("SELECT jsoc_time('soon')", "soon"),
        ("SELECT jsoc_time()", "0 arguments"),
        ("SELECT jsoc_time(t_rec_text)", "texts of a column are not read as times here"),
        ("SELECT jsoc_time(1", "is not closed"),
        ("SELECT * FROM jsoc('hmi.v_45s[2014]')", r"jsoc\(\) is only in `mirror sql` without --on"),
        ("SELECT quality_bit(quality, 32)", "expected 0 to 31"),
        ("SELECT quality_bit(quality, n)", "another number than a constant"),
        ("SELECT slot(name, t_rec)", "a name that is not a constant"),
    ],
)
def test_what_cannot_be_written_out_says_what_was_expected(sql, said):
    with pytest.raises(SyntaxProblem, match=said):
        written_out(sql, KNOWN)


@given(st.text(alphabet="ab.'\"`()-*/,\\ hmi_v45s\n"))
def test_any_text_is_written_out_or_refused(sql):
    with suppress(SyntaxProblem):
        written_out(sql, KNOWN)


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("SELECT a, max(slot('x', b)) FROM t, u", ["a", "max(slot('x', b))"]),
        ("WITH x AS (SELECT 1, 2) SELECT DISTINCT a, f(b, c) AS d FROM x", ["a", "f(b, c) AS d"]),
        ("select 1 union select 2", ["1"]),
        ("SELECT v.* FROM v", None),
        ("SHOW TABLES", None),
    ],
)
def test_what_stands_for_each_column(sql, expected):
    assert headings(sql) == expected


def test_only_tables_that_may_be_named_are_given_to_the_engine():
    assert tables_of("SELECT * FROM HMI.v_45s JOIN `mirror.series` USING (x) -- su_a.b.c", TABLES) == ["hmi.v_45s", "mirror.series"]
