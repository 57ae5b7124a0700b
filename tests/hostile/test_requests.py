"""Requests that are made to hold the mirror up, sent to a mirror: refused, or answered, and nobody else waits.

What is asserted is the answer, and how much was read for it. Times are measured by ``benchmarks/hostile.py``.
"""

from __future__ import annotations

import asyncio
import io
import logging

import pytest
import pytest_asyncio
from aiohttp import web

from mirror.server import limits
from mirror.server.connections import BoundedRunner, Connection, Most
from mirror.server.limits import HEADERS, KIB, MIB, PARAMETERS
from tests.lab import JSOC_INFO, lab
from tests.waiting import PATIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")

WARM = f"{JSOC_INFO}?op=rs_list&ds=hmi.v_45s[2014.01.01_TAI]&key=T_REC"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        yield made


async def told(mirror, data):
    """The code of the answer to these bytes, "" if there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mirror.server.port)
    try:
        writer.write(data)
        async with asyncio.timeout(PATIENCE):
            line = await reader.readline()
        return line[9:12].decode("latin-1")
    except ConnectionError:
        return ""
    finally:
        writer.close()


def get(target, *headers):
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", b"Host: localhost", *headers, b"", b""])


def post(path, kind, body, *headers):
    top = [b"POST " + path + b" HTTP/1.1", b"Host: localhost", b"Content-Type: " + kind, b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*top, *headers, b"", body])


# ---- heads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern", [b"/", b"../", b"%2f", b"a", b"%", b"\xc3\xa9", b";", b".", b"/x", b"%00"], ids=lambda p: p.decode("latin-1")
)
@pytest.mark.parametrize("size", [8 * KIB, 160_000, MIB, 16 * MIB])
async def test_a_long_path_is_refused_before_it_is_looked_at(mirror, pattern, size):
    assert await told(mirror, get(b"/" + pattern * (size // len(pattern)))) in ("414", "400")


async def test_a_path_of_four_kilobytes_is_answered(mirror):
    for pattern in (b"/", b"../", b"a", b"%2f"):
        assert await told(mirror, get(b"/" + pattern * (4000 // len(pattern)))) not in ("", "414", "500")


@pytest.mark.parametrize(
    "header",
    [
        b"Content-Type: a/b" + b";a=b" * 2000,
        b"Content-Type: multipart/form-data" + b";" * 300,
        b"Cookie: " + b";" * 16_000,
        b"Range: bytes=" + b"0-1," * 100,
        b"Host2: " + b"a" * 9000,
        b"a" * 9000 + b": b",
    ],
    ids=lambda h: h[:12].decode(),
)
async def test_a_long_header_is_refused(mirror, header):
    assert await told(mirror, get(b"/", header)) == "431"


async def test_many_headers_are_refused_and_so_are_large_ones_together(mirror):
    assert await told(mirror, get(b"/", *(b"x%d: y" % n for n in range(HEADERS + 1)))) == "431"
    assert await told(mirror, get(b"/", *(b"x%d: %b" % (n, b"y" * 8000) for n in range(6)))) == "431"
    assert await told(mirror, get(b"/healthz/live", *(b"x%d: y" % n for n in range(HEADERS - 2)))) == "200"


async def test_a_query_of_too_many_parameters_or_bytes_is_refused(mirror):
    assert await told(mirror, get(JSOC_INFO.encode() + b"?" + b"a=b&" * PARAMETERS)) == "414"
    assert await told(mirror, get(JSOC_INFO.encode() + b"?ds=" + b"a" * limits.TARGET)) == "414"


async def test_a_line_of_a_hundred_kilobytes_is_answered_as_drms_sends_it(mirror):
    names = ",".join(f"KEY{n}" for n in range(9_000))
    answer = await mirror.get(JSOC_INFO, {"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI]", "key": names})
    assert answer.code == 200
    assert len(answer.json["keywords"]) == 9_000


async def test_a_compressed_body_is_refused(mirror):
    assert await told(mirror, post(JSOC_INFO.encode(), b"text/plain", b"x", b"Content-Encoding: gzip")) == "415"


# ---- bodies -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/login", "/api/forget", "/api/sql", "/api/queries", "/api/jobs", "/api/fill"])
async def test_a_body_that_is_too_large_is_refused_unread(mirror, path):
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    assert await told(mirror, head % (path.encode(), 16 * MIB)) == "413"


async def test_a_body_that_does_not_tell_its_size_is_bounded_too(mirror):
    head = b"POST /api/forget HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"[" * 0x10000 + b"\r\n"
    assert await told(mirror, head + chunk * 4 + b"0\r\n\r\n") == "413"


async def test_jsocs_own_programs_say_it_as_jsoc_does(mirror):
    body = io.BytesIO(b"op=rs_list&ds=" + b"x" * (2 * MIB))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await mirror.request("POST", JSOC_INFO, data=body, headers=form)
    assert answer.code == 200
    assert answer.json["status"] == 1
    assert "expected at most 1,048,576" in answer.json["error"]


async def test_a_record_set_of_two_hundred_kilobytes_is_answered(mirror):
    numbers = ",".join(f"#{14726400 + n}" for n in range(20_000))
    ds = f"hmi.v_45s[{numbers}][? QUALITY < 0 AND QUALITY > 0 ?]"
    assert len(ds) > 200_000
    form = {"op": "rs_summary", "ds": ds}
    answer = await mirror.request("POST", JSOC_INFO, data=form)
    assert answer.code == 200
    assert answer.json["status"] == 0


async def test_a_warm_search_is_answered_between_all_of_them(mirror):
    assert await told(mirror, get(WARM.encode())) == "200"


# ---- connections --------------------------------------------------------------------------------


async def serving(most, handler=None):
    """A server of this many connections, and how to open one."""

    async def ok(_):
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/", handler or ok)
    runner = BoundedRunner(app, most)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    return runner, lambda: asyncio.open_connection("127.0.0.1", port)


async def test_idle_connections_make_room_for_new_ones():
    runner, connect = await serving(Most(total=10, of_address=None))
    try:
        idle = [await connect() for _ in range(40)]
        for _, writer in idle[:20]:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")  # a head that never ends
        reader, writer = await connect()
        writer.write(get(b"/"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert len(runner.server.connections) <= 11
        for _, other in [*idle, (reader, writer)]:
            other.close()
    finally:
        await runner.cleanup()


async def test_where_all_are_busy_a_new_one_is_told_so():
    held = asyncio.Event()

    async def wait(_):
        await held.wait()
        return web.Response(text="ok")

    runner, connect = await serving(Most(total=2, of_address=None), wait)
    try:
        busy = [await connect() for _ in range(2)]
        for _, writer in busy:
            writer.write(get(b"/"))
        while sum(c.is_busy for c in runner.server.connections if isinstance(c, Connection)) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
        reader, writer = await connect()
        assert (await reader.read()).startswith(b"HTTP/1.1 503")
        writer.close()
        held.set()
        for reader, writer in busy:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
    finally:
        held.set()
        await runner.cleanup()


async def test_requests_that_are_sent_ahead_are_answered_in_order_and_few_are_read():
    runner, connect = await serving(Most(total=10, of_address=None))
    try:
        reader, writer = await connect()
        writer.write(get(b"/") * 50)
        for _ in range(50):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(2) == b"ok"
        writer.close()
    finally:
        await runner.cleanup()


async def test_a_late_head_gets_408_and_a_late_body_its_handlers_answer():
    async def read(request):
        return web.Response(text=str(len(await request.read())))

    runner, connect = await serving(Most(total=10, of_address=None), read)
    try:
        late, body = await connect(), await connect()
        late[1].write(b"GET / HTTP/1.1\r\nX")
        body[1].write(b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        here = runner.server.connections
        while sum(c.is_busy or c._bounded.in_head for c in here) < 2:
            await asyncio.sleep(0)
            here = runner.server.connections
        now = asyncio.get_running_loop().time()
        for connection in here:
            connection.look(now)
            connection.look(now + limits.BODY_SECONDS + limits.HEAD_SECONDS)
        assert (await late[0].readline()).startswith(b"HTTP/1.1 408")
        assert (await body[0].readline()).startswith(b"HTTP/1.1 408")
        for _, writer in (late, body):
            writer.close()
    finally:
        await runner.cleanup()


async def test_what_is_no_request_is_answered_without_what_was_sent(caplog):
    runner, connect = await serving(Most(total=10, of_address=None))
    try:
        with caplog.at_level(logging.DEBUG):
            for data in (b"\x16\x03\x01secret\r\n\r\n", get(b"/", b"Bad secret: x"), get(b"/secret" * 1000)):
                reader, writer = await connect()
                writer.write(data)
                answer = await reader.read()
                assert answer.startswith(b"HTTP/1.")
                assert b"secret" not in answer
                writer.close()
        assert "secret" not in caplog.text
    finally:
        await runner.cleanup()
