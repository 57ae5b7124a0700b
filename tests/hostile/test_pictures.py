"""Quick looks of files that somebody garbled: a picture, or an error that says which file and why; and nobody else pays."""

from __future__ import annotations

import asyncio
import ctypes
import io
import json
import os
import random
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from mirror.errors import MirrorError, Refused
from mirror.fits.integrity import units
from mirror.services.quicklook import worker
from mirror.services.quicklook.colours import Look
from mirror.services.quicklook.cutout import Window
from mirror.services.quicklook.process import RenderProcess
from mirror.services.quicklook.render import shown_image
from mirror.services.quicklook.worker import DEATH, FILE, PICTURE, REFUSAL, WRONG, Cutter, made
from mirror.storage.files.holdings import RecordSegment
from mirror.wire.paths import UnitFile
from tests.filelab import file_lab

GREY = Look("grey")
PATCH = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{magnetogram,bitmap}"
#: How images are stored, and which of them are read.
KINDS = {
    "plain": True, "plain float": True, "RICE_1": True, "RICE_1 float": True, "GZIP_1": True, "GZIP_2 float": True,
    "HCOMPRESS_1": False, "HCOMPRESS_1 float": False, "PLIO_1": False,
}  # fmt: skip
#: Files of each kind.
FILES = 15


def whole(kind):
    """A sound file of a kind."""
    values = np.random.default_rng(1).normal(0, 50, (64, 64))
    name, floating = kind.split()[0], kind.endswith("float")
    data = values.astype(np.float32) if floating else np.abs(values).astype(np.int32 if name == "HCOMPRESS_1" else np.int16)
    tiles = {"tile_shape": (16, 16)} if name == "HCOMPRESS_1" else {}
    hdu = fits.ImageHDU(data) if name == "plain" else fits.CompImageHDU(data, compression_type=name, **tiles)
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(out)
    return out.getvalue()


def data_of(content):
    """Where the data of the last header lie."""
    *_, last = units(lambda at, count: content[at : at + count], len(content))
    return last.start, last.start + last.length


