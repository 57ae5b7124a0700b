"""An engine that speaks Spark Connect gives the rows that `mirror sql` gives, and knows times, slots and bits as it does."""

from __future__ import annotations

import asyncio
import json
import socket
import sys

import pytest
import pytest_asyncio

from mirror.cli.main import main
from mirror.errors import BadRequest, ClusterAway
from mirror.services.iceberg.spark import Spark
from mirror.services.iceberg.tables import PublishedTables
from mirror.services.sql.encoding import encoder
from tests.lab import lab, rows
from tests.servers import spark_server

V, SHARP = "hmi.v_45s", "hmi.sharp_720s"


@pytest_asyncio.fixture
async def mirror(tmp_path, monkeypatch):
    spark_server()
    # Without one, as in a worker of pytest-xdist, pyspark takes the program for its own doctests.
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "pytest", raising=False)
    (tmp_path / "store").mkdir()
    async with lab(tmp_path / "store", MIRROR_LAKE__ICEBERG=f"file://{tmp_path}/iceberg") as made:
        for ds in (f"{V}[2014.01.01_TAI/2h]", f"{SHARP}[3563][2014.01.01_TAI/2h]"):
            assert (await made.ask(ds, "**ALL**")).json["status"] == 0
        assert await made.running.publisher.publish() > 0
        yield made


@pytest_asyncio.fixture
async def spark(mirror, tmp_path):
    tables = PublishedTables.open(f"file://{tmp_path}/iceberg")
    index = mirror.running.search._catalogue._index
    made = await asyncio.to_thread(Spark, spark_server().address, tables, lambda name: index.series(name)[0])
    yield made
    await asyncio.to_thread(made.close)
    tables.close()


async def told(spark, sql, params=None):
    """Rows as /api/sql has them."""
    table = await asyncio.to_thread(spark.run, sql, params)
    made = encoder("json", [(field.name, str(field.type)) for field in table.schema], table.schema)
    return json.loads(b"".join([*map(made.batch, table.to_batches()), made.end()]))["rows"]


def alike(found, expected):
    """Sums of floating-point numbers depend on their order; all else does not."""
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        for x, y in zip(one, other, strict=True):
            assert x == (pytest.approx(y, rel=1e-12) if isinstance(y, float) else y)


STATEMENTS = [
    f"SELECT * FROM {V} ORDER BY recnum",
    f"SELECT * FROM {SHARP} ORDER BY recnum",
    f"SELECT count(*), min(t_rec), max(t_rec), avg(datamean) FROM {V} WHERE quality = 0",
    f"SELECT count(*) FROM {V} WHERE t_rec >= jsoc_time('2014.01.01_01:00_TAI') AND NOT quality_bit(quality, 31)",
    f"SELECT recnum, jsoc_seconds(t_rec), jsoc_time(t_rec_tai), slot('{V}', t_rec), slot('HMI.V_45s', t_rec_tai, 'T_REC') FROM {V} ORDER BY 1",
    f"SELECT recnum, quality_bits(quality), quality_bit(v.quality, 30) FROM {V} v ORDER BY recnum",
    "SELECT jsoc_time('2016.12.31_23:59:60_UTC'), jsoc_seconds('1977.01.01_TAI'), slot('hmi.v_45s', '2014.01.01_TAI')",
    "SELECT jsoc_time(1388534400.25), jsoc_time(0), jsoc_time(-1.5), jsoc_seconds(jsoc_time(1e9))",
    "SELECT series, records FROM mirror.series ORDER BY series",
    f"SELECT a.recnum FROM {V} a JOIN {SHARP} b ON a.t_rec = b.t_rec ORDER BY 1",
]


async def test_the_rows_are_those_of_mirror_sql(mirror, spark):
    for sql in STATEMENTS:
        alike(await told(spark, sql), await rows(mirror, sql))


async def test_columns_are_called_as_they_were_written(spark):
    sql = f"SELECT max(slot('{V}', t_rec)), count(*) AS n, quality_bits(max(quality)) FROM {V}"
    table = await asyncio.to_thread(spark.run, sql)
    assert table.column_names == [f"max(slot('{V}', t_rec))", "n", "quality_bits(max(quality))"]


async def test_what_is_wrong_is_said_and_tables_and_columns_are_those_that_are_published(spark):
    with pytest.raises(BadRequest, match=r"the cluster's engine says: .*nope"):
        await told(spark, f"SELECT nope FROM {V}")
    assert await told(spark, f"SELECT count(*) FROM {V} WHERE quality = :q", {"q": -1}) == [[0]]
    assert [V] in await told(spark, "SHOW TABLES")
    assert ["T_REC", "timestamp_ntz"] in await told(spark, f"DESCRIBE {V}")
    with pytest.raises(BadRequest, match=r"no table hmi\.nothing is published"):
        await told(spark, "DESCRIBE hmi.nothing")
    # Its own client would go on trying for ten minutes.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(ClusterAway, match=r"nobody answers at \[cluster\] spark"):
            await asyncio.to_thread(Spark, f"sc://127.0.0.1:{nobody.getsockname()[1]}", spark._tables, spark._structure)


async def test_the_command_asks_the_engine(mirror, tmp_path, capsys):
    config = tmp_path / "config.toml"
    config.write_text(f'[lake]\niceberg = "file://{tmp_path}/iceberg"\n[cluster]\nspark = "{spark_server().address}"\n')
    url = f"http://127.0.0.1:{mirror.server.port}"
    sql = f"SELECT max(slot('{V}', t_rec)) AS s FROM {V}"
    arguments = ["sql", "--on", "cluster", "--config", str(config), "--url", url]
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, [*arguments, "--csv", sql])
    assert not ended.value.code
    ((slot,),) = await rows(mirror, sql)
    assert capsys.readouterr().out.split() in (["s", str(slot)], ['"s"', str(slot)])
    config.write_text("")
    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, [*arguments, sql])
    assert ended.value.code == 1
    assert "[cluster] spark is not set" in capsys.readouterr().err
