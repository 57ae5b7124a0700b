"""Answers without measure: nothing of them is kept, and nobody waits or pays for them."""

from __future__ import annotations

import asyncio
import io
import tarfile
import zlib

import pytest
from aiohttp import web

from mirror.errors import StorageError, UpstreamBroken, UpstreamUnreachable
from mirror.services.exports.staging import members
from mirror.storage.database.database import Database
from mirror.storage.files.blobs import Blobs
from mirror.upstream.transport import MOST_RATIO, RATIO_FROM, WINDOW, Bounds, bounded, whole
from tests.filelab import file_lab
from tests.hostile.gateway import confused_lab
from tests.lab import AJAX, lab

SPAN = "hmi.v_45s[2014.01.01_01:00_TAI/6m]"
ASKED = {
    "rs_list": lambda m: m.ask(SPAN),
    "rs_summary": lambda m: m.ask("hmi.v_45s[? DATAMEAN > 1 ?]", op="rs_summary"),
    "series_struct": lambda m: m.ask("hmi.M_45s", op="series_struct"),
    "show_series": lambda m: m.get(f"{AJAX}show_series"),
}


def match(name):
    return {"program": name} if name == "show_series" else {"op": name}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize(
    "fault, words",
    [
        ({"fault": "gzip_bomb", "bytes": 64 << 20}, ("more than", "unpack")),
        ({"fault": "endless"}, ("more than",)),
        ({"fault": "redirect", "instead": "http://127.0.0.1:9/elsewhere"}, ("redirects are not followed",)),
    ],
    ids=lambda x: x["fault"] if isinstance(x, dict) else "",
)
async def test_a_program_without_measure_is_one_clear_error(tmp_path, name, fault, words):
    async with lab(tmp_path) as mirror:
        if name != "series_struct":
            await mirror.ask("hmi.v_45s", op="series_struct")
        await mirror.faults({"match": match(name), **fault})
        answer = await ASKED[name](mirror)
        assert answer.json["status"] == 1
        assert any(word in answer.json["error"] for word in words), answer.json["error"]
        await mirror.faults()
        assert len(await mirror.recnums(SPAN)) == 8


async def test_a_redirect_is_not_followed_to_another_server(tmp_path):
    asked = []
    async with confused_lab(tmp_path) as (mirror, gateway):

        async def elsewhere(gateway, params):
            if params["path"] == "/elsewhere":
                asked.append(params)
            location = str(gateway.request.url.with_path("/elsewhere"))
            return web.Response(status=301, headers={"Location": location})

        gateway.confusion = elsewhere
        for ask in ASKED.values():
            assert (await ask(mirror)).json["status"] == 1
        assert (await mirror.get("/SUM1/D1/S00000/a.fits")).code >= 500
        assert asked == []


async def pieces(*parts):
    for part in parts:
        yield part


async def test_a_body_is_bounded_while_it_is_unpacked():
    def packed(data, bits=16 + zlib.MAX_WBITS):
        squeeze = zlib.compressobj(9, zlib.DEFLATED, bits)
        return squeeze.compress(data) + squeeze.flush()

    text = b'{"a": "' + bytes(range(32, 127)) * 1000 + b'"}'
    for encoding, bits in (("gzip", 31), ("deflate", 15), ("deflate", -15)):
        body = packed(text, bits)
        cut = [body[i : i + 7] for i in range(0, len(body), 7)]
        assert await whole(pieces(*cut), encoding, 1 << 20) == text
        with pytest.raises(UpstreamBroken, match="more than"):
            await whole(pieces(*cut), encoding, len(text) - 1)
        with pytest.raises(UpstreamBroken, match="cut short"):
            await whole(pieces(body[:-9]), encoding, 1 << 20)
    assert await whole(pieces(packed(text) + packed(text)), "gzip", 1 << 20) == text * 2
    with pytest.raises(UpstreamBroken, match="unpack"):
        await whole(pieces(packed(bytes(RATIO_FROM + (1 << 22)))), "gzip", 1 << 30)
    assert MOST_RATIO > 30
    with pytest.raises(UpstreamBroken, match="encoded as 'br'"):
        await whole(pieces(b"x"), "br", 10)
    with pytest.raises(UpstreamBroken, match="garbled"):
        await whole(pieces(b"no gzip at all"), "gzip", 100)


async def test_what_is_passed_on_ends_if_it_is_too_large_or_comes_too_slowly():
    now = 0.0

    async def slow(count, seconds):
        nonlocal now
        for _ in range(count):
            now += seconds
            yield b"x" * 100

    async def all_of(body, bounds):
        return [piece async for piece in bounded(body, bounds, lambda: now)]

    assert len(await all_of(slow(50, 0.01), Bounds(5000, 100))) == 50
    with pytest.raises(UpstreamBroken, match="does not end"):
        await all_of(slow(51, 0.01), Bounds(5000, 100))
    with pytest.raises(UpstreamBroken, match="does not end"):
        await all_of(slow(1000, 0.05), Bounds(1 << 30, 10))
    with pytest.raises(UpstreamUnreachable, match="bytes of the answer came"):
        await all_of(slow(1000, WINDOW / 10), Bounds(1 << 30, 1e9))


# ---- files --------------------------------------------------------------------------------------

EIGHT = "hmi.sharp_720s[3563][2014.01.01_TAI/96m]{bitmap}"


