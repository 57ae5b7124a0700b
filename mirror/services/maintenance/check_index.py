"""The steps of a check that are about the index.

Records that cannot stay are deleted together with every claim on them, and then fetched from JSOC again. If it does not
answer they are missing from then on, and searches see that: they are never claimed to be cached.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import duckdb

from mirror.coverage.coverage import Coverage
from mirror.coverage.plan import box_query
from mirror.errors import MirrorError
from mirror.humanize import counted
from mirror.services.maintenance.check_plan import CheckStep, Finding
from mirror.storage.database.database import Tables
from mirror.storage.database.index_file import is_damage
from mirror.storage.index.affected import delete_records
from mirror.storage.index.merge import create_tables
from mirror.storage.index.record_check import Damage, damaged, exists, mend_columns, mend_versions, outdone
from mirror.storage.index.salvage import (
    Loss,
    checked_in_future,
    dated_back,
    drop_strangers,
    loss,
    rebuild,
    rows_of,
    save,
    unreadable_tables,
)
from mirror.storage.lake.table import distrust
from mirror.upstream.pacing import Priority

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.coverage.coverage import Box
    from mirror.drms.series import Series
    from mirror.readthrough.filler import Filler
    from mirror.readthrough.policy import Rules
    from mirror.services.fills import Fills
    from mirror.services.maintenance.check_plan import Outcome
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout
    from mirror.storage.lake.lake import Lake
    from mirror.storage.lake.table import Sealed

T = TypeVar("T")

#: Records that are read at a time: some 10 MB, and less than a second.
RECORDS = 5_000
#: More slots than this are fetched in the background; the check does not wait for them.
MOST_SLOTS = 1_000_000


class IndexSteps:
    """Checks the index. Each step takes the place to begin at, and returns a piece."""

    def __init__(self, database: Database, index: Index, filler: Filler, fills: Fills, rules: Rules) -> None:
        self._database = database
        self._index = index
        self._filler = filler
        self._fills = fills
        self._rules = rules

    async def catalogue(self, _place: str, _since: float, _most: int) -> CheckStep:
        """The index's own tables."""
        findings = [await self._saved(name) for name in await self._database.read(unreadable_tables)]
        if any(finding.outcome == "open" for finding in findings):
            return CheckStep(None, tuple(findings))
        for table, n in await self._database.write(drop_strangers):
            what = f"{counted(n, 'row')} {'refers' if n == 1 else 'refer'} to missing data"
            findings.append(Finding("index", f"mirror.{table}", what, "repaired", "deleted"))
        for series in self._index.all_series():
            findings += await self._claims(series)
        return CheckStep(None, tuple(findings))

    async def records(self, place: str, _since: float, _most: int) -> CheckStep:
        """Each record: its fields, and that its columns match its printed values. The place: series, table, row."""
        names = [s.name.lower() for s in self._index.all_series()]
        name, old, row = _place(place) or (names[0] if names else "", False, 0)
        later = [n for n in names if n > name]
        found = self._index.series(name)
        if found is None:
            return CheckStep(json.dumps([later[0], False, 0]) if later else None)
        piece, more = await self._some(found[0], row, old=old)
        if more:
            return _at(piece, [name, old, row + RECORDS])
        if not old:
            return _at(piece, [name, True, 0])
        return _at(piece, [later[0], False, 0] if later else None)

    async def series(self, place: str, _since: float, _most: int) -> CheckStep:
        """The names and versions of each series' records. The place: the series that was done last."""
        later = [s for s in self._index.all_series() if s.name.lower() > place]
        if not later:
            return CheckStep(None)
        series = later[0]
        return CheckStep(series.name.lower(), tuple(await self._versions(series)))

    async def _saved(self, name: str) -> Finding:
        """Save what is readable of one of the index's own tables."""
        what = "a part of it cannot be read"
        if await save(Tables(self._database), name):
            return Finding("index", f"mirror.{name}", what, "repaired", "the readable part was kept")
        return Finding("index", f"mirror.{name}", what, "open", "restore the index with `mirror restore`")

    # ---- one series ------------------------------------------------------------------------------

    async def _claims(self, series: Series) -> list[Finding]:
        """Impossible claims in the coverage."""
        layout, coverage = self._index.layout(series), self._index.coverage(series)
        now = self._rules.timestamp()
        if checked_in_future(coverage, now):
            await self._index.drop(series, lambda c: dated_back(c, now), lambda _: None)
            return [
                Finding("coverage", series.name, "it is dated after today", "repaired", "to be checked again")
            ]
        if any(len(spans) for _, spans in coverage) and not await self._read(lambda c: exists(c, layout)):
            await self._index.drop(series, _nothing, lambda c: create_tables(c, layout))
            return [
                Finding(
                    "coverage",
                    series.name,
                    "coverage without records",
                    "repaired",
                    "coverage removed",
                )
            ]
        return []

    async def _some(self, series: Series, row: int, *, old: bool) -> tuple[CheckStep, bool]:
        """Check the records from a row on; whether there are more."""
        layout, keysets = self._index.layout(series), self._index.keysets
        table = layout.old_table if old else layout.table

        def work(cursor: Cursor) -> tuple[int, int, list[Damage], bool]:
            if not exists(cursor, layout):
                return 0, 0, [], False
            return *damaged(cursor, layout, table, keysets, row, row + RECORDS), rows_of(
                cursor, table
            ) > row + RECORDS

        read = await self._unless_damaged(work)
        if read is None:  # the whole table is checked, and rewritten
            return CheckStep("", (await self._salvaged(series, layout, table),)), False
        count, size, problems, more = read
        findings = [await self._removed(series, layout, damage) for damage in problems]
        return CheckStep("", tuple(findings), records=count, bytes=size), more

    async def _versions(self, series: Series) -> list[Finding]:
        layout = self._index.layout(series)
        if not await self._read(lambda c: exists(c, layout)):
            return []
        added = await self._index.mend(series, lambda c: mend_columns(c, layout))
        what = [f"it had no column {name}" for name in added]
        what += await self._index.mend(series, lambda c: mend_versions(c, layout))
        findings = [Finding("record", series.name, problem, "repaired", "mended") for problem in what]
        if broken := await self._index.drop_broken_answers(series):
            problem = f"{broken} cached answers name records that are not cached"
            findings.append(Finding("record", series.name, problem, "repaired", "they are requested again"))
        newer = await self._read(lambda c: outdone(c, layout))
        if newer is not None:
            findings.append(await self._asked(series, newer))
        return findings

    # ---- repairs ---------------------------------------------------------------------------------

    async def _removed(self, series: Series, layout: Layout, damage: Damage) -> Finding:
        """Delete damaged records, and fetch them again."""
        claimed = damage.records.claimed(self._index.coverage(series))

        def work(cursor: Cursor) -> None:
            delete_records(cursor, layout, damage.recnums)
            distrust(cursor, series.name)

        await self._index.drop(series, damage.records.uncover, work)
        outcome, action = await self._fetched(series, claimed)
        return Finding("record", _named(series, damage.recnums), damage.problem, outcome, action)

    async def _asked(self, series: Series, damage: Damage) -> Finding:
        """Ask JSOC which version counts, and keep what it sends."""
        claimed = damage.records.claimed(self._index.coverage(series))
        if claimed:
            await self._index.drop(series, damage.records.uncover, lambda _: None)
        outcome, action = await self._fetched(series, claimed)
        if outcome == "repaired":
            outcome, action = "harmless", "JSOC was asked which one is valid"
        return Finding("record", _named(series, damage.recnums), damage.problem, outcome, action)

    async def _salvaged(self, series: Series, layout: Layout, table: str) -> Finding:
        """Rewrite a table without its unreadable part, and fetch that again."""
        lost: Loss = await self._database.read(lambda c: loss(c, layout, table))
        claimed = lost.records.claimed(self._index.coverage(series))

        def work(cursor: Cursor) -> None:
            rebuild(cursor, table, lost.ranges)
            distrust(cursor, series.name)

        await self._index.drop(series, lost.records.uncover, work)
        outcome, action = await self._fetched(series, claimed)
        rows = sum(hi - lo for lo, hi in lost.ranges)
        problem = f"about {counted(rows, 'record')} in a damaged part of the index"
        return Finding("index", table, problem, outcome, action)

    async def _fetched(self, series: Series, boxes: tuple[Box, ...]) -> tuple[Outcome, str]:
        """Fetch boxes again; the outcome."""
        if not boxes:
            return "repaired", "removed; no coverage relied on it"
        if not self._rules.may_ask:
            return "missing", "removed with its coverage; the mirror is offline"
        if not all(b.bounded for b in boxes) or sum(b.slots() for b in boxes) > MOST_SLOTS:
            return "missing", await self._begun(series, boxes)
        try:
            await self._filler.fill(series, boxes, priority=Priority.SPARE)
        except MirrorError as problem:
            return (
                "missing",
                f"removed with its coverage; it is fetched when next requested ({problem})",
            )
        return "repaired", "fetched from JSOC again"

    async def _begun(self, series: Series, boxes: tuple[Box, ...]) -> str:
        """Start to fetch a large cached part again; the text that says so."""
        outcome = "removed with its coverage"
        try:
            fill = await self._fills.start(",".join(str(box_query(series, b)) for b in boxes), "check")
        except MirrorError as problem:
            return f"{outcome}; it is fetched when next requested ({problem})"
        return f"{outcome}; it is being fetched again as {fill.id}"

    async def _read(self, work: Callable[[Cursor], T]) -> T:
        return await self._database.read(work)

    async def _unless_damaged(self, work: Callable[[Cursor], T]) -> T | None:
        """What ``work`` reads; None if it met a damaged block."""

        def guarded(cursor: Cursor) -> T | None:
            try:
                return work(cursor)
            except duckdb.Error as error:
                if not is_damage(error):
                    raise
                return None

        return await self._database.read(guarded)


