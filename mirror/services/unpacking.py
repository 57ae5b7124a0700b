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

from mirror.drms.errors import UpstreamBroken
from mirror.storage.fitscheck import file_problem

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.storage.blobs import Blobs
    from mirror.storage.blobtable import Blob

PIECE = 1024 * 1024
#: Two empty blocks end a tar file.
_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar file: ``size`` bytes from ``offset`` on."""

    name: str
    offset: int
    size: int


def members(path: Path) -> dict[str, Member]:
    """The files of a tar file by name, without folders; UpstreamBroken if it is none, or is cut short."""
    try:
        with tarfile.open(path, "r:") as archive:
            files = [_member(info) for info in archive if info.isreg() and not info.issparse()]
        size = path.stat().st_size
        end = _read(path, size - len(_END), len(_END)) if size >= len(_END) else b""
    except (tarfile.TarError, OSError, ValueError) as problem:
        raise UpstreamBroken(f"a tar file cannot be read: {problem}") from problem
    if end != _END:
        raise UpstreamBroken("a tar file is cut short: it has no end")
    return {file.name: file for file in files}


def _member(info: tarfile.TarInfo) -> Member:
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
