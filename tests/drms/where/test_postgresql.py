"""Conditions made by chance: what is decided here is what PostgreSQL said to them.

``tests/data/where`` has what it said (see ``pgtable``). ``MIRROR_TEST_POSTGRES``, the directory of the socket of a
PostgreSQL with the user of that name in ``MIRROR_TEST_POSTGRES_USER``, has others asked that nobody asked before.
"""

import gzip
import json
import math
import os
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.drms.times import MISSING_TIME
from mirror.drms.where import ColumnInfo, Unread, bind_where, parse_where, to_duckdb
from mirror.errors import BadRequest
from tests.drms.where.pgtable import COLUMNS, ROWS, ask, made

TABLE = Path(__file__).parents[2] / "data" / "where" / "postgresql.json.gz"
SQL_TYPES = {
    "int": "INTEGER", "short": "SMALLINT", "longlong": "BIGINT", "float": "FLOAT", "double": "DOUBLE", "time": "DOUBLE",
    "string": "VARCHAR",
}  # fmt: skip
INEXACT = ("float", "double", "time")
MISSING = {"int": -(2**31), "short": -(2**15), "longlong": -(2**63), "string": "", "time": MISSING_TIME}
#: Held as it was stored, and held as it was printed with three digits.
EXACT = {name: ColumnInfo(f'"{name}"', type_) for name, type_ in COLUMNS.items()}
PRINTED = {
    name: ColumnInfo(f'"{name}"', type_, 0.0, 0.0051 if type_ in INEXACT else 0.0) for name, type_ in COLUMNS.items()
}


def printed(value, type_):
    """A value as the mirror holds it: a missing one as NULL, others with three digits."""
    if value is None or value != value or value == MISSING.get(type_):  # noqa: PLR0124
        return None
    if type_ == "string" or isinstance(value, int):
        return value
    return None if math.isclose(value, MISSING_TIME, rel_tol=1e-6) else float(f"{value:.3g}")


@pytest.fixture(scope="module")
def database():
    with duckdb.connect() as connection:
        for table in ("exact", "printed"):
            columns = ", ".join(f'"{name}" {SQL_TYPES[type_]}' for name, type_ in COLUMNS.items())
            connection.execute(f"CREATE TABLE {table} (n INTEGER, {columns})")
        marks = ", ".join("?" * (len(COLUMNS) + 1))
        for n, row in enumerate(ROWS):
            connection.execute(f"INSERT INTO exact VALUES ({marks})", [n, *row])
            held = [printed(value, type_) for value, type_ in zip(row, COLUMNS.values(), strict=True)]
            connection.execute(f"INSERT INTO printed VALUES ({marks})", [n, *held])
        yield connection


def difference(database, condition, said):
    """What is wrong with what is decided here; None if nothing is. How many verdicts there were comes with it."""
    try:
        tree = bind_where(parse_where(condition), COLUMNS)
    except BadRequest as problem:
        # Refused at once is what PostgreSQL refuses too, for every row that it does not read as NULL.
        return (None if set(said) & set("SE") else f"{condition}\n  {said}\n  {problem}"), 0
    assert isinstance(tree, Unread) or parse_where(str(parse_where(condition))) == parse_where(condition)
    decided = 0
    for table, held in (("exact", EXACT), ("printed", PRINTED)):
        rows = database.execute(f"SELECT {to_duckdb(tree, held)} FROM {table} ORDER BY n").fetchall()
        for (verdict,), truth in zip(rows, said, strict=True):
            decided += verdict is not None
            # An error there may be hidden here by an AND or OR: what is left of them decides.
            if verdict is not None and truth not in "SE" and verdict is not (truth == "t"):
                shown = "".join({True: "t", False: "f", None: "?"}[v] for (v,) in rows)
                return f"{condition}\n  {said}\n  {shown} ({table})", decided
    return None, decided


def test_what_is_decided_is_what_postgresql_said(database):
    table = json.loads(gzip.decompress(TABLE.read_bytes()))
    every = 1 if settings.get_current_profile_name() == "deep" else 12
    found = [difference(database, condition, said) for condition, said in table[::every]]
    problems = [problem for problem, _ in found if problem]
    assert not problems, "\n".join(problems[:10])
    # All but few: what is not decided is forwarded.
    assert sum(decided for _, decided in found) > 0.7 * 2 * len(ROWS) * len(found)


@pytest.mark.skipif("MIRROR_TEST_POSTGRES" not in os.environ, reason="asks a PostgreSQL that runs here")
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(10, 10**9))
def test_what_is_decided_is_what_postgresql_says_now(database, seed):
    conditions = made(seed, 20)
    socket, user = os.environ["MIRROR_TEST_POSTGRES"], os.environ.get("MIRROR_TEST_POSTGRES_USER", "postgres")
    for condition, said in zip(conditions, ask(socket, user, conditions), strict=True):
        problem, _ = difference(database, condition, said)
        assert problem is None, problem
