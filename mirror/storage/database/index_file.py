"""What lies where the index should be, looked at before DuckDB opens it, and what damage says: nothing is changed here.

DuckDB makes an empty database of a path with nothing at it, and passes over a log whose first bytes are wrong. Beside
the files of a store that would be a mirror which has forgotten everything, and whose upkeep then throws out the files.
So an index is only made where there is no store yet, and everything else is refused with what helps.

What a damaged index says, and what people can do about it.

DuckDB has a checksum for every block of its file, and for every entry of the log of changes beside it. A
damaged block fails whoever reads it, and nobody else; a damaged head or log keeps the file from opening.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from mirror.errors import StorageError, explained
from mirror.storage.disk import is_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import duckdb


_SIGNS = (
    "corrupt",
    "checksum",
    "not a valid duckdb",
    "could not read enough bytes",
    "serialization error",
    "replaying wal",
)


class Damaged(StorageError):
    """The index does not open."""


def is_damage(error: duckdb.Error) -> bool:
    """True if a file is not what was written, rather than busy, full or asked something wrong."""
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS)


def brought_back(path: Path) -> str:
    """What helps where the index is lost or does not open."""
    return (
        "Bring the index back with `mirror restore BACKUP --force`; or, without a backup, begin with an empty one by "
        f"`mirror restore --without-backup --to {path.parent}`: files that are there stay, records are asked from "
        "JSOC again; or move the whole store away"
    )


def cannot_open(path: Path, error: duckdb.Error) -> str:
    """One message: the file is damaged so that it does not open, and what helps."""
    if "wal" in str(error).lower():
        return (
            f"{path}.wal, the log of the last changes to the index, is damaged ({first_line(error)}). "
            f"Bring the index back with `mirror restore BACKUP --force`; or move {path.name}.wal away and start again: "
            "what was asked since the last checkpoint is asked from JSOC again, files that came are kept"
        )
    return f"the index {path} is damaged ({first_line(error)}). {brought_back(path)}"


def cannot_read(error: duckdb.Error) -> str:
    """One message: a part of the index is damaged, and what helps."""
    return (
        f"a part of the index is damaged ({first_line(error)}). `mirror check --index` finds out which, and asks JSOC "
        "for those records again; if the mirror does not start, bring the index back with `mirror restore BACKUP "
        "--force`, or begin with an empty one by `mirror restore --without-backup`: records are asked from JSOC again "
        "then, and files that are held are kept"
    )


def cannot_write(error: duckdb.Error) -> str:
    """One message: a transaction was not taken down, and nothing of it has happened."""
    return (
        f"the index cannot be written, nothing was changed ({first_line(error)}); is the disk full? Cached "
        "data are still served; try again once there is space"
    )


def cannot_spill(error: duckdb.Error) -> str:
    """One message: an answer needs room on the disk that is not there."""
    return f"the index cannot be read for this ({first_line(error)}); is the disk full? Ask for less, or free some space"


def given_up(error: duckdb.Error) -> str:
    """One message: DuckDB gave the index up in the middle, twice in a row."""
    return f"the index had to be closed ({first_line(error)}); it is opened again with the next request. Is the disk full?"


def first_line(error: duckdb.Error) -> str:
    """What DuckDB says, in one line."""
    return str(error).splitlines()[0].strip()[:200]


#: Bytes that every database of DuckDB begins with: three headers. A shorter file has no content.
HEADERS = 3 * 4096
#: A database has this at byte 8.
_MAGIC, _MAGIC_AT = b"DUCK", 8
#: A log begins with an entry that says of which version it is.
_LOG_BEGINS = bytes.fromhex("6400626500")


def look_at(path: Path) -> None:
    """See that the file at ``path`` may be opened as an index, or made if it is not there.

    StorageError if it cannot be one; Damaged if it lacks its content, or is missing beside the files of a store.
    """
    _make_folder(path.parent)
    size = _size(path)
    _look_at_log(log_of(path))
    if size is not None and size >= HEADERS:
        return  # whether it is whole DuckDB finds out: to open and close it here could take its lock away
    if size is not None:
        _look_at_stub(path)
    refuse_beside_files(path, "is missing" if size is None else "has no content")
    if size is not None:
        path.unlink()  # a start was cut short while it made the first index: it holds nothing, and does not open


def refuse_beside_files(path: Path, what: str) -> None:
    """Raise Damaged if an index that tells of nothing has the files of a store beside it; ``what`` is wrong with it."""
    found = contents(path.parent)
    if _has_bytes(log_of(path)):
        found.append(f"changes in {log_of(path).name}")
    found += sorted(f"an earlier index in {copy.name}" for copy in path.parent.glob(f"{path.name}.before*"))
    if found:
        raise Damaged(
            f"the index {path} {what}, but its store has {', '.join(found)}. Nothing was changed. {brought_back(path)}"
        )


def contents(folder: Path) -> list[str]:
    """What lies in the folder of a store beside its index, in words: "3 files in blobs/". Empty if nothing does."""
    counts = {
        "blobs": sum(map(is_sha256, _names(folder / "blobs"))),
        "quarantine": sum(1 for _ in _names(folder / "quarantine")),
        "by-record": sum(1 for _ in _names(folder / "by-record")),
        "lake": sum(1 for _ in _names(folder / "lake")),
    }
    return [f"{n:,} {'file' if n == 1 else 'files'} in {name}/" for name, n in counts.items() if n]


def log_of(path: Path) -> Path:
    """The log of the last changes to the index."""
    return path.with_name(f"{path.name}.wal")


def _names(folder: Path) -> Iterator[str]:
    for _, _, files in os.walk(folder):
        yield from files


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise StorageError(f"{folder} is not a folder; expected the folder of a store, or a new path") from error
    except OSError as error:
        raise StorageError(f"cannot create the store {folder}: {explained(error)}") from error


def _size(path: Path) -> int | None:
    """The length of the index; None if nothing is there. StorageError for what is no file."""
    try:
        found = path.stat()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise StorageError(
                f"the index {path} is a link to {path.readlink()}, which is not there; is its disk mounted?"
            ) from error
        return None
    except OSError as error:
        raise StorageError(f"the index {path} cannot be opened: {explained(error)}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no ordinary file"
        raise StorageError(f"{path} is {kind}; expected the index of a store. Move it away. {brought_back(path)}")
    return found.st_size


def _look_at_stub(path: Path) -> None:
    """Of a file that is too short for an index: see that it is the beginning of one, which nobody is making now."""
    try:
        with path.open("rb", buffering=0) as file:
            _insist_on_no_owner(path, file.fileno())
            head = file.read(_MAGIC_AT + len(_MAGIC))
    except OSError as error:
        raise StorageError(f"the index {path} cannot be read: {explained(error)}") from error
    if any(head) and head[_MAGIC_AT:] != _MAGIC:
        raise Damaged(f"the index {path} is damaged: it is no database of DuckDB. {brought_back(path)}")


def _insist_on_no_owner(path: Path, fd: int) -> None:
    try:
        fcntl.lockf(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        raise StorageError(f"{path} is in use by another process; a store can be used by one mirror at a time") from error


def _look_at_log(log: Path) -> None:
    """See that DuckDB will read the log: of one that begins otherwise it would say nothing, and lose the changes."""
    try:
        with log.open("rb", buffering=0) as file:
            head = file.read(len(_LOG_BEGINS))
    except FileNotFoundError:
        return
    except OSError as error:
        raise Damaged(f"{log}, the log of the last changes to the index, cannot be read: {explained(error)}") from error
    # A crash before the first entry was on the disk may leave nothing, or zeros: then nothing was committed.
    if any(head) and not _LOG_BEGINS.startswith(head):
        raise Damaged(
            f"{log}, the log of the last changes to the index, is damaged: it does not begin as one. Bring the index "
            f"back with `mirror restore BACKUP --force`; or move {log.name} away and start again: what was asked "
            "since the last checkpoint is asked from JSOC again, files that came are kept"
        )


def _has_bytes(file: Path) -> bool:
    with suppress(OSError):
        return file.stat().st_size > 0
    return False
