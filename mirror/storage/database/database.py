"""The one DuckDB file of the store: who may open it, and which threads use it.

One process owns the file; within it one thread writes and two read. Functions that are passed to
``read`` and ``write`` get a cursor; ``write`` wraps them in one transaction. Nothing else in the
program holds a connection.
"""

from __future__ import annotations

import asyncio
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from mirror.concurrency import T
from mirror.errors import StorageError
from mirror.storage.database.connection import Allowance, Memory, ReopeningConnection
from mirror.storage.database.index_file import (
    Damaged,
    cannot_open,
    cannot_read,
    cannot_spill,
    cannot_write,
    first_line,
    is_damage,
    log_of,
    look_at,
    refuse_beside_files,
)
from mirror.storage.database.migrations import (
    Kind,
    bring_up_to_date,
    keep_copy,
    kind_of,
    migrate,
    put_back,
    schema_files,
)
from mirror.storage.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Self

log = logging.getLogger(__name__)

#: Converting rows holds the GIL: more readers, when measured, added latency but no throughput.
READERS = 2

#: Files of this version open in every DuckDB release that the mirror supports, and can compress texts with zstd;
#: later versions choose slower encodings for other strings.
STORAGE_VERSION = "v1.2.0"
#: The version before that, without zstd.
_BEFORE = "v1.0.0"

#: A log of fewer bytes takes hardly any memory.
SMALL_LOG = 16_000_000
#: A log of more bytes is left to the next start, rather than folded into the file while people wait for the stop.
LARGE_LOG = 32_000_000

#: The database name of a copy while it is written; no series can have it.
_COPY = "copy of the index"

Cursor = duckdb.DuckDBPyConnection


class Database:
    """The store's database; use ``open`` to make one, ``close`` when done."""

    def __init__(self, connection: Cursor, path: Path | None = None) -> None:
        self._path = path
        self._door = ReopeningConnection(connection, None if path is None else lambda: _opened(path))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="index-write")
        self._memory = Allowance()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="index-read")
        self._afterwards: list[Callable[[], None]] = []

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or create the file at ``path`` and bring its schema up to date.

        Raises StorageError if another process owns it, it was written by a newer version, or it is damaged. A new file
        is only created where there is no store: Damaged for a store's files without an index.
        """
        return cls(_opened(path), path)

    def beside(self, name: str) -> Path | None:
        """The path of a file with this name beside the database; None for a database in memory."""
        return None if self._path is None else self._path.with_name(name)

    async def read(self, work: Callable[[Cursor], T]) -> T:
        """Run ``work`` with a cursor of its own, in parallel with writes; it must not change anything."""
        return await asyncio.get_running_loop().run_in_executor(
            self._readers, self._with_cursor, lambda cursor: self._spilling(cursor, work)
        )

    async def write(
        self, work: Callable[[Cursor], T], undone: Callable[[], None] = lambda: None, *, little: bool = False
    ) -> T:
        """Run ``work`` in one transaction, after writes that were requested earlier; all or nothing.

        ``undone`` is called, before any other write, whenever ``work`` has run and its transaction failed. Then ``work``
        may run again. Who writes but a ``little`` makes do with the memory that reading has.
        """
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._writer, self._in_transaction, work, undone, little)

    async def checkpoint(self) -> None:
        """Fold the write-ahead log into the file."""
        await self._between_writes(self._fold)

    async def rest(self) -> None:
        """Use little memory until the next write, unless much of what was written is not in the file yet."""
        if self._path is None or _log_size(self._path) < SMALL_LOG:
            await self._between_writes(self._memory.rest)

    async def copy_to(self, path: Path) -> None:
        """Write all that is committed now to a new database file, while reads and writes go on.

        Copying the file itself would not do: opening and closing it a second time in this process releases its lock.
        """

        def work(cursor: Cursor) -> None:
            with self._memory.at_least(cursor, Memory.WRITING):
                _copy(cursor, path)

        await asyncio.to_thread(self._with_cursor, work)

    def close(self) -> None:
        """Finish running writes, interrupt reads, write everything to the file, and release it."""
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._writer.shutdown()
        self._door.interrupt()
        self._readers.shutdown()
        if self._path is not None and _log_size(self._path) > LARGE_LOG:
            with suppress(duckdb.Error, StorageError):
                self._with_cursor(lambda cursor: cursor.execute("PRAGMA disable_checkpoint_on_shutdown"))
        self._door.close()
        for work in self._afterwards:
            work()

    def when_closed(self, work: Callable[[], None]) -> None:
        """Call ``work`` at the end of ``close``, when nothing is read or written any more."""
        self._afterwards.append(work)

    async def _between_writes(self, work: Callable[[Cursor], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, self._with_cursor, work)

    def _fold(self, cursor: Cursor) -> None:
        self._memory.for_writing(cursor)
        cursor.execute("CHECKPOINT")

    def _with_cursor(self, work: Callable[[Cursor], T]) -> T:
        return self._door.through(lambda cursor: self._with_room(cursor, lambda: work(cursor)))

    def _in_transaction(self, work: Callable[[Cursor], T], undone: Callable[[], None], little: bool) -> T:
        try:
            return self._door.through(lambda cursor: self._written(cursor, work, undone, little))
        except (duckdb.IOException, duckdb.TransactionException) as error:
            raise StorageError(cannot_write(error)) from error

    def _written(self, cursor: Cursor, work: Callable[[Cursor], T], undone: Callable[[], None], little: bool) -> T:
        if not little:
            self._memory.for_writing(cursor)
        return self._with_room(cursor, lambda: _committed(cursor, work, undone))

    def _with_room(self, cursor: Cursor, attempt: Callable[[], T]) -> T:
        """Call ``attempt``; once more with much memory if the usual limit is not enough, as for a large answer."""
        try:
            return attempt()
        except duckdb.OutOfMemoryException:
            with self._memory.at_least(cursor, Memory.MUCH):
                return attempt()
        except duckdb.Error as error:
            if is_damage(error):
                raise StorageError(cannot_read(error)) from error
            raise

    def _spilling(self, cursor: Cursor, work: Callable[[Cursor], T]) -> T:
        """Run ``work``, which may need room on the disk: DuckDB spills what does not fit into memory."""
        try:
            return work(cursor)
        except duckdb.IOException as error:
            if is_damage(error):
                raise
            raise StorageError(cannot_spill(error)) from error


def _opened(path: Path) -> Cursor:
    """The database at ``path``, with its schema up to date."""
    try:
        return _up_to_date(path)
    except Damaged:
        with put_back(path) as there:
            if not there:
                raise
            return _up_to_date(path)


def make_empty(path: Path) -> None:
    """Create an index without content, whatever lies beside it; StorageError if that fails.

    It gets its name once it is complete; no file may have that name before.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with closing(_connect(unfinished)) as connection:
        try:
            migrate(connection, schema_files())
        except duckdb.Error as error:
            raise _in_words(path, error) from error
    Disk().move(unfinished, path)


