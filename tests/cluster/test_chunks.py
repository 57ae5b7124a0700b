"""Chunks on their way to the objects."""

from __future__ import annotations

import pytest

from mirror.cluster import chunks as module
from mirror.cluster.chunks import write_chunk
from mirror.coverage.coverage import Box
from mirror.coverage.intervals import Steps
from mirror.errors import StorageError
from tests.lab import lab


async def test_one_that_cannot_be_written_leaves_no_part_of_itself(tmp_path, monkeypatch):
    async with lab(tmp_path / "store") as made:
        await made.ask("hmi.v_45s[2014.01.01_TAI/3m]")
        index = made.running.search._catalogue._index
        series, _ = index.series("hmi.v_45s")
        boxes = [Box(region, (Steps(s.lo, s.hi),)) for region, spans in index.coverage(series) for s in spans]

        def full(_cursor, _layout, _where, path, _footer):
            path.write_bytes(b"half of it")
            raise StorageError("the disk is full")

        monkeypatch.setattr(module, "write_records", full)
        folder = tmp_path / "transit"
        folder.mkdir()
        with pytest.raises(StorageError, match="the disk is full"):
            await write_chunk(index, series, boxes, folder)
        assert list(folder.iterdir()) == []
