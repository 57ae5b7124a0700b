"""The simulator on loopback: its programs, its log, and every fault as a client meets it."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient, TestServer

from mirror.simulator.app import Clock, build_app, run
from mirror.simulator.faults import Fault
from tests.waiting import PATIENCE

JSOC_INFO = "/cgi-bin/ajax/jsoc_info"
DAY = {"op": "rs_list", "ds": "hmi.m_45s[2014.01.01_TAI/1h]", "key": "T_REC,*recnum*"}


class Waits:
    """A sleep that takes no time and remembers what it was asked for."""

    def __init__(self):
        self.seconds = []

    async def __call__(self, seconds):
        self.seconds.append(seconds)


@pytest.fixture
def waits():
    return Waits()


@pytest_asyncio.fixture
async def start(world, waits):
    """Starts a simulator with these faults; its clock stands still and its waiting takes no time."""
    clients = []

    async def started(*faults, latency=0.0):
        clock = Clock(now=lambda: 1700000000.0, steady=lambda: 5.0, sleep=waits)
        app = build_app(world, faults=faults, latency=latency, clock=clock)
        client = TestClient(TestServer(app))
        clients.append(client)
        await client.start_server()
        return client

    yield started
    for client in clients:
        await client.close()


async def answer(client, params=DAY):
    response = await client.get(JSOC_INFO, params=params)
    return response, await response.read()


async def log(client):
    return await (await client.get("/_simulator/log")).json()


# ---- programs -------------------------------------------------------------------------------------


async def test_a_post_is_answered_like_a_get(client):
    _, got = await answer(client)
    posted = await client.post(JSOC_INFO, data=DAY)
    strip = lambda body: {k: v for k, v in json.loads(body).items() if k != "runtime"}  # noqa: E731
    assert strip(await posted.read()) == strip(got)


async def test_the_runtime_is_that_of_the_request(start):
    _, body = await answer(await start())
    assert b'"runtime":0.000,' in body


async def test_the_address_of_a_stranger_is_unknown_and_all_others_are_registered(client):
    statuses = {}
    for address in ("me@lab.edu", "me%40lab.edu", "notregistered@example.com", "not-valid", ""):
        response = await client.get("/cgi-bin/ajax/checkAddress.sh", params={"address": address, "checkonly": "1"})
        statuses[address] = json.loads(await response.read())["status"]
    assert statuses == {
        "me@lab.edu": 2,
        "me%40lab.edu": 2,
        "notregistered@example.com": 4,
        "not-valid": -2,
        "": -2,
    }


async def test_show_info_prints_a_table(client):
    params = {"ds": "hmi.m_45s[2014.01.01_TAI/90s]", "key": "T_REC,CAMERA", "r": "1"}
    text = await (await client.get("/cgi-bin/ajax/show_info", params=params)).text()
    assert text.splitlines() == [
        "recnum\tT_REC\tCAMERA",
        "     1\t2014.01.01_00:00:00_TAI\t2",
        "     2\t2014.01.01_00:00:45_TAI\t2",
    ]


async def test_show_info_counts(client):
    params = {"ds": "hmi.m_45s[2014.01.01_TAI/90s]", "c": "1"}
    text = await (await client.get("/cgi-bin/ajax/show_info", params=params)).text()
    assert text.split()[0] == "2"


async def test_showextseries_tells_notes_on_request(client):
    response = await client.get("/cgi-bin/ajax/showextseries", params={"filter": "noprime", "info": "1"})
    assert json.loads(await response.read())["seriesList"] == [{"su_test.noprime": {"description": "no prime key"}}]


async def test_an_unknown_program_is_an_error_that_names_the_ones_there_are(client):
    response = await client.get("/cgi-bin/ajax/jsoc_nothing", params={"op": "exp_request"})
    body = json.loads(await response.read())
    assert body["status"] == 1
    assert "jsoc_info" in body["error"]


async def test_a_request_that_is_not_understood_is_status_1_with_http_200(client):
    response, body = await answer(client, {**DAY, "ds": "hmi.m_45s[2014.01.01_TAI"})
    assert response.status == 200
    assert json.loads(body)["status"] == 1


async def test_the_root_is_a_page_and_healthz_says_ok(client):
    assert (await client.get("/")).status == 200
    assert await (await client.get("/healthz")).text() == "ok\n"


# ---- log and latency ------------------------------------------------------------------------------


async def test_the_log_tells_each_request_with_its_records_and_bytes(start):
    client = await start()
    _, body = await answer(client)
    await answer(client, {"op": "rs_list", "ds": "nosuch.series[$]"})
    await client.get("/healthz")
    first, second = await log(client)
    records = json.loads(body)["count"]
    assert first == {
        "time": 1700000000.0,
        "program": "jsoc_info",
        "params": DAY,
        "status": 0,
        "records": records,
        "bytes": len(body),
    }
    assert (second["status"], second["records"]) == (1, 0)


async def test_latency_delays_every_answer_of_a_program_and_nothing_else(start, waits):
    client = await start(latency=250.0)
    await answer(client)
    await client.get("/healthz")
    await client.get("/_simulator/log")
    assert waits.seconds == [0.25]


# ---- faults -----------------------------------------------------------------------------------------


async def test_refuse_cuts_the_connection_without_an_answer(start):
    client = await start(Fault("refuse", times=1))
    with pytest.raises(aiohttp.ClientConnectionError):
        await answer(client)
    response, _ = await answer(client)
    assert response.status == 200
    assert [entry["status"] for entry in await log(client)] == ["refuse", 0]


async def test_timeout_holds_the_connection_before_it_is_cut(start, waits):
    client = await start(Fault("timeout", times=1, seconds=60.0))
    with pytest.raises(aiohttp.ClientConnectionError):
        await answer(client)
    assert waits.seconds == [60.0]


async def test_http500_is_a_page_with_that_code(start):
    response, body = await answer(await start(Fault("http500")))
    assert response.status == 500
    assert body.startswith(b"<html>")


async def test_broken_json_does_not_parse(start):
    response, body = await answer(await start(Fault("broken_json")))
    assert response.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)


async def test_truncate_sends_half_of_what_it_announced(start):
    client = await start(Fault("truncate"))
    response = await client.get(JSOC_INFO, params=DAY)
    with pytest.raises(aiohttp.ClientPayloadError):
        await response.read()
    assert int(response.headers["Content-Length"]) == (await log(client))[0]["bytes"]


async def test_slow_bytes_are_spread_over_the_time_and_arrive_whole(start, waits):
    client = await start(Fault("slow", seconds=4.0))
    _, body = await answer(client)
    assert json.loads(body)["status"] == 0
    assert sum(waits.seconds) == pytest.approx(4.0)


async def test_wrong_count_tells_another_number_of_records(start):
    _, body = await answer(await start(Fault("wrong_count", delta=2)))
    told = json.loads(body)
    assert told["count"] == len(told["keywords"][0]["values"]) + 2


async def test_status_is_an_error_answer_of_that_status(start):
    _, body = await answer(await start(Fault("status", status=3, message="too large")))
    assert json.loads(body) == {"status": 3, "error": "too large"}


async def test_an_outage_hits_every_program_until_the_faults_are_replaced(start):
    client = await start(Fault("outage", seconds=float("inf"), op="rs_list", times=1))
    assert (await client.get("/cgi-bin/ajax/show_series")).status == 200
    for path, params in ((JSOC_INFO, DAY), ("/cgi-bin/ajax/show_series", {})):
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.get(path, params=params)
    assert await (await client.post("/_simulator/faults", json=[])).json() == {"faults": 0}
    assert (await answer(client))[0].status == 200


async def test_faults_that_cannot_be_read_are_refused_and_the_old_ones_stay(start):
    client = await start(Fault("http500"))
    for bad in (b"[", b'[{"fault": "explode"}]'):
        response = await client.post("/_simulator/faults", data=bad, headers={"Content-Type": "application/json"})
        assert response.status == 400
        assert "error" in await response.json()
    assert (await answer(client))[0].status == 500


# ---- the server -------------------------------------------------------------------------------------


async def test_run_says_where_it_listens_and_ends_when_told(world):
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(run(world, port=0, ready=ready.set_result, stop=stop))
    url = await asyncio.wait_for(ready, PATIENCE)
    async with aiohttp.ClientSession() as session, session.get(f"{url}/healthz") as response:
        assert response.status == 200
    stop.set()
    await asyncio.wait_for(task, PATIENCE)


@pytest.mark.parametrize(
    "ds", ["hmi.m_720s[$]", "hmi.m_720s[^]", "hmi.sharp_720s[377][$]", "hmi.sharp_720s[$][$]", "hmi.sharp_720s[$]"]
)
async def test_a_record_that_was_the_last_or_the_first_may_be_withdrawn(ds):
    from mirror.simulator.synthetic import synthetic_series

    series = [each for each in synthetic_series(lambda: 1.7e9) if each.structure.name.lower() == ds.partition("[")[0]]
    client = TestClient(TestServer(build_app(series)))
    await client.start_server()

    async def numbers():
        found = json.loads((await answer(client, {"op": "rs_list", "ds": ds, "key": "*recnum*"}))[1])
        return found["keywords"][0]["values"] if found["count"] else []

    try:
        latest, seen = await numbers(), set()
        for _ in range(3):
            gone = await (await client.post("/_simulator/withdraw", json={"ds": ds})).json()
            assert sorted(number for each in gone.values() for number in each) == sorted(latest)
            seen |= set(latest)
            latest = await numbers()
            assert latest
            assert not set(latest) & seen
        told = json.loads((await answer(client, {"op": "series_struct", "ds": series[0].structure.name}))[1])["Interval"]
        assert not {told["FirstRecnum"], told["LastRecnum"]} & seen
    finally:
        await client.close()