def _up_to_date(path: Path) -> Cursor:
    look_at(path)
    connection = _connect(path)
    try:
        if _is_of_before(connection) and kind_of(connection, path) is Kind.INDEX:
            connection.close()
            keep_copy(path)  # see ``migrations``: a kill in between can tear the file
            _raise_version(path)
            connection = _connect(path)
        if kind_of(connection, path) is Kind.BLANK:
            refuse_beside_files(path, "has no content")
        connection.execute("SET wal_autocheckpoint = '1GB'")  # else writers stall for a second at 16 MB
        connection.execute("SET preserve_insertion_order = true")
        Memory.WRITING.set(connection)
        bring_up_to_date(connection, path)
    except duckdb.Error as error:
        connection.close()
        raise _in_words(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _is_of_before(connection: Cursor) -> bool:
    found = connection.execute("SELECT tags['storage_version'] FROM duckdb_databases() WHERE path IS NOT NULL")
    return any(str(version).startswith(_BEFORE) for (version,) in found.fetchall())


def _raise_version(path: Path) -> None:
    """Raise a file of an older version to STORAGE_VERSION, which only an ATTACH that names it does."""
    file = str(path).replace("'", "''")
    with closing(duckdb.connect()) as connection:
        connection.execute(f"ATTACH '{file}' AS raised (STORAGE_VERSION '{STORAGE_VERSION}')")
        for statement in ("CREATE TABLE raised.main.made (x INTEGER)", "DROP TABLE raised.main.made"):
            connection.execute(statement)  # the version is only written along with a change
        connection.execute("FORCE CHECKPOINT raised")
        connection.execute("DETACH raised")


def _log_size(path: Path) -> int:
    log = log_of(path)
    return log.stat().st_size if log.exists() else 0


def _committed(cursor: Cursor, work: Callable[[Cursor], T], undone: Callable[[], None]) -> T:
    cursor.begin()
    try:
        result = work(cursor)
        cursor.commit()
    except BaseException as error:
        with suppress(duckdb.Error):  # the first failure is the one to report
            cursor.rollback()
        undone()
        first = _first_of(error)
        if first is not error:
            raise first from first.__cause__
        raise
    return result


def _first_of(error: BaseException) -> BaseException:
    """What ended a transaction, where tidying up in it only tells that it had ended: more memory may help the former."""
    before = error.__context__
    follows = isinstance(error, duckdb.TransactionException) and "aborted" in str(error) and before is not None
    return _first_of(before) if follows and before is not None else error


def _copy(cursor: Cursor, path: Path) -> None:
    row = cursor.execute("SELECT current_database()").fetchone()
    ours = str(row[0] if row else "").replace('"', '""')
    file = str(path).replace("'", "''")
    cursor.execute(f"ATTACH '{file}' AS \"{_COPY}\" (STORAGE_VERSION '{STORAGE_VERSION}')")
    try:
        cursor.execute(f'COPY FROM DATABASE "{ours}" TO "{_COPY}"')
    finally:
        cursor.execute(f'DETACH "{_COPY}"')


def _connect(path: Path) -> Cursor:
    try:
        return duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION})
    except duckdb.Error as error:
        raise _in_words(path, error) from error


