"""Mirrors in a row: the same answers, nothing asked of the archive twice, nothing taken for newer than it is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from multidict import CIMultiDict

from mirror.errors import Refused
from mirror.server.api.transfer import check_near
from mirror.server.requests import is_near
from tests.chainlab import chain_lab, file_chain
from tests.lab import JSOC_INFO, lab

SPAN = "hmi.V_45s[2014.01.01_TAI/3m]"
DAY = 86400.0


async def test_a_search_through_two_mirrors_is_the_archives_answer_and_asked_of_it_once(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        assert await b.recnums(SPAN) == await b.upstream(SPAN)
        assert await a.fetched() == 4
        before = await a.log()
        for mirror in (a, b):
            answer = await mirror.ask(SPAN, "T_REC")
            assert answer.plan == "local"
        assert await a.log() == before
        assert (await a.ask(SPAN, "**ALL**", seg="**ALL**")).told == (
            await b.ask(SPAN, "**ALL**", seg="**ALL**")
        ).told


async def test_what_the_nearer_mirror_holds_is_not_asked_of_the_archive_for_the_farther(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        await a.recnums(SPAN)
        before = await a.log()
        assert await b.recnums(SPAN) == await a.recnums(SPAN)
        assert [e for e in await a.log() if e not in before] == []


async def test_a_check_is_answered_by_the_nearer_mirror_as_old_as_its_own(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        await a.recnums(SPAN)
        a.clock.forward(days=60)
        assert (await b.ask(SPAN)).plan == "filled"  # B has it as old as A has
        before = await a.log()
        a.clock.forward(days=31)  # 91 days after A's check, 31 after B's question
        assert (await b.ask(SPAN)).plan == "filled"
        asked = [e for e in await a.log() if e not in before]
        # A checked with the archive, by record numbers
        assert [e["params"].get("key") for e in asked if e["params"]["op"] == "rs_list"] == ["*recnum*"]


async def test_stale_answers_are_stale_all_the_way(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        await b.recnums(SPAN)
        a.clock.forward(days=100)
        await a.faults({"fault": "refuse"})
        assert (await a.ask(SPAN)).plan == "stale"
        first = await b.ask(SPAN)
        assert first.plan == "stale"
        assert int(first.headers["Age"]) == 100 * DAY
        assert (await b.ask(SPAN)).plan == "stale"
        await a.faults()
        assert (await b.ask(SPAN)).plan == "filled"
        assert (await b.ask(SPAN)).plan == "local"


async def test_a_strict_mirror_takes_no_stale_answer_of_another(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        await b.recnums(SPAN)
        await b.restart(MIRROR_UPSTREAM__POLICY="strict")
        a.clock.forward(days=100)
        await a.faults({"fault": "refuse"})
        answer = await b.ask(SPAN)
        assert answer.json["status"] == 1
        assert "only an older check" in answer.json["error"]


async def test_what_an_offline_mirror_lacks_the_next_one_tells_with_the_spans(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        await b.recnums(SPAN)
        await a.restart(MIRROR_UPSTREAM__POLICY="offline")
        await b.restart(MIRROR_UPSTREAM__URL=a.url)
        answer = await b.ask("hmi.V_45s[2014.01.01_TAI/6m]")
        assert answer.json["status"] == 1
        assert "the mirror is offline" in answer.json["error"]
        assert "2014.01.01_00:05:15_TAI" in answer.json["error"]
        assert (await b.ask(SPAN)).plan == "local"
        struct = await b.ask("mdi.fd_M_96m_lev182", op="series_struct")
        assert "is offline" in struct.json["error"]  # and not that no such series


async def test_many_refusals_of_a_mirror_do_not_make_it_count_as_away(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        await a.recnums(SPAN)
        await a.restart(MIRROR_UPSTREAM__POLICY="offline")
        await b.restart(MIRROR_UPSTREAM__URL=a.url)
        for day in range(2, 9):
            assert (await b.ask(f"hmi.V_45s[2014.01.{day:02}_TAI/3m]")).json["status"] == 1
        assert len(await b.recnums(SPAN)) == 4


@pytest.mark.parametrize("mark", ["^", "$"])
async def test_first_and_last_records_come_through(tmp_path, mark):
    async with chain_lab(tmp_path) as (_, b):
        ds = f"hmi.V_45s[{mark}]"
        assert await b.recnums(ds) == await b.upstream(ds)


async def test_a_demanded_check_goes_all_the_way(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        await b.recnums(SPAN)
        before = await a.log()
        answer = await b.get(
            JSOC_INFO, {"op": "rs_list", "ds": SPAN, "key": "T_REC"}, headers={"Cache-Control": "no-cache"}
        )
        assert answer.json["count"] == 4
        assert len(await a.log()) > len(before)


async def test_records_that_are_held_are_given_by_number_without_asking(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        numbers = await a.recnums(SPAN)
        before = await a.log()
        ds = "hmi.V_45s[:" + ",".join(f"#{n}" for n in numbers) + "]"
        assert await b.recnums(ds) == numbers
        assert [e for e in await a.log() if e not in before] == []


# ---- circles ------------------------------------------------------------------------------------


async def test_a_mirror_that_points_at_itself_says_so(tmp_path):
    async with lab(tmp_path) as a:
        await a.restart(MIRROR_UPSTREAM__URL=f"http://127.0.0.1:{a.reserve()}")
        answer = await a.ask(SPAN)
        assert answer.json["status"] == 1
        assert "loop of mirrors" in answer.json["error"]


async def test_two_mirrors_that_point_at_each_other_say_so(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        await b.restart(MIRROR_UPSTREAM__URL=f"http://127.0.0.1:{a.reserve()}")
        await a.restart(MIRROR_UPSTREAM__URL=b.url)
        for mirror in (a, b):
            answer = await mirror.ask(SPAN)
            assert answer.json["status"] == 1
            assert answer.json["error"].count("loop of mirrors") == 1
            passed = await mirror.get("/doc/page.html")
            assert passed.code >= 500
            assert b"loop of mirrors" in passed.body
        file = await a.get("/SUM1/D1/S00000/image.fits")
        assert b"loop of mirrors" in file.body


async def test_a_circle_does_not_hide_what_is_held(tmp_path):
    async with chain_lab(tmp_path) as (a, b):
        await b.recnums(SPAN)
        await b.restart(MIRROR_UPSTREAM__URL=f"http://127.0.0.1:{a.reserve()}")
        await a.restart(MIRROR_UPSTREAM__URL=b.url)
        assert (await b.ask(SPAN)).plan == "local"


# ---- files --------------------------------------------------------------------------------------


async def test_files_and_exports_come_through_two_mirrors_and_once_from_the_archive(tmp_path):
    async with file_chain(tmp_path) as (a, b):
        told = await b.exported(SPAN, "url", "fits")
        names = [f"{told['dir']}/{each['filename']}" for each in told["data"]]
        through_b = [(await b.get(name)).body for name in names]
        assert len(through_b) == 4
        downloads = await a.downloads()
        precise = [e for e in await a.log(op="rs_list") if e["params"].get("M")]
        told = await a.exported(SPAN, "url", "fits")
        through_a = [(await a.get(f"{told['dir']}/{each['filename']}")).body for each in told["data"]]
        assert [len(x) for x in through_a] == [len(x) for x in through_b]
        assert await a.downloads() == downloads
        assert len(downloads) == 4
        assert len(precise) == 1
        assert [e for e in await a.log(op="rs_list") if e["params"].get("M")] == precise


async def test_a_file_that_an_offline_mirror_lacks_is_refused_at_once(tmp_path):
    async with file_chain(tmp_path) as (a, b):
        await b.recnums(SPAN)
        path = (await b.ask(SPAN, None, seg="Dopplergram", op="rs_list")).json["segments"][0]["values"][0]
        await a.restart(MIRROR_UPSTREAM__POLICY="offline")
        await b.restart(MIRROR_UPSTREAM__URL=a.url)
        answer = await b.get(path)
        assert answer.code >= 500
        assert b"offline" in answer.body
        assert b.pauses == []


@pytest.mark.parametrize(
    "remote, headers, near",
    [
        ("127.0.0.1", {}, True), ("::1", {}, True), ("::ffff:127.0.0.1", {}, True), ("10.0.0.1", {}, False), (None, {}, False),
        ("127.0.0.1", {"X-Forwarded-For": "10.0.0.1"}, False), ("::1", {"Forwarded": "for=10.0.0.1"}, False),
    ],
)  # fmt: skip
def test_whoever_a_server_in_front_passes_on_is_not_on_this_machine(remote, headers, near):
    request = SimpleNamespace(remote=remote, headers=CIMultiDict(headers))
    assert is_near(request) is near
    if not near:
        with pytest.raises(Refused, match="only from that machine"):
            check_near(request)
