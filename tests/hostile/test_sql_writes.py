"""Statements that write or change state, in a thousand forms: none gets through, and nobody else's answer changes."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.errors import BadRequest
from mirror.services.sql.messages import Limits, Missing, Question, Supply, View
from mirror.services.sql.processes import WorkerLimits, Workers
from tests.lab import Lab, lab, rows, sql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Tables, as they may be written; the last do not exist.
TABLES = [
    "hmi.v_45s", "hmi.v_45s__old", '"hmi"."v_45s"', "HMI . V_45S", "memory.hmi.v_45s", "mirror.holdings",
    "hmi.x", "x", "main.x", "temp.x", "temp.main.x", "sqlite_master", "information_schema.tables",
]  # fmt: skip
QUERIES = [
    "SELECT 1 AS a",
    "SELECT * FROM hmi.v_45s",
    "PIVOT hmi.v_45s ON quality USING count(*)",
    "SELECT * FROM (PIVOT hmi.v_45s ON quality USING count(*))",
    "WITH p AS (PIVOT hmi.v_45s ON quality USING count(*)) SELECT * FROM p",
    "FROM hmi.v_45s",
    "VALUES (1)",
]
#: What returns rows where it stands in a CTE.
RETURNING = [
    "DELETE FROM {table} RETURNING *",
    "DELETE FROM {table} WHERE recnum < 40 RETURNING recnum",
    "UPDATE {table} SET recnum = 0 RETURNING *",
    "INSERT INTO {table} {query} RETURNING *",
    "INSERT OR REPLACE INTO {table} ({query}) RETURNING *",
    "MERGE INTO {table} USING (SELECT 1 AS recnum) s USING (recnum) WHEN MATCHED THEN DELETE RETURNING *",
]
VERBS = [
    *RETURNING,
    *(statement.removesuffix(" RETURNING *") for statement in RETURNING),
    "TRUNCATE {table}",
    "CREATE TABLE {table} AS ({query})",
    "CREATE OR REPLACE TABLE {table} AS {query}",
    "CREATE TEMP TABLE {table} AS ({query})",
    "CREATE TABLE IF NOT EXISTS {table} (a INTEGER)",
    "CREATE OR REPLACE VIEW {table} AS {query}",
    "CREATE OR REPLACE TEMP VIEW {table} AS {query}",
    "CREATE RECURSIVE VIEW {table} (a) AS SELECT 1",
    "CREATE OR REPLACE MACRO {table}(a) AS a",
    "CREATE OR REPLACE TEMP MACRO slot(a, b) AS 1",
    "CREATE OR REPLACE MACRO jsoc_time(a) AS NULL",
    "CREATE FUNCTION jsoc(a) AS TABLE {query}",
    "CREATE OR REPLACE SCHEMA hmi",
    "CREATE SCHEMA x",
    "CREATE TYPE {table} AS ENUM ('a')",
    "CREATE TYPE x AS ENUM ({query})",
    "CREATE SEQUENCE {table}",
    "CREATE INDEX i ON {table} (recnum)",
    "CREATE SECRET s (TYPE http, BEARER_TOKEN 'x')",
    "CREATE PERSISTENT SECRET s (TYPE http)",
    "CREATE TRIGGER t AFTER INSERT ON {table} FOR EACH STATEMENT {query}",
    "DROP TABLE {table}",
    "DROP VIEW IF EXISTS {table}",
    "DROP SCHEMA hmi CASCADE",
    "DROP MACRO jsoc_time",
    "DROP FUNCTION IF EXISTS quality_bit",
    "DROP SECRET s",
    "ALTER TABLE {table} ADD COLUMN z INTEGER",
    "ALTER VIEW {table} RENAME TO y",
    "ALTER TABLE {table} DROP COLUMN recnum",
    "ALTER DATABASE memory RENAME TO y",
    "COMMENT ON TABLE {table} IS 'x'",
    "COMMENT ON COLUMN {table}.recnum IS 'x'",
    "COPY {table} TO '{file}'",
    "COPY {table} TO '{file}' (FORMAT csv, OVERWRITE)",
    "COPY ({query}) TO '{file}' (FORMAT parquet)",
    "COPY ({query}) TO '{folder}' (FORMAT parquet, PARTITION_BY (quality), OVERWRITE)",
    "COPY ({query}) TO '{file}' (FORMAT json, USE_TMP_FILE true)",
    "COPY {table} FROM '{file}'",
    "COPY FROM DATABASE memory TO temp",
    "COPY memory TO '{folder}'",
    "EXPORT DATABASE '{folder}'",
    "EXPORT DATABASE memory TO '{folder}' (FORMAT parquet)",
    "IMPORT DATABASE '{folder}'",
    "ATTACH '{file}' AS a",
    "ATTACH IF NOT EXISTS ':memory:' AS a",
    "ATTACH OR REPLACE ':memory:' AS memory",
    "DETACH memory",
    "DETACH DATABASE IF EXISTS a",
    "USE hmi",
    "SET threads = 1",
    "SET GLOBAL memory_limit = '10GB'",
    "SET SESSION TimeZone = 'America/New_York'",
    "SET LOCAL schema = 'hmi'",
    "SET search_path = 'hmi'",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET lock_configuration = false",
    "SET VARIABLE x = 1",
    "SET VARIABLE x = (SELECT max(a) FROM (PIVOT (SELECT 1 AS a, 2 AS b) ON b USING count(*)))",
    "RESET threads",
    "RESET GLOBAL TimeZone",
    "RESET VARIABLE x",
    "PRAGMA threads = 1",
    "PRAGMA enable_profiling",
    "PRAGMA enable_progress_bar",
    "PRAGMA force_checkpoint",
    "PRAGMA add_parquet_key('k', '0123456789012345')",
    "PRAGMA disable_object_cache",
    "PRAGMA table_info('{table}')",
    "PRAGMA import_database('{folder}')",
    "PRAGMA enable_logging('QueryLog')",
    "CALL enable_logging()",
    "CALL checkpoint()",
    "CALL pragma_version()",
    "INSTALL httpfs",
    "FORCE INSTALL httpfs FROM '{folder}'",
    "LOAD '{file}'",
    "UPDATE EXTENSIONS",
    "CHECKPOINT",
    "FORCE CHECKPOINT memory",
    "VACUUM",
    "VACUUM ANALYZE {table}",
    "ANALYZE",
    "PREPARE p AS {query}",
    "EXECUTE p",
    "DEALLOCATE p",
    "BEGIN",
    "BEGIN TRANSACTION READ WRITE",
    "COMMIT",
    "ROLLBACK",
    "FROM {table} INSERT INTO {table}",
    "SELECT 1 AS a INTO {table}",
]
#: What changes something, or reads what is not for it, as a query does.
READS = [
    "SELECT nextval('{table}')",
    "FROM enable_logging('QueryLog', level := 'trace')",
    "FROM disable_logging()",
    "FROM set_logging_level('trace')",
    "FROM read_text('/etc/passwd')",
    "FROM read_blob('{outside}')",
    "FROM read_csv('{outside}')",
    "FROM '{outside}'",
    "FROM glob('/etc/*')",
    "FROM read_duckdb('{outside}')",
    "FROM duckdb_secrets()",
    "FROM sniff_csv('{outside}')",
    "SELECT getenv('HOME')",
    "SELECT write_log('x')",
    'SELECT system.main."WRITE_LOG" /* */ (\'x\')',
    "FROM checkpoint()",
    "FROM system.main.force_checkpoint()",
    "FROM add_grammar_extension('x', 'y')",
    "FROM remove_grammar_extension('x')",
    "FROM register_external_resource('x')",
    "FROM truncate_duckdb_logs()",
    "FROM enable_profiling()",
    "FROM arrow_scan(1, 2, 3)",
    "FROM pandas_scan(1)",
    "SELECT setval('x', 1)",
    "FROM sqlite_scan('{outside}', 'x')",
    "FROM read_parquet('https://example.org/x.parquet')",
]
#: What may stand around a statement.
AROUND = [
    "{s}", "{s};", "({s})", "(({s}))", " ;{s}", "{s} ;;",
    "EXPLAIN {s}", "EXPLAIN ANALYZE {s}", "EXPLAIN (ANALYZE) {s}", "EXPLAIN (FORMAT json) {s}",
    "EXPLAIN (ANALYZE, FORMAT json) {s}", "EXPLAIN ANALYZE ({s})", "/* */ EXPLAIN -- \n ANALYZE {s}",
    "SELECT 1; {s}", "{s}; SELECT 1", "SELECT 1;\n{s};\nSELECT 2", "BEGIN; {s}; COMMIT", "PIVOT (SELECT 1 AS a) ON a; {s}",
    "WITH t AS ({s}) SELECT * FROM t", "WITH t AS MATERIALIZED ({s}) SELECT count(*) FROM t", "WITH t AS ({s}) SELECT 1",
    "WITH t AS ({s}), u AS (SELECT * FROM t) FROM u", "WITH RECURSIVE t AS ({s}) TABLE t",
    "SELECT * FROM (WITH t AS ({s}) SELECT * FROM t)", "WITH a AS (WITH t AS ({s}) SELECT * FROM t) FROM a",
    "WITH t AS ({s}) PIVOT t ON recnum USING count(*)", "WITH t AS ({s}) SUMMARIZE t", "SUMMARIZE (WITH t AS ({s}) FROM t)",
    "EXPLAIN ANALYZE WITH t AS ({s}) SELECT * FROM t", "WITH t AS ({s}) INSERT INTO hmi.v_45s FROM t",
    "SELECT * FROM ({s})", "SELECT ({s})", "SELECT EXISTS ({s})", "SELECT 1 WHERE 1 IN ({s})", "FROM ({s}) t",
    "SELECT 1 UNION ALL ({s})", "{s} UNION ALL SELECT 1", "DESCRIBE {s}", "SUMMARIZE {s}", "SHOW {s}", "PREPARE p AS {s}",
    "CREATE MACRO m() AS TABLE {s}", "CREATE TABLE y AS ({s})", "COPY ({s}) TO '{file}'", "PIVOT ({s}) ON recnum",
    "FROM query($q${s}$q$)", "SELECT * FROM query('{quoted}')", "FROM json_execute_serialized_sql(json_serialize_sql($q${s}$q$))",
    "CALL query($q${s}$q$)", "EXECUTE IMMEDIATE '{quoted}'", "DO $q${s}$q$", "SELECT '' AS a /* '; */ ; {s} --",
]  # fmt: skip
#: Where a query is not run, so that it does nothing. A statement that writes is refused here too.
UNUSED = [a for a in AROUND if ("EXPLAIN" in a and "ANALYZE" not in a) or "DESCRIBE" in a or a == "WITH t AS ({s}) SELECT 1"]
#: What may stand where a blank does.
BLANKS = [" ", "  ", "\n", "\t", "/**/", " /* SELECT */ ", " -- \n", "\r\n", "/* /* */ */", "\u00a0", "\u2003", "\x0b", "\ufeff"]


@st.composite
def writing(draw: st.DrawFn, folder: str) -> str:
    """A statement that writes or changes something, or reads what it must not, in some form."""
    names = {
        "table": draw(st.sampled_from(TABLES)),
        "query": draw(st.sampled_from(QUERIES)),
        "file": folder + draw(st.sampled_from(["/manifest.json", "/hmi.v_45s/2014-01.1.parquet", "/new.parquet", "/../index.duckdb"])),
        "folder": folder + draw(st.sampled_from(["", "/hmi.v_45s", "/new"])),
        "outside": folder + "/../secret.txt",
    }  # fmt: skip
    verb = draw(st.sampled_from(VERBS + READS))
    statement = verb.format(**names)
    around = draw(st.sampled_from([a for a in AROUND if verb in VERBS or a not in UNUSED]))
    text = around.replace("{file}", names["file"]).replace("{quoted}", statement.replace("'", "''"))
    text = text.replace("{s}", statement)
    if draw(st.booleans()):
        blank = draw(st.sampled_from(BLANKS))
        text = "".join(blank if c == " " else c for c in text)
    case = draw(st.sampled_from([str, str, str.swapcase])) if folder.casefold() not in text.casefold() else str
    return case(text)


class Shared:
    """A lake of one series, workers on it, and what it looked like."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "hmi.v_45s" / "2014-01.1.parquet"
        self.file.parent.mkdir(parents=True)
        select = "SELECT range AS recnum, range * 0.5 AS datamean, range % 7 AS quality FROM range(80)"
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({select}) TO '{self.file}' (FORMAT parquet)")
        (folder / "manifest.json").write_text("{}")
        (folder.parent / "secret.txt").write_text("a,b\n1,2\n")
        self.runner = asyncio.Runner()
        self.workers = Workers(folder, WorkerLimits(places=1, memory=400_000_000, threads=1))
        self.before = self.hash()
        self.settings = self.ask("SELECT name, value FROM duckdb_settings() ORDER BY name")
        self.answer = self.others()

    async def supply(self, missing: Missing) -> Supply:
        """The tables of the mirror, as the service supplies them."""
        if missing.table == "v_45s":
            return Supply((View("hmi.v_45s", f"SELECT * FROM read_parquet(['{self.file}'])"),))
        if missing.table == "v_45s__old":
            return Supply((View("hmi.v_45s__old", f"SELECT * FROM read_parquet(['{self.file}']) WHERE false"),))
        if missing.table == "holdings":
            return Supply((View("mirror.holdings", "SELECT 1 AS recnum"),))
        return Supply()

    def ask(self, statement: str) -> Any:
        async def asked() -> bytes:
            question = Question(statement, limits=Limits(seconds=20), schemas=("hmi", "mirror"))
            supplied: set[str] = set()

            async def once(missing: Missing) -> Supply:
                if missing.table in supplied:
                    return Supply()
                supplied.add(missing.table)
                return await self.supply(missing)

            async with self.workers.run(question, "", once) as answer:
                return b"".join([piece async for piece in answer.pieces])

        return json.loads(self.runner.run(asked()))["rows"]

    def others(self) -> Any:
        """What somebody else asks: of the records, and of what there is beside them."""
        return [
            self.ask("SELECT count(*), sum(recnum), avg(datamean) FROM hmi.v_45s"),
            self.ask("SELECT schema_name FROM duckdb_schemas() WHERE NOT internal ORDER BY ALL"),
            self.ask("SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views() WHERE NOT internal"),
            self.ask("SELECT function_name FROM duckdb_functions() WHERE NOT internal ORDER BY ALL"),
            self.ask("SELECT type_name FROM duckdb_types() WHERE NOT internal"),
            self.ask("SELECT database_name, path FROM duckdb_databases() ORDER BY ALL"),
            self.ask("SELECT getvariable('x'), quality_bit(5, 0), jsoc_time('2014.01.01_TAI'), current_schema()"),
        ]

    def hash(self) -> dict[str, str]:
        """Every file beside and below the lake."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.parent.rglob("*"))
            if path.is_file()
        }

    def close(self) -> None:
        self.runner.run(self.workers.stop())
        self.runner.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    made = Shared(tmp_path_factory.mktemp("store") / "lake")
    yield made
    made.close()


@settings(max_examples=300, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_none_of_a_thousand_forms_gets_through(shared, data):
    statement = data.draw(writing(str(shared.folder)))
    with pytest.raises(BadRequest):  # 400, or 403 for what is refused
        shared.ask(statement)


def test_after_all_of_them_everything_is_as_before(shared):
    assert shared.hash() == shared.before
    assert shared.ask("SELECT name, value FROM duckdb_settings() ORDER BY name") == shared.settings
    assert shared.others() == shared.answer


# ---- over HTTP -------------------------------------------------------------------------------------

HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"
REPORTED = [
    "WITH t AS (DELETE FROM hmi.v_45s RETURNING *) SELECT count(*) FROM t",
    "WITH t AS (UPDATE hmi.v_45s SET recnum = 0 RETURNING *) SELECT count(*) FROM t",
    "WITH t AS (INSERT INTO hmi.v_45s FROM hmi.v_45s RETURNING *) SELECT count(*) FROM t",
    "CREATE TABLE hmi.v_45s AS (PIVOT (SELECT 1 AS a) ON a USING count(*))",
    "CREATE OR REPLACE TABLE hmi.sharp_720s AS (PIVOT (SELECT 1 AS a) ON a USING count(*))",
    "CREATE TEMP TABLE v_45s AS (PIVOT (SELECT 1 AS a) ON a USING count(*))",
    "INSERT INTO hmi.v_45s FROM hmi.v_45s",
    "INSERT INTO hmi.v_45s (PIVOT hmi.v_45s ON quality USING count(*))",
    "SET threads = 1",
    "SET VARIABLE x = (SELECT 1 FROM (PIVOT (SELECT 1 AS a) ON a USING count(*)))",
    "COPY (PIVOT hmi.v_45s ON quality USING count(*)) TO '{file}'",
    "COPY (PIVOT (SELECT 1 AS a) ON a USING count(*)) TO '{lake}/manifest.json'",
    "COPY (SELECT 1) TO '{file}'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{file}'",
    "EXPORT DATABASE '{lake}'",
    "SELECT 1; DROP SCHEMA hmi CASCADE",
    "ATTACH '{lake}/x.duckdb' AS x",
    "WITH t AS (DELETE FROM mirror.series RETURNING *) SELECT count(*) FROM t",
    f"WITH t AS (DELETE FROM \"jsoc 1\".numbers0 RETURNING *) SELECT count(*) FROM t, jsoc('{HOUR}[? QUALITY=0 ?]')",
    "FROM add_grammar_extension('x', 'y')",
]


@pytest.fixture
async def mirror(tmp_path):
    async with lab(tmp_path, MIRROR_SQL__PLACES="1") as made:
        await made.ask(HOUR)
        yield made


def files(mirror: Lab) -> dict[str, str]:
    """The files of the lake, with hashes of what is in them."""
    lake = mirror.path / "lake"
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in lake.rglob("*") if p.is_file()}


async def others(mirror: Lab) -> list[Any]:
    """What people ask who do not write."""
    where = await mirror.get("/api/search", {"ds": HOUR, "where": "recnum > 0", "key": "*recnum*"})
    return [
        await rows(mirror, "SELECT count(*), sum(recnum) FROM hmi.v_45s"),
        await rows(mirror, f"SELECT count(*), sum(recnum) FROM jsoc('{HOUR}')"),
        (where.code, where.json.get("count"), where.json.get("rows")),
    ]


async def test_the_answers_of_others_stay_as_they_are_over_http(mirror):
    before = await others(mirror)
    assert before[2][1] == 80
    whole, lake = files(mirror), mirror.path / "lake"
    file = next(name for name in whole if name.endswith(".parquet"))
    for statement in REPORTED:
        answer = await sql(mirror, statement.format(file=file, lake=lake))
        assert answer.code in (400, 403), (statement, answer.body)
    assert files(mirror) == whole
    assert await others(mirror) == before


@pytest.mark.parametrize(
    "where",
    [
        "recnum IN (WITH t AS (DELETE FROM hmi.v_45s RETURNING recnum) SELECT recnum FROM t)",
        "1 = 1) UNION ALL (WITH t AS (DELETE FROM hmi.v_45s RETURNING recnum) SELECT recnum FROM t",
        "TRUE\n); DROP VIEW hmi.v_45s; SELECT (1",
        "EXISTS (FROM checkpoint())",
        "EXISTS (FROM query('FROM write_log(1)'))",
        "EXISTS (COPY (SELECT 1) TO 'x')",
    ],
)
async def test_a_condition_of_a_search_changes_nothing_either(mirror, where):
    before = await others(mirror)
    answer = await mirror.get("/api/search", {"ds": HOUR, "where": where})
    assert answer.code in (400, 403), answer.body
    assert await others(mirror) == before
