"""Delivers files from a mirror to a folder: linked from its store if that is on this machine, else downloaded.

A file gets its name only when it is complete. An existing file of the same length is left alone.
"""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Literal

from mirror.client.connection import Call, Connection, RemoteError

How = Literal["linked", "downloaded", "there"]

#: Attempts at a download; each resumes, since what has come stays with the mirror.
TRIES = 3
PIECE = 1 << 20
#: Most bytes of a file name.
_LONGEST = 255


@dataclass(frozen=True, slots=True)
class Item:
    """A file to deliver: its name in the folder, its record, and where the mirror serves it.

    ``size`` and ``sha256`` are None if unknown, ``place`` is its path on the mirror's machine.
    """

    name: str
    record: str
    segment: str
    path: str
    size: int | None = None
    sha256: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file that is in the folder now."""

    name: str
    record: str
    segment: str
    how: How
    size: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that is not available, and why."""

    name: str
    record: str
    segment: str
    error: str


class Stopped(Exception):
    """The user has stopped the delivery."""


class Interrupted(RemoteError):
    """A truncated download."""


def name_problem(names: Sequence[str]) -> str | None:
    """Why these cannot be names of files in one folder; None if they can."""
    bad = [name for name in names if not _is_plain(name)]
    if bad:
        return f"{bad[0]!r} is not a valid file name; expected a --name without slashes"
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        several = "1 file name is" if len(twice) == 1 else f"{len(twice)} file names are"
        return f"{several} not unique, such as {twice[0]!r}; add {{recnum}} or {{segment}} to --name"
    return None


def _is_plain(name: str) -> bool:
    safe = name.isprintable() and name not in {"", ".", ".."} and not {"/", "\\"} & set(name)
    return safe and len(name.encode(errors="replace")) <= _LONGEST


def kept(folder: Path, name: str, data: bytes) -> Path:
    """Write a file into a folder, which is made if need be: completely, or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with _temporary(folder, Path(name).name) as part:
        part.write_bytes(data)
        return part.replace(folder / Path(name).name)


@contextmanager
def _temporary(folder: Path, name: str) -> Iterator[Path]:
    """A temporary file name in a folder, removed in the end."""
    part = folder / f".{name[:100]}.{uuid.uuid4().hex}.part"
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


class Delivery:
    """Puts files into ``folder``; ``arrived`` is called with numbers of bytes, negative if some must come again.

    With ``overwrite`` files of the same name are replaced; without ``link`` all are downloaded.
    """

    def __init__(
        self, connection: Connection, folder: Path, arrived: Callable[[int], None], *, link: bool, overwrite: bool
    ) -> None:
        self._connection = connection
        self._folder = folder
        self._arrived = arrived
        self._link = link
        self._overwrite = overwrite
        self._stop = threading.Event()

    def stop(self) -> None:
        """Make running deliveries end soon, with Stopped."""
        self._stop.set()

    def bring(self, item: Item) -> Delivered | Failure:
        """Deliver one file; a failure is returned, not raised."""
        try:
            how, size = self._bring(item)
        except RemoteError as problem:
            return Failure(item.name, item.record, item.segment, str(problem))
        except OSError as problem:
            return Failure(item.name, item.record, item.segment, problem.strerror or str(problem))
        return Delivered(item.name, item.record, item.segment, how, size)

    def _bring(self, item: Item) -> tuple[How, int]:
        if self._is_there(item.name, item.size):
            self._arrived(item.size or 0)
            return "there", item.size or 0
        if self._link and self.link(item):
            self._arrived(item.size or 0)
            return "linked", item.size or 0
        for attempt in range(1, TRIES + 1):
            try:
                return self._download(item)
            except Interrupted:
                if attempt == TRIES:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _is_there(self, name: str, size: int | None) -> bool:
        """True if a file of that name and length exists; raises if another one is in the way."""
        target = self._folder / name
        if size is None or self._overwrite or not target.exists():
            return False
        if target.is_file() and target.stat().st_size == size:
            return True
        raise RemoteError(f"{target} exists and is a different file; use --overwrite to replace it")

    def link(self, item: Item) -> bool:
        """True if the file could be linked from the store, and has the mirror's hash.

        A damaged one is downloaded instead, whereupon the mirror notices the damage, and fetches it again.
        """
        if item.place is None or item.sha256 is None or Path(item.place).name != item.sha256:
            return False
        with suppress(OSError), _temporary(self._folder, item.name) as part:  # another machine, disk or user: download
            os.link(item.place, part)
            with part.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if part.stat().st_size == item.size and digest == item.sha256:
                part.replace(self._folder / item.name)
                return True
        return False

    def _download(self, item: Item) -> tuple[How, int]:
        with self._connection.opened(Call(item.path, IO.read)) as answer:
            reply = answer.headers.get("Content-Length", "")
            size = int(reply) if reply.isdigit() else None
            if self._is_there(item.name, size):
                return "there", size or 0
            with _temporary(self._folder, item.name) as part:
                written = self._written(answer, part, item, size)
                part.replace(self._folder / item.name)
                return "downloaded", written

    def _written(self, answer: HTTPResponse, part: Path, item: Item, size: int | None) -> int:
        """Write the whole body; its length."""
        length, digest = 0, hashlib.sha256()
        try:
            with part.open("xb") as file:
                while piece := self._piece(answer):
                    file.write(piece)
                    digest.update(piece)
                    length += len(piece)
                    self._arrived(len(piece))
            _insist_whole(length, size, digest.hexdigest(), item.sha256)
        except BaseException:
            self._arrived(-length)
            raise
        return length

    def _piece(self, answer: HTTPResponse) -> bytes:
        """The next piece of a body, b"" at its end."""
        if self._stop.is_set():
            raise Stopped
        try:
            return answer.read(PIECE)
        except (HTTPException, ConnectionError, TimeoutError) as problem:
            raise Interrupted(f"download interrupted: {problem}") from problem


def _insist_whole(length: int, size: int | None, digest: str, sha256: str | None) -> None:
    if size is not None and length != size:
        raise Interrupted(f"download interrupted after {length:,} of {size:,} bytes")
    if sha256 is not None and digest != sha256:
        raise RemoteError("the downloaded file is damaged: its sha256 differs")
