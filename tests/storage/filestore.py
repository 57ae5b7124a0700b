"""A store of files to try things on: a disk that fails or dies on command, and what must hold at any time."""

import errno
import hashlib
import json
import resource
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from mirror.errors import StorageError
from mirror.storage.database.database import Database
from mirror.storage.database.migrations import migrate, schema_files
from mirror.storage.disk import Disk
from mirror.storage.files.blobs import Blobs
from mirror.storage.files.eviction import Pins
from mirror.storage.files.holdings import Holdings
from mirror.storage.files.table import all_blobs, holding_links

TABLES = ("blobs", "holdings", "adopted", "pins", "quarantine", "jobs", "job_files", "job_parts", "fronts", "precise_keywords", "job_numbers", "plain_files")


class Died(BaseException):
    """The process is gone: nothing that it would have done after this happens."""


class QuickDisk(Disk):
    """Does not wait until things last: no test here pulls a plug."""

    def _do(self, what, path, call):
        return super()._do(what, path, (lambda: None) if what == "sync" else call)


class RecordingDisk(QuickDisk):
    """Writes down what it is told to do, and with which file."""

    def __init__(self):
        self.steps = []

    def _do(self, what, path, call):
        self.steps.append((what, path.suffix or path.name))
        return super()._do(what, path, call)


class FaultyDisk(QuickDisk):
    """Refuses the n-th operation with an error of the system, a write after half of it."""

    def __init__(self, fails_at, number=errno.ENOSPC):
        self.fails_at, self.number, self.steps = fails_at, number, []

    def write(self, path, fd, data, at):
        if len(self.steps) + 1 == self.fails_at:
            super().write(path, fd, memoryview(data)[: len(data) // 2], at)
        super().write(path, fd, data, at)

    def _do(self, what, path, call):
        self.steps.append(what)
        return super()._do(what, path, self.failing if self.is_due() else call)

    def is_due(self):
        return len(self.steps) in (self.fails_at, (self.fails_at or 0) + (self.steps[-1] == "write"))

    def failing(self):
        raise OSError(self.number, "made up")


class DyingDisk(QuickDisk):
    """Does ``steps`` operations; then the process is dead, and no other one happens."""

    def __init__(self, steps):
        self.left = steps
        self.died = False

    def _do(self, what, path, call):
        if self.left == 0:
            self.died = True
            raise Died
        self.left -= 1
        return super()._do(what, path, call)


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        self.now += 1.0
        return self.now


@dataclass
class Store:
    """A store that is open, with the folder and the database that it has."""

    root: Path
    database: Database
    blobs: Blobs
    holdings: Holdings
    pins: Pins

    async def keep(self, data, **options):
        async with self.blobs.incoming(len(data), **options) as sink:
            await sink.write(data)
            return await sink.keep(size=len(data))

    async def bytes_of(self, blob):
        with self.blobs.reading(blob) as path:
            return path.read_bytes()

    def file_of(self, blob):
        return self.root / "blobs" / blob.sha256[:2] / blob.sha256

    def incoming(self):
        return sorted(p.name for p in (self.root / "incoming").iterdir())


async def open_store(root, database, *, quota=None, disk=None, clock=None):
    clock = clock or Clock()
    blobs = await Blobs.open(root, database, now=clock, quota=quota, disk=disk or QuickDisk())
    return Store(root, database, blobs, Holdings(database, blobs), Pins(database, clock))


def memory_database():
    """A database without a file, which is quick: for what does not depend on its own safety."""
    connection = duckdb.connect()
    migrate(connection, schema_files())
    return Database(connection)


async def empty(database):
    """Delete all rows, so that a database serves many stores."""

    def work(cursor):
        for table in TABLES:
            cursor.execute(f"DELETE FROM mirror.{table}")

    await database.write(work)


class FailingDatabase:
    """A database whose n-th write from now on fails, as on a full disk."""

    def __init__(self, database, fails_at):
        self.database, self.fails_at, self.writes = database, fails_at, 0

    async def read(self, work):
        return await self.database.read(work)

    async def write(self, work):
        self.writes += 1
        if self.writes == self.fails_at:
            raise duckdb.IOException("No space left on device")
        return await self.database.write(work)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


async def assert_whole(store):
    """What must hold of a store at rest: rows and files agree, each file has its hash, nothing lies about."""
    rows = {blob.sha256: blob.size for blob in await store.database.read(all_blobs)}
    files = {p.name: p.read_bytes() for p in (store.root / "blobs").rglob("*") if len(p.name) == 64}
    assert {name: len(data) for name, data in files.items()} == rows
    assert all(sha256(data) == name for name, data in files.items())
    assert store.blobs.usage().held == sum(rows.values())
    assert store.blobs.usage().reserved == 0
    _assert_parts(store)
    await _assert_links(store, rows)


async def assert_claims(store):
    """What must hold at any moment, before a restart repairs anything: what a row claims is there."""
    for blob in await store.database.read(all_blobs):
        assert sha256(store.file_of(blob).read_bytes()) == blob.sha256
    for name, hash_ in (await store.database.read(holding_links)).items():
        assert sha256((store.root / "by-record" / name).read_bytes()) == hash_


async def assert_nothing_extra(store):
    """No file that only a restart would find: blobs without a row, links that no holding has."""
    rows = {blob.sha256 for blob in await store.database.read(all_blobs)}
    assert {p.name for p in (store.root / "blobs").rglob("*") if len(p.name) == 64} <= rows
    tree = store.root / "by-record"
    links = await store.database.read(holding_links)
    assert {p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file()} <= links.keys()


def _assert_parts(store):
    parts = {p.stem: p for p in (store.root / "incoming").iterdir() if p.suffix == ".part"}
    marks = {p.stem: json.loads(p.read_text()) for p in (store.root / "incoming").iterdir() if p.suffix == ".mark"}
    assert parts.keys() == marks.keys()
    assert len(store.incoming()) == 2 * len(parts)
    for stem, mark in marks.items():
        assert sha256(parts[stem].read_bytes()[: mark["length"]]) == mark["sha256"]


async def _assert_links(store, rows):
    sql = "SELECT sha256 FROM mirror.holdings"
    assert {row[0] for row in await store.database.read(lambda c: c.execute(sql).fetchall())} <= rows.keys()
    tree = store.root / "by-record"
    links = await store.database.read(holding_links)
    assert {p.relative_to(tree).as_posix() for p in tree.rglob("*") if p.is_file()} == links.keys()
    for name, hash_ in links.items():
        assert (tree / name).samefile(store.root / "blobs" / hash_[:2] / hash_)


async def expect_storage_error(work):
    """True if ``work`` raised StorageError with some words, False if it succeeded; anything else is a failure."""
    try:
        await work
    except StorageError as error:
        return len(str(error)) > 20
    return False


@contextmanager
def full(size: int):
    """No file of this process can grow beyond ``size`` bytes, as on a disk without room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
