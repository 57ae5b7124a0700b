"""The lake: all keywords as sorted Parquet, ``lake/<series>/<month>.<n>.parquet``, for anybody to read.

A month is sealed, that is written to a file, when somebody wants to read it and its records have changed; or ahead,
while nobody waits (``seal_ahead``). A statement does not wait for large months to be sealed: the columns that it reads
of them are copied for it alone (``copied``, ``unsealed``).

Changes are found by comparing: the row of each file has the number of its records, and a hash of their numbers and key
sets. A record with a given number changes only with the keywords of its series, or when a check repairs it, which
then calls ``distrust``. So a crash, a restored backup or an import needs no bookkeeping.

Files are never changed: a newer one replaces an older one, which stays for as long as somebody may read it. A missing
or truncated file is written again when it is next asked for, one with other bytes once a check has found it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from mirror.concurrency import cancel, taken, to_the_end
from mirror.errors import StorageError, explained
from mirror.storage.database.database import Tables
from mirror.storage.disk import digest_of
from mirror.storage.lake.columns import LakeColumn, lake_columns, layout_hash, select_sql, time_column
from mirror.storage.lake.table import (
    CATALOGUE,
    ROW_GROUP,
    CatalogueTable,
    Sealed,
    forget,
    keysets,
    manifest,
    note,
    prints,
    sealed,
    where_month,
    write_catalogue,
    write_file,
)
from mirror.storage.lake.unsealed import FEW, MOST_VALUES, Copied, LakeTable, chosen, copy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.disk import Disk
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout
    from mirror.storage.lake.table import Print

log = logging.getLogger(__name__)

#: Seconds for which a replaced file stays: longer than any statement may run.
OLD_FILES_STAY = 3600.0
#: A series is sealed ahead again after AHEAD_FACTOR times as long as sealing it took, but AHEAD_EVERY seconds at most.
AHEAD_EVERY, AHEAD_FACTOR = 600.0, 100.0
#: Seconds at least between two starts where statements ask, but do not wait.
SOON_EVERY = 60.0
MANIFEST = "manifest.json"
#: Seconds that a statement may wait for the catalogue, which it does not need.
QUICK = 0.2
#: Files that are written before they are noted together.
NOTED = 12


#: Attempts to copy unsealed records with no change in between; then the copy is used as it is.
TRIES = 4


class _Stopped(Exception):
    """Sealing ahead was interrupted."""


@dataclass(frozen=True, slots=True)
class _State:
    """What a table of the index holds, by month, and which files hold the same."""

    held: Mapping[str, Print]
    known: Mapping[str, Sealed]  #: all files, up to date or not
    right: Mapping[str, Sealed]


class Lake:
    """The lake of a store, below ``root``. ``now`` gives Unix seconds."""

    def __init__(
        self, root: Path, database: Database, index: Index, disk: Disk, now: Callable[[], float]
    ) -> None:
        self.root = root
        self._tables = Tables(database)
        self._index = index
        self._disk = disk
        self._now = now
        self._sealing: dict[str, asyncio.Lock] = {}  #: by series; ``_listing`` may be taken inside
        self._listing = asyncio.Lock()  #: guards the manifest, which all series share
        self._seen: dict[str, int] = {}  #: the sealed version of each series
        self._ready: dict[str, tuple[LakeTable, ...]] = {}
        self._ahead: dict[str, tuple[float, float]] = {}  #: when each was last sealed ahead, and how long that counts
        self._looks: dict[str, tuple[int, tuple[LakeTable, ...]]] = {}  #: the tables of a series as of a version
        self._copies = 0
        self._soon: dict[str, asyncio.Task[None]] = {}  #: by series: sealing for which nobody waits
        self._begun: dict[str, float] = {}  #: when that began last
        self._sizes: dict[str, int] = {}  #: bytes of each file
        self._listed: frozenset[str] = frozenset()  #: series that the catalogue has, up to date
        self._took = 0.0  #: seconds that writing the catalogue took
        self._damaged: set[str] = set()  #: files that were found to be damaged

    async def tables(self, series: Series) -> tuple[LakeTable, ...]:
        """The two tables of a series, sealed as of now; none if no record was ever kept.

        StorageError if they cannot be written. A caller that is cancelled leaves nothing half written.
        """
        return await to_the_end(self._as_of_now(series))

    async def as_of_now(self, series: Series) -> tuple[LakeTable, ...]:
        """The two tables of a series as of now, with their unsealed months; none if no record was ever kept.

        If only a few records are unsealed, they are sealed first. StorageError as from ``tables``.
        """
        name, version = series.name.lower(), self._index.version(series)
        if not self._index.has_records(series):
            return ()
        if self._seen.get(name) == version and await asyncio.to_thread(self._all_there, name):
            return self._ready[name]
        look = self._looks.get(name)
        if look is None or look[0] != version or not await asyncio.to_thread(self._are_there, look[1]):
            look = version, await self._look(name, self._index.layout(series))
            self._looks[name] = look
        if sum(table.records for table in look[1]) > FEW:
            return look[1]
        return await self.tables(series)

    async def copied(self, series: Series, wanted: Mapping[str, Collection[str] | None]) -> tuple[Copied, ...]:
        """The tables of a series as of now, for one statement, with the wanted columns of unsealed months in files.

        ``wanted`` has names of columns in lower case, by table; None for all. The caller removes the files with
        ``remove_copies``. What would take long to copy is sealed instead. StorageError as from ``tables``.
        """
        return await taken(self._copied(series, wanted), self.remove_copies)

    async def remove_copies(self, copies: Iterable[Copied]) -> None:
        """Remove the files of copies when nobody reads them any more."""
        for file in (each.file for each in copies if each.file is not None):
            await asyncio.to_thread(self._disk.remove, self.root / file)

    async def seal_ahead(self, may_go_on: Callable[[], bool]) -> None:
        """Seal what has changed before somebody asks for it, month by month, for as long as ``may_go_on`` allows.

        A large series is looked at only now and then: if it gets new records every few minutes, its last month would
        be written as often. StorageError as from ``tables``.
        """
        for series in self._index.all_series():
            name, now = series.name.lower(), self._now()
            last, pause = self._ahead.get(name, (0.0, 0.0))
            due = now - last >= pause and self._seen.get(name) != self._index.version(series)
            if due and self._index.has_records(series) and may_go_on():
                began = time.perf_counter()
                with suppress(_Stopped):
                    await to_the_end(self._as_of_now(series, may_go_on))
                    took = time.perf_counter() - began
                    self._ahead[name] = now, min(AHEAD_EVERY, AHEAD_FACTOR * took)
        if self._listed != self._known():  # a series without records yet may be new
            async with self._listing:
                await self._write_catalogue(await self._tables.read(sealed))

    def seal_soon(self, series: Series) -> None:
        """Start sealing what has changed of a series, for whoever asks later; now and then at most."""
        name, now = series.name.lower(), self._now()
        if name not in self._soon and now - self._begun.get(name, 0.0) >= SOON_EVERY:
            self._begun[name] = now
            self._soon[name] = asyncio.ensure_future(self._sealed_soon(series))
            self._soon[name].add_done_callback(lambda _: self._soon.pop(name))

    async def stop(self) -> None:
        """End the sealing for which nobody waits."""
        await cancel(*self._soon.values())

    def columns(self, series: Series) -> tuple[LakeColumn, ...]:
        """The names, types and comments of the columns of a series' tables, sealed or not."""
        return lake_columns(self._index.layout(series), {})

    async def files(self, series: Series | None = None) -> list[Sealed]:
        """The files in use, of one series or all."""
        rows = await self._tables.read(sealed)
        names = None if series is None else (series.name.lower(), f"{series.name.lower()}__old")
        return [row for row in rows if names is None or row.table in names]

    async def verify(self, row: Sealed) -> str | None:
        """Read a file; None if it is as it was written. Otherwise what is wrong, and the file is no longer used."""
        problem = await asyncio.to_thread(self._problem, row)
        if (
            problem is None or row not in await self.files()
        ):  # replaced meanwhile, so not in use
            return None
        self._damaged.add(row.file)
        self._looks.clear()
        await asyncio.to_thread(self._disk.remove, self.root / row.file)
        return problem

    async def mend(self, series: Iterable[Series]) -> bool:
        """Read all files of some series; True if any was damaged. It is written again when next asked for."""
        rows = [row for each in series for row in await self.files(each)]
        return any([await self.verify(row) is not None for row in rows])

    # ---- inside ----------------------------------------------------------------------------------

    async def _as_of_now(
        self, series: Series, may_go_on: Callable[[], bool] = lambda: True
    ) -> tuple[LakeTable, ...]:
        name = series.name.lower()
        async with self._sealing.setdefault(name, asyncio.Lock()):
            version = self._index.version(series)
            if self._seen.get(name) != version or not await asyncio.to_thread(self._all_there, name):
                layout = self._index.layout(series)
                kept = self._index.has_records(series)
                self._ready[name] = await self._seal(name, layout, may_go_on) if kept else ()
                self._seen[name] = version
            return self._ready[name]

    async def _sealed_soon(self, series: Series) -> None:
        try:
            await self._as_of_now(series)
        except StorageError as problem:  # a statement that needs it will get the error
            log.warning("not sealed series=%s problem=%s", series.name, problem)

    async def _look(self, name: str, layout: Layout) -> tuple[LakeTable, ...]:
        """The tables of a series, with their unsealed months."""
        columns, time = await self._columns(name, layout), time_column(layout.series)
        tables = []
        for lake_name, table in _parts(name, layout):
            state = await self._compared(lake_name, table, layout_hash(columns), time)
            unsealed = tuple(sorted(state.held.keys() - state.right.keys()))
            files = tuple(state.right[month].file for month in sorted(state.right))
            records = sum(state.held[month].records for month in unsealed)
            tables.append(LakeTable(lake_name, columns, files, unsealed, records))
        return tuple(tables)

    async def _copied(self, series: Series, wanted: Mapping[str, Collection[str] | None]) -> tuple[Copied, ...]:
        for tries in range(1, TRIES + 1):
            version, tables = self._index.version(series), await self.as_of_now(series)
            if sum(t.records * len(chosen(t.columns, wanted.get(t.name, ()))) for t in tables) > MOST_VALUES:
                tables = await self.tables(series)
            copies = await self._copy_unsealed(series, tables, wanted)
            if self._index.version(series) == version or tries == TRIES:
                break
            await self.remove_copies(copies)
        return copies

    async def _copy_unsealed(
        self, series: Series, tables: tuple[LakeTable, ...], wanted: Mapping[str, Collection[str] | None]
    ) -> tuple[Copied, ...]:
        layout, time = self._index.layout(series), time_column(series)
        copies = []
        for lake_name, table in _parts(series.name.lower(), layout) if tables else ():
            found = next(t for t in tables if t.name == lake_name)
            columns = chosen(found.columns, wanted.get(lake_name, ()))
            file = self._name_of_copy(lake_name) if found.records else None
            copies.append((table, columns, Copied(found, file, frozenset(c.name for c in columns))))
        for file in (each.file for _, _, each in copies if each.file is not None):
            await asyncio.to_thread(self._disk.make_folder, (self.root / file).parent)

        def work(cursor: Cursor) -> None:
            cursor.begin()  # a snapshot of both tables, between which records move
            try:
                for table, columns, each in copies:
                    if each.file is not None:
                        copy(cursor, table, layout, columns, time, each.table.unsealed, self.root / each.file)
            finally:
                cursor.rollback()

        made = tuple(each for _, _, each in copies)
        if any(each.file is not None for each in made):
            try:
                await self._tables.read(work)
            except BaseException:
                await self.remove_copies(made)
                raise
        return made

    def _name_of_copy(self, table: str) -> str:
        """A file name that no statement of this or an earlier process has used."""
        self._copies += 1
        return f"{table}/unsealed.{os.getpid()}.{self._now():.6f}.{self._copies}.parquet"

    async def _columns(self, name: str, layout: Layout) -> tuple[LakeColumn, ...]:
        return lake_columns(layout, await self._tables.read(lambda cursor: keysets(cursor, name)))

    async def _compared(self, name: str, table: str, shape: str, time: str | None) -> _State:
        """What a table of the index holds, and what its files hold."""
        held = await self._tables.read(lambda cursor: prints(cursor, table, time))
        known = {row.month: row for row in await self._tables.read(lambda cursor: sealed(cursor, name))}
        same = {m: row for m, row in known.items() if row.shape == shape and row.print == held.get(m)}
        right = await asyncio.to_thread(
            lambda: {m: r for m, r in same.items() if self._is_there(r.file, r.bytes)}
        )
        self._sizes |= {row.file: row.bytes for row in right.values()}
        return _State(held, known, right)

    async def _seal(self, name: str, layout: Layout, may_go_on: Callable[[], bool]) -> tuple[LakeTable, ...]:
        columns, parts = await self._columns(name, layout), _parts(name, layout)
        files = [
            await self._seal_table(lake_name, table, layout, columns, may_go_on) for lake_name, table in parts
        ]
        await self._write_manifest()
        await self._forget_old()
        return tuple(LakeTable(n, columns, found) for (n, _), found in zip(parts, files, strict=True))

    async def _seal_table(
        self, name: str, table: str, layout: Layout, columns: tuple[LakeColumn, ...], may_go_on: Callable[[], bool]
    ) -> tuple[str, ...]:
        """Write the months that have changed; all files of the table, by month.

        _Stopped after any month if ``may_go_on`` says no; what is written stays, and counts.
        """
        shape, time = layout_hash(columns), time_column(layout.series)
        state = await self._compared(name, table, shape, time)
        held, known, right = state.held, state.known, dict(state.right)
        months = sorted(held.keys() - right.keys())
        for first in range(0, len(months), NOTED):
            written: list[Sealed] = []
            for month in months[first : first + NOTED]:
                if not may_go_on():
                    await self._note(written, known)
                    raise _Stopped
                select = select_sql(table, layout, columns, where_month(time, month))
                written.append(await self._write(name, month, select, shape, held[month], known.get(month)))
            await self._note(written, known)
            right |= {row.month: row for row in written}
        if gone := known.keys() - held.keys():
            await self._tables.write(lambda cursor: forget(cursor, name, gone))
        self._sizes |= {row.file: row.bytes for row in right.values()}
        return tuple(right[month].file for month in sorted(right))

    async def _write(
        self, name: str, month: str, select: str, shape: str, held: Print, before: Sealed | None
    ) -> Sealed:
        number = 1 if before is None else int(before.file.rsplit(".", 2)[1]) + 1
        file = f"{name}/{month}.{number}.parquet"
        place, part = self.root / file, self.root / f"{file}.part"
        await asyncio.to_thread(self._disk.make_folder, place.parent)
        await self._copy(select, part)
        try:
            sha256, size = await asyncio.to_thread(digest_of, part)
        except OSError as error:
            raise StorageError(f"cannot read {part}: {explained(error)}") from error
        await asyncio.to_thread(self._settle, part, place)
        return Sealed(name, month, file, shape, held, size, sha256)

    async def _note(self, rows: Sequence[Sealed], before: Mapping[str, Sealed]) -> None:
        """Replace the files of ``before`` by new ones, in one transaction, since the one writer may be busy."""
        at = self._now()

        def work(cursor: Cursor) -> None:
            for row in rows:
                note(cursor, row, at)

        await self._tables.write(work)
        self._looks.clear()
        for row in rows:
            if row.month in before:
                await asyncio.to_thread(self._replaced, self.root / before[row.month].file)

    async def _copy(self, select: str, part: Path) -> None:
        """Write the rows of a SELECT to a file; if the disk refuses, StorageError, and nothing is left behind."""

        def work(cursor: Cursor) -> None:
            try:
                write_file(cursor.sql(select).to_arrow_reader(ROW_GROUP), part)
            except OSError as error:
                self._disk.remove(part)
                raise StorageError(f"cannot write {part}: {error}") from error

        await self._tables.read(work)

    async def _forget_old(self) -> None:
        """Remove unused files once nobody can still be reading them."""
        named = {row.file for row in await self._tables.read(sealed)}
        self._sizes = {file: size for file, size in self._sizes.items() if file in named}
        self._damaged &= named
        await asyncio.to_thread(self._remove_unnamed, named, self._now() - OLD_FILES_STAY)

    async def _write_manifest(self) -> None:
        """Write the files in use into the manifest. The last to come has read last, and writes for all before."""
        async with self._listing:
            rows = await self._tables.read(sealed)
            await asyncio.to_thread(self._write_text, self.root / MANIFEST, manifest(rows))
            if self._took < QUICK:
                await self._write_catalogue(rows)
            else:  # without keeping a statement waiting: next time
                self._listed = frozenset()

    async def _write_catalogue(self, rows: Iterable[Sealed]) -> None:
        """Write the files in use into the catalogue; called within ``_listing``."""
        known, tables, began = self._known(), self._catalogue(rows), time.perf_counter()
        await asyncio.to_thread(self._replace_catalogue, tables)
        self._listed, self._took = known, time.perf_counter() - began

    def _known(self) -> frozenset[str]:
        return frozenset(series.name for series in self._index.all_series())

    def _catalogue(self, rows: Iterable[Sealed]) -> list[CatalogueTable]:
        """The tables of all series, with their files."""
        root, files = self.root.absolute(), defaultdict[str, list[Path]](list)
        for row in rows:
            files[row.table].append(root / row.file)
        return [
            CatalogueTable(name, words, self.columns(series), tuple(files[name]))
            for series in self._index.all_series()
            for name, words in (
                (series.name.lower(), series.note),
                (f"{series.name.lower()}__old", f"Versions of {series.name} that were replaced"),
            )
        ]

    def _replace_catalogue(self, tables: list[CatalogueTable]) -> None:
        """Replace the catalogue by a new one; StorageError if it cannot be written."""
        place = self.root / CATALOGUE
        part = place.with_name(f"{CATALOGUE}.part")
        self._disk.make_folder(self.root)
        self._disk.remove(part)
        try:
            write_catalogue(part, tables)
        except duckdb.Error as error:
            self._disk.remove(part)
            raise StorageError(f"cannot write {place}: {str(error).splitlines()[0]}") from error
        fd = self._disk.open(part)
        try:
            os.fchmod(fd, 0o644)  # writable, since DuckDB opens for writing by default
            self._disk.sync(part, fd)
        finally:
            os.close(fd)
        self._disk.remove(place.with_name(f"{CATALOGUE}.wal"))  # left by somebody who had the last one open
        self._disk.move(part, place)

    def _all_there(self, name: str) -> bool:
        """True if no file of a series is missing or truncated, which is all that shows without reading them."""
        return self._are_there(self._ready[name])

    def _are_there(self, tables: Iterable[LakeTable]) -> bool:
        return all(self._is_there(file, self._sizes.get(file)) for table in tables for file in table.files)

    def _is_there(self, file: str, size: int | None) -> bool:
        try:
            return file not in self._damaged and (self.root / file).stat().st_size == size
        except OSError:
            return False

    def _problem(self, row: Sealed) -> str | None:
        try:
            sha256, size = digest_of(self.root / row.file)
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        if size != row.bytes:
            return f"it has {size:,} bytes instead of {row.bytes:,}"
        return None if sha256 == row.sha256 else "its content has changed"

    def _settle(self, part: Path, place: Path) -> None:
        """Sync a file that was written, and move it to its place."""
        fd = self._disk.open(part)
        try:
            self._disk.seal(part, fd)
        finally:
            os.close(fd)
        self._disk.move(part, place)

    def _replaced(self, file: Path) -> None:
        """Set the file's modification time to the moment from which it is no longer needed."""
        with suppress(OSError):
            os.utime(file, (self._now(), self._now()))

    def _write_text(self, place: Path, text: str) -> None:
        self._disk.make_folder(place.parent)  # missing if no table has records
        part = place.with_name(f"{place.name}.part")
        fd = self._disk.create(part)
        try:
            self._disk.write(part, fd, text.encode(), 0)
        finally:
            os.close(fd)
        self._settle(part, place)

    def _remove_unnamed(self, named: set[str], before: float) -> None:
        for path in self.root.glob("*/*"):
            if str(path.relative_to(self.root)) in named:
                continue
            with suppress(FileNotFoundError):  # files may be renamed while another series is sealed
                if path.stat().st_mtime < before:
                    self._disk.remove(path)


def _parts(name: str, layout: Layout) -> list[tuple[str, str]]:
    """The names of a series' two tables, in the lake and in the index."""
    return [(name, layout.table), (f"{name}__old", layout.old_table)]
