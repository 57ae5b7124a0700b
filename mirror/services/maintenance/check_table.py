"""The rows of checks: how far each is, what it found, and how much was read on which day."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Literal

from mirror.storage.database.database import Tables
from mirror.storage.index.catalogue_check import save, unreadable_tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.storage.database.database import Cursor, Database

Scope = Literal["files", "index", "all"]
#: repaired: all is well again. quarantined: taken out of use, and JSOC does not have it either, or is away.
#: missing: not claimed to be held any more, and not fetched again yet.
#: open: somebody has to do something. harmless: worth a line, no more.
Outcome = Literal["repaired", "quarantined", "missing", "open", "harmless"]

_RUN = "id, scope, background, started_at, ended_at, step, place, files, bytes, records"
#: Checks whose findings are kept.
_KEPT = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was not as it should be: what kind of thing, where, what was wrong, what was done."""

    kind: str
    place: str
    problem: str
    outcome: Outcome
    action: str


@dataclass(frozen=True, slots=True)
class Run:
    """A check: ``step`` is under way, up to ``place`` in it; counts are of what was looked at."""

    id: int
    scope: Scope
    background: bool
    started_at: float
    ended_at: float | None
    step: str
    place: str
    files: int = 0
    bytes: int = 0
    records: int = 0


class CheckTable:
    """The checks of a store."""

    def __init__(self, database: Database) -> None:
        self._tables = Tables(database)

    async def make_readable(self) -> None:
        """Leave behind what cannot be read of earlier checks, so that another one can be made."""
        bad = await self._tables.read(unreadable_tables)
        for name in {"checks", "findings", "checked_days"} & set(bad):
            await save(self._tables, name)

    async def begin(self, scope: Scope, at: float, *, background: bool, step: str) -> Run:
        """A new check; unfinished ones of the same scope are given up."""

        def work(cursor: Cursor) -> Run:
            row = cursor.execute("SELECT coalesce(max(id), 0) FROM mirror.checks").fetchone()
            run = Run((row[0] if row else 0) + 1, scope, background, at, None, step, "")
            same = "ended_at IS NULL AND scope = ? AND background = ?"
            cursor.execute(f"DELETE FROM mirror.checks WHERE {same}", [scope, background])
            _put(cursor, run)
            _drop_old(cursor, run.id - _KEPT)
            return run

        return await self._tables.write(work)

    async def unfinished(self, scope: Scope, *, background: bool) -> Run | None:
        """The check of this scope that did not come to its end."""
        where = "ended_at IS NULL AND scope = ? AND background = ?"
        return await self._one(where, [scope, background])

    async def last(self, *, background: bool | None = None) -> Run | None:
        """The check that was begun last, of those in the background or not, or of all."""
        return await self._one("background = ? OR ? IS NULL", [background, background])

    async def note(self, run: Run, findings: Iterable[Finding], at: float, *, day: str, read: int) -> None:
        """Write down how far a check is, with what it found since; background checks count ``read`` bytes on ``day``."""
        found = list(findings)

        def work(cursor: Cursor) -> None:
            cursor.execute("DELETE FROM mirror.checks WHERE id = ?", [run.id])
            _put(cursor, run)
            for finding in found:
                row = [run.id, at, *astuple(finding)]
                cursor.execute("INSERT INTO mirror.findings VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            if run.background and read:
                _count(cursor, day, read)

        await self._tables.write(work)

    async def findings(self, run: int) -> list[Finding]:
        """What a check found, oldest first."""
        sql = "SELECT kind, place, problem, outcome, action FROM mirror.findings WHERE run = ? ORDER BY found_at, rowid"
        rows = await self._tables.read(lambda c: c.execute(sql, [run]).fetchall())
        return [Finding(*row) for row in rows]

    async def spent(self, day: str) -> int:
        """Bytes that background checks have read on a day."""
        sql = "SELECT coalesce(sum(bytes), 0)::BIGINT FROM mirror.checked_days WHERE day = ?"
        row = await self._tables.read(lambda c: c.execute(sql, [day]).fetchone())
        return row[0] if row else 0

    async def _one(self, where: str, values: list[object]) -> Run | None:
        sql = f"SELECT {_RUN} FROM mirror.checks WHERE {where} ORDER BY id DESC LIMIT 1"
        row = await self._tables.read(lambda c: c.execute(sql, values).fetchone())
        return None if row is None else Run(*row)


def _put(cursor: Cursor, run: Run) -> None:
    cursor.execute("INSERT INTO mirror.checks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", list(astuple(run)))


def _drop_old(cursor: Cursor, newest: int) -> None:
    cursor.execute("DELETE FROM mirror.checks WHERE id <= ?", [newest])
    cursor.execute("DELETE FROM mirror.findings WHERE run NOT IN (SELECT id FROM mirror.checks)")


def _count(cursor: Cursor, day: str, read: int) -> None:
    """One row for the day; older days are over."""
    row = cursor.execute("SELECT sum(bytes) FROM mirror.checked_days WHERE day = ?", [day]).fetchone()
    before = int(row[0]) if row and row[0] else 0
    cursor.execute("DELETE FROM mirror.checked_days")
    cursor.execute("INSERT INTO mirror.checked_days VALUES (?, ?)", [day, before + read])
