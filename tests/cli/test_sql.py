"""``mirror sql``: from an argument, a file, stdin or a prompt; as a table, CSV, JSON or a file."""

from __future__ import annotations

import asyncio
import json

import pyarrow.parquet
import pytest
import pytest_asyncio
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from mirror.cli.main import main
from mirror.cli.support.prompt import Names, statements
from tests.lab import lab

on_module_loop = pytest.mark.asyncio(loop_scope="module")
COUNT = "SELECT count(*) AS n FROM hmi.v_45s"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask("hmi.v_45s[2014.01.01_TAI/1h]")
        yield made


@pytest.fixture
def run(mirror):
    async def run(*arguments, typed=None):
        env = {"MIRROR_URL": mirror.url}
        return await asyncio.to_thread(CliRunner().invoke, main, ["sql", *arguments], input=typed, env=env)

    return run


@on_module_loop
async def test_a_statement_gives_a_table_and_says_how_many_rows(run):
    result = await run(COUNT)
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["n", "──", "80"] or "80" in result.stdout.split()
    assert result.stderr == "1 row\n"


@on_module_loop
async def test_it_comes_from_a_file_or_from_stdin(run, tmp_path):
    (tmp_path / "q.sql").write_text(COUNT)
    assert (await run("-f", str(tmp_path / "q.sql"), "--csv")).stdout == '"n"\n80\n'
    assert (await run("--csv", typed=COUNT)).stdout == '"n"\n80\n'


@on_module_loop
async def test_parameters_are_values_and_never_sql(run):
    result = await run("SELECT $a + 1 AS a, $b AS b", "-p", "a=3", "-p", "b='; DROP TABLE x", "--json")
    assert json.loads(result.stdout)["rows"] == [[4, "'; DROP TABLE x"]]
    assert (await run("SELECT $a", "-p", "a")).exit_code == 2


@on_module_loop
async def test_a_file_is_written_whole_or_not_at_all(run, tmp_path):
    place = tmp_path / "x.parquet"
    assert (await run("SELECT * FROM hmi.v_45s", "--parquet", str(place))).exit_code == 0
    assert pyarrow.parquet.read_table(place).num_rows == 80
    result = await run("SELECT nothing FROM hmi.v_45s", "--arrow", str(tmp_path / "y.arrow"))
    assert result.exit_code == 1
    assert [p.name for p in tmp_path.iterdir()] == ["x.parquet"]


@on_module_loop
async def test_a_search_takes_a_condition_in_sql(mirror):
    async def search(*arguments):
        given = ["search", "hmi.v_45s[2014.01.01_TAI/1h]", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, main, given, env={"MIRROR_URL": mirror.url})

    found = await search("--where", "datamean > 2 AND quality = 0", "--key", "DATAMEAN", "-n", "3", "--csv")
    values = found.stdout.split()[1:]
    assert len(values) == 3
    assert all(float(value) > 2 for value in values)
    assert found.stderr.startswith("3 records; from the cache")
    wrong = await search("--where", "foo > 2")
    assert (wrong.exit_code, "foo > 2\n  ^" in wrong.stderr) == (1, True)
    assert (await search("--where", "TRUE", "--open", "1")).exit_code == 2


@on_module_loop
async def test_an_error_shows_the_place(run):
    result = await run("SELECT foo FROM hmi.v_45s")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-2:] == ["  SELECT foo FROM hmi.v_45s", "         ^"]


@on_module_loop
async def test_the_prompt_runs_statements_until_it_is_left(mirror, tmp_path, monkeypatch, capsys):
    from mirror.api.sql import SqlQuery
    from mirror.cli.sql import Here, run
    from mirror.cli.support.daemon import Daemon
    from mirror.cli.support.prompt import prompt

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    daemon = Daemon(mirror.url)

    def session() -> None:
        with create_pipe_input() as typed, create_app_session(input=typed, output=DummyOutput()):
            typed.send_text("SELECT count(*) AS n\r FROM hmi.v_45s;\rSELECT nothing;\rquit\r")
            prompt(daemon, lambda statement: run(Here(daemon), SqlQuery(query=statement), "json"))

    await asyncio.to_thread(session)
    out, err = capsys.readouterr()
    assert '"rows": [[80]]' in out
    assert "nothing" in err
    assert "SELECT count(*) AS n" in (tmp_path / "jsoc-mirror" / "sql-history").read_text()


@on_module_loop
async def test_fill_fetches_what_a_record_set_lacks(run):
    statement = "SELECT count(*) AS n FROM jsoc('hmi.v_45s[2014.01.02_TAI/10m]')"
    refused = await run(statement, "--csv")
    assert refused.exit_code == 1
    assert "T_REC 2014.01.02_00:00:00_TAI to" in refused.stderr
    assert (await run(statement, "--csv", "--fill")).stdout.split() == ['"n"', "13"]
    assert (await run(statement, "--csv")).stdout.split() == ['"n"', "13"]


@on_module_loop
async def test_several_statements_are_answered_one_after_the_other(run):
    done = await run(typed="SELECT 80 AS n;\nSELECT ';' AS b; -- the end;\n")
    assert (done.exit_code, done.stdout.split()) == (0, ["n", "──", "80", "b", "─", ";"])
    assert (await run("SELECT $a AS x; SELECT $b AS y", "-p", "a=1", "-p", "b=2", "--csv")).stdout.split() == ['"x"', "1", '"y"', "2"]
    assert (await run("SELECT 1; SELECT 2", "--parquet", "x.parquet")).exit_code == 2


@on_module_loop
async def test_commands_of_other_shells_list_tables_and_columns(run):
    tables = (await run(r"\d")).stdout.split()
    assert {"hmi.v_45s", "hmi.v_45s__old", "mirror.series"} <= set(tables)
    assert (await run(".tables")).stdout.split() == tables
    assert "DATAMEAN" in (await run(r"\d hmi.v_45s")).stdout


@on_module_loop
async def test_waiting_fetches_the_record_sets_of_a_statement_first(run):
    done = await run("SELECT count(*) AS n FROM jsoc('hmi.v_45s[2014.01.01_05:00_TAI/10m]')", "--wait", "--csv")
    assert (done.exit_code, done.stdout.split()) == (0, ['"n"', "13"])


def test_commands_at_the_prompt_need_no_semicolon():
    lines = ["help", r"\d hmi.v_45s", "SELECT 1", "  ;", ".tables", "quit", "SELECT 2;"]
    assert list(statements(lines)) == ["help", r"\d hmi.v_45s", "SELECT 1\n  ;", ".tables"]


def test_names_are_completed_columns_of_named_series_first():
    names = Names({"hmi.v_45s": ["T_REC", "DATAMEAN"], "hmi.m_45s": ["DATAMEDN"]})
    assert names.candidates("SELECT da FROM hmi.v_45s", "da") == ["DATAMEAN", "DATE", "DATE_TRUNC"]
    assert names.candidates("SELECT * FROM hm", "hm") == ["hmi.v_45s", "hmi.m_45s"]
    assert names.candidates("SELECT ", "") == []


@given(
    st.lists(
        st.text(st.characters(exclude_characters=";\n\r", exclude_categories=["Cs", "Zs", "Cc"]), min_size=1)
    )
)
def test_every_statement_that_ends_is_run_once(typed):
    typed = [text for text in typed if text.lower() not in ("quit", "exit") and text[0] not in "\\."]
    lines = [line for text in typed for line in (text[: len(text) // 2] or "x", text[len(text) // 2 :] + ";")]
    assert len(list(statements([*lines, "quit", "never run;"]))) == len(typed)
