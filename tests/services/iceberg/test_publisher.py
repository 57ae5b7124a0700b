"""Iceberg tables have the rows that `mirror sql` has, month by month, and readers see whole months only."""

from __future__ import annotations

import json
import threading

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import pytest_asyncio

from mirror.errors import ConfigError, StorageError
from mirror.services.iceberg.publisher import mark_of, plan
from mirror.services.iceberg.tables import Column, Content, Month, PublishedTables, identifier
from mirror.storage.lake.table import Print, Sealed
from tests.filelab import synthetic
from tests.lab import JSOC_INFO, lab, rows

NAME = "hmi.sharp_cea_720s"


def catalogue(folder):
    from pyiceberg.catalog.sql import SqlCatalog

    return SqlCatalog("mirror", uri=f"sqlite:///{folder}/catalogue.sqlite", warehouse=f"file://{folder}")


@pytest_asyncio.fixture
async def mirror(tmp_path):
    (tmp_path / "store").mkdir()
    folder = tmp_path / "iceberg"
    async with lab(tmp_path / "store", synthetic(), MIRROR_LAKE__ICEBERG=f"file://{folder}") as made:
        yield made


async def search(mirror, ds):
    assert (await mirror.ask(ds, "**ALL**")).json["status"] == 0


async def told(mirror, name, columns):
    listed = ", ".join(f'"{c}"' for c in columns)
    return await rows(mirror, f"SELECT {listed} FROM {name} ORDER BY recnum")


async def test_pyiceberg_reads_what_mirror_sql_reads(mirror, tmp_path):
    await search(mirror, f"{NAME}[][2014.01.31_23:36_TAI/1h]")
    publisher = mirror.running.publisher
    assert await publisher.publish() > 0
    table = catalogue(tmp_path / "iceberg").load_table(("hmi", "sharp_cea_720s"))
    read = table.scan().to_arrow().sort_by("recnum")
    # Texts and whole numbers are told as they are; times and floats are compared as Arrow has them.
    columns = [f.name for f in read.schema if str(f.type) in ("large_string", "string", "int32", "int64")]
    expected = await told(mirror, NAME, columns)
    assert len(expected) > 20
    assert [list(row.values()) for row in read.select(columns).to_pylist()] == expected
    files = sorted((tmp_path / "store" / "lake" / NAME).glob("*.parquet"))
    assert [file.name.split(".")[0] for file in files] == ["2014-01", "2014-02"]
    of_lake = pq.read_table(files).sort_by("recnum")
    assert of_lake.column_names == read.column_names
    for name in read.column_names:
        assert str(of_lake[name].to_pylist()) == str(read[name].to_pylist()), name

    # Columns have numbers, comments and units; months are partitions.
    fields = {field.name: field for field in table.schema().fields}
    assert fields["T_REC"].doc.startswith("[UTC]") and fields["T_REC_tai"].doc.startswith("[TAI seconds")
    assert str(table.spec().fields[0].transform) == "month"
    partitions = table.inspect.partitions().to_pylist()
    assert {p["partition"]["T_REC_month"] for p in partitions} == {44 * 12, 44 * 12 + 1}
    written = next((tmp_path / "iceberg").rglob("*.parquet"))
    assert all(int(f.metadata[b"PARQUET:field_id"]) > 0 for f in pq.read_schema(written))
    keywords = catalogue(tmp_path / "iceberg").load_table(("mirror", "keywords")).scan().to_arrow()
    assert ("AMBBTHR0", "G") in set(zip(keywords["keyword"].to_pylist(), keywords["units"].to_pylist(), strict=True))
    series = catalogue(tmp_path / "iceberg").load_table(("mirror", "series")).scan().to_arrow()
    assert NAME in [name.lower() for name in series["series"].to_pylist()]


