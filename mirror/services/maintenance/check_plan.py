"""How a check of the store proceeds: its steps, its progress, how much it may read; and the rows of checks.

A check is a sequence of steps, and each step goes from place to place. Progress is stored after each piece of work, so
a check that is stopped or killed resumes there. The rows also have what each check found, and how much was read per
day.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from mirror.storage.database.database import Tables
from mirror.storage.index.salvage import save, unreadable_tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.storage.database.database import Cursor, Database


Scope = Literal["files", "index", "all"]
#: repaired: nothing is wrong any more. quarantined: taken out of use, and JSOC does not have it either, or is away.
#: missing: no longer claimed to be cached, and not fetched again yet.
#: open: somebody has to act. harmless: worth a line, no more.
Outcome = Literal["repaired", "quarantined", "missing", "open", "harmless"]

_RUN = "id, scope, background, started_at, ended_at, step, place, files, bytes, records"
#: Checks whose findings are kept.
_KEPT = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was wrong: its kind, where it was, what was wrong, what was done."""

    kind: str
    place: str
    problem: str
    outcome: Outcome
    action: str


@dataclass(frozen=True, slots=True)
class Run:
    """A check: ``step`` is under way, up to ``place`` in it; counts are of what was checked."""

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
        """Set aside unreadable rows of earlier checks, so that a new check can be made."""
        bad = await self._tables.read(unreadable_tables)
        for name in {"checks", "findings", "checked_days"} & set(bad):
            await save(self._tables, name)

    async def begin(self, scope: Scope, at: float, *, background: bool, step: str) -> Run:
        """Begin a new check; unfinished ones of the same scope are abandoned."""

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
        """The check of this scope that was not completed."""
        where = "ended_at IS NULL AND scope = ? AND background = ?"
        return await self._one(where, [scope, background])

    async def last(self, *, background: bool | None = None) -> Run | None:
        """The check that was begun last: of those in the background or not, or of all."""
        return await self._one("background = ? OR ? IS NULL", [background, background])

    async def note(self, run: Run, findings: Iterable[Finding], at: float, *, day: str, read: int) -> None:
        """Store a check's progress and its new findings; background checks count ``read`` bytes on ``day``."""
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
        known = get_args(Outcome)  # a newer version may have others
        return [Finding(kind, at, what, outcome if outcome in known else "open", done) for kind, at, what, outcome, done in rows]

    async def spent(self, day: str) -> int:
        """Bytes that background checks have read on a day."""
        sql = "SELECT coalesce(sum(bytes), 0)::BIGINT FROM mirror.checked_days WHERE day = ?"
        row = await self._tables.read(lambda c: c.execute(sql, [day]).fetchone())
        return row[0] if row else 0

    async def _one(self, where: str, values: list[object]) -> Run | None:
        """The last of these checks; rows that are damaged, or of checks that only a newer version makes, are passed over."""
        known = "isfinite(started_at) AND coalesce(isfinite(ended_at), true)"
        sql = f"SELECT {_RUN} FROM mirror.checks WHERE ({where}) AND {known} ORDER BY id DESC"
        rows = await self._tables.read(lambda c: c.execute(sql, values).fetchall())
        return next((run for row in rows if (run := Run(*row)).step in _OF.get(run.scope, ())), None)


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


INDEX_STEPS = ("catalogue", "records", "series")
FILE_STEPS = ("layout", "contents", "references", "links", "parts", "lake")
#: What each step checks, for people.
STEPS = {
    "catalogue": "the index's own tables",
    "records": "records",
    "series": "versions of records",
    "layout": "files and their rows",
    "contents": "contents of files",
    "references": "what refers to files",
    "links": "the readable tree",
    "parts": "broken-off downloads",
    "lake": "files of the lake",
}
_OF: dict[Scope, tuple[str, ...]] = {
    "index": INDEX_STEPS,
    "files": FILE_STEPS,
    "all": (*INDEX_STEPS, *FILE_STEPS),
}
#: Outcomes after which nothing is left to do.
_GOOD = frozenset({"repaired", "harmless"})

#: The share of its time for which a background check reads; it leaves the other time to others.
SHARE = 0.25
#: Seconds of a background check's waits while people are served, and how many of them may follow each other.
WAIT, MOST_WAITS = 2.0, 30


@dataclass(frozen=True, slots=True)
class CheckStep:
    """A finished piece of a step: the ``place`` to continue at, None at the step's end; what was checked."""

    place: str | None
    findings: tuple[Finding, ...] = ()
    files: int = 0
    bytes: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that may be read; ``limit`` None: no limit."""

    limit: int | None
    spent: int = 0

    @property
    def left(self) -> int | None:
        """Bytes that may still be read, None: no limit."""
        return None if self.limit is None else max(0, self.limit - self.spent)

    @property
    def is_used_up(self) -> bool:
        return self.left == 0

    def after(self, read: int) -> Budget:
        """The budget after reading so many more bytes."""
        return replace(self, spent=self.spent + read)


def steps_of(scope: Scope) -> tuple[str, ...]:
    """The steps of a check, in order."""
    return _OF[scope]


def advanced(run: Run, piece: CheckStep, now: float) -> Run:
    """The check after a piece of its step."""
    counted = replace(
        run,
        files=run.files + piece.files,
        bytes=run.bytes + piece.bytes,
        records=run.records + piece.records,
    )
    if piece.place is not None:
        return replace(counted, place=piece.place)
    steps = steps_of(run.scope)
    later = steps[steps.index(run.step) + 1 :]
    if not later:
        return replace(counted, place="", ended_at=now)
    return replace(counted, step=later[0], place="")


def is_good(findings: Iterable[Finding]) -> bool:
    """True if nothing is wrong any more."""
    return all(f.outcome in _GOOD for f in findings)


def covers(running: Scope, wanted: Scope) -> bool:
    """True if a check of ``running`` includes the wanted one."""
    return running in (wanted, "all")


def pause(took: float) -> float:
    """Seconds to leave to others after work that took so many."""
    return took * (1 - SHARE) / SHARE


def begins(ended_at: float | None, every: float, now: float) -> bool:
    """True if it is time for the next background check, after the one that ended last."""
    return ended_at is None or now - ended_at >= every or ended_at > now
