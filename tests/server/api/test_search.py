"""The mirror's own API: JSON with HTTP codes, and the counters."""

from __future__ import annotations

import re

import pytest
import pytest_asyncio

from tests.lab import lab

DAY = "hmi.v_45s[2014.01.01_TAI/1h]"


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with lab(tmp_path) as made:
        yield made


async def search(mirror, **params):
    return await mirror.get("/api/search", params)


# ---- search -------------------------------------------------------------------------------------


async def test_a_search_gives_rows_below_the_names_of_columns(mirror):
    params = {"ds": "hmi.v_45s[2014.01.01_TAI/90s]", "key": "T_REC, QUALITY,*recnum*", "seg": "Dopplergram"}
    found = await search(mirror, **params)
    assert found.plan == "filled"
    payload = found.json
    assert payload["columns"] == ["T_REC", "QUALITY", "*recnum*", "Dopplergram"]
    assert payload["rows"][0][:3] == ["2014.01.01_00:00:00_TAI", "0x00000000", 1]
    assert payload["rows"][0][3].startswith("/SUM")
    assert (payload["count"], payload["plan"]) == (2, "filled")
    assert (await search(mirror, **params)).json == {**payload, "plan": "local"}


async def test_a_search_without_names_gives_the_prime_keys(mirror):
    payload = (await search(mirror, ds="hmi.v_45s[2014.01.01_TAI/90s]")).json
    assert payload["columns"] == ["T_REC", "CAMERA"]


async def test_a_search_that_finds_nothing_has_its_columns(mirror):
    payload = (await search(mirror, ds="hmi.v_45s[2005.01.01_TAI]", key="T_REC,CAMERA")).json
    assert (payload["columns"], payload["rows"], payload["count"]) == (["T_REC", "CAMERA"], [], 0)


@pytest.mark.parametrize("n, seconds", [("1", [0]), ("-1", [2]), ("2", [0, 1])])
async def test_n_takes_the_first_or_the_last(mirror, n, seconds):
    rows = (await search(mirror, ds="hmi.v_45s[2014.01.01_TAI/135s]", key="T_REC_index", n=n)).json["rows"]
    first = 14726400
    assert [int(r[0]) - first for r in rows] == seconds


async def test_every_segment_of_records_with_links_that_do_not_resolve_is_a_row_each(mirror):
    for ds, named in (
        ("hmi.sharp_720s[3563][2014.01.01_TAI/4h]", "magnetogram,Dopplergram"),
        ("hmi.sharp_cea_720s", "magnetogram,Dopplergram"),
        ("su_test.V_45s_shadowed[2014.01.01_TAI/1h]", "Dopplergram"),
    ):
        for seg in ("**ALL**", named):
            payload = (await search(mirror, ds=ds, key="*recnum*", seg=seg)).json
            assert len(payload["rows"]) == payload["count"] > 0
            assert {len(row) for row in payload["rows"]} == {len(payload["columns"])}


async def test_a_series_without_prime_keys_shows_record_numbers(mirror):
    payload = (await search(mirror, ds="su_test.noprime")).json
    assert len(payload["rows"]) == payload["count"] > 0


@pytest.mark.parametrize(
    "params, code, word",
    [
        ({}, 400, "ds is missing"),
        ({"ds": "hmi.v_45s[x"}, 400, "^"),
        ({"ds": "hmi.nosuch"}, 404, "not found"),
        ({"ds": "hmi.v_45s[NOSUCH=1]"}, 404, "NOSUCH"),
        ({"ds": "hmi.v_45s[? QUALITY IN (SELECT oid FROM pg_class) ?]"}, 400, "subselect"),
    ],
)
async def test_errors_have_a_code_and_a_message(mirror, params, code, word):
    found = await mirror.get("/api/search", params)
    assert found.code in (code, 403)
    assert word in found.json["error"]
    if "^" in word:
        assert found.json["position"] > 0


async def test_failures_of_upstream_have_codes_of_their_own(mirror):
    await mirror.ask("hmi.v_45s", op="series_struct")
    await mirror.restart(MIRROR_UPSTREAM__POLICY="strict")
    codes = []
    for fault in ("refuse", "broken_json", "status"):
        await mirror.faults({"match": {"op": "rs_list"}, "fault": fault})
        codes.append((await search(mirror, ds=DAY)).code)
    assert codes == [504, 502, 502]
    await mirror.restart(MIRROR_UPSTREAM__POLICY="offline")
    refused = await search(mirror, ds=DAY)
    assert refused.code == 503
    assert refused.json["missing"][0].startswith("hmi.V_45s[T_REC_index=")


