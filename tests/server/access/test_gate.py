"""The gate in front of everything: tokens in every shape, roles, tricks of browsers, patience, and what is kept of it."""

from __future__ import annotations

import asyncio
import logging
import re

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from mirror.server.access.refusals import POLICY, secured
from tests.accesslab import CONFIG, TOKENS, basic, bearer, log_in, table
from tests.lab import JSOC_INFO, Lab, lab
from tests.server.jsoc.test_proxy import absolute

JSOC = "http://jsoc.stanford.edu"
ONE = {"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI]", "key": "T_REC"}
QUERY = "?op=rs_list&ds=hmi.v_45s[2014.01.01_TAI]&key=T_REC"
FETCH = "/cgi-bin/ajax/jsoc_fetch"
SECRETS = re.compile("|".join(TOKENS.values()))


@pytest_asyncio.fixture
async def guarded(tmp_path):
    """A mirror with a token for each role, and for nobody else."""
    async with lab(tmp_path, config=CONFIG) as made:
        yield made


@pytest_asyncio.fixture
async def plain(tmp_path):
    """A mirror as it comes: this computer may do everything."""
    async with lab(tmp_path) as made:
        yield made


async def test_this_computer_may_do_everything_as_long_as_nothing_else_is_said(plain):
    assert (await plain.get(JSOC_INFO, ONE)).code == 200
    assert (await plain.request("POST", "/api/policy", json={"policy": "offline"})).code == 200
    wrong = await plain.get("/api/status", headers={"Authorization": "Bearer nonsense"})
    assert wrong.code == 200  # there is nothing to compare it with


async def test_without_a_token_there_is_nothing_but_signs_of_life(guarded):
    for path in ("/api/status", "/metrics", JSOC_INFO, "/SUM1/D1/S00000/x.fits", "/anything", "/"):
        answer = await guarded.get(path)
        assert answer.code == 401, path
        assert "Basic" in answer.headers["WWW-Authenticate"]
        assert "requires a token with role read" in answer.json["error"]
    for path in ("/healthz", "/healthz/live", "/login"):
        assert (await guarded.get(path)).code == 200
    assert await guarded.log() == []


async def test_a_token_comes_as_bearer_as_password_or_through_a_proxy(guarded):
    assert (await guarded.get("/api/status", headers=bearer("read"))).code == 200
    assert (await guarded.get(JSOC_INFO, ONE, headers={"Authorization": basic("read")})).code == 200
    code, headers, _ = await absolute(guarded, JSOC + JSOC_INFO + QUERY)
    assert (code, "Basic" in headers["Proxy-Authenticate"]) == (407, True)
    given = f"Proxy-Authorization: {basic('read')}\r\n".encode()
    code, _, body = await absolute(guarded, JSOC + JSOC_INFO + QUERY, headers=given)
    assert code == 200 and b"2014.01.01_00:00:00_TAI" in body


async def test_each_role_may_do_its_own_and_what_those_below_may(guarded):
    asked = [
        ("read", "GET", "/api/status", {}),
        ("read", "POST", "/api/sql", {"json": {"query": "SELECT 1"}}),
        ("export", "POST", "/api/pins", {"json": {"ds": "hmi.m_720s[2014.01.01]", "owner": "x"}}),
        ("admin", "POST", "/api/evict", {"json": {"dry_run": True}}),
        ("admin", "GET", "/api/audit", {}),
    ]
    order = list(TOKENS)
    for needed, method, path, more in asked:
        for role in order:
            answer = await guarded.request(method, path, headers=bearer(role), **more)
            if order.index(role) < order.index(needed):
                assert answer.code == 403 and f"requires role {needed}" in answer.json["error"], (path, role)
            else:
                assert answer.code != 403, (path, role)


async def test_drms_hears_in_its_own_manner_that_it_may_not_export(guarded):
    answer = await guarded.get(FETCH, {"op": "exp_request", "ds": "x"}, headers=bearer("read"))
    assert (answer.code, answer.json["status"] > 0) == (200, True)
    assert "requires role export; token:rita has role read" in answer.json["error"]


async def test_a_wrong_token_is_refused_and_many_of_them_make_the_address_wait(guarded):
    wrong = {"Authorization": f"Bearer ada.{'x' * 43}"}
    for _ in range(10):
        answer = await guarded.get("/api/status", headers=wrong)
        assert answer.code == 401 and "Invalid or revoked token" in answer.json["error"]
    assert (await guarded.get("/api/status", headers=wrong)).code == 429
    assert (await guarded.get("/api/status", headers=bearer("read"))).code == 200  # a right one is not held up
    guarded.clock.forward(seconds=61)
    assert (await guarded.get("/api/status", headers=wrong)).code == 401


