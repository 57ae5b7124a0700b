"""Files on their way in through a whole mirror: every fault of a download, and what clients see of it."""

from __future__ import annotations

import asyncio
import hashlib

import aiohttp
import pytest
import pytest_asyncio

from mirror.storage.files.holdings import Holdings
from tests.filelab import file_lab

BITMAP = "/SUM0/D440000100/S00000/bitmap.fits"
MAGNETOGRAM = "/SUM0/D440000100/S00000/magnetogram.fits"
FILES = {"program": "file"}


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


@pytest.fixture
def whole():
    """The files as the simulator makes them, asked for once."""
    known = {}

    async def original(mirror, path=BITMAP):
        if path not in known:
            known[path] = await mirror.original(path)
        return known[path]

    return original


async def came_whole(mirror, path, expected):
    answer = await mirror.get(path)
    assert (answer.code, hashlib.sha256(answer.body).hexdigest()) == (200, hashlib.sha256(expected).hexdigest())
    return answer


async def asked(mirror, path=BITMAP):
    """The downloads of a path through the mirror: all but the one that asked the simulator itself."""
    return (await mirror.downloads(path))[1:]


async def settled(mirror):
    """Return once no download is under way: the last byte may reach clients before its file is noted."""
    while running := mirror.running.downloads.running():
        await asyncio.wait([download.blob for download in running])
        await asyncio.sleep(0)


async def forget(mirror):
    """Evict the one file that is held."""
    await settled(mirror)
    assert len(kept(mirror)) == 1
    await mirror.running.blobs.evict(1)
    assert kept(mirror) == []


def kept(mirror):
    """Every blob of the store."""
    return [p for p in (mirror.path / "blobs").rglob("*") if p.is_file() and len(p.name) >= 60]


async def test_a_file_is_fetched_once_and_served_from_then_on(mirror, whole):
    expected = await whole(mirror)
    first = await came_whole(mirror, BITMAP, expected)
    assert first.plan == "filled"
    await settled(mirror)
    assert (await came_whole(mirror, BITMAP, expected)).plan == "local"
    assert len(await asked(mirror)) == 1


async def test_fifty_clients_of_one_file_make_one_download(mirror, whole):
    expected = await whole(mirror, MAGNETOGRAM)
    answers = await asyncio.gather(*(mirror.get(MAGNETOGRAM) for _ in range(50)))
    assert {a.code for a in answers} == {200}
    assert {a.body for a in answers} == {expected}
    assert len(await asked(mirror, MAGNETOGRAM)) == 1


async def test_a_download_cut_at_any_tenth_goes_on_where_it_broke_off(mirror, whole):
    expected = await whole(mirror)
    for tenth in range(10):
        at = len(expected) * tenth // 10
        await mirror.faults({"match": FILES, "fault": "cut", "at": at, "times": 1})
        await came_whole(mirror, BITMAP, expected)
        first, second = (await asked(mirror))[-2:]
        assert first["status"] == "cut"
        # What the connection still had in its buffers when it was cut may be lost, so not just at ``at``.
        assert len(expected) - at <= second["bytes"] <= len(expected)
        assert bool(second["params"]["range"]) == (second["bytes"] < len(expected))
        await forget(mirror)


