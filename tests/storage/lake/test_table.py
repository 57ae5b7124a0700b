"""lake/catalog.duckdb: whatever opens DuckDB's files sees every cached series, as of now."""

from __future__ import annotations

import duckdb
import pytest

from tests.lab import lab

HOUR, TWO = "hmi.v_45s[2014.01.01_TAI/1h]", "hmi.v_45s[2014.01.01_TAI/2h]"


def opened(mirror):
    return duckdb.connect(str(mirror.path / "lake" / "catalog.duckdb"), read_only=True)


async def idle(mirror):
    mirror.clock.forward(minutes=11)
    await mirror.running.upkeep.tick()


@pytest.fixture
async def mirror(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(HOUR)
        await made.get("/cgi-bin/ajax/jsoc_info", {"op": "series_struct", "ds": "hmi.sharp_720s"})
        await idle(made)
        yield made


async def test_every_series_is_there_whether_or_not_it_has_records(mirror):
    with opened(mirror) as catalogue:
        names = {f"{schema}.{table}" for schema, table in catalogue.execute("SELECT schema, name FROM (SHOW ALL TABLES)").fetchall()}
        assert names == {"hmi.v_45s", "hmi.v_45s__old", "hmi.sharp_720s", "hmi.sharp_720s__old"}
        assert catalogue.execute("SELECT count(*), min(t_rec)::VARCHAR FROM hmi.v_45s").fetchone() == (80, "2013-12-31 23:59:25")
        assert catalogue.execute("SELECT usflux FROM hmi.sharp_720s").fetchall() == []
        (note,) = catalogue.execute("SELECT comment FROM duckdb_views() WHERE view_name = 'v_45s'").fetchone()
        assert note


async def test_it_follows_what_is_cached_and_leaves_alone_who_has_it_open(mirror):
    with opened(mirror) as before:
        await mirror.ask(TWO)
        await idle(mirror)
        assert before.execute("SELECT count(*) FROM hmi.v_45s").fetchone() == (80,)
    with opened(mirror) as after:
        assert after.execute("SELECT count(*) FROM hmi.v_45s").fetchone()[0] >= 159


async def test_it_is_opened_from_anywhere_also_for_writing(mirror, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    place = mirror.path / "lake" / "catalog.duckdb"
    with duckdb.connect(str(place)) as plain:
        plain.execute("CREATE TABLE mine AS SELECT count(*) AS n FROM hmi.v_45s")
    assert not place.with_name("catalog.duckdb.part").exists()
    await mirror.ask(TWO)
    await idle(mirror)
    with opened(mirror) as again, pytest.raises(duckdb.CatalogException):
        again.execute("FROM mine")


async def test_a_statement_has_it_written_too(mirror, monkeypatch):
    monkeypatch.setattr("mirror.storage.lake.lake.QUICK", 60)
    await mirror.ask(TWO)
    await mirror.request("POST", "/api/sql", data=b"SELECT count(*) FROM hmi.v_45s")
    with opened(mirror) as after:
        assert after.execute("SELECT count(*) FROM hmi.v_45s").fetchone()[0] >= 159
