"""Which files of storage units are among the cluster's objects: the tables ``units`` and ``unit_records``, and what a server knows of them.

A row means that a content was put completely, under its name, before the row was written. The first row of a file
counts; the content of a file of a storage unit never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.storage.database.database import Tables
from mirror.storage.files.holdings import Holding, RecordSegment
from mirror.storage.files.table import Blob, head
from mirror.wire.paths import UnitFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from mirror.cluster.database import ClusterDatabase
    from mirror.storage.database.database import Cursor, Database

#: The first half of the advisory lock of a file being fetched; the second is a hash of its path.
UNITS = 0x6A736F10
#: Rows that are read at a time.
PAGE = 10_000
_COLUMNS = "sunum, slot, file, disk, sha256, size"
_WANTED = "SELECT * FROM unnest(%s::BIGINT[], %s::INT[], %s::TEXT[]) AS wanted (sunum, slot, file)"


def blob_key(sha256: str) -> str:
    """The key of a content among the objects."""
    return f"blobs/{sha256[:2]}/{sha256}"


@dataclass(frozen=True, slots=True)
class Unit:
    """A file of a storage unit among the objects."""

    file: UnitFile
    disk: str
    sha256: str
    size: int

    @property
    def key(self) -> str:
        """The key of its content."""
        return blob_key(self.sha256)

    @property
    def path(self) -> str:
        """Its path in the archive."""
        return self.file.path(self.disk)


class Units:
    """The rows in the cluster's database. All raise ClusterAway while that cannot be reached."""

    def __init__(self, database: ClusterDatabase) -> None:
        self._database = database

    async def find(self, file: UnitFile) -> Unit | None:
        """The row of a file."""
        return (await self.find_all([file])).get(file)

    async def find_all(self, files: Iterable[UnitFile]) -> dict[UnitFile, Unit]:
        """The rows of those files that have one."""
        sql = f"SELECT {_COLUMNS} FROM units JOIN ({_WANTED}) wanted USING (sunum, slot, file)"
        return {unit.file: unit for unit in await self._select(sql, _arrays(files))}

    async def of_records(self, records: Sequence[RecordSegment]) -> dict[RecordSegment, Unit]:
        """The files of those segments of records that have one."""
        sql = (
            f"SELECT {_COLUMNS}, series, recnum, segment FROM unit_records JOIN units USING (sunum, slot, file) "
            "WHERE (series, recnum, segment) IN (SELECT * FROM unnest(%s::TEXT[], %s::BIGINT[], %s::TEXT[]))"
        )
        values = ([r.series for r in records], [r.recnum for r in records], [r.segment for r in records])
        async with self._database.transaction() as cursor:
            rows = await (await cursor.execute(sql, values)).fetchall()
        return {RecordSegment(*row[6:]): _unit(row[:6]) for row in rows}

    async def put(self, unit: Unit, record: RecordSegment | None) -> Unit:
        """Write the row of a file whose object exists; the row then, which may be an earlier one with other bytes."""
        async with self._database.transaction() as cursor:
            await cursor.execute(
                f"INSERT INTO units ({_COLUMNS}, server) VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (*_key(unit.file), unit.disk, unit.sha256, unit.size, self._database.name),
            )
            if record is not None:
                await cursor.execute(
                    "INSERT INTO unit_records VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                    (record.series, record.recnum, record.segment, *_key(unit.file)),
                )
            sql = f"SELECT {_COLUMNS} FROM units WHERE (sunum, slot, file) = (%s, %s, %s)"
            row = await (await cursor.execute(sql, _key(unit.file))).fetchone()
        return unit if row is None else _unit(row)

    async def drop(self, sha256: str) -> list[Unit]:
        """Delete the rows of all files with a content that is no longer among the objects."""
        return await self._select(f"DELETE FROM units WHERE sha256 = %s RETURNING {_COLUMNS}", (sha256,))

    async def lacking(self, files: Sequence[tuple[UnitFile, str]]) -> list[tuple[UnitFile, str]]:
        """Those of these files, each with its sha256, that have no row of that content."""
        there = await self.find_all(file for file, _ in files)
        return [(file, sha256) for file, sha256 in files if file not in there or there[file].sha256 != sha256]

    async def pages(self, prefix: str) -> AsyncIterator[list[tuple[str, int]]]:
        """The contents, as sha256 and size, whose sha256 begins with ``prefix``, in order."""
        after = ""
        sql = (
            "SELECT DISTINCT sha256, size FROM units WHERE sha256 LIKE %s AND sha256 > %s ORDER BY sha256 LIMIT %s"
        )
        while True:
            async with self._database.transaction() as cursor:
                rows = await (await cursor.execute(sql, (f"{prefix}%", after, PAGE))).fetchall()
            if not rows:
                return
            yield [(sha256, size) for sha256, size in rows]
            after = rows[-1][0]

    async def totals(self) -> tuple[int, int]:
        """The number of contents, and their bytes."""
        sql = "SELECT count(*), coalesce(sum(size), 0) FROM (SELECT DISTINCT sha256, size FROM units) contents"
        async with self._database.transaction() as cursor:
            row = await (await cursor.execute(sql)).fetchone()
        return (0, 0) if row is None else (int(row[0]), int(row[1]))

    # ---- who fetches -----------------------------------------------------------------------------

    async def lock(self, file: UnitFile) -> bool:
        """Become the server that fetches a file, until ``unlock`` or the end of the session; False if another is."""
        return await self._database.lock("%s, hashtext(%s)", (UNITS, str(file)))

    async def unlock(self, file: UnitFile) -> None:
        """Let others fetch it."""
        await self._database.on_session("SELECT pg_advisory_unlock(%s, hashtext(%s))", (UNITS, str(file)))

    async def _select(self, sql: str, values: Sequence[object]) -> list[Unit]:
        async with self._database.transaction() as cursor:
            return [_unit(row) for row in await (await cursor.execute(sql.encode(), values)).fetchall()]


