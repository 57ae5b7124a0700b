"""One server of a cluster publishes what all have, with the catalogue in PostgreSQL and the files on an S3."""

from __future__ import annotations

from urllib.parse import quote

from tests.clusterlab import cluster
from tests.filelab import synthetic
from tests.servers import KEY, KEYS, SECRET, bucket

NAME = "hmi.sharp_cea_720s"


async def test_one_server_publishes_what_all_have(tmp_path, monkeypatch):
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    objects, endpoint = bucket()
    settings = {"MIRROR_CLUSTER__OBJECTS": objects, "MIRROR_CLUSTER__ENDPOINT": endpoint}
    async with cluster(tmp_path, 2, synthetic(), **settings) as made:
        first, second = made.mirrors
        for mirror, day in ((first, 10), (second, 11)):
            answer = await mirror.ask(f"{NAME}[][2014.02.{day}_00:00_TAI/12m]", "**ALL**")
            assert answer.json["count"] > 0
        await made.published()
        one, other = first.running.publisher, second.running.publisher
        assert one is not None and other is not None
        assert await one.publish() > 0
        assert await other.publish() == 0  # the first one does it
        recnums = read(made.address, objects, endpoint)
        expected = [n for day in (10, 11) for n in await first.recnums(f"{NAME}[][2014.02.{day}_00:00_TAI/12m]")]
        assert recnums == sorted(expected)

        # The one that published is gone: the other takes over, and has all of it.
        await made.leave(first)
        answer = await second.ask(f"{NAME}[][2014.02.12_00:00_TAI/12m]", "**ALL**")
        await made.published()
        assert await other.publish() > 0
        assert len(read(made.address, objects, endpoint)) == len(expected) + answer.json["count"]


def read(address: str, objects: str, endpoint: str) -> list[int]:
    """The record numbers, as anybody reads them who has the address of the catalogue."""
    from pyiceberg.catalog.sql import SqlCatalog

    uri = f"postgresql+psycopg{address.removeprefix('postgresql')}&options={quote('-csearch_path=mirror')}"
    keys = {"s3.endpoint": endpoint, "s3.access-key-id": KEY, "s3.secret-access-key": SECRET, "s3.region": "us-east-1"}
    catalog = SqlCatalog("mirror", uri=uri, warehouse=f"{objects}/lake", **keys)
    table = catalog.load_table(("hmi", "sharp_cea_720s"))
    assert table.location().startswith(f"{objects}/lake/")
    try:
        return sorted(table.scan(selected_fields=("recnum",)).to_arrow()["recnum"].to_pylist())
    finally:
        catalog.engine.dispose()