def garbled(content, chance):
    """The same with something wrong: in a header, in the table of tiles, in the data, or at its end."""
    data, (start, end) = bytearray(content), data_of(content)
    match chance.randrange(7):
        case 0:
            for _ in range(chance.randrange(1, 9)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 1:
            at = chance.randrange(start, end)
            data[at : at + 2000] = chance.randbytes(len(data[at : at + 2000]))
        case 2:
            data[start:end] = chance.randbytes(end - start)
        case 3:
            del data[chance.randrange(len(data)) :]
        case 4:
            digits = [i for i in range(2880, start) if chr(data[i]).isdigit()]
            for at in chance.sample(digits, 3):
                data[at] = ord(chance.choice("0123456789"))
        case 5:
            at = start + chance.randrange(0, 64 * 8)
            data[at : at + 8] = chance.choice([b"\xff" * 8, b"\x7f" + b"\xff" * 7, bytes(8), chance.randbytes(8)])
        case 6:
            at = chance.randrange(start, end)
            data[at : at + 64] = b"\xff" * len(data[at : at + 64])
    return bytes(data)


@pytest.fixture
async def renderer():
    made = RenderProcess()
    yield made
    await made.stop()


async def outcome(renderer, file):
    """Why no picture can be made of a file; "" if one was."""
    try:
        assert (await renderer.picture(file, GREY, turned=False, most=128)).startswith(b"\x89PNG")
    except Refused as problem:
        return str(problem)
    return ""


async def test_garbled_files_of_every_kind_are_a_picture_or_one_clear_error_each(renderer, tmp_path, record_property):
    chance, deaths = random.Random(12), {}
    for kind, is_read in KINDS.items():
        content, file = whole(kind), tmp_path / "a.fits"
        before, pictures = renderer.deaths, 0
        for n in range(-1, FILES):
            file.write_bytes(content if n < 0 else garbled(content, chance))
            words = await outcome(renderer, file)
            assert words.isprintable()
            assert n >= 0 or (words == "") is is_read
            pictures += words == ""
        deaths[kind] = renderer.deaths - before
        assert (pictures > 0) is is_read
        assert is_read or not deaths[kind]
    record_property("deaths", deaths)
    assert sum(deaths.values()) <= FILES  # astropy may fail on what has a right structure; seen were none


@pytest.mark.parametrize(
    "card, words",
    [
        ("ZCMPTYPE= 'HCOMPRESS_1'", "HCOMPRESS_1"),
        ("ZCMPTYPE= 'PLIO_1  '", "PLIO_1"),
        ("ZCMPTYPE= 'NOCOMPRESS'", "NOCOMPRESS"),
        ("ZBITPIX =                   17", "ZBITPIX 17"),
        ("ZNAXIS1 =               999999", "999999 x 64 pixels"),
        ("ZNAXIS1 =                    0", "0 x 64 pixels"),
        ("ZNAXIS2 =                 4096", "a table of 64 tiles"),
        ("ZTILE1  =            999999999", "tiles of 999999999"),
        ("ZTILE2  =                   -1", "tiles of 64 x -1"),
        ("ZVAL1   =                   31", "blocks of 31 pixels"),
        ("ZVAL2   =                    9", "of 9 bytes"),
        ("THEAP   =            999999999", "THEAP 999999999"),
        ("TFORM1  = '9PB(131)'", "not read"),
        ("TFIELDS =                    9", "9 columns"),
        ("NAXIS1  =                    7", "rows of 7 bytes"),
    ],
)
def test_a_structure_that_does_not_fit_is_refused_before_anything_is_decoded(card, words):
    content = whole("RICE_1")
    keyword = card[:8].encode()
    at = content.find(keyword, 2880)
    if at < 0:
        at = content.find(b"END".ljust(80), 2880)
        content = content[:at] + card.ljust(80).encode() + b"END".ljust(80) + content[at + 160 :]
    else:
        content = content[:at] + card.ljust(80).encode() + content[at + 80 :]
    with pytest.raises(Refused, match=words):
        shown_image(lambda start, count: content[start : start + count], len(content))


@pytest.mark.parametrize("pair", [(0, 0), (1 << 30, 0), (-1, 0), (100, -1), (100, 1 << 30), (2, 0)])
def test_a_tile_outside_of_the_heap_or_without_data_is_refused_with_its_number(pair):
    content = bytearray(whole("RICE_1"))
    start, _ = data_of(bytes(content))
    content[start + 80 : start + 88] = np.array(pair, ">i4").tobytes()
    with pytest.raises(Refused, match="tile 11 of HDU 1"):
        shown_image(lambda at, count: bytes(content[at : at + count]), len(content))


# ---- who draws ------------------------------------------------------------------------------------------------


@pytest.fixture(params=["picture", "cutout"])
def drawn_by(request, monkeypatch, tmp_path):
    """What an order gives that is carried out by a function, in a picture's process and in that of cutouts."""
    file, cutter = tmp_path / "a.fits", Cutter()
    file.write_bytes(whole("plain"))
    orders = {
        "picture": {"look": {"palette": "grey"}, "turned": False, "most": 128},
        "cutout": {"window": {"scale": 2}, "head": "", "history": "", "at": 0},
    }
    line = json.dumps({"path": str(file)} | orders[request.param]).encode()

    def drawn(work):
        monkeypatch.setattr(worker, "quick_look", lambda *_, **__: work())
        monkeypatch.setattr(worker, "cutout", lambda *_: work())
        cutter.end()  # it was forked before
        return made(line, cutter)

    yield drawn
    cutter.end()


def told(drawn_by, work):
    def tell():
        raise Refused(str(work()))

    kind, body = drawn_by(tell)
    assert kind == REFUSAL
    return body.decode()


def attempt(work):
    try:
        work()
    except OSError as error:
        return type(error).__name__
    return "done"


def landlock():
    """The version of Landlock that this kernel has; below 1: none."""
    return ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1)


