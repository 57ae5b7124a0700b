"""Exports of a recorded world: ``EXPORTS.json`` in its folder, and files below ``files/``.

An object with two members, both optional: ``requests`` has the recorded answer of exp_status by request id,
``units`` the answers of exp_su about storage units: series, path, sustatus and susize by number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mirror.drms.export import ExportAnswer, StorageUnit
from mirror.errors import ConfigError, MirrorError
from mirror.wire.export import decode_answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class RecordedExports:
    """Answers by request id, units by number, and the folder of files, if there is one."""

    answers: Mapping[str, ExportAnswer] = field(default_factory=dict)
    units: Mapping[int, StorageUnit] = field(default_factory=dict)
    files: Path | None = None


def load_exports(world: Path) -> RecordedExports:
    """The exports in the folder of a world; ConfigError for a file that cannot be read."""
    path, files = world / "EXPORTS.json", world / "files"
    try:
        told = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        answers = {
            name: decode_answer(json.dumps(told["requests"][name]).encode())
            for name in told.get("requests", {})
        }
        units = {int(number): _unit(int(number), unit) for number, unit in told.get("units", {}).items()}
    except (ValueError, KeyError, TypeError, AttributeError, MirrorError) as problem:
        raise ConfigError(f"{path}: not recorded exports: {problem!r}") from problem
    return RecordedExports(answers, units, files if files.is_dir() else None)


def _unit(number: int, told: Mapping[str, Any]) -> StorageUnit:
    return StorageUnit(number, told["series"], told["path"], told["sustatus"], int(told["susize"]))
