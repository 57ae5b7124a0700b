"""Who is fetching what from JSOC now, and how long it still takes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

from mirror.readthrough.filler import Progress
from mirror.services.monitoring.status import file_progress, fill_progress
from tests.accesslab import TOKENS, bearer, table
from tests.lab import JSOC_INFO, lab


def arriving(who, *, written=0, size=None, begun_at=None, resumed=0):
    return SimpleNamespace(who={who: None}, written=written, size=size, begun_at=begun_at, resumed=resumed)


def test_a_fetch_that_went_so_far_in_a_time_takes_as_long_for_the_same_again():
    progress = {"hmi.v_45s": Progress(since=100.0, total=4, done=1, who={"token:ada": None, "": None}), "x.y": Progress(since=100.0, total=2)}
    one, new = fill_progress(progress, 130.0)
    assert (one.who, one.done, one.total, one.seconds_left) == (["token:ada", "(mirror)"], 1, 4, 90)
    assert new.seconds_left is None


def test_files_are_told_by_who_asked_first_and_those_that_wait_count_as_the_others():
    running = [
        arriving("ada", written=30, size=100, begun_at=10.0, resumed=10),
        arriving("ada"),
        arriving("", written=0, size=50, begun_at=12.0),
    ]
    ada, own = file_progress(running, 20.0)
    # 20 bytes came in 10 seconds, and 70 are left of this file and 100, as is to be feared, of the other.
    assert (ada.who, ada.files, ada.arriving, ada.bytes, ada.size, ada.seconds_left) == ("ada", 2, 1, 30, 100, 85)
    assert (own.who, own.seconds_left) == ("(mirror)", None)


async def test_the_status_names_whoever_waits(tmp_path):
    settings = table(TOKENS["read"], "read") + table(TOKENS["admin"], "admin")
    async with lab(tmp_path, latency=0.2, config=settings) as mirror:
        asked = {"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI/1h]", "key": "T_REC"}
        search = asyncio.ensure_future(mirror.get(JSOC_INFO, asked, headers=bearer("read")))
        while not (found := (await mirror.get("/api/status", headers=bearer("admin"))).json["fills"]):
            assert not search.done()
        assert [(fill["series"], fill["who"]) for fill in found] == [("hmi.v_45s", ["token:rita"])]
        await search
        assert (await mirror.get("/api/status", headers=bearer("admin"))).json["fills"] == []
