"""What a bundle says that it holds besides records: files, exports that people had, small answers.

Rule: a bundle comes from elsewhere. What is read here is of the right form and names nothing outside the
store; whether the bytes are what they should be is for the importer to see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.errors import StorageError
from mirror.services.bundlefacts import Fact, is_fact
from mirror.storage.blobtable import is_sha256
from mirror.storage.bundletables import EXPORTS, FACTS, HOLDINGS, read_table
from mirror.storage.holdings import RecordSegment
from mirror.storage.tree import link_name
from mirror.storage.unitfile import UnitFile, unit_file

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.services.bundlelist import Bundle

_DISK = re.compile(r"SUM\d{0,9}", re.ASCII)
_SEGMENT = re.compile(r"\w{1,64}", re.ASCII)
#: Characters of the name that an export had.
_LONGEST_NAME = 1000


@dataclass(frozen=True, slots=True)
class Carried:
    """A file of the archive in a bundle, and whose it is; ``day`` is its folder in the readable tree, or ""."""

    file: UnitFile
    disk: str
    record: RecordSegment
    day: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class CarriedExport:
    """An adopted export in a bundle; ``name`` is what the file was called."""

    record: RecordSegment
    day: str
    name: str
    sha256: str
    size: int


def carried_files(folder: Path, bundle: Bundle) -> list[Carried]:
    """The files that the bundle holds, later tables first: what is noted last counts."""
    found: dict[tuple[UnitFile, RecordSegment], Carried] = {}
    for table in (t for t in bundle.tables if t.kind == "holdings"):
        for row in read_table(folder / table.file, HOLDINGS, table.rows):
            each = _one_carried(folder, *row)
            found[each.file, each.record] = each
    return list(found.values())


def carried_exports(folder: Path, bundle: Bundle) -> list[CarriedExport]:
    """The adopted exports that the bundle holds, one a segment of a record."""
    found: dict[RecordSegment, CarriedExport] = {}
    for table in (t for t in bundle.tables if t.kind == "exports"):
        for row in read_table(folder / table.file, EXPORTS, table.rows):
            each = _one_export(folder, *row)
            found[each.record] = each
    return list(found.values())


def carried_facts(folder: Path, bundle: Bundle) -> list[Fact]:
    """The small answers of the bundle that a mirror keeps; StorageError for what is none."""
    found: dict[tuple[str, str], Fact] = {}
    for table in (t for t in bundle.tables if t.kind == "facts"):
        for kind, key, value, fetched_at in read_table(folder / table.file, FACTS, table.rows):
            if not is_fact(kind, key, value):
                raise StorageError(
                    f"{folder / table.file} is damaged: {kind[:20]!r} {key[:80]!r} is nothing to keep"
                )
            before = found.get((kind, key))
            if before is None or before[3] <= fetched_at:
                found[kind, key] = (kind, key, value, fetched_at)
    return list(found.values())


def _one_carried(
    folder: Path, series: str, recnum: int, segment: str, day: str,
    sunum: int, slot: int, file: str, disk: str, sha256: str, size: int,
) -> Carried:  # fmt: skip
    path = UnitFile(sunum, slot, file).path(disk) if sunum >= 0 and slot >= 0 else ""
    unit = unit_file(path) if _DISK.fullmatch(disk) else None
    right = unit is not None and _is_right(sha256, size, segment)
    if unit is None or not right or not _may_be_linked(series, day, f"{recnum}.{file.rpartition('/')[2]}"):
        raise StorageError(f"{folder} is damaged: {path[:100]!r} cannot be a file of {series[:80]!r}")
    return Carried(unit, disk, RecordSegment(series, recnum, segment), day, sha256, size)


def _one_export(
    folder: Path, series: str, recnum: int, segment: str, day: str, name: str, sha256: str, size: int
) -> CarriedExport:
    right = _is_right(sha256, size, segment) and 0 < len(name) <= _LONGEST_NAME
    if not right or not _may_be_linked(series, day, f"{recnum}.export.{segment}.fits"):
        raise StorageError(f"{folder} is damaged: {name[:100]!r} cannot be an export of {series[:80]!r}")
    return CarriedExport(RecordSegment(series, recnum, segment), day, name, sha256, size)


def _is_right(sha256: str, size: int, segment: str) -> bool:
    return is_sha256(sha256) and size >= 0 and _SEGMENT.fullmatch(segment) is not None


def _may_be_linked(series: str, day: str, name: str) -> bool:
    try:
        link_name(series, day, name)
    except StorageError:
        return False
    return True
