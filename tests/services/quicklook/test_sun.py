"""/api/sun: full-disk images that are held, where the disk is in them, and the regions of held SHARPs."""

from __future__ import annotations

import pytest
import pytest_asyncio

from mirror.storage.index.index import Index
from tests.filelab import file_lab, synthetic

pytestmark = pytest.mark.asyncio(loop_scope="module")
AIA = "aia.lev1_euv_12s[2014.01.01_00:00:00_TAI/12s][171]{image}"
HMI = "hmi.M_720s[2014.01.01_00:00:00_TAI]{magnetogram}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory):
    async with file_lab(tmp_path_factory.mktemp("store"), synthetic()) as made:
        yield made


async def test_nothing_is_shown_of_an_empty_store_and_nothing_is_asked(lab):
    assert (await lab.get("/api/sun")).json == []
    assert await lab.log() == []


async def test_held_images_are_told_by_channel_with_their_disk_and_regions(lab):
    for ds in (AIA, HMI):
        answer = await lab.get("/api/quicklook", {"ds": ds, "number": "1", "fetch": "1", "size": "128"})
        assert answer.code == 200, answer.body
    await lab.ask("hmi.sharp_cea_720s[][2014.01.01_00:00:00_TAI]")
    before = len(await lab.log())
    channels = {channel["name"]: channel for channel in (await lab.get("/api/sun")).json}
    assert list(channels) == ["AIA 171", "HMI magnetogram"]
    for channel in channels.values():
        frame = channel["frames"][0]
        assert frame["x"] == pytest.approx(0.5, abs=0.02)
        assert frame["y"] == pytest.approx(0.5, abs=0.02)
        assert 0.35 < frame["radius"] < 0.5
        assert frame["regions"]
        assert all(-90 <= r["east"] < r["west"] <= 90 for r in frame["regions"] if r["west"] < 90 and r["east"] > -90)
    one = (await lab.get("/api/sun", {"channel": "AIA 171", "n": "5"})).json
    assert [c["name"] for c in one] == ["AIA 171"]
    assert (await lab.get("/api/sun", {"channel": "none"})).json == []
    assert (await lab.get("/api/sun", {"n": "0"})).code == 400
    assert len(await lab.log()) == before


async def test_images_are_looked_up_once_and_again_when_files_come_or_go(lab, monkeypatch):
    looked = []
    rows = Index.rows

    async def noted(self, series, *rest):
        looked.append(series.name)
        return await rows(self, series, *rest)

    monkeypatch.setattr(Index, "rows", noted)
    await lab.get("/api/sun")
    looked.clear()
    (before,) = (await lab.get("/api/sun", {"channel": "HMI magnetogram", "n": "5"})).json
    assert looked == []
    later = HMI.replace("00:00:00_TAI", "00:12:00_TAI")
    assert (await lab.get("/api/quicklook", {"ds": later, "number": "1", "fetch": "1", "size": "128"})).code == 200
    looked.clear()
    (after,) = (await lab.get("/api/sun", {"channel": "HMI magnetogram", "n": "5"})).json
    assert [frame["record"] for frame in after["frames"][:-1]] == [frame["record"] for frame in before["frames"]]
    assert "00:12:00_TAI" in after["frames"][-1]["record"] and looked
    await lab.request("POST", "/api/forget", json={"ds": later.partition("{")[0]})
    (last,) = (await lab.get("/api/sun", {"channel": "HMI magnetogram", "n": "5"})).json
    assert len(last["frames"]) == len(before["frames"])
