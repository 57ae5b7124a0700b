"""The directory of a finished export: a folder that nowhere exists, made of a job's rows and blobs.

index.json, index.txt, index.html     what there is, three times
<request id>.keywords.txt             the keywords of as-is files, as a table
<request id>.tar                      all of it, made while it is sent
<name>                                the files
"""

from __future__ import annotations

import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.errors import NotHeld
from mirror.drms.fits.record import is_second_name
from mirror.services.exportjobs import is_file
from mirror.services.exportplan import finished, request_of
from mirror.storage.unitfile import is_plain
from mirror.wire.export_index import encode_index_html, encode_index_json, encode_index_txt
from mirror.wire.keywords_txt import KeywordColumn, KeywordTable, encode_keywords
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.drms.export import ExportRequest
    from mirror.drms.series import Keyword, Series
    from mirror.services.exportplan import ExportPlanner
    from mirror.storage.blobs import Blobs
    from mirror.storage.blobtable import Blob
    from mirror.storage.jobs import Job, JobFile, Jobs

BLOCK = 512
#: tar files are padded to records of 20 blocks.
RECORD = 20 * BLOCK


@dataclass(frozen=True, slots=True)
class Page:
    """A document of the directory."""

    data: bytes
    kind: str


@dataclass(frozen=True, slots=True)
class Archive:
    """A tar file: its parts in order, bytes or blobs, and the length of the whole."""

    parts: tuple[bytes | Blob, ...]

    @property
    def size(self) -> int:
        return sum(len(p) if isinstance(p, bytes) else p.size for p in self.parts)


class ExportDirectories:
    """Reads the directories of exports."""

    def __init__(self, jobs: Jobs, planner: ExportPlanner, blobs: Blobs) -> None:
        self._jobs = jobs
        self._planner = planner
        self._blobs = blobs

    async def entry(self, request_id: str, name: str) -> Page | Archive | Blob | None:
        """What a name in a directory stands for; None if there is no such export, or no such name in it."""
        job = await self._jobs.get(request_id)
        if job is None or job.state != "done":
            return None
        file = next((f for f in job.files if f.name == name and is_file(f)), None)
        if file is not None:
            return await self._blob(job, file)
        if name == f"{job.id}.tar" and request_of(job).method.endswith("-tar"):
            return await self._archive(job)
        return await self._page(job, name) if name in _page_names(job) else None

    async def _blob(self, job: Job, file: JobFile) -> Blob:
        blob = await self._blobs.find(file.sha256) if file.sha256 else None
        if blob is None:
            raise NotHeld(
                f"{file.name} of {job.id} is not held any more; ask for the export's status, and it is made again",
                (file.name,),
            )
        return blob

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
        """Every keyword of the records as it prints; the printf formats are JSOC's secret, %s stands in."""
        plan = await self._planner.plan(request)
        keywords = _shown(plan.series)
        names = tuple(from_wire(row["*spec*"]) for row in plan.rows)
        rows = tuple(tuple(_cell(k, from_wire(row[k.name])) for k in keywords) for row in plan.rows)
        return KeywordTable(tuple(map(_column, keywords)), names, rows)

    async def _archive(self, job: Job) -> Archive:
        """The tar file; NotHeld if one of its files has left the store, for nobody would notice a shorter one."""
        parts: list[bytes | Blob] = []
        pages = _page_names(job)
        for name in pages:
            page = await self._page(job, name)
            parts += _member(name, len(page.data), job.updated, page.data)
        seen = set(pages)
        for file in job.files:
            if not is_file(file) or file.name in seen or not is_plain(file.name):
                continue
            blob = await self._blob(job, file)
            seen.add(file.name)
            parts += _member(file.name, blob.size, job.updated, blob)
        parts.append(bytes(2 * BLOCK))
        whole = Archive(tuple(parts)).size
        return Archive((*parts, bytes(-whole % RECORD)))


def _shown(series: Series) -> list[Keyword]:
    """The keywords of a table: neither implicit ones, nor what is there once more under another name."""
    real = [k for k in series.keywords if k.name not in series.implicit]
    return [k for i, k in enumerate(real) if i == 0 or not is_second_name(k, real[i - 1])]


def _column(keyword: Keyword) -> KeywordColumn:
    return KeywordColumn(keyword.name, keyword.type) if keyword.linkinfo is None else KeywordColumn(keyword.name, "TBD", "TBD")


def _cell(keyword: Keyword, printed: str) -> str:
    """A value as show_info prints it: what is missing is not a word there, but for times and integers."""
    missing = {"string": "", "float": "nan", "double": "nan"}
    return missing.get(keyword.type, printed) if printed == "MISSING" else printed


def _page_names(job: Job) -> list[str]:
    request = request_of(job)
    keywords = request.protocol.as_is and not request.alters_data
    return ["index.json", "index.txt", "index.html", *([f"{job.id}.keywords.txt"] if keywords else [])]


def _member(name: str, size: int, at: float, content: bytes | Blob) -> Iterator[bytes | Blob]:
    info = tarfile.TarInfo(f"./{name}")
    info.size, info.mtime, info.mode = size, int(at), 0o644
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield content
    yield bytes(-size % BLOCK)
