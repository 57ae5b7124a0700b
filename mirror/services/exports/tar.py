"""Tar files that upstream packed: what is in them, and their members as files of the store.

A member is kept only if it is what its name says, like any file that comes alone. Nothing is written
anywhere else, so that no name can lead out of a folder.
"""

from __future__ import annotations

import asyncio
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from mirror.errors import UpstreamBroken
from mirror.fits.integrity import file_problem

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob

PIECE = 1024 * 1024
#: Two empty blocks end a tar file.
_END = bytes(2 * tarfile.BLOCKSIZE)
#: Headers of members that hold names and the like for the one that follows, and bytes that such a one may have.
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
    """The files of a tar file by name, without folders; UpstreamBroken if it is none, or is cut short."""
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
    """Walk through the headers, before ``tarfile`` believes them: a length below 0 leads it round in a circle."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(_MOST_MEMBERS):
            header = file.read(tarfile.BLOCKSIZE)
            if not header.strip(b"\0"):
                return  # the end; what stands there is looked at by the caller
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