def _in_words(path: Path, error: duckdb.Error) -> StorageError:
    """Why an index cannot be opened, as an error for people."""
    if is_damage(error):
        return Damaged(cannot_open(path, error))
    if isinstance(error, duckdb.IOException) and "lock" in str(error).lower():
        owner = re.search(r"PID (\d+)", str(error))
        who = f"process {owner[1]}" if owner else "another process"
        return StorageError(f"{path} is in use by {who}; a store can be used by one mirror at a time")
    return StorageError(f"the index {path} cannot be opened: {first_line(error)}")


class Tables:
    """The database, with its refusals as StorageErrors: a full disk at a commit, for example."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, work: Callable[[Cursor], T]) -> T:
        """Run ``work``, which changes nothing."""
        try:
            return await self._database.read(work)
        except duckdb.Error as error:
            raise StorageError(f"the index cannot be read: {error}") from error

    async def write(self, work: Callable[[Cursor], T]) -> T:
        """Run ``work`` in one transaction; after an error nothing of it has happened."""
        try:
            return await self._database.write(work)
        except duckdb.Error as error:
            raise StorageError(f"the index cannot be written, nothing was changed: {error}") from error


async def if_possible(work: Awaitable[object], what: str) -> bool:
    """Await a write that can be made up for later; True if it was made. A full disk is logged.

    For housekeeping, which must neither keep a store from serving what it holds, nor keep it from stopping.
    """
    try:
        await work
    except StorageError as problem:
        log.warning("put off step=%s error=%s", what, problem)
        return False
    return True


# ---- tables of small answers ---------------------------------------------------------------------
# Tables of small answers that are kept whole: a key, a text, and when it was noted.
#
# Each such table (most are in ``schema/0015_facts.sql``) has one owner, the module that makes its ``KeyedTable`` and
# alone writes to it. Others go through that owner.


#: A row: its key, its text, and when it was noted in Unix seconds.
Kept = tuple[str, str, float]


class KeyedTable:
    """One table; methods that take a cursor work in the caller's transaction, the others in one of their own."""

    def __init__(self, database: Database, name: str) -> None:
        self._tables = Tables(database)
        self._table = f"mirror.{name}"
        #: Called with what was put, to share it.
        self.on_put: Callable[[str, str, float], None] | None = None

    async def get(self, key: str) -> tuple[str, float] | None:
        """The text of a key, and when it was noted."""
        return await self._tables.read(lambda cursor: self._find(cursor, key))

    async def rows(self, keys: Iterable[str] | None = None) -> list[Kept]:
        """The rows of these keys, or all rows, in the order of their keys."""
        where, values = ("", []) if keys is None else ("WHERE key IN (SELECT unnest(?::VARCHAR[]))", [list(keys)])
        sql = f"SELECT key, value, noted_at FROM {self._table} {where} ORDER BY key"
        return await self._tables.read(lambda cursor: cursor.execute(sql, values).fetchall())

    async def put(self, key: str, value: str, noted_at: float) -> None:
        """Keep a text in place of an earlier one."""
        await self._tables.write(lambda cursor: self.write(cursor, key, value, noted_at))
        if self.on_put is not None:
            self.on_put(key, value, noted_at)

    async def put_newer(self, key: str, value: str, noted_at: float) -> None:
        """Keep a text unless the present one was noted then or later."""

        def work(cursor: Cursor) -> None:
            before = self._find(cursor, key)
            if before is None or before[1] < noted_at:
                self.write(cursor, key, value, noted_at)

        await self._tables.write(work)

    def _find(self, cursor: Cursor, key: str) -> tuple[str, float] | None:
        sql = f"SELECT value, noted_at FROM {self._table} WHERE key = ?"
        return cursor.execute(sql, [key]).fetchone()

    def write(self, cursor: Cursor, key: str, value: str, noted_at: float) -> None:
        """Keep a text in place of an earlier one."""
        self.drop(cursor, key)
        cursor.execute(f"INSERT INTO {self._table} VALUES (?, ?, ?)", [key, value, noted_at])

    def drop(self, cursor: Cursor, key: str) -> None:
        """Delete a key."""
        cursor.execute(f"DELETE FROM {self._table} WHERE key = ?", [key])
