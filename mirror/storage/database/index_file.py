"""Looks at the index before DuckDB opens it, and says what is wrong with a damaged one, and what helps.

DuckDB makes an empty database where no file is, and ignores a log whose first bytes are wrong. Beside the files of a
store, that would give a mirror that has forgotten everything, and whose upkeep then evicts the files. So an index
is only created where there is no store yet; anything else is refused, with what helps.

DuckDB has a checksum for every block of its file, and for every entry of the log beside it. A damaged block fails
those who read it, and nobody else; a damaged header or log keeps the file from opening.
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
    """True if the file is damaged, rather than busy or full, or the statement wrong."""
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS)


def brought_back(path: Path) -> str:
    """What helps when the index is lost or does not open."""
    return (
        "Bring the index back with `mirror restore BACKUP --force`; or, without a backup, begin with an empty one by "
        f"`mirror restore --without-backup --to {path.parent}`: files that are there stay, records are asked from "
        "JSOC again; or move the whole store away"
    )


def cannot_open(path: Path, error: duckdb.Error) -> str:
    """The message for a file too damaged to open, with what helps."""
    if "wal" in str(error).lower():
        return (
            f"{path}.wal, the log of the last changes to the index, is damaged ({first_line(error)}). "
            f"Bring the index back with `mirror restore BACKUP --force`; or move {path.name}.wal away and start again: "
            "what was asked since the last checkpoint is asked from JSOC again, files that came are kept"
        )
    return f"the index {path} is damaged ({first_line(error)}). {brought_back(path)}"


def cannot_read(error: duckdb.Error) -> str:
    """The message for a damaged part of the index, with what helps."""
    return (
        f"a part of the index is damaged ({first_line(error)}). `mirror check --index` finds out which, and asks JSOC "
        "for those records again; if the mirror does not start, bring the index back with `mirror restore BACKUP "
        "--force`, or begin with an empty one by `mirror restore --without-backup`: records are asked from JSOC again "
        "then, and files that are held are kept"
    )


def cannot_write(error: duckdb.Error) -> str:
    """The message for a transaction that could not be written, so that nothing of it has happened."""
    return (
        f"the index cannot be written, nothing was changed ({first_line(error)}); is the disk full? Cached "
        "data are still served; try again once there is space"
    )


def cannot_spill(error: duckdb.Error) -> str:
    """The message for an answer that needs more room than the disk has."""
    return f"the index cannot be read for this ({first_line(error)}); is the disk full? Ask for less, or free some space"


def given_up(error: duckdb.Error) -> str:
    """The message for when DuckDB gave the database up twice in a row."""
    return f"the index had to be closed ({first_line(error)}); it is opened again with the next request. Is the disk full?"


def first_line(error: duckdb.Error) -> str:
    """The first line of DuckDB's message."""
    return str(error).splitlines()[0].strip()[:200]


#: Every DuckDB database begins with this many bytes of headers (three); a shorter file has no content.
HEADERS = 3 * 4096
#: A database has this at byte 8.
_MAGIC, _MAGIC_AT = b"DUCK", 8
#: A log begins with an entry that states its version.
_LOG_BEGINS = bytes.fromhex("6400626500")


def look_at(path: Path) -> None:
    """Make sure that the file at ``path`` may be opened as an index, or created if it does not exist.

    StorageError if it is no index; Damaged if it has no content, or is missing beside the files of a store.
    """
    _make_folder(path.parent)
    size = _size(path)
    _look_at_log(log_of(path))
    if size is not None and size >= HEADERS:
        return  # DuckDB checks the content; opening and closing it here could release its lock
    if size is not None:
        _look_at_stub(path)
    refuse_beside_files(path, "is missing" if size is None else "has no content")
    if size is not None:
        path.unlink()  # left by a start that was killed while it created the index: empty, and does not open


def refuse_beside_files(path: Path, what: str) -> None:
    """Raise Damaged if an index without content has the files of a store beside it; ``what`` is wrong with it."""
    found = contents(path.parent)
    if _has_bytes(log_of(path)):
        found.append(f"changes in {log_of(path).name}")
    found += sorted(f"an earlier index in {copy.name}" for copy in path.parent.glob(f"{path.name}.before*"))
    if found:
        raise Damaged(
            f"the index {path} {what}, but its store has {', '.join(found)}. Nothing was changed. {brought_back(path)}"
        )


def contents(folder: Path) -> list[str]:
    """The other contents of a store's folder in words, such as "3 files in blobs/"; empty if there are none."""
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
    """The length of the index; None if it does not exist. StorageError if it is not a file."""
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
    """Make sure that a file too short for an index is the beginning of one that nobody is creating now."""
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
    """Make sure that DuckDB will read the log: if it begins wrongly, DuckDB would silently lose the changes."""
    try:
        with log.open("rb", buffering=0) as file:
            head = file.read(len(_LOG_BEGINS))
    except FileNotFoundError:
        return
    except OSError as error:
        raise Damaged(f"{log}, the log of the last changes to the index, cannot be read: {explained(error)}") from error
    # A crash before the first entry was on disk may leave nothing, or zeros: then nothing was committed.
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
