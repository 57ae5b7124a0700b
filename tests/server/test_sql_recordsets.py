"""Record sets in SQL, and SQL in searches, through the whole mirror."""

from __future__ import annotations

import asyncio
import os

import pytest
import pytest_asyncio

from mirror.drms.times import parse_time
from mirror.storage.index import reader
from tests.filelab import file_lab, synthetic
from tests.lab import Lab, lab, rows, sql
from tests.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"
GOOD = f"{HOUR}[? QUALITY=0 ?]"
REGIONS = "hmi.sharp_720s[][2014.01.01_TAI/12m]"
SHARPS = "hmi.sharp_cea_720s[][2014.01.01_TAI/2h]"
ENDLESS = "SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range = 7"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        for ds in (HOUR, SHARPS):
            await made.ask(ds)
        yield made


async def printed(mirror: Lab, ds: str, *keys: str) -> list[tuple[str, ...]]:
    columns = (await mirror.ask(ds, ",".join(keys))).json["keywords"]
    return list(zip(*(column["values"] for column in columns), strict=True))


# ---- what people ask ------------------------------------------------------------------------------


async def test_the_mean_of_each_day_where_the_quality_is_good(mirror):
    found = await rows(
        mirror,
        "SELECT floor(t_rec_tai / 86400) AS day, avg(datamean) FROM jsoc('hmi.v_45s[2014.01.01_TAI/1d]', fill := true) "
        "WHERE quality = 0 GROUP BY day ORDER BY day",
    )
    told = await printed(mirror, "hmi.v_45s[2014.01.01_TAI/1d]", "QUALITY", "DATAMEAN")
    good = [float(mean) for quality, mean in told if int(quality, 16) == 0]
    assert found == [[parse_time("2014.01.01_TAI") // 86400, pytest.approx(sum(good) / len(good))]]


async def test_strong_regions_near_the_disk_centre_and_the_files_that_are_held_of_them(tmp_path):
    async with file_lab(tmp_path, synthetic()) as made:
        told = await printed(made, REGIONS, "*recnum*", "USFLUX", "LON_FWT")
        paths = (await made.ask(REGIONS, None, seg="magnetogram")).json["segments"][0]["values"]
        strong = sorted(float(flux) for _, flux, _ in told)[len(told) // 2]
        meant = {
            int(n): path
            for (n, flux, longitude), path in zip(told, paths, strict=True)
            if float(flux) > strong and abs(float(longitude)) < 30
        }
        first = min(meant)
        await made.exported(f"hmi.sharp_720s[:#{first}]{{magnetogram}}", "url", "as-is")
        found = await rows(
            made,
            f"SELECT s.recnum, h.path FROM jsoc('{REGIONS}') s LEFT JOIN mirror.holdings h "
            "ON h.series = 'hmi.sharp_720s' AND h.recnum = s.recnum "
            f"WHERE s.usflux > {strong!r} AND abs(s.lon_fwt) < 30 ORDER BY s.recnum",
        )
        assert found == [[n, meant[n] if n == first else None] for n in sorted(meant)]


async def test_how_long_after_observation_jsoc_published(mirror):
    [[delay]] = await rows(mirror, f"SELECT max(epoch(date - t_obs)) FROM jsoc('{HOUR}')")
    told = await printed(mirror, HOUR, "DATE", "T_OBS")
    delays = [
        parse_time(d) - parse_time(o)
        for d, o in told
        if "MISSING" not in (d, o) and not o.startswith("-4712")
    ]
    assert delay == pytest.approx(max(delays), abs=1.01)  # of leap seconds TIMESTAMPs know nothing


# ---- record sets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ds",
    [
        HOUR,
        GOOD,
        "hmi.v_45s[2014.01.01_TAI/1h@3m]",
        "hmi.v_45s[2014.01.01_00:10_TAI-2014.01.01_00:20_TAI]",
        f"{HOUR}[? CRLT_OBS < -2 ?]",
        "hmi.v_45s[2014.01.01_TAI/10m],hmi.v_45s[2014.01.01_00:30_TAI/10m]",
        SHARPS,
        f"{SHARPS}[? NOAA_AR > 0 ?]",
        "hmi.v_45s[2014.01.01_TAI/30m][! QUALITY=0 !]",
    ],
)
async def test_a_record_set_is_the_records_that_a_search_finds(mirror, ds):
    numbers = await mirror.recnums(ds)
    found = await rows(mirror, f"SELECT recnum FROM jsoc('{ds}')", fill=True)
    assert sorted(n for [n] in found) == sorted(numbers) != []


async def test_record_numbers_are_a_record_set_too(mirror):
    first, *_, last = await mirror.recnums(HOUR)
    found = await rows(mirror, f"SELECT recnum FROM jsoc('hmi.v_45s[:#{first},#{last}]') ORDER BY 1")
    assert found == [[first], [last]]


async def test_a_call_is_a_table_named_as_it_is_or_as_one_likes(mirror):
    [[named]] = await rows(mirror, f"SELECT count(jsoc.recnum) FROM jsoc('{HOUR}')")
    [[renamed]] = await rows(mirror, f"SELECT count(v.recnum) FROM jsoc ( '{HOUR}' ) AS v")
    [[joined]] = await rows(
        mirror, f"SELECT count(*) FROM jsoc('{HOUR}') a JOIN jsoc('{GOOD}') b USING (recnum)"
    )
    assert named == renamed > joined > 0


async def test_what_is_missing_is_said_and_nothing_is_fetched(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask("hmi.v_45s[2014.01.01_TAI/10m]")
        before = await made.fetched()
        answer = await sql(made, f"SELECT count(*) FROM jsoc('{HOUR}')")
        assert answer.code == 503
        assert "2014.01.01_00:09:45" in answer.json["error"] and "fill := true" in answer.json["error"]
        assert len(answer.json["missing"]) == 1
        assert await made.fetched() == before


async def test_what_is_missing_is_fetched_once_for_all_who_ask_for_it(tmp_path):
    async with lab(tmp_path) as made:
        statement = f"SELECT count(*) FROM jsoc('{HOUR}')"
        found = await asyncio.gather(*(rows(made, statement, fill=True) for _ in range(4)))
        assert found == [[[80]]] * 4
        assert await made.fetched() == 80
        assert await rows(made, statement) == [[80]]
        answer = await made.get("/api/sql", {"query": statement, "fill": "1", "format": "csv"})
        assert answer.body.split() == [b'"count_star()"', b"80"]
        assert await made.fetched() == 80


async def test_a_record_that_is_replaced_meanwhile_is_not_lost(tmp_path):
    async with lab(tmp_path) as made:
        held = await made.recnums(GOOD)
        await made.reprocess("hmi.v_45s[2014.01.01_TAI/90s]")
        made.clock.forward(days=365)
        new = await made.recnums(GOOD)
        assert new != held
        found = await rows(made, f"SELECT recnum FROM jsoc('{GOOD}') ORDER BY t_rec")
        assert [n for [n] in found] == new


async def test_what_a_condition_cannot_tell_is_asked_of_jsoc_or_refused(mirror):
    ds = f"{HOUR}[? DATAMEAN > 0 ?]"  # one is NaN, which is greater than all to JSOC
    answer = await sql(mirror, f"SELECT count(*) FROM jsoc('{ds}')")
    assert answer.code == 503 and "not precise enough" in answer.json["error"]
    [[count]] = await rows(mirror, f"SELECT count(*) FROM jsoc('{ds}')", fill=True)
    assert count == len(await mirror.upstream(ds))


async def test_a_set_without_records_is_an_empty_table_with_columns(mirror):
    ds = "hmi.v_45s[2014.01.01_TAI/1h][? QUALITY=12345 ?]"
    assert await rows(mirror, f"SELECT datamean, t_rec FROM jsoc('{ds}')") == []


async def test_explain_tells_of_the_plan(mirror):
    [[_, plan]] = await rows(mirror, f"EXPLAIN SELECT t_rec FROM jsoc('{GOOD}')")
    assert "READ_PARQUET" in plan.upper() or "PARQUET" in plan.upper()


@pytest.mark.parametrize(
    "statement, place, words",
    [
        (f"SELECT 'é', foo FROM jsoc('{HOUR}')", "foo", "not found"),
        (f"SELECT v.t_rec FROM jsoc('{HOUR}') v, jsoc('{GOOD}') w WHERE foo = 1", "foo", "not found"),
        (f"EXPLAIN SELECT foo FROM jsoc('{HOUR}')", "foo", "not found"),
        ("SELECT 1 FROM jsoc('hmi.v_45s[2014.01.01_TAI/1h')", "[2014", "not closed"),
        ("SELECT ''''\nFROM jsoc('hmi.v_45s[? TELESCOP = ''x'' ] ?]')", "] ?]", ""),
        ("SELECT 1 FROM jsoc(?)", "?", "expected jsoc('"),
        (f"SELECT jsoc('{HOUR}')", "jsoc", "is a table"),
    ],
)
async def test_errors_point_into_the_statement_as_it_was_written(mirror, statement, place, words):
    answer = await sql(mirror, statement)
    assert (answer.code, answer.json["position"]) == (400, statement.index(place))
    assert words in answer.json["error"]
    assert '"jsoc 1"' not in answer.json["error"]


async def test_sets_of_several_series_are_refused(mirror):
    answer = await sql(mirror, f"SELECT 1 FROM jsoc('{HOUR},{SHARPS}')")
    assert (answer.code, "names 2 series" in answer.json["error"]) == (400, True)


async def test_fill_is_true_or_false(mirror):
    answer = await sql(mirror, "SELECT 1", fill="maybe")
    assert (answer.code, "expected true or false" in answer.json["error"]) == (400, True)


async def test_functions_know_the_axes_of_the_series(mirror):
    statement = "SELECT count(*) FROM hmi.v_45s WHERE slot('hmi.v_45s', t_rec) IS DISTINCT FROM t_rec_index"
    assert await rows(mirror, statement) == [[0]]
    [[bits]] = await rows(
        mirror, "SELECT count(*) FROM hmi.v_45s WHERE (quality = 0) <> (quality_bits(quality) = [])"
    )
    assert bits == 0


async def test_a_bad_time_is_an_error_in_words(mirror):
    answer = await sql(mirror, "SELECT jsoc_time('yesterday')")
    assert answer.json["error"].startswith("'yesterday' is not a time; expected a time such as")


# ---- searches with a condition --------------------------------------------------------------------


async def search(mirror: Lab, **params: str):
    return await mirror.get("/api/search", params)


async def test_a_search_takes_a_condition_in_sql_and_prints_as_ever(mirror):
    whole = (await search(mirror, ds=SHARPS, key="HARPNUM,T_REC,USFLUX,CRLT_OBS", seg="magnetogram")).json
    where = "USFLUX > 1e21 AND T_REC < jsoc_time('2014.01.01_01:00:00_TAI') -- strong"
    found = (
        await search(mirror, ds=SHARPS, key="HARPNUM,T_REC,USFLUX,CRLT_OBS", seg="magnetogram", where=where)
    ).json
    assert found["columns"] == whole["columns"]
    assert found["rows"] == [r for r in whole["rows"] if float(r[2]) > 1e21 and r[1] < "2014.01.01_01"] != []
    assert found["count"] == len(found["rows"]) < whole["count"]
    assert found["plan"] == "local"


async def test_n_counts_what_the_condition_leaves(mirror):
    everything = (await search(mirror, ds=HOUR, where="datamean > 2")).json["rows"]
    assert (await search(mirror, ds=HOUR, where="datamean > 2", n="2")).json["rows"] == everything[:2]
    assert (await search(mirror, ds=HOUR, where="datamean > 2", n="-2")).json["rows"] == everything[-2:]


async def test_a_search_with_a_condition_fetches_what_is_missing(tmp_path):
    async with lab(tmp_path) as made:
        held = await made.get(
            "/api/search", {"ds": HOUR, "where": "TRUE"}, headers={"Cache-Control": "only-if-cached"}
        )
        assert held.code == 504
        found = (await made.get("/api/search", {"ds": HOUR, "where": "TRUE"})).json
        assert (found["count"], found["plan"]) == (80, "filled")


async def test_a_condition_may_ask_other_tables(mirror):
    where = "recnum IN (SELECT max(recnum) FROM hmi.v_45s) OR recnum IN (SELECT recnum FROM mirror.holdings)"
    assert (await search(mirror, ds=HOUR, where=where)).json["count"] <= 1


async def test_a_condition_without_records_gives_the_columns(mirror):
    found = (await search(mirror, ds=HOUR, key="T_REC,DATAMEAN", where="FALSE")).json
    assert (found["columns"], found["rows"]) == (["T_REC", "DATAMEAN"], [])


@pytest.mark.parametrize(
    "where, position, words",
    [
        ("foo > 1", 0, "foo"),
        ("1 = 1 AND foo > 1", 10, "foo"),
        ("1 = 1) OR (1 = 1", 5, "before its end"),
        ("1 = 1; SELECT 2", 5, "before its end"),
        ("(1 = 1", 6, "expected ')'"),
        ("", None, "empty"),
        ("-- nothing", None, "empty"),
    ],
)
async def test_a_wrong_condition_is_told_with_its_place(mirror, where, position, words):
    answer = await search(mirror, ds=HOUR, where=where)
    assert (answer.code, answer.json.get("position")) == (400, position)
    assert words in answer.json["error"]


async def test_a_wrong_record_set_is_told_with_its_place_beside_a_condition(mirror):
    answer = await search(mirror, ds="hmi.v_45s[2014.01.01", where="1 = 1", key="T_REC")
    assert (answer.code, answer.json["position"]) == (400, 9)


async def test_records_are_found_again_up_to_a_limit(mirror, monkeypatch):
    monkeypatch.setattr(reader, "MOST_RECORDS", 10)
    answer = await search(mirror, ds=HOUR, where="TRUE", key="T_REC")
    assert (answer.code, "more than 10 records" in answer.json["error"]) == (403, True)
    monkeypatch.setattr(reader, "MOST_NUMBERS", 10)
    answer = await sql(mirror, f"SELECT 1 FROM jsoc('{GOOD}')")
    assert (answer.code, "more than 10 records" in answer.json["error"]) == (403, True)


# ---- hanging up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/sql", "/api/search"])
async def test_whoever_hangs_up_before_the_first_byte_ends_the_statement(mirror, path):
    statement = ENDLESS if path == "/api/sql" else f"0 < ({ENDLESS})"
    params = {"query": statement} if path == "/api/sql" else {"ds": HOUR, "where": statement}
    asking = asyncio.ensure_future(mirror.get(path, params))
    pid = await busy(mirror)
    asking.cancel()
    async with asyncio.timeout(PATIENCE):  # the statement has no end of its own
        await ended(pid)
    assert await rows(mirror, "SELECT 1") == [[1]]


async def busy(mirror: Lab) -> int:
    """The process of a statement, once one runs."""
    while not (running := mirror.running.analytics.running()):  # noqa: ASYNC110  (another process is waited for)
        await asyncio.sleep(0.01)
    return running[0]


async def ended(pid: int) -> None:
    """Return once a process is gone."""
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.01)
