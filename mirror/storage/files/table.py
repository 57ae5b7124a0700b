"""The rows of blobs, and of what refers to them; every function works inside the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.storage.disk import is_sha256
from mirror.wire.paths import UnitFile

if TYPE_CHECKING:
    from collections.abc import (
        Collection,
        Iterable,
        Mapping,
        Sequence,
    )

    from mirror.storage.database.database import Cursor

_COLUMNS = "sha256, size, kept_at, verified_at, last_used"
_PINNED = "SELECT sha256 FROM mirror.pins WHERE until IS NULL OR until > ?"
_ONE = "head = ? AND sha256 = ?"
_LINKS = " UNION ALL ".join(
    f"SELECT link, head, sha256 FROM mirror.{table} WHERE link IS NOT NULL"
    for table in ("holdings", "adopted")
)


def head(sha256: str) -> int:
    """The first digits of a hash as a number, by which a row among a million is found 50 times as fast as by text."""
    return int(sha256[:15], 16)


@dataclass(frozen=True, slots=True)
class Blob:
    """The content of a file in the store. Times are Unix seconds.

    ``verified_at`` is when its bytes were last verified against the hash, 0 if unknown.
    """

    sha256: str
    size: int
    kept_at: float
    verified_at: float
    last_used: float


@dataclass(frozen=True, slots=True)
class Lost:
    """A file whose content the store no longer has; ``record`` as (series, recnum, segment).

    ``disk`` is the first part of the path under which it was last seen. An adopted export belongs to no storage
    unit: its ``file`` is one of unit 0.
    """

    file: UnitFile
    record: tuple[str, int, str] | None
    link: str | None
    disk: str = "SUM0"

    @property
    def path(self) -> str:
        """Its path in the archive."""
        return self.file.path(self.disk)

    @property
    def in_archive(self) -> bool:
        """False for an adopted export, which the archive does not have."""
        return self.file.sunum > 0

    @property
    def name(self) -> str:
        """How to name it to people: its path in the archive, or whose export it is."""
        if self.in_archive or self.record is None:
            return self.path
        series, recnum, segment = self.record
        return f"the export of {series}[:#{recnum}]{{{segment}}}"


def all_blobs(cursor: Cursor) -> list[Blob]:
    """Every blob. A row whose hash is none names no file, and is passed over."""
    rows = cursor.execute(f"SELECT {_COLUMNS} FROM mirror.blobs").fetchall()
    return [Blob(*row) for row in rows if is_sha256(row[0])]


def find_blob(cursor: Cursor, sha256: str) -> Blob | None:
    """The blob of that hash."""
    if not is_sha256(sha256):
        return None
    sql = f"SELECT {_COLUMNS} FROM mirror.blobs WHERE {_ONE}"
    row = cursor.execute(sql, [head(sha256), sha256]).fetchone()
    return None if row is None else Blob(*row)


def find_blobs(cursor: Cursor, hashes: Iterable[str]) -> list[Blob]:
    """The blobs of those hashes, in any order."""
    wanted = [sha256 for sha256 in hashes if is_sha256(sha256)]
    sql = (
        f"SELECT {_COLUMNS} FROM mirror.blobs WHERE head IN (SELECT unnest(?::BIGINT[])) "
        "AND sha256 IN (SELECT unnest(?::VARCHAR[]))"
    )
    return [Blob(*row) for row in cursor.execute(sql, [list(map(head, wanted)), wanted]).fetchall()]


def put_blob(cursor: Cursor, blob: Blob) -> None:
    """Insert or replace the row of a blob."""
    key = [head(blob.sha256), blob.sha256]
    cursor.execute(f"DELETE FROM mirror.blobs WHERE {_ONE}", key)
    row = [*key, blob.size, blob.kept_at, blob.verified_at, blob.last_used]
    cursor.execute(f"INSERT INTO mirror.blobs (head, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", row)


def set_verified(cursor: Cursor, sha256: str, at: float) -> None:
    """Note that the blob was verified."""
    cursor.execute(f"UPDATE mirror.blobs SET verified_at = ? WHERE {_ONE}", [at, head(sha256), sha256])


def set_all_verified(cursor: Cursor, hashes: Collection[str], at: float) -> None:
    """Note that these blobs were verified."""
    sql = (
        "UPDATE mirror.blobs SET verified_at = ? FROM (SELECT unnest(?::BIGINT[]) AS head, "
        "unnest(?::VARCHAR[]) AS sha256) seen WHERE blobs.head = seen.head AND blobs.sha256 = seen.sha256"
    )
    cursor.execute(sql, [at, list(map(head, hashes)), list(hashes)])


def set_used(cursor: Cursor, used: Mapping[str, float]) -> None:
    """Write down when blobs were last used, by hash."""
    sql = (
        "UPDATE mirror.blobs SET last_used = greatest(last_used, seen.at) "
        "FROM (SELECT unnest(?::BIGINT[]) AS head, unnest(?::VARCHAR[]) AS sha256, unnest(?::DOUBLE[]) AS at) seen "
        "WHERE blobs.head = seen.head AND blobs.sha256 = seen.sha256"
    )
    cursor.execute(sql, [list(map(head, used)), list(used), list(used.values())])


def date_back(cursor: Cursor, now: float) -> None:
    """Set uses that are dated after ``now`` to ``now``: a clock was wrong, and such blobs would be the last to go."""
    cursor.execute("UPDATE mirror.blobs SET last_used = ? WHERE last_used > ?", [now, now])


def oldest_checked(cursor: Cursor, n: int) -> list[Blob]:
    """The ``n`` blobs with the oldest checks."""
    sql = f"SELECT {_COLUMNS} FROM mirror.blobs ORDER BY verified_at, sha256 LIMIT ?"
    return [Blob(*row) for row in cursor.execute(sql, [n]).fetchall()]


def due_blobs(cursor: Cursor, before: float, now: float, n: int) -> list[Blob]:
    """The ``n`` blobs with the oldest checks, if these were before ``before``, or in the future."""
    sql = f"SELECT {_COLUMNS} FROM mirror.blobs WHERE verified_at < ? OR verified_at > ? ORDER BY verified_at, sha256 LIMIT ?"
    return [Blob(*row) for row in cursor.execute(sql, [before, now, n]).fetchall()]


def evictable(cursor: Cursor, need: int, *, spare: Collection[str], now: float) -> list[Blob]:
    """The fewest blobs that free ``need`` bytes: first those that nothing refers to, then those that are also
    among the objects of a cluster, then by last use.

    Never what is pinned or in ``spare``. Their sizes add up to less than ``need`` if there is no more.
    """
    sql = f"""
        WITH referred AS (
            SELECT head FROM mirror.holdings
            UNION ALL SELECT head FROM mirror.adopted
            UNION ALL SELECT head FROM mirror.plain_files
            UNION ALL SELECT head FROM (SELECT TRY_CAST('0x' || sha256[:15] AS BIGINT) AS head FROM mirror.job_files) WHERE head IS NOT NULL
        ), free AS (
            SELECT *, head IN (SELECT head FROM referred) AS wanted,
            head IN (SELECT head FROM mirror.shared_files) AS shared FROM mirror.blobs
            WHERE sha256 NOT IN ({_PINNED})
            AND sha256 NOT IN (SELECT unnest(?::VARCHAR[]))
        ), ranked AS (
            SELECT *, sum(size) OVER (ORDER BY wanted, NOT shared, last_used, sha256 ROWS UNBOUNDED PRECEDING) AS upto
            FROM free
        )
        SELECT {_COLUMNS} FROM ranked WHERE upto - size < ? ORDER BY upto, sha256
    """
    return [Blob(*row) for row in cursor.execute(sql, [now, list(spare), need]).fetchall()]


def forget(cursor: Cursor, hashes: Iterable[str]) -> list[Lost]:
    """Delete the rows of blobs and of their holdings; pins stay, in case the content comes back."""
    wanted = "head IN (SELECT unnest(?::BIGINT[])) AND sha256 IN (SELECT unnest(?::VARCHAR[]))"
    gone = list(hashes)
    keys = [list(map(head, gone)), gone]
    found = lost_files(cursor, wanted, keys) + lost_exports(cursor, wanted, keys)
    for table in ("holdings", "adopted", "plain_files", "shared_files", "blobs"):
        cursor.execute(f"DELETE FROM mirror.{table} WHERE {wanted}", keys)
    listed = "sha256 IN (SELECT unnest(?::VARCHAR[]))"
    cursor.execute(f"UPDATE mirror.job_files SET sha256 = NULL, size = NULL WHERE {listed}", [gone])
    return found


def lost_files(cursor: Cursor, where: str, values: Sequence[object] = ()) -> list[Lost]:
    """The holdings that satisfy a condition, as what is lost if they go."""
    sql = f"SELECT sunum, slot, file, series, recnum, segment, link, disk FROM mirror.holdings WHERE {where}"
    rows = cursor.execute(sql, list(values)).fetchall()
    return [Lost(UnitFile(*row[:3]), None if row[3] is None else (*row[3:6],), *row[6:]) for row in rows]


def lost_exports(cursor: Cursor, where: str, values: Sequence[object] = ()) -> list[Lost]:
    """The adopted exports that satisfy a condition, as what is lost if they go."""
    sql = f"SELECT series, recnum, segment, name, link FROM mirror.adopted WHERE {where}"
    rows = cursor.execute(sql, list(values)).fetchall()
    return [Lost(UnitFile(0, 0, row[3]), (*row[:3],), row[4]) for row in rows]


def pinned_now(cursor: Cursor, now: float) -> set[str]:
    """The hashes that are pinned now."""
    return {row[0] for row in cursor.execute(_PINNED, [now]).fetchall()}


def forget_unpinned(cursor: Cursor, hashes: Iterable[str], now: float) -> tuple[list[str], list[Lost]]:
    """As ``forget``, except for what is pinned by now; the hashes that went, and what is lost by it.

    What somebody else has forgotten since it was planned does not go once more.
    """
    pinned = pinned_now(cursor, now)
    gone = [blob.sha256 for blob in find_blobs(cursor, hashes) if blob.sha256 not in pinned]
    return gone, forget(cursor, gone)


def drop_old_pins(cursor: Cursor, now: float) -> None:
    """Delete expired pins."""
    cursor.execute("DELETE FROM mirror.pins WHERE until <= ?", [now])


def put_quarantine(cursor: Cursor, sha256: str, reason: str, at: float) -> None:
    """Note that a blob was found to be damaged."""
    cursor.execute("INSERT INTO mirror.quarantine VALUES (?, ?, ?)", [sha256, reason, at])


def links_of(cursor: Cursor, sha256: str) -> list[str]:
    """The names of a blob in the readable tree."""
    sql = f"SELECT link FROM ({_LINKS}) WHERE {_ONE}"
    return [row[0] for row in cursor.execute(sql, [head(sha256), sha256]).fetchall()]


def holding_links(cursor: Cursor) -> dict[str, str]:
    """The blob that each name in the readable tree stands for; rows whose hash is none name no blob."""
    rows = cursor.execute(f"SELECT link, sha256 FROM ({_LINKS})").fetchall()
    return {link: sha256 for link, sha256 in rows if is_sha256(sha256)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of checking a blob. With a ``problem`` it is in quarantine, and these files are ``lost``."""

    blob: Blob
    problem: str | None
    lost: tuple[Lost, ...] = ()
