"""The SQL console without a browser: its examples run, statements are kept, the page is safe."""

from __future__ import annotations

import json

import pytest
import pytest_asyncio

from mirror.server.pages.console import examples
from tests.lab import lab
from tests.server.webcheck import Page

pytestmark = pytest.mark.asyncio(loop_scope="module")
JSON = {"Content-Type": "application/json"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask("hmi.v_45s[2014.01.01_TAI/1h]")
        await made.ask("hmi.sharp_720s[3536][2014.01.01_TAI/1h]")
        yield made


async def change(mirror, method, body):
    return await mirror.request(method, "/api/queries", data=json.dumps(body), headers=JSON)


async def names(mirror):
    return [q["name"] for q in (await mirror.get("/api/queries")).json]


async def test_there_are_examples_and_each_of_them_runs(mirror):
    assert len(examples()) >= 6
    for example in examples():
        answer = await mirror.request("POST", "/api/sql", data=example.sql)
        assert answer.code == 200, (example.name, answer.body)
        assert answer.json["columns"]


async def test_the_page_has_the_statement_of_its_address_as_text(mirror):
    hostile = "SELECT '</textarea><script>alert(1)</script>'"
    page = Page((await mirror.get("/sql", {"query": hostile})).body.decode())
    assert page.problems == []
    assert hostile in page.text


async def test_a_statement_is_kept_replaced_and_forgotten(mirror):
    kept = (await change(mirror, "POST", {"name": " Mean  velocity ", "sql": "SELECT 1"})).json
    assert (kept["name"], kept["saved_by"]) == ("Mean velocity", "127.0.0.1")
    assert (await change(mirror, "POST", {"name": "mean VELOCITY", "sql": "SELECT 2"})).code == 201
    assert [(q["name"], q["sql"]) for q in (await mirror.get("/api/queries")).json] == [("mean VELOCITY", "SELECT 2")]
    assert "mean VELOCITY" in (await mirror.get("/sql")).body.decode()
    assert (await change(mirror, "DELETE", {"name": "Mean Velocity"})).code == 200
    assert await names(mirror) == []
    assert (await change(mirror, "DELETE", {"name": "Mean Velocity"})).code == 404


async def test_statements_outlive_a_restart(tmp_path):
    async with lab(tmp_path) as made:
        await change(made, "POST", {"name": "a", "sql": "SELECT 1"})
        await made.restart()
        assert await names(made) == ["a"]


@pytest.mark.parametrize(
    "body, code, field",
    [
        ({"name": "", "sql": "SELECT 1"}, 400, "name"),
        ({"name": "x" * 81, "sql": "SELECT 1"}, 400, "name"),
        ({"name": "a", "sql": "  "}, 400, "sql"),
        ({"name": "a"}, 400, "sql"),
        ({"name": "a", "sql": "x" * 100_001}, 413, None),
        ({"name": 1, "sql": "SELECT 1"}, 400, None),
    ],
)
async def test_what_cannot_be_kept_is_told(mirror, body, code, field):
    answer = await change(mirror, "POST", body)
    assert answer.code == code
    assert list(answer.json.get("fields", {})) == ([field] if field else [])
    assert await names(mirror) == []
