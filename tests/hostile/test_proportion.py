"""Work towards JSOC in proportion to the question: what was not asked for is not fetched, by whatever way one asks."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.simulator.log import Log
from tests.filelab import synthetic
from tests.lab import lab

NOW = datetime(2023, 11, 14, tzinfo=UTC).timestamp()
JSON = {"Content-Type": "application/json"}


@contextmanager
def watched():
    """The requests that simulators get meanwhile, without asking them."""
    entries, add = [], Log.add

    def noted(log, entry):
        entries.append(entry)
        add(log, entry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Log, "add", noted)
        yield entries


def records(entries):
    """How many records were sent; a count sends none."""
    sent = [e for e in entries if e.program in ("jsoc_info", "show_info") and e.params.get("op") != "rs_summary"]
    return sum(e.records for e in sent)


async def assert_quiet(mirror, asked):
    """Nothing goes on behind the answer."""
    before = len(asked)
    for _ in range(50):
        await asyncio.sleep(0)
    assert mirror.running.filler.progress() == {}
    assert mirror.running.fills.list() == ()
    assert len(asked) == before


# ---- every question with n ---------------------------------------------------------------------------

CHUNK = 30
TIMES = st.sampled_from(
    ["2014.01.01_TAI", "2014.01.01_06:00_TAI", "2014.01.01_00:10_TAI", "2014.01.01_12:00:45_TAI", "2013.12.31_TAI"]
)
LENGTHS = st.sampled_from(["1s", "1m", "10m", "1h", "6h", "1d", "300d"])
STEPS = st.sampled_from(["", "", "", "@45s", "@90s", "@10m", "@1h"])
SPANS = st.one_of(
    st.builds(lambda t, d, s: f"{t}/{d}{s}", TIMES, LENGTHS, STEPS),
    st.builds(lambda t, u: f"{t}-{u}", TIMES, TIMES),
    st.builds(lambda t: f"{t}-", TIMES),
    st.builds(lambda t: f"-{t}", TIMES),
    st.sampled_from(["", "$", "^", "^,$", "2014.01.01-2030.01.01", "1977.01.01-2030.01.01@1d"]),
)
CONDITIONS = st.sampled_from(
    ["", "", "", "[? QUALITY = 0 ?]", "[? QUALITY <> 0 ?]", "[! 1=1 !]", "[? recnum > 5 ?]", "[? QUALITY < 0 ?]"]
)
WAVES = st.sampled_from(["", "[171]", "[94,131]", "[171-211]", "[WAVELNTH=304]", "[$]"])
HARPS = st.sampled_from(["", "3563", "3560-3570", "1-5000", "3563,3564", "$", "^", "1-100000@3"])
NUMBERS = st.builds(lambda a, b: f"[:#{a}-#{a + b}]", st.integers(1, 500), st.integers(0, 3000))
SETS = st.one_of(
    st.builds(lambda s, t, c: f"{s}[{t}]{c}", st.sampled_from(["hmi.v_45s", "hmi.M_720s", "hmi.ic_45s"]), SPANS, CONDITIONS),
    st.builds(lambda t, w, c: f"aia.lev1_euv_12s[{t}]{w}{c}", SPANS, WAVES, CONDITIONS),
    st.builds(lambda h, t, c: f"hmi.sharp_720s[{h}][{t}]{c}", HARPS, SPANS, CONDITIONS),
    st.builds(lambda s, n: s + n, st.sampled_from(["hmi.v_45s", "hmi.sharp_720s", "su_test.zoo"]), NUMBERS),
    st.builds(
        lambda s, c: s + c,
        st.sampled_from(["su_test.zoo", "su_test.noprime", "su_test.nokeyidx", "su_test.carr", "hmi.v_sht_modes",
                         "su_test.latslot", "hmi.v_45s", "hmi.M_720s", "aia.lev1_euv_12s", "hmi.sharp_720s"]),
        st.sampled_from(["", "[]", "[$]", "[^]", "[][$]", "[? recnum > 3 ?]"]),
    ),
)  # fmt: skip
QUESTIONS = st.tuples(
    st.one_of(SETS, SETS, SETS, st.lists(SETS, min_size=2, max_size=3).map(",".join)),
    st.integers(-40, 40).filter(bool),
)


@pytest.fixture(scope="module")
def asked_with_n(tmp_path_factory):
    """A mirror of small chunks, what its upstream was asked, and how to run something in its loop."""
    with asyncio.Runner() as runner, watched() as asked:
        made = lab(tmp_path_factory.mktemp("n"), MIRROR_FILL__CHUNK_RECORDS=str(CHUNK))
        mirror = runner.run(made.__aenter__())
        yield mirror, asked, runner.run
        runner.run(made.__aexit__(None, None, None))


@settings(max_examples=80)
@given(question=QUESTIONS)
def test_a_question_with_n_takes_its_answer_and_a_chunk_at_most(asked_with_n, question):
    mirror, asked, run = asked_with_n
    ds, n = question

    async def ask():
        asked.clear()
        answer = await mirror.ask(ds, n=str(n))
        taken = records(asked)
        await assert_quiet(mirror, asked)
        return answer, taken

    answer, taken = run(ask())
    count = answer.json.get("count", 0)
    assert taken <= count + CHUNK, (question, count, taken, answer.plan)


# ---- the ways to ask, on series of the real size -----------------------------------------------------------


@pytest_asyncio.fixture
async def archive(tmp_path):
    """A mirror in front of an archive with series of millions of records, and what that is asked."""
    with watched() as asked:
        async with lab(tmp_path, synthetic(NOW), MIRROR_FILL__CHUNK_RECORDS="1000") as mirror:
            yield mirror, asked


@pytest.mark.parametrize(
    "ds, n",
    [
        ("aia.lev1_euv_12s[][171]", -1),
        ("hmi.ic_45s[2019.02.10_TAI/300d]", 3),
        ("hmi.M_720s", 5),
        ("hmi.M_720s[]", -5),
        ("hmi.M_720s[$]", 1),
        ("hmi.M_720s[^]", 1),
        ("hmi.v_45s[2014.01.01_TAI-2030.01.01_TAI]", 4),
        ("hmi.v_45s[1977.01.01_TAI-2030.01.01_TAI]", -4),
        ("hmi.sharp_720s[1-5000]", 7),
        ("hmi.sharp_720s[][2014.01.01_TAI/100d]", -7),
        ("hmi.v_45s[2014.01.01_TAI/300d@90s]", 3),
        ("hmi.v_45s[2011.01.01_TAI/4000d@90s]", 3),
        ("hmi.v_45s[2014.01.01_TAI/300d],hmi.m_45s[2014.01.01_TAI/300d],hmi.ic_45s[]", 3),
    ],
)
async def test_a_few_of_many_are_forwarded(archive, ds, n):
    mirror, asked = archive
    answer = await mirror.ask(ds, n=str(n))
    assert answer.json["status"] == 0, answer.body
    assert answer.json["count"] > 0 or "QUALITY" in ds
    assert records(asked) <= answer.json["count"] + 1000
    await assert_quiet(mirror, asked)
    page = await mirror.get("/search", {"ds": ds, "n": str(n)})
    assert page.code in (200, 403), page.body[:300]
    api = await mirror.get("/api/search", {"ds": ds, "n": str(n)})
    assert api.code in (200, 400, 403)
    assert records(asked) <= 3 * (answer.json["count"] + 1000)
    await assert_quiet(mirror, asked)


@pytest.mark.parametrize("n", [{}, {"n": "0"}])
@pytest.mark.parametrize("ds", ["hmi.M_720s", "aia.lev1_euv_12s", "hmi.v_45s[2014.01.01-2030.01.01]", "hmi.ic_45s[2012.02.10_TAI/3000d]"])
async def test_what_jsoc_refuses_begins_nothing(archive, ds, n):
    mirror, asked = archive
    answer = await mirror.ask(ds, **n)
    assert answer.json["status"] == 1
    assert sum(e.records for e in asked if e.params.get("op") == "rs_list") == 0
    await assert_quiet(mirror, asked)


WIDE = "hmi.ic_45s[2019.02.10_TAI/300d]"


@pytest.mark.parametrize(
    "path, params",
    [
        ("/search", {"ds": WIDE}),
        ("/search", {"ds": WIDE, "n": "-100", "pictures": "continuum"}),
        ("/search/builder", {"series": "hmi.ic_45s"}),
        ("/api/check-query", {"ds": WIDE}),
        ("/api/check-query", {"ds": "aia.lev1_euv_12s[$][171]"}),
        ("/api/build-query", {"b.series": "hmi.ic_45s", "start.T_REC": "2019.02.10_TAI", "length.T_REC": "300d"}),
        ("/api/gaps", {"ds": WIDE}),
        ("/api/estimate", {"ds": WIDE}),
        ("/coverage", {"series": "hmi.ic_45s"}),
        ("/api/coverage/days", {"series": "hmi.ic_45s", "year": "2019"}),
        ("/series/hmi.ic_45s", {}),
        ("/api/quicklook", {"ds": WIDE, "number": "1"}),
        ("/api/files", {"ds": WIDE, "n": "2"}),
        ("/cgi-bin/ajax/jsoc_info", {"op": "rs_summary", "ds": WIDE}),
        ("/cgi-bin/ajax/jsoc_info", {"op": "rs_summary", "ds": "hmi.sharp_720s[$]"}),
        ("/cgi-bin/ajax/show_info", {"ds": WIDE, "c": "1"}),
        ("/cgi-bin/ajax/show_info", {"ds": WIDE, "n": "-2", "key": "T_REC"}),
        ("/cgi-bin/ajax/jsoc_fetch", {"op": "exp_request", "ds": WIDE, "method": "url_quick", "protocol": "as-is",
                                      "process": "n=2|no_op"}),
        ("/api/search", {"ds": WIDE, "where": "DATAMEAN > 0", "n": "3"}),
        ("/api/search", {"ds": WIDE, "where": "DATAMEAN > 0"}),
        ("/search", {"ds": WIDE, "where": "DATAMEAN > 0"}),
        ("/search", {"ds": "hmi.v_45s[2011.01.01_TAI/4000d@90s]", "where": "DATAMEAN > 0"}),
        ("/api/sql", {"query": f"SELECT count(*) FROM jsoc('{WIDE}')"}),
    ],
)  # fmt: skip
async def test_who_only_looks_has_nothing_fetched_behind_his_back(archive, path, params):
    mirror, asked = archive
    answer = await mirror.get(path, params)
    assert answer.code < 500 or "not cached" in answer.json["error"], answer.body[:300]
    fetched = sum(e.records for e in asked if e.params.get("op") != "rs_summary")
    assert fetched <= 2 * 1000, (path, fetched)
    await assert_quiet(mirror, asked)


async def test_a_condition_that_picks_few_of_many_is_forwarded(archive):
    mirror, asked = archive
    answer = await mirror.ask("hmi.v_45s[2014.01.01_TAI/100d][? QUALITY > 1000000000 ?]")
    assert (answer.json["status"], answer.plan) == (0, "forwarded")
    fetched = sum(e.records for e in asked if e.params.get("op") == "rs_list")
    assert fetched <= answer.json["count"] + 1000
    await assert_quiet(mirror, asked)


async def test_a_small_series_that_was_seen_whole_is_held(tmp_path):
    async with lab(tmp_path) as mirror:
        assert (await mirror.ask("hmi.v_sht_modes", n="1000")).plan == "forwarded"
        await mirror.faults({"fault": "outage"})
        assert (await mirror.ask("hmi.v_sht_modes", n="1000")).plan == "local"
        assert (await mirror.ask("hmi.v_sht_modes[]")).plan == "local"


async def test_sql_that_asks_for_much_is_refused_and_begins_no_fill(archive):
    mirror, asked = archive
    query = f"SELECT count(*) FROM jsoc('{WIDE}', fill := true)"
    answer = await mirror.request("POST", "/api/sql", data=json.dumps({"query": query}), headers=JSON)
    assert answer.code == 413
    assert "`mirror fill`" in answer.json["error"]
    assert mirror.running.fills.list() == ()
    await assert_quiet(mirror, asked)


async def test_held_records_that_are_due_for_a_check_are_checked_in_proportion(tmp_path):
    with watched() as asked:
        async with lab(tmp_path, MIRROR_FILL__CHUNK_RECORDS=str(CHUNK)) as mirror:
            await mirror.recnums("hmi.v_45s[2014.01.01_TAI/12h]")
            mirror.clock.forward(days=200)
            asked.clear()
            answer = await mirror.ask("hmi.v_45s[2014.01.01_TAI/12h]", n="3")
            assert (answer.json["count"], answer.plan) == (3, "forwarded")
            assert records(asked) <= 3 + CHUNK
            await mirror.faults({"fault": "outage"})
            assert (await mirror.ask("hmi.v_45s[2014.01.01_TAI/12h]", n="3")).plan == "local"
            assert (await mirror.ask("hmi.v_45s[2014.01.01_TAI/12h]", n="4")).plan == "stale"
