"""Files that JSOC must bring back from tape: export requests, each polled in turn, and the tar files that come of them.

1. One request per address is pending at a time, and polled as JSOC says (``UpstreamExports``).
2. Many files come as one tar file, which is unpacked and deleted; a few files, and those that a tar file lacks, come
   one by one. A member is kept only if it is what its name says, like any single file. Nothing is written anywhere
   else, so no name can lead out of a folder.
3. Files are kept under their unit, so nothing is requested twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import tarfile
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mirror.drms.export import NO_DATA_FILE, Failed, Finished, Immediate, Pending, StatusRequest
from mirror.errors import UpstreamBroken, UpstreamError, UpstreamRefused
from mirror.fits.integrity import file_problem
from mirror.readthrough.shared import Alone
from mirror.services.exports.cutting import (
    MOST_BYTES,
    MOST_FILES,
    TAR_FROM,
    cut,
    is_too_large,
    most_numbers,
    staging_request,
)
from mirror.services.exports.jobs import JobPart
from mirror.upstream.pacing import Priority
from mirror.wire.paths import UnitFile, disk_of, unit_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from mirror.drms.export import ExportFile, ExportRequest
    from mirror.drms.series import Series
    from mirror.readthrough.downloads import Downloads
    from mirror.readthrough.shared import Shared
    from mirror.services.exports.jobs import JobParts
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holdings, RecordSegment
    from mirror.storage.files.table import Blob
    from mirror.upstream.client import UpstreamClient


log = logging.getLogger(__name__)

#: Shortest and longest time in seconds between two polls of a request, whatever JSOC says.
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 60.0
#: Seconds after which a request that is still pending counts as failed.
PATIENCE = 24 * 3600.0
#: Status 6, "no such request", is what JSOC says for a moment before it knows a request.
NOT_YET_KNOWN, TRIES = 6, 5
#: Requests that one host may have pending at JSOC, whatever their addresses.
MOST_PENDING = 10
#: The status of a request under way; one that never leaves it counts as failed.
RUNNING = 1


class UpstreamExports:
    """Asks upstream for exports. ``address`` is for requests that have none; ``sleep`` waits for seconds."""

    def __init__(
        self,
        upstream: UpstreamClient,
        address: str | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        shared: Shared | None = None,
    ) -> None:
        self._shared = shared or Alone()
        self.address = address
        self._upstream = upstream
        self._sleep = sleep
        self._all = asyncio.Semaphore(MOST_PENDING)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def busy(self, address: str | None) -> bool:
        """True if a request of that address would have to wait."""
        return self._all.locked() or self._turn(address).locked()

    @asynccontextmanager
    async def turn(self, address: str | None) -> AsyncIterator[None]:
        """While this is open, this mirror and those it shares with have no other request of the address pending."""
        name = (address or self.address or "").strip().lower()
        async with self._turn(address), self._all, self._shared.slot(f"export {name}", Priority.PEOPLE):
            yield

    async def made(
        self, request: ExportRequest, known: str | None, accepted: Callable[[str], Awaitable[None]]
    ) -> Finished:
        """What upstream makes of a request; hold the ``turn`` of its address.

        ``known`` is the id under which it was accepted before; it is requested again only if upstream has forgotten
        it. ``accepted`` is called with a new id. Raises UpstreamRefused, or what keeps upstream from answering: it
        works on the request all the same.
        """
        if known is not None:
            try:
                return await self._finished(known)
            except UpstreamRefused as problem:
                if problem.status == RUNNING:
                    raise
                log.warning("asked again request=%s error=%s", known, problem)
        answer = await self._upstream.export(request)
        if isinstance(answer, Failed):
            raise UpstreamRefused(answer.status, answer.error)
        if isinstance(answer, Immediate):
            values = answer.method, answer.protocol, len(answer.files), answer.size
            return Finished("", *values, "", answer.files)
        await accepted(answer.request_id)
        if isinstance(answer, Finished):
            return answer  # upstream had everything online
        return await self._finished(answer.request_id)

    def _turn(self, address: str | None) -> asyncio.Lock:
        return self._turns[(address or self.address or "").strip().lower()]

    async def _finished(self, request_id: str) -> Finished:
        """The index of a request, once upstream has finished it; UpstreamRefused if it fails, or never ends."""
        waited = 0.0
        unknown = 0
        while waited < PATIENCE:
            answer = await self._upstream.export(StatusRequest(request_id))
            if isinstance(answer, Finished):
                return answer
            wait = SHORTEST_WAIT
            if isinstance(answer, Pending):
                wait = min(max(float(answer.wait), SHORTEST_WAIT), LONGEST_WAIT)
            elif isinstance(answer, Failed):
                unknown += 1
                if answer.status != NOT_YET_KNOWN or unknown > TRIES:
                    raise UpstreamRefused(answer.status, answer.error)
            waited += wait
            await self._sleep(wait)
        raise UpstreamRefused(RUNNING, f"request {request_id} was not done after {PATIENCE / 3600:.0f} hours")


PIECE = 1024 * 1024
#: Two empty blocks end a tar file.
_END = bytes(2 * tarfile.BLOCKSIZE)
#: Types of headers that have names and the like for the next member, and the most bytes of one.
_NOTES = frozenset({tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE})
_NOTES |= {tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK}
_LONGEST_NOTE = 64 << 10
#: Several times the files of the largest request.
_MOST_MEMBERS = 100_000


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar file: ``size`` bytes from ``offset`` on."""

    name: str
    offset: int
    size: int


