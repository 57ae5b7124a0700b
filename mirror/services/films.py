"""Films of record sets, made as jobs: one after the other, in the background.

1. What is asked for is looked at before there is a job: nothing cached, or no ffmpeg, is an error at once.
2. A frame is a quick look, made or taken from those that are kept. Records whose file is not cached are left out and
   counted, unless they are to be fetched.
3. A film is a file in a folder of its own, with a note of its job beside it. Those used longest ago go first, when there are
   too many or they are too large together. What was under way when the mirror ended is begun again.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from mirror.api.exports import Job, JobFile
from mirror.concurrency import cancel
from mirror.drms.export import ExportRequest
from mirror.errors import BadRequest, MirrorError, NotHeld, OutOfTime, Refused, TooMany, UnknownName
from mirror.humanize import counted, stamp
from mirror.readthrough.policy import CacheDemand
from mirror.services.quicklook.quicklook import SIZES, image_segments
from mirror.wire.export import decode_fetch, encode_fetch

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mirror.services.exports.planning import ExportPlanner
    from mirror.services.quicklook.quicklook import QuickLook, QuickLooks

log = logging.getLogger(__name__)

#: Frames of a film, films that may wait, those that are kept, and bytes of them together.
MOST_FRAMES, MOST_WAITING, KEPT, KEPT_BYTES = 2000, 20, 20, 1 << 30
FPS = (1, 60)
#: The ids of films; the number tells which mirror of a cluster made it.
FILM = re.compile(r"FILM_\d{8}_(\d{1,18})")
_FETCH = "with fetch (--fetch) they are fetched"
_ENDED = frozenset({"done", "failed", "cancelled"})
State = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class FilmRequest:
    """The records of ``request``, every ``step``-th, no side above ``size`` pixels, so many frames a second."""

    request: ExportRequest
    size: int = 512
    fps: int = 10
    step: int = 1
    fetch: bool = False

    def check(self) -> None:
        """BadRequest for what cannot be."""
        if self.size not in SIZES:
            raise BadRequest(f"size is {self.size}; expected one of {', '.join(map(str, SIZES))}")
        if not FPS[0] <= self.fps <= FPS[1]:
            raise BadRequest(f"fps is {self.fps}; expected {FPS[0]} to {FPS[1]} frames a second")
        if self.step < 1:
            raise BadRequest(f"step is {self.step}; expected 1 or more")


@dataclass(frozen=True, slots=True)
class FilmJob:
    """A film, as it is now: ``ready`` of ``total`` records have been looked at, ``skipped`` of them are not in it."""

    id: str
    asked: FilmRequest
    by: str
    state: State
    created: float
    updated: float
    total: int
    ready: int = 0
    skipped: int = 0
    bytes: int = 0
    error: str | None = None

    @property
    def ended(self) -> bool:
        """True if nothing happens any more."""
        return self.state in _ENDED


class Films:
    """The films of a mirror, below ``root``; ``now`` gives Unix seconds, ``number`` what no other mirror calls the n-th."""

    def __init__(
        self, planner: ExportPlanner, quicklooks: QuickLooks, root: Path, now: Callable[[], float],
        number: Callable[[int], int] = lambda n: n,
    ) -> None:  # fmt: skip
        self._planner = planner
        self._quicklooks = quicklooks
        self._root = root
        self._now = now
        self._number = number
        self._jobs = _kept_jobs(root)  #: oldest first
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()
        self._stopping = False
        self._count = 0

    def resume(self) -> None:
        """Begin again what was under way when the mirror ended, oldest first."""
        for job in list(self._jobs.values()):
            if not job.ended:
                self._change(job.id, state="waiting", ready=0, skipped=0)
                self._begin(job.id, None)

    async def start(self, asked: FilmRequest, by: str) -> FilmJob:
        """Begin a film, or give the one of the same request if it is under way.

        BadRequest for what cannot be, Refused without ffmpeg, NotHeld if nothing is cached and nothing may be fetched,
        TooMany after too many others.
        """
        asked.check()
        program()
        if (same := self._under_way(asked)) is not None:
            return same
        records = await self._records(asked)
        if (same := self._under_way(asked)) is not None:  # it was asked for meanwhile
            return same
        now = self._now()
        job = FilmJob(self._next_id(stamp(now)[:10].replace("-", "")), asked, by, "waiting", now, now, len(records))
        self._jobs[job.id] = job
        self._note(job)
        self._begin(job.id, records)
        return job

    def _under_way(self, asked: FilmRequest) -> FilmJob | None:
        """The film of the same request, if it is under way; TooMany if it would be one too many."""
        for job in self._jobs.values():
            if job.asked == asked and not job.ended:
                return job
        if len(self._tasks) >= MOST_WAITING:
            raise TooMany(f"{MOST_WAITING} films are waiting already; wait until one has ended")
        return None

    def _next_id(self, day: str) -> str:
        """An id that no film has had which is known."""
        known = [int(found[1]) for film_id in self._jobs if (found := FILM.fullmatch(film_id)) and day in film_id]
        self._count += 1
        while self._number(self._count) <= max(known, default=0):
            self._count += 1
        return f"FILM_{day}_{self._number(self._count):03d}"

    def _begin(self, film_id: str, records: Sequence[str] | None) -> None:
        task = asyncio.ensure_future(self._work(film_id, records))
        self._tasks[film_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(film_id, None))

    def list(self) -> tuple[FilmJob, ...]:
        """Those under way, and the last that ended, newest first."""
        return tuple(self._jobs.values())[::-1]

    def get(self, film_id: str) -> FilmJob | None:
        """The film of that id, or None."""
        return self._jobs.get(film_id)

    def file(self, film_id: str) -> Path:
        """The MP4 of a film that is done; UnknownName if there is none."""
        job = self._jobs.get(film_id)
        if job is None:
            raise UnknownName(f"no film {film_id!r}; see `mirror jobs --kind film` for IDs")
        if job.state != "done":
            raise UnknownName(f"{film_id} is {job.state}{f': {job.error}' if job.error else ''}; there is no film of it")
        self._jobs[film_id] = self._jobs.pop(film_id)  # used last
        return self._path(film_id)

    async def cancel(self, film_id: str) -> FilmJob:
        """End a film; one that has ended stays as it is. UnknownName if there is none of that id."""
        if film_id not in self._jobs:
            raise UnknownName(f"no film {film_id!r}; see `mirror jobs --kind film` for IDs")
        await self._end(film_id)
        return self._jobs[film_id]

    async def ended(self, film_id: str) -> FilmJob:
        """The film once it has ended."""
        if film_id in self._tasks:
            await asyncio.wait([self._tasks[film_id]])
        return self._jobs[film_id]

    async def stop(self) -> None:
        """End all work; what is under way is begun again at the next start."""
        self._stopping = True
        for film_id in list(self._tasks):
            await self._end(film_id)

    async def _end(self, film_id: str) -> None:
        task = self._tasks.get(film_id)
        if task is not None:
            await cancel(task)
            if not self._jobs[film_id].ended and not self._stopping:  # it had not begun
                self._change(film_id, state="cancelled")

    # ---- what is in it -----------------------------------------------------------------------------

    async def _records(self, asked: FilmRequest) -> Sequence[str]:
        """The record sets of the frames, each of one record."""
        demand = CacheDemand.DEFAULT if asked.fetch else CacheDemand.ONLY_IF_CACHED
        try:
            plan = await self._planner.plan(asked.request, demand)
        except NotHeld as problem:
            raise problem if asked.fetch else NotHeld(f"{problem}; {_FETCH}", problem.missing) from problem
        rows = plan.rows[:: asked.step]
        if not rows:
            if asked.fetch:
                raise BadRequest(f"no records match {asked.request.ds}")
            raise NotHeld(f"no records of {asked.request.ds} are cached; {_FETCH}", (asked.request.ds,))
        if len(rows) > MOST_FRAMES:
            raise BadRequest(f"{len(rows)} frames are too many; expected at most {MOST_FRAMES}: take fewer records, or a larger step")
        if not image_segments(plan.series):
            raise BadRequest(f"{plan.series.name} has no segment that is an image")
        segment = f"{{{','.join(asked.request.segments)}}}" if asked.request.segments else _braces(asked.request.ds)
        records = [f"{plan.series.name}[:#{row.recnum}]{segment}" for row in rows]
        if not asked.fetch and not await self._any_held(records, asked):
            raise NotHeld(
                f"no image of {asked.request.ds} is cached ({counted(len(records), 'record')}); {_FETCH}",
                (asked.request.ds,),
            )
        return records

    async def _any_held(self, records: Sequence[str], asked: FilmRequest) -> bool:
        for record in records:
            with suppress(NotHeld):
                await self._find(record, asked)
                return True
        return False

    async def _find(self, record: str, asked: FilmRequest) -> QuickLook:
        return await self._quicklooks.find(ExportRequest(record, allow_staging=True), 1, most=asked.size, fetch=asked.fetch)

    # ---- making it ---------------------------------------------------------------------------------

    async def _work(self, film_id: str, records: Sequence[str] | None) -> None:
        """Make a film; of records that are looked up first if they are not given."""
        try:
            async with self._turn:
                if records is None:
                    records = await self._records(self._jobs[film_id].asked)
                    self._change(film_id, total=len(records))
                await self._make(film_id, records)
        except asyncio.CancelledError:
            if not self._stopping:
                self._change(film_id, state="cancelled")
            raise
        except MirrorError as problem:
            self._change(film_id, state="failed", error=str(problem))
        except Exception:
            log.exception("film failed id=%s", film_id)
            self._change(film_id, state="failed", error="internal error in this film; see the mirror's log")
        finally:
            self._path(film_id).with_suffix(".part").unlink(missing_ok=True)

    async def _make(self, film_id: str, records: Sequence[str]) -> None:
        asked, part = self._jobs[film_id].asked, self._path(film_id).with_suffix(".part")
        self._change(film_id, state="running")
        self._root.mkdir(parents=True, exist_ok=True)
        encoder: Encoder | None = None
        try:
            for record in records:
                try:
                    found = await self._find(record, asked)
                    png = await self._quicklooks.png(found)
                except (NotHeld, BadRequest):  # not cached, or no picture can be made of it
                    job = self._jobs[film_id]
                    self._change(film_id, ready=job.ready + 1, skipped=job.skipped + 1)
                    continue
                encoder = encoder or await Encoder.begin(part, await asyncio.to_thread(even, png), asked.fps)
                await encoder.add(png, found.record)
                self._change(film_id, ready=self._jobs[film_id].ready + 1)
            if encoder is None:
                raise MirrorError("no picture could be made of any of these records")
            await encoder.end()
        finally:
            if encoder is not None:
                await encoder.stop()
        part.replace(self._path(film_id))
        self._change(film_id, state="done", bytes=self._path(film_id).stat().st_size)
        self._jobs[film_id] = self._jobs.pop(film_id)  # used last
        self._make_room()

    def _make_room(self) -> None:
        """Forget the films used longest ago, until the others have room."""
        ended = [job for job in self._jobs.values() if job.ended]
        while len(ended) > KEPT or (len(ended) > 1 and sum(job.bytes for job in ended) > KEPT_BYTES):
            oldest = ended.pop(0)
            del self._jobs[oldest.id]
            for kept in (self._path(oldest.id), _note_of(self._root, oldest.id)):
                kept.unlink(missing_ok=True)

    def _change(self, film_id: str, **members: object) -> None:
        job = self._jobs[film_id] = replace(self._jobs[film_id], updated=self._now(), **members)  # type: ignore[arg-type]
        if "state" in members:
            self._note(job)

    def _note(self, job: FilmJob) -> None:
        """Write a job down. One that cannot be is forgotten when the mirror ends, no sooner."""
        note = _note_of(self._root, job.id)
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            fresh = note.with_suffix(".new")
            fresh.write_text(json.dumps(_noted(job)))
            fresh.replace(note)
        except OSError as problem:
            log.warning("a film is not noted id=%s error=%s", job.id, problem)

    def _path(self, film_id: str) -> Path:
        return _film_of(self._root, film_id)


# ---- notes -----------------------------------------------------------------------------------------


def _film_of(root: Path, film_id: str) -> Path:
    return root / f"{film_id}.mp4"


def _note_of(root: Path, film_id: str) -> Path:
    return root / f"{film_id}.json"


def _noted(job: FilmJob) -> dict[str, object]:
    asked = asdict(job.asked) | {"request": encode_fetch(job.asked.request)}
    return asdict(job) | {"asked": asked}


def _read_note(text: str) -> FilmJob:
    """What ``_noted`` gave; ValueError, TypeError or KeyError for what it never gave, BadRequest for what nobody could ask."""
    members = json.loads(text)
    request = decode_fetch(members["asked"]["request"])
    if not isinstance(request, ExportRequest) or members["state"] not in get_args(State):
        raise ValueError("no film")
    job = FilmJob(**(members | {"asked": FilmRequest(**(members["asked"] | {"request": request}))}))
    job.asked.check()
    return job


def _kept_jobs(root: Path) -> dict[str, FilmJob]:
    """The jobs that are noted, oldest first; what belongs to none is removed."""
    found: list[FilmJob] = []
    for path in root.glob("*.json"):
        try:
            job = _read_note(path.read_text())
        except (OSError, ValueError, TypeError, KeyError, AttributeError, MirrorError) as problem:
            log.warning("the note of a film cannot be read path=%s error=%s", path, problem)
            continue
        if path == _note_of(root, job.id) and (job.state != "done" or _film_of(root, job.id).exists()):
            found.append(job)
    kept = {path for job in found for path in (_note_of(root, job.id), _film_of(root, job.id))}
    for path in root.glob("*"):
        if path not in kept:
            with suppress(OSError):
                path.unlink()
    return {job.id: job for job in sorted(found, key=lambda job: (job.updated, job.id))}


def _braces(ds: str) -> str:
    """The segments that a record set names, in braces; nothing if it names none."""
    return f"{{{ds.rpartition('{')[2]}" if ds.rstrip().endswith("}") and "{" in ds else ""


def film_line(job: FilmJob) -> Job:
    """A film with the members that every job has."""
    took, left = job.updated - job.created, job.total - job.ready
    kept = [JobFile(record=job.asked.request.ds, name=f"{job.id}.mp4", size=job.bytes, sha256=None, values="printed", path=f"/api/films/{job.id}")]  # fmt: skip
    return Job(
        id=job.id,
        kind="film",
        by=job.by or None,
        state=job.state,
        ready=job.ready,
        total=job.total,
        counted="frames",
        seconds_left=round(took / job.ready * left) if job.ready and job.state == "running" else None,
        bytes=job.bytes,
        ds=job.asked.request.ds,
        created=stamp(job.created),
        updated=stamp(job.updated),
        error=job.error,
        waits=None,
        notes=[f"{counted(job.skipped, 'record')} without a cached image left out"] if job.skipped else [],
        files=kept if job.state == "done" else [],
    )


# ---- ffmpeg --------------------------------------------------------------------------------------
# From pictures to an MP4: the pictures are ours, ffmpeg is that of imageio-ffmpeg, in a process of its own.


#: Seconds that a picture, and the end of a film, may take.
LONGEST = 60.0
MISSING = "films need imageio-ffmpeg where the mirror runs: pip install 'jsoc-mirror[movies]'"
_QUALITY = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p", "-threads", "1")


def program() -> str:
    """The ffmpeg that makes films; Refused if there is none."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe  # noqa: PLC0415  (a mirror may lack it)

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError) as problem:
        raise Refused(MISSING) from problem


