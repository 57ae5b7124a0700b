"""The parts of jobs that are too large for one request upstream; rows that a restart goes on from.

Like jobs: the store does not know what a part is about but for the numbers of its records, and what
became of it is JSON text of whoever made it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.storage.database.database import Tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mirror.storage.database.database import Cursor, Database

_PART = "position, recnums, upstream_id, tar, files"


@dataclass(frozen=True, slots=True)
class JobPart:
    """Some records of a job, asked for together.

    ``upstream_id`` is None until upstream has accepted it, ``tar`` the hash of the tar file that it ended
    in, if it did; ``files`` is None until it is done.
    """

    position: int
    recnums: tuple[int, ...]
    upstream_id: str | None = None
    tar: str | None = None
    files: str | None = None

    @property
    def done(self) -> bool:
        return self.files is not None


class JobParts:
    """The parts of the jobs of a store."""

    def __init__(self, database: Database) -> None:
        self._tables = Tables(database)

    async def of(self, job_id: str) -> list[JobPart]:
        """The parts of a job, in order; none for one that is not divided."""
        sql = f"SELECT {_PART} FROM mirror.job_parts WHERE job = ? ORDER BY position"
        rows = await self._tables.read(lambda c: c.execute(sql, [job_id]).fetchall())
        return [JobPart(at, tuple(json.loads(recnums)), *rest) for at, recnums, *rest in rows]

    async def progress(self, job_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
        """How many parts of these jobs are done, of how many; without those that are not divided."""
        sql = (
            "SELECT job, count(files), count(*) FROM mirror.job_parts "
            "WHERE job IN (SELECT unnest(?::VARCHAR[])) GROUP BY job"
        )
        rows = await self._tables.read(lambda c: c.execute(sql, [list(job_ids)]).fetchall())
        return {job: (done, total) for job, done, total in rows}

    async def divide(self, job_id: str, parts: Sequence[Sequence[int]]) -> list[JobPart]:
        """Divide what is not done of a job into these parts, after those that are; all parts, in order."""

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM mirror.job_parts WHERE job = ? AND files IS NULL", [job_id])
            sql = "SELECT coalesce(max(position) + 1, 0) FROM mirror.job_parts WHERE job = ?"
            row = cursor.execute(sql, [job_id]).fetchone()
            first = row[0] if row else 0
            for at, recnums in enumerate(parts, first):
                sql = "INSERT INTO mirror.job_parts (job, position, recnums) VALUES (?, ?, ?)"
                cursor.execute(sql, [job_id, at, json.dumps(list(recnums))])

        await self._tables.write(work)
        return await self.of(job_id)

    async def accepted(self, job_id: str, part: JobPart, upstream_id: str) -> None:
        """Upstream works on a part."""
        await self._set(job_id, part, "upstream_id", upstream_id)

    async def packed(self, job_id: str, part: JobPart, tar: str) -> None:
        """The tar file of a part is in the store."""
        await self._set(job_id, part, "tar", tar)

    async def done(self, job_id: str, part: JobPart, files: str) -> None:
        """A part is done; ``files`` is JSON."""
        await self._set(job_id, part, "files", files)

    async def _set(self, job_id: str, part: JobPart, column: str, value: str) -> None:
        sql = f"UPDATE mirror.job_parts SET {column} = ? WHERE job = ? AND position = ?"
        await self._tables.write(lambda c: c.execute(sql, [value, job_id, part.position]))
