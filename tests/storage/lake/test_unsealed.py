"""What statements are planned on, and what they read in its place."""

from __future__ import annotations

import duckdb
import pytest

from mirror.storage.lake.columns import LakeColumn
from mirror.storage.lake.table import AFTER, ALL, BEFORE, NONE, where_month, where_months
from mirror.storage.lake.unsealed import NOT_COPIED, Copied, LakeTable, chosen, source_sql, stand_in

COLUMNS = (
    LakeColumn("recnum", "BIGINT", "recnum"),
    LakeColumn("T_REC", "TIMESTAMP", "t_rec"),
    LakeColumn("DATAMEAN", "DOUBLE", "datamean"),
    LakeColumn("QUALITY", "INTEGER", "quality"),
    LakeColumn("camera", "SMALLINT", "camera"),
    LakeColumn("note", "VARCHAR", "note"),
)


@pytest.fixture
def cursor():
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def root(tmp_path, cursor):
    """A lake with a sealed file of records 1 and 2, and a copy of two columns of records 3 to 5."""
    sealed = "SELECT range::BIGINT AS recnum, NULL::TIMESTAMP AS T_REC, 1.5e0 * range AS DATAMEAN, 0::INTEGER AS QUALITY, 1::SMALLINT AS camera, 'x' AS note FROM range(1, 3)"
    cursor.execute(f"COPY ({sealed}) TO '{tmp_path}/sealed.parquet'")
    cursor.execute(f"COPY (SELECT range::BIGINT AS recnum, 1.5e0 * range AS DATAMEAN FROM range(3, 6)) TO '{tmp_path}/copy.parquet'")
    return tmp_path


def table(*files):
    return LakeTable("lab.small", COLUMNS, files, ("2014-02",), 3)


def test_sealed_records_and_copied_ones_are_one_table(cursor, root):
    copied = Copied(table("sealed.parquet"), "copy.parquet", frozenset({"recnum", "DATAMEAN"}))
    cursor.execute(f"CREATE VIEW v AS {source_sql(copied, root)}")
    assert cursor.execute("SELECT recnum, datamean FROM v WHERE datamean > 2 ORDER BY 1").fetchall() == [
        (n, 1.5 * n) for n in (2, 3, 4, 5)
    ]
    assert cursor.execute("SELECT count(*) FROM v").fetchall() == [(5,)]
    assert [row[:2] for row in cursor.execute("DESCRIBE v").fetchall()] == [(c.name, c.type) for c in COLUMNS]


@pytest.mark.parametrize("statement", ["SELECT quality FROM v", "SELECT 1 FROM v WHERE note = 'x'", "SELECT max(t_rec) FROM v"])
def test_a_column_that_was_not_copied_is_an_error_and_never_a_value(cursor, root, statement):
    copied = Copied(table("sealed.parquet"), "copy.parquet", frozenset({"recnum", "DATAMEAN"}))
    cursor.execute(f"CREATE VIEW v AS {source_sql(copied, root)}")
    with pytest.raises(duckdb.Error, match=NOT_COPIED):
        cursor.execute(statement).fetchall()


def test_a_table_of_nothing_has_its_columns(cursor, root):
    cursor.execute(f"CREATE VIEW v AS {source_sql(Copied(LakeTable('lab.small', COLUMNS, ())), root)}")
    assert cursor.execute("SELECT * FROM v").fetchall() == []
    assert [row[:2] for row in cursor.execute("DESCRIBE v").fetchall()] == [(c.name, c.type) for c in COLUMNS]


def test_a_stand_in_has_the_types_of_its_table(cursor):
    given = stand_in(COLUMNS)
    cursor.register("given", given)
    cursor.execute("CREATE TABLE v AS SELECT * FROM given")
    assert [row[:2] for row in cursor.execute("DESCRIBE v").fetchall()] == [(c.name, c.type) for c in COLUMNS]


def test_the_number_of_a_record_is_always_copied():
    assert [c.name for c in chosen(COLUMNS, {"datamean", "quality"})] == ["recnum", "DATAMEAN", "QUALITY"]
    assert [c.name for c in chosen(COLUMNS, ())] == ["recnum"]
    assert chosen(COLUMNS, None) == COLUMNS


@pytest.mark.parametrize(
    "months", [["2014-01"], ["2014-01", "2014-02", "2014-12", "2015-01"], [NONE], [BEFORE, NONE, "2014-03"], [AFTER, "2099-12"], []]
)
def test_several_months_are_what_each_of_them_is(cursor, months):
    cursor.execute("CREATE TABLE t AS SELECT (range - 1200) * 86400.0 * 20 AS t FROM range(5000) UNION ALL SELECT NULL")
    together = cursor.execute(f"SELECT count(*) FROM t WHERE {where_months('t', months)}").fetchone()
    each = [cursor.execute(f"SELECT count(*) FROM t WHERE {where_month('t', m)}").fetchone()[0] for m in months]
    assert together == (sum(each),)


def test_what_has_no_time_is_in_no_month():
    assert where_months(None, [ALL]) == "TRUE"