def _key(file: UnitFile) -> tuple[int, int, str]:
    return file.sunum, file.slot, file.file


def _arrays(files: Iterable[UnitFile]) -> tuple[list[int], list[int], list[str]]:
    wanted = list(files)
    return [f.sunum for f in wanted], [f.slot for f in wanted], [f.file for f in wanted]


def _unit(row: Sequence[object]) -> Unit:
    sunum, slot, file, disk, sha256, size = row
    return Unit(UnitFile(sunum, slot, file), disk, sha256, size)  # type: ignore[arg-type]


# ---- what this server knows ------------------------------------------------------------------------


class KnownUnits:
    """``mirror.shared_files``: the files of this store that are known to lie beside the objects."""

    def __init__(self, database: Database) -> None:
        self._tables = Tables(database)

    async def put(self, file: UnitFile, sha256: str) -> None:
        """It does."""
        row = [file.sunum, file.slot, file.file, head(sha256), sha256]

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM mirror.shared_files WHERE sunum = ? AND slot = ? AND file = ?", row[:3])
            cursor.execute("INSERT INTO mirror.shared_files VALUES (?, ?, ?, ?, ?)", row)

        await self._tables.write(work)

    async def drop(self, sha256: str) -> None:
        """The content does not."""
        key = [head(sha256), sha256]
        await self._tables.write(
            lambda c: c.execute("DELETE FROM mirror.shared_files WHERE head = ? AND sha256 = ?", key)
        )

    async def lacking(self, n: int, but: set[UnitFile]) -> list[Holding]:
        """Files that are held and not known to be there: ``n`` of them at most, none of ``but``."""
        sql = (
            "SELECT h.sunum, h.slot, h.file, h.disk, h.series, h.recnum, h.segment, "
            "b.sha256, b.size, b.kept_at, b.verified_at, b.last_used "
            "FROM mirror.holdings h JOIN mirror.blobs b ON h.head = b.head AND h.sha256 = b.sha256 "
            "WHERE h.sunum > 0 AND NOT EXISTS (SELECT 1 FROM mirror.shared_files s WHERE s.sunum = h.sunum "
            "AND s.slot = h.slot AND s.file = h.file AND s.sha256 = h.sha256) LIMIT ?"
        )
        rows = await self._tables.read(lambda c: c.execute(sql, [n + len(but)]).fetchall())
        found = [_holding(row) for row in rows]
        return [holding for holding in found if holding.file not in but][:n]

    async def pages(self) -> AsyncIterator[list[tuple[UnitFile, str]]]:
        """All of them, each with its sha256."""
        after: list[object] = [-1, -1, ""]
        sql = (
            "SELECT sunum, slot, file, sha256 FROM mirror.shared_files WHERE (sunum, slot, file) > (?, ?, ?) "
            "ORDER BY sunum, slot, file LIMIT ?"
        )
        while True:
            place = list(after)
            rows = await self._tables.read(lambda c, p=place: c.execute(sql, [*p, PAGE]).fetchall())  # type: ignore[misc]
            if not rows:
                return
            yield [(UnitFile(*row[:3]), row[3]) for row in rows]
            after = list(rows[-1][:3])


def _holding(row: Sequence[object]) -> Holding:
    sunum, slot, file, disk, series, recnum, segment, *blob = row
    record = None if series is None else RecordSegment(series, recnum, segment)  # type: ignore[arg-type]
    return Holding(UnitFile(sunum, slot, file), disk, record, None, Blob(*blob))  # type: ignore[arg-type]