async def test_what_changes_is_published_with_old_versions(mirror, tmp_path):
    publisher, ds = mirror.running.publisher, f"{NAME}[][2014.02.10_00:00_TAI/12m]"
    await search(mirror, f"{NAME}[][2014.01.10_00:00_TAI/12m]")
    await publisher.publish()
    january = files_of(tmp_path)
    assert await publisher.publish() == 0
    await search(mirror, ds)
    await publisher.publish()
    assert january < files_of(tmp_path)
    await mirror.reprocess(ds)
    demand = {"Cache-Control": "no-cache"}
    await mirror.get(JSOC_INFO, {"op": "rs_list", "ds": ds, "key": "**ALL**"}, headers=demand)
    await publisher.publish()
    assert january < files_of(tmp_path)
    for name, table in ((NAME, "sharp_cea_720s"), (f"{NAME}__old", "sharp_cea_720s__old")):
        read = catalogue(tmp_path / "iceberg").load_table(("hmi", table)).scan().to_arrow()
        assert sorted(read["recnum"].to_pylist()) == [row[0] for row in await told(mirror, name, ["recnum"])]
        assert read.num_rows > 0


def files_of(tmp_path):
    table = catalogue(tmp_path / "iceberg").load_table(("hmi", "sharp_cea_720s"))
    found = table.inspect.files().to_pylist()
    return {(f["partition"]["T_REC_month"], f["file_path"]) for f in found}


# ---- the tables alone ----------------------------------------------------------------------------

CONTENT = Content("hmi.test", "a test", (Column("x", "[m] a number"),), "t", "t_tai")


def month(name, first, x, count=100):
    """A month of rows: ``count`` of them with one value."""
    import pyarrow as pa

    tai = [first + 30.0 * n for n in range(count)]
    table = pa.table(
        {
            "t": pa.array([int((s + 220_924_800 - 35) * 1e6) for s in tai], pa.timestamp("us")),
            "t_tai": tai,
            "x": pa.array([x] * count, pa.int16()),
        }
    )
    return Month(name, f"{x}:{count}", lambda: table)


JANUARY, FEBRUARY = 1_167_609_600.0, 1_170_288_000.0  # 2014, TAI seconds since 1977


@pytest.fixture
def tables(tmp_path):
    made = PublishedTables.open(f"file://{tmp_path}/iceberg")
    yield made
    made.close()


def values(tmp_path):
    found = catalogue(tmp_path / "iceberg").load_table(("hmi", "test")).scan().to_arrow()
    return {(row["values"], row["counts"]) for row in pc.value_counts(found["x"]).to_pylist()}


def test_a_month_is_replaced_whole_to_the_second(tables, tmp_path):
    """The first 35 s of a month in TAI are of the month before in UTC, and belong to it nevertheless."""
    tables.replace(CONTENT, [month("2014-01", JANUARY, 1), month("2014-02", FEBRUARY, 2)], ())
    assert values(tmp_path) == {(1, 100), (2, 100)}
    tables.replace(CONTENT, [month("2014-02", FEBRUARY, 3, 90)], ())
    assert values(tmp_path) == {(1, 100), (3, 90)}
    tables.replace(CONTENT, [month("2014-01", JANUARY, 4, 10)], ())
    assert values(tmp_path) == {(4, 10), (3, 90)}
    assert tables.months("hmi.test") == {"2014-01": "4:10", "2014-02": "3:90"}
    tables.replace(CONTENT, [], ["2014-01"])
    assert values(tmp_path) == {(3, 90)}


def test_readers_beside_a_publication_see_whole_months_only(tables, tmp_path):
    tables.replace(CONTENT, [month("2014-01", JANUARY, 1), month("2014-02", FEBRUARY, 1)], ())
    seen, done = [], threading.Event()

    def read():
        while not done.is_set():
            seen.append(values(tmp_path))

    reader = threading.Thread(target=read)
    reader.start()
    for x in range(2, 6):
        tables.replace(CONTENT, [month("2014-01", JANUARY, x), month("2014-02", FEBRUARY, x)], ())
    done.set()
    reader.join()
    assert all(sum(count for _, count in one) == 200 and len(one) == 1 for one in seen), seen
    assert seen


