"""However a statement names a table, it reads what is held at that moment, and nothing that an earlier statement left."""

from __future__ import annotations

import re

import pytest
import pytest_asyncio

from tests.lab import lab, rows, sql

pytestmark = pytest.mark.asyncio(loop_scope="module")
TEN_MINUTES = "hmi.v_45s[2014.01.01_TAI/10m]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store"), MIRROR_SQL__PLACES="1") as made:
        await made.ask(TEN_MINUTES)
        yield made


WAYS = [
    "SELECT count(*) FROM hmi . v_45s",
    "SELECT count(*) FROM hmi/* of */./* a */v_45s",
    "SELECT count(*) FROM hmi -- the\n.\n v_45s",
    'SELECT count(*) FROM "hmi"."v_45s"',
    'SELECT count(*) FROM "HMI" . "V_45S"',
    "SELECT count(*) FROM HMI.V_45S",
    "SELECT count(*) FROM hmi\u00a0.\u2003v_45s",
    "SELECT count(*) FROM memory.hmi.v_45s",
    'SELECT count(*) FROM memory . "hmi" . V_45s',
    "SELECT count(*) FROM query_table('hmi.v_45s')",
    "SELECT count(*) FROM query_table('h' || 'mi.v_' || '45s')",
    "SELECT count(*) FROM query_table(['hmi.v_45s', 'hmi.v_45s__old'], true)",
    "SELECT count(*) FROM query('FROM hmi.v_45s')",
    "SELECT count(*) FROM query(concat('SELECT * FROM hmi', chr(46), 'v_45s'))",
    "FROM query('SELECT count(*) FROM query_table(''hmi.v_45s'')')",
    "SELECT (SELECT count(*) FROM hmi.v_45s)",
    "WITH t AS (TABLE hmi.v_45s) SELECT count(*) FROM t",
    "WITH hmi AS (SELECT 1) SELECT count(*) FROM hmi.v_45s",
    "SELECT count(*) FROM (PIVOT hmi.v_45s ON telescop USING count(*) GROUP BY recnum)",
    "SELECT count(*) FROM (SELECT recnum FROM hmi.v_45s UNION SELECT recnum FROM hmi.v_45s)",
    "FROM hmi.v_45s SELECT count(*)",
    "SELECT count(*) FROM hmi.v_45s SEMI JOIN hmi . v_45s b USING (recnum)",
    "SELECT count FROM (SUMMARIZE hmi.v_45s) WHERE lower(column_name) = 'recnum'",
    "SELECT count(*) FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM hmi.v_45s'))",
]


@pytest.mark.parametrize("statement", WAYS)
async def test_every_way_to_name_a_table_reads_what_is_held_now(mirror, statement):
    [[before]] = await rows(mirror, statement)
    offset = WAYS.index(statement)
    new = await mirror.recnums(f"hmi.v_45s[2014.01.01_{offset:02}:30_TAI/90s]")
    assert new
    [[after]] = await rows(mirror, statement)
    assert after == before + len(new)


async def test_a_parameter_may_name_a_table(mirror):
    [[count]] = await rows(mirror, "SELECT count(*) FROM hmi.v_45s")
    assert await rows(mirror, "SELECT count(*) FROM query_table(?)", params=["hmi.v_45s"]) == [[count]]
    assert await rows(mirror, "SELECT count(*) FROM query($q)", params={"q": "FROM hmi . v_45s"}) == [[count]]


@pytest.mark.parametrize("listing", ["SHOW ALL TABLES", "SELECT table_name FROM duckdb_tables() UNION ALL SELECT view_name FROM duckdb_views()", "FROM information_schema.tables"])
async def test_lists_show_every_table_whatever_was_asked_before(mirror, listing):
    async def listed() -> set[str]:
        found = await rows(mirror, listing)
        return {value for row in found for value in row if isinstance(value, str)}

    first = await listed()
    assert {"v_45s", "v_45s__old", "holdings", "series"} <= first
    await rows(mirror, "SELECT count(*) FROM hmi.v_45s, mirror.series, jsoc('hmi.v_45s[2014.01.01_TAI/90s]')")
    assert await listed() == first


async def test_a_list_of_columns_and_the_rows_of_the_same_table_go_together(mirror):
    [[count]] = await rows(mirror, "SELECT count(*) FROM hmi.v_45s")
    statement = (
        "SELECT (SELECT count(*) FROM hmi.v_45s), comment FROM duckdb_columns() "
        "WHERE table_name = 'v_45s' AND column_name = 'T_REC_tai'"
    )
    [[found, comment]] = await rows(mirror, statement)
    assert (found, comment.startswith("[TAI seconds since 1977]")) == (count, True)


async def test_the_table_of_a_record_set_is_gone_with_its_statement(mirror):
    assert await rows(mirror, "SELECT count(*) FROM jsoc('hmi.v_45s[2014.01.01_TAI/90s]')") == [[2]]
    answer = await sql(mirror, 'SELECT count(*) FROM "jsoc 1".jsoc')
    assert answer.code == 400


async def test_the_function_slot_is_found_however_it_is_called(mirror):
    statement = "SELECT count(*) FROM hmi.v_45s WHERE {call} IS DISTINCT FROM t_rec_index"
    for call in ("slot('hmi.v_45s', t_rec)", "SLOT /* */ ('HMI.V_45S', t_rec)", "main.slot('hmi' || '.v_45s', t_rec)"):
        assert await rows(mirror, statement.format(call=call)) == [[0]]
    assert await rows(mirror, "FROM query('SELECT slot(''hmi.v_45s'', jsoc_time(''1993.01.01_TAI''))')") == [[0]]


@pytest.mark.parametrize("statement", ["SELECT * FROM hmi.nowhere", "SELECT * FROM nowhere.v_45s", "SELECT * FROM v_45s", "SELECT * FROM 'hmi.v_45s'"])
async def test_a_table_that_there_is_not_is_an_error_in_words(mirror, statement):
    answer = await sql(mirror, statement)
    assert answer.code == 400 and re.match("there is no table|.* does not exist|.* is the name of a file", answer.json["error"])


@pytest.mark.parametrize(
    "leaving, asking, found",
    [
        ("SELECT setseed(0.5)", "SELECT count(DISTINCT random()) FROM range(3)", [[3]]),
        ("SET VARIABLE x = 5", "SELECT getvariable('x')", [[None]]),
        ("CREATE TEMP TABLE x AS SELECT 1", "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'x'", [[0]]),
        ("CREATE TEMP MACRO slot(a, b) AS 7", "SELECT slot('hmi.v_45s', 0.0) = 7", [[False]]),
        ("PREPARE p AS SELECT 1", "SELECT count(*) FROM duckdb_prepared_statements()", [[0]]),
        ("SELECT 'secret' FROM error('x')", "SELECT count(*) FROM duckdb_logs()", [[0]]),
        ("PIVOT (SELECT 'secret' AS a) ON a USING count(*)", "SELECT count(*) FROM duckdb_types() WHERE NOT internal", [[0]]),
    ],
)  # fmt: skip
async def test_one_statement_leaves_nothing_to_the_next(mirror, leaving, asking, found):
    await sql(mirror, leaving)
    assert await rows(mirror, asking) == found
