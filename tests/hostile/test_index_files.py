"""What may lie where the index should be: one clear error, and nothing is changed; only a new store gets a new index."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from mirror.config.loading import load_config
from mirror.daemon import build
from mirror.errors import StorageError
from mirror.services.transfer.restore import begin_empty, restore
from mirror.storage.database.database import Database
from mirror.storage.database.index_file import HEADERS
from tests import processes
from tests.filelab import file_lab

INDEX = "index.duckdb"
BITMAP = "/SUM0/D440000100/S00000/bitmap.fits"
PATCH = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{magnetogram,bitmap}"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store with records, files, and names in the readable tree, whose mirror has ended; and a backup of it."""
    root = tmp_path_factory.mktemp("whole")

    async def make():
        async with file_lab(root / "store") as mirror:
            await mirror.get(BITMAP)
            await mirror.exported(PATCH)
            await mirror.settled()
            to = {"to": str(root / "backup")}
            assert b'"done"' in (await mirror.request("POST", "/api/backup", json=to)).body
            await mirror.stop()  # in good order: the index is one file

    asyncio.run(make())
    return root


@pytest.fixture
def store(whole, tmp_path):
    return Path(shutil.copytree(whole / "store", tmp_path / "store"))


def held(folder):
    """Everything in a folder: names, kinds and bytes."""
    return {
        p.relative_to(folder): p.readlink() if p.is_symlink() else p.read_bytes() if p.is_file() else None
        for p in folder.rglob("*")
    }


async def start(folder):
    """Start a mirror on a store, and end it."""
    config = load_config(None, {"MIRROR_STORAGE__PATH": str(folder), "MIRROR_UPSTREAM__URL": "http://127.0.0.1:9"})
    mirror = await build(config)
    await mirror.close()


# ---- ways in which an index may be wrong -------------------------------------------------------------


def cut(length):
    return lambda index: os.truncate(index, length)


def remove(index):
    index.unlink()


def remove_all_but_the_log(index):
    index.unlink()
    index.with_name(f"{INDEX}.wal").write_bytes(b"\x64\x00\x62\x65\x00" + bytes(90))


def write(data):
    return lambda index: index.write_bytes(data)


def make_folder(index):
    index.unlink()
    index.mkdir()


def link_to(target):
    def way(index):
        index.unlink()
        index.symlink_to(target)

    return way