def test_columns_come_and_go(tables, tmp_path):
    tables.replace(CONTENT, [month("2014-01", JANUARY, 1)], ())
    made = month("2014-01", JANUARY, 2)
    wider = made.rows().append_column("y", [["text"] * 100]).drop_columns("x")
    tables.replace(CONTENT, [Month("2014-01", "wider", lambda: wider)], ())
    read = catalogue(tmp_path / "iceberg").load_table(("hmi", "test")).scan().to_arrow()
    assert read.column_names == ["t", "t_tai", "y"] and set(read["y"].to_pylist()) == {"text"}


def test_snapshots_that_nobody_reads_go_with_their_files(tables, tmp_path):
    for x in range(4):
        tables.replace(CONTENT, [month("2014-01", JANUARY, x)], ())
    before = len(list((tmp_path / "iceberg").rglob("*.parquet")))
    assert tables.expire("hmi.test", 0.0) == 0
    assert tables.expire("hmi.test", 4e9) > 0
    # Two files a month: its first seconds are of another month in UTC.
    assert before == 8 and len(list((tmp_path / "iceberg").rglob("*.parquet"))) == 2
    assert values(tmp_path) == {(3, 100)}


def test_the_newest_metadata_is_named_beside_it(tables, tmp_path):
    tables.replace(CONTENT, [month("2014-01", JANUARY, 1)], ())
    hint = next((tmp_path / "iceberg").rglob("version-hint.text"))
    metadata = json.loads((hint.parent / f"{hint.read_text()}.metadata.json").read_text())
    assert metadata["properties"]["comment"] == "a test"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        PublishedTables.open(f"file://{tmp_path}/file/below")


def test_a_disk_that_takes_nothing_is_told_of_and_nothing_changes(tables, tmp_path, monkeypatch):
    tables.replace(CONTENT, [month("2014-01", JANUARY, 1)], ())

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("pyiceberg.io.pyarrow._dataframe_to_data_files", full)
    with pytest.raises(StorageError, match=r"hmi\.test cannot be published now: No space left"):
        tables.replace(CONTENT, [month("2014-01", JANUARY, 2)], ())
    assert values(tmp_path) == {(1, 100)}


def test_what_changes_is_planned_by_marks():
    rows = [Sealed("hmi.test", m, f"hmi.test/{m}.1.parquet", "s", Print(n, n), 1, "0") for m, n in (("a", 1), ("b", 2))]
    made = plan({"a": mark_of(rows[0]), "b": "other", "c": "gone"}, rows)
    assert ([row.month for row, _ in made.write], made.gone) == (["b"], ("c",))
    assert identifier("hmi.V_45s") == ("hmi", "v_45s") and identifier("odd") == ("mirror", "odd")


async def test_a_publication_gives_way_to_people_as_long_as_it_has_patience(mirror):
    await search(mirror, f"{NAME}[][2014.02.10_00:00_TAI/12m]")
    publisher, waits, tables = mirror.running.publisher, [], []
    busy = [True]

    async def sleep(seconds):
        tables.append(publisher.published_at)
        waits.append(seconds)
        busy[0] = len(waits) < 3

    publisher._sleep, publisher._is_idle = sleep, lambda: not busy[0]
    assert await publisher.publish(patience=100.0) > 0
    assert waits == [1.0] * 3 and tables == [None] * 3
    # One that never finds the mirror idle is made all the same.
    await search(mirror, f"{NAME}[][2014.02.11_00:00_TAI/12m]")
    publisher._is_idle = lambda: False
    assert await publisher.publish(patience=5.0) > 0
    assert len(waits) == 3 + 5


async def test_a_publication_that_waits_ends_with_the_mirror(mirror):
    await search(mirror, f"{NAME}[][2014.02.10_00:00_TAI/12m]")
    publisher = mirror.running.publisher

    async def sleep(_):
        publisher._stopping = True

    publisher._sleep, publisher._is_idle = sleep, lambda: False
    assert await publisher.publish(patience=100.0) == 0
