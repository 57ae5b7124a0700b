"""Looking at existing files: which there are, what each begins with, whether it is whole.

Every function here blocks, and only reads. A problem of a file is a text that reads well after its name; problems that
may pass (``for_now``) are kept apart from final ones.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mirror.errors import UpstreamError, explained
from mirror.fits.assembly import add_sums, ones_complement
from mirror.fits.integrity import fits_problem
from mirror.services.adoption.match import Unplaced
from mirror.services.adoption.names import HeaderEvidence, read_header
from mirror.wire.paths import unit_file

#: Bytes at the beginning that usually contain the headers; if not, more is read, up to the limit.
HEAD, MOST_HEAD = 64 * 1024, 12 * 2**20
_FITS_NAME = re.compile(r".+\.(fits|fit|fts)(\.\d+)?$", re.IGNORECASE)
#: A copy of the archive's own folders, made by wget -x or by somebody with access.
_UNIT_PATH = re.compile(r"(?:/SUM\d*)?/(D\d{1,18}/S\d{5}/[^/]+)$", re.ASCII)
_PACKED = {
    b"\x1f\x8b": "it is compressed with gzip; unpack it first (gunzip)",
    b"PK": "it is a zip archive; unpack it first",
    b"BZh": "it is compressed with bzip2; unpack it first",
}
_TAR = slice(257, 262)
_PIECE = 1 << 20
_VALID = (0, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What distinguishes a file from another one at its path, or from itself after a change."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, found: os.stat_result) -> Stamp:
        """The stamp of a file that was looked at."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True, slots=True)
class Look:
    """A file that is FITS and whole, as far as its headers tell; ``unit`` is its ``/SUM`` path, if it has one."""

    path: Path
    name: str
    stamp: Stamp
    header: HeaderEvidence
    unit: str | None


def files_below(
    paths: Iterable[Path], failed: Callable[[Path, OSError], None] = lambda path, error: None
) -> Iterator[Path]:
    """The named files, and the FITS files (by the ending of their names) in the named folders.

    Hidden files and folders are skipped. Links to files are followed, links to folders only if they are named
    themselves, so there are no loops. In order of their names; each file once. ``failed`` is called for folders that
    cannot be read.
    """
    seen: set[Path] = set()
    for path in paths:
        for file in _below(path, failed) if path.is_dir() else (path,):
            if file not in seen:
                seen.add(file)
                yield file


def _below(folder: Path, failed: Callable[[Path, OSError], None]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=lambda error: failed(Path(error.filename), error)):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (
            Path(parent, name)
            for name in sorted(names)
            if _FITS_NAME.fullmatch(name) and not name.startswith(".")
        )


def look(path: Path, name: str | None = None, *, unit: str | None = None) -> Look | Unplaced:
    """What the file at ``path`` is, by its headers; ``name`` is its name at its origin, if that was another."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return Unplaced("no such file")
    except OSError as error:
        return Unplaced(f"it cannot be read: {explained(error)}", for_now=True)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return Unplaced("it is not a regular file" if not stat.S_ISDIR(found.st_mode) else "it is a folder")
        return _look(fd, found, path, name, unit)
    except OSError as error:
        return Unplaced(f"it cannot be read: {explained(error)}", for_now=True)
    finally:
        os.close(fd)


def _look(fd: int, found: os.stat_result, path: Path, name: str | None, unit: str | None) -> Look | Unplaced:
    start = os.pread(fd, 512, 0)
    packed = next((words for mark, words in _PACKED.items() if start.startswith(mark)), None)
    if start[_TAR] == b"ustar":
        packed = "it is a tar archive; unpack it first (tar -x)"
    problem = packed or fits_problem(lambda offset, count: os.pread(fd, count, offset), found.st_size)
    if problem is not None:
        return Unplaced(problem)
    header = _header(fd)
    if isinstance(header, Unplaced):
        return header
    return Look(path, name or path.name, Stamp.of(found), header, unit or unit_path(path))


def _header(fd: int) -> HeaderEvidence | Unplaced:
    size = HEAD
    try:
        while size <= MOST_HEAD:
            header = read_header(os.pread(fd, size, 0))
            if header is not None:
                return header
            size *= 4
    except UpstreamError as problem:
        return Unplaced(str(problem))
    return Unplaced(f"its headers are longer than {MOST_HEAD:,} bytes")


def unit_path(path: Path) -> str | None:
    """The path below ``/SUM`` that a file was copied from with its folders, ``/SUM0/D123/S00000/image.fits``."""
    found = _UNIT_PATH.search(path.absolute().as_posix())
    named = None if found is None else f"/SUM0/{found[1]}"
    return named if named and unit_file(named) else None


def read_through(seen: Look) -> str | Unplaced:
    """Read all of a file: its sha256, if its data and header have the sums that the header states.

    A file without sums is refused: nothing would distinguish it from a modified one.
    """
    try:
        with seen.path.open("rb") as file:
            if Stamp.of(os.fstat(file.fileno())) != seen.stamp:
                return Unplaced("it is being changed", for_now=True)
            sha256, sums, size = _digest(file, seen.header)
            if Stamp.of(os.fstat(file.fileno())) != seen.stamp or size != seen.stamp.size:
                return Unplaced("it changed while it was read", for_now=True)
    except OSError as error:
        return Unplaced(f"it cannot be read: {explained(error)}", for_now=True)
    problem = _sum_problem(seen.header, *sums)
    return sha256 if problem is None else Unplaced(problem)


def _digest(file: BinaryIO, header: HeaderEvidence) -> tuple[str, tuple[int, int], int]:
    """The hash of a file, the sums over its image's header and data, and its length."""
    digest, at = hashlib.sha256(), 0
    head, data = 0, 0
    while piece := file.read(_PIECE):  # shorter only at the end, so pieces begin at word boundaries
        digest.update(piece)
        head = _added(head, piece, at, header.header_start, header.data_start)
        data = _added(data, piece, at, header.data_start, header.data_start + header.data_size)
        at += len(piece)
    return digest.hexdigest(), (head, data), at


def _added(total: int, piece: bytes, at: int, start: int, end: int) -> int:
    """The sum with the part of the piece at ``at`` between ``start`` and ``end``; all are multiples of four."""
    lo, hi = max(start - at, 0), min(end - at, len(piece))
    if lo >= hi:
        return total
    return ones_complement(memoryview(piece)[lo : hi - (hi - lo) % 4], total)


def _sum_problem(header: HeaderEvidence, head: int, data: int) -> str | None:
    if header.data_sum is None or "CHECKSUM" not in header.values:
        return "it has no DATASUM and CHECKSUM to verify that it is unchanged"
    if data != header.data_sum and {data, header.data_sum} != set(_VALID):
        return f"its data have the sum {data}, its DATASUM is {header.data_sum}: they were changed"
    if add_sums(head, data) not in _VALID:
        return "its CHECKSUM is wrong: its header was changed"
    return None
