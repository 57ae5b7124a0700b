"""A disk without room when a mirror starts, works and ends: it serves what it holds, and says what it cannot do.

"Full" is a limit on the length of files, under which no byte more can be written anywhere, as everybody can set it. The
same with a real file system that is full needs root, and is tried last.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from mirror.config.loading import load_config
from mirror.errors import ConfigError, StorageError
from mirror.logs import set_up
from mirror.storage.database.database import Database
from mirror.storage.files.eviction import ROWS
from tests import processes
from tests.filelab import file_lab
from tests.recorded import WORLD
from tests.storage.filestore import full
from tests.waiting import PATIENCE

BITMAP = "/SUM0/D440000100/S00000/bitmap.fits"
MAGNETOGRAM = "/SUM0/D440000100/S00000/magnetogram.fits"
RECORDS = "hmi.m_720s[2014.01.01_TAI/1h]"
COLD = "hmi.v_45s[2014.01.01_TAI/1h]"
PAGES = (
    *("/", "/search", "/sql", "/series", "/coverage", "/jobs", "/subscriptions", "/upkeep", "/metrics", "/healthz"),
    *("/api/status", "/api/usage", "/api/jobs", "/api/pins", "/api/changes", "/api/check", "/api/series", "/api/policy"),
)
PATCH = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{magnetogram,bitmap}"


async def lost_its_power(mirror):
    """Take the mirror's store as it is, as after a power cut: a copy, for the first goes on to its own end."""
    copy = mirror.path.with_name("after")
    shutil.copytree(mirror.path, copy, symlinks=True)
    return copy


def left_behind(store, count=50):
    """Files whose rows did not come to be, as a crash leaves them."""
    for n in range(count):
        data = b"left %d" % n
        place = store / "blobs" / hashlib.sha256(data).hexdigest()[:2] / hashlib.sha256(data).hexdigest()
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)


@pytest.fixture
async def crashed(tmp_path):
    """A store after a crash, with records and a file in the log of its index only, and files without rows."""
    async with file_lab(tmp_path / "store") as mirror:
        await mirror.get(BITMAP)
        await mirror.exported(PATCH)
        await mirror.settled()
        assert await mirror.recnums(RECORDS)
        copy = await lost_its_power(mirror)
    assert (copy / "index.duckdb.wal").stat().st_size > 0
    left_behind(copy)
    return copy


async def test_a_full_disk_after_a_crash_keeps_nothing_that_is_held_from_being_served(crashed):
    async with file_lab(crashed.with_name("other")) as other:
        content, numbers = await other.original(BITMAP), await other.recnums(RECORDS)
    with full(0):
        async with file_lab(crashed) as mirror:
            assert ((await mirror.get(BITMAP)).plan, (await mirror.get(BITMAP)).body) == ("local", content)
            assert await mirror.recnums(RECORDS) == numbers
            listed = (await mirror.get("/api/files", {"ds": PATCH})).json
            assert [f["state"] for f in listed] == ["held", "held"]
            assert all([(await mirror.get(f["path"])).body.startswith(b"SIMPLE") for f in listed])
            assert {page: (await mirror.get(page)).code for page in PAGES} == dict.fromkeys(PAGES, 200)
            assert (await mirror.ask(COLD)).json["status"] != 0
            assert (await mirror.get("/SUM0/D440000199/S00000/bitmap.fits")).code >= 400
            await mirror.stop()
    async with file_lab(crashed) as mirror:  # with room again all of it is made good
        assert (await mirror.get(BITMAP)).plan == "local"
        assert await mirror.recnums(COLD)
        assert mirror.running.blobs.usage().held == sum(p.stat().st_size for p in mirror.blob_files().values())


async def test_a_file_cut_short_on_a_full_disk_costs_that_file_alone(crashed):
    for path in (crashed / "blobs").glob("*/*"):
        if path.stat().st_size == 17_280 or len(path.read_bytes()) > 100_000:
            path.chmod(0o600)
            os.truncate(path, 100)
            break
    with full(0):
        async with file_lab(crashed) as mirror:
            codes = {(await mirror.get(p)).code for p in (BITMAP, MAGNETOGRAM)}
            assert await mirror.recnums(RECORDS)
            states = [f["state"] for f in (await mirror.get("/api/files", {"ds": PATCH})).json]
            assert "held" in states or 200 in codes


async def test_a_disk_that_fills_up_while_it_works_costs_reading_nothing_and_its_end_is_in_order(tmp_path):
    async with file_lab(tmp_path) as mirror:
        await mirror.get(BITMAP)
        await mirror.settled()
        numbers = await mirror.recnums(RECORDS)
        with full(0):
            assert (await mirror.get(BITMAP)).plan == "local"
            assert await mirror.recnums(RECORDS) == numbers
            for _ in range(3):
                answer = await mirror.ask(COLD)
                assert "disk" in answer.json["error"], answer.body
            await mirror.stop()
        await mirror.start()
        assert await mirror.recnums(COLD)


async def test_an_eviction_makes_room_where_not_even_it_can_be_written_down(tmp_path, monkeypatch):
    async with file_lab(tmp_path) as mirror:
        await mirror.get(BITMAP)
        await mirror.get(MAGNETOGRAM)
        await mirror.settled()
        files = len(mirror.blob_files())
        blobs = mirror.running.blobs
        monkeypatch.setattr(blobs._folders, "free", lambda: 0)
        write, failed = blobs._tables.write, []

        async def first_fails(work):
            if len(mirror.blob_files()) == files:
                failed.append(work)
                raise StorageError("no room")
            return await write(work)

        monkeypatch.setattr(blobs._room._tables, "write", first_fails)
        told = await mirror.request("POST", "/api/evict", json={"need": 1})
        assert (told.code, told.json["blobs"]) == (200, 1)
        assert failed
        monkeypatch.undo()
        assert len(mirror.blob_files()) == files - 1
        assert blobs.usage().held == sum(p.stat().st_size for p in mirror.blob_files().values())
        assert {(await mirror.get(p)).code for p in (BITMAP, MAGNETOGRAM)} == {200}


