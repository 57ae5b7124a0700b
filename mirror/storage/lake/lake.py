"""The lake: all keywords as sorted Parquet, ``lake/<series>/<month>.<n>.parquet``, for anybody to read.

A month is sealed, that is written to a file, when somebody wants to read it and its records have changed since; or
before, while nobody waits for anything (``seal_ahead``). A statement does not wait for much to be sealed: of the months
that are not it gets the columns that it reads, copied for it alone (``copied``, ``unsealed``).
What has changed is found by comparing: each file remembers how many records it has and a hash of their numbers
and key sets. Under its number a record only changes with the keywords of its series, or where a check repairs it,
which says so (``distrust``). So a crash, a restored backup or an import needs no bookkeeping.
Files are never changed: a newer one takes the place of an older, which stays for as long as somebody may read it.
One that is gone or cut is written again when it is next asked for; one with other bytes once that was found out.
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

from mirror.concurrency import to_the_end
from mirror.errors import StorageError
from mirror.storage.database.database import Tables
from mirror.storage.disk import digest_of
from mirror.storage.lake.catalogue import CATALOGUE, CatalogueTable, write_catalogue
from mirror.storage.lake.columns import LakeColumn, lake_columns, layout_hash, select_sql, time_column
from mirror.storage.lake.table import (
    ROW_GROUP,
    Sealed,
    forget,
    keysets,
    manifest,
    note,
    prints,
    sealed,
    where_month,
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

#: Seconds for which a file that was replaced stays: longer than any statement may run.
OLD_FILES_STAY = 3600.0
#: Seconds at most from one look to the next at what could be sealed of a series before somebody asks; and how many times as
#: long as it took to seal it.
AHEAD_EVERY, AHEAD_FACTOR = 600.0, 100.0
#: The same where statements ask, and do not wait.
SOON_EVERY = 60.0
MANIFEST = "manifest.json"
#: Seconds that a statement may wait for the catalogue, which it does not need itself.
QUICK = 0.2
#: Files that are written before they are noted together.
NOTED = 12


#: Tries at a copy of what is not sealed during which nothing changes; then it is taken as it is.
TRIES = 4


class _Stopped(Exception):
    """Sealing ahead was given up for now."""


@dataclass(frozen=True, slots=True)
class _State:
    """What a table of the index holds, by month, and the files that hold the same."""

    held: Mapping[str, Print]
    known: Mapping[str, Sealed]  #: the files that there are, right or not
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
        self._sealing: dict[str, asyncio.Lock] = {}  #: of each series; inside it the next may be taken
        self._listing = asyncio.Lock()  #: of the manifest, which all series share
        self._seen: dict[str, int] = {}  #: the version of each series that is sealed
        self._ready: dict[str, tuple[LakeTable, ...]] = {}
        self._ahead: dict[str, tuple[float, float]] = {}  #: when each was last sealed unasked, and how long that counts
        self._looks: dict[str, tuple[int, tuple[LakeTable, ...]]] = {}  #: what was not sealed at a version of a series
        self._copies = 0
        self._soon: dict[str, asyncio.Task[None]] = {}  #: of each series that is being sealed with nobody waiting
        self._begun: dict[str, float] = {}  #: when that began last
        self._sizes: dict[str, int] = {}  #: of the files of these tables
        self._listed: frozenset[str] = frozenset()  #: series that the catalogue has as they are
        self._took = 0.0  #: seconds to write the catalogue
        self._damaged: set[str] = set()  #: files that were found to have other bytes

    async def tables(self, series: Series) -> tuple[LakeTable, ...]:
        """The two tables of a series, sealed as of now; none if no record was ever kept.

        StorageError if they cannot be written. Who hangs up meanwhile leaves nothing half written.
        """
        return await to_the_end(self._as_of_now(series))

    async def as_of_now(self, series: Series) -> tuple[LakeTable, ...]:
        """The two tables of a series as they are now, with the months that are not sealed; none if no record was ever kept.

        A few records are sealed first. StorageError as from ``tables``.
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
        """The tables of a series as they are now, for one statement: these columns of what is not sealed in files of their own.

        ``wanted`` are names of columns in lower case by table; None for all. Whoever gets the files removes them with
        ``remove_copies``. What would take long to copy is sealed. StorageError as from ``tables``.
        """
        return await to_the_end(self._copied(series, wanted))

    async def remove_copies(self, copies: Iterable[Copied]) -> None:
        """Remove the files of copies that nobody reads any more."""
        for file in (each.file for each in copies if each.file is not None):
            await asyncio.to_thread(self._disk.remove, self.root / file)

    async def seal_ahead(self, may_go_on: Callable[[], bool]) -> None:
        """Seal what has changed before somebody asks for it, a month at a time and as long as that may go on.

        A large series is looked at once in a while: of one that gets new records every few minutes the last month would be
        written as often. StorageError as from ``tables``.
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
        if self._listed != self._known():  # or a series of which there are no records yet
            async with self._listing:
                await self._write_catalogue(await self._tables.read(sealed))

    def seal_soon(self, series: Series) -> None:
        """Begin to seal what has changed of a series, for whoever asks later; once in a while at most."""
        name, now = series.name.lower(), self._now()
        if name not in self._soon and now - self._begun.get(name, 0.0) >= SOON_EVERY:
            self._begun[name] = now
            self._soon[name] = asyncio.ensure_future(self._sealed_soon(series))
            self._soon[name].add_done_callback(lambda _: self._soon.pop(name))

    async def stop(self) -> None:
        """End what nobody waits for."""
        for task in (running := list(self._soon.values())):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def columns(self, series: Series) -> tuple[LakeColumn, ...]:
        """The columns of the tables of a series, which need not be sealed: their names, types and comments."""
        return lake_columns(self._index.layout(series), {})

    async def files(self, series: Series | None = None) -> list[Sealed]:
        """The files that are in use, of a series or all."""
        rows = await self._tables.read(sealed)
        names = None if series is None else (series.name.lower(), f"{series.name.lower()}__old")
        return [row for row in rows if names is None or row.table in names]

    async def verify(self, row: Sealed) -> str | None:
        """Read a file; None if it is as it was written, else what is wrong with it, and it is not used any more."""
        problem = await asyncio.to_thread(self._problem, row)
        if (
            problem is None or row not in await self.files()
        ):  # replaced meanwhile: not the file that is in use
            return None
        self._damaged.add(row.file)
        self._looks.clear()
        await asyncio.to_thread(self._disk.remove, self.root / row.file)
        return problem

    async def mend(self, series: Iterable[Series]) -> bool:
        """Read all files of some series; True if one was damaged, which is written again when next asked for."""
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
        except StorageError as problem:  # a statement that must have it hears of it
            log.warning("not sealed series=%s problem=%s", series.name, problem)

    async def _look(self, name: str, layout: Layout) -> tuple[LakeTable, ...]:
        """The tables of a series, with what is not sealed of them."""
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
            cursor.begin()  # both tables at one moment: a record may move from one to the other
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
        """A name that no statement of this or of an earlier process has used."""
        self._copies += 1
        return f"{table}/unsealed.{os.getpid()}.{self._now():.6f}.{self._copies}.parquet"

    async def _columns(self, name: str, layout: Layout) -> tuple[LakeColumn, ...]:
        return lake_columns(layout, await self._tables.read(lambda cursor: keysets(cursor, name)))

    async def _compared(self, name: str, table: str, shape: str, time: str | None) -> _State:
        """What a table of the index holds beside what its files hold."""
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
        """Write the months that are not as they were; all files of the table, in the order of months.

        Stopped after a month if it may not go on: what is written stays, and counts.
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
        sha256, size = await asyncio.to_thread(digest_of, part)
        await asyncio.to_thread(self._settle, part, place)
        return Sealed(name, month, file, shape, held, size, sha256)

    async def _note(self, rows: Sequence[Sealed], before: Mapping[str, Sealed]) -> None:
        """Let new files count instead of those of ``before``: in one transaction, since much may wait for the one writer."""
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
        """Write what a SELECT gives; StorageError, and nothing is left, if the disk does not take it."""

        def work(cursor: Cursor) -> None:
            try:
                write_file(cursor.sql(select).to_arrow_reader(ROW_GROUP), part)
            except OSError as error:
                self._disk.remove(part)
                raise StorageError(f"cannot write {part}: {error}") from error

        await self._tables.read(work)

    async def _forget_old(self) -> None:
        """Remove the files that nothing names any more, once nobody can still be reading them."""
        named = {row.file for row in await self._tables.read(sealed)}
        await asyncio.to_thread(self._remove_unnamed, named, self._now() - OLD_FILES_STAY)

    async def _write_manifest(self) -> None:
        """Let the manifest name what counts now. Whoever comes last has read last, and says it for all before."""
        async with self._listing:
            rows = await self._tables.read(sealed)
            await asyncio.to_thread(self._write_text, self.root / MANIFEST, manifest(rows))
            if self._took < QUICK:
                await self._write_catalogue(rows)
            else:  # no statement waits for it: the next look does it
                self._listed = frozenset()

    async def _write_catalogue(self, rows: Iterable[Sealed]) -> None:
        """Let the catalogue name what counts now; within ``_listing``."""
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
        """Let another catalogue take the place of the one that is there; StorageError if it cannot be written."""
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
            os.fchmod(fd, 0o644)  # DuckDB opens for writing, unless it is told not to
            self._disk.sync(part, fd)
        finally:
            os.close(fd)
        self._disk.remove(place.with_name(f"{CATALOGUE}.wal"))  # of somebody who had the last one open
        self._disk.move(part, place)

    def _all_there(self, name: str) -> bool:
        """True if nobody took a file of a series away, or cut it: all that can be seen without reading it."""
        return self._are_there(self._ready[name])

    def _are_there(self, tables: Iterable[LakeTable]) -> bool:
        return all(self._is_there(file, self._sizes[file]) for table in tables for file in table.files)

    def _is_there(self, file: str, size: int) -> bool:
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
        """Let a file that was written last, and take its place."""
        fd = self._disk.open(part)
        try:
            self._disk.seal(part, fd)
        finally:
            os.close(fd)
        self._disk.move(part, place)

    def _replaced(self, file: Path) -> None:
        """Let the age of a file tell since when it is not needed any more."""
        with suppress(OSError):
            os.utime(file, (self._now(), self._now()))

    def _write_text(self, place: Path, text: str) -> None:
        self._disk.make_folder(place.parent)  # of tables without records nothing else was written
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
            with suppress(FileNotFoundError):  # another series is being sealed: what was there may be renamed
                if path.stat().st_mtime < before:
                    self._disk.remove(path)


def _parts(name: str, layout: Layout) -> list[tuple[str, str]]:
    """The two tables of a series, in the lake and in the index."""
    return [(name, layout.table), (f"{name}__old", layout.old_table)]
