"""SQL through the whole mirror: the tables are those of the index, as of now."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
import pytest_asyncio

from mirror.drms.times import parse_time
from tests.lab import Lab, lab, rows, sql

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY = "hmi.v_45s[2014.01.01_TAI/1d]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask(DAY)
        yield made


async def printed(mirror: Lab, ds: str, key: str) -> list[str]:
    return (await mirror.ask(ds, key)).json["keywords"][0]["values"]


async def test_a_series_is_a_table_of_its_own_name(mirror):
    [[count, first]] = await rows(mirror, "SELECT count(*), min(t_rec_tai) FROM hmi.V_45S")
    texts = await printed(mirror, DAY, "T_REC")
    assert (count, first) == (len(texts), min(map(parse_time, texts)))


async def test_values_are_those_of_the_search(mirror):
    texts = await printed(mirror, DAY, "DATAMEAN")
    found = await rows(mirror, 'SELECT "DATAMEAN" FROM "hmi"."v_45s" ORDER BY t_rec')
    assert [value for [value] in found] == [None if t in {"MISSING", "nan"} else float(t) for t in texts]


async def test_quality_is_an_integer_with_its_bits(mirror):
    texts = await printed(mirror, DAY, "QUALITY")
    found = await rows(mirror, "SELECT quality::BIGINT & 4294967295 FROM hmi.v_45s ORDER BY t_rec")
    assert [value for [value] in found] == [int(t, 16) for t in texts]


async def test_columns_carry_units_and_notes(mirror):
    found = await rows(
        mirror,
        "SELECT comment FROM duckdb_columns() WHERE table_name = 'v_45s' AND column_name = 'CRLT_OBS' "
        "-- of hmi.v_45s",
    )
    [[units, note]] = await rows(
        mirror, "SELECT units, note FROM mirror.keywords WHERE series ILIKE 'hmi.v_45s' AND keyword = 'CRLT_OBS'"
    )
    assert found == [[f"[{units}] {note}".replace("] ", "]: ") if note else f"[{units}]"]]


async def test_a_query_sees_what_was_filled_just_before(mirror):
    [[before]] = await rows(mirror, "SELECT count(*) FROM hmi.v_45s")
    new = await mirror.recnums("hmi.v_45s[2014.01.02_TAI/1h]")
    [[after]] = await rows(mirror, "SELECT count(*) FROM hmi.v_45s")
    assert new
    assert after == before + len(new)


async def test_a_new_version_takes_the_place_of_the_old_which_stays_to_be_read(tmp_path):
    async with lab(tmp_path) as made:
        held = await made.recnums("hmi.v_45s[2014.01.01_TAI/10m]")
        assert await rows(made, "SELECT count(*) FROM hmi.v_45s__old") == [[0]]
        new = await made.reprocess("hmi.v_45s[2014.01.01_TAI/90s]")
        made.clock.forward(days=365)
        await made.ask("hmi.v_45s[2014.01.01_TAI/10m]")
        kept = [n for [n] in await rows(made, "SELECT recnum FROM hmi.v_45s ORDER BY t_rec")]
        assert set(new) < set(kept)
        assert len(kept) == len(held)
        old = {n for [n] in await rows(made, "SELECT recnum FROM hmi.v_45s__old")}
        assert old == set(held) - set(kept)


async def test_a_file_that_was_replaced_stays_for_an_hour(tmp_path):
    async with lab(tmp_path) as made:

        async def files() -> list[str]:
            assert (await sql(made, "SELECT 1 FROM hmi.v_45s LIMIT 1")).code == 200
            return sorted(p.name for p in (tmp_path / "lake" / "hmi.v_45s").iterdir())

        made.clock.seconds = time.time()
        await made.ask("hmi.v_45s[2014.01.01_TAI/10m]")
        assert await files() == ["2014-01.1.parquet"]
        made.clock.forward(days=1)
        await made.ask("hmi.v_45s[2014.01.01_TAI/20m]")
        assert await files() == ["2014-01.1.parquet", "2014-01.2.parquet"]
        made.clock.forward(minutes=59)
        await made.ask("hmi.v_45s[2014.01.01_TAI/30m]")
        assert await files() == ["2014-01.1.parquet", "2014-01.2.parquet", "2014-01.3.parquet"]
        made.clock.forward(minutes=2)
        await made.ask("hmi.v_45s[2014.01.01_TAI/40m]")
        assert "2014-01.1.parquet" not in await files()


async def test_the_lake_can_be_read_by_anybody(mirror):
    await sql(mirror, "SELECT 1 FROM hmi.v_45s LIMIT 1")
    manifest = json.loads((mirror.path / "lake" / "manifest.json").read_text())
    files = [str(mirror.path / "lake" / f["file"]) for f in manifest["tables"]["hmi.v_45s"]]
    with duckdb.connect() as reader:
        found = reader.execute("SELECT count(*), min(T_REC) FROM read_parquet(?)", [files]).fetchone()
    assert list(found or ()) != [0, None]
    assert sum(f["records"] for f in manifest["tables"]["hmi.v_45s"]) == (found or [0])[0]


async def test_what_has_not_changed_is_not_written_again(mirror):
    async def files() -> dict[Path, int]:
        """The files of months, once all is sealed, which no statement waits for."""
        analytics = mirror.running.analytics
        series, _ = analytics._index.series("hmi.v_45s")
        await analytics._lake.tables(series)
        return {p: p.stat().st_mtime_ns for p in (mirror.path / "lake").rglob("20*.parquet")}

    await sql(mirror, "SELECT 1 FROM hmi.v_45s LIMIT 1")
    before = await files()
    assert before
    await sql(mirror, "SELECT 1 FROM hmi.v_45s LIMIT 1")
    await mirror.restart()
    await sql(mirror, "SELECT 1 FROM hmi.v_45s LIMIT 1")
    assert await files() == before


@pytest.mark.parametrize("table", ["series", "keywords", "segments", "coverage", "holdings", "jobs", "subscriptions"])
async def test_the_mirror_is_described_by_tables(mirror, table):
    answer = await sql(mirror, f"SELECT * FROM mirror.{table}")
    assert answer.code == 200, answer.body
    if table in {"series", "keywords", "segments", "coverage"}:
        assert answer.json["rows"]


async def test_arrow_comes_as_a_stream_of_its_type(mirror):
    headers = {"Accept": "application/vnd.apache.arrow.stream"}
    answer = await mirror.request("POST", "/api/sql", data="SELECT t_rec, quality FROM hmi.v_45s", headers=headers)
    table = pa.ipc.open_stream(io.BytesIO(answer.body)).read_all()
    assert answer.headers["Content-Type"] == "application/vnd.apache.arrow.stream"
    assert str(table.schema.field("T_REC").type) == "timestamp[us]"


async def test_a_short_statement_fits_into_the_address(mirror):
    answer = await mirror.get("/api/sql", {"query": "SELECT $a + 1 AS x", "params": '{"a": 1}', "format": "csv"})
    assert answer.body == b'"x"\n2\n'


@pytest.mark.parametrize(
    "body, code, words",
    [
        ("", 400, "missing statement"),
        ("SELECT foo FROM hmi.v_45s", 400, "foo"),
        ("DROP TABLE hmi.v_45s", 403, "read-only"),
        ("SELECT * FROM read_text('/etc/passwd')", 403, "disabled"),
        ("{", 400, "not JSON"),
        ('{"params": []}', 400, "missing statement"),
        ('{"query": "SELECT ?", "params": 1}', 400, "expected a list"),
        ('{"query": "SELECT ?", "params": [{"a": 1}]}', 400, "expected a list"),
        ("SELECT * FROM hmi.nowhere", 400, "nowhere"),
    ],
)
async def test_what_is_wrong_is_said(mirror, body, code, words):
    answer = await mirror.request("POST", "/api/sql", data=body)
    assert answer.code == code
    assert words in answer.json["error"]


async def test_an_error_says_where_it_is(mirror):
    answer = await mirror.request("POST", "/api/sql", data="SELECT foo FROM hmi.v_45s")
    assert answer.json["position"] == 7


async def test_an_unknown_format_is_named(mirror):
    answer = await mirror.request("POST", "/api/sql?format=xml", data="SELECT 1")
    assert answer.code == 400
    assert "arrow, json, csv, parquet" in answer.json["error"]


async def test_lists_and_other_values_with_parts_are_texts_in_csv(mirror):
    statement = "SELECT [1, 2] AS a, {'x': 1} AS b, INTERVAL 1 DAY AS c, ['é', NULL] AS d"
    answer = await mirror.get("/api/sql", {"query": statement, "format": "csv"})
    assert answer.code == 200, answer.body
    assert answer.body.decode().splitlines()[1].startswith('"[1, 2]","{""x"": 1}",')
    every = await mirror.get("/api/sql", {"query": "SHOW ALL TABLES", "format": "csv"})
    assert b'"hmi","v_45s"' in every.body and b'"mirror","series"' in every.body


@pytest.mark.parametrize(
    "name, told",
    [
        ("hmi.v_45", "there is no table hmi.v_45; did you mean hmi.v_45s"),
        ('"hmi"."V_45"', "did you mean hmi.v_45s"),
        ("v_45", "did you mean hmi.v_45s"),
        ("mirror.job", "did you mean mirror.jobs"),
        ("hmi.sharp_720s", "expected one of the series of which records are cached, which FROM mirror.series lists"),
        ("nowhere", "expected one of the series"),
        ("hmi.v_45s WHERE datameen > 1", "there is no column datameen; did you mean DATAMEDN or DATAMEAN"),
    ],
)
async def test_a_table_or_column_that_there_is_not_is_told_with_those_that_there_are(mirror, name, told):
    answer = await sql(mirror, f"SELECT count(*) FROM {name}")
    assert (answer.code, told in answer.json["error"]) == (400, True), answer.json
    assert "pg_catalog" not in answer.json["error"] and "main." not in answer.json["error"]