async def test_an_eviction_that_fails_on_a_disk_with_room_removes_nothing(tmp_path, monkeypatch):
    async with file_lab(tmp_path) as mirror:
        await mirror.get(BITMAP)
        await mirror.settled()
        assert mirror.running.blobs._folders.free() > ROWS
        files = mirror.blob_files()
        with full(0):
            assert (await mirror.request("POST", "/api/evict", json={"need": 1})).code == 507
        assert mirror.blob_files() == files
        assert (await mirror.get(BITMAP)).plan == "local"


# ---- the log, and the temporary folder -------------------------------------------------------------------


def test_a_log_file_without_room_costs_the_log_alone(tmp_path, capsys):
    config = load_config(None, {"MIRROR_LOG__FILE": str(tmp_path / "mirror.log")})
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        with full(0):
            set_up(config.log)
            logging.getLogger("mirror.test").warning("nobody reads this n=%d", 1)
        assert "Traceback" not in capsys.readouterr().err
        with pytest.raises(ConfigError, match="cannot be written"):
            set_up(load_config(None, {"MIRROR_LOG__FILE": str(tmp_path / "mirror.log" / "x")}).log)
    finally:
        logging.raiseExceptions = True
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)


def test_a_mirror_whose_output_goes_to_a_full_disk_starts_and_ends(tmp_path):
    with Path("/dev/full").open("w") as nowhere:
        environ = processes.environment(MIRROR_STORAGE__PATH=str(tmp_path / "s"), MIRROR_SERVER__PORT="0", MIRROR_LOG__FILE=str(tmp_path / "log"), TMPDIR=str(tmp_path / "none"))  # fmt: skip
        process = subprocess.Popen([processes.sys.executable, "-m", "mirror", "serve"], env=environ, stdout=nowhere, stderr=nowhere)  # fmt: skip
        try:
            for _ in range(6000):
                if (tmp_path / "log").exists() and "event=ready" in (tmp_path / "log").read_text():
                    break
                if process.poll() is not None:
                    break
                process_wait(process)
            assert "event=ready" in (tmp_path / "log").read_text()
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def process_wait(process):
    """A moment, or until the process ends."""
    try:
        process.wait(0.01)
    except subprocess.TimeoutExpired:
        return


async def test_an_answer_that_does_not_fit_into_memory_nor_onto_the_disk_is_one_error(tmp_path):
    database = Database.open(tmp_path / "index.duckdb")
    try:

        def work(cursor):
            cursor.execute("SET memory_limit = '60MB'")
            return cursor.execute("SELECT max(i) FROM (SELECT md5(i::VARCHAR) AS a, i FROM range(2000000) t(i) ORDER BY a) WHERE a > '5'").fetchall()  # fmt: skip

        with full(0), pytest.raises(StorageError, match=r"is the disk full\?"):
            await database.read(work)
        assert await database.read(lambda c: c.execute("SELECT 1").fetchall()) == [(1,)]
    finally:
        database.close()


# ---- a real one ---------------------------------------------------------------------------------------------


@contextmanager
def small_disk(place, *options):
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(("size=120m", *options)), "tmpfs", place], capture_output=True, check=False)  # fmt: skip
    if made.returncode:
        pytest.skip("NEEDS ROOT to mount a small disk: the tests above show the same with a limit on files")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def use_all_bytes(place):
    with (place / "filler").open("wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def use_all_inodes(place):
    for n in range(10_000):
        try:
            (place / f"i{n}").touch()
        except OSError:
            return


def test_a_mirror_that_was_killed_serves_what_it_holds_from_a_disk_that_is_full(tmp_path):
    with small_disk(tmp_path / "disk", "nr_inodes=600") as disk, processes.simulate(WORLD) as simulator:
        store = disk / "store"
        with processes.serve(simulator.url, store) as mirror:
            whole = get(mirror.url + BITMAP)
            records = get(mirror.url + search(RECORDS))
            mirror.kill()
        left_behind(store, 20)
        for fill in (use_all_bytes, use_all_inodes):
            fill(disk)
            with processes.serve(simulator.url, store) as mirror:
                assert get(mirror.url + BITMAP) == whole
                assert get(mirror.url + search(RECORDS))[1] == records[1]
                assert get(mirror.url + MAGNETOGRAM)[0] == 507
                for path in (*disk.glob("i*"), disk / "filler"):
                    path.unlink(missing_ok=True)
                mirror.kill()
        with processes.serve(simulator.url, store) as mirror:
            assert get(mirror.url + MAGNETOGRAM)[0] == 200
            assert mirror.terminate()[0] == 0


def search(ds):
    return f"/cgi-bin/ajax/jsoc_info?op=rs_list&key=T_REC,*recnum*&ds={ds}"


def get(url):
    """The code and the body, but for how long it took."""
    try:
        with urllib.request.urlopen(url, timeout=180) as answer:
            body, code = answer.read(), answer.status
    except urllib.error.HTTPError as error:
        body, code = error.read(), error.code
    return code, body.partition(b'"runtime"')[0]
