"""The directory of a finished export: a virtual folder, made from a job's rows and blobs.

index.json, index.txt, index.html     what there is, three times
<request id>.keywords.txt             the keywords of as-is files, as a table
<request id>.tar                      all of it, made while it is sent
<name>                                the files
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.errors import NotHeld
from mirror.fits.record import is_second_name
from mirror.services.exports.content import (
    PRINTED,
    Content,
    ContentPart,
    Stretch,
    blobs_of,
    content_of,
    length,
)
from mirror.services.exports.planning import finished, request_of
from mirror.services.exports.worker import is_file
from mirror.wire.export_index import (
    KeywordColumn,
    KeywordTable,
    encode_index_html,
    encode_index_json,
    encode_index_txt,
    encode_keywords,
)
from mirror.wire.paths import is_plain
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mirror.drms.export import ExportRequest
    from mirror.drms.series import Keyword, Series
    from mirror.services.exports.jobs import Job, JobFile, Jobs
    from mirror.services.exports.planning import ExportPlanner
    from mirror.services.exports.worker import ExportJobs
    from mirror.storage.files.blobs import Blobs

BLOCK = 512
#: tar files are padded to records of 20 blocks.
RECORD = 20 * BLOCK
#: Up to this size (bytes), all files of a tar file are verified before the first is sent: some tenths of a second.
LOOKED_AT_FIRST = 256_000_000
#: Directories in memory.
_MOST_OPEN = 16


@dataclass(frozen=True, slots=True)
class Page:
    """A document of the directory."""

    data: bytes
    kind: str


@dataclass(frozen=True, slots=True)
class Directory:
    """A job with its files by name, and those of their contents that were looked up."""

    job: Job
    files: Mapping[str, JobFile]
    contents: dict[str, Content]


class ExportDirectories:
    """Reads the directories of exports."""

    def __init__(self, jobs: Jobs, planner: ExportPlanner, worker: ExportJobs, blobs: Blobs) -> None:
        self._jobs = jobs
        self._planner = planner
        self._worker = worker
        self._blobs = blobs
        self._open: dict[str, Directory] = {}
        self._open_since = (0, 0)

    async def entry(self, request_id: str, name: str) -> Page | Content | None:
        """The content for a name in a directory; None if there is no such export, or no such name in it.

        A file that has left the store is fetched or made again first; raises what prevents that.
        """
        directory = await self._directory(request_id)
        if directory is None:
            return None
        if name in directory.files:
            return await self._sound(await self._filled(directory, [name]), name)
        job = directory.job
        if job.state != "done":
            return None
        if name == f"{job.id}.tar" and request_of(job).method.endswith("-tar"):
            return await self._archive(directory)
        return await self._page(job, name) if name in _page_names(job) else None

    async def _directory(self, request_id: str) -> Directory | None:
        """The directory of an export; recent ones stay in memory while nothing changes."""
        age = self._age()
        if age != self._open_since or len(self._open) >= _MOST_OPEN:
            self._open, self._open_since = {}, age
        if request_id in self._open:
            return self._open[request_id]
        job = await self._jobs.get(request_id)
        if job is None or (not job.files and job.state != "done"):
            return None
        if not job.finished:  # it was done before, and some of its files are being made again
            return _directory_of(await self._worker.refilled(job))
        directory = _directory_of(job)
        if age == self._open_since == self._age():
            self._open[request_id] = directory
        return directory

    def _age(self) -> tuple[int, int]:
        """Changes whenever a directory may have changed."""
        return self._jobs.version.number, self._blobs.departures.number

    async def _filled(self, directory: Directory, names: Sequence[str]) -> Directory:
        """The directory with these contents; missing ones are fetched or made again, NotHeld if that fails."""
        if not await self._look_up(directory, names):
            directory = _directory_of(await self._worker.refilled(directory.job))
            missing = None if await self._look_up(directory, names) else _missing(directory, names)
            if missing is not None:
                raise NotHeld(f"{missing} of {directory.job.id} was evicted, and JSOC no longer has it", (missing,))
        return directory

    async def _sound(self, directory: Directory, name: str) -> Content:
        """The content of a file, verified; a damaged one is fetched or made again."""
        content = directory.contents[name]
        if not await self._blobs.all_sound(blobs_of(content)):
            content = (await self._filled(directory, [name])).contents[name]
        return content

    async def _look_up(self, directory: Directory, names: Sequence[str]) -> bool:
        """Find the contents of these files; True if all of them are there."""
        if len(names) == 1 and (known := directory.contents.get(names[0])) is not None:
            return not await self._blobs.lost(p.blob for p in known.parts if isinstance(p, Stretch))
        files = [directory.files[name] for name in names if name in directory.files]
        held = await self._blobs.find_all(f.sha256 for f in files if f.sha256)
        for file in files:
            blob = held.get(file.sha256 or "")
            if blob is not None:
                content = content_of(blob, file.front, modified=directory.job.updated)
                directory.contents[file.name] = replace(content, values=PRINTED if file.printed else None)
            else:
                directory.contents.pop(file.name, None)
        return _missing(directory, names) is None

    async def _page(self, job: Job, name: str) -> Page:
        index = finished(job)
        if name == "index.json":
            return Page(encode_index_json(index), "application/json")
        if name == "index.txt":
            return Page(encode_index_txt(index), "text/plain")
        if name == "index.html":
            return Page(encode_index_html(index, base=""), "text/html")
        return Page(encode_keywords(await self._keywords(request_of(job))), "text/plain")

    async def _keywords(self, request: ExportRequest) -> KeywordTable:
        """Every keyword of the records as printed; JSOC does not publish printf formats, so %s stands in for them."""
        plan = await self._planner.plan(request)
        keywords = _shown(plan.series)
        names = tuple(from_wire(row["*spec*"]) for row in plan.rows)
        rows = tuple(tuple(_cell(k, from_wire(row[k.name])) for k in keywords) for row in plan.rows)
        return KeywordTable(tuple(map(_column, keywords)), names, rows)

    async def _archive(self, directory: Directory) -> Content:
        """The tar file; an error if one of its files is not available, since nobody would notice a shorter one."""
        pages = _page_names(directory.job)
        names = [name for name in directory.files if name not in pages and is_plain(name)]
        directory = await self._filled(directory, names)
        # A client waits for everything that is verified here. Larger archives are verified file by file while they are sent.
        first = [blob for name in names for blob in blobs_of(directory.contents[name])]
        if sum(blob.size for blob in first) <= LOOKED_AT_FIRST and not await self._blobs.all_sound(first):
            directory = await self._filled(directory, names)
        job, parts = directory.job, list[ContentPart]()
        for name in pages:
            page = await self._page(job, name)
            parts += _member(name, job.updated, [page.data])
        for name in names:
            parts += _member(name, job.updated, directory.contents[name].parts)
        parts.append(bytes(2 * BLOCK))
        whole = sum(map(length, parts))
        values = PRINTED if any(f.printed for f in job.files) else None
        return Content((*parts, bytes(-whole % RECORD)), job.updated, values)


def _directory_of(job: Job) -> Directory:
    """The directory of a job; of several files with one name the first counts."""
    files: dict[str, JobFile] = {}
    for file in filter(is_file, job.files):
        files.setdefault(file.name, file)
    return Directory(job, files, {})


def _missing(directory: Directory, names: Sequence[str]) -> str | None:
    return next((name for name in names if name not in directory.contents), None)


def _shown(series: Series) -> list[Keyword]:
    """The keywords of a table, without implicit ones and without duplicates under another name."""
    real = [k for k in series.record_keywords if k.name not in series.implicit]
    return [k for i, k in enumerate(real) if i == 0 or not is_second_name(k, real[i - 1])]


def _column(keyword: Keyword) -> KeywordColumn:
    return KeywordColumn(keyword.name, keyword.type) if keyword.linkinfo is None else KeywordColumn(keyword.name, "TBD", "TBD")


def _cell(keyword: Keyword, printed: str) -> str:
    """A value as show_info prints it: missing values are not a word there, except for times and integers."""
    missing = {"string": "", "float": "nan", "double": "nan"}
    return missing.get(keyword.type, printed) if printed == "MISSING" else printed


def _page_names(job: Job) -> list[str]:
    request = request_of(job)
    keywords = request.protocol.name != "fits" and not request.process.steps
    return ["index.json", "index.txt", "index.html", *([f"{job.id}.keywords.txt"] if keywords else [])]


def _member(name: str, at: float, parts: Sequence[ContentPart]) -> Iterator[ContentPart]:
    info = tarfile.TarInfo(f"./{name}")
    info.size, info.mtime, info.mode = sum(map(length, parts)), int(at), 0o644
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield from parts
    yield bytes(-info.size % BLOCK)
