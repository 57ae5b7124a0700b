"""Hostile SQL: each statement is refused, or ended within its limits, and the next one works.

Nothing here may read a file but the lake's, write one, change a setting, outlive its time, or take the memory.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mirror.errors import BadRequest, MirrorError, OutOfTime, TooLarge

pytestmark = pytest.mark.asyncio(loop_scope="module")

READERS = [
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_csv_auto('{secret}')",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM read_json_auto('{secret}')",
    "SELECT * FROM read_ndjson('{secret}')",
    "SELECT * FROM read_json_objects('{secret}')",
    "SELECT * FROM read_ndjson_objects('{secret}')",
    "SELECT * FROM read_parquet('{secret}')",
    "SELECT * FROM parquet_scan('{secret}')",
    "SELECT * FROM parquet_schema('{secret}')",
    "SELECT * FROM parquet_metadata('{secret}')",
    "SELECT * FROM parquet_file_metadata('{secret}')",
    "SELECT * FROM parquet_kv_metadata('{secret}')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM '{secret}'",
    'SELECT * FROM "{secret}"',
    "FROM '{secret}'",
    "SELECT * FROM '{folder}/*.csv'",
    "SELECT * FROM glob('{folder}/*')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_text('/proc/self/environ')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_text('{lake}/../secret.csv')",
    "SELECT * FROM read_text('{lake}/hmi.v_45s/../../secret.csv')",
    "SELECT * FROM read_text(['{lake}/../secret.csv'])",
    "SELECT * FROM read_csv('file://{secret}')",
    "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
    "SELECT * FROM read_csv('https://example.org/x.csv')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT * FROM read_text('/dev/stdin')",
    "SELECT * FROM query('SELECT * FROM read_text(''{secret}'')')",
    "SELECT * FROM query_table('{secret}')",
    "SELECT * FROM sqlite_scan('{secret}', 'x')",
    "SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 'x')",
    "SELECT * FROM iceberg_scan('{folder}')",
    "SELECT * FROM delta_scan('{folder}')",
    "SELECT * FROM st_read('{secret}')",
    "SELECT * FROM read_xlsx('{secret}')",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM pandas_scan(1)",
    "SELECT getenv('HOME')",
    "SELECT * FROM duckdb_secrets()",
    "WITH x AS (SELECT * FROM read_text('{secret}')) SELECT * FROM x",
    "SELECT (SELECT content FROM read_text('{secret}'))",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{secret}')",
    "DESCRIBE SELECT * FROM read_csv('{secret}')",
    "SUMMARIZE SELECT * FROM read_csv('{secret}')",
    "SUMMARIZE '{secret}'",
    "PIVOT (FROM read_csv('{secret}')) ON 1",
]
WRITERS = [
    "COPY (SELECT 1) TO '{folder}/out.csv'",
    "COPY (SELECT 1) TO '{lake}/out.csv'",
    "COPY (SELECT 1) TO '{lake}/out.parquet' (FORMAT parquet)",
    "COPY hmi.v_45s TO '{lake}/hmi.v_45s/2014-01.1.parquet'",
    "COPY (SELECT 1) TO '/dev/stdout'",
    "COPY hmi.v_45s FROM '{secret}'",
    "COPY FROM DATABASE memory TO x",
    "EXPORT DATABASE '{lake}/out'",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{lake}/x.db'",
    "ATTACH ':memory:' AS other",
    "ATTACH '{folder}/index.duckdb' (READ_ONLY)",
    "DETACH memory",
    "USE memory",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{lake}/out.csv'",
    "EXPLAIN (ANALYZE) COPY (SELECT 1) TO '{lake}/out.csv'",
    "EXPLAIN ANALYZE CREATE TABLE hmi.y AS SELECT 1",
    "EXPLAIN ANALYZE DELETE FROM hmi.v_45s",
    "/* x */ EXPLAIN /* y */ ANALYZE /* z */ ATTACH '{lake}/x.db'",
    "-- x\nCOPY (SELECT 1) TO '{lake}/out.csv'",
]
CHANGERS = [
    "INSTALL httpfs",
    "FORCE INSTALL spatial",
    "LOAD httpfs",
    "LOAD '{secret}'",
    "UPDATE EXTENSIONS",
    "SET memory_limit = '100GB'",
    "SET threads = 64",
    "SET enable_external_access = true",
    "SET GLOBAL enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET lock_configuration = false",
    "SET VARIABLE x = 1",
    "RESET memory_limit",
    "RESET ALL",
    "PRAGMA enable_profiling",
    "PRAGMA memory_limit = '100GB'",
    "PRAGMA database_list",
    "PRAGMA profiling_output = '{folder}/out.json'",
    "CREATE TABLE x (a INT)",
    "CREATE TEMP TABLE x AS SELECT 1",
    "CREATE VIEW x AS SELECT 1",
    "CREATE OR REPLACE VIEW hmi.v_45s AS SELECT 1",
    "CREATE SCHEMA x",
    "CREATE MACRO f(a) AS a",
    "CREATE FUNCTION f(a) AS TABLE SELECT 1",
    "CREATE SEQUENCE s",
    "CREATE TYPE t AS ENUM ('a')",
    "CREATE INDEX i ON hmi.v_45s (recnum)",
    "CREATE SECRET s (TYPE s3)",
    "CREATE PERSISTENT SECRET s (TYPE s3)",
    "DROP VIEW hmi.v_45s",
    "DROP SCHEMA hmi CASCADE",
    "ALTER VIEW hmi.v_45s RENAME TO x",
    "INSERT INTO hmi.v_45s VALUES (1, 2, 3)",
    "UPDATE hmi.v_45s SET quality = 0",
    "DELETE FROM hmi.v_45s",
    "TRUNCATE hmi.v_45s",
    "MERGE INTO hmi.v_45s USING (SELECT 1 AS recnum) USING (recnum) WHEN MATCHED THEN DELETE",
    "COMMENT ON VIEW hmi.v_45s IS 'x'",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "CHECKPOINT",
    "FORCE CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    "CALL pragma_version()",
    "CALL enable_logging(storage = 'file')",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DEALLOCATE p",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW hmi.v_45s",
    "SELECT 1;; COPY (SELECT 1) TO '{lake}/x'",
    "WITH x AS (DELETE FROM hmi.v_45s RETURNING *) SELECT * FROM x",
    "WITH x AS (INSERT INTO hmi.v_45s VALUES (1, 2, 3) RETURNING *) SELECT * FROM x",
]
BROKEN = [
    "",
    ";",
    "--",
    "/* never closed",
    "SELECT",
    "SELECT 'never closed",
    'SELECT "never closed',
    "SELECT $$never closed",
    "SELECT 1 /* ' */ ' --",
    'SELECT * FROM "hmi"".""v_45s"',
    "SELECT \x00",
    "SELECT ?",
    "SELECT $1, $x",
    "SELECT '" + "x" * 100_000,
    "SELECT " + "-" * 20_000 + "1 + (",
    "SELECT " + "(" * 20_000 + "1" + ")" * 20_000 + " FROM nothing",
]
BOMBS = [
    "SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range = 7",
    "SELECT repeat('x', 2000000000)",
    "SELECT rpad('x', 2000000000, 'y')",
    "SELECT string_agg(repeat('x', 1000000), '') FROM range(10000)",
    "SELECT list_reduce(range(100000000), lambda a, b: a + b)",
    "SELECT list_sort(range(1000000000))",
    "SELECT range(1000000000)",
    "SELECT list(range) FROM range(1000000000)",
    "SELECT * FROM generate_series(1, 10000000000)",
    "WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT max(n) FROM x",
    "WITH RECURSIVE x AS (SELECT 'x' AS s UNION ALL SELECT s || s FROM x) SELECT max(length(s)) FROM x",
    "SELECT levenshtein(repeat('a', 1000000), repeat('b', 1000000))",
    "SELECT hamming(repeat('a', 1000000000), repeat('b', 1000000000))",
    "SELECT regexp_matches(repeat('a', 1000000000), '(a+)+$')",
    "SELECT a.range, b.range FROM range(1000000) a, range(1000000) b ORDER BY hash(a.range * b.range)",
    "SELECT DISTINCT a.range * 1000003 + b.range FROM range(1000000) a, range(1000) b",
    "SELECT a.range FROM range(100000) a, range(100000) b GROUP BY ALL HAVING count(DISTINCT b.range) > 1",
    "SELECT sum(range) OVER (ORDER BY hash(range)) FROM range(300000000)",
    "SELECT unnest(range(1000000000))",
    "SELECT quantile(range, 0.5) FROM range(3000000000)",
    "SELECT mode(range) FROM range(1000000000)",
    "SELECT histogram(range) FROM range(300000000)",
    "SELECT json_group_array(range) FROM range(300000000)",
    "SELECT bitstring_agg(range, 0, 100000000000) FROM range(10)",
]


@pytest.fixture
def places(sql) -> dict[str, str]:
    """What stands in the statements for paths; the lake is the folder that a worker may read."""
    secret = sql.folder.parent / "secret.csv"
    secret.write_text("a,b\nsecret,1\n")
    return {"secret": str(secret), "folder": str(secret.parent), "lake": str(sql.folder)}


def everything(folder: str) -> list[str]:
    return [path.name for path in Path(folder).iterdir()]


def told(statement: str, places: dict[str, str]) -> str:
    for name, path in places.items():
        statement = statement.replace("{" + name + "}", path)
    return statement


async def refused(sql, statements: list[str], places: dict[str, str]) -> None:
    """Each is an error of the principal's, and the files are as they were before."""
    before = files(places)
    for statement in statements:
        with pytest.raises(BadRequest) as caught:
            raise AssertionError(
                (statement[:200], str(await sql.rows(told(statement, places), seconds=20))[:200])
            )
        assert "secret,1" not in str(caught.value), statement
    assert files(places) == before
    assert await sql.rows("SELECT count(*) FROM hmi.v_45s") == [[1000]]


