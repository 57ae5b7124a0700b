"""What goes wrong upstream: a retry that succeeds or one clear error, and nothing kept that is not whole."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from tests.lab import lab

SPAN = "hmi.v_45s[2014.01.01_TAI/30m]"
RECORDS = 40
LISTS = {"op": "rs_list"}


@pytest_asyncio.fixture
async def mirror(tmp_path):
    """A mirror that knows the structure already."""
    async with lab(tmp_path) as made:
        await made.ask("hmi.v_45s", op="series_struct")
        yield made


def error(answer):
    """The message of an answer that is one error, in the way of JSOC."""
    assert answer.code == 200
    told = answer.json
    assert told.keys() == {"status", "error"}, told
    assert told["status"] == 1
    return told["error"]


async def held(mirror):
    """How many records the mirror holds, and how many spans it claims."""
    series = (await mirror.get("/api/series")).json
    coverage = (await mirror.get("/api/coverage")).json
    return sum(s["records"] for s in series), len(coverage)


#: Every fault, with a word of the message that clients get when it does not go away.
FAULTS = [
    ({"fault": "refuse"}, "cannot be reached"),
    ({"fault": "timeout", "seconds": 60}, "did not respond within"),
    ({"fault": "http500"}, "HTTP 500"),
    ({"fault": "broken_json"}, "not a JSON answer"),
    ({"fault": "truncate"}, "cut short"),
    ({"fault": "slow", "seconds": 60}, "did not respond within"),
    ({"fault": "wrong_count"}, "records announced"),
    ({"fault": "wrong_count", "delta": -1}, "records announced"),
    ({"fault": "outage"}, "cannot be reached"),
    ({"fault": "status", "status": 1, "message": "out of order"}, "out of order"),
]


async def has_patience(mirror, fault, seconds):
    """For an answer that comes late; any other waits as long as it takes on a busy machine."""
    if fault["fault"] in ("timeout", "slow"):
        await mirror.restart(MIRROR_UPSTREAM__TIMEOUT=f"{seconds}s")


@pytest.mark.parametrize("fault, word", FAULTS, ids=lambda x: x if isinstance(x, str) else x["fault"])
async def test_a_fault_that_stays_is_one_clear_error_and_nothing_is_kept(mirror, fault, word):
    await has_patience(mirror, fault, 0.3)
    await mirror.faults({"match": LISTS, **fault})
    assert word in error(await mirror.ask(SPAN))
    assert await held(mirror) == (0, 0)
    await mirror.faults()
    await has_patience(mirror, fault, 60)
    assert len(await mirror.recnums(SPAN)) == RECORDS
    assert await held(mirror) == (RECORDS, 1)


@pytest.mark.parametrize(
    "fault, _", [f for f in FAULTS if f[0]["fault"] != "outage"], ids=lambda x: str(x)[:30]
)
async def test_a_fault_that_passes_is_not_seen(mirror, fault, _):
    await has_patience(mirror, fault, 3)  # twice: the second time for a good answer
    await mirror.faults({"match": LISTS, **fault, "times": 1})
    assert len(await mirror.recnums(SPAN)) == RECORDS
    assert await held(mirror) == (RECORDS, 1)


async def test_an_answer_that_announces_no_record_but_lists_some_is_broken(mirror):
    await mirror.faults({"match": LISTS, "fault": "wrong_count", "delta": -RECORDS})
    assert "records announced" in error(await mirror.ask(SPAN))
    assert await held(mirror) == (0, 0)


async def test_a_fault_in_the_middle_of_a_fill_keeps_the_chunks_that_are_whole(tmp_path):
    async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS="100", MIRROR_UPSTREAM__QUERIES="1") as mirror:
        await mirror.recnums("hmi.v_45s[2014.01.01_23:00_TAI]")
        await mirror.faults({"match": LISTS, "fault": "http500", "skip": 2})
        assert "HTTP 500" in error(await mirror.ask("hmi.v_45s[2014.01.01_TAI/6h]"))
        kept, _ = await held(mirror)
        assert kept > 100
        await mirror.faults()
        before = await mirror.fetched()
        found = await mirror.recnums("hmi.v_45s[2014.01.01_TAI/6h]")
        assert await mirror.fetched() - before == len(found) - (kept - 1)


async def test_a_status_that_is_not_explained_is_taken_for_the_limit_and_the_range_is_halved(mirror):
    await mirror.faults(
        {"match": LISTS, "fault": "status", "status": 1, "message": "series not found.", "times": 2}
    )
    assert len(await mirror.recnums(SPAN)) == RECORDS
    asked = [e["records"] for e in await mirror.log(op="rs_list")]
    assert len(asked) > 3
    assert sum(asked[2:]) == RECORDS


async def test_a_broken_structure_is_an_error_and_not_kept(tmp_path):
    async with lab(tmp_path) as mirror:
        for fault in ("broken_json", "truncate", "http500"):
            await mirror.faults({"match": {"op": "series_struct"}, "fault": fault})
            assert error(await mirror.ask("hmi.v_45s", op="series_struct"))
            assert error(await mirror.ask(SPAN))
        assert (await mirror.get("/api/series")).json == []
        await mirror.faults()
        assert len(await mirror.recnums(SPAN)) == RECORDS


async def test_a_broken_list_of_series_is_an_error_and_not_kept(tmp_path):
    async with lab(tmp_path) as mirror:
        for program in ("showextseries", "show_series"):  # the second helps out for the first
            for fault in ("broken_json", "wrong_count"):
                await mirror.faults({"match": {"program": program}, "fault": fault})
                if program == "show_series":
                    assert error(await mirror.get(f"/cgi-bin/ajax/{program}"))
                elif fault == "broken_json":  # drms hears of an error of this program only by its code
                    answer = await mirror.get(f"/cgi-bin/ajax/{program}")
                    assert (answer.code, answer.json["status"]) == (502, 1)
            await mirror.faults()
            assert b"hmi" in (await mirror.get(f"/cgi-bin/ajax/{program}")).body


async def test_the_server_stays_up_under_many_faults_at_once(mirror):
    await mirror.faults(
        *({"match": LISTS, **fault, "times": 3} for fault, _ in FAULTS if "seconds" not in fault and fault["fault"] != "outage")
    )
    spans = [f"hmi.v_45s[2014.01.01_{h:02}:00_TAI/30m]" for h in range(24)]
    answers = await asyncio.gather(*map(mirror.ask, spans))
    assert all(a.code == 200 for a in answers)
    await mirror.faults()
    assert (await mirror.get("/healthz")).code == 200
    for span in spans:
        assert await mirror.recnums(span) == await mirror.upstream(span)


# ---- policies -----------------------------------------------------------------------------------

STALE = {"days": 100}


@pytest.mark.parametrize("policy", ["strict", "fallback", "offline"])
async def test_what_is_held_and_fresh_needs_nobody_under_any_policy(mirror, policy):
    expected = await mirror.recnums(SPAN)
    await mirror.restart(MIRROR_UPSTREAM__POLICY=policy)
    await mirror.faults({"fault": "outage"})
    answer = await mirror.ask(SPAN)
    assert (answer.plan, answer.json["keywords"][0]["values"]) == ("local", expected)


@pytest.mark.parametrize("policy", ["fallback", "offline"])
async def test_what_should_be_checked_is_served_unchecked_and_marked(mirror, policy):
    expected = await mirror.recnums(SPAN)
    await mirror.restart(MIRROR_UPSTREAM__POLICY=policy)
    mirror.clock.forward(**STALE)
    await mirror.faults({"fault": "outage"})
    answer = await mirror.ask(SPAN)
    assert (answer.plan, answer.json["keywords"][0]["values"]) == ("stale", expected)


async def test_strict_fails_where_a_check_fails(mirror):
    await mirror.recnums(SPAN)
    await mirror.restart(MIRROR_UPSTREAM__POLICY="strict")
    mirror.clock.forward(**STALE)
    await mirror.faults({"fault": "outage"})
    assert "cannot be reached" in error(await mirror.ask(SPAN))


@pytest.mark.parametrize("policy", ["strict", "fallback"])
async def test_a_check_that_finds_nothing_new_fetches_nothing(mirror, policy):
    expected = await mirror.recnums(SPAN)
    await mirror.restart(MIRROR_UPSTREAM__POLICY=policy)
    mirror.clock.forward(**STALE)
    before = await mirror.fetched()
    answer = await mirror.ask(SPAN)
    assert (answer.plan, answer.json["keywords"][0]["values"]) == ("filled", expected)
    assert await mirror.fetched() == before
    assert (await mirror.ask(SPAN)).plan == "local"


@pytest.mark.parametrize("policy", ["strict", "fallback", "offline"])
async def test_what_is_not_held_is_refused_with_what_is_missing(mirror, policy):
    await mirror.recnums(SPAN)
    await mirror.restart(MIRROR_UPSTREAM__POLICY=policy)
    await mirror.faults({"fault": "outage"})
    message = error(await mirror.ask("hmi.v_45s[2014.01.01_TAI/1h]"))
    assert "offline" in message if policy == "offline" else "cannot be reached" in message
    if policy != "strict":
        assert "hmi.V_45s is not cached for: T_REC 2014.01.01_00:30:00_TAI to 2014.01.01_00:59:15_TAI (40 slots)" in message
    if policy == "offline":
        assert len(await mirror.log(op="rs_list")) == 1


async def test_offline_never_asks_whatever_comes(mirror):
    await mirror.recnums(SPAN)
    await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
    before = len(await mirror.log())
    for ds in (
        "hmi.v_45s[$]",
        "hmi.v_45s[2015.01.01]",
        "aia.lev1[$]",
        "hmi.v_45s[:#99]",
        "hmi.v_45s[? QUALITY=0 ?]",
    ):
        for op in ("rs_list", "rs_summary", "series_struct"):
            await mirror.ask(ds, op=op)
    for path in (
        "/cgi-bin/ajax/show_series",
        "/cgi-bin/ajax/showextseries",
        "/",
        "/cgi-bin/ajax/jsoc_fetch?op=x",
    ):
        await mirror.get(path)
    assert len(await mirror.log()) == before


async def test_the_last_record_held_stands_for_the_last_when_jsoc_is_away(mirror):
    found = await mirror.recnums(SPAN)
    await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
    answer = await mirror.ask("hmi.v_45s[$]")
    assert (answer.plan, answer.json["keywords"][0]["values"]) == ("stale", found[-1:])


async def test_lists_that_are_old_are_served_when_jsoc_is_away(tmp_path):
    async with lab(tmp_path) as mirror:
        first = (await mirror.get("/cgi-bin/ajax/show_series")).json
        struct = (await mirror.ask("hmi.v_45s", op="series_struct")).told
        mirror.clock.forward(days=10)
        await mirror.faults({"fault": "outage"})
        assert (await mirror.get("/cgi-bin/ajax/show_series")).json == first
        assert (await mirror.ask("hmi.v_45s", op="series_struct")).told == struct
        await mirror.restart(MIRROR_UPSTREAM__POLICY="strict")
        assert error(await mirror.get("/cgi-bin/ajax/show_series"))
        assert error(await mirror.ask("hmi.v_45s", op="series_struct"))


@pytest.mark.parametrize("fault", [{"fault": "status", "message": "series not found."}, {"fault": "refuse"}])
async def test_a_structure_that_is_held_is_used_while_jsoc_is_out_of_order(mirror, fault):
    expected = await mirror.recnums(SPAN)
    mirror.clock.forward(hours=30)
    await mirror.faults({"match": {"op": "series_struct"}, **fault})
    assert await mirror.recnums(SPAN) == expected
    await mirror.restart(MIRROR_UPSTREAM__POLICY="strict")
    assert error(await mirror.ask(SPAN))
