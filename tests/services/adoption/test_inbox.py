"""The inbox: what rests is taken, what has no place is set aside with the reason, what may have one waits."""

import asyncio
import os
from pathlib import Path

import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from mirror.api.adoption import AdoptOutcome
from mirror.services.adoption.adopt import Item
from mirror.services.adoption.inbox import REST, RETRY, Inbox, Waiting, watched
from mirror.services.adoption.scan import Stamp
from tests.adoptlab import files, put
from tests.filelab import file_lab, synthetic
from tests.waiting import PATIENCE

A = Path("/in/a.fits")


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 3)), max_size=12))
def test_a_file_is_taken_only_after_it_has_not_changed_for_long_enough(steps):
    known, now, last, since = {}, 100.0, None, 100.0
    for size, pause in steps:
        now += pause
        since = since if size == last else now
        last = size
        known, ready = watched(known, {A: Stamp(size, 0, 1)}, now)
        assert (ready == [A]) == (now - since >= REST)


def test_a_file_that_is_gone_is_forgotten_and_a_clock_that_jumps_back_begins_anew():
    stamp = Stamp(1, 0, 1)
    assert watched({A: Waiting(stamp, 0)}, {}, 50) == ({}, [])
    assert watched({A: Waiting(stamp, 100)}, {A: stamp}, 50) == ({A: Waiting(stamp, 50)}, [])


class Refusing:
    """Adopts nothing; its first turn fails in a way that nobody has foreseen."""

    def __init__(self):
        self.turns = 0

    async def adopt(self, items, _how, **_):
        self.turns += 1
        if self.turns == 1:
            raise RuntimeError("nobody has foreseen this")
        return [AdoptOutcome(path=str(item.path), state="rejected", reason="it is no FITS file") for item in items]


async def test_nothing_that_lies_there_is_the_end_of_the_inbox(tmp_path, caplog):
    name, naps, time = os.fsdecode(b"no text \xff.fits"), asyncio.Queue(), Time()
    (tmp_path / name).write_bytes(b"")

    async def sleep(_):
        time.now += REST
        await naps.put(None)
        await asyncio.sleep(0)

    inbox = Inbox(tmp_path, Refusing(), time, sleep, silence)
    await inbox.start()
    for _ in range(4):
        await asyncio.wait_for(naps.get(), PATIENCE)
    await inbox.stop()
    assert "nobody has foreseen this" in caplog.text
    assert sorted(path.name for path in (tmp_path / "rejected").iterdir()) == [name, f"{name}.txt"]


@pytest_asyncio.fixture
async def lab(tmp_path):
    async with file_lab(tmp_path / "store", synthetic()) as made:
        yield made


class Time:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


async def silence(_):
    await asyncio.Event().wait()
    yield


def inbox_of(lab, folder, time):
    """An inbox that looks only when it is told to."""
    return Inbox(folder, lab.running.adoption, time, asyncio.sleep, silence)


async def test_placed_files_leave_and_others_are_set_aside_with_the_reason(lab, tmp_path):
    folder, time = tmp_path / "in", Time()
    put(folder / "from the old disk")
    (folder / "notes.txt").write_text("no FITS")
    (folder / "half.fits.part").write_bytes(b"SIMPLE")
    (folder / ".hidden.fits").write_bytes(b"")
    inbox = inbox_of(lab, folder, time)
    assert await inbox.turn() == []
    time.now += REST
    assert sorted(o.state for o in await inbox.turn()) == ["placed", "placed", "placed", "rejected"]
    left = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    assert left == [".hidden.fits", "half.fits.part", "rejected/notes.txt", "rejected/notes.txt.txt"]
    assert "it is not FITS" in (folder / "rejected" / "notes.txt.txt").read_text()
    assert lab.running.blobs.usage().held == sum(map(len, files().exports.values())) + len(files().archived)


async def test_what_cannot_be_decided_now_stays_and_is_tried_again_later(lab, tmp_path):
    folder, time = tmp_path / "in", Time()
    (path, *_) = put(folder, archived=None)
    await lab.faults({"fault": "outage"})
    inbox = inbox_of(lab, folder, time)
    await inbox.turn()
    time.now += REST
    assert {o.state for o in await inbox.turn()} == {"later"}
    await lab.faults()
    time.now += REST
    assert await inbox.turn() == []
    assert path.exists()
    time.now += RETRY
    assert {o.state for o in await inbox.turn()} == {"placed"}
    assert not path.exists()


async def test_a_file_that_is_held_already_leaves_only_if_its_very_bytes_are_held(lab, tmp_path):
    folder, time = tmp_path / "in", Time()
    (same, other) = put(folder, archived=None)
    elsewhere = put(tmp_path / "have", archived=None)
    await lab.running.adoption.adopt([Item(path) for path in elsewhere])
    data = other.read_bytes()
    other.write_bytes(data + bytes(2880))  # padding, which is allowed
    inbox = inbox_of(lab, folder, time)
    await inbox.turn()
    time.now += REST
    assert [o.state for o in await inbox.turn()] == ["held", "held"]
    assert not same.exists()
    assert "already has another file" in (folder / "rejected" / f"{other.name}.txt").read_text()


async def test_it_looks_at_the_start_and_whenever_something_happens(lab, tmp_path):
    folder, time, slept = tmp_path / "in", Time(), asyncio.Queue()
    put(folder, archived=None)

    async def sleep(seconds):
        slept.put_nowait(seconds)
        time.now += seconds

    inbox = Inbox(folder, lab.running.adoption, time, sleep, silence)
    await inbox.start()
    assert await slept.get() == REST  # it has seen the files, and looks again when they may rest
    while any(folder.glob("*.fits")):
        await slept.get()
    await inbox.stop()