# ---- what is held -------------------------------------------------------------------------------


async def test_coverage_tells_spans_as_the_key_prints_them(mirror):
    await mirror.ask(DAY)
    await mirror.ask("aia.lev1_euv_12s[2014.01.01/1m][171]")
    await mirror.ask("hmi.sharp_720s[3563]")
    await mirror.ask("hmi.m_45s[:#5-#9]")
    spans = {s["series"]: s for s in (await mirror.get("/api/coverage")).json}
    assert spans["hmi.V_45s"].items() >= {
        "restriction": "", "first": "2014.01.01_00:00:00_TAI", "last": "2014.01.01_00:59:15_TAI", "slots": 80,
    }.items()  # fmt: skip
    assert spans["hmi.V_45s"]["checked_at"] == mirror.clock.seconds
    assert spans["aia.lev1_euv_12s"]["restriction"] == "WAVELNTH=171"
    assert (
        spans["hmi.sharp_720s"].items()
        >= {"restriction": "HARPNUM=3563", "first": None, "slots": None}.items()
    )
    assert (
        spans["hmi.M_45s"].items() >= {"restriction": "by record number", "first": "5", "last": "9"}.items()
    )
    only = (await mirror.get("/api/coverage", {"series": "HMI.v_45s"})).json
    assert [s["series"] for s in only] == ["hmi.V_45s"]


async def test_series_tells_what_is_known_of_each(mirror):
    assert (await mirror.get("/api/series")).json == []
    await mirror.ask(DAY)
    (series,) = (await mirror.get("/api/series")).json
    assert series.items() >= {"series": "hmi.V_45s", "records": 80, "primekeys": ["T_REC", "CAMERA"]}.items()
    assert series["segments"] == ["Dopplergram"]
    assert series["keywords"] > 60


async def test_status_tells_policy_counts_and_how_upstream_is(mirror):
    await mirror.ask(DAY)
    await mirror.ask(DAY)
    mirror.clock.forward(hours=1)
    status = (await mirror.get("/api/status")).json
    assert (
        status.items()
        >= {"policy": "fallback", "series": 1, "records": 80, "fills": [], "uptime_seconds": 3600}.items()
    )
    assert status["searches"] == {"filled": 1, "local": 1}
    assert status["upstream"].items() >= {"state": "ok", "requests": 2, "failed": 0, "running": 0}.items()
    await mirror.faults({"fault": "refuse"})
    await mirror.ask("hmi.v_45s[2014.01.02_TAI]")
    assert (await mirror.get("/healthz")).json.items() >= {"status": "ok", "upstream": "failing"}.items()


async def test_metrics_have_the_names_that_others_rely_on(mirror):
    await mirror.ask(DAY)
    text = (await mirror.get("/metrics")).body.decode()
    for sample in (
        r'mirror_upstream_requests_total\{outcome="ok",program="jsoc_info"\} 2\.0',
        r'mirror_upstream_records_total\{series="hmi\.v_45s"\} 80\.0',
        r"mirror_upstream_bytes_total \d{4,}\.0",
        r'mirror_searches_total\{plan="filled"\} 1\.0',
        r"mirror_blob_bytes \d+\.0",
        r'mirror_records\{series="hmi\.V_45s"\} 80\.0',
    ):
        assert re.search(rf"^{sample}$", text, re.MULTILINE), sample
    names = re.findall(r"^# TYPE (\S+) (?:counter|gauge)$", text, re.MULTILINE)
    assert len(names) == len(set(names)) >= 6


@pytest.mark.parametrize(
    "path", ["/api/search", "/api/series", "/api/coverage", "/api/status", "/healthz", "/metrics"]
)
async def test_what_watches_answers_while_upstream_is_away(mirror, path):
    await mirror.faults({"fault": "outage"})
    assert (await mirror.get(path, {"ds": "hmi.v_45s"})).code == (504 if path == "/api/search" else 200)
