"""The file of one record, with its full header: whole, cut out around a place, or averaged.

The archived file is the one that the store has, or is fetched as for an export. Headers are dated when the file
came, so that a file has the same bytes at every request and can be read in parts.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import zlib
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from mirror import __version__
from mirror.drms.export import ExportRequest, Protocol
from mirror.drms.times import parse_time
from mirror.errors import BadRequest, MirrorError, NotHeld, Refused, SyntaxProblem, UnknownName
from mirror.fits import read_archive
from mirror.fits.header import name_of, split_card
from mirror.humanize import utc
from mirror.readthrough.policy import CacheDemand
from mirror.services.cutouts.tracking import Observer, earth, tracked
from mirror.services.exports.content import Content, Stretch, content_of
from mirror.services.exports.segment_files import FileLocation
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from mirror.drms.series import Series
    from mirror.readthrough.files import Files
    from mirror.readthrough.policy import Rules
    from mirror.services.exports.assembling import Assembler
    from mirror.services.exports.planning import ExportPlanner, Plan
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.quicklook.cutout import Window
    from mirror.services.quicklook.process import RenderProcess
    from mirror.storage.files.adopted_exports import Adopted
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob
    from mirror.storage.index.layout import Row

#: Files of which a list is given where a record set names several.
MOST_CHOICES = 100
#: Seconds in which a file is found that is cached; whoever takes longer waits for JSOC.
_AT_HAND = 0.01
#: Bytes in which the headers of a file are looked for.
_HEAD = 256 * 1024
_OBSERVER = ("CRLN_OBS", "CRLT_OBS", "DSUN_OBS")
_TIMES = ("T_OBS", "DATE__OBS", "DATE_OBS", "T_REC")


@dataclass(frozen=True, slots=True)
class FitsFile:
    """A file that can be sent: ``head`` takes the place of the archived headers, "" where the file has its own."""

    plan: Plan
    wanted: RequestedFile
    name: str
    blob: Blob
    head: bytes
    start: int

    @property
    def content(self) -> Content:
        """The whole of it."""
        if not self.head:
            return content_of(self.blob)
        return Content((self.head, Stretch(self.blob, self.start, self.blob.size - self.start)), self.blob.kept_at)


@dataclass(frozen=True, slots=True)
class _Located:
    """A file that is in the store; one that was ``adopted`` has all headers of its own."""

    plan: Plan
    wanted: RequestedFile
    name: str
    blob: Blob
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the files that a record set names, and where it is to be asked for."""

    record: str
    segment: str
    path: str


class Several(BadRequest):
    """A record set that names more than one file; ``choices`` are the first of these."""

    def __init__(self, ds: str, choices: Sequence[Choice]) -> None:
        self.choices = tuple(choices)
        many = f"{len(choices)} files" if len(choices) < MOST_CHOICES else f"at least {MOST_CHOICES} files"
        super().__init__(f"{ds} names {many}; expected one record and one segment")


