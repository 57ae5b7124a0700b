"""A path has one spelling before anything is decided by it; who sends a request is looked at wherever it acts or costs."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote_from_bytes

import pytest
import pytest_asyncio
from aiohttp.test_utils import make_mocked_request
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from mirror.errors import BadRequest
from mirror.server.app import normal_target
from mirror.server.roles import OURS, PASSED, acts, role_of
from mirror.wire.paths import CGI, LONGEST, PROGRAMS, is_program, normal_path
from tests.accesslab import CONFIG, TOKENS, bearer
from tests.hostile.rawhttp import exchange, head
from tests.lab import lab

DS = "hmi.v_45s[2014.01.01_TAI]"
EXPORT = f"?op=exp_request&ds={DS}{{Dopplergram}}&method=url&protocol=as-is&notify=a@example.com"
RECORDS = f"?op=rs_list&ds={DS}&key=T_REC"
JSOC = "http://jsoc.stanford.edu"

# ---- one spelling -----------------------------------------------------------------------------------

FETCH = CGI + "jsoc_fetch"
#: What Apache makes of each.
SPELLINGS = {
    "//cgi-bin/ajax/jsoc_fetch": FETCH, "/cgi-bin//ajax///jsoc_fetch": FETCH, "/./cgi-bin/ajax/jsoc_fetch": FETCH,
    "/x/../cgi-bin/ajax/jsoc_fetch": FETCH, "/%2e/cgi-bin/ajax/jsoc_fetch": FETCH, "/x/%2E%2e/cgi-bin/ajax/jsoc_fetch": FETCH,
    "/cgi-bin/./ajax/x/.%2e/jsoc_fetch": FETCH, "/%63gi-bin/ajax/jsoc%5ffetch": FETCH, "/cgi-bin/ajax/jsoc_fetch/": FETCH,
    "/cgi-bin/ajax/jsoc_fetch/x/y": FETCH, "/cgi-bin/ajax/jsoc_fetch/.": FETCH, "//evil.example/cgi-bin": "/evil.example/cgi-bin",
    "/x/..//cgi-bin/": "/cgi-bin/", "//SUM56/D1/S00000/x.fits": "/SUM56/D1/S00000/x.fits", "/": "/", "//": "/", "/a/.": "/a/",
    "/a b/[1]": "/a%20b/%5B1%5D", "/caf\udcc3\udca9": "/caf%C3%A9", "/%e9": "/%E9", "/cgi-bin/ajax/jsoc_fetchx/y": "/cgi-bin/ajax/jsoc_fetchx/y",
}  # fmt: skip
AMBIGUOUS = [
    "/cgi-bin%2fajax/jsoc_fetch", "/x/..%2Fcgi-bin", "/cgi-bin\\ajax\\jsoc_fetch", "/cgi-bin%5cajax", "/cgi-bin/ajax/jsoc_fetch;x=1", "/..;/cgi-bin",
    "/x%3b/y", "/cgi-bin/ajax/jsoc_fetch%00", "/x%0d%0aY", "/%7f", "/%252e%252e/cgi-bin", "/%2563gi-bin", "/a//../b", "/a//b/../../c", "/../cgi-bin",
    "/x/../../cgi-bin", "/x/..", "/.", "/%", "/%2", "/%zz", "/" + "a" * LONGEST, "x", "",
]  # fmt: skip
PIECES = st.sampled_from(["/", "//", ".", "..", "%2e", "%2E", "%2f", "%5c", ";", "%3B", "\\", "%25", "%2", "%", "cgi-bin", "ajax", "jsoc_fetch", "jsoc_info", "%6Asoc_fetch",
                          "SUM1", "D1", "S00000", "api", "search", "x", "%00", "%41", "\udcff", " ", "[1]", ":", "@", "~"])  # fmt: skip
PATHS = st.lists(PIECES, max_size=12).map(lambda pieces: "/" + "".join(pieces)) | st.text(st.characters(codec="utf-8")).map("/{}".format)


@pytest.mark.parametrize("path, clean", SPELLINGS.items())
def test_a_path_has_the_spelling_that_jsocs_server_gives_it(path, clean):
    assert normal_path(path) == clean


@pytest.mark.parametrize("path", AMBIGUOUS)
def test_what_servers_read_in_different_ways_is_refused_with_a_reason(path):
    with pytest.raises(BadRequest, match=r"the path .* expected one such as"):
        normal_path(path)


@given(PATHS)
@settings(max_examples=80)
def test_the_one_spelling_is_its_own_and_stays_what_it_is_on_the_way(path):
    try:
        clean = normal_path(path, OURS)
    except BadRequest:
        return
    assert normal_path(clean, OURS) == clean
    assert URL(clean, encoded=True).raw_path == clean  # what the router sees, and what goes on to JSOC
    assert clean.isascii() and "//" not in clean and not {".", ".."} & set(clean.split("/"))
    if clean != "/":
        assert normal_path(f"/{clean}", OURS) == normal_path(f"/x/..{clean}", OURS) == clean


@given(PATHS, st.data())
@settings(max_examples=60)
def test_two_spellings_of_one_path_have_one_form_role_and_guard(path, data):
    try:
        clean = normal_path(path)
    except BadRequest:
        return
    other = "".join(
        data.draw(st.sampled_from([c, quote_from_bytes(c.encode()), f"%{ord(c):02X}", f"%{ord(c):02x}"])) if c.isalnum() else c
        for c in (clean if "%" not in clean else "/x")
    )
    other = other.replace("/", data.draw(st.sampled_from(["/", "//", "/./", "/%2e/", "/y/../"])))
    clean = clean if "%" not in clean else "/x"
    if clean != "/":
        assert normal_path(other).rstrip("/") == clean.rstrip("/")
        assert role_of("GET", PASSED, normal_path(other)) == role_of("GET", PASSED, clean)
        assert acts("GET", PASSED, normal_path(other)) == acts("GET", PASSED, clean)


@pytest.mark.parametrize("path", ["/cgi-bin/jsoc_fetch", "/cgi-bin/ajax/jsocextfetch", "/CGI-BIN/x", "/cgi-bin/drms_export.cgi", "/~ada/cgi-bin/x", "/tools/show.cgi/more",
                                  "/bin/JSOC_FETCH.sh", "/cgi-bin", "/cgi/x", "/x/showextinfo"])  # fmt: skip
def test_whatever_may_be_a_program_of_jsocs_takes_the_role_and_the_care_of_an_export(path):
    assert is_program(path)
    assert str(role_of("GET", PASSED, path)) == "export" and acts("GET", PASSED, path)


def test_the_programs_that_are_answered_here_are_those_of_the_router():
    assert {p for p in PROGRAMS if role_of("GET", CGI + p, CGI + p) > 2} == set()
    assert not any(is_program(p) for p in ("/", "/ajax/exportdata.html", "/SUM1/D1/S00000/image.fits", "/doc/data.html"))


@pytest.mark.parametrize("method, target, clean", [
    ("GET", "http://JSOC.Stanford.EDU//x", "http://jsoc.stanford.edu/x"), ("GET", "HTTP://jsoc.stanford.edu", "http://jsoc.stanford.edu/"),
    ("GET", "http://jsoc.stanford.edu?a=//b", "http://jsoc.stanford.edu/?a=//b"), ("GET", "//x?y=/../z", "/x?y=/../z"), ("OPTIONS", "*", "*"),
    ("CONNECT", "jsoc.stanford.edu:443", "jsoc.stanford.edu:443"), ("GET", "ftp://x//y", "ftp://x//y"), ("GET", "/api/jobs/a%2fb", "/api/jobs/a%2Fb"),
])  # fmt: skip
def test_targets_of_every_form_have_one_spelling(method, target, clean):
    assert normal_target(method, target) == clean == normal_target(method, clean)


@pytest.mark.parametrize("method, target", [("GET", "*"), ("GET", "jsoc.stanford.edu:80"), ("GET", "x/y"), ("GET", "http:/x"), ("GET", "/x#/../y"), ("GET", f"{JSOC}/%2f"),
                                            ("GET", f"{JSOC}/api/jobs/a%2fb"), ("POST", "*")])  # fmt: skip
def test_targets_that_are_none_are_refused(method, target):
    with pytest.raises(BadRequest):
        normal_target(method, target)


# ---- over HTTP ----------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def guarded(tmp_path):
    async with lab(tmp_path, config=CONFIG) as made:
        yield made


@pytest_asyncio.fixture
async def plain(tmp_path):
    async with lab(tmp_path) as made:
        yield made


async def sent(mirror, target, method="GET", **headers):
    return await exchange(mirror.server.port, head(method, target, **headers))


async def test_no_spelling_of_an_export_passes_with_the_role_read(guarded):
    read = f"Bearer {TOKENS['read']}"
    others = ["/cgi-bin/jsoc_fetch", "/cgi-bin/ajax/jsocextfetch", "/CGI-bin/ajax/jsoc_fetch", "/x/../cgi-bin/drms_export.cgi"]
    paths = [p for p, clean in SPELLINGS.items() if clean == FETCH and " " not in p] + others
    targets = [(path, {"Authorization": read}) for path in paths] + [(JSOC + p, {"Proxy_Authorization": read}) for p in paths]
    answers = await asyncio.gather(*(sent(guarded, target + EXPORT, **headers) for target, headers in targets))
    assert [(t, a) for (t, _), a in zip(targets, answers, strict=True) if b"requires role export" not in a.body] == []
    refused = [p for p in AMBIGUOUS if " " not in p and "\\" not in p and p.startswith("/")]
    answers = await asyncio.gather(*(sent(guarded, p + EXPORT, Authorization=read) for p in refused))
    assert {a.code for a in answers} <= {400, 414} and all(a.body for a in answers)
    assert await guarded.log() == []


async def test_a_clean_path_is_answered_however_it_was_spelled(guarded):
    read = {"Authorization": f"Bearer {TOKENS['read']}"}
    plans = []
    for path in ("/cgi-bin/ajax/jsoc_info", "//cgi-bin/ajax/jsoc_info", "/x/.%2e/cgi-bin/./ajax/jsoc%5finfo/more"):
        answer = await sent(guarded, path + RECORDS, **read)
        assert b"2014.01.01_00:00:00_TAI" in answer.body
        plans.append(answer.headers["x-mirror"])
    assert plans == ["filled", "local", "local"]
    assert (await sent(guarded, "//api//status", **read)).code == 200
    assert (await sent(guarded, "//login")).code == 200
    posted = head("POST", "//cgi-bin/ajax/jsoc_info", body=RECORDS[1:].encode(), Expect="100-continue",
                  Content_Type="application/x-www-form-urlencoded", **read)  # fmt: skip
    reader, writer = await asyncio.open_connection("127.0.0.1", guarded.server.port)
    writer.write(posted)
    told = await reader.read()
    writer.close()
    assert told.count(b"100 Continue") == 1 and b"2014.01.01_00:00:00_TAI" in told


async def test_what_goes_on_to_jsoc_is_what_was_looked_at(plain):
    for path in ("//SUM1/x/../y%5fz/[1]", "/./SUM1/y_z/%5b1%5D"):
        await sent(plain, path)
    asked = [e["params"]["path"] for e in await plain.log(program="file")]
    assert asked == ["/SUM1/y_z/[1]"] * 2


# ---- who sends it -------------------------------------------------------------------------------------

#: What browsers say of a page elsewhere: with Sec-Fetch-Site, without it, and of a picture, a link, a form.
ELSEWHERE = [
    {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Origin": "http://evil.example"}, {"Origin": "null"},
    {"Referer": "http://evil.example/page"}, {"Referer": "about:blank"}, {"Referer": "http://[evil"},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"},
    {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"},
]  # fmt: skip
HIDDEN = {"User_Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Accept_Language": "en"}
ACTING = ["/cgi-bin/ajax/jsoc_fetch" + EXPORT, "//cgi-bin/ajax/jsoc_fetch" + EXPORT, "/cgi-bin/jsoc_fetch" + EXPORT, "/cgi-bin/ajax/jsocextfetch" + EXPORT,
          "/cgi-bin/ajax/jsoc_fetch/x" + EXPORT, "/cgi-bin/ajax/checkAddress.sh?address=a@b.org"]  # fmt: skip
COSTLY = ["/api/sql?query=SELECT+1&fill=1", "/api/sql?query=SELECT+1", f"/api/quicklook?ds={DS}&fetch=1", f"/api/search?ds={DS}", f"/api/check-query?ds={DS}",
          f"/api/files?ds={DS}", f"/search?ds={DS}&pictures=Dopplergram&fetch=1", f"/search?ds={DS}&%66etch=yes", "/metrics", "/api/status"]  # fmt: skip


async def test_no_page_elsewhere_has_a_browser_export_or_spend(plain):
    for headers in ELSEWHERE:
        for target in (*ACTING, *COSTLY):
            answer = await sent(plain, target, **headers)
            assert b"request from another site refused" in answer.body, (headers, target, answer)
        proxied = await sent(plain, JSOC + ACTING[1], host="jsoc.stanford.edu", **headers)
        assert b"request from another site refused" in proxied.body, headers
    assert await plain.log() == []


async def test_pictures_frames_and_scripts_elsewhere_show_nothing_of_ours_and_links_lead_here(plain):
    picture = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}
    for target in ("/", f"/search?ds={DS}", "/coverage", "/cgi-bin/ajax/jsoc_info" + RECORDS, "/SUM1/D1/S00000/x.fits"):
        assert b"other sites may link to this mirror but not embed it" in (await sent(plain, target, **picture)).body, target
    assert await plain.log() == []
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert [(await sent(plain, t, **link)).code for t in ("/", "/search", "/coverage")] == [200] * 3
    assert (await sent(plain, "/ajax/style.css", **picture)).headers["x-mirror"] == "passed"  # of JSOC's pages below us


async def test_a_browser_that_hides_its_page_exports_nothing(plain):
    for target in (*ACTING, f"/api/quicklook?ds={DS}&fetch=1", "/api/sql?query=SELECT+1&fill=1"):
        assert b"the browser sent no Referer" in (await sent(plain, target, **HIDDEN)).body, target
    assert await plain.log() == []
    assert (await sent(plain, f"/search?ds={DS}", **HIDDEN)).code == 200  # typed, or from a bookmark
    shown = {**HIDDEN, "Referer": f"{plain.url}/search", "host": plain.url.removeprefix("http://")}
    assert b"page" not in (await sent(plain, "/api/sql?query=SELECT+1&fill=1", **shown)).body


@pytest.mark.parametrize("agent", ["Python-urllib/3.11", "curl/8.5.0", "IDL/8.9 IDLnetURL", "Mozilla/4.0"])
async def test_programs_export_as_before(plain, agent):
    answer = await sent(plain, FETCH + EXPORT, User_Agent=agent, Accept="*/*")
    assert int(json.loads(answer.body)["status"]) in (0, 2), answer.body


async def test_a_page_of_ours_may_do_what_one_elsewhere_may_not(plain):
    host = plain.url.removeprefix("http://")
    for headers in ({"Sec_Fetch_Site": "same-origin"}, {"Sec_Fetch_Site": "none"}, {"Origin": plain.url}, {"Referer": f"{plain.url}/search"}):
        assert (await sent(plain, f"/api/search?ds={DS}", host=host, **headers)).code == 200
    same = {"Origin": JSOC, "Referer": f"{JSOC}/ajax/exportdata.html"}
    assert b'"status"' in (await sent(plain, JSOC + FETCH + "?op=exp_status&requestid=JSOC_20140101_1", host="jsoc.stanford.edu", **same)).body


#: Names that a browser may be led to us by, and shapes that are none.
STRANGE = ["evil.example", "evil.example:8040", "127.0.0.1.evil.example", "[::1].evil.example", "[::1]evil", "127.0.0.1@evil.example", "127.0.0.1,evil", "xn--" + "a" * 200, "",
           "localhost.evil.example", "jsoc.stanford.edu.evil.example"]  # fmt: skip


async def test_a_name_that_is_not_ours_gets_no_page_no_api_and_no_export(plain):
    for host in STRANGE:
        for target in ("/", "/search", "/api/status", "//api/status", "/metrics", *ACTING):
            answer = await sent(plain, target, host=host)
            assert b"add it to hosts in [access]" in answer.body, (host, target, answer)
    assert await plain.log() == []


async def test_a_mirror_exports_at_another_by_any_name(plain):
    answer = await sent(plain, FETCH + EXPORT, host="mirror.lab:8040", Via="1.1 jsoc-mirror-far")
    assert int(json.loads(answer.body)["status"]) in (0, 2), answer.body


async def test_jsocs_own_name_leads_to_exports_and_not_to_our_pages(plain):
    assert b'"status"' in (await sent(plain, FETCH + "?op=exp_status&requestid=JSOC_20140101_1", host="jsoc.stanford.edu")).body
    assert (await sent(plain, "/api/status", host="jsoc.stanford.edu")).code == 403


async def test_a_header_host_that_is_long_or_given_twice_is_refused_at_once(plain):
    for host in ("xn--" + "a" * 1_000_000, "a\r\nHost: b", "xn--" + "a" * 290):
        assert (await sent(plain, "/healthz", host=host)).code in (0, 200, 400, 431)
    assert (await sent(plain, "/api/status", host="xn--" + "a" * 290)).code == 403


STRANGE_HOSTS = ["xn--aaaa", "XN--" + "a" * 3900, "xn--", "x.xn--a.org", "xn--mnchen-3ya.de", "\xe9", "%ff", "[::1", "a:99999", "a@" * 900, "", "..", "xn--" + "a" * 1_000_000]  # fmt: skip


async def test_a_target_with_a_strange_host_is_refused_at_once(plain):
    for host in STRANGE_HOSTS:
        for method, target in (("GET", f"http://{host}/"), ("CONNECT", f"{host}:443"), ("GET", f"https://{host}/x")):
            assert (await sent(plain, target, method)).code in (0, 400, 403, 414), target[:50]


# ---- methods ------------------------------------------------------------------------------------------


async def test_jsoc_hears_no_method_that_it_has_no_use_for(plain):
    for method in ("TRACE", "PUT", "DELETE", "PATCH", "PROPFIND", "LOCK"):
        for target in ("/cgi-bin/ajax/jsoc_info" + RECORDS, "/ajax/x.html", FETCH + EXPORT, JSOC + "/ajax/x.html"):
            answer = await sent(plain, target, method)
            assert (answer.code, answer.headers.get("allow")) == (405, "GET,HEAD,POST"), (method, target)
    assert await plain.log() == []


async def test_options_are_told_and_a_preflight_allows_nothing(plain):
    preflight = {"Origin": "http://evil.example", "Access_Control_Request_Method": "POST"}
    for target in ("*", "/", "/ajax/x.html", "/cgi-bin/ajax/jsoc_info", JSOC + "/"):
        answer = await sent(plain, target, "OPTIONS")
        assert (answer.code, answer.headers["allow"]) == (204, "GET, HEAD, POST, OPTIONS"), target
    for target in ("/api/policy", "/cgi-bin/ajax/jsoc_info", "/"):
        answer = await sent(plain, target, "OPTIONS", **preflight)
        assert not any(name.startswith("access-control") for name in answer.headers)
    assert await plain.log() == []


async def test_what_could_only_be_ours_is_not_looked_for_at_jsoc(plain):
    for method, target in (("GET", "/api/nothing"), ("PUT", "/api/status"), ("GET", "/series/a/b"), ("GET", "/series/..%2f..%2fcgi-bin/x/y"), ("POST", "/search")):
        answer = await sent(plain, target, method)
        assert (answer.code in (404, 405) and b"error" in answer.body) or answer.code == 405, (target, answer)
    assert await plain.log() == []


async def test_a_web_socket_is_an_ordinary_request(plain):
    upgrade = {"Upgrade": "websocket", "Sec_WebSocket_Version": "13", "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    request = head("GET", "/api/status", **upgrade).replace(b"Connection: close", b"Connection: Upgrade, close")
    assert (await exchange(plain.server.port, request)).code in (200, 400)
    assert (await plain.get("/healthz")).code == 200


def test_a_mocked_request_has_its_target_as_it_came():
    assert make_mocked_request("GET", "//x").raw_path == "//x"  # what the middleware relies on


async def test_a_token_is_looked_for_by_the_form_of_the_target_however_it_is_spelled(guarded):
    as_proxy = await sent(guarded, "HTTP://JSOC.stanford.edu//cgi-bin/ajax/jsoc_info" + RECORDS, Authorization=bearer("read")["Authorization"])
    assert as_proxy.code == 407
