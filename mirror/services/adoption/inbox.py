"""The inbox: a folder whose FITS files are adopted as they come. Placed files leave it, others go to rejected/.

A file is left alone while its size or its time changes: somebody is writing it. What cannot be decided now, because
JSOC is away or the disk is full, stays and is tried again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from watchfiles import awatch

from mirror.concurrency import cancel, nap
from mirror.errors import ConfigError, MirrorError, explained
from mirror.services.adoption.adopt import Item
from mirror.services.adoption.scan import Stamp
from mirror.upstream.pacing import unattended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mirror.api.adoption import AdoptOutcome
    from mirror.services.adoption.adopt import Adoption

log = logging.getLogger(__name__)

#: Seconds for which a file must not have changed, and after which an undecided one is tried again.
REST, RETRY = 5.0, 300.0
#: Seconds after which the folder is read in any case: not every file system reports changes.
IDLE = 60.0
#: Files that are adopted together.
AT_ONCE = 200
REJECTED = "rejected"
#: Endings of files that programs are still fetching.
_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".download", ".filepart")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file that was seen: its stamp, since when it has been unchanged, and when it may be taken at the earliest."""

    stamp: Stamp
    since: float
    not_before: float = 0.0


def watched(
    before: Mapping[Path, Waiting], there: Mapping[Path, Stamp], now: float
) -> tuple[dict[Path, Waiting], list[Path]]:
    """What is known of the files that are there now, and which of them are unchanged and due. Pure."""
    known = {}
    for path, stamp in there.items():
        last = before.get(path)
        same = last is not None and last.stamp == stamp and last.since <= now
        known[path] = last if last is not None and same else Waiting(stamp, now)
    return known, [path for path, w in known.items() if now - w.since >= REST and now >= w.not_before]


class Inbox:
    """Watches ``folder``, if there is one.

    ``now`` gives seconds, ``sleep`` waits, ``changes`` yields whenever something happens in a folder.
    """

    def __init__(
        self,
        folder: Path | None,
        adoption: Adoption,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        changes: Callable[[Path], AsyncIterator[object]] = awatch,
    ) -> None:
        self._folder = folder
        self._adoption = adoption
        self._now = now
        self._sleep = sleep
        self._changes = changes
        self._known: dict[Path, Waiting] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._woken = asyncio.Event()

    async def start(self) -> None:
        """Look at once, and from now on; ConfigError if the folder cannot be used."""
        if self._folder is None:
            return
        try:
            await asyncio.to_thread((self._folder / REJECTED).mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"the inbox {self._folder} cannot be used: {explained(error)}") from error
        self._tasks = [asyncio.ensure_future(self._listen(self._folder)), asyncio.ensure_future(self._run())]

    async def stop(self) -> None:
        """End; a file is adopted or not, and the next start looks again."""
        await cancel(*self._tasks)

    async def _listen(self, folder: Path) -> None:
        async for _ in self._changes(folder):
            self._woken.set()

    async def _run(self) -> None:
        while True:
            try:
                await self.turn()
            except (MirrorError, OSError) as problem:
                log.warning("inbox failed folder=%s error=%s", self._folder, problem)
            except Exception:
                log.exception("inbox failed folder=%s", self._folder)
            await nap(self._sleep, REST if self._restless() else IDLE, self._woken)

    def _restless(self) -> bool:
        return any(w.not_before <= self._now() for w in self._known.values())

    async def turn(self) -> list[AdoptOutcome]:
        """One look at the folder: adopt the unchanged files, and move or remove them."""
        if self._folder is None:
            return []
        there = await asyncio.to_thread(_files, self._folder)
        self._known, ready = watched(self._known, there, self._now())
        done = []
        for start in range(0, len(ready), AT_ONCE):
            some = ready[start : start + AT_ONCE]
            with unattended():
                outcomes = await self._adoption.adopt([Item(path) for path in some], "link", compare=True)
            for path, outcome in zip(some, outcomes, strict=True):
                await self._clear(path, outcome, self._folder / REJECTED)
            done += outcomes
        return done

    async def _clear(self, path: Path, outcome: AdoptOutcome, rejected: Path) -> None:
        if outcome.state == "later":
            last = self._known[path]
            self._known[path] = Waiting(last.stamp, last.since, self._now() + RETRY)
            log.info("inbox waits file=%s reason=%s", path, outcome.reason)
        elif outcome.same:
            await asyncio.to_thread(remove_unchanged, path, self._known.pop(path).stamp)
            log.info("inbox adopted file=%s record=%s segment=%s", path, outcome.record, outcome.segment)
        else:
            reason = (
                outcome.reason or f"the mirror already has another file of {outcome.record}{{{outcome.segment}}}"
            )
            del self._known[path]
            await asyncio.to_thread(_reject, path, rejected, reason)
            log.warning("inbox rejected file=%s reason=%s", path, reason)


def remove_unchanged(path: Path, stamp: Stamp) -> bool:
    """Remove a file if it is still the one that was adopted; True if it was removed."""
    with suppress(OSError):
        if Stamp.of(path.stat()) == stamp:
            path.unlink()
            return True
    return False


def _files(folder: Path) -> dict[Path, Stamp]:
    """The files of the inbox, in the order of their names, without hidden ones and those still being fetched."""
    found = {}
    for parent, folders, names in os.walk(folder):
        top = Path(parent) == folder
        folders[:] = sorted(n for n in folders if not n.startswith(".") and not (top and n == REJECTED))
        for name in sorted(names):
            if name.startswith(".") or name.lower().endswith(_UNFINISHED):
                continue
            with suppress(OSError):  # it has just gone
                found[Path(parent, name)] = Stamp.of(Path(parent, name).stat())
    return found


def _reject(path: Path, folder: Path, reason: str) -> None:
    """Move a file aside, with a text beside it that says why; an earlier one of the same name stays."""
    folder.mkdir(exist_ok=True)
    target, number = folder / path.name, 1
    while target.exists():
        target, number = folder / f"{path.stem}.{number}{path.suffix}", number + 1
    text = f"{path.name} was not adopted: {reason}\n"
    (folder / f"{target.name}.txt").write_bytes(text.encode("utf-8", "backslashreplace"))  # a name need not be text
    path.rename(target)