class Cutouts:
    """Finds the file that a record set names, and cuts it."""

    def __init__(
        self,
        planner: ExportPlanner,
        files: Files,
        adopted: Adopted,
        blobs: Blobs,
        assembler: Assembler,
        renderer: RenderProcess,
        rules: Rules,
    ) -> None:
        self._planner = planner
        self._files = files
        self._adopted = adopted
        self._blobs = blobs
        self._assembler = assembler
        self._renderer = renderer
        self._rules = rules
        self._made_by = f"jsoc-mirror {__version__}"
        self._turn = asyncio.Lock()

    async def find(self, ds: str, *, cached_only: bool = False) -> FitsFile:
        """The one file that a record set with a segment names, fetched where it is not cached.

        Several for more than one, UnknownName for none, NotHeld for one that cannot be had now.
        """
        return await self._with_head(await self._located(ds, cached_only=cached_only))

    @asynccontextmanager
    async def in_turn(self, ds: str, *, cached_only: bool = False) -> AsyncIterator[FitsFile]:
        """The same for who cuts it then, one after the other: a hundred at once must not keep searches waiting.

        Who waits for JSOC does it without the turn.
        """
        async with self._turn:
            looking = asyncio.ensure_future(self._located(ds, cached_only=cached_only))
            try:
                await asyncio.wait({looking}, timeout=_AT_HAND)
                if looking.done():
                    yield await self._with_head(looking.result())
                    return
            except BaseException:
                looking.cancel()
                raise
        found = await looking
        async with self._turn:
            yield await self._with_head(found)

    async def _located(self, ds: str, *, cached_only: bool) -> _Located:
        request = ExportRequest(ds, method="url", protocol=Protocol("fits"), max_recs=MOST_CHOICES)
        demand = CacheDemand.ONLY_IF_CACHED if cached_only else CacheDemand.DEFAULT
        plan = await self._planner.plan(request, demand, images_only=False)
        if not plan.files:
            raise UnknownName(f"no records match {ds}" if not plan.rows else f"{plan.series.name} has no segments")
        if len(plan.files) > 1:
            raise Several(ds, [_choice(wanted) for wanted in plan.files[:MOST_CHOICES]])
        await asyncio.sleep(0)  # milliseconds of work in one piece would show in the searches of others
        wanted = plan.files[0]
        [name] = await self._assembler.file_names(plan, [wanted])
        if not (wanted.path and await self._files.held(wanted.path)):
            export = await self._adopted.of(wanted.owner)
            if export is not None:
                return _Located(plan, wanted, name, export, adopted=True)
        blob = await self._archived(wanted, cached_only=cached_only)
        if not cached_only:
            await self._assembler.prepare(plan)
        return _Located(plan, wanted, name, blob)

    async def _with_head(self, found: _Located) -> FitsFile:
        plan, wanted, blob, front = found.plan, found.wanted, found.blob, None
        await asyncio.sleep(0)
        if not found.adopted:
            front = await self._assembler.front(plan, wanted, blob, now=utc(blob.kept_at))
        if front is None or front.packed is None:
            return FitsFile(plan, wanted, found.name, blob, b"", 0)
        return FitsFile(plan, wanted, found.name, blob, zlib.decompress(front.packed), front.start)

    def tag(self, found: FitsFile, window: Window, since: float | None) -> str:
        """Another for every other cutout."""
        parts = found.content.tag, asdict(window), since, self._made_by
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:40]

    async def cut(self, found: FitsFile, window: Window, since: float | None = None) -> bytes:
        """The part of a file that ``window`` says, as a file. ``since``: its centre is where that was at this time.

        Refused for what is no image; BadRequest for a window outside it, or what cannot be tracked.
        """
        with self._blobs.reading(found.blob) as path:
            head = found.head
            if not head:
                with path.open("rb") as file:
                    head = file.read(_HEAD)
            if not head.startswith(b"SIMPLE  ="):
                raise Refused(f"{_name(found)} is no FITS file; cutouts are made of images")
            history = f"{self._made_by} cut this out of {_name(found)}"
            if since is not None:
                window = moved(window, time_of(found.plan.series, found.plan.rows[0]), head, since)
                history += ", its centre moved with the rotation of the Sun"
            await asyncio.sleep(0)
            try:
                made = await self._renderer.cutout(path, head, window, history, found.blob.kept_at)
            except MirrorError as problem:
                raise type(problem)(f"{_name(found)}: {problem}") from problem
            await asyncio.sleep(0)
            return made

    async def _archived(self, wanted: RequestedFile, *, cached_only: bool) -> Blob:
        name = f"{wanted.record}{{{wanted.segment}}}"
        if wanted.place is FileLocation.NOWHERE:
            raise UnknownName(f"{name} has no file")
        if wanted.place is FileLocation.OFFLINE:
            raise NotHeld(f"the file of {name} is on tape; `mirror fetch` has JSOC bring it back", (name,))
        if cached_only and await self._files.held(wanted.path) is None:
            raise NotHeld(f"the file of {name} is not cached, and this request forbids to ask JSOC", (name,))
        return await self._files.get(wanted.source)


def _choice(wanted: RequestedFile) -> Choice:
    named = f"{wanted.record}{{{wanted.segment}}}"
    return Choice(wanted.record, wanted.segment, f"/fits/{quote(named, safe='[]{}:,@')}")


def _name(found: FitsFile) -> str:
    return f"{found.wanted.record}{{{found.wanted.segment}}}"


# ---- tracking --------------------------------------------------------------------------------------


def moved(window: Window, at: float, head: bytes, since: float) -> Window:
    """The window around where its centre, as it was ``since``, is in the image of time ``at`` with this header.

    Times in seconds of DRMS. BadRequest for what cannot be tracked.
    """
    if window.centre is None or window.units != "arcsec":
        raise BadRequest("tracking needs a centre and a size in arcsec")
    values = _numbers(head)
    missing = [name for name in _OBSERVER if name not in values]
    if missing:
        raise BadRequest(f"the image cannot be tracked: its header has no {', '.join(missing)}")
    after = Observer(*(values[name] for name in _OBSERVER))
    centre = tracked(window.centre, at - since, earth(since), after, values.get("RSUN_REF", 696.0e6))
    return replace(window, centre=centre, rigid=True)


def time_of(series: Series, row: Row) -> float:
    """When the image of a record was taken, in seconds of DRMS; BadRequest if it has no time."""
    for name in _TIMES:
        keyword = series.keyword(name)
        if keyword is None or keyword.name not in row.fields:
            continue
        try:
            return parse_time(from_wire(row[keyword.name]))
        except SyntaxProblem:
            continue  # missing
    raise BadRequest(f"{series.name} cannot be tracked: its records have none of {', '.join(_TIMES)}")


_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eEdD][-+]?\d+)?")


def _numbers(head: bytes) -> dict[str, float]:
    archive = read_archive(head)
    found: dict[str, float] = {}
    for card in () if archive is None else archive.cards:
        value = split_card(card)[0]
        if _NUMBER.fullmatch(value):
            found.setdefault(name_of(card), float(value.upper().replace("D", "E")))
    return found
