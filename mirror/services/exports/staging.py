"""Files that JSOC must bring back from tape: export requests for them, some records each, polled as JSOC says.

Many files come as one tar file, which is taken apart and let go; a few, and those that a tar file lacks,
one by one. What came is held under its unit, so that nothing is asked for twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mirror.drms.export import NO_DATA_FILE, Finished
from mirror.errors import UpstreamBroken, UpstreamRefused
from mirror.services.exports.cutting import (
    MOST_BYTES,
    MOST_FILES,
    TAR_FROM,
    cut,
    is_too_large,
    staging_request,
)
from mirror.services.exports.job_parts import JobPart
from mirror.services.exports.tar import members, unpacked
from mirror.storage.files.unit_path import UnitFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from mirror.drms.export import ExportFile, ExportRequest
    from mirror.drms.series import Series
    from mirror.readthrough.downloads import Downloads
    from mirror.services.exports.job_parts import JobParts
    from mirror.services.exports.segment_files import RequestedFile
    from mirror.services.exports.tar import Member
    from mirror.services.exports.upstream_queue import UpstreamExports
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.holdings import Holdings, RecordSegment
    from mirror.storage.files.table import Blob

log = logging.getLogger(__name__)

Came = dict["RecordSegment", "RequestedFile"]


class Staging:
    """Brings files back. ``tar_from`` files and more in one request come as a tar file."""

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
    ) -> None:
        self._exports = exports
        self._downloads = downloads
        self._holdings = holdings
        self._blobs = blobs
        self._parts = parts
        self._tar_from = tar_from
        self._most_files = most_files
        self._keeping = (
            asyncio.Lock()
        )  # what two exports want is fetched by the first, over the one connection

    async def bring_back(
        self,
        series: Series,
        files: Sequence[RequestedFile],
        address: str | None,
        *,
        job: str | None = None,
        sizes: Mapping[int, int] | None = None,
    ) -> Came:
        """Have offline files exported as they are, and keep them; each with the path it is held under.

        Those that came back before are not asked for again. With a ``job``, what was asked of upstream is
        noted under it, and a second call goes on with that. ``sizes`` are the bytes of records' units.
        """
        errand = _Errand(series, files, address or self._exports.address, job, sizes or {}, self._most_files)
        parts = [part for part in await self._parts_of(errand) if not part.done]
        while parts or (parts := await self._divided(errand)):
            try:
                for part in parts:
                    await self._part(errand, part)
            except UpstreamRefused as problem:
                if not (is_too_large(problem) and errand.halve(part)):
                    raise
            parts = []
        return await self._held(series, files)

    async def _parts_of(self, errand: _Errand) -> list[JobPart]:
        return await self._parts.of(errand.job) if errand.job else []

    async def _divided(self, errand: _Errand) -> list[JobPart]:
        """The parts that are still to be asked for."""
        came = await self._held(errand.series, errand.files)
        for part in await self._parts_of(errand):
            errand.nowhere |= {(recnum, segment) for recnum, segment in json.loads(part.files or "[]")}
        left = [w for w in errand.files if w.owner not in came and _key(w) not in errand.nowhere]
        pieces = errand.cut(left)
        if errand.job is None:
            return [JobPart(at, tuple(recnums)) for at, recnums in enumerate(pieces)]
        return [part for part in await self._parts.divide(errand.job, pieces) if not part.done]

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

    async def _part(self, errand: _Errand, part: JobPart) -> None:
        """Have a part exported, and keep what is missing of it."""
        numbers = set(part.recnums)
        files = [w for w in errand.files if w.owner.recnum in numbers]
        async with self._exports.turn(errand.address):
            # Others may have waited for the same files; then they are here by now.
            left = await self._missing(errand.series, files)
            index = await self._index(errand, part, left) if left else None
        nowhere: list[tuple[int, str]] = []
        if index is not None:
            async with self._keeping:
                nowhere = await self._kept(errand, part, await self._missing(errand.series, left), index)
        errand.nowhere |= set(nowhere)
        if errand.job is not None:
            await self._parts.done(errand.job, part, json.dumps(nowhere))

    async def _index(self, errand: _Errand, part: JobPart, files: Sequence[RequestedFile]) -> Finished:
        """What upstream has made of a part."""

        async def accepted(upstream_id: str) -> None:
            if errand.job is not None:
                await self._parts.accepted(errand.job, part, upstream_id)

        request = errand.request(files, tar=len(files) >= self._tar_from)
        return await self._exports.made(request, part.upstream_id, accepted)

    async def _kept(
        self, errand: _Errand, part: JobPart, files: Sequence[RequestedFile], index: Finished
    ) -> list[tuple[int, str]]:
        """Keep the files of an export; those of which there are none."""
        rows = {w.owner: row for w in files if (row := _row_of(w, index)) is not None}
        there = [w for w in files if w.owner in rows]
        if index.tarfile is not None and there:
            lacking = await self._from_tar(errand, part, index.tarfile, [(w, rows[w.owner]) for w in there])
            if lacking:
                await self._one_by_one(errand, lacking)
        else:
            for wanted in there:
                await self._keep(wanted, index.dir, rows[wanted.owner])
        return [_key(w) for w in files if w.owner not in rows]

    async def _one_by_one(self, errand: _Errand, files: Sequence[RequestedFile]) -> None:
        """Have files exported once more, so that they can be had one by one; they are online by now."""

        async def accepted(_: str) -> None:
            """Nothing: asked for again, it gets the same id, and no tape is read."""

        async with self._exports.turn(errand.address):
            index = await self._exports.made(errand.request(files, tar=False), None, accepted)
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
        self, errand: _Errand, part: JobPart, path: str, rows: Sequence[tuple[RequestedFile, ExportFile]]
    ) -> list[RequestedFile]:
        """Keep the files of a tar file, and let that go; the files that it does not have, or has damaged."""
        try:
            tar = await self._tar(errand, part, path)
            with self._blobs.reading(tar) as place:
                lacking = await self._taken_out(place, rows)
        except (UpstreamBroken, UpstreamRefused) as problem:
            log.warning("tar file does not come path=%s error=%s", path, problem)
            return [wanted for wanted, _ in rows]
        await self._blobs.drop(tar)
        return lacking

    async def _taken_out(self, place: Path, rows: Sequence[tuple[RequestedFile, ExportFile]]) -> list[RequestedFile]:
        """Keep the members of a tar file; the files that it does not have as they should be."""
        try:
            found = await asyncio.to_thread(members, place)
        except UpstreamBroken as problem:
            log.warning("tar file is no good error=%s", problem)
            return [wanted for wanted, _ in rows]
        return [wanted for wanted, row in rows if not await self._member(wanted, row, place, found)]

    async def _tar(self, errand: _Errand, part: JobPart, path: str) -> Blob:
        held = await self._blobs.find(part.tar) if part.tar else None
        held = held if held is not None and await self._blobs.is_sound(held) else None
        tar = held or await self.fetched(path)
        if held is None and errand.job is not None:
            await self._parts.packed(errand.job, part, tar.sha256)
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
class _Errand:
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
        """The records of files in pieces of one request each."""
        counts = Counter(w.owner.recnum for w in files)
        most = self.most_records or max(1, self.most_files // max(counts.values(), default=1))
        return cut(sorted(counts), most, lambda recnum: self.sizes.get(recnum, 0), MOST_BYTES)

    def halve(self, refused: JobPart) -> bool:
        """Ask for half as many records from now on; False if there was only one."""
        self.most_records = len(refused.recnums) // 2
        return self.most_records > 0

    def request(self, files: Sequence[RequestedFile], *, tar: bool) -> ExportRequest:
        recnums = sorted({w.owner.recnum for w in files})
        segments = list(dict.fromkeys(w.segment for w in files))
        return staging_request(self.series.name, recnums, segments, self.address, tar=tar)


def _key(wanted: RequestedFile) -> tuple[int, str]:
    return wanted.owner.recnum, wanted.owner.segment


def _row_of(wanted: RequestedFile, index: Finished) -> ExportFile | None:
    shown = f"{wanted.record}{{{wanted.segment}}}"
    for row in index.files:
        if row.record == shown and row.filename not in ("", NO_DATA_FILE):
            return row
    return None
