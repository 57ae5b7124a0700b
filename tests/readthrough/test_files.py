"""The read-through for files: whose a file is, where it may come from, and a source that plays tricks."""

from __future__ import annotations

import asyncio
import itertools
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from mirror.errors import (
    NotHeld,
    Refused,
    StorageError,
    UpstreamBroken,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnreachable,
)
from mirror.readthrough.downloads import ATTEMPTS, FIRST_PAUSE, PIECE, Downloads
from mirror.readthrough.files import Files, SegmentFile
from mirror.storage.database.database import Database
from mirror.storage.files.blobs import Blobs
from mirror.storage.files.holdings import Holding, Holdings, RecordSegment
from mirror.storage.files.incoming import Sink

PATH = "/SUM3/D12/S00004/notes.txt"
RECORD = RecordSegment("hmi.V_45s", 7, "Dopplergram")
LONG = bytes(range(256)) * (3 * PIECE // 256)


@dataclass
class Reply:
    """One answer of the source: some bytes, and then perhaps the end of the connection."""

    data: bytes = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    breaks: bool = False

    @property
    async def body(self):
        for start in range(0, len(self.data), PIECE):
            yield self.data[start : start + PIECE]
        if self.breaks:
            raise UpstreamBroken("the answer is cut short")


def whole(data, tag='"1"', **more):
    return Reply(data, headers={"Content-Length": str(len(data)), "ETag": tag}, **more)


def cut(data, at, tag='"1"'):
    return Reply(data[:at], headers={"Content-Length": str(len(data)), "ETag": tag}, breaks=True)


def rest(data, start, tag='"1"', *, size=None):
    size = size or len(data)
    told = {"Content-Range": f"bytes {start}-{size - 1}/{size}", "ETag": tag}
    return Reply(data[start:], 206, told)


class Source:
    """Gives the replies of a list, one for each request, and remembers what was asked."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.asked = []
        self.gate = asyncio.Event()
        self.gate.set()

    @asynccontextmanager
    async def file(self, path, headers, priority=None):
        self.asked.append(headers.get("Range", ""))
        await self.gate.wait()
        reply = self.replies.pop(0) if self.replies else UpstreamUnreachable("nobody is there")
        if isinstance(reply, Exception):
            raise reply
        yield reply


class Policy:
    may_ask = True


class Store:
    """Files on a store below a folder, fed by a source."""

    def __init__(self, database, blobs):
        self.database, self.blobs, self.pauses = database, blobs, []
        self.holdings, self.policy = Holdings(database, blobs), Policy()

    async def _pause(self, seconds):
        self.pauses.append(seconds)
        await asyncio.sleep(0)

    def fed_by(self, *replies):
        self.source = Source(*replies)
        self.downloads = Downloads(self.blobs, self.source, self._pause)
        return Files(self.blobs, self.holdings, self.downloads, self.policy)

    def content(self, blob):
        with self.blobs.reading(blob) as path:
            return path.read_bytes()


@pytest_asyncio.fixture
async def store(tmp_path):
    database = await asyncio.to_thread(Database.open, tmp_path / "index.duckdb")
    made = Store(database, await Blobs.open(tmp_path, database, now=lambda: 1e9))
    yield made
    await made.downloads.stop()
    await asyncio.to_thread(database.close)


async def read(download, end=None):
    """All that a reader gets, and what ended it."""
    got = bytearray()
    try:
        size = await download.begun()
        async for piece in download.read(0, size if end is None else end, size):
            got += piece
    except UpstreamError as problem:
        return bytes(got), problem
    return bytes(got), None


# ---- the read-through --------------------------------------------------------------------------------


async def test_a_file_comes_once_and_is_held_for_its_record(store):
    files = store.fed_by(whole(b"text"))
    blob = await files.get(SegmentFile(PATH, RECORD, "20140101"))
    assert await files.get(SegmentFile(PATH, RECORD, "20140101")) == blob
    assert store.content(blob) == b"text"
    assert len(store.source.asked) == 1
    held = await store.holdings.of(RECORD)
    assert (held.path, held.blob.sha256) == (PATH, blob.sha256)
    assert held.link is not None


async def test_a_file_that_came_by_its_path_gets_its_record_later(store):
    files = store.fed_by(whole(b"text"))
    await files.get(SegmentFile(PATH))
    assert await store.holdings.of(RECORD) is None
    await files.get(SegmentFile(PATH, RECORD))
    assert (await store.holdings.of(RECORD)).path == PATH
    assert len(store.source.asked) == 1


@pytest.mark.parametrize("path", ["", "/etc/passwd", "/SUM1/D1/S00000/../x", "/SUM1/D1/S00000/", "http://host/SUM1/D1/S0/x"])
async def test_what_is_no_path_of_the_archive_is_refused_and_not_asked_for(store, path):
    files = store.fed_by(whole(b"text"))
    with pytest.raises(Refused, match="expected /SUMn/Dn/Sn/name"):
        await files.open(SegmentFile(path))
    assert store.source.asked == []


async def test_offline_opens_what_is_held_and_nothing_else(store):
    files = store.fed_by(whole(b"text"))
    await files.get(SegmentFile(PATH))
    store.policy.may_ask = False
    assert isinstance(await files.open(SegmentFile(PATH)), Holding)
    with pytest.raises(NotHeld, match="offline"):
        await files.open(SegmentFile("/SUM3/D13/S00004/notes.txt"))


async def test_whoever_gives_up_waiting_stops_neither_the_download_nor_the_others(store):
    files = store.fed_by(whole(b"text"))
    store.source.gate.clear()
    impatient, patient = (asyncio.ensure_future(files.get(SegmentFile(PATH))) for _ in range(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    store.source.gate.set()
    assert store.content(await patient) == b"text"


# ---- attempts --------------------------------------------------------------------------------------------


async def test_a_download_that_breaks_off_asks_for_the_rest(store):
    files = store.fed_by(cut(LONG, PIECE), rest(LONG, PIECE))
    assert store.content(await files.get(SegmentFile(PATH))) == LONG
    assert store.source.asked == ["", f"bytes={PIECE}-"]


async def test_attempts_are_counted_anew_as_long_as_more_comes(store):
    steps = range(PIECE, len(LONG), 4096)
    replies = [Reply(LONG[a:b], 206, rest(LONG, a).headers, breaks=True) for a, b in itertools.pairwise(steps)]
    files = store.fed_by(cut(LONG, PIECE), *replies, rest(LONG, steps[-1]))
    assert store.content(await files.get(SegmentFile(PATH))) == LONG
    assert len(store.source.asked) == len(replies) + 2
    assert set(store.pauses) == {FIRST_PAUSE}


async def test_pauses_double_and_then_the_last_problem_is_told(store):
    files = store.fed_by()
    with pytest.raises(UpstreamUnreachable, match="nobody is there"):
        await files.get(SegmentFile(PATH))
    assert len(store.source.asked) == ATTEMPTS
    assert store.pauses == [FIRST_PAUSE * 2**n for n in range(ATTEMPTS - 1)]


async def test_what_is_not_there_is_not_asked_for_again(store):
    files = store.fed_by(Reply(b"no", 404))
    with pytest.raises(UpstreamRefused):
        await files.get(SegmentFile(PATH))
    assert store.pauses == []


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(Reply(b"", 416, {"Content-Range": f"bytes */{len(LONG)}"}), id="no such range"),
        pytest.param(rest(LONG, 2 * PIECE), id="another range"),
        pytest.param(Reply(LONG[PIECE:], 206, {}), id="a range that is not named"),
    ],
)
async def test_a_source_that_does_not_go_on_there_is_asked_for_the_whole(store, second):
    files = store.fed_by(cut(LONG, PIECE), second, whole(LONG))
    assert store.content(await files.get(SegmentFile(PATH))) == LONG
    assert store.source.asked[-1] == ""


async def test_a_source_without_tags_is_asked_for_the_whole(store):
    untagged = Reply(LONG[:PIECE], 200, {"Content-Length": str(len(LONG))}, breaks=True)
    files = store.fed_by(untagged, whole(LONG))
    assert store.content(await files.get(SegmentFile(PATH))) == LONG
    assert store.source.asked == ["", ""]


async def test_a_source_that_does_not_tell_the_length_is_believed_only_at_the_end(store):
    files = store.fed_by(Reply(b"text"))
    download = await files.open(SegmentFile(PATH))
    assert await download.begun() == 4
    assert (await read(download))[0] == b"text"


@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html><p>no</p>"])
async def test_nothing_and_web_pages_are_no_files(store, data):
    files = store.fed_by(*[whole(data)] * ATTEMPTS)
    download = await files.open(SegmentFile(PATH))
    with pytest.raises(UpstreamBroken, match=r"empty|HTML"):
        await download.begun()


async def test_a_file_that_has_no_room_is_refused_before_it_comes(store, tmp_path):
    store.blobs = await Blobs.open(tmp_path / "small", store.database, now=lambda: 1e9, quota=1000)
    files = store.fed_by(whole(LONG))
    download = await files.open(SegmentFile(PATH))
    with pytest.raises(StorageError, match="quota"):
        await download.begun()
    assert download.written == 0
    assert len(store.source.asked) == 1


# ---- readers ----------------------------------------------------------------------------------------------


async def test_readers_who_come_at_any_moment_get_the_same(store):
    files = store.fed_by(cut(LONG, PIECE), cut(LONG, 5), rest(LONG, 5))
    download = await files.open(SegmentFile(PATH))
    got = await asyncio.gather(*(read(download) for _ in range(5)))
    assert {data for data, _ in got} == {LONG}
    assert (await read(download))[0] == LONG


@pytest.mark.parametrize("second", [whole(LONG), whole(LONG[::-1], '"2"')], ids=["same", "other"])
async def test_a_reader_who_finds_the_file_just_emptied_waits_for_what_comes_in_its_place(store, monkeypatch, second):
    files = store.fed_by(cut(LONG, PIECE), second)
    looked, loop, pread, expect = asyncio.Event(), asyncio.get_running_loop(), os.pread, Sink.expect
    reading = []

    def looking(*place):
        data = pread(*place)
        loop.call_soon_threadsafe(looked.set)
        return data

    async def emptied(sink, size):
        if store.source.asked[-1]:
            monkeypatch.setattr(os, "pread", looking)
            reading.append(asyncio.ensure_future(read(download)))
            await looked.wait()
        await expect(sink, size)

    monkeypatch.setattr(Sink, "expect", emptied)
    download = await files.open(SegmentFile(PATH))
    assert store.content(await download.kept()) == second.data
    assert await reading[0] == (second.data, None)


async def test_a_reader_who_began_another_edition_is_told(store):
    """What was sent belongs to a file that is not there any more: the rest would not fit."""
    other = LONG[::-1]
    files = store.fed_by(cut(LONG, 2 * PIECE), whole(other, '"2"'))
    store.source.gate.clear()
    download = await files.open(SegmentFile(PATH))
    reading = asyncio.ensure_future(read(download))
    store.source.gate.set()
    got, problem = await reading
    assert got == other or (problem is not None and LONG.startswith(got))
    assert store.content(await download.kept()) == other


async def test_a_reader_of_a_file_whose_announced_length_changes_is_told(store):
    longer = LONG + b"more"
    files = store.fed_by(cut(LONG, 2 * PIECE), whole(longer, '"1"'))
    download = await files.open(SegmentFile(PATH))
    size = await download.begun()
    assert size == len(LONG)
    with pytest.raises(UpstreamBroken, match="changed"):
        async for _ in download.read(0, size, size):
            pass


async def test_the_last_byte_of_a_part_waits_for_the_whole_too(store):
    files = store.fed_by(*[cut(LONG, 2 * PIECE)] * 2)
    download = await files.open(SegmentFile(PATH))
    got, problem = await read(download, end=100)
    assert problem is not None or got == b"" or len(got) < 100
