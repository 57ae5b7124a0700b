"""The forward proxy: for JSOC and nothing else; what the mirror does not answer itself passes through."""

from __future__ import annotations

import asyncio
import gzip

import pytest
import pytest_asyncio

from mirror.server.jsoc.proxy import leads_to
from tests.lab import AJAX, JSOC_INFO, lab

JSOC = "http://jsoc.stanford.edu"


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with lab(tmp_path) as made:
        yield made


async def absolute(mirror, target, method="GET", *, headers=b"", body=b""):
    """Status, headers and body of a request with this very target, as a client behind a proxy sends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mirror.server.port)
    head = f"{method} {target} HTTP/1.1\r\nHost: jsoc.stanford.edu\r\nConnection: close\r\n".encode()
    if body:
        head += b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n" % len(body)
    writer.write(head + headers + b"\r\n" + body)
    reply = await reader.read()
    writer.close()
    await writer.wait_closed()
    top, _, content = reply.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    return int(lines[0].split()[1]), dict(x.split(": ", 1) for x in lines[1:]), content


async def test_absolute_targets_at_jsoc_are_answered_by_the_mirror(mirror):
    query = "?op=rs_list&ds=hmi.v_45s[2014.01.01_TAI]&key=T_REC"
    for host in (JSOC, JSOC + ":80", "http://JSOC.Stanford.edu"):
        code, headers, body = await absolute(mirror, host + JSOC_INFO + query)
        assert (code, headers["X-Mirror"]) == (200, "filled" if host == JSOC else "local")
        assert b"2014.01.01_00:00:00_TAI" in body


async def test_absolute_targets_take_forms_too(mirror):
    form = b"op=rs_list&ds=hmi.v_45s[2014.01.01_TAI]&key=T_REC"
    code, _, body = await absolute(mirror, JSOC + JSOC_INFO, "POST", body=form)
    assert code == 200
    assert b"2014.01.01_00:00:00_TAI" in body


@pytest.mark.parametrize(
    "target",
    ["http://example.org/", "http://jsoc.stanford.edu.example.org/", "http://jsoc.stanford.edu:8080/", "https://jsoc.stanford.edu/",
     "ftp://jsoc.stanford.edu/", "http://user@jsoc.stanford.edu/", "http://example.org/cgi-bin/ajax/jsoc_info?op=rs_list",
     "http://127.0.0.1/", "http://[::1]/", "http://jsoc.stanford.edu@example.org/"],
)  # fmt: skip
async def test_other_hosts_are_refused_and_upstream_hears_nothing(mirror, target):
    before = len(await mirror.log())
    code, _, body = await absolute(mirror, target)
    assert code in (400, 403)
    assert code == 400 or (b"is not served" in body and b"http://jsoc.stanford.edu," in body)
    assert len(await mirror.log()) == before


@pytest.mark.parametrize("target", ["jsoc.stanford.edu:443", "jsoc.stanford.edu:80", "example.org:443"])
async def test_tunnels_are_refused(mirror, target):
    code, _, _ = await absolute(mirror, target, "CONNECT")
    assert code in (400, 403)
    assert (await mirror.get("/healthz")).code == 200


async def test_other_pages_of_jsoc_pass_through_unkept(mirror):
    code, headers, body = await absolute(mirror, JSOC + "/no/such/page?x=%5B1%5D")
    assert code == 404
    assert headers["X-Mirror"] == "passed"
    assert b"404" in body
    assert (await mirror.get("/api/series")).json == []


async def test_flags_that_change_values_are_answered_by_jsoc_itself(mirror):
    params = {"M": "1"}
    answer = await mirror.ask("hmi.v_45s[2014.01.01_TAI]", "T_REC,CRVAL1", **params)
    assert answer.plan == "forwarded"
    asked = {"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI]", "key": "T_REC,CRVAL1", "M": "1"}
    direct = await mirror.session.get(mirror.simulator.make_url(JSOC_INFO), params=asked)
    expected = await direct.json(content_type=None)
    assert answer.told == {k: v for k, v in expected.items() if k != "runtime"}
    posted = await mirror.request("POST", JSOC_INFO, data=asked)
    assert posted.told == answer.told


async def test_a_failure_behind_the_proxy_is_an_error_and_not_a_crash(mirror):
    await mirror.faults({"fault": "refuse"})
    answer = await mirror.ask("hmi.v_45s[2014.01.01_TAI]", M="1")
    assert answer.json["status"] == 1
    assert (await mirror.get("/healthz")).code == 200


# ---- compression --------------------------------------------------------------------------------


async def test_large_answers_are_gzipped_where_asked_for(mirror):
    target = JSOC_INFO + "?op=rs_list&ds=hmi.v_45s[2014.01.01_TAI/1h]&key=**ALL**"
    _, headers, plain = await absolute(mirror, target)
    assert "Content-Encoding" not in headers
    _, headers, packed = await absolute(mirror, target, headers=b"Accept-Encoding: gzip\r\n")
    assert headers["Content-Encoding"] == "gzip"
    assert len(packed) < len(plain) / 4
    assert len(gzip.decompress(packed)) == pytest.approx(len(plain), abs=10)


async def test_small_answers_and_refused_encodings_stay_plain(mirror):
    small = JSOC_INFO + "?op=rs_summary&ds=hmi.v_45s[2014.01.01_TAI]"
    _, headers, _ = await absolute(mirror, small, headers=b"Accept-Encoding: gzip\r\n")
    assert "Content-Encoding" not in headers


async def test_a_head_request_has_the_headers_and_no_body(mirror):
    code, headers, body = await absolute(
        mirror, JSOC_INFO + "?op=rs_list&ds=hmi.v_45s[2014.01.01_TAI]&key=T_REC", "HEAD"
    )
    assert (code, body) == (200, b"")
    assert int(headers["Content-Length"]) > 100


# ---- how it was answered ------------------------------------------------------------------------


async def test_every_answer_says_how_it_came_about(mirror):
    ds = "hmi.v_45s[2014.01.01_TAI/1h]"
    plans = [(await mirror.ask(ds)).plan for _ in range(2)]
    plans.append((await mirror.ask("hmi.v_45s[:#$]")).plan)
    mirror.clock.forward(days=200)
    await mirror.faults({"fault": "outage"})
    plans.append((await mirror.ask(ds)).plan)
    assert plans == ["filled", "local", "forwarded", "stale"]


async def test_show_info_is_a_table_of_the_same_records(mirror):
    params = {"ds": "hmi.m_45s[2014.01.01_TAI/90s]", "key": "T_REC,CAMERA", "r": "1"}
    mirrored = await mirror.get(AJAX + "show_info", params)
    direct = await mirror.session.get(mirror.simulator.make_url(AJAX + "show_info"), params=params)
    assert mirrored.body == await direct.read()
    assert mirrored.plan == "filled"
    counted = await mirror.get(AJAX + "show_info", {"ds": params["ds"], "c": "1"})
    assert counted.body.split()[0] == b"2"


async def test_addresses_are_asked_for_once_they_are_registered(mirror):
    for address, status, times in (
        ("me@lab.edu", 2, 1),
        ("notregistered@example.com", 4, 2),
        ("not-valid", -2, 2),
    ):
        before = len(await mirror.log(program="checkAddress.sh"))
        for _ in range(2):
            answer = await mirror.get(AJAX + "checkAddress.sh", {"address": address, "checkonly": "1"})
            assert answer.json["status"] == status
        assert len(await mirror.log(program="checkAddress.sh")) == before + times


@pytest.mark.parametrize(
    "given, found",
    [
        ("https://jsoc.stanford.edu/data/x/", "/data/x/"),
        ("https://jsoc.stanford.edu:443/data/x/?a=1", "/data/x/?a=1"),
        ("http://jsoc.stanford.edu/data/x/", "/data/x/"),
        ("/data/x/", "/data/x/"),
        ("https://jsoc.stanford.edu:80/data/x/", None),
        ("http://jsoc.stanford.edu:443/data/x/", None),
        ("https://jsoc.stanford.edu.evil.example/data/x/", None),
        ("https://evil.example/data/x/", None),
        ("https://jsoc.stanford.edu/data/x", None),  # the page itself
    ],
)
def test_a_server_that_is_asked_by_https_names_its_pages_so(given, found):
    hosts, page = frozenset({"jsoc.stanford.edu"}), "http://jsoc.stanford.edu/data/x"
    wanted = None if found is None else ("jsoc.stanford.edu", found)
    assert leads_to(given, page, hosts, by_https=True) == wanted
    by_http = wanted if given.startswith(("http:", "/")) else None
    assert leads_to(given, page, hosts, by_https=False) == by_http
