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
from mirror.services.exportplan import finished, request_of
from mirror.storage.unitfile import is_plain
from mirror.wire.export_index import encode_index_html, encode_index_json, encode_index_txt
from mirror.wire.keywords_txt import KeywordColumn, KeywordTable, encode_keywords
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mirror.drms.export import ExportRequest
    from mirror.services.exportplan import ExportPlanner
    from mirror.storage.blobs import Blobs
    from mirror.storage.blobtable import Blob
    from mirror.storage.jobs import Job, Jobs

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
        held = next((f.sha256 for f in job.files if f.name == name and f.sha256), None)
        if held is not None:
            return await self._blobs.find(held)
        if name == f"{job.id}.tar" and request_of(job).method.endswith("-tar"):
            return await self._archive(job)
        return await self._page(job, name) if name in _page_names(job) else None

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
        columns = tuple(KeywordColumn(k.name, k.type) for k in plan.layout.keywords)
        names = tuple(from_wire(row["*spec*"]) for row in plan.rows)
        rows = tuple(tuple(from_wire(row[c.name]) for c in columns) for row in plan.rows)
        return KeywordTable(columns, names, rows)

    async def _archive(self, job: Job) -> Archive:
        """The tar file; NotHeld if one of its files has left the store: a shorter one would not be noticed."""
        parts: list[bytes | Blob] = []
        pages = _page_names(job)
        for name in pages:
            page = await self._page(job, name)
            parts += _member(name, len(page.data), job.updated, page.data)
        seen = set(pages)
        for file in job.files:
            if not file.sha256 or file.name in seen or not is_plain(file.name):
                continue
            blob = await self._blobs.find(file.sha256)
            if blob is None:
                raise NotHeld(f"{file.name} of {job.id} is not held any more; ask for the status of the export")
            seen.add(file.name)
            parts += _member(file.name, blob.size, job.updated, blob)
        parts.append(bytes(2 * BLOCK))
        whole = Archive(tuple(parts)).size
        return Archive((*parts, bytes(-whole % RECORD)))


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
