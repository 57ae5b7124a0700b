"""Many cutouts at once: they take turns, and whoever waits for JSOC keeps nobody else from theirs."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from mirror.errors import UnknownName
from mirror.services.cutouts.cutouts import Cutouts
from mirror.services.exports.segment_files import FileLocation
from mirror.storage.files.table import Blob

BLOB = Blob("a" * 64, 5760, 1.0, 1.0, 1.0)


class Parts:
    """What a cutout is found by; records whose name begins with "far" are looked up until ``jsoc`` answers."""

    def __init__(self):
        self.jsoc = asyncio.Event()
        self.planned = []

    async def plan(self, request, demand, *, images_only):
        self.planned.append(request.ds)
        if request.ds.startswith("far"):
            await self.jsoc.wait()
        wanted = SimpleNamespace(record=request.ds, segment="s", path="/SUM1/D1/S00000/a.fits", place=FileLocation.ONLINE, source=None, owner=None)
        return SimpleNamespace(files=[] if request.ds == "none" else [wanted], rows=(), series=None)

    async def file_names(self, plan, files):
        return ["a.fits"]

    async def held(self, path):
        return True

    async def get(self, source):
        return BLOB

    async def prepare(self, plan):
        return

    async def front(self, plan, wanted, blob, *, now):
        return None


@pytest.fixture
def parts():
    return Parts()


@pytest.fixture
def cutouts(parts):
    return Cutouts(parts, parts, None, None, parts, None, None)


async def test_the_next_one_is_looked_for_when_one_has_ended(cutouts, parts):
    async with cutouts.in_turn("near 1") as found:
        assert (found.name, found.blob) == ("a.fits", BLOB)
        second = asyncio.ensure_future(entered(cutouts, "near 2"))
        await asyncio.wait({second}, timeout=0.02)
        assert parts.planned == ["near 1"]
    assert await second == "near 2"


async def test_who_waits_for_jsoc_lets_others_go_first(cutouts, parts):
    far = [asyncio.ensure_future(entered(cutouts, f"far {n}")) for n in range(3)]
    assert await entered(cutouts, "near") == "near"
    assert not any(task.done() for task in far)
    parts.jsoc.set()
    assert await asyncio.gather(*far) == ["far 0", "far 1", "far 2"]


async def test_an_asker_who_leaves_and_what_is_not_found_give_the_turn_away(cutouts):
    far = asyncio.ensure_future(entered(cutouts, "far"))
    await asyncio.sleep(0)
    far.cancel()
    with pytest.raises(UnknownName, match="no records match none"):
        await entered(cutouts, "none")
    assert await entered(cutouts, "near") == "near"


async def entered(cutouts, ds):
    async with cutouts.in_turn(ds) as found:
        return found.wanted.record
