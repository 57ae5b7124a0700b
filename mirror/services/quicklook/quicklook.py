"""Quick looks: the picture of a record's first image, of the file that the mirror holds.

Each is made once, in a process of its own, and kept for as long as there is room in its folder.

Pictures that were made, in a folder of at most some size: those used longest ago go first.

They can always be made again. So nothing here is noted in the database, nothing has to last, and a folder
that is deleted does no harm. Behind a picture's last byte its sha256 is kept: one that was damaged is made again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.concurrency import Bounded, cancel
from mirror.drms.export import ExportRequest
from mirror.errors import BadRequest, MirrorError, NotHeld, Refused, StorageError, UnknownName
from mirror.services.exports.segment_files import FileLocation, RequestedFile
from mirror.services.quicklook.colours import look_of
from mirror.services.quicklook.render import MOST_PIXELS
from mirror.wire.paths import unit_file
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from mirror.drms.series import Segment, Series
    from mirror.readthrough.files import Files
    from mirror.services.exports.planning import ExportPlanner, Plan
    from mirror.services.quicklook.colours import Look
    from mirror.services.quicklook.process import RenderProcess
    from mirror.storage.disk import Disk
    from mirror.storage.files.adopted_exports import Adopted
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holdings
    from mirror.storage.files.table import Blob
    from mirror.storage.index.layout import Row

log = logging.getLogger(__name__)

_SUFFIX, _PART = ".png", ".part"
#: Bytes of a hash.
_SUM = hashlib.sha256().digest_size


class Pictures:
    """The pictures below ``root``, ``limit`` bytes of them at most. Calls may block."""

    def __init__(self, root: Path, limit: int, disk: Disk) -> None:
        self._root = root
        self._limit = limit
        self._disk = disk
        self._sizes: OrderedDict[str, int] | None = None
        self._held = 0
        self._lock = threading.Lock()

    def find(self, key: str) -> bytes | None:
        """The picture of that key (hexadecimal digits), or None."""
        with self._lock:
            sizes = self._known()
            if key not in sizes:
                return None
            body = _body(self._place(key))
            if body is None:
                self._held -= sizes.pop(key)
                return None
            sizes.move_to_end(key)
            return body

    def keep(self, key: str, body: bytes) -> None:
        """Keep a picture; one that cannot be written is not worth an error."""
        if len(body) > self._limit:
            return
        with self._lock, suppress(StorageError):
            sizes = self._known()
            self._write(self._place(key), body + hashlib.sha256(body).digest())
            self._held += len(body) - sizes.pop(key, 0)
            sizes[key] = len(body)
            while self._held > self._limit:
                oldest, size = sizes.popitem(last=False)
                self._held -= size
                self._disk.remove(self._place(oldest))

    def _write(self, place: Path, body: bytes) -> None:
        self._disk.make_folder(place.parent)
        part = place.with_suffix(_PART)
        try:
            fd = self._disk.create(part)
            try:
                self._disk.write(part, fd, body, 0)
            finally:
                os.close(fd)
            self._disk.move(part, place)
        except StorageError:
            self._disk.remove(part)  # it would be counted by nobody
            raise

    def _place(self, key: str) -> Path:
        return self._root / key[:2] / f"{key}{_SUFFIX}"

    def _known(self) -> OrderedDict[str, int]:
        """The keys with their sizes, that used last at the end; read from the folder when first needed."""
        if self._sizes is None:
            for left in self._root.glob(f"??/*{_PART}"):  # by a crash
                with suppress(StorageError):
                    self._disk.remove(left)
            files = sorted(self._files(), key=lambda f: f[1])
            self._sizes = OrderedDict((key, size) for key, _, size in files)
            self._held = sum(self._sizes.values())
        return self._sizes

    def _files(self) -> list[tuple[str, float, int]]:
        found = []
        for path in self._root.glob(f"??/*{_SUFFIX}"):
            at = path.stat()
            found.append((path.stem, at.st_mtime, max(0, at.st_size - _SUM)))
        return found


def _body(place: Path) -> bytes | None:
    """The picture in a file; None if there is none, or not as it was written."""
    try:
        data = place.read_bytes()
    except OSError:
        return None
    return data[:-_SUM] if hashlib.sha256(data[:-_SUM]).digest() == data[-_SUM:] else None


#: A record whose camera is turned by more than this, in degrees, is shown turned by 180.
_UPSIDE_DOWN = 90.0
#: Axes of an image; a linked segment does not tell its own, and may be one.
_PLANE = 2
#: Pixels of the longer side that may be asked for: few, so that what was made serves many.
SIZES = (128, 256, 512, MOST_PIXELS)
#: Refusals that are remembered.
_MOST_REFUSED = 1000
#: Changes when the same file would give another picture.
_EDITION = "1"


@dataclass(frozen=True, slots=True)
class QuickLook:
    """A picture that can be made, and whose it is: the record's query, the segment, the archived file's name.

    ``tag`` is another for every other picture.
    """

    tag: str
    record: str
    segment: str
    file: str
    blob: Blob
    look: Look
    turned: bool
    most: int

    @property
    def name(self) -> str:
        """The file, as an error names it."""
        return f"{self.file} of {self.record}{{{self.segment}}} (sha256 {self.blob.sha256})"


class QuickLooks:
    """Finds what is to be shown, and shows it."""

    def __init__(
        self,
        planner: ExportPlanner,
        files: Files,
        holdings: Holdings,
        adopted: Adopted,
        blobs: Blobs,
        pictures: Pictures,
        renderer: RenderProcess,
    ) -> None:
        self._planner = planner
        self._files = files
        self._holdings = holdings
        self._adopted = adopted
        self._blobs = blobs
        self._pictures = pictures
        self._renderer = renderer
        self._refused: Bounded[str, str] = Bounded(_MOST_REFUSED)

    async def find(
        self, request: ExportRequest, number: int, *, most: int = MOST_PIXELS, fetch: bool = False
    ) -> QuickLook:
        """The ``number``-th record of a request, counted from 1, as it would be shown with ``most`` pixels a side.

        Of the segments asked for, else of the first of the series that is an image. UnknownName if there
        is no such record or image, NotHeld if its file is not held, and not to be fetched or on tape.
        """
        if most not in SIZES:
            raise BadRequest(f"size is {most}; expected one of {', '.join(map(str, SIZES))}")
        if not request.limit and number > 0:
            request = replace(request, max_recs=number)  # to look no further
        plan = await self._planner.plan(request, images_only=False)
        if not 1 <= number <= len(plan.rows):
            raise UnknownName(f"no record {number} in {request.ds}; expected 1 to {len(plan.rows)}")
        row = plan.rows[number - 1]
        wanted = _first_image(plan, row.recnum)
        blob = await self._content(wanted, fetch=fetch)
        while not await self._blobs.is_sound(blob):  # set aside, and not held any more
            blob = await self._content(wanted, fetch=fetch)
        look = look_of(plan.series.name, wanted.segment, _wavelength(plan, row))
        turned = _turned(plan, row)
        tag = hashlib.sha256(repr((_EDITION, blob.sha256, look, turned, most)).encode()).hexdigest()[:40]
        return QuickLook(tag, wanted.record, wanted.segment, wanted.file, blob, look, turned, most)

    async def held(self, series: str, recnums: Sequence[int], segment: str) -> set[int]:
        """Those of these records of whose segment the file is held as theirs: a look without asking JSOC."""
        found = await self._holdings.of_records(series, recnums)
        owners = {h.record for h in found if h.record is not None} | set(
            await self._adopted.of_records(series, recnums)
        )
        return {owner.recnum for owner in owners if owner.segment.lower() == segment.lower()}

    async def png(self, found: QuickLook) -> bytes:
        """The picture, as it was made before or as it is made now. Refused for what is no image."""
        kept = await asyncio.to_thread(self._pictures.find, found.tag)
        if kept is not None:
            return kept
        if found.tag in self._refused:
            raise Refused(self._refused[found.tag])
        with self._blobs.reading(found.blob) as path:
            try:
                png = await self._renderer.picture(path, found.look, turned=found.turned, most=found.most)
            except Refused as problem:
                raise self._remembered(found, problem) from problem
            except MirrorError as problem:
                raise type(problem)(f"{found.name}: {problem}") from problem
        await asyncio.to_thread(self._pictures.keep, found.tag, png)
        return png

    def _remembered(self, found: QuickLook, problem: Refused) -> Refused:
        """A refusal with the name of its file, which need not be read again to be refused again."""
        text = self._refused[found.tag] = f"no quick look can be made of {found.name}: {problem}"
        return Refused(text)

    async def _content(self, wanted: RequestedFile, *, fetch: bool) -> Blob:
        held = await self._holdings.of(wanted.owner)
        if held is not None:
            return held.blob
        export = await self._adopted.of(wanted.owner)
        if export is not None:
            return export
        # The same file may be held as that of another record, which links lead to.
        file = unit_file(wanted.path) if wanted.path else None
        by_path = await self._holdings.at(file) if file is not None else None
        if by_path is not None:
            return by_path.blob
        name = f"{wanted.record}{{{wanted.segment}}}"
        if wanted.place is not FileLocation.ONLINE:
            hint = "; `mirror fetch` has it staged" if wanted.place is FileLocation.OFFLINE else ""
            raise NotHeld(f"the file of {name} is not available: {wanted.place.value}{hint}", (name,))
        if not fetch:
            raise NotHeld(f"the file of {name} is not cached; use fetch=1 to fetch it", (name,))
        return await self._files.get(wanted.source)


def image_segments(series: Series) -> tuple[str, ...]:
    """The segments of a series of which there may be quick looks."""
    return tuple(
        s.name for s in series.segments if s.protocol.startswith(("fits", "link")) and _axes(s) == _PLANE
    )


def _axes(segment: Segment) -> int:
    return segment.dims.count("x") + 1 if segment.dims else _PLANE


def _first_image(plan: Plan, recnum: int) -> RequestedFile:
    mine = [w for w in plan.files if w.owner.recnum == recnum]
    shapes = {s.name: _axes(s) for s in plan.series.segments}
    images = [w for w in mine if w.file.lower().endswith(".fits") and shapes[w.segment] == _PLANE]
    if not images:
        names = ", ".join(w.segment for w in mine) or "none"
        raise Refused(f"{plan.series.name} has no segment that is an image; its segments are: {names}")
    there = [w for w in images if w.place is not FileLocation.NOWHERE]
    return (there or images)[0]


def _wavelength(plan: Plan, row: Row) -> int | None:
    value = _number(plan, row, "WAVELNTH")
    return None if value is None else round(value)


def _turned(plan: Plan, row: Row) -> bool:
    return is_turned(_number(plan, row, "CROTA2"))


def is_turned(angle: float | None) -> bool:
    """Whether an image of this CROTA2, in degrees, is shown turned by 180."""
    return angle is not None and abs((angle + 180) % 360 - 180) > _UPSIDE_DOWN


def _number(plan: Plan, row: Row, name: str) -> float | None:
    """The value of a keyword; None if it is missing, no number, or not there."""
    keyword = plan.series.keyword(name)
    if keyword is None or keyword.name not in row.fields:
        return None
    try:
        return float(from_wire(row[keyword.name]))
    except ValueError:
        return None


# ---- pictures made ahead -------------------------------------------------------------------------
# Of files that came for a subscription which says ``pictures = true``.
#
# One at a time, the newest file first, by a process that stands behind everybody else; while people are being served,
# one in twenty seconds. What waits is bounded, and forgotten at the end of the mirror; whatever was not made ahead is
# made when it is asked for. Pictures that were made leave like all others.

#: Files that may wait, those that came first are forgotten; and the sizes that pages show.
MOST, SHOWN = 2000, (512, 256)
#: Seconds until it is looked again whether somebody is being served, and how often at most: a page that is open is served
#: all the time.
PAUSE, PAUSES = 1.0, 20


class PicturesAhead:
    """Makes them in the background; ``is_busy`` says whether people are being served, ``sleep`` waits for seconds."""

    def __init__(
        self, quicklooks: QuickLooks, is_busy: Callable[[], bool], sleep: Callable[[float], Awaitable[object]]
    ) -> None:
        self._quicklooks = quicklooks
        self._is_busy = is_busy
        self._sleep = sleep
        self._waiting: Bounded[str, None] = Bounded(MOST)
        self._task: asyncio.Task[None] | None = None
        self._problem = ""

    def add(self, file: RequestedFile) -> None:
        """A file has come that pictures are wanted of."""
        self._waiting[f"{file.record}{{{file.segment}}}"] = None
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._work())

    async def finished(self) -> None:
        """Return when nothing waits any more."""
        if self._task is not None:
            await self._task

    async def stop(self) -> None:
        """End all work."""
        if self._task is not None:
            await cancel(self._task)

    async def _work(self) -> None:
        while self._waiting:
            for _ in range(PAUSES):
                if not self._is_busy():
                    break
                await self._sleep(PAUSE)
            address, _ = self._waiting.popitem()
            try:
                for size in SHOWN:
                    found = await self._quicklooks.find(ExportRequest(address), 1, most=size)
                    await self._quicklooks.png(found)
            except MirrorError as problem:
                self._say(address, str(problem))
            except Exception:
                log.exception("picture failed record=%s", address)

    def _say(self, address: str, problem: str) -> None:
        """Once, however many files have it."""
        if problem != self._problem:
            log.info("no picture made ahead record=%s error=%s", address, problem)
        self._problem = problem
