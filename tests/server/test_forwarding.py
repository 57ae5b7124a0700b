"""Hosts of ``[access] pass_through``: plain HTTP is forwarded, tunnels are opened, and nothing else is reached."""

from __future__ import annotations

import asyncio
import contextlib
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from mirror.config.access import Destination
from mirror.server import forwarding
from mirror.server.forwarding import Forbidden, Target, addresses_of, target_of
from tests.lab import lab


async def answer(request):
    """What was asked, told back."""
    if request.path == "/big":
        return web.Response(body=b"x" * 3_000_000)
    told = {"method": request.method, "target": request.raw_path, "headers": dict(request.headers), "body": (await request.read()).decode()}
    headers = {"Set-Cookie": "a=b", "X-Own": "kept"}
    if request.path == "/moved":
        return web.Response(status=302, headers={"Location": "/there;x", **headers})
    return web.json_response(told, headers=headers)


@asynccontextmanager
async def beside(tmp_path, **environ):
    """A mirror, and a server that it passes requests on to."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    other = TestServer(app)
    await other.start_server()
    environ.setdefault("MIRROR_ACCESS__PASS_THROUGH", f"127.0.0.1:{other.port}")
    try:
        async with lab(tmp_path, **environ) as mirror:
            yield SimpleNamespace(mirror=mirror, other=other, host=f"127.0.0.1:{other.port}")
    finally:
        await other.close()


@pytest_asyncio.fixture
async def made(tmp_path):
    async with beside(tmp_path) as found:
        yield found


async def ask(made, path, method="GET", **options):
    url = f"http://{made.host}{path}"
    async with made.mirror.session.request(method, url, proxy=made.mirror.url, allow_redirects=False, **options) as response:
        return response.status, response.headers, await response.read()


async def code_of(made, target):
    """The code that CONNECT is answered with."""
    code, _, writer = await connected(made, target)
    writer.close()
    await writer.wait_closed()
    return code


async def connected(made, target):
    """The first line that comes after CONNECT, and the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", made.mirror.server.port)
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    return int(head.split()[1]), reader, writer


async def test_a_request_goes_on_as_it_stands_and_the_answer_comes_back_so(made):
    status, headers, body = await ask(
        made, "//a/../b;c?x=%2f&y=1", "POST", data=b"<soap/>", headers={"SOAPAction": '"q"', "Cookie": "k=v", "Proxy-Authorization": "Basic eDp5"}
    )
    told = json.loads(body)
    assert (status, told["method"], told["body"]) == (200, "POST", "<soap/>")
    assert told["headers"]["Host"] == made.host
    assert (told["headers"]["SOAPAction"], told["headers"]["Cookie"]) == ('"q"', "k=v")
    assert "Proxy-Authorization" not in told["headers"]
    assert (headers["X-Own"], headers["Set-Cookie"]) == ("kept", "a=b")
    status, headers, _ = await ask(made, "/moved")
    assert (status, headers["Location"]) == (302, "/there;x")
    assert (await ask(made, "/x", "HEAD"))[0] == 200
    assert await made.mirror.log() == []


async def test_paths_of_ours_and_of_jsoc_at_another_host_are_that_hosts(made):
    for path in ("/api/status", "/cgi-bin/ajax/jsoc_info?op=rs_list&ds=x", "/SUM1/D1/S00000/x.fits", "/healthz", "/"):
        status, headers, body = await ask(made, path)
        assert (status, headers["X-Own"]) == (200, "kept"), path
        assert f'"target": "{path}"'.encode() in body


