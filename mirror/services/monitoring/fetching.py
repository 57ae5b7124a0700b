"""Who is fetching what from JSOC now, and how long it will take. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from mirror.api.monitoring import FileProgress, FillProgress
from mirror.services.access.usage import ITSELF

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from mirror.readthrough.downloads import Download
    from mirror.readthrough.filler import Progress


def fills(progress: Mapping[str, Progress], now: float) -> list[FillProgress]:
    """The series that are being fetched; ``now`` in Unix seconds."""
    return [
        FillProgress(
            series=name, done=p.done, total=p.total, who=[who or ITSELF for who in p.who],
            seconds_left=None if (left := p.seconds_left(now)) is None else round(left),
        )
        for name, p in progress.items()
    ]  # fmt: skip


def downloads(running: Iterable[Download], now: float) -> list[FileProgress]:
    """The files that are being fetched, each under the first who asked for it; ``now`` by the clock of the event loop."""
    by_who: dict[str, list[Download]] = defaultdict(list)
    for download in running:
        by_who[next(iter(download.who)) or ITSELF].append(download)
    return [_files(who, files, now) for who, files in by_who.items()]


def _files(who: str, files: Sequence[Download], now: float) -> FileProgress:
    arriving = [d for d in files if d.begun_at is not None]
    known = [d for d in files if d.size is not None]
    size, written = sum(d.size or 0 for d in known), sum(d.written for d in files)
    # Waiting files of unknown size are assumed to be as large as the others.
    still = size / len(known) * len(files) - written if known else None
    began = min((d.begun_at for d in arriving if d.begun_at is not None), default=now)
    fresh = sum(d.written - d.resumed for d in arriving)
    left = round(still * (now - began) / fresh) if still is not None and fresh > 0 and now > began else None
    return FileProgress(
        who=who, files=len(files), arriving=len(arriving), bytes=written, size=size, seconds_left=left
    )