async def test_a_download_that_breaks_off_again_and_again_goes_on_as_long_as_some_of_it_comes(mirror, whole):
    expected = await whole(mirror)
    await mirror.faults({"match": FILES, "fault": "cut", "at": len(expected) // 8, "times": 7})
    await came_whole(mirror, BITMAP, expected)


#: Faults that do not go away, with a word of the message that clients get.
LASTING = [
    ({"fault": "refuse"}, 504, "cannot be reached"),
    ({"fault": "cut", "at": 0}, 502, "cut short"),
    ({"fault": "wrong_length", "delta": 2880}, 502, ""),
    ({"fault": "wrong_length", "delta": -2880}, 502, "cut short"),
    ({"fault": "gateway"}, 502, "HTML"),
    ({"fault": "http500"}, 502, "HTTP 500"),
    ({"fault": "status", "status": 1, "message": "no"}, 502, "not FITS"),
    ({"fault": "outage"}, 504, "cannot be reached"),
]


def damage(answer, expected):
    """What is wrong with an answer that should be the file, or say clearly that it is not."""
    if answer is None:
        return None  # broken off in the middle: the client sees that
    if answer.code != 200:
        return None if answer.body.strip() else "an error without a message"
    return None if answer.body == expected else f"{len(answer.body)} bytes that are not the file"


async def asked_for(mirror, path):
    """The answer, None if the connection was cut in its middle."""
    try:
        return await mirror.get(path)
    except aiohttp.ClientError:
        return None


async def test_a_fault_that_lasts_is_told_and_nothing_is_kept(mirror, whole):
    expected = await whole(mirror)
    for fault, code, word in LASTING:
        await mirror.faults({"match": FILES, **fault})
        answer = await asked_for(mirror, BITMAP)
        assert damage(answer, expected) is None, fault
        assert answer is None or (answer.code == code and word in answer.body.decode()), (fault, answer)
        assert kept(mirror) == []
        await mirror.faults()
        await came_whole(mirror, BITMAP, expected)
        await forget(mirror)


async def test_a_fault_that_passes_is_not_seen(mirror, whole):
    expected = await whole(mirror)
    for fault in (f for f, _, _ in LASTING if f["fault"] != "outage"):
        await mirror.faults({"match": FILES, **fault, "times": 1})
        await came_whole(mirror, BITMAP, expected)
        await forget(mirror)


# ---- a file that is sent while it arrives -----------------------------------------------------------

DOPPLERGRAM = "/SUM41/D400000001/S00000/Dopplergram.fits"


@pytest.mark.parametrize("tenth", [1, 5, 9])
async def test_clients_of_a_large_file_do_not_notice_that_it_broke_off(mirror, whole, tenth):
    expected = await whole(mirror, DOPPLERGRAM)
    await mirror.faults({"match": FILES, "fault": "cut", "at": len(expected) * tenth // 10, "times": 1})
    answers = await asyncio.gather(*(mirror.get(DOPPLERGRAM) for _ in range(3)))
    assert all(a.code == 200 and a.body == expected for a in answers)


@pytest.mark.parametrize("fault", [{"fault": "wrong_length", "delta": -2880}, {"fault": "cut", "at": 3_000_000}])
async def test_what_fails_in_the_middle_breaks_off_for_the_client_too(mirror, fault):
    # Every attempt gets no further than the first one did: the rest never comes.
    never = {"match": FILES, "fault": "refuse"}
    await mirror.faults({"match": FILES, **fault, "times": 1}, never)
    async with mirror.session.get(mirror.url + DOPPLERGRAM) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert kept(mirror) == []


async def test_a_file_is_sent_while_it_arrives(mirror, whole):
    expected = await whole(mirror, DOPPLERGRAM)
    await mirror.faults({"match": FILES, "fault": "slow", "seconds": 1.0, "times": 1})
    mirror.gate.clear()
    mirror.gate_after = 10  # half of the pieces pass, then nothing
    async with mirror.session.get(mirror.url + DOPPLERGRAM) as response:
        assert int(response.headers["Content-Length"]) == len(expected)
        first = await response.content.readexactly(len(expected) // 3)
        assert kept(mirror) == []
        mirror.gate.set()
        assert first + await response.read() == expected


async def test_the_last_byte_waits_until_the_file_is_known_to_be_whole(mirror, whole):
    expected = await whole(mirror, DOPPLERGRAM)
    await mirror.faults({"match": FILES, "fault": "wrong_length", "delta": -2880})
    async with mirror.session.get(mirror.url + DOPPLERGRAM) as response:
        announced = int(response.headers["Content-Length"])
        assert announced == len(expected) - 2880
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_a_client_that_hangs_up_does_not_stop_the_download(mirror, whole):
    expected = await whole(mirror, DOPPLERGRAM)
    async with mirror.session.get(mirror.url + DOPPLERGRAM) as response:
        await response.content.readany()
        response.close()
    await settled(mirror)
    await mirror.faults({"fault": "outage"})
    assert (await came_whole(mirror, DOPPLERGRAM, expected)).plan == "local"
    assert len(await asked(mirror, DOPPLERGRAM)) == 1


async def test_what_a_client_has_whole_is_kept_although_the_mirror_stops(mirror, whole, monkeypatch):
    expected = await whole(mirror)
    add, reached, go = Holdings.add, asyncio.Event(), asyncio.Event()

    async def slow(*told, **more):
        reached.set()
        await go.wait()
        await add(*told, **more)

    monkeypatch.setattr(Holdings, "add", slow)
    await came_whole(mirror, BITMAP, expected)
    await reached.wait()
    stopping = asyncio.create_task(mirror.running.downloads.stop())
    await asyncio.sleep(0)
    go.set()
    await stopping
    await mirror.restart()
    await mirror.faults({"fault": "outage"})
    assert (await came_whole(mirror, BITMAP, expected)).plan == "local"
    assert len(await asked(mirror)) == 1


async def test_a_download_goes_on_after_a_restart(mirror, whole):
    expected = await whole(mirror, DOPPLERGRAM)
    await mirror.faults({"match": FILES, "fault": "slow", "seconds": 1.0, "times": 1})
    mirror.gate.clear()
    mirror.gate_after = 10
    async with mirror.session.get(mirror.url + DOPPLERGRAM) as response:
        await response.content.readexactly(len(expected) // 3)
        await mirror.running.downloads.stop()
    await mirror.restart()
    mirror.gate.set()
    await mirror.faults()
    await came_whole(mirror, DOPPLERGRAM, expected)
    last = (await asked(mirror, DOPPLERGRAM))[-1]
    assert last["params"]["range"].startswith("bytes=")
    assert last["bytes"] < len(expected)
