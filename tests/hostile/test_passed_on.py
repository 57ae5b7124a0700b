"""What JSOC sends acts on no browser as if it were the mirror's, and what is sent to JSOC says nothing of who asks here."""

from __future__ import annotations

import itertools

import pytest
import pytest_asyncio

from mirror.server.jsoc.proxy import JSOC_HOSTS
from tests.hostile.rawhttp import exchange, head, upstream
from tests.lab import lab

JSOC = "http://jsoc.stanford.edu"
NETWORKS = '[access]\nnetworks = ["127.0.0.1 export"]\n'  # also for what a server in front passes on
INFO = "/cgi-bin/ajax/jsoc_info?op=rs_list&ds=hmi.v_45s[$]&key=T_REC&M=1"  # with this flag it is passed on
#: Headers by which a server acts on browsers, on other servers, or on connections.
ACTING = """
    Set-Cookie: a=b; Path=/ | Set-Cookie2: a=b | Clear-Site-Data: "*" | Service-Worker-Allowed: / | Refresh: 0; url=//evil | Link: </x>; rel=preload
    Strict-Transport-Security: max-age=9 | Public-Key-Pins: max-age=9 | Access-Control-Allow-Origin: * | Access-Control-Allow-Credentials: true
    Report-To: {} | Reporting-Endpoints: a="//evil" | NEL: {} | Alt-Svc: h2="evil:443" | Content-Security-Policy: sandbox allow-same-origin
    Content-Security-Policy-Report-Only: x | X-Frame-Options: ALLOWALL | X-XSS-Protection: 0 | Referrer-Policy: unsafe-url | SourceMap: //evil
    X-Accel-Redirect: /api/audit | X-Sendfile: /etc/passwd | X-Lighttpd-Send-File: /etc/passwd | X-Accel-Buffering: no | X-Mirror: local
    WWW-Authenticate: Basic realm="x" | Proxy-Authenticate: Basic realm="x" | Authentication-Info: x | Content-Location: //evil | Upgrade: h2c
    Server: x | X-Powered-By: x | Via: 1.1 x | Origin-Agent-Cluster: ?0 | Cross-Origin-Opener-Policy: unsafe-none | Permissions-Policy: camera=* | Accept-CH: x
    Connection: X-Secret | Keep-Alive: timeout=9 | Trailer: X-T | Speculation-Rules: "/x" | Critical-CH: x | Document-Policy: x | No-Vary-Search: params
"""
NAMES = {line.partition(":")[0].strip().lower() for line in ACTING.replace("\n", "|").split("|") if line.strip()}
#: What a program wants to know of a body.
KEPT = {"content-range": "bytes 0-4/9", "etag": '"x"', "last-modified": "Wed, 01 Jan 2020 00:00:00 GMT", "accept-ranges": "bytes",
        "content-disposition": "attachment", "cache-control": "max-age=5", "expires": "0", "vary": "Accept", "content-language": "en"}  # fmt: skip


def answer(status=200, kind: str | None = "text/html", body=b"hello", more=""):
    """The bytes of an answer with everything that acts."""
    lines = [f"HTTP/1.1 {status} OK", f"Content-Length: {len(body)}", *(line.strip() for line in ACTING.replace("\n", "|").split("|") if line.strip())]
    lines += [f"{name}: {value}" for name, value in KEPT.items()] + ([f"Content-Type: {kind}"] if kind else [])
    return "\r\n".join([*lines, *([more] if more else []), "", ""]).encode("latin-1") + body


@pytest_asyncio.fixture
async def passed(tmp_path):
    """A mirror in front of a server that answers as it is told."""
    async with upstream() as jsoc, lab(tmp_path, config=NETWORKS, MIRROR_UPSTREAM__URL=jsoc.url) as made:
        yield made, jsoc


async def ask(passed, target, method="GET", answered=b"", **more):
    mirror, jsoc = passed
    jsoc.answer = answered or jsoc.answer
    return await exchange(mirror.server.port, head(method, target, **more))


