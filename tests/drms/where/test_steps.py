"""A condition taken apart into steps decides what it decides as one expression."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import duckdb
import pytest
from hypothesis import settings

from mirror.drms.where import ColumnInfo, bind_where, parse_where, to_duckdb
from mirror.drms.where.steps import in_steps
from mirror.errors import BadRequest
from tests.drms.where.pgtable import COLUMNS, ROWS

TABLE = Path(__file__).parents[2] / "data" / "where" / "postgresql.json.gz"
SQL_TYPES = {
    "int": "INTEGER", "short": "SMALLINT", "longlong": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "time": "DOUBLE",
    "string": "VARCHAR",
}  # fmt: skip
HELD = {
    name: ColumnInfo(f'"{name}"', type_, 0.0, 0.0051 if type_ in ("float", "double", "time") else 0.0)
    for name, type_ in COLUMNS.items()
}


@pytest.fixture(scope="module")
def database():
    with duckdb.connect() as connection:
        columns = ", ".join(f'"{name}" {SQL_TYPES[type_]}' for name, type_ in COLUMNS.items())
        connection.execute(f"CREATE TABLE held (n INTEGER, {columns})")
        marks = ", ".join("?" * (len(COLUMNS) + 1))
        connection.executemany(f"INSERT INTO held VALUES ({marks})", [[n, *row] for n, row in enumerate(ROWS)])
        yield connection


def by_steps(steps, source="held"):
    for level in steps.levels:
        source = f"(SELECT *, {', '.join(f'{sql} AS {name}' for name, sql in level)} FROM {source})"
    return f"SELECT {steps.condition} FROM {source} ORDER BY n"


def conditions():
    table = json.loads(gzip.decompress(TABLE.read_bytes()))
    every = 1 if settings.get_current_profile_name() == "deep" else 25
    for condition, _ in table[::every]:
        try:
            yield condition, to_duckdb(bind_where(parse_where(condition), COLUMNS), HELD)
        except BadRequest:
            continue


def test_conditions_made_by_chance_are_decided_alike(database):
    seen = 0
    for condition, sql in conditions():
        steps = in_steps(sql)
        assert (steps is None) == ("list_transform" not in sql), condition
        if steps is None:
            continue
        seen += 1
        assert "list_transform" not in by_steps(steps)
        assert database.execute(by_steps(steps)).fetchall() == database.execute(f"SELECT {sql} FROM held ORDER BY n").fetchall()
    assert seen > 10


def sql_of(condition):
    types = {"a": "double", "b": "double", "name": "string"}
    columns = {name: ColumnInfo(f'"{name}"', type_, 0.25 if type_ == "double" else 0.0) for name, type_ in types.items()}
    return to_duckdb(bind_where(parse_where(condition), types), columns)


def test_what_is_written_twice_is_computed_once():
    twice, once = (
        [step for level in in_steps(sql_of(condition)).levels for step in level]
        for condition in ("sqrt(a * b) < 3 OR sqrt(a * b) > 5", "sqrt(a * b) < 3")
    )
    assert len({name for name, _ in twice}) == len({sql for _, sql in twice}) == len(twice)
    assert len(twice) <= len(once) + 1  # the other constant


@pytest.mark.parametrize("text", ["it''s", "list_transform([1], lambda v: v)[1]", "a), (b", "[[", "''x"])
def test_text_in_quotes_is_left_alone(text):
    for condition in (f"name = '{text}' AND sqrt(a) + sqrt(b) < 3", f"sqrt(a) + sqrt(b) < 3 AND name = '{text}'"):
        steps = in_steps(sql_of(condition))
        assert f"'{text}'" in steps.condition
        assert "_step" in steps.condition


@pytest.mark.parametrize(
    "sql", ["list_transform([a, lambda v: v)[1]", "list_transform([a], lambda v: (v)[1]", "list_transform([a], x -> x)"]
)
def test_what_is_not_of_that_form_is_not_taken_apart(sql):
    assert in_steps(sql) is None
