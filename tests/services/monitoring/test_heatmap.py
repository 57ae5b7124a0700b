"""The heat map: what was counted is counted again where something has changed, however much is cached."""

from __future__ import annotations

import msgspec
import pytest

from mirror.services.monitoring.heatmap import CellCounts, HeatMap
from tests.filelab import file_lab
from tests.lab import lab

SERIES = "hmi.v_45s"


@pytest.fixture
def counted(monkeypatch):
    """What was counted: of records or files, and from which cell to which."""
    noted = []
    for name in ("records", "files"):
        whole = getattr(CellCounts, name)

        async def note(self, series, width, first, last, name=name, whole=whole):
            noted.append((name, first, last))
            return await whole(self, series, width, first, last)

        monkeypatch.setattr(CellCounts, name, note)
    return noted


async def afresh(mirror, query):
    """The same map by one that remembers nothing, as JSON."""
    index = mirror.running.search._index
    made = HeatMap(index, CellCounts(mirror.running.database, index), mirror.running.rules, tuple)
    year = query.get("year")
    return msgspec.to_builtins(await made.days(query["series"], None if year is None else int(year)))


async def test_days_are_counted_again_where_records_came(tmp_path, counted):
    async with lab(tmp_path) as mirror:
        query = {"series": SERIES}
        await mirror.ask(f"{SERIES}[2014.01.01_TAI/1d]")
        before = (await mirror.get("/api/coverage/days", query)).json
        assert (await mirror.get("/api/coverage/days", query)).json == before
        assert counted == [("records", None, None), ("files", None, None)]
        counted.clear()
        await mirror.ask(f"{SERIES}[2014.01.02_TAI/1h]")
        after = (await mirror.get("/api/coverage/days", query)).json
        assert {name for name, *_ in counted} == {"records", "files"}
        assert all(0 < last - first <= 3 for _, first, last in counted), counted
        assert sum(after["records"]) == sum(before["records"]) + 79
        assert after == await afresh(mirror, query)


async def test_a_year_has_its_part_of_what_changed(tmp_path, counted):
    async with lab(tmp_path) as mirror:
        queries = [{"series": SERIES, "year": year} for year in ("2013", "2014")]
        await mirror.ask(f"{SERIES}[2014.01.01_TAI/1d]")
        for query in queries:
            await mirror.get("/api/coverage/days", query)
        counted.clear()
        await mirror.ask(f"{SERIES}[2014.01.02_TAI/1h]")
        maps = [(await mirror.get("/api/coverage/days", query)).json for query in queries]
        assert all(last - first <= 3 for _, first, last in counted)
        assert maps == [await afresh(mirror, query) for query in queries]


async def test_files_that_come_are_counted_without_the_records(tmp_path, counted):
    async with file_lab(tmp_path) as mirror:
        query = {"series": "hmi.m_720s"}
        await mirror.ask("hmi.m_720s[2014.01.01_TAI/1h]", seg="magnetogram")
        assert sum((await mirror.get("/api/coverage/days", query)).json["files"]) == 0
        counted.clear()
        listed = (await mirror.get("/api/files", {"ds": "hmi.m_720s[2014.01.01_TAI/12m]", "seg": "magnetogram"})).json
        assert (await mirror.get(listed[0]["path"])).code == 200
        await mirror.settled()
        after = (await mirror.get("/api/coverage/days", query)).json
        assert (sum(after["files"]), {name for name, *_ in counted}) == (1, {"files"})
        assert after == await afresh(mirror, query)


async def test_records_that_are_taken_away_are_counted_no_more(tmp_path, counted):
    async with lab(tmp_path) as mirror:
        query = {"series": SERIES}
        await mirror.ask(f"{SERIES}[2014.01.01_TAI/1d]")
        await mirror.get("/api/coverage/days", query)
        counted.clear()
        await mirror.request("POST", "/api/forget", json={"ds": f"{SERIES}[2014.01.01_TAI/2h]"})
        after = (await mirror.get("/api/coverage/days", query)).json
        assert counted[0] == ("records", None, None), "nobody noted where they lay"
        assert after == await afresh(mirror, query)