def of_another_program(index):
    index.unlink()
    with duckdb.connect(str(index)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS x")


def of_another_program_with_versions(index):
    index.unlink()
    with duckdb.connect(str(index)) as connection:
        connection.execute("CREATE TABLE schema_version AS SELECT 'one' AS version")


def without_tables(index):
    index.unlink()
    duckdb.connect(str(index)).close()


def of_sqlite(index):
    index.unlink()
    connection = sqlite3.connect(index)
    connection.execute("CREATE TABLE t (x)")
    connection.commit()
    connection.close()


def of_a_newer_schema(index):
    with duckdb.connect(str(index)) as connection:
        connection.execute("INSERT INTO schema_version VALUES (9000, NULL)")


def set_aside(index):
    index.rename(index.with_name(f"{INDEX}.before-1"))


def damaged_log(index):
    index.with_name(f"{INDEX}.wal").write_bytes(os.urandom(5000))


def log_that_is_a_folder(index):
    index.with_name(f"{INDEX}.wal").mkdir()


WAYS = {
    **{f"cut to {n}": (cut(n), "restore") for n in (0, 1, 12, 100, 4096, HEADERS - 1, HEADERS, 20_000, 300_000)},
    "missing": (remove, "is missing.*3 files in blobs/, 2 files in by-record/.*mirror restore --without-backup"),
    "only its log": (remove_all_but_the_log, "is missing"),
    "set aside by a restore": (set_aside, "is missing.*index.duckdb.before-1"),
    "noise": (lambda index: index.write_bytes(os.urandom(200_000)), "is damaged"),
    "zeros": (write(bytes(200_000)), "is damaged"),
    "few zeros": (write(bytes(5000)), "has no content"),
    "a text": (write(b"hello\n"), "no database of DuckDB"),
    "a long text": (write(b"<html>" * 9000), "is damaged"),
    "a folder": (make_folder, "is a folder"),
    "a link to itself": (link_to(INDEX), "symbolic links"),
    "a link to nowhere": (link_to("nowhere/x.duckdb"), "is its disk mounted"),
    "a device": (link_to("/dev/zero"), "no ordinary file"),
    "a database of another program": (of_another_program, "another program"),
    "another program's with versions": (of_another_program_with_versions, "cannot be opened|another program"),
    "an empty database": (without_tables, "has no content"),
    "sqlite": (of_sqlite, "no database of DuckDB|is damaged"),
    "a newer schema": (of_a_newer_schema, "schema version 9000.*newer jsoc-mirror"),
    "a damaged log": (damaged_log, "does not begin as one"),
    "a log that is a folder": (log_that_is_a_folder, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
async def test_a_wrong_index_beside_a_store_is_one_error_and_nothing_is_changed(store, way):
    spoil, words = WAYS[way]
    spoil(store / INDEX)
    before = held(store)
    for _ in range(2):
        with pytest.raises(StorageError, match=words) as refused:
            await start(store)
        assert "\n" not in str(refused.value)
        assert str(store) in str(refused.value) or "schema version" in str(refused.value)
    assert held(store) == before


@pytest.mark.parametrize("left", ["blobs", "by-record", "lake", "quarantine"])
async def test_each_kind_of_file_alone_keeps_an_empty_index_from_being_made(store, left):
    for path in store.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    kept = store / left / "hmi.v_45s" / "2014-01.1.parquet" if left != "blobs" else store / "blobs" / "ab" / ("ab" * 32)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"something")
    with pytest.raises(StorageError, match=f"1 file in {left}/"):
        await start(store)
    assert [p for p in store.rglob("*") if p.is_file()] == [kept]


async def test_a_store_that_is_new_or_whose_first_start_was_cut_short_is_made(tmp_path):
    for name, stub in {"nothing": None, "empty": b"", "begun": b"\0" * 8 + b"DUCK" + bytes(4084)}.items():
        folder = tmp_path / name
        if stub is not None:
            folder.mkdir()
            (folder / INDEX).write_bytes(stub)
        await start(folder)
        await start(folder)


@pytest.mark.parametrize("spoil", [cut(0), remove], ids=["empty", "missing"])
async def test_the_copy_from_before_a_migration_takes_the_place_of_a_torn_index(store, spoil):
    copy = store / f"{INDEX}.before"
    copy.mkdir()
    shutil.copy(store / INDEX, copy / INDEX)
    records = Database.open(store / INDEX)
    records.close()
    copy.mkdir(exist_ok=True)
    shutil.copy(store / INDEX, copy / INDEX)
    spoil(store / INDEX)
    files = sum(1 for p in (store / "by-record").rglob("*.fits"))
    await start(store)
    assert sum(1 for p in (store / "by-record").rglob("*.fits")) == files == 2


# ---- the folder --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["a file", "below a file", "a link to itself", "a link to nowhere"])
async def test_a_store_that_cannot_be_a_folder_is_one_error(tmp_path, kind):
    place = tmp_path / "store"
    if kind == "a file":
        place.write_text("mine")
    elif kind == "below a file":
        (tmp_path / "file").write_text("mine")
        place = tmp_path / "file" / "store"
    else:
        place.symlink_to(place if "itself" in kind else tmp_path / "nowhere")
    before = held(tmp_path)
    with pytest.raises(StorageError, match=r"folder|cannot create the store") as refused:
        await start(place)
    assert "\n" not in str(refused.value)
    assert held(tmp_path) == before


@pytest.mark.parametrize("name", ["blobs", "incoming", "quarantine", "by-record"])
async def test_a_file_in_the_place_of_a_folder_is_one_error(store, name):
    shutil.rmtree(store / name)
    (store / name).write_text("mine")
    with pytest.raises(StorageError, match=r"not a folder|No such|mounted"):
        await start(store)
    assert (store / name).read_text() == "mine"


def test_an_index_that_another_process_owns_is_left_to_it_even_while_it_is_being_made(store, tmp_path):
    for index in (store / INDEX, tmp_path / "new" / INDEX):
        index.parent.mkdir(exist_ok=True)
        index.touch()
        holder = subprocess.Popen(
            [sys.executable, "-c", "import fcntl,sys; f=open(sys.argv[1],'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()", str(index)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        holder.stdout.readline()
        before = index.read_bytes()
        with pytest.raises(StorageError, match="in use by"):
            asyncio.run(start(index.parent))
        assert index.read_bytes() == before
        holder.communicate(b"\n")


# ---- what a command says, and ways to go on ----------------------------------------------------------


def test_commands_say_it_in_one_line_and_a_new_index_is_made_on_demand_only(store):
    (store / INDEX).unlink()
    environ = {"MIRROR_STORAGE__PATH": str(store), "MIRROR_UPSTREAM__URL": "http://127.0.0.1:9", "MIRROR_SERVER__PORT": "0"}
    told = processes.run("-m", "mirror", "serve", **environ)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith("Error: the index ")
    assert told.stderr.count("\n") == 1
    blobs = {p: p.read_bytes() for p in (store / "blobs").rglob("*") if p.is_file()}
    made = processes.run("-m", "mirror", "restore", "--without-backup", "--to", str(store), **environ)
    assert (made.returncode, "3 files in blobs/" in made.stderr, "by-record.before-1" in made.stderr) == (0, True, True)
    with processes.serve("http://127.0.0.1:9", store) as mirror:
        assert mirror.terminate()[0] == 0
    assert {p: p.read_bytes() for p in blobs} == blobs
    assert sum(1 for p in (store / "by-record.before-1").rglob("*.fits")) == 2


async def test_files_of_a_store_with_a_new_index_are_held_again_as_they_are_asked_for(whole, store):
    async with file_lab(whole / "other") as mirror:
        content = await mirror.original(BITMAP)
    (store / INDEX).unlink()
    begin_empty(store)
    async with file_lab(store) as mirror:
        assert mirror.running.blobs.usage().held > 0
        before = len(mirror.blob_files())
        assert (await mirror.get(BITMAP)).body == content
        await mirror.settled()
        assert len(mirror.blob_files()) == before


@pytest.mark.parametrize("spoil", [cut(0), remove, make_folder, link_to(INDEX)], ids=["empty", "gone", "folder", "loop"])
async def test_a_backup_brings_a_lost_index_back_beside_the_files(whole, store, spoil):
    files = held(store / "blobs")
    spoil(store / INDEX)
    restore(whole / "backup", store, force=True)
    assert held(store / "blobs") == files
    async with file_lab(store, MIRROR_UPSTREAM__POLICY="offline") as mirror:
        assert (await mirror.get(BITMAP)).code == 200


def test_an_index_that_is_there_is_not_replaced_by_an_empty_one_unless_that_is_said(store, tmp_path):
    index = (store / INDEX).read_bytes()
    with pytest.raises(StorageError, match="--force"):
        begin_empty(store)
    assert (store / INDEX).read_bytes() == index
    done = begin_empty(store, force=True)
    assert (store / f"{INDEX}.before-1").read_bytes() == index
    assert str(store / f"{INDEX}.before-1") in done.kept
    with pytest.raises(StorageError, match="is not a store"):
        begin_empty(tmp_path / "nothing")
