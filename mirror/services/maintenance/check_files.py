"""The steps of a check that are about files. Damaged files are fetched again from JSOC, or reported as lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import MirrorError, NotHeld
from mirror.readthrough.files import SegmentFile
from mirror.services.maintenance.check_plan import CheckStep, Finding
from mirror.storage.files.holdings import RecordSegment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from mirror.cluster.files import SharedFiles
    from mirror.readthrough.files import Files
    from mirror.readthrough.policy import Rules
    from mirror.services.maintenance.check_plan import Outcome
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob, Lost, Verdict

#: The most files and (about) bytes in a piece of the contents; a check that is stopped repeats as much.
MOST_FILES, MOST_BYTES = 256, 256_000_000
#: Names of strays that are listed; the others are counted.
_NAMED = 20

_NOT_AT_JSOC = (
    "quarantined; it was adopted, and JSOC has no such file: adopt it again, or "
    "export it again"
)

Mended = tuple["Outcome", str]

#: The place in the step ``references`` where the objects of a cluster begin: the first digit of their sha256.
DIGITS = "0123456789abcdef"
FIRST_OBJECTS = DIGITS[0]


class FileSteps:
    """Checks the files of a store. Each step takes the place to begin at, and returns a piece.

    ``shared`` does the same for the objects of a cluster whose sha256 begins with a digit.
    """

    def __init__(
        self, blobs: Blobs, files: Files, rules: Rules, shared: Callable[[str], Awaitable[CheckStep]] | None = None
    ) -> None:
        self._blobs = blobs
        self._shared = shared
        self._files = files
        self._rules = rules

    async def due(self, since: float, most: int) -> list[Blob]:
        """The next files to read, oldest check first: at least one, if there is any, and no more than ``most`` bytes."""
        return few(await self._blobs.check.due(since, MOST_FILES), min(MOST_BYTES, most))

    async def contents(self, _place: str, since: float, most: int) -> CheckStep:
        """Read what has not been read since the check began."""
        due = await self.due(since, most)
        if not due:
            return CheckStep(None)
        findings = [await self._damaged(v) for v in await self._blobs.check.verify(due)]
        return CheckStep("", tuple(findings), files=len(due), bytes=sum(b.size for b in due))

    async def layout(self, _place: str, _since: float, _most: int) -> CheckStep:
        """Files without rows, rows without files, sizes."""
        found = await self._blobs.check.disagreements()
        findings: list[Finding] = []
        for sha256 in (*found.missing, *found.damaged):
            try:
                verdict = await self._blobs.verify(sha256)
            except NotHeld:
                continue
            if verdict.problem is not None:
                findings.append(await self._damaged(verdict))
        for sha256 in found.unknown:
            findings += await self._unknown(sha256)
        return CheckStep(None, (*findings, *_strays(await self._blobs.check.strays())))

    async def references(self, place: str, _since: float, _most: int) -> CheckStep:
        """Holdings, files of exports and pins; in a cluster also its objects, a part of them at a time."""
        if place and self._shared is not None:
            return await self._shared(place)
        findings = []
        for found in await self._blobs.check.references():
            outcome, action = await self._fetched([found.lost] if found.lost else [])
            if found.lost is None:
                outcome, action = "repaired", "mended"
            findings.append(Finding(found.kind, found.place, found.problem, outcome, action))
        return CheckStep(None if self._shared is None else FIRST_OBJECTS, tuple(findings))

    async def links(self, _place: str, _since: float, _most: int) -> CheckStep:
        """The readable tree."""
        links = await self._blobs.check.links()
        placed = [
            Finding("link", f"by-record/{n}", "it pointed to the wrong file", "repaired", "linked again")
            for n in links.placed
        ]
        gone = [
            Finding("link", f"by-record/{n}", "no file has that name", "repaired", "removed")
            for n in links.removed
        ]
        return CheckStep(None, (*placed, *gone))

    async def parts(self, _place: str, _since: float, _most: int) -> CheckStep:
        """Interrupted downloads."""
        keys = await self._blobs.check.parts()
        action = "removed; the download restarts when the file is requested"
        return CheckStep(
            None,
            tuple(Finding("part", k, "its content has changed", "repaired", action) for k in keys),
        )

    # ---- inside ----------------------------------------------------------------------------------

    async def _unknown(self, sha256: str) -> list[Finding]:
        problem = await self._blobs.check.take_in(sha256)
        if problem is None:
            return []
        if problem:
            return [
                Finding(
                    "file",
                    f"blobs/{sha256}",
                    f"it is not in the index, and {problem}",
                    "repaired",
                    "quarantined",
                )
            ]
        return [
            Finding(
                "file", f"blobs/{sha256}", "it was not in the index", "repaired", "added to the index; nothing refers to it yet"
            )
        ]

    async def _damaged(self, verdict: Verdict) -> Finding:
        outcome, action = await self._fetched(verdict.lost)
        names = sorted({lost.name for lost in verdict.lost})
        place = ", ".join([f"blobs/{verdict.blob.sha256}", *names])
        return Finding("file", place, verdict.problem or "", outcome, action)

    async def _fetched(self, lost: Sequence[Lost]) -> Mended:
        """Fetch lost files again; the outcome."""
        if not lost:
            return "quarantined", "quarantined; no record refers to it"
        archived = [each for each in lost if each.in_archive]
        if not archived:
            return "quarantined", _NOT_AT_JSOC
        if not self._rules.may_ask:
            return (
                "quarantined",
                "quarantined; the mirror is offline, it is fetched when next requested",
            )
        try:
            for each in archived:
                await self._files.get(_wanted(each))
        except MirrorError as problem:
            return "quarantined", f"quarantined; it cannot be fetched again: {problem}"
        return "repaired", "fetched again"


def check_objects(files: SharedFiles) -> Callable[[str], Awaitable[CheckStep]]:
    """The step ``references`` for the objects of a cluster; its place is the first digit of their sha256."""

    async def step(digit: str) -> CheckStep:
        found, count = await files.check(digit)
        after = DIGITS[DIGITS.index(digit) + 1 :][:1]
        findings = tuple(Finding("object", f.key, f.problem, "repaired" if f.is_mended else "harmless", f.action) for f in found)
        return CheckStep(after or None, findings, files=count)

    return step


def few(blobs: Iterable[Blob], most: int) -> list[Blob]:
    """The first of them whose sizes add up to no more than ``most``, but at least one."""
    chosen: list[Blob] = []
    total = 0
    for blob in blobs:
        total += blob.size
        if chosen and total > most:
            break
        chosen.append(blob)
    return chosen


def _wanted(lost: Lost) -> SegmentFile:
    record = None if lost.record is None else RecordSegment(*lost.record)
    return SegmentFile(lost.path, record, None if lost.link is None else lost.link.split("/")[1])


def _strays(names: Sequence[str]) -> list[Finding]:
    found = [
        Finding("stray", f"blobs/{n}", "it is no file of the store", "harmless", "left alone")
        for n in names[:_NAMED]
    ]
    if len(names) > _NAMED:
        found.append(
            Finding(
                "stray",
                "blobs",
                f"{len(names) - _NAMED} more are no files of the store",
                "harmless",
                "left alone",
            )
        )
    return found
