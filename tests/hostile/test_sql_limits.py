"""Statements and parameters of every size and shape: a clear error, and nobody else waits for it."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys

import pytest
import pytest_asyncio

from mirror.services.sql.messages import DEEPEST, MOST_BYTES
from tests.lab import Lab, lab, rows, sql

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"
JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask(HOUR)
        yield made


def sized(beginning: str, piece: str, end: str = "", size: int = MOST_BYTES - 1000) -> str:
    """A text of about ``size`` bytes. What DuckDB itself takes long for is shorter, so that the test does not."""
    return beginning + piece * ((size - len(beginning) - len(end)) // len(piece)) + end


LARGE = {
    "a list of values": sized("SELECT 1 IN (0", ", 12345", ")", size=300_000),
    "many columns": sized("SELECT 1", ", 1", size=20_000),
    "words": sized("SELECT 1 -- jsoc('x')\n", "a "),
    "parentheses": sized("SELECT ", "(", size=20_000),
    "quotes": sized("SELECT '", "''"),
    "dollars": sized("SELECT ", "$a$ "),
    "comments": sized("SELECT 1 ", "/*"),
    "comments before explain": sized("", "/* */ ", "EXPLAIN SELEC 1"),
    "names of the mirror": sized("SELECT 1 -- ", "hmi.v_45s mirror.holdings "),
    "a condition with slot(": sized("SELECT 1 WHERE ", "slot( ", size=200_000),
    "operators": sized("SELECT 1", " + 1", size=200_000),
    "statements": sized("SELECT 1", ";SELECT 1", size=200_000),
}


async def test_the_daemon_reads_nothing_of_a_statement():
    """What reads SQL text is in the worker; the daemon does not even import it."""
    loaded = "import mirror.daemon, sys; print(*(m for m in sys.modules if m.startswith('mirror.services.sql')))"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert "mirror.services.sql.service" in done.stdout.split()
    assert not {f"mirror.services.sql.{m}" for m in ("tokens", "statements", "jsoc_calls", "worker")} & set(done.stdout.split())


@pytest.mark.parametrize("kind", LARGE)
async def test_a_large_statement_is_answered_or_a_short_error(mirror, kind):
    answer = await mirror.request("POST", "/api/sql", data=LARGE[kind].encode())
    assert answer.code in (200, 400, 403, 408, 413), answer.body[:500]
    if answer.code != 200:
        assert len(answer.body) < 10_000


async def test_a_large_condition_of_a_search_is_answered(mirror):
    where = "recnum IN (0" + ", 12345" * 15_000 + ")"
    answer = await mirror.get("/api/search", {"ds": HOUR, "where": where})
    assert (answer.code, answer.json["count"]) == (200, 0)


@pytest.mark.parametrize("as_json", [True, False])
async def test_more_than_the_limit_is_413_and_says_the_limit(mirror, as_json):
    for statement in ("SELECT '" + "x" * MOST_BYTES + "'", "SELECT '" + "é" * (MOST_BYTES // 2) + "'"):
        body = json.dumps({"query": statement}, ensure_ascii=False) if as_json else statement
        answer = await mirror.request("POST", "/api/sql", data=io.BytesIO(body.encode()), headers=JSON if as_json else {})
        assert (answer.code, f"at most {MOST_BYTES:,}" in answer.json["error"]) == (413, True)


async def test_as_much_as_the_limit_is_answered(mirror):
    text = "é" * ((MOST_BYTES - 20) // 2)
    answer = await mirror.request("POST", "/api/sql", data=f"SELECT length('{text}')".encode())
    assert answer.json["rows"] == [[len(text)]]
    numbers = list(range(100_000))
    assert await rows(mirror, "SELECT count(*) FROM (SELECT unnest(?))", params=[numbers]) == [[100_000]]


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "body, code, words",
    [
        ('{"query": "SELECT ?", "params": ' + nested(DEEPEST + 3) + "}", 400, "expected a list of values"),
        ('{"query": "SELECT ?", "params": ' + nested(900) + "}", 400, "expected at most"),
        ('{"query": "SELECT ?", "params": ' + nested(100_000) + "}", 400, "nested too deep"),
        (nested(100_000), 400, "nested too deep"),
        ('{"query": "SELECT 1", "x": ' + '{"a":' * 100_000 + "1" + "}" * 100_000 + "}", 400, "nested too deep"),
        ('{"query": "SELECT \'\\ud800\'"}', 400, "expected"),
        ('{"query": "SELECT ?", "params": ["\\ud800"]}', 400, ""),
        ('{"query": "SELECT ?", "params": [' + "9" * 5000 + "]}", 400, "expected"),
        ('{"query": "SELECT $a", "params": {"": 1, "b": 2}}', 400, ""),
        ('{"query": "SELECT 1", "params": ' + json.dumps([1] * 100_000) + "}", 400, ""),
        ('{"query": "SELECT 1", "fill": ' + nested(20) + "}", 400, "expected true or false"),
        ('{"query": ["SELECT 1"]}', 400, "missing statement"),
        ('{"query": "\\u0000"}', 400, ""),
        ('{"query": "SELECT \'a\\u0000b\'"}', 400, "without NUL"),
        ("[1]", 400, "not a JSON object"),
        ('{"query": "SELECT ?", "params": [9223372036854775808]}', 200, ""),
        ('{"query": "SELECT ?::DOUBLE", "params": [NaN]}', 400, "expected finite numbers"),
    ],
    ids=range(17),
)
async def test_what_json_can_be_is_answered_or_a_clear_error(mirror, body, code, words):
    answer = await mirror.request("POST", "/api/sql", data=body.encode(), headers=JSON)
    assert answer.code == code, answer.body[:500]
    assert words in answer.json.get("error", "")
    assert len(answer.body) < 5_000


@pytest.mark.parametrize("form", ["x" * 100_000, "", "xml", "json,csv"])
async def test_a_format_that_there_is_not_is_a_short_error(mirror, form):
    answer = await mirror.request("POST", "/api/sql", {"format": form}, data=b"SELECT 1")
    assert answer.code == (200 if not form else 400)
    assert len(answer.body) < 500


async def test_a_record_set_in_a_statement_has_a_limit_with_its_place(mirror):
    statement = "SELECT 1 FROM jsoc('hmi.v_45s[" + "1" * 100_000 + "]')"
    answer = await sql(mirror, statement)
    assert (answer.code, answer.json["position"]) == (400, statement.index("hmi"))
    assert "at most" in answer.json["error"]


async def test_a_refused_statement_fetches_nothing(mirror):
    before = await mirror.fetched()
    for statement in (
        "COPY (FROM jsoc('hmi.v_45s[2014.03.01_TAI/1h]', fill := true)) TO 'x'",
        "SELECT 1; SELECT * FROM jsoc('hmi.v_45s[2014.03.01_TAI/1h]', fill := true)",
        "FROM checkpoint(), jsoc('hmi.v_45s[2014.03.01_TAI/1h]', fill := true)",
    ):
        assert (await sql(mirror, statement, fill=True)).code in (400, 403)
    assert await mirror.fetched() == before


async def test_large_statements_from_one_person_leave_others_their_answers(mirror):
    large = [asyncio.ensure_future(mirror.request("POST", "/api/sql", data=LARGE["words"].encode())) for _ in range(3)]
    assert await rows(mirror, "SELECT count(*) FROM hmi.v_45s") == [[80]]
    await asyncio.gather(*large)


async def search(mirror: Lab, where: str):
    return await mirror.get("/api/search", {"ds": HOUR, "where": where})


@pytest.mark.parametrize("where", ["1 = 1 /*", "'", '"', "$$", "(" * 5_000, "1 = 1\u00a0;", "x = '\u0000'", ")" * 10])
async def test_a_broken_condition_is_an_error_of_the_asker(mirror, where):
    answer = await search(mirror, where)
    assert answer.code == 400 and answer.json["error"]
