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

from mirror.drms.export import NO_DATA_FILE, ExportRequest
from mirror.services.exportplan import finished, request_of
from mirror.storage.unitfile import is_plain
from mirror.wire.export_index import encode_index_html, encode_index_json, encode_index_txt
from mirror.wire.keywords_txt import KeywordColumn, KeywordTable, encode_keywords
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        pages = await self._pages(job)
        if name in pages:
            return pages[name]
        if name == f"{job.id}.tar" and request_of(job).method.endswith("-tar"):
            return await self._archive(job, pages)
        held = next((f.sha256 for f in job.files if f.name == name and f.sha256), None)
        return None if held is None else await self._blobs.find(held)

    async def _pages(self, job: Job) -> dict[str, Page]:
        index, request = finished(job), request_of(job)
        pages = {
            "index.json": Page(encode_index_json(index), "application/json"),
            "index.txt": Page(encode_index_txt(index), "text/plain"),
            "index.html": Page(encode_index_html(index, base=""), "text/html"),
        }
        if request.protocol.as_is and not request.alters_data:
            table = await self._keywords(request)
            pages[f"{job.id}.keywords.txt"] = Page(encode_keywords(table), "text/plain")
        return pages

    async def _keywords(self, request: ExportRequest) -> KeywordTable:
        """Every keyword of the records as it prints; the printf formats are JSOC's secret, %s stands in."""
        plan = await self._planner.plan(request)
        columns = tuple(KeywordColumn(k.name, k.type) for k in plan.layout.keywords)
        names = tuple(from_wire(row["*spec*"]) for row in plan.rows)
        rows = tuple(tuple(from_wire(row[c.name]) for c in columns) for row in plan.rows)
        return KeywordTable(columns, names, rows)

    async def _archive(self, job: Job, pages: dict[str, Page]) -> Archive:
        parts: list[bytes | Blob] = []
        for name, page in pages.items():
            parts += _member(name, len(page.data), job.updated, page.data)
        seen = set(pages)
        for file in job.files:
            blob = await self._blobs.find(file.sha256) if file.sha256 else None
            if blob is None or file.name in seen or file.name == NO_DATA_FILE or not is_plain(file.name):
                continue
            seen.add(file.name)
            parts += _member(file.name, blob.size, job.updated, blob)
        parts.append(bytes(2 * BLOCK))
        whole = Archive(tuple(parts)).size
        return Archive((*parts, bytes(-whole % RECORD)))


def _member(name: str, size: int, at: float, content: bytes | Blob) -> Iterator[bytes | Blob]:
    info = tarfile.TarInfo(f"./{name}")
    info.size, info.mtime, info.mode = size, int(at), 0o644
    yield info.tobuf(tarfile.GNU_FORMAT)
    yield content
    yield bytes(-size % BLOCK)
