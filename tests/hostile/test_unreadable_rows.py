"""Rows of the store that cannot be read, damaged or of a newer version: each shows as that, and hides no other."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import duckdb
import pytest

from mirror.services.sql.mirror_tables import TABLES
from mirror.services.transfer.backup import describe
from tests.filelab import file_lab
from tests.lab import sql

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.filelab import FileLab

JSON = {"Content-Type": "application/json"}
HOUR = "hmi.m_720s[2014.01.01_00:00:00_TAI/1h]"
#: What lists something, for people and for programs.
LISTS = (
    "/", "/jobs", "/series", "/datasets", "/upkeep", "/subscriptions", "/sql", "/coverage",
    "/api/jobs", "/api/series", "/api/datasets", "/api/audit", "/api/usage", "/api/changes", "/api/news", "/api/feed.atom",
    "/api/pins", "/api/check", "/api/status", "/api/queries", "/api/subscriptions", "/api/sun", "/metrics", "/healthz",
)  # fmt: skip
_EXPORT = (
    "INSERT INTO mirror.jobs (id, identity, request, state, created, updated) "
    "SELECT '{id}', 'x', {request}, '{state}', {at}, updated FROM mirror.jobs LIMIT 1"
)
_FILL = "INSERT INTO mirror.fills SELECT 'FILL_20231114_{n}', {value}, 1.0 FROM mirror.fills LIMIT 1"
_CHECK = "INSERT INTO mirror.checks VALUES (999, '{scope}', false, {at}, NULL, '{step}', '{{bad', 0, 0, 0)"
#: Statements that damage a table, and what the lists then show of it.
DAMAGES = {
    "exports": (
        [
            _EXPORT.format(id="JSOC_20230101_901", request="'{bad'", state="waiting", at=1),
            _EXPORT.format(id="JSOC_20230101_902", request="request", state="paused", at=1),
            _EXPORT.format(id="JSOC_20230101_903", request="'{\"op\": \"exp_dream\"}'", state="waiting", at=1),
            _EXPORT.format(id="JSOC_20230101_904", request="request", state="done", at="'inf'"),
            _EXPORT.format(id="JSOC_20230101_905", request="'[]'", state="done", at=1),
        ],
        "/api/jobs",
        [f"job JSOC_20230101_90{n} cannot be read: " for n in range(1, 6)],
    ),
    "fills": (
        [
            _FILL.format(n="901", value="'{bad'"),
            _FILL.format(n="902", value="replace(value, 'done', 'dozing')"),
            _FILL.format(n="903", value="replace(value, '\"total\": 0', '\"total\": \"many\"')"),
            _FILL.format(n="strange", value="'[1]'"),
        ],
        "/api/jobs",
        [f"fill FILL_20231114_{n} cannot be read: " for n in ("901", "902", "903", "strange")],
    ),
    "structures": (
        [
            "INSERT INTO mirror.series VALUES ('hmi.damaged', '{bad', 1.0)",
            "INSERT INTO mirror.series VALUES ('hmi.newer', '{\"status\": 0, \"format\": 2}', 1.0)",
        ],
        "/api/series",
        ["cannot be read: not a JSON answer", "cannot be read: member 'note'"],
    ),
    "coverage": (["INSERT INTO mirror.coverage VALUES (999, 'hmi.m_720s', '{bad', 0, 1, 1, 1.0)"], "/api/series", []),
    "coverage of none": (["INSERT INTO mirror.coverage VALUES (999, 'hmi.x', '{}', 0, 1, 1, 1.0)"], "/api/series", []),
    "key sets": (["INSERT INTO mirror.keysets VALUES (999, 'hmi.m_720s', '{bad')"], "/api/series", []),
    "audit": (
        ["INSERT INTO mirror.audit VALUES ('inf', 'a', 'b', 'c', '{', 1)", "INSERT INTO mirror.audit VALUES ('nan', 'a', 'b', 'c', '{', 1)"],
        "/api/audit",
        ["9999-12-31T23:59:59Z"],
    ),
    "changes": (["INSERT INTO mirror.changes VALUES ('hmi.gone', 1, NULL, '[[bad', 'inf')"], "/api/changes", ["[[bad"]),
    "checks": ([_CHECK.format(scope="universe", at=1, step="dance")], "/api/check", []),
    "steps": ([_CHECK.format(scope="index", at=1, step="dance"), "INSERT INTO mirror.findings VALUES (999, 1, 'a', 'b', 'c', 'new', 'd')"], "/api/check", []),
    "moments": ([_CHECK.format(scope="index", at="'inf'", step="records")], "/api/check", []),
    "places": ([_CHECK.format(scope="index", at=1, step="records")], "/api/check", ['"scope":"index"']),
    "blobs": (
        ["INSERT INTO mirror.blobs VALUES (1, '../../x', 5, 1, 'nan', 'inf')", "INSERT INTO mirror.holdings VALUES ('hmi.m_720s', 1, 'magnetogram', 1, 1, '../x', 'SUM1', '../../x', 1, '../../x')"],
        "/api/status",
        [],
    ),
    "data sets": (["INSERT INTO mirror.datasets SELECT 'bad', title, created, software, '{bad', keywords, sha256 FROM mirror.datasets"], "/api/datasets", ['"name":"bad"', '"name":"good"']),
    "pins": (["INSERT INTO mirror.pins VALUES ('zz', 'a', 'b', 'inf', 1e300)"], "/api/pins", []),
    "small tables": (
        [f"INSERT INTO mirror.{table} VALUES ('{key}', '{{bad', 2.0)" for table, key in (("series_lists", "show_series"), ("print_formats", "hmi.m_720s"), ("budget", "budget"))],
        "/api/status",
        [],
    ),
}  # fmt: skip


async def _post(mirror: FileLab, path: str, **body: object) -> None:
    answer = await mirror.request("POST", path, data=json.dumps(body), headers=JSON)
    assert answer.code < 300, answer.body


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a mirror that was stopped: an hour of records, a fill, an export and a data set."""
    path = tmp_path_factory.mktemp("store")

    async def make() -> None:
        async with file_lab(path) as mirror:
            await mirror.ask(HOUR)
            await _post(mirror, "/api/fill", ds=HOUR)
            await _post(mirror, "/api/jobs", ds=f"{HOUR}{{magnetogram}}", n=1)
            await mirror.working()
            await _post(mirror, "/api/datasets", name="good", ds=[HOUR])

    asyncio.run(make())
    return path


