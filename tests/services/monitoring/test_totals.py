"""Files of each series: counted when files have come or gone, and not for each page that shows them."""

from __future__ import annotations

from mirror.services.monitoring.status import Totals
from mirror.storage.database.database import Tables
from mirror.storage.files.holdings import RecordSegment
from mirror.wire.paths import UnitFile
from tests.emptystore import open_empty
from tests.storage.filestore import open_store


async def test_files_are_counted_again_only_when_some_came_or_went(tmp_path, monkeypatch):
    asked = []
    read = Tables.read

    async def noted(self, work):
        asked.append(work)
        return await read(self, work)

    monkeypatch.setattr(Tables, "read", noted)
    database = open_empty(tmp_path)
    try:
        store, totals = await open_store(tmp_path / "store", database), Totals(database)

        async def keep(number, data, series="hmi.v_45s"):
            async with store.blobs.incoming() as sink:
                await sink.write(data)
                blob = await sink.keep()
            record = RecordSegment(series, number, "Dopplergram")
            await store.holdings.add(UnitFile(number, 0, "a.fits"), blob, record=record)

        async def counted():
            """What is told, and in how many statements."""
            asked.clear()
            return await totals.by_series(), len(asked)

        assert (await counted())[0] == {}
        await keep(1, b"12345")
        assert await counted() == ({"hmi.v_45s": (1, 5)}, 2)
        assert await counted() == ({"hmi.v_45s": (1, 5)}, 1)
        await keep(2, b"123", "hmi.m_720s")
        assert (await counted())[0] == {"hmi.v_45s": (1, 5), "hmi.m_720s": (1, 3)}
        await store.holdings.forget(UnitFile(1, 0, "a.fits"))
        await keep(3, b"1234567")
        assert await counted() == ({"hmi.v_45s": (1, 7), "hmi.m_720s": (1, 3)}, 2), "as many as before, and others"
    finally:
        database.close()