KINDS = ["text/html", "text/HTML; charset=utf-8", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/pdf", "text/plain", "image/png", "x", None]


async def test_whatever_is_passed_on_is_locked_up_and_sets_nothing(passed):
    for target, kind, status in itertools.product(("/ajax/x", INFO), KINDS, (200, 206, 404, 500)):
        got = await ask(passed, target, answered=answer(status, kind))
        assert got.headers["content-security-policy"].startswith("sandbox") and "same-origin" not in got.headers["content-security-policy"]
        assert got.headers["x-content-type-options"] == "nosniff"
        left = NAMES - {"content-security-policy", "referrer-policy", "x-mirror", "server", "connection"}
        assert left & got.headers.keys() == set() and got.headers["x-mirror"] in ("passed", "forwarded")
        assert got.headers.get("server", "") != "x" and got.headers["referrer-policy"] == "no-referrer"
        assert KEPT.items() <= got.headers.items() and (got.code, got.body) == (status, b"hello")


async def test_a_client_that_takes_us_for_jsoc_gets_its_pages_unlocked_and_as_little_else(passed):
    got = await ask(passed, JSOC + "/ajax/x", answered=answer())
    assert "content-security-policy" not in got.headers and got.headers["x-content-type-options"] == "nosniff"
    assert {"set-cookie", "clear-site-data", "refresh", "alt-svc", "access-control-allow-origin", "x-accel-redirect"} & got.headers.keys() == set()
    assert KEPT.items() <= got.headers.items() and got.body == b"hello"


async def test_values_that_a_header_cannot_carry_are_left_out(passed):
    got = await ask(passed, "/x", answered=answer(more="Warning: a\xe9b\r\nRetry-After: \x01"))
    assert got.code == 200 and not {"warning", "retry-after"} & got.headers.keys()


REDIRECTS = {
    "/y": "/y", "y?a=1": "/ajax/y?a=1", "../y": "/y", "//jsoc.stanford.edu/y": "/y", f"{JSOC}:80/%79": "/y", f"{JSOC}": "/",
    "http://evil.example/y": None, "//evil.example/y": None, "https://jsoc.stanford.edu/ajax/x": None, "javascript:alert(1)": None, "http://[x": None,
    "http://jsoc.stanford.edu@evil.example/": None, "/x%2fy": None, "\\\\evil.example/": None, "http://jsoc.stanford.edu.evil.example/": None, "/ajax/x": None,
    "http:\\\\evil.example": None, "": None, "data:text/html,x": None,
}  # fmt: skip


async def test_a_redirect_leads_to_jsocs_pages_below_us_and_nowhere_else(passed):
    for (where, onward), status in itertools.product(REDIRECTS.items(), (301, 302, 303, 307, 308)):
        got = await ask(passed, "/ajax/x", answered=answer(status, more=f"Location: {where}"))
        if onward is None:
            assert got.code == 502 and "location" not in got.headers and b"leads on to" in got.body, where
        else:
            assert (got.code, got.headers["location"]) == (status, onward), where


async def test_a_redirect_for_a_proxys_client_names_jsoc(passed):
    assert {urls: "jsoc" in urls for urls in JSOC_HOSTS} and JSOC.removeprefix("http://") in JSOC_HOSTS
    got = await ask(passed, JSOC + "/ajax/x", answered=answer(302, more="Location: //jsoc.stanford.edu/./y"))
    assert got.headers["location"].endswith("jsoc.stanford.edu/y") and got.headers["location"].startswith("http://")
    assert (await ask(passed, JSOC + "/ajax/x", answered=answer(302, more="Location: http://evil.example/"))).code == 502


#: What a client may send that is about itself, about us, or about a connection.
PRIVATE = {
    "Authorization": "Bearer ada.secret", "Proxy_Authorization": "Basic c2VjcmV0", "Cookie": "jsoc-mirror=secret", "X_Forwarded_For": "10.1.2.3",
    "X_Forwarded_Host": "secret", "Forwarded": "for=10.1.2.3", "X_Real_IP": "10.1.2.3", "Referer": "http://127.0.0.1/search?ds=secret", "Origin": "http://127.0.0.1",
    "From": "secret@example.com", "X_Api_Key": "secret", "X_Requested_With": "secret", "Upgrade": "secret", "TE": "trailers", "User_Agent": "secret",
    "Sec_Fetch_Site": "none", "DNT": "1", "X_HTTP_Method_Override": "DELETE", "X_Original_URL": "/secret", "Content_Encoding": "identity",
}  # fmt: skip


@pytest.mark.parametrize("target", ["/ajax/x", JSOC + "/ajax/x"])
async def test_jsoc_hears_what_is_wanted_and_nothing_of_who_asks(passed, target):
    mirror, jsoc = passed
    more = {name: value for name, value in PRIVATE.items() if name != "Origin" or target[0] == "h"}
    more = more | ({"Origin": JSOC, "Referer": f"{JSOC}/secret"} if target[0] == "h" else {"Referer": f"http://127.0.0.1:{mirror.server.port}/secret"})
    wanted = {"Accept": "text/html", "Range": "bytes=0-4", "If_None_Match": '"x"', "Accept_Encoding": "gzip"}
    await ask(passed, target, answered=answer(), **more, **wanted)
    (asked,) = jsoc.asked[-1:]
    text = asked.decode("latin-1").lower()
    assert "secret" not in text and "10.1.2.3" not in text and "127.0.0.1/" not in text
    names = {line.partition(":")[0] for line in text.split("\r\n")[1:] if line}
    assert names <= {"host", "accept", "range", "if-none-match", "accept-encoding", "user-agent", "via", "cache-control"}
    assert text.startswith("get /ajax/x http/1.1\r\n") and {"range", "if-none-match", "accept"} <= names


async def test_a_body_reaches_jsoc_once_and_whole_whatever_the_framing_says(passed):
    mirror, jsoc = passed
    jsoc.answer = answer()
    smuggled = b"GET /secret HTTP/1.1\r\nHost: x\r\n\r\n"
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    await ask(passed, "/ajax/x", "POST", body=b"a=1", **form)
    assert jsoc.asked[-1].endswith(b"\r\n\r\na=1") and b"ontent-Length: 3" in jsoc.asked[-1]
    chunked = head("POST", "/ajax/x", Transfer_Encoding="chunked", **form) + b"3\r\na=2\r\n0\r\n\r\n"
    await exchange(mirror.server.port, chunked + smuggled)
    await exchange(mirror.server.port, chunked)
    assert jsoc.asked[-1].endswith(b"\r\n\r\na=2") and b"chunked" not in jsoc.asked[-1].lower()
    both = head("POST", "/ajax/x", Transfer_Encoding="chunked", Content_Length="5", **form) + b"0\r\n\r\n" + smuggled
    assert (await exchange(mirror.server.port, both)).code == 400
    for odd in ("xchunked", "chunked, identity", "\x0bchunked"):
        assert (await exchange(mirror.server.port, head("POST", "/ajax/x", Transfer_Encoding=odd, **form) + smuggled)).code in (0, 400)
    assert not any(b"/secret" in asked for asked in jsoc.asked)


REPLIES = [b"", b"nonsense", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
           b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nxyz", b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
                                   b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", b"HTTP/1.1 999 ?\r\nContent-Length: 0\r\n\r\n"]  # fmt: skip


async def test_an_answer_that_is_none_is_an_error_of_jsocs(passed, caplog):
    for reply in REPLIES:
        got = await ask(passed, "/ajax/x", answered=reply or b"\r\n")
        assert got.code in (0, 200, 502, 504, 999), (reply, got)
    assert "Traceback" not in caplog.text and not any(r.exc_info for r in caplog.records)
    assert (await passed[0].get("/healthz")).code == 200
