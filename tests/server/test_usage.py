"""Who used how much: by address, name or token; counted in memory, and written down in bounds."""

import base64
import logging
import re

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from mirror.config.access import Role
from mirror.server.requests import PRINCIPAL
from mirror.server.usage import Requests, who_asks
from mirror.services.access.authentication import Principal
from mirror.services.access.usage import OTHERS, Used, added
from tests.lab import lab

RECORDS = "hmi.v_45s[2014.01.01_00:00_TAI/3m]"


def basic(name):
    return "Basic " + base64.b64encode(f"{name}:secret".encode()).decode()


def test_an_asker_is_a_name_a_token_or_an_address():
    assert who_asks({}, "10.0.0.7") == "10.0.0.7"
    assert who_asks({}, None) == "unknown"
    assert who_asks({"Proxy-Authorization": basic("ada")}, "10.0.0.7") == "user:ada"
    token = who_asks({"Authorization": "Bearer top-secret"}, "10.0.0.7")
    assert token.startswith("token:")
    assert "secret" not in token
    for nonsense in ("Basic !!!", "Basic", "Bearer ", "Basic " + base64.b64encode(b"\xff\xfe").decode(), "x"):
        assert who_asks({"Authorization": nonsense}, "10.0.0.7") == "10.0.0.7"


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 9)), max_size=30), st.integers(1, 4))
def test_however_many_ask_memory_is_bounded_and_nothing_is_lost(asked, most):
    used = {}
    for who, n in asked:
        added(used, ("day", who), Used(1, n), most)
    assert len(used) <= most + 1
    assert sum((u for u in used.values()), Used()) == Used(len(asked), sum(n for _, n in asked))
    assert len(used) <= most or ("day", OTHERS) in used


async def test_what_jsoc_sent_counts_for_whoever_asked_first(tmp_path):
    async with lab(tmp_path) as made:
        params = {"op": "rs_list", "ds": RECORDS, "key": "*recnum*"}
        await made.get("/cgi-bin/ajax/jsoc_info", params, headers={"Authorization": basic("ada")})
        await made.get("/cgi-bin/ajax/jsoc_info", params, headers={"Authorization": basic("bob")})
        await made.restart()
        usage = {row["who"]: row for row in (await made.get("/api/usage")).json}
        ada, bob = usage["user:ada"], usage["user:bob"]
        assert (ada["requests"], ada["records"], bob["records"]) == (1, 4, 4)
        assert ada["upstream_bytes"] > ada["bytes"] > 0
        assert (bob["upstream_bytes"], bob["bytes"] > 0) == (0, True)
        assert ada["day"] == "2023-11-14"
        assert (await made.get("/api/usage", {"since": "2023-11-16"})).json == []
        assert (await made.get("/api/usage", {"since": "yesterday"})).code == 400


async def test_health_and_metrics_are_not_counted_and_failures_are(tmp_path):
    async with lab(tmp_path) as made:
        await made.get("/healthz")
        await made.get("/metrics")
        await made.get("/api/search")
        (row,) = (await made.get("/api/usage")).json
        assert row["requests"] == 1


async def test_days_add_up_and_old_ones_are_forgotten(tmp_path):
    async with lab(tmp_path) as made:
        await made.get("/api/series")
        await made.get("/api/usage")
        await made.get("/api/series")
        (row,) = (await made.get("/api/usage")).json
        assert row["requests"] == 3
        made.clock.forward(days=500)
        await made.get("/api/series")
        rows = (await made.get("/api/usage", {"since": "2020-01-01"})).json
        assert [row["day"] for row in rows] == ["2025-03-28"]


def test_the_log_of_requests_says_who_sent_each(caplog):
    request = make_mocked_request("GET", "/api/search?ds=x", {"Authorization": basic("bob")})
    told = []
    for principal in (None, Principal("10.0.0.7", Role.READ, "ada"), Principal("10.0.0.7", Role.READ)):
        if principal is not None:
            request[PRINCIPAL] = principal
        with caplog.at_level(logging.INFO):
            Requests(logging.getLogger("mirror.requests"), "").log(request, web.Response(), 0.5)
        told.append(re.search(r"who=(\S+)", caplog.records[-1].getMessage())[1])
        assert "ds=x" not in caplog.records[-1].getMessage()
    assert told == ["user:bob", "token:ada", "user:bob"]


async def test_answers_are_measured_by_program_and_user(tmp_path):
    async with lab(tmp_path) as mirror:
        await mirror.ask(RECORDS)
        await mirror.get("/api/series")
        await mirror.get("/series")
        text = (await mirror.get("/metrics")).body.decode()
        for program in ("jsoc_info", "api", "page"):
            assert f'mirror_request_seconds_count{{program="{program}"}} 1.0' in text
        assert re.search(r'^mirror_requests_total\{user="127.0.0.1"\} 3.0$', text, re.MULTILINE)
        assert re.search(r'^mirror_sent_bytes_total\{user="127.0.0.1"\} [1-9]', text, re.MULTILINE)
        assert "_created" not in text