async def test_networks_have_roles_and_tokens_can_do_more(tmp_path):
    config = '[access]\nnetworks = ["127.0.0.0/8 read"]\n' + CONFIG
    async with lab(tmp_path, config=config) as made:
        assert (await made.get("/api/status")).code == 200
        assert (await made.request("POST", "/api/evict", json={"dry_run": True})).code == 401
        assert (
            await made.request("POST", "/api/evict", json={"dry_run": True}, headers=bearer("admin"))
        ).code == 200


async def test_a_revoked_token_is_refused_at_once_and_a_new_one_taken(guarded):
    assert (await guarded.get("/api/status", headers=bearer("read"))).code == 200
    guarded.config.write_text(table(TOKENS["admin"], "admin"))
    await guarded.running.watch.reload()
    assert (await guarded.get("/api/status", headers=bearer("read"))).code == 401
    assert (await guarded.get("/api/status", headers=bearer("admin"))).code == 200
    assert (await guarded.get("/api/status", headers=bearer("admin"))).json["config"][
        "waiting_for_restart"
    ] == []
    guarded.config.write_text(table(TOKENS["admin"], "read"))
    await guarded.running.watch.reload()
    assert (await guarded.request("POST", "/api/evict", json={}, headers=bearer("admin"))).code == 403


# ---- tricks ---------------------------------------------------------------------------------------


async def test_other_sites_can_change_nothing_through_a_browser(plain):
    body = {"json": {"policy": "offline"}}
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        answer = await plain.request("POST", "/api/policy", headers=headers, **body)
        assert answer.code == 403 and "another site" in answer.json["error"]
        told = await plain.get(FETCH, {"op": "exp_request", "ds": "x"}, headers=headers)
        assert "another site" in told.json["error"]  # a picture whose address is an export
        assert (await plain.get(JSOC_INFO, ONE, headers=headers)).code == 200
    assert (await plain.get("/api/policy")).json["policy"] == "fallback"
    assert (await plain.request("POST", "/api/policy", headers={"Origin": plain.url}, **body)).code == 200


async def test_a_name_that_is_not_ours_gets_no_page_and_no_api(plain):
    evil = {"Host": "evil.example:8040"}
    for path in ("/api/status", "/metrics", "/"):
        answer = await plain.get(path, headers=evil)
        assert answer.code == 403 and b"add it to hosts in [access]" in answer.body, path
    assert (
        await plain.get(JSOC_INFO, ONE, headers=evil)
    ).code == 200  # JSOC's paths are for scripts, by any name
    assert (await plain.get("/healthz", headers=evil)).code == 200


async def test_names_that_are_configured_are_ours_and_a_token_needs_none(tmp_path):
    async with lab(
        tmp_path, config='[access]\nhosts = ["mirror.lab"]\nnetworks = ["127.0.0.1 read"]\n' + CONFIG
    ) as made:
        assert (await made.get("/api/status", headers={"Host": "mirror.lab:8040"})).code == 200
        assert (await made.get("/api/status", headers={"Host": "other.lab"})).code == 403
        assert (await made.get("/api/status", headers={"Host": "other.lab", **bearer("read")})).code == 200


async def test_who_comes_by_a_server_in_front_is_not_this_computer(plain):
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP"):
        answer = await plain.get("/api/status", headers={name: "203.0.113.7"})
        assert answer.code == 403 and "is in no network" in answer.json["error"]


async def test_our_own_api_cannot_be_reached_as_if_it_were_jsocs(plain):
    code, headers, _ = await absolute(plain, JSOC + "/api/status")
    assert (code, headers.get("X-Mirror")) == (404, "passed")


async def test_tokens_and_cookies_for_us_are_not_passed_on_to_jsoc(guarded):
    headers = {**bearer("read"), "Cookie": "jsoc-mirror=x"}
    assert (await guarded.get("/anything", headers=headers)).plan == "passed"
    assert SECRETS.search(str(await guarded.log())) is None


async def test_pages_forbid_what_they_do_not_need_and_foreign_ones_are_locked_up(plain):
    page = (await plain.get("/login")).headers
    assert "default-src 'self'" in page["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in page["Content-Security-Policy"]
    assert page["X-Content-Type-Options"] == "nosniff" and page["Referrer-Policy"]
    assert (await plain.get("/api/status")).headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "target, origin, kind, policy",
    [
        (
            "/ajax/x.html",
            "passed",
            "text/html",
            "sandbox allow-scripts allow-forms allow-popups allow-downloads",
        ),
        (
            "/ajax/x.svg",
            "passed",
            "image/svg+xml",
            "sandbox allow-scripts allow-forms allow-popups allow-downloads",
        ),
        (JSOC + "/ajax/x.html", "passed", "text/html", None),
        ("/jobs", "", "text/html", POLICY),
        ("/api/status", "local", "application/json", None),
    ],
)
async def test_pages_of_jsoc_below_our_address_cannot_act_as_ours(target, origin, kind, policy):
    response = web.Response(content_type=kind, headers={"X-Mirror": origin})
    await secured(make_mocked_request("GET", target), response)
    assert response.headers.get("Content-Security-Policy") == policy