def files(places: dict[str, str]) -> dict[str, int]:
    lake = Path(places["lake"])
    return {str(p): p.stat().st_size for p in lake.rglob("*") if p.is_file()}


async def test_no_file_but_the_lake_is_read(sql, places):
    await refused(sql, READERS, places)


async def test_nothing_is_written(sql, places):
    await refused(sql, WRITERS, places)
    assert not [path for path in everything(places["folder"]) if "out" in path]


async def test_nothing_is_changed(sql, places):
    await refused(sql, CHANGERS, places)


@pytest.mark.parametrize("number", range(len(BROKEN)))
async def test_what_is_no_statement_is_an_error(sql, number):
    with pytest.raises(MirrorError):
        raise AssertionError(str(await sql.rows(BROKEN[number], seconds=20))[:200])
    assert await sql.rows("SELECT 1") == [[1]]


@pytest.mark.parametrize("number", range(len(BOMBS)))
async def test_a_bomb_ends_within_its_limits(sql, number):
    with pytest.raises((OutOfTime, TooLarge, BadRequest)):
        raise AssertionError(
            len(await sql.rows(BOMBS[number], seconds=0.3, rows=1_000_000, bytes=50_000_000))
        )
    assert await sql.rows("SELECT count(*) FROM hmi.v_45s") == [[1000]]


async def test_there_are_a_hundred_of_them():
    assert len(READERS + WRITERS + CHANGERS + BROKEN + BOMBS) >= 100


async def test_a_worker_cannot_take_more_memory_than_it_is_given(sql):
    await sql.rows("SELECT 1")
    with pytest.raises(TooLarge):
        await sql.rows(
            "SELECT length(string_agg(repeat(chr(range::INT % 26 + 65), 1000000), '')) FROM range(5000)"
        )
    assert await sql.rows("SELECT 1") == [[1]]


async def test_the_environment_of_the_daemon_is_not_to_be_seen(sql):
    os.environ["MIRROR_TEST_SECRET"] = "hidden"
    try:
        with pytest.raises(BadRequest):
            raise AssertionError(await sql.rows("SELECT getenv('MIRROR_TEST_SECRET')"))
    finally:
        del os.environ["MIRROR_TEST_SECRET"]