async def test_a_tunnel_carries_both_ways_and_ends_with_either_side(made):
    code, reader, writer = await connected(made, made.host)
    assert code == 200
    for _ in range(2):
        writer.write(f"GET /x HTTP/1.1\r\nHost: {made.host}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readuntil(b'"body": ""}')
    writer.write(f"GET /big HTTP/1.1\r\nHost: {made.host}\r\nConnection: close\r\n\r\n".encode())
    rest = await reader.read()
    assert rest.endswith(b"x" * 3_000_000)
    writer.close()
    code, _, writer = await connected(made, made.host)
    writer.close()
    assert (await made.mirror.get("/healthz")).code == 200


async def test_what_is_forwarded_counts_as_used_whatever_its_path(made):
    before = await used(made)
    _, reader, writer = await connected(made, made.host)
    writer.write(f"GET /big HTTP/1.1\r\nHost: {made.host}\r\nConnection: close\r\n\r\n".encode())
    await reader.read()
    writer.close()
    for path in ("/static/x", "/healthz", "/api/events"):
        assert (await ask(made, path))[0] == 200
    after = await used(made)
    assert after[0] - before[0] >= 4 and after[1] - before[1] >= 3_000_000


async def used(made):
    """The requests and the bytes of everybody so far."""
    lines = (await made.mirror.get("/api/usage")).json
    return sum(line["requests"] for line in lines), sum(line["bytes"] for line in lines)


async def test_much_that_is_sent_through_a_tunnel_arrives(made):
    _, reader, writer = await connected(made, made.host)
    body = b"y" * 700_000
    writer.write(f"POST /x HTTP/1.1\r\nHost: {made.host}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
    assert (await reader.read()).count(b"y") >= len(body)
    writer.close()


@pytest.mark.parametrize("target", ["127.0.0.1:1", "example.org:443", "localhost:443", "jsoc.stanford.edu:443", "[::1]:443", "127.0.0.1@example.org:443"])
async def test_other_hosts_and_ports_stay_closed(made, target):
    assert await code_of(made, target) in (400, 403)
    async with made.mirror.session.get(f"http://{target}/x", proxy=made.mirror.url) as response:
        assert response.status in (400, 403, 404)  # 404: JSOC's own name, which has another port
    assert await made.mirror.log() == []


async def test_what_is_named_has_to_answer(made):
    await made.other.close()
    code = await code_of(made, made.host)
    status, _, body = await ask(made, "/x")
    assert (code, status) == (502, 502)
    assert b"does not answer" in body


async def test_none_is_passed_on_to_without_the_setting_and_an_edit_holds_at_once(tmp_path):
    async with beside(tmp_path, MIRROR_ACCESS__PASS_THROUGH="") as made:
        status, _, body = await ask(made, "/x")
        assert (status, b"NO_PROXY" in body) == (403, True)
        assert await code_of(made, made.host) == 403


async def test_it_takes_the_role_read_as_of_a_proxy(tmp_path):
    networks = {"MIRROR_ACCESS__NETWORKS": "10.0.0.0/8 read,127.0.0.0/8 read"}
    async with beside(tmp_path, **networks) as made:
        assert (await ask(made, "/x", "POST", data=b"x"))[0] == 200
        assert await code_of(made, made.host) == 200


# ---- names and addresses --------------------------------------------------------------------------


@pytest.mark.parametrize("found, named, good", [
    (["93.184.216.34"], "vso.example", True), (["93.184.216.34", "10.0.0.1"], "vso.example", False), (["127.0.0.1"], "vso.example", False),
    (["169.254.169.254"], "vso.example", False), (["::1"], "vso.example", False), (["fe80::1%eth0"], "vso.example", False), (["::ffff:10.0.0.1"], "vso.example", False),
    (["224.0.0.1"], "vso.example", False), (["0.0.0.0"], "*.example", False), (["2606:2800:220:1::1"], "*.example", True), (["10.0.0.1"], "10.0.0.1", True),
    (["127.0.0.1"], "localhost", True),
])  # fmt: skip
async def test_a_name_that_leads_inside_is_refused_and_an_address_that_is_named_is_not(monkeypatch, found, named, good):
    async def looked_up(*_, **__):
        return [(0, 0, 0, "", (address, 80)) for address in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up)
    with contextlib.nullcontext() if good else pytest.raises(Forbidden, match="private network"):
        assert await addresses_of("vso.example", 80, Destination.parse(named)) == found


async def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(tmp_path, monkeypatch):
    async with beside(tmp_path, MIRROR_ACCESS__PASS_THROUGH="inside.example") as made:
        asked = []

        async def addresses(host, port, destination):
            asked.append((host, port, str(destination)))
            raise Forbidden("it leads to a private network")

        monkeypatch.setattr(forwarding, "addresses_of", addresses)
        async with made.mirror.session.get("http://inside.example/x", proxy=made.mirror.url) as response:
            assert (response.status, "private network" in await response.text()) == (403, True)
        assert await code_of(made, "inside.example:443") == 403
        assert asked == [("inside.example", 80, "inside.example"), ("inside.example", 443, "inside.example")]


@pytest.mark.parametrize("method, target, expected", [
    ("GET", "http://A.org/x", Target("a.org", 80)), ("GET", "http://a.org:8080", Target("a.org", 8080)), ("GET", "https://a.org/", None), ("GET", "/x", None),
    ("GET", "http://u@a.org/", None), ("GET", "http://a.org:x/", None), ("CONNECT", "a.org:443", Target("a.org", 443)), ("CONNECT", "a.org", None),
    ("CONNECT", "a.org:443/x", None), ("CONNECT", "u@a.org:443", None), ("CONNECT", "[::1]:443", Target("::1", 443)),
])  # fmt: skip
def test_targets_are_read_in_one_way(method, target, expected):
    assert target_of(method, target) == expected
