"""A ready-made empty index, to be copied: most tests have no need to see one made."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from mirror.core import DATABASE
from mirror.storage.database.database import Database, make_empty


def lay(store: Path) -> None:
    """Put an empty index into a folder, unless it holds a store already."""
    if not (store / DATABASE).exists() and not (store / "blobs").exists():
        store.mkdir(parents=True, exist_ok=True)
        (store / DATABASE).write_bytes(_empty())


def open_empty(store: Path) -> Database:
    """The database of a folder, with an empty index where there is none."""
    lay(store)
    return Database.open(store / DATABASE)


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / DATABASE
        make_empty(path)
        return path.read_bytes()