@asynccontextmanager
async def damaged(store: Path, path: Path, statements: list[str]) -> AsyncIterator[FileLab]:
    """A mirror that starts on a copy of that store whose rows are damaged."""
    shutil.copytree(store, path, dirs_exist_ok=True)
    with duckdb.connect(str(path / "index.duckdb")) as database:
        for statement in statements:
            database.execute(statement)
    async with file_lab(path) as mirror:
        yield mirror


@pytest.mark.parametrize("kind", DAMAGES)
async def test_a_row_that_cannot_be_read_shows_as_that_and_hides_no_other(kind, store, tmp_path):
    statements, path, shown = DAMAGES[kind]
    async with damaged(store, tmp_path, statements) as mirror:
        codes = {listing: (await mirror.get(listing)).code for listing in LISTS}
        assert set(codes.values()) == {200}, codes
        body = (await mirror.get(path)).body.decode()
        assert [text for text in shown if text not in body] == []
        jobs = {job["id"]: job["state"] for job in (await mirror.get("/api/jobs")).json}
        told = {table: (await sql(mirror, f"SELECT * FROM mirror.{table}")).code for table in TABLES}
        assert set(told.values()) == {200}, told
        good = {state for job, state in jobs.items() if "_900001" in job or job.endswith("_001")}
        assert good == {"done"}, jobs
        assert (await mirror.ask(HOUR)).json["count"] == 5


async def test_a_job_that_cannot_be_read_is_looked_at_left_alone_and_not_given_again(store, tmp_path):
    async with damaged(store, tmp_path, DAMAGES["exports"][0] + DAMAGES["fills"][0]) as mirror:
        for job in ("JSOC_20230101_902", "FILL_20231114_902"):
            assert "cannot be read" in (await mirror.get(f"/api/jobs/{job}")).json["error"]
            assert "cannot be read" in (await mirror.get(f"/jobs/{job}")).body.decode()
            answer = await mirror.request("DELETE", f"/api/jobs/{job}", data="{}", headers=JSON)
            assert (answer.code, answer.json["state"]) == (200, "unreadable")
        status = await mirror.get("/cgi-bin/ajax/jsoc_fetch", {"op": "exp_status", "requestid": "JSOC_20230101_902"})
        assert (status.code, status.json["status"]) == (200, 1)
        assert "job JSOC_20230101_902 cannot be read: its state is 'paused'" in status.json["error"]
        await _post(mirror, "/api/fill", ds="hmi.m_720s[2014.01.01_02:00:00_TAI/1h]")
        assert mirror.running.fills.list()[0].id == "FILL_20231114_904", "higher than any number of the day"
        await mirror.stop()
        with duckdb.connect(str(tmp_path / "index.duckdb")) as database:
            left = database.execute("SELECT count(*) FROM mirror.fills WHERE value = '{bad'").fetchall()
        assert left == [(1,)], "it stays as it is written"


async def test_a_structure_that_cannot_be_read_is_fetched_again_and_its_records_with_it(store, tmp_path):
    damage = ["UPDATE mirror.series SET structure = '{bad' WHERE lower(name) = 'hmi.m_720s'"]
    async with damaged(store, tmp_path, damage) as mirror:
        assert await mirror.recnums(HOUR) == await mirror.upstream(HOUR)
        assert "cannot be read" not in (await mirror.get("/api/series")).body.decode()
        await mirror.restart()
        await mirror.faults({"fault": "outage"})
        assert (await mirror.ask(HOUR)).json["count"] == 5


async def test_a_data_set_that_cannot_be_read_says_so_and_can_be_deleted(store, tmp_path):
    async with damaged(store, tmp_path, DAMAGES["data sets"][0]) as mirror:
        answer = await mirror.get("/api/datasets/bad")
        assert (answer.code, answer.json["error"][:30]) == (507, "data set bad cannot be read: E")
        assert (await mirror.get("/api/datasets/good")).code == 200
        assert (await mirror.request("DELETE", "/api/datasets/bad", data="{}", headers=JSON)).code == 200
        assert [line["name"] for line in (await mirror.get("/api/datasets")).json] == ["good"]


def test_a_backup_whose_manifest_cannot_be_read_is_listed_with_the_reason(tmp_path):
    for name, text in (("2026-11-28T00-00-00Z", "{bad"), ("2026-11-29T00-00-00Z", '{"format": "jsoc-mirror backup", "version": 99}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(text)
    newer, damaged_one = describe(tmp_path)
    assert str(newer.problem).startswith("cannot be read: ")
    assert "use a newer jsoc-mirror" in str(newer.problem)
    assert "is no JSON" in str(damaged_one.problem)


async def test_folders_among_broken_off_downloads_keep_no_store_from_opening(tmp_path):
    (tmp_path / "incoming" / "folder.part").mkdir(parents=True)
    async with file_lab(tmp_path) as mirror:
        assert (await mirror.get("/healthz")).code == 200
