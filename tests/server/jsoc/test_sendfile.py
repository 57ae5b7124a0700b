"""Files to connections by the kernel: every byte, to readers that dawdle, and no hanging where one has gone."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from mirror.server.jsoc.sendfile import LARGE, send_range, send_whole
from mirror.server.requests import SENT

DATA = bytes(range(251)) * 60_000


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(DATA)
    return file


@asynccontextmanager
async def sending(path, *ranges, before=b"", after=b"."):
    """A client's end of a connection over which so many ranges are sent, and the task that does it."""
    tasks = []

    async def serve(_, writer):
        tasks.append(asyncio.current_task())
        try:
            writer.write(before)
            with path.open("rb", buffering=0) as file:
                for start, size in ranges:
                    await send_range(writer.transport, file, start, size)
            writer.write(after)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1 << 16)
    try:
        yield reader, writer, tasks
    finally:
        writer.close()
        server.close()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_file_arrives_whole_between_what_is_written_before_and_after(path):
    async with sending(path, (0, len(DATA)), before=b"head") as (reader, _, _):
        assert await reader.read(-1) == b"head" + DATA + b"."


async def test_ranges_follow_each_other(path):
    async with sending(path, (10, 5), (0, 3), (3_000_000, 4_000_000)) as (reader, _, _):
        assert await reader.read(-1) == DATA[10:15] + DATA[:3] + DATA[3_000_000:7_000_000] + b"."


async def test_what_is_still_to_be_written_goes_first(path):
    head = b"x" * 8_000_000  # more than a socket takes
    async with sending(path, (0, len(DATA)), before=head) as (reader, _, _):
        assert await reader.read(-1) == head + DATA + b"."


async def test_a_reader_that_stops_for_a_while_gets_it_all(path):
    async with sending(path, (0, len(DATA))) as (reader, _, _):
        first = await reader.readexactly(1000)
        for _ in range(200):  # everybody else goes on meanwhile
            await asyncio.sleep(0)
        assert first + await reader.read(-1) == DATA + b"."


async def test_a_file_that_is_too_short_is_an_error(path):
    async with sending(path, (len(DATA) - 5, 10)) as (reader, _, tasks):
        assert await reader.read(-1) == DATA[-5:]
        (found,) = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found, OSError)
    assert f"ended after {len(DATA)} bytes" in str(found)


async def test_a_client_that_hangs_up_is_a_broken_connection(path):
    async with sending(path, *[(0, len(DATA))] * 3) as (reader, writer, tasks):
        await reader.readexactly(10)
        writer.transport.abort()
        (found,) = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found, ConnectionError)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_large_answer_in_memory_arrives_whole_and_the_connection_goes_on(method):
    body, counted = DATA[: 12 * LARGE], []

    async def answer(request):
        response = await send_whole(request, web.StreamResponse(), body)
        counted.append(request.get(SENT, 0))
        return response

    app = web.Application()
    app.router.add_get("/", answer)
    async with TestServer(app) as server, ClientSession() as session:
        for _ in range(3):
            async with session.request(method, server.make_url("/")) as response:
                assert int(response.headers["Content-Length"]) == len(body)
                assert await response.read() == (body if method == "GET" else b"")
    assert counted == [len(body) if method == "GET" else 0] * 3
