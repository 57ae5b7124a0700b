"""What a damaged index says, and what people can do about it.

DuckDB has a checksum for every block of its file, and for every entry of the log of changes beside it. A
damaged block fails whoever reads it, and nobody else; a damaged head or log keeps the file from opening.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import StorageError

if TYPE_CHECKING:
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
        f"the index cannot be written, nothing was changed ({first_line(error)}); is the disk full? What is held is "
        "answered all the same, and the same may be asked again once there is room"
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