async def test_one_address_gets_so_many_answers_at_a_time(tmp_path):
    async with lab(tmp_path, latency=0.2, config="[access]\nrequests = 3\n") as made:
        asked = [
            made.get(JSOC_INFO, {**ONE, "ds": f"hmi.v_45s[2014.01.01_TAI][? {n}=0 ?]"}) for n in range(8)
        ]
        answers = await asyncio.gather(*asked)
        told = [a for a in answers if b"too many concurrent requests from this address" in a.body]
        assert len(told) == 5
        assert (await made.get("/api/status")).code == 200


async def test_a_mirror_is_let_in_at_its_upstream_by_its_token_and_says_so_where_it_is_not(guarded, tmp_path):
    async with aiohttp.ClientSession() as session:
        settings = {"MIRROR_UPSTREAM__URL": guarded.url, "MIRROR_STORAGE__PATH": str(tmp_path / "far")}
        far = Lab(tmp_path / "far", guarded.simulator, session, settings, clock=guarded.clock)
        try:
            await far.start()
            told = (await far.get(JSOC_INFO, ONE)).json
            assert "upstream" in told["error"] and "requires a token with role read" in told["error"]
            await far.restart(MIRROR_UPSTREAM__TOKEN=TOKENS["read"])
            answer = await far.get(JSOC_INFO, ONE)
            assert (answer.plan, answer.json["count"]) == ("filled", 1)
            passed = await far.get("/anything", headers={"Authorization": "Bearer mine"})
            assert (passed.code, passed.plan) == (404, "passed")
            exported = await far.get(
                FETCH, {"op": "exp_request", "ds": "hmi.v_45s[2014.01.01_TAI]{Dopplergram}"}
            )
            assert exported.json["status"] > 0
        finally:
            await far.stop()


# ---- what is kept ---------------------------------------------------------------------------------


async def test_what_admins_do_is_written_down_with_how_it_ended(guarded):
    await guarded.request("POST", "/api/evict", json={"dry_run": True}, headers=bearer("admin"))
    await guarded.request("POST", "/api/evict", json={"dry_run": True}, headers=bearer("read"))
    await guarded.request("POST", "/api/forget", json={}, headers=bearer("admin"))
    await guarded.request("POST", "/api/policy", json={"policy": "offline"})
    await log_in(guarded, TOKENS["export"])
    rows = (await guarded.get("/api/audit", headers=bearer("admin"))).json
    assert [(r["who"], r["action"], r["outcome"], r["code"]) for r in rows] == [
        ("token:ed", "login", "done", 200),
        ("127.0.0.1", "POST /api/policy", "refused", 401),
        ("token:ada", "POST /api/forget", "failed", 400),
        ("token:rita", "POST /api/evict", "refused", 403),
        ("token:ada", "POST /api/evict", "done", 200),
    ]
    assert rows[-1]["about"] == '{"dry_run": true}'
    assert len((await guarded.get("/api/audit", {"n": "2"}, headers=bearer("admin"))).json) == 2
    assert (await guarded.get("/api/audit", {"n": "x"}, headers=bearer("admin"))).code == 400
    await guarded.restart()
    assert len((await guarded.get("/api/audit", headers=bearer("admin"))).json) == 5


async def test_use_counts_for_the_name_of_the_token_whatever_the_user_is_called(guarded):
    await guarded.get(JSOC_INFO, ONE, headers={"Authorization": basic("read", "mallory")})
    await guarded.get(JSOC_INFO, ONE, headers=bearer("read"))
    usage = {
        row["who"]: row["requests"] for row in (await guarded.get("/api/usage", headers=bearer("admin"))).json
    }
    assert usage == {"token:rita": 2}


async def test_no_token_is_in_a_log_or_an_answer(guarded, caplog):
    caplog.set_level(logging.DEBUG)
    shown = []
    for role in TOKENS:
        for headers in (bearer(role), {"Authorization": basic(role)}):
            paths = ("/api/status", "/metrics", "/api/usage", "/api/audit", JSOC_INFO, "/login", "/")
            shown += [await guarded.get(path, headers=headers) for path in paths]
        given = f"Proxy-Authorization: {basic(role)}\r\n".encode()
        await absolute(guarded, JSOC + JSOC_INFO + QUERY, headers=given)
        await absolute(guarded, "http://example.org/", headers=given)
        shown.append(await log_in(guarded, TOKENS[role] + "x"))
        shown.append(
            await guarded.request("POST", "/api/forget", json={"ds": TOKENS[role]}, headers=bearer("admin"))
        )
    for answer in shown[:-1]:
        assert (
            SECRETS.search(answer.body.decode("latin-1") + str(answer.headers)) is None or answer.code == 404
        )
    audit = (await guarded.get("/api/audit", headers=bearer("admin"))).body.decode()
    assert SECRETS.search(audit) is None
    own = [r for r in caplog.records if r.name.startswith("mirror")]
    assert own and SECRETS.search("\n".join(r.getMessage() for r in own)) is None