def _nothing(_: Coverage) -> Coverage:
    return Coverage()


def _place(text: str) -> tuple[str, bool, int] | None:
    """The series, whether old versions, and the row to go on at; None for the beginning, as for what cannot be read."""
    try:
        match json.loads(text or "null"):
            case [str(name), bool(old), int(row)]:
                return name, old, row
    except ValueError:
        pass
    return None


def _at(piece: CheckStep, place: list[object] | None) -> CheckStep:
    return replace(piece, place=None if place is None else json.dumps(place))


def _named(series: Series, recnums: tuple[int, ...]) -> str:
    shown = ",".join(f"#{n}" for n in recnums[:5])
    return f"{series.name}[:{shown}]" + (f" and {len(recnums) - 5} more" if len(recnums) > 5 else "")


class LakeSteps:
    """Checks the files of the lake. The step takes the file that was checked last, and returns a piece."""

    def __init__(self, lake: Lake, index: Index) -> None:
        self._lake = lake
        self._index = index

    async def lake(self, place: str, _since: float, most: int) -> CheckStep:
        """Read the files after ``place``: at least one, if there is any, and no more than ``most`` bytes."""
        findings: list[Finding] = []
        read, some = 0, False  # the files of the store are counted, and these are none of them
        for row in sorted(await self._lake.files(), key=lambda row: row.file):
            if row.file <= place:
                continue
            if some and read + row.bytes > most:
                return CheckStep(place, tuple(findings), bytes=read)
            problem = await self._lake.verify(row)
            if problem is not None:
                findings.append(await self._anew(row, problem))
            place, some, read = row.file, True, read + row.bytes
        return CheckStep(None, tuple(findings), bytes=read)

    async def _anew(self, row: Sealed, problem: str) -> Finding:
        found = self._index.series(row.table.removesuffix("__old"))
        if found is None:  # such a file is useless
            return Finding("lake", row.file, problem, "repaired", "removed; nobody knows that series")
        await self._lake.tables(found[0])
        return Finding("lake", row.file, problem, "repaired", "written again")
