"""Files on the object store: looked for there before JSOC is asked, and put there once they are held here.

1. A file of a storage unit that has a row in ``units`` comes from the objects, and counts when its sha256 is right.
2. One without a row is fetched from JSOC by one server: who has the place towards JSOC for downloads takes the lock of
   the path, looks once more, and keeps the lock until the row is written. Whoever waits for that place meanwhile gives
   it up as soon as there is a row.
3. What is held here and has no row is put beside the objects, create-only, and gets its row afterwards. Which these are
   is told by the store itself (``mirror.holdings`` less ``mirror.shared_files``), so that a restart forgets nothing.
4. An object that is gone, or has other bytes than its name says, has its row struck off, and JSOC is asked again. One
   that cannot be had now keeps its row; JSOC is asked, so that people get their file.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import Counter, deque
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mirror.cluster.objects import MARK
from mirror.cluster.units import PAGE, KnownUnits, Unit, Units, blob_key
from mirror.concurrency import end, lasting
from mirror.errors import (
    ClusterAway,
    MirrorError,
    NotHeld,
    ObjectMissing,
    ObjectStoreError,
    UpstreamBroken,
)
from mirror.humanize import counted
from mirror.metrics import counter, gauge
from mirror.readthrough.downloads import OtherBytes, digest_header
from mirror.storage.files.holdings import Holding, RecordSegment
from mirror.upstream.pacing import Claim, Priority
from mirror.wire.paths import UnitFile, unit_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

    from mirror.cluster.database import ClusterDatabase
    from mirror.cluster.objects import Incoming, Objects
    from mirror.metrics import Metric
    from mirror.readthrough.downloads import Answer
    from mirror.storage.database.database import Database
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holdings
    from mirror.upstream.client import UpstreamClient

log = logging.getLogger(__name__)

#: Seconds between two looks for rows of files that somebody here waits for, and while another server puts one there.
LOOK, AGAIN_ELSEWHERE = 0.5, 0.2
#: Seconds for which the lock of a file that has come stays, until its upload has begun.
GRACE = 10.0
#: Seconds between two tries to upload while that fails.
AGAIN = 5.0
#: Files that go up at a time, and that are looked for in the store at a time.
AT_ONCE, BATCH = 4, 200
#: New files that are remembered; beyond, the store is asked which there are.
MOST_NEW = 10_000
#: Times that an object may break off before JSOC is asked instead.
DOUBTS = 2
#: Files of which it is remembered that their objects broke off.
MOST_DOUBTS = 1000


class _Appeared(Exception):
    """Another server has put the file there meanwhile."""


class _Elsewhere(Exception):
    """Another server has fetched the file, and is putting it there."""


@dataclass(frozen=True, slots=True)
class _FromObjects:
    """An object as the answer to a download."""

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Something that a check found among the objects, and what was done."""

    key: str
    problem: str
    action: str
    is_mended: bool


