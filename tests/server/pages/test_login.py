"""The page's login: a session for a token, and how it ends."""

from __future__ import annotations

import re

import pytest_asyncio

from tests.accesslab import BROWSER, CONFIG, TOKENS, bearer, log_in, table
from tests.lab import lab


@pytest_asyncio.fixture
async def guarded(tmp_path):
    """A mirror with a token for each role, and for nobody else."""
    async with lab(tmp_path, config=CONFIG) as made:
        yield made


async def test_a_login_gives_a_cookie_that_no_script_reads_and_no_other_site_sends(guarded):
    answer = await log_in(guarded, TOKENS["admin"])
    cookie = answer.headers["Set-Cookie"]
    assert (answer.code, answer.headers["Location"]) == (303, "/api/status")
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/"))
    assert TOKENS["admin"] not in cookie
    session = {"Cookie": cookie.partition(";")[0]}
    assert (await guarded.get("/api/status", headers=session)).code == 200
    assert (await guarded.request("POST", "/api/evict", json={"dry_run": True}, headers=session)).code == 200
    guarded.clock.forward(hours=13)
    assert (await guarded.get("/api/status", headers=session)).code == 401


async def test_logging_out_ends_the_session_for_good(guarded):
    cookie = (await log_in(guarded, TOKENS["read"])).headers["Set-Cookie"].partition(";")[0]
    session = {"Cookie": cookie, **BROWSER}
    page = await guarded.get("/login", headers=session)
    form = re.search(r'name="form_token" value="(\w+)"', page.body.decode())[1]
    without = await guarded.request("POST", "/logout", data={}, headers=session, allow_redirects=False)
    assert without.code == 403  # a form of somebody else's
    gone = await guarded.request(
        "POST", "/logout", data={"form_token": form}, headers=session, allow_redirects=False
    )
    assert gone.code == 303
    assert (await guarded.get("/api/status", headers=session)).code == 401


async def test_a_wrong_login_says_so_and_a_way_on_to_another_site_is_not_taken(guarded):
    answer = await log_in(guarded, "ada.wrong")
    assert answer.code == 403 and b"Invalid or revoked token" in answer.body
    answer = await log_in(guarded, TOKENS["read"], next="//evil.example/")
    assert answer.headers["Location"] == "/"


async def test_a_revoked_tokens_session_ends(guarded):
    cookie = (await log_in(guarded, TOKENS["read"])).headers["Set-Cookie"].partition(";")[0]
    guarded.config.write_text(table(TOKENS["admin"], "admin"))
    await guarded.running.watch.reload()
    assert (await guarded.get("/api/status", headers={"Cookie": cookie})).code == 401


async def test_a_browser_is_led_to_the_login_and_back(guarded):
    answer = await guarded.get("/", "x=1", headers={"Accept": "text/html"}, allow_redirects=False)
    assert (answer.code, answer.headers["Location"]) == (303, "/login?next=%2F%3Fx%3D1")
    script = await guarded.get("/api/status", headers={"Sec-Fetch-Site": "same-origin"})
    assert (script.code, script.headers["WWW-Authenticate"].startswith("Bearer")) == (
        401,
        True,
    )  # no dialogue


async def test_a_page_has_no_buttons_that_a_role_may_not_use(guarded):
    shown = {
        "/search?ds=hmi.m_720s%5B2014.01.01_TAI/24m%5D": (b'id="tab-export"', "export"),
        "/sql": (b'id="save"', "export"),
        "/subscriptions": (b'id="new"', "admin"),
        "/upkeep": (b'id="check"', "admin"),
    }
    for role in TOKENS:
        for path, (button, needed) in shown.items():
            address, _, query = path.partition("?")
            page = await guarded.get(address, query, headers={**BROWSER, **bearer(role)})
            assert page.code == 200, page.body
            assert (button in page.body) == (list(TOKENS).index(role) >= list(TOKENS).index(needed)), (role, path)
            assert f'<body data-role="{role}">'.encode() in page.body