async def settled(mirror):
    """Return once no download is under way."""
    while running := mirror.running.downloads.running():
        await asyncio.wait([download.blob for download in running])
        await asyncio.sleep(0)


@pytest.mark.parametrize("delta", [10**6, 10**9, 10**15])
async def test_a_length_that_is_a_lie_costs_nothing_that_is_held(tmp_path, delta):
    async with file_lab(tmp_path) as mirror:
        rows = (await mirror.export(EIGHT, "url_quick"))["data"]
        paths = [row["filename"] for row in rows]
        held, new = paths[:-1], paths[-1]
        sizes = [len((await mirror.get(path)).body) for path in held]
        await settled(mirror)
        await mirror.restart(MIRROR_STORAGE__QUOTA=f"{sum(sizes) + min(delta, 10**7) + 1000}B")
        await mirror.faults({"match": {"program": "file"}, "fault": "wrong_length", "delta": delta})
        assert (await mirror.get(new)).code >= 500
        await settled(mirror)
        for path in held:
            assert (await mirror.get(path)).plan == "local"
        await mirror.faults()
        assert (await mirror.get(new)).code == 200


async def store(tmp_path, quota):
    database = Database.open(tmp_path / "index.duckdb")
    return await Blobs.open(tmp_path, database, now=lambda: 1e9, quota=quota), database


async def keep(blobs, data):
    async with blobs.incoming(len(data)) as sink:
        await sink.write(data)
        return await sink.keep()


async def write_on(sink, times):
    for _ in range(times):
        await sink.write(b"x" * 2_000)


async def test_room_is_made_for_what_comes_and_not_for_what_is_announced(tmp_path):
    blobs, database = await store(tmp_path, 80_000)
    held = [await keep(blobs, bytes([n]) * 10_000) for n in range(8)]

    async def left():
        return sum([await blobs.find(blob.sha256) is not None for blob in held])

    try:
        with pytest.raises(StorageError, match="quota"):
            async with blobs.incoming(resume="/a") as sink:
                await sink.expect(10**18)
        assert await left() == 8
        async with blobs.incoming(resume="/b") as sink:
            await sink.expect(79_000)
            assert await left() == 8
            await sink.write(b"x" * 15_000)
            assert await left() == 6
            sink.discard()
        assert await left() == 6
        async with blobs.incoming(resume="/c") as sink:  # of unknown length: a tenth of the quota at most
            await sink.write(b"x" * 19_000)  # there is room
            await sink.write(b"x" * 2_000)
            with pytest.raises(StorageError, match="unknown length"):
                await write_on(sink, 20)
        assert await left() >= 5
    finally:
        database.close()


async def test_what_is_endless_is_not_followed_for_ever(tmp_path):
    async with file_lab(tmp_path, MIRROR_STORAGE__QUOTA="1MB") as mirror:
        paths = [row["filename"] for row in (await mirror.export(EIGHT, "url_quick"))["data"]]
        await mirror.get(paths[0])
        await settled(mirror)
        await mirror.faults({"match": {"program": "file"}, "fault": "endless"})
        assert (await mirror.get(paths[1])).code >= 500
        await settled(mirror)
        assert (await mirror.get(paths[0])).plan == "local"


# ---- tar files ----------------------------------------------------------------------------------


def tar(*headers, tail=bytes(1024)):
    return b"".join(headers) + tail


def header(name="a.fits", size=0, kind=tarfile.REGTYPE, data=b"", field=None):
    info = tarfile.TarInfo(name)
    info.size, info.type = max(size, 0), kind
    raw = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    if field is not None:
        raw[124:136] = field
        raw[148:156] = b" " * 8
        raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw) + data + bytes(-len(data) % 512)


def negative(size):
    """The length of a member, as GNU writes numbers below 0."""
    return (size % (1 << 96)).to_bytes(12, "big")


TARS = {
    "negative": tar(header(field=negative(-512))),
    "back to the start": tar(header(size=3, data=b"abc"), header("b", field=negative(-1024))),
    "larger than the file": tar(header(size=10**9)),
    "more than any disk": tar(header(field=b"\x80" + b"\xff" * 11)),
    "long name of a gigabyte": tar(header(kind=tarfile.GNUTYPE_LONGNAME, size=10**9)),
    "name below 0": tar(header(kind=tarfile.GNUTYPE_LONGNAME, field=negative(-512))),
    "pax size below 0": tar(header(kind=tarfile.XHDTYPE, size=12, data=b"12 size=-512"), header()),
    "sparse": tar(header(kind=tarfile.GNUTYPE_SPARSE)),
    "no end": header(size=3, data=b"abc"),
    "no tar": b"x" * 5000,
    "empty": b"",
}


@pytest.mark.parametrize("name", TARS)
def test_a_tar_file_that_cannot_be_is_one_clear_error(tmp_path, name):
    (tmp_path / "x.tar").write_bytes(TARS[name])
    with pytest.raises(UpstreamBroken, match="tar file"):
        members(tmp_path / "x.tar")


def test_a_good_tar_file_is_read_as_ever(tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for n, name in enumerate(("a.fits", "b" * 150 + ".fits")):
            info = tarfile.TarInfo(name)
            info.size = n * 700
            archive.addfile(info, io.BytesIO(bytes(n * 700)))
    (tmp_path / "x.tar").write_bytes(data.getvalue())
    assert [m.size for m in members(tmp_path / "x.tar").values()] == [0, 700]
