"""The tables of data sets: what each consists of, and the records that they keep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mirror.errors import Refused, StorageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from mirror.storage.database.database import Cursor, Database

#: Whose pins its files have.
OWNER = "dataset:"


@dataclass(frozen=True, slots=True)
class KeptFile:
    """The file of a segment of a record, and where it lies at JSOC."""

    series: str
    recnum: int
    segment: str
    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A record with the hash of its values."""

    series: str
    recnum: int
    record: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Contents:
    """A data set: what it was made from, and what it keeps. ``keywords`` are those that are hashed."""

    name: str
    title: str
    created: float
    software: str
    ds: tuple[str, ...]
    sql: str | None
    keywords: Mapping[str, tuple[str, ...]]
    records: tuple[KeptRecord, ...]
    files: tuple[KeptFile, ...]

    @property
    def sha256(self) -> str:
        """Equal for equal records and files, whatever the data set is called and whatever their order."""
        lines = [f"{r.series.lower()} {r.recnum} {r.sha256}\n" for r in self.records]
        lines += [f"{f.series.lower()} {f.recnum} {f.segment.lower()} {f.sha256}\n" for f in self.files]
        return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Summary:
    """A data set as lists show it."""

    name: str
    title: str
    created: float
    records: int
    files: int
    bytes: int
    sha256: str


class DatasetTable:
    """The data sets of a store. No two names differ in case only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[Summary]:
        """All of them, newest first."""
        rows = await self._database.read(lambda cursor: cursor.execute(_SUMMARY).fetchall())
        return [Summary(*row) for row in rows]

    async def find(self, name: str) -> Contents | None:
        """A data set with all that it keeps; None if there is none of that name."""
        return await self._database.read(lambda cursor: _found(cursor, name))

    async def add(self, made: Contents) -> None:
        """Store a data set, and pin its files. Refused if the name is taken.

        StorageError if a file has left the store meanwhile: nothing is written then.
        """
        hashes = list(dict.fromkeys(file.sha256 for file in made.files))

        def work(cursor: Cursor) -> None:
            if _found(cursor, made.name) is not None:
                raise Refused(taken(made.name))
            held = cursor.execute("SELECT count(*) FROM mirror.blobs WHERE sha256 IN (SELECT unnest(?::VARCHAR[]))", [hashes])
            if held.fetchall()[0][0] < len(hashes):
                raise StorageError("files of the data set left the store while it was made: is the quota too small?")
            _write(cursor, made)
            sql = "INSERT INTO mirror.pins SELECT unnest(?::VARCHAR[]), ?, ?, ?, NULL"
            cursor.execute(sql, [hashes, OWNER + made.name, f"data set {made.name}", made.created])

        await self._database.write(work)

    async def remove(self, name: str) -> None:
        """Remove a data set of exactly that name, and its pins."""

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM mirror.datasets WHERE name = ?", [name])
            for table in ("dataset_records", "dataset_files"):
                cursor.execute(f"DELETE FROM mirror.{table} WHERE dataset = ?", [name])
            cursor.execute("DELETE FROM mirror.pins WHERE owner = ?", [OWNER + name])

        await self._database.write(work)

    async def keeping(self, series: str, recnums: Collection[int] | None) -> dict[str, frozenset[int]]:
        """The records that data sets keep, of these records of a series or of all, by the names of the sets."""
        sql = "SELECT dataset, recnum FROM mirror.dataset_records WHERE lower(series) = ?"
        rows = await self._database.read(lambda cursor: cursor.execute(sql, [series.lower()]).fetchall())
        found: dict[str, set[int]] = {}
        for name, recnum in rows:
            if recnums is None or recnum in recnums:
                found.setdefault(name, set()).add(recnum)
        return {name: frozenset(numbers) for name, numbers in found.items()}


def taken(name: str) -> str:
    """What is told who wants a name that another data set has."""
    return f"there is a data set {name} already; expected another name, or `mirror dataset delete {name}` first"


_SUMMARY = """
    SELECT name, title, created, (SELECT count(*) FROM mirror.dataset_records WHERE dataset = name),
        (SELECT count(*) FROM mirror.dataset_files WHERE dataset = name),
        (SELECT coalesce(sum(size), 0)::BIGINT FROM mirror.dataset_files WHERE dataset = name), sha256
    FROM mirror.datasets ORDER BY created DESC, name
"""


def _found(cursor: Cursor, name: str) -> Contents | None:
    sql = "SELECT name, title, created, software, statement, keywords FROM mirror.datasets WHERE lower(name) = lower(?)"
    row = cursor.execute(sql, [name]).fetchone()
    if row is None:
        return None
    name, title, created, software, statement, keywords = row
    asked, named = _objects(name, statement, keywords)
    records = "SELECT series, recnum, record, sha256 FROM mirror.dataset_records WHERE dataset = ? ORDER BY position"
    files = (
        "SELECT series, recnum, segment, path, size, sha256 FROM mirror.dataset_files WHERE dataset = ? "
        "ORDER BY series, recnum, segment"
    )
    return Contents(
        name, title, created, software, tuple(asked.get("ds", ())), asked.get("sql"),
        {series: tuple(names) for series, names in named.items()},
        tuple(KeptRecord(*r) for r in cursor.execute(records, [name]).fetchall()),
        tuple(KeptFile(*f) for f in cursor.execute(files, [name]).fetchall()),
    )  # fmt: skip


def _objects(name: str, *texts: str) -> list[dict[str, Any]]:
    """The JSON objects of a data set's row; StorageError for what is damaged, or of a newer version."""
    found: list[dict[str, Any]] = []
    for text in texts:
        try:
            value = json.loads(text)
        except ValueError as problem:
            raise StorageError(f"data set {name} cannot be read: {problem}") from problem
        if not isinstance(value, dict) or not all(isinstance(each, list | str) for each in value.values()):
            raise StorageError(f"data set {name} cannot be read: its row has {text[:80]!r}; expected a JSON object of lists")
        found.append(value)
    return found


def _write(cursor: Cursor, made: Contents) -> None:
    statement = {"ds": made.ds} if made.sql is None else {"sql": made.sql}
    values = [made.name, made.title, made.created, made.software, json.dumps(statement), json.dumps(made.keywords), made.sha256]
    cursor.execute("INSERT INTO mirror.datasets VALUES (?, ?, ?, ?, ?, ?, ?)", values)
    _insert(
        cursor, "dataset_records", made.name, ("INTEGER", "VARCHAR", "BIGINT", "VARCHAR", "VARCHAR"),
        ((place, r.series, r.recnum, r.record, r.sha256) for place, r in enumerate(made.records)),
    )  # fmt: skip
    _insert(
        cursor, "dataset_files", made.name, ("VARCHAR", "BIGINT", "VARCHAR", "VARCHAR", "BIGINT", "VARCHAR"),
        ((f.series, f.recnum, f.segment, f.path, f.size, f.sha256) for f in made.files),
    )  # fmt: skip


def _insert(cursor: Cursor, table: str, name: str, types: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    columns = list(map(list, zip(*rows, strict=True)))
    if columns:
        lists = ", ".join(f"unnest(?::{kind}[])" for kind in types)
        cursor.execute(f"INSERT INTO mirror.{table} SELECT ?, {lists}", [name, *columns])
