"""Statements run in processes of their own: what comes back, and what happens to those that take too much."""

from __future__ import annotations

import asyncio
import io
import os
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from mirror.errors import BadRequest, OutOfTime, Refused, SyntaxProblem, TooLarge, TooMany
from mirror.services.sql.messages import Limits, Question
from mirror.services.sql.worker import Engine
from tests.services.sql.conftest import Sql
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDLESS = "SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range = 7"


async def test_a_statement_reads_the_tables_that_it_is_given(sql):
    assert await sql.rows("SELECT count(*), max(datamean) FROM hmi.v_45s WHERE quality = 0") == [[143, 497.0]]


async def test_comments_say_what_tables_and_columns_are(sql):
    comments = "SELECT comment FROM duckdb_views() WHERE view_name = 'v_45s'"
    assert await sql.rows(comments) == [["Dopplergrams"]]
    assert await sql.rows("SELECT comment FROM duckdb_columns() WHERE column_name = 'quality'") == [["bits"]]


async def test_parameters_stand_for_values_by_place_and_by_name(sql):
    assert await sql.rows("SELECT ?::INT + ?::INT", (1, 2)) == [[3]]
    assert await sql.rows("SELECT $a || $b", {"a": "x", "b": "'; DROP TABLE y"}) == [["x'; DROP TABLE y"]]
    assert await sql.rows(
        "SELECT recnum FROM hmi.v_45s WHERE recnum IN (SELECT unnest(?)) ORDER BY 1", ([3, 5],)
    ) == [[3], [5]]


@pytest.mark.parametrize("form", ["arrow", "parquet", "csv"])
async def test_every_form_holds_the_same(sql, form):
    data = await sql.bytes("SELECT recnum, datamean FROM hmi.v_45s ORDER BY recnum LIMIT 3", form=form)
    if form == "csv":
        assert data.decode().split() == ['"recnum","datamean"', "0,0.0", "1,0.5", "2,1.0"]
        return
    table = (
        pa.ipc.open_stream(data).read_all() if form == "arrow" else pa.parquet.read_table(io.BytesIO(data))
    )
    assert table.to_pydict()["recnum"] == [0, 1, 2]


@pytest.mark.parametrize("form", ["arrow", "parquet", "csv", "json"])
async def test_an_answer_without_rows_is_whole(sql, form):
    data = await sql.bytes("SELECT recnum FROM hmi.v_45s WHERE false", form=form)
    assert data.startswith(
        {"arrow": b"\xff\xff\xff\xff", "parquet": b"PAR1", "csv": b'"recnum"', "json": b"{"}[form]
    )


@pytest.mark.parametrize(
    "statement, place",
    [("SELECT foo FROM hmi.v_45s", "foo"), ("SELECT 'é', foo FROM hmi.v_45s", "foo"), ("SELEC 1", "SELEC")],
)
async def test_an_error_says_where(sql, statement, place):
    with pytest.raises(SyntaxProblem) as caught:
        await sql.rows(statement)
    assert caught.value.position == statement.index(place)
    assert "Error" not in caught.value.message.split(":")[0]


async def test_after_an_error_the_same_worker_goes_on(sql):
    first = (await sql.rows("SELECT current_setting('threads')"))[0]
    with pytest.raises(BadRequest):
        await sql.rows("SELECT error('no')")
    assert (await sql.rows("SELECT current_setting('threads')"))[0] == first


async def test_a_statement_that_takes_too_long_is_ended_and_the_next_works(sql):
    with pytest.raises(OutOfTime, match=r"more than 0\.3 s"):
        await sql.rows(ENDLESS, seconds=0.3)
    assert await sql.rows("SELECT 1") == [[1]]


async def test_an_answer_with_too_many_rows_or_bytes_is_ended(sql):
    with pytest.raises(TooLarge, match="more than 10 rows"):
        await sql.rows("SELECT * FROM range(1000)", rows=10)
    with pytest.raises(TooLarge, match="more than 1,000 bytes"):
        await sql.rows("SELECT * FROM range(1000)", bytes=1000)
    assert await sql.rows("SELECT 1") == [[1]]


async def test_whoever_hangs_up_ends_the_statement(sql):
    question = Question(ENDLESS, form="json")
    task = asyncio.ensure_future(drained(sql, question))
    pid = await busy(sql)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert await sql.rows("SELECT 1") == [[1]]


async def test_a_slow_reader_does_not_fill_the_daemon(sql):
    question = Question("SELECT range, hash(range) FROM range(30000000)", form="csv")
    async with sql.workers.run(question) as answer:
        first = await anext(answer.pieces)
    assert first  # and what was not read was never kept: leaving ends the statement
    assert await sql.rows("SELECT 1") == [[1]]


async def test_more_than_may_wait_are_told_so(tmp_path):
    asking = Sql(tmp_path, places=1, waiting=0)
    task = asyncio.ensure_future(drained(asking, Question(ENDLESS)))
    await busy(asking)
    with pytest.raises(TooMany, match="try again later"):
        await asking.rows("SELECT 1")
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert await asking.rows("SELECT 1") == [[1]]
    await asking.workers.stop()


async def test_one_asker_does_not_keep_others_waiting(tmp_path):
    asking = Sql(tmp_path, places=2, waiting=8)
    heavy = [asyncio.ensure_future(drained(asking, Question(ENDLESS), "greedy")) for _ in range(3)]
    await busy(asking)
    assert await asking.bytes("SELECT 1", principal="modest")
    for task in heavy:
        task.cancel()
    await asyncio.gather(*heavy, return_exceptions=True)
    await asking.workers.stop()


async def test_a_refusal_is_no_syntax_error(sql):
    with pytest.raises(Refused, match="read-only"):
        await sql.rows("DROP VIEW hmi.v_45s")


async def drained(sql: Sql, question: Question, principal: str = "") -> None:
    async with sql.workers.run(question, principal) as answer:
        async for _ in answer.pieces:
            pass


async def busy(sql: Sql) -> int:
    """The process of a statement, once one runs."""
    await until(sql.workers.running)
    return sql.workers.running()[0]


async def test_limits_are_those_of_the_configuration():
    from mirror.config.loading import Sql as Settings

    assert (Limits().seconds, Limits().rows, Limits().bytes) == (
        Settings().seconds,
        Settings().rows,
        Settings().bytes,
    )


async def test_a_worker_that_was_made_ready_takes_the_next_statement(tmp_path):
    def children() -> set[str]:
        return {
            pid for place in Path("/proc/self/task").glob("*/children") for pid in place.read_text().split()
        }

    before = children()
    asking = Sql(tmp_path)
    try:
        await asking.workers.warm()
        ready = children() - before
        assert len(ready) == 1
        assert await asking.rows("SELECT 1") == [[1]]
        assert children() - before == ready
        await asking.workers.warm()
        assert children() - before == ready
    finally:
        await asking.workers.stop()


async def test_every_statement_has_the_footers_that_others_read(tmp_path):
    engine = Engine.start(tmp_path, memory=1 << 30, threads=1)
    with engine.connection.cursor() as cursor:  # as each statement gets one
        assert cursor.execute("SELECT current_setting('parquet_metadata_cache')").fetchone() == (True,)
    engine.connection.close()
