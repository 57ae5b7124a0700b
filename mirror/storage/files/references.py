"""What refers to blobs: holdings, adopted exports, files of jobs, pins. Finding and mending what cannot be, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.storage.files.table import lost_exports, lost_files

if TYPE_CHECKING:
    from mirror.storage.database.database import Cursor
    from mirror.storage.files.table import Lost

_NO_BLOB = "sha256 NOT IN (SELECT sha256 FROM mirror.blobs)"
_NO_HASH = "NOT regexp_full_match(sha256, '[0-9a-f]{64}')"
_HEAD = "TRY_CAST('0x' || sha256[:15] AS BIGINT)"


@dataclass(frozen=True, slots=True)
class Reference:
    """A row that was mended: what kind, which, what was wrong; with what is no longer held by it."""

    kind: str
    place: str
    problem: str
    lost: Lost | None = None


def mend_references(cursor: Cursor) -> list[Reference]:
    """Mend all of it; what was found. The most part of a second for a million rows."""
    return [*_blobs(cursor), *_holdings(cursor), *_jobs(cursor), *_pins(cursor)]


def _blobs(cursor: Cursor) -> list[Reference]:
    found = [
        Reference("file", sha256, "its row names no hash; the row was removed")
        for (sha256,) in cursor.execute(f"SELECT sha256 FROM mirror.blobs WHERE {_NO_HASH}").fetchall()
    ]
    cursor.execute(f"DELETE FROM mirror.blobs WHERE {_NO_HASH}")
    twice = "SELECT sha256 FROM mirror.blobs GROUP BY sha256 HAVING count(*) > 1"
    for (sha256,) in cursor.execute(twice).fetchall():
        keep = "SELECT max(rowid) FROM mirror.blobs WHERE sha256 = ?"
        cursor.execute(f"DELETE FROM mirror.blobs WHERE sha256 = ? AND rowid < ({keep})", [sha256, sha256])
        found.append(Reference("file", sha256, "it had more than one row; one was kept"))
    for table in ("blobs", "holdings", "adopted"):
        wrong = f"{'FALSE' if table == 'blobs' else _NO_HASH} OR head <> {_HEAD}"
        rows = cursor.execute(
            f"SELECT DISTINCT sha256 FROM mirror.{table} WHERE NOT ({_NO_HASH}) AND ({wrong})"
        )
        hashes = [row[0] for row in rows.fetchall()]
        found += [Reference("file", s, f"its number in {table} was wrong; it was set right") for s in hashes]
        if hashes:
            cursor.execute(
                f"UPDATE mirror.{table} SET head = {_HEAD} WHERE list_contains(?, sha256)", [hashes]
            )
    return found


def _holdings(cursor: Cursor) -> list[Reference]:
    lost = lost_files(cursor, _NO_BLOB) + lost_exports(cursor, _NO_BLOB)
    for table in ("holdings", "adopted"):
        cursor.execute(f"DELETE FROM mirror.{table} WHERE {_NO_BLOB}")
    return [Reference("holding", _named(x), "it refers to a file that is not in the store", x) for x in lost]


def _jobs(cursor: Cursor) -> list[Reference]:
    lost = f"sha256 IS NOT NULL AND {_NO_BLOB}"
    rows = cursor.execute(f"SELECT job, name FROM mirror.job_files WHERE {lost}").fetchall()
    cursor.execute(f"UPDATE mirror.job_files SET sha256 = NULL, size = NULL WHERE {lost}")
    found = [
        Reference("export file", f"{job}/{name}", "it refers to a file that is not in the store")
        for job, name in rows
    ]
    orphaned = "job NOT IN (SELECT id FROM mirror.jobs)"
    rows = cursor.execute(
        f"SELECT job, count(*) FROM mirror.job_files WHERE {orphaned} GROUP BY job"
    ).fetchall()
    cursor.execute(f"DELETE FROM mirror.job_files WHERE {orphaned}")
    return found + [
        Reference("export file", job, f"{n} files of an export that is not there") for job, n in rows
    ]


def _pins(cursor: Cursor) -> list[Reference]:
    rows = cursor.execute(f"SELECT owner, sha256 FROM mirror.pins WHERE {_NO_HASH}").fetchall()
    cursor.execute(f"DELETE FROM mirror.pins WHERE {_NO_HASH}")
    return [Reference("pin", owner, f"it names {sha256[:80]!r}, which is no hash") for owner, sha256 in rows]


def _named(lost: Lost) -> str:
    if not lost.in_archive:
        return lost.name
    if lost.record is None:
        return f"D{lost.file.sunum}/S{lost.file.slot:05d}/{lost.file.file}"
    series, recnum, segment = lost.record
    return f"{series}[:#{recnum}]{{{segment}}}"