class SharedFiles:
    """The files of the cluster, and the source of downloads of a server in it.

    ``sleep`` waits for seconds.
    """

    def __init__(
        self,
        cluster: tuple[ClusterDatabase, Objects],
        upstream: UpstreamClient,
        database: Database,
        blobs: Blobs,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._cluster, self._objects = cluster
        self.units = Units(self._cluster)
        self._upstream = upstream
        self._known = KnownUnits(database)
        self._blobs = blobs
        self._sleep = sleep
        self.counts: Counter[str] = Counter()
        self.problem = ""  #: why nothing goes up now; "" if all is well
        self._mine: dict[UnitFile, int] = {}  #: locks, each with the number of the session that has it
        self._awaited: dict[UnitFile, tuple[Unit | None, asyncio.Timeout]] = {}
        self._awaiting = asyncio.Event()
        self._doubts: dict[UnitFile, int] = {}
        self._came: dict[UnitFile, str] = {}  #: what came from the objects, by its sha256
        self._done: dict[tuple[UnitFile, RecordSegment | None], str] = {}  #: what has its row
        self._new: deque[Holding] = deque()
        self._work = asyncio.Event()
        self._skipped: set[UnitFile] = set()
        self._idle = asyncio.Event()
        self._is_compared = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, holdings: Holdings) -> None:
        """Put what is held, and what comes, beside the objects from now on."""
        holdings.on_add = self.added
        self._work.set()
        self._tasks = [asyncio.create_task(lasting(work, AGAIN)) for work in (self._uploading, self._looking)]

    async def stop(self) -> None:
        """End it; what has not gone up does so when this server comes again."""
        await end(*self._tasks)

    def metrics(self) -> list[Metric]:
        """What Prometheus is told of the files."""
        files = {what: float(self.counts[what]) for what in ("put", "got", "asked", "missing", "damaged")}
        size = {what: float(self.counts[f"{what}_bytes"]) for what in ("put", "got")}
        return [
            counter("mirror_cluster_files_total", "Files put among the objects, got from there, asked of JSOC, gone, damaged.", files, "what"),
            counter("mirror_cluster_file_bytes_total", "Their bytes.", size, "what"),
            gauge("mirror_cluster_files_stuck", "1 if files do not go to the objects now.", int(bool(self.problem))),
        ]

    # ---- for downloads ---------------------------------------------------------------------------

    @asynccontextmanager
    async def file(
        self, path: str, headers: Mapping[str, str], priority: Priority | Claim = Priority.PEOPLE
    ) -> AsyncIterator[Answer]:
        """A file by its path, streamed: from the objects if it is there, else from JSOC."""
        file = unit_file(path)
        claim = priority if isinstance(priority, Claim) else Claim(priority)
        if file is None:
            async with self._upstream.file(path, headers, claim) as answer:
                yield answer
            return
        async with AsyncExitStack() as stack:
            yield await self._answer(stack, file, path, headers, claim)

    async def has(self, file: UnitFile) -> bool:
        """Whether a file is there, as far as that can be told now."""
        try:
            return await self.units.find(file) is not None
        except ClusterAway:
            return False

    async def paths_of(self, wanted: Mapping[RecordSegment, str]) -> dict[RecordSegment, str]:
        """The paths of those segments whose files are there, as far as that can be told now.

        ``wanted`` has the path of each at JSOC, "" where that is not known.
        """
        return {record: unit.path for record, unit in (await self._units_of(wanted)).items()}

    async def contents_of(self, wanted: Mapping[RecordSegment, str]) -> dict[RecordSegment, tuple[str, int]]:
        """The sha256 and the size of those files that are there; as for ``paths_of``."""
        return {record: (unit.sha256, unit.size) for record, unit in (await self._units_of(wanted)).items()}

    async def _units_of(self, wanted: Mapping[RecordSegment, str]) -> dict[RecordSegment, Unit]:
        files = {record: file for record, path in wanted.items() if (file := unit_file(path)) is not None}
        try:
            units = await self.units.of_records(list(wanted))
            there = await self.units.find_all(set(files.values()))
        except ClusterAway:
            return {}
        return units | {record: there[file] for record, file in files.items() if file in there}

    async def _answer(
        self, stack: AsyncExitStack, file: UnitFile, path: str, headers: Mapping[str, str], claim: Claim
    ) -> Answer:
        while True:
            unit = await self.units.find(file)
            if unit is not None:
                answer = await self._from_objects(stack, unit)
                if answer is not None:
                    return answer
            try:
                # Of the row that could not be used it is not said again that there is one.
                return await self._from_jsoc(stack, file, path, _for_jsoc(headers), claim, unit)
            except _Appeared:
                continue
            except _Elsewhere:
                await self._sleep(AGAIN_ELSEWHERE)

    # ---- from JSOC -------------------------------------------------------------------------------

    async def _from_jsoc(
        self,
        stack: AsyncExitStack,
        file: UnitFile,
        path: str,
        headers: Mapping[str, str],
        claim: Claim,
        known: Unit | None,
    ) -> Answer:
        scope = asyncio.timeout(None)
        try:
            async with AsyncExitStack() as attempt:
                await attempt.enter_async_context(scope)
                self._awaited[file] = known, scope
                self._awaiting.set()
                turn = self._upstream.file(path, headers, claim, still=partial(self._insist, file, known))
                answer = await attempt.enter_async_context(turn)
                self._awaited.pop(file, None)
                if scope.expired():
                    await asyncio.sleep(0)  # the end of the wait falls together with the end of the waiting
                attempt.push_async_exit(self._ended(file))
                kept = attempt.pop_all()
        except BaseException as problem:
            await self._release(file)
            if isinstance(problem, TimeoutError) and scope.expired():
                raise _Appeared from None
            raise
        finally:
            self._awaited.pop(file, None)
        stack.push_async_exit(kept)
        self.counts["asked"] += 1
        return answer

    async def _insist(self, file: UnitFile, known: Unit | None) -> None:
        """JSOC is about to be asked: be the one who asks, and see that nobody has done so."""
        if self._mine.get(file) == self._cluster.id:
            return
        if not await self.units.lock(file):
            raise _Elsewhere
        self._mine[file] = self._cluster.id
        unit = await self.units.find(file)
        if unit is not None and unit != known:
            await self._release(file)
            raise _Appeared

    def _ended(self, file: UnitFile) -> Callable[..., Awaitable[bool]]:
        """Lets go of the lock when JSOC's answer has ended: at once if it broke off, else after the upload."""

        async def end(kind: type[BaseException] | None, *_: object) -> bool:
            if kind is not None:
                await self._release(file)
            else:
                asyncio.get_running_loop().call_later(GRACE, self._give_up, file)
            return False

        return end

    def _give_up(self, file: UnitFile) -> None:
        """What came was not kept, or its upload takes long."""
        if file in self._mine and self._tasks:
            self._tasks.append(asyncio.create_task(self._release(file)))
            self._tasks = [task for task in self._tasks if not task.done()]

    async def _release(self, file: UnitFile) -> None:
        if self._mine.pop(file, None) == self._cluster.id:
            with suppress(ClusterAway):
                await self.units.unlock(file)

    async def _looking(self) -> None:
        """End the waits for files that have got a row."""
        while True:
            await self._awaiting.wait()
            if not self._awaited:
                self._awaiting.clear()
                continue
            await asyncio.sleep(LOOK)
            with suppress(ClusterAway):  # whoever waits hears of that otherwise
                there = await self.units.find_all(tuple(self._awaited)[:PAGE])
                for file, unit in there.items():
                    known, scope = self._awaited.pop(file, (unit, None))
                    if scope is not None and unit != known:
                        scope.reschedule(asyncio.get_running_loop().time())

    # ---- from the objects ------------------------------------------------------------------------

    async def _from_objects(self, stack: AsyncExitStack, unit: Unit) -> Answer | None:
        """The object of a row as an answer; None if it cannot be used, or not now."""
        if self._doubts.get(unit.file, 0) >= DOUBTS:
            return None
        try:
            incoming = await stack.enter_async_context(self._objects.reading(unit.key))
            if incoming.size != unit.size:
                await self.damaged(unit)
                return None
        except ObjectMissing:
            await self._missing(unit)
            return None
        except ObjectStoreError as problem:
            log.warning("a file is not available from the objects, and JSOC is asked path=%s problem=%r", unit.path, str(problem))
            return None
        stack.push_async_exit(self._got(unit))
        headers = {
            "Content-Length": str(unit.size),
            "ETag": _tag(unit.sha256),
            "Repr-Digest": digest_header(unit.sha256),
        }
        return _FromObjects(200, headers, self._pieces(unit, incoming))

    async def _pieces(self, unit: Unit, incoming: Incoming) -> AsyncIterator[bytes]:
        try:
            async for piece in incoming.pieces:
                yield piece
        except ObjectStoreError as problem:
            self._doubt(unit.file)
            raise UpstreamBroken(f"{unit.path}: {problem}") from problem

    def _got(self, unit: Unit) -> Callable[..., Awaitable[bool]]:
        """Looks at how the download of an object ended: whole, and of the hash that was promised, or not."""

        async def end(_: type[BaseException] | None, problem: BaseException | None, __: object) -> bool:
            if isinstance(problem, OtherBytes):
                await self.damaged(unit)
            elif problem is None:
                self._doubts.pop(unit.file, None)
                self._came[unit.file] = unit.sha256
                while len(self._came) > MOST_NEW:
                    del self._came[next(iter(self._came))]
                self.counts["got"] += 1
                self.counts["got_bytes"] += unit.size
            return False

        return end

    def _doubt(self, file: UnitFile) -> None:
        self._doubts[file] = self._doubts.get(file, 0) + 1
        while len(self._doubts) > MOST_DOUBTS:
            del self._doubts[next(iter(self._doubts))]

    async def _missing(self, unit: Unit) -> None:
        """An object is gone: so are its rows, unless all objects seem to be gone."""
        if await self._objects.exists(MARK) is None:
            raise ClusterAway(f"{MARK} is not among the objects any more: is their folder mounted?")
        self.counts["missing"] += 1
        log.warning("an object is gone, and is asked of JSOC again path=%s object=%s", unit.path, unit.key)
        await self._strike_off(unit.sha256)

    async def damaged(self, unit: Unit) -> bool:
        """Look at an object once more; one of other bytes is set aside as ``damaged/``, and its rows are struck off."""
        try:
            data = await self._objects.get(unit.key)
            if hashlib.sha256(data).hexdigest() == unit.sha256:
                self._doubt(unit.file)
                return False
            self.counts["damaged"] += 1
            log.warning("an object is damaged, and is asked of JSOC again path=%s object=%s", unit.path, unit.key)
            await self._objects.put_new(f"damaged/{unit.sha256}-{secrets.token_hex(4)}", data)
            await self._objects.delete(unit.key)
        except ObjectMissing:
            await self._missing(unit)
            return True
        except ObjectStoreError:
            self._doubt(unit.file)
            return False
        await self._strike_off(unit.sha256)
        return True

    async def _strike_off(self, sha256: str) -> None:
        await self.units.drop(sha256)
        await self._known.drop(sha256)  # what is held here goes up again
        self._done.clear()
        self._work.set()

    # ---- to the objects --------------------------------------------------------------------------

    def added(self, holding: Holding) -> None:
        """A file is held here from now on."""
        if holding.file.sunum <= 0:
            return  # an adopted export, which JSOC does not have either
        self._new.append(holding)
        if len(self._new) > MOST_NEW:
            self._new.popleft()
        self._idle.clear()
        self._work.set()

    async def uploaded(self) -> None:
        """Return when all that is held lies beside the objects."""
        await self._idle.wait()

    def compare_again(self) -> None:
        """The cluster was away, and may be an older one now: see which files have no row any more."""
        self._is_compared = False
        self._work.set()

    async def _uploading(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            self._idle.clear()
            try:
                if not self._is_compared:
                    self._is_compared = True
                    await self.compare()
                self._skipped.clear()
                while batch := self._taken() or await self._known.lacking(BATCH, self._skipped):
                    await self._upload_all(batch)
                self.problem = ""
                if not self._work.is_set():
                    self._idle.set()
            except MirrorError as problem:
                self._is_compared = False
                if str(problem) != self.problem:
                    log.warning("files cannot be put beside the objects now problem=%r", str(problem))
                self.problem = str(problem)
                for file in tuple(self._mine):
                    await self._release(file)
                await asyncio.sleep(AGAIN)
                self._work.set()

    def _taken(self) -> list[Holding]:
        return [self._new.popleft() for _ in range(min(len(self._new), BATCH))]

    async def _upload_all(self, batch: Iterable[Holding]) -> None:
        waiting = deque(batch)

        async def work() -> MirrorError | None:
            """Put what waits; the problem that ended it, if there was one."""
            try:
                while waiting:
                    await self._upload(waiting.popleft())
            except MirrorError as problem:
                return problem
            return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work()) for _ in range(min(AT_ONCE, len(waiting)))]
        for problem in (task.result() for task in tasks):
            if problem is not None:
                raise problem

    async def _upload(self, holding: Holding) -> None:
        """Put one file beside the objects, and write its row."""
        blob, file = holding.blob, holding.file
        if self._done.get((file, holding.record)) == blob.sha256:
            await self._release(file)
            return
        if self._came.pop(file, None) != blob.sha256 and not await self._put(holding):
            self._skipped.add(file)
            await self._release(file)
            return
        row = await self.units.put(Unit(file, holding.disk, blob.sha256, blob.size), holding.record)
        if row.sha256 != blob.sha256:
            log.warning("two servers have other bytes for one file path=%s here=%s there=%s", holding.path, blob.sha256, row.sha256)
        await self._known.put(file, blob.sha256)
        self._done[file, holding.record] = blob.sha256
        while len(self._done) > MOST_NEW:
            del self._done[next(iter(self._done))]
        await self._release(file)

    async def _put(self, holding: Holding) -> bool:
        """Put the content of a file; False if it has left the store, or is damaged there."""
        blob = holding.blob
        key = blob_key(blob.sha256)
        try:
            if not await self._blobs.is_sound(blob):
                return False
            there = await self._objects.exists(key)
            if there is not None and there != blob.size:
                await self.damaged(Unit(holding.file, holding.disk, blob.sha256, blob.size))
                there = await self._objects.exists(key)
            if there is None:
                with self._blobs.reading(blob) as path:
                    if await self._objects.put_new(key, path):
                        self.counts["put"] += 1
                        self.counts["put_bytes"] += blob.size
        except NotHeld:
            return False
        return True

    # ---- checking --------------------------------------------------------------------------------

    async def check(self, digit: str) -> tuple[list[Disagreement], int]:
        """Compare rows and objects whose sha256 begins with a digit, and mend what disagrees; how many there are."""
        found = []
        if digit == "0" and (count := await self.compare()):
            found.append(Disagreement("units", f"{counted(count, 'file')} had no row any more", "they go up again", is_mended=True))
        there, count = {}, 0
        for second in "0123456789abcdef":
            async for key, size in self._objects.list(f"blobs/{digit}{second}"):
                there[key.rpartition("/")[2]] = size
        async for page in self.units.pages(digit):
            for sha256, size in page:
                count += 1
                if there.pop(sha256, None) != size:
                    found += await self._mended(sha256, size)
        for sha256 in there:
            # A list may also show what has been put this moment, and has no row yet.
            found.append(Disagreement(blob_key(sha256), "no row knows it", "left alone", is_mended=False))
        return found, count

    async def _mended(self, sha256: str, size: int) -> list[Disagreement]:
        """An object that a listing does not show as its row says: a listing may be stale, so it is asked for."""
        now = await self._objects.exists(blob_key(sha256))
        if now == size:
            return []
        unit = Unit(UnitFile(0, 0, sha256), "", sha256, size)
        if now is None:
            await self._missing(unit)
        else:
            await self.damaged(unit)
        problem = "it is gone" if now is None else f"it has {now:,} bytes instead of {size:,}"
        held = await self._blobs.find(sha256) is not None
        action = "put there again" if held else "its files are asked of JSOC when somebody wants them"
        return [Disagreement(blob_key(sha256), problem, action, is_mended=True)]

    async def compare(self) -> int:
        """See which files that were put there have no row any more, as after an older backup; how many."""
        count = 0
        async for some in self._known.pages():
            for _, sha256 in await self.units.lacking(some):
                await self._known.drop(sha256)
                count += 1
        return count


def _tag(sha256: str) -> str:
    return f'"sha256-{sha256}"'


def _for_jsoc(headers: Mapping[str, str]) -> Mapping[str, str]:
    """What goes on at the place where an object broke off is asked for whole: JSOC does not know that it is the same."""
    if not headers.get("If-Range", "").startswith('"sha256-'):
        return headers
    return {name: value for name, value in headers.items() if name not in ("Range", "If-Range")}
