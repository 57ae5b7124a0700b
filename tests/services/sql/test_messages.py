"""What comes through the pipe between a worker and the daemon."""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager

import pytest

from mirror.services.sql.messages import PIPE, Kind, Pipe, write_frame, write_json


@contextmanager
def pipe():
    made = Pipe()
    writer = os.fdopen(os.dup(made.writing_end), "wb")
    made.given_away()
    try:
        yield made, writer
    finally:
        writer.close()
        made.close()


async def test_frames_come_as_they_were_written():
    with pipe() as (reading, writer):
        write_json(writer, Kind.HEADER, {"columns": []})
        write_frame(writer, Kind.DATA, b"abc")
        writer.flush()
        kind, size = await reading.head()
        assert (kind, await reading.whole(size)) == (Kind.HEADER, b'{"columns": []}')
        assert await reading.head() == (Kind.DATA, 3)
        assert await reading.some(2) == b"ab"
        assert await reading.some(10) == b"c"


async def test_a_frame_larger_than_the_pipe_comes_in_pieces():
    data = os.urandom(3 * PIPE + 7)
    with pipe() as (reading, writer):

        async def read() -> bytes:
            _, left = await reading.head()
            pieces = []
            while left:
                pieces.append(await reading.some(left))
                left -= len(pieces[-1])
            assert len(pieces) > 3
            return b"".join(pieces)

        def write() -> None:
            write_frame(writer, Kind.DATA, data)
            writer.flush()

        read_back, _ = await asyncio.gather(read(), asyncio.to_thread(write))
        assert read_back == data


async def test_who_waits_for_a_worker_is_told_that_it_ended():
    with pipe() as (reading, writer):
        waiting = asyncio.ensure_future(reading.head())
        await asyncio.sleep(0)
        writer.write(b"\x02")
        writer.close()
        with pytest.raises(EOFError):
            await waiting


async def test_a_quick_pipe_leaves_others_their_turn():
    with pipe() as (reading, writer):
        writer.write(bytes(100))
        writer.flush()
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        busy = asyncio.ensure_future(others())
        for _ in range(100):
            await reading.some(1)
        busy.cancel()
        assert turns >= 100