def frame(png: bytes, size: tuple[int, int], caption: str) -> bytes:
    """A picture as RGB of that width and height, cut or with black beside it, with its caption at the bottom."""
    from PIL import Image, ImageDraw  # noqa: PLC0415  (a mirror may lack it; then there is no picture either)

    canvas = Image.new("RGB", size)
    canvas.paste(Image.open(io.BytesIO(png)).convert("RGB"), (0, 0))
    ImageDraw.Draw(canvas).text((6, size[1] - 18), caption, fill="white", stroke_fill="black", stroke_width=1)
    return canvas.tobytes()


def even(png: bytes) -> tuple[int, int]:
    """Width and height of a film that begins with a picture: even ones, as players want them."""
    from PIL import Image  # noqa: PLC0415  (see above)

    width, height = Image.open(io.BytesIO(png)).size
    return max(2, width - width % 2), max(2, height - height % 2)


class Encoder:
    """Writes one film to ``path``, frame by frame; it is there once ``end`` has returned."""

    def __init__(self, process: Process, size: tuple[int, int]) -> None:
        self._process = process
        self._size = size

    @classmethod
    async def begin(cls, path: Path, size: tuple[int, int], fps: int) -> Encoder:
        """Start the program."""
        first = ("nice", "-n", "10") if shutil.which("nice") else ()
        process = await asyncio.create_subprocess_exec(
            *first, program(), "-nostdin", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24",
            "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "-", "-an", *_QUALITY, "-movflags", "+faststart",
            "-f", "mp4", "-y", str(path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        return cls(process, size)

    async def add(self, png: bytes, caption: str) -> None:
        """One more frame; MirrorError if the program has ended, OutOfTime if it does not take it."""
        assert self._process.stdin is not None
        picture = await asyncio.to_thread(frame, png, self._size, caption)
        try:
            async with asyncio.timeout(LONGEST):
                self._process.stdin.write(picture)
                await self._process.stdin.drain()
        except TimeoutError:
            raise OutOfTime(f"ffmpeg took longer than {LONGEST:g} s to take a picture") from None
        except ConnectionError:
            raise await self._failed() from None

    async def end(self) -> None:
        """Finish the film; MirrorError with what ffmpeg said if it cannot be."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(LONGEST):
                _, said = await self._process.communicate()
        except TimeoutError:
            raise OutOfTime(f"ffmpeg took longer than {LONGEST:g} s to finish the film") from None
        if self._process.returncode:
            raise MirrorError(f"ffmpeg ended with {self._process.returncode}: {_last(said)}")

    async def stop(self) -> None:
        """End the program, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _failed(self) -> MirrorError:
        assert self._process.stderr is not None
        said = await self._process.stderr.read()
        return MirrorError(f"ffmpeg ended with {await self._process.wait()}: {_last(said)}")


def _last(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