def members(path: Path) -> dict[str, Member]:
    """The files of a tar file by name, without folders; UpstreamBroken if it is not one, or is truncated."""
    try:
        _check_headers(path)
        size = path.stat().st_size
        with tarfile.open(path, "r:") as archive:
            files = [_member(info, size) for info in archive if info.isreg()]
        end = _read(path, size - len(_END), len(_END)) if size >= len(_END) else b""
    except (tarfile.TarError, OSError, ValueError) as problem:
        raise UpstreamBroken(f"a tar file cannot be read: {problem}") from problem
    if end != _END:
        raise UpstreamBroken("a tar file is cut short: it has no end")
    return {file.name: file for file in files}


def _check_headers(path: Path) -> None:
    """Check the headers before ``tarfile`` trusts them: a length below 0 makes it loop for ever."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(_MOST_MEMBERS):
            header = file.read(tarfile.BLOCKSIZE)
            if not header.strip(b"\0"):
                return  # the end, which the caller checks
            info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
            _check_length(info, at + tarfile.BLOCKSIZE, size)
            if info.type == tarfile.GNUTYPE_SPARSE or (
                info.type in _NOTES and b"GNU.sparse" in file.read(info.size)
            ):
                raise UpstreamBroken(f"a tar file has the sparse member {info.name[:80]!r}; expected whole files")
            holds = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES or info.type in _NOTES
            at += tarfile.BLOCKSIZE * (1 + (-(-info.size // tarfile.BLOCKSIZE) if holds else 0))
            file.seek(at)
    raise UpstreamBroken(f"a tar file has more than {_MOST_MEMBERS:,} members")


def _check_length(info: tarfile.TarInfo, start: int, size: int) -> None:
    if info.size < 0 or (info.type in _NOTES and info.size > _LONGEST_NOTE):
        raise UpstreamBroken(f"a tar file has the member {info.name[:80]!r} of {info.size:,} bytes")
    if info.isreg() and start + info.size > size:
        raise UpstreamBroken(f"a tar file is cut short: {info.name[:80]!r} ends beyond it")


def _member(info: tarfile.TarInfo, size: int) -> Member:
    _check_length(info, info.offset_data, size)
    return Member(PurePosixPath(info.name).name, info.offset_data, info.size)


async def unpacked(blobs: Blobs, path: Path, member: Member) -> Blob:
    """A member of the tar file at ``path`` as a file of the store; UpstreamBroken if it is damaged."""
    async with blobs.incoming(member.size) as sink:
        at, end = member.offset, member.offset + member.size
        while at < end and (piece := await asyncio.to_thread(_read, path, at, min(PIECE, end - at))):
            await sink.write(piece)
            at += len(piece)
        return await sink.keep(size=member.size, check=lambda kept: file_problem(kept, member.name))


def _read(path: Path, start: int, count: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(count)


Came = dict["RecordSegment", "RequestedFile"]
#: Finds those of these segments of records that are available without asking JSOC, each with its path there, or "".
Elsewhere = Callable[[Mapping["RecordSegment", str]], Awaitable[Mapping["RecordSegment", str]]]


class Staging:
    """Brings files back. A request for ``tar_from`` files or more comes as a tar file.

    ``elsewhere`` gives the paths of segments of records that are available without an export.
    """

    def __init__(
        self,
        exports: UpstreamExports,
        downloads: Downloads,
        holdings: Holdings,
        blobs: Blobs,
        parts: JobParts,
        *,
        tar_from: int = TAR_FROM,
        most_files: int = MOST_FILES,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._elsewhere = elsewhere
        self._exports = exports
        self._downloads = downloads
        self._holdings = holdings
        self._blobs = blobs
        self._parts = parts
        self._tar_from = tar_from
        self._most_files = most_files
        self._keeping = (
            asyncio.Lock()
        )  # a file of two exports is fetched by the first, over the one connection

    async def bring_back(
        self,
        series: Series,
        files: Sequence[RequestedFile],
        address: str | None,
        *,
        job: str | None = None,
        sizes: Mapping[int, int] | None = None,
    ) -> Came:
        """Have offline files exported as they are, and keep them; each with the path under which it is kept.

        Files that came back before are not requested again. With a ``job``, requests upstream are recorded
        under it, and a second call continues them. ``sizes`` are the bytes of records' units.
        """
        if self._elsewhere is not None:
            await self._take(self._elsewhere, await self._missing(series, files))
        batch = _Batch(series, files, address or self._exports.address, job, sizes or {}, self._most_files)
        parts = [part for part in await self._parts_of(batch) if not part.done]
        while parts or (parts := await self._divided(batch)):
            try:
                for part in parts:
                    await self._part(batch, part)
            except UpstreamRefused as problem:
                if not (is_too_large(problem) and batch.halve(part)):
                    raise
            parts = []
        return await self._held(series, files)

    async def _take(self, elsewhere: Elsewhere, files: Sequence[RequestedFile]) -> None:
        """Keep what is available without an export; what turns out not to be is exported."""
        for owner, path in (await elsewhere({w.owner: w.path or "" for w in files})).items():
            file = unit_file(path)
            with suppress(UpstreamError):
                blob = await self.fetched(path)
                if file is not None:
                    await self._holdings.add(file, blob, disk=disk_of(path), record=owner)

    async def _parts_of(self, batch: _Batch) -> list[JobPart]:
        return await self._parts.of(batch.job) if batch.job else []

    async def _divided(self, batch: _Batch) -> list[JobPart]:
        """The parts that are still to be requested."""
        came = await self._held(batch.series, batch.files)
        for part in await self._parts_of(batch):
            batch.nowhere |= {(recnum, segment) for recnum, segment in json.loads(part.files or "[]")}
        left = [w for w in batch.files if w.owner not in came and w.key not in batch.nowhere]
        pieces = batch.cut(left)
        if batch.job is None:
            return [JobPart(at, tuple(recnums)) for at, recnums in enumerate(pieces)]
        return [part for part in await self._parts.divide(batch.job, pieces) if not part.done]

    async def _held(self, series: Series, files: Sequence[RequestedFile]) -> Came:
        found = await self._holdings.of_records(series.name, {w.owner.recnum for w in files})
        holdings = {holding.record: holding for holding in found}
        return {
            w.owner: replace(w, path=holdings[w.owner].path, file=holdings[w.owner].file.file)
            for w in files
            if w.owner in holdings
        }

    async def _missing(self, series: Series, files: Sequence[RequestedFile]) -> list[RequestedFile]:
        came = await self._held(series, files)
        return [w for w in files if w.owner not in came]

    # ---- one part --------------------------------------------------------------------------------

    async def _part(self, batch: _Batch, part: JobPart) -> None:
        """Have a part exported, and keep what is missing of it."""
        numbers = set(part.recnums)
        files = [w for w in batch.files if w.owner.recnum in numbers]
        async with self._exports.turn(batch.address):
            # Others may have fetched the same files meanwhile.
            left = await self._missing(batch.series, files)
            index = await self._index(batch, part, left) if left else None
        nowhere: list[tuple[int, str]] = []
        if index is not None:
            async with self._keeping:
                nowhere = await self._kept(batch, part, await self._missing(batch.series, left), index)
        batch.nowhere |= set(nowhere)
        if batch.job is not None:
            await self._parts.done(batch.job, part, json.dumps(nowhere))

    async def _index(self, batch: _Batch, part: JobPart, files: Sequence[RequestedFile]) -> Finished:
        """The index that upstream has made for a part."""

        async def accepted(upstream_id: str) -> None:
            if batch.job is not None:
                await self._parts.accepted(batch.job, part, upstream_id)

        request = batch.request(files, tar=len(files) >= self._tar_from)
        return await self._exports.made(request, part.upstream_id, accepted)

    async def _kept(
        self, batch: _Batch, part: JobPart, files: Sequence[RequestedFile], index: Finished
    ) -> list[tuple[int, str]]:
        """Keep the files of an export; returns those that do not exist."""
        rows = {w.owner: row for w in files if (row := _row_of(w, index)) is not None}
        there = [w for w in files if w.owner in rows]
        if index.tarfile is not None and there:
            lacking = await self._from_tar(batch, part, index.tarfile, [(w, rows[w.owner]) for w in there])
            if lacking:
                await self._one_by_one(batch, lacking)
        else:
            for wanted in there:
                await self._keep(wanted, index.dir, rows[wanted.owner])
        return [w.key for w in files if w.owner not in rows]

    async def _one_by_one(self, batch: _Batch, files: Sequence[RequestedFile]) -> None:
        """Have files exported once more, so that they can be fetched one by one; they are online by now."""

        async def accepted(_: str) -> None:
            """Nothing: asked for again, it gets the same id, and no tape is read."""

        async with self._exports.turn(batch.address):
            index = await self._exports.made(batch.request(files, tar=False), None, accepted)
        for wanted in files:
            row = _row_of(wanted, index)
            if row is None:
                raise UpstreamBroken(
                    f"{wanted.record} {wanted.segment} is neither in the tar file nor beside it"
                )
            await self._keep(wanted, index.dir, row)

    # ---- files -----------------------------------------------------------------------------------

    async def fetched(self, path: str) -> Blob:
        """A file of an export directory upstream."""

        async def noted(_: Blob) -> None:
            """Nothing: the job that asked for it says what it is."""

        return await self._downloads.start(path, noted).kept()

    async def _keep(self, wanted: RequestedFile, folder: str, row: ExportFile) -> None:
        path = row.filename if row.filename.startswith("/") else f"{folder}/{row.filename}"
        await self._note(wanted, row, await self.fetched(path))

    async def _note(self, wanted: RequestedFile, row: ExportFile, blob: Blob) -> None:
        name = row.filename.rpartition("/")[2].removeprefix(f"{wanted.owner.recnum}.")
        await self._holdings.add(UnitFile(wanted.sunum, 0, name), blob, record=wanted.owner)

    async def _from_tar(
        self, batch: _Batch, part: JobPart, path: str, rows: Sequence[tuple[RequestedFile, ExportFile]]
    ) -> list[RequestedFile]:
        """Keep the files of a tar file, and delete it; returns the files that it lacks, or has damaged."""
        try:
            tar = await self._tar(batch, part, path)
            with self._blobs.reading(tar) as place:
                lacking = await self._taken_out(place, rows)
        except (UpstreamBroken, UpstreamRefused) as problem:
            log.warning("tar file does not come path=%s error=%s", path, problem)
            return [wanted for wanted, _ in rows]
        await self._blobs.drop(tar)
        return lacking

    async def _taken_out(self, place: Path, rows: Sequence[tuple[RequestedFile, ExportFile]]) -> list[RequestedFile]:
        """Keep the members of a tar file; returns the files that are not in it as they should be."""
        try:
            found = await asyncio.to_thread(members, place)
        except UpstreamBroken as problem:
            log.warning("tar file is no good error=%s", problem)
            return [wanted for wanted, _ in rows]
        return [wanted for wanted, row in rows if not await self._member(wanted, row, place, found)]

    async def _tar(self, batch: _Batch, part: JobPart, path: str) -> Blob:
        held = await self._blobs.find(part.tar) if part.tar else None
        held = held if held is not None and await self._blobs.is_sound(held) else None
        tar = held or await self.fetched(path)
        if held is None and batch.job is not None:
            await self._parts.packed(batch.job, part, tar.sha256)
        return tar

    async def _member(
        self, wanted: RequestedFile, row: ExportFile, place: Path, found: Mapping[str, Member]
    ) -> bool:
        member = found.get(row.filename)
        if member is None:
            return False
        try:
            await self._note(wanted, row, await unpacked(self._blobs, place, member))
        except UpstreamBroken as problem:
            log.warning("damaged in a tar file name=%s error=%s", row.filename, problem)
            return False
        return True


@dataclass
class _Batch:
    """Files of one series that are to be brought back, and in which pieces."""

    series: Series
    files: Sequence[RequestedFile]
    address: str | None
    job: str | None
    sizes: Mapping[int, int]
    most_files: int
    most_records: int | None = None
    nowhere: set[tuple[int, str]] = field(default_factory=set)  #: upstream has no such file

    def cut(self, files: Sequence[RequestedFile]) -> list[list[int]]:
        """The records of files, in pieces of one request each."""
        counts = Counter(w.owner.recnum for w in files)
        most = self.most_records or max(1, self.most_files // max(counts.values(), default=1))
        segments = ",".join({w.segment for w in files})
        most = min(most, most_numbers(counts, f"{self.series.name}{{{segments}}}"))
        return cut(sorted(counts), most, lambda recnum: self.sizes.get(recnum, 0), MOST_BYTES)

    def halve(self, refused: JobPart) -> bool:
        """Request half as many records from now on; False if there was only one."""
        self.most_records = len(refused.recnums) // 2
        return self.most_records > 0

    def request(self, files: Sequence[RequestedFile], *, tar: bool) -> ExportRequest:
        recnums = sorted({w.owner.recnum for w in files})
        segments = sorted({w.segment for w in files})  # one request is one text, whoever asks for it
        return staging_request(self.series.name, recnums, segments, self.address, tar=tar)


def _row_of(wanted: RequestedFile, index: Finished) -> ExportFile | None:
    shown = f"{wanted.record}{{{wanted.segment}}}"
    for row in index.files:
        if row.record == shown and row.filename not in ("", NO_DATA_FILE):
            return row
    return None
