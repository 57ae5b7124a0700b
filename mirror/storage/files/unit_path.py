"""Files of storage units: ``/SUM12/D123456789/S00000/image.fits``.

The unit's number, the slot and the file's name identify the content for good. ``SUM12`` is the disk on which
the unit lies at the moment; it changes when a unit comes back from tape, so it identifies nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_PATH = re.compile(r"/(SUM\d{0,9})/D(\d{1,18})/S(\d{1,9})/([^\0]+)", re.ASCII)
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True, order=True)
class UnitFile:
    """A file of a storage unit; ``file`` may lie in folders below the slot's."""

    sunum: int
    slot: int
    file: str

    def path(self, disk: str = "SUM0") -> str:
        """Its path on a disk."""
        return f"/{disk}/D{self.sunum}/S{self.slot:05d}/{self.file}"

    def __str__(self) -> str:
        """Its path without the disk."""
        return f"/D{self.sunum}/S{self.slot:05d}/{self.file}"


def unit_file(path: str) -> UnitFile | None:
    """The file that a path names, whatever the disk; None if it is no path of a unit's file.

    Paths with ``..``, empty parts or control characters are not.
    """
    found = _PATH.fullmatch(path)
    if found is None or not all(is_plain(part) for part in found[4].split("/")):
        return None
    return UnitFile(int(found[2]), int(found[3]), found[4])


def disk_of(path: str) -> str:
    """The disk in a path of a storage unit, such as ``SUM12``; empty if it is no such path."""
    found = _PATH.fullmatch(path)
    return found[1] if found else ""


def is_plain(name: str) -> bool:
    """True for the name of one file or folder that stays where it is put."""
    safe = name.isprintable() and not any(c in name for c in "/\\") and name not in {"", ".", ".."}
    return safe and len(name.encode(errors="replace")) <= _LONGEST_NAME
