"""A small lake, and workers on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
import pytest_asyncio

from mirror.services.sql.messages import Form, Limits, Params, Question, View
from mirror.services.sql.processes import WorkerLimits, Workers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

#: Enough for DuckDB to work, little enough for bombs to go off quickly.
MEMORY = 200_000_000


class Sql:
    """Asks a small pool of workers over the table hmi.v_45s of 1,000 records."""

    def __init__(self, folder: Path, **powers: int) -> None:
        self.folder = folder
        self.file = folder / "hmi.v_45s" / "2014-01.1.parquet"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect() as connection:
            select = "SELECT range AS recnum, range * 0.5 AS datamean, range % 7 AS quality FROM range(1000)"
            connection.execute(f"COPY ({select}) TO '{self.file}' (FORMAT parquet)")
        self.view = View(
            "hmi.v_45s", f"SELECT * FROM read_parquet(['{self.file}'])", "Dopplergrams", {"quality": "bits"}
        )
        self.workers = Workers(folder, WorkerLimits(**({"places": 2, "memory": MEMORY, "threads": 1} | powers)))

    async def bytes(
        self, sql: str, params: Params = (), form: Form = "json", principal: str = "", **limits: Any
    ) -> bytes:
        """The whole answer."""
        question = Question(sql, params, form, (self.view,), Limits(**limits))
        async with self.workers.run(question, principal) as answer:
            return b"".join([piece async for piece in answer.pieces])

    async def rows(self, sql: str, params: Params = (), **limits: Any) -> list[list[Any]]:
        """The rows of the answer."""
        rows: list[list[Any]] = json.loads(await self.bytes(sql, params, **limits))["rows"]
        return rows


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sql(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sql]:
    """One pool for all tests of a module: to start a process takes longer than most of them."""
    asking = Sql(tmp_path_factory.mktemp("sql") / "lake")
    yield asking
    await asking.workers.stop()