def test_who_draws_has_no_privileges_writes_nothing_and_reaches_nobody(drawn_by, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("mine")
    place = tmp_path / "new"
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    mine = os.open(secret, os.O_RDWR)

    def connect():
        with socket.socket() as sock:
            sock.connect(("127.0.0.1", port))

    def look():
        return json.dumps(
            {
                "user": os.geteuid(),
                "fork": attempt(os.fork) if os.geteuid() else "as it was",
                "grow": attempt(lambda: os.pwrite(mine, b"x", 100)),
                "make": attempt(lambda: place.write_text("x")),
                "read": attempt(lambda: secret.read_text()),
                "connect": attempt(connect),
            }
        )

    try:
        seen = json.loads(told(drawn_by, look))
    finally:
        listener.close()
        os.close(mine)
    assert seen["user"] == (os.geteuid() or 65_534)
    assert seen["grow"] == "OSError"
    assert not place.exists()
    assert secret.read_text() == "mine"
    if landlock() >= 1:
        assert (seen["make"], seen["read"]) == ("PermissionError", "PermissionError")
    if landlock() >= 4:
        assert seen["connect"] == "PermissionError"
    if os.geteuid() == 0:
        assert seen["fork"] == "BlockingIOError"


def test_who_dies_is_named_by_what_ended_it(drawn_by):
    kind, body = drawn_by(lambda: os.kill(os.getpid(), signal.SIGSEGV))
    assert (kind, b"SIGSEGV" in body) == (DEATH, True)
    kind, body = drawn_by(lambda: os._exit(3))
    assert (kind, b"code 3" in body) == (DEATH, True)


def test_who_takes_too_long_or_too_much_memory_is_ended(drawn_by, monkeypatch):
    monkeypatch.setattr(worker, "LONGEST", 0.2)
    kind, body = drawn_by(lambda: time.sleep(30))
    assert (kind, b"longer than 0.2 s" in body) == (DEATH, True)
    monkeypatch.setattr(worker, "LONGEST", 50.0)
    kind, body = drawn_by(lambda: bytearray(3 << 30))
    assert (kind, b"too large" in body) == (REFUSAL, True)
    monkeypatch.setattr(worker, "SECONDS", 0)
    kind, body = drawn_by(lambda: [0 for _ in iter(int, 1)])
    assert (kind, b"of the processor" in body) == (DEATH, True)


def test_who_draws_neither_sees_the_orders_nor_answers_them_in_the_place_of_others(drawn_by):
    nothing = Path(os.devnull).stat().st_rdev
    assert told(drawn_by, lambda: [os.fstat(each).st_rdev == nothing for each in (0, 1)]) == "[True, True]"


def test_what_is_no_picture_and_no_file_is_not_passed_on_as_one(drawn_by):
    assert drawn_by(lambda: b"<script>")[0] == DEATH
    assert drawn_by(lambda: b"")[0] == DEATH
    either = drawn_by(lambda: b"\x89PNG\r\n\x1a\n..."), drawn_by(lambda: b"SIMPLE  =...")
    assert {kind for kind, _ in either} in ({DEATH, PICTURE}, {DEATH, FILE})


# ---- the process of cutouts -------------------------------------------------------------------------------------


@pytest.fixture
def cutter():
    cutter = Cutter()
    yield cutter
    cutter.end()


def cut(cutter, path, **window):
    order = {"path": str(path), "head": path.read_bytes()[:11520].decode("latin-1"), "window": window, "history": "", "at": 0}
    kind, body = made(json.dumps(order).encode(), cutter)
    return kind, bytes(body)  # of the next one otherwise


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "sound.fits"
    path.write_bytes(whole("RICE_1"))
    return path


def test_one_process_makes_cutouts_as_long_as_all_is_well(cutter, sound):
    answers = [cut(cutter, sound, scale=2)]
    process = cutter.process
    assert cut(cutter, sound, centre=(500, 500), size=(3, 3), units="pixels")[0] == WRONG
    answers += [cut(cutter, sound, scale=2) for _ in range(3)]
    assert {kind for kind, _ in answers} == {FILE}
    assert len(set(answers)) == 1
    assert cutter.process == process


def test_the_memory_of_large_ones_is_given_back_and_used_again(cutter, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "_KEPT", 10_000)
    path = tmp_path / "plain.fits"
    path.write_bytes(whole("plain"))
    large, small = cut(cutter, path), cut(cutter, path, centre=(30, 30), size=(20, 20), units="pixels")
    assert len(large[1]) > 10_000 > len(small[1])
    assert cut(cutter, path) == large
    assert cut(cutter, path, centre=(30, 30), size=(20, 20), units="pixels") == small


@pytest.mark.parametrize("kind", ["HCOMPRESS_1", "end"])
def test_a_file_that_cannot_be_read_ends_it_and_the_next_cutout_is_made_by_another(cutter, sound, tmp_path, kind):
    first = cut(cutter, sound, scale=2)
    process, wrong = cutter.process, tmp_path / "b.fits"
    wrong.write_bytes(whole("RICE_1")[:-2880] if kind == "end" else whole(kind))
    assert cut(cutter, wrong, scale=2)[0] == REFUSAL
    assert cut(cutter, sound, scale=2) == first
    assert cutter.process != process


def test_one_that_was_killed_has_grown_or_made_many_is_replaced(cutter, sound, monkeypatch):
    first, processes = cut(cutter, sound, scale=2), [cutter.process]
    os.kill(cutter.process, signal.SIGKILL)
    os.waitid(os.P_PID, cutter.process, os.WEXITED | os.WNOWAIT)
    for name, value in (("REUSED", 0), ("GROWN", -(1 << 60))):
        assert cut(cutter, sound, scale=2) == first
        processes.append(cutter.process)
        monkeypatch.setattr(worker, name, value)
    assert cut(cutter, sound, scale=2) == first
    assert cutter.process is None  # it had grown
    assert len(set(processes)) == 3


async def test_garbled_files_are_a_cutout_or_one_clear_error_each_and_harm_no_other(renderer, sound, tmp_path, record_property):
    chance, file, words = random.Random(13), tmp_path / "a.fits", set()
    head, window = whole("RICE_1")[:11520], Window((30, 30), (20, 20), "pixels")
    first = await renderer.cutout(sound, head, window, "", 0)
    for kind in KINDS:
        content = whole(kind)
        for _ in range(FILES // 3):
            file.write_bytes(garbled(content, chance))
            try:
                assert (await renderer.cutout(file, file.read_bytes()[:11520], window, "", 0)).startswith(b"SIMPLE  =")
            except MirrorError as problem:
                words.add(str(problem))
        assert await renderer.cutout(sound, head, window, "", 0) == first
    assert all(each.isprintable() for each in words)
    record_property("deaths", renderer.deaths)
    assert renderer.deaths <= FILES


# ---- the process that starts them -------------------------------------------------------------------------------


async def test_a_process_that_a_file_ends_costs_no_other_picture_and_no_new_start(renderer, tmp_path):
    sound, wrong = tmp_path / "a.fits", tmp_path / "b.fits"
    sound.write_bytes(whole("RICE_1"))
    wrong.write_bytes(whole("HCOMPRESS_1"))
    await renderer.picture(sound, GREY, turned=False, most=128)
    process = renderer._process
    asked = [renderer.picture(f, GREY, turned=False, most=128) for f in (sound, wrong) * 5]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(a.startswith(b"\x89PNG") for a in answers[::2])
    assert all(isinstance(a, Refused) for a in answers[1::2])
    assert renderer._process is process


# ---- through a whole mirror -------------------------------------------------------------------------------------


async def test_an_error_names_the_record_the_segment_and_the_content_and_is_remembered(tmp_path):
    async with file_lab(tmp_path) as mirror:
        await mirror.exported(PATCH)
        listed = (await mirror.get("/api/files", {"ds": PATCH})).json
        facing = mirror.running.browsing
        content = whole("HCOMPRESS_1")
        async with mirror.running.blobs.incoming(len(content)) as sink:
            await sink.write(content)
            blob = await sink.keep(size=len(content))
            record = RecordSegment("hmi.sharp_720s", 101, "magnetogram")
            unit = next(f["path"] for f in listed if f["segment"] == "magnetogram").split("/")
            file = UnitFile(int(unit[2][1:]), int(unit[3][1:]), unit[4])
            await facing.pictures._holdings.add(file, blob, record=record)
        asked = {"ds": PATCH.replace(",bitmap", ""), "number": "1"}
        first = await mirror.get("/api/quicklook", asked)
        words = first.json["error"]
        assert first.code == 403
        assert all(word in words for word in ("hmi.sharp_720s[3563]", "{magnetogram}", blob.sha256, "HCOMPRESS_1"))
        number = facing.renderer._made
        assert (await mirror.get("/api/quicklook", asked)).json["error"] == words
        assert facing.renderer._made == number
        other = await mirror.get("/api/quicklook", {"ds": PATCH.replace("magnetogram,", ""), "number": "1"})
        assert other.body.startswith(b"\x89PNG")


def test_nothing_but_the_drawing_process_loads_a_library_that_decodes_files():
    root = Path(worker.__file__).parents[2]
    users = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.py")
        if "import" in (text := path.read_text()) and ("from astropy" in text or "import astropy" in text)
    }
    ours = {user for user in users if not user.startswith(("simulator/", "client/", "cli/support/demo"))}
    assert ours == {f"services/quicklook/{name}.py" for name in ("cutout", "render", "tiles", "worker")}
