"""The schema of the index: numbered SQL files, applied in order, with a copy of the index from before.

DuckDB writes the blocks of its catalogue in place, and a kill during such a write leaves a file that does not
open. Migrations rewrite most of the catalogue, so they begin with a copy. If a kill has torn the file, the copy is
put back, and the migrations start over.
"""

from __future__ import annotations

import fcntl
import importlib.resources
import logging
import os
import shutil
import subprocess
from contextlib import contextmanager
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.errors import StorageError, explained
from mirror.storage.database.index_file import log_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    import duckdb

log = logging.getLogger(__name__)

#: The table that says which migrations an index has.
_VERSIONS = "main.schema_version"


def schema_files(part: str = "") -> list[tuple[int, Traversable]]:
    """The numbered SQL files that ship with the program, in order: those of the index, or of a ``part`` in a folder of its own."""
    folder = importlib.resources.files("mirror") / "schema"
    if not folder.is_dir():  # a checkout: schema/ lies beside the package
        folder = Path(__file__).parents[3] / "schema"
    folder = folder / part if part else folder
    names = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [(int(f.name.split("_")[0]), f) for f in names]


class Kind(Enum):
    """What a database is: empty, an index, or something else."""

    BLANK = auto()
    INDEX = auto()


def kind_of(connection: duckdb.DuckDBPyConnection, path: Path) -> Kind:
    """Whether a database is an index or empty; StorageError if it is another program's."""
    found = connection.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = current_database()"
    ).fetchall()
    tables = {name for (name,) in found}
    if not tables or (tables == {_VERSIONS} and not _version(connection)):
        return Kind.BLANK
    if not {_VERSIONS, "mirror.series"} <= tables:
        raise StorageError(
            f"{path} is a database of another program: it has tables, but not those of an index ({_VERSIONS}, "
            "mirror.series). Nothing was changed; move it away, or name another folder for the store"
        )
    return Kind.INDEX


def bring_up_to_date(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Apply missing migrations to the index at ``path``, which has nothing uncommitted; raises as ``migrate`` does."""
    files, version = schema_files(), _version(connection)
    if 0 < version < files[-1][0]:
        log.info("bringing %s from version %s to %s, beside a copy of it", path, version, files[-1][0])
        keep_copy(path)
    migrate(connection, files)
    _drop(_copy_of(path))


def migrate(connection: duckdb.DuckDBPyConnection, files: list[tuple[int, Traversable]]) -> None:
    """Apply the files above the store's version, each in a transaction of its own.

    Raises StorageError if the store is of a newer version than all of them.
    """
    version, newest = _version(connection), files[-1][0]
    if version > newest:
        raise StorageError(
            f"the store has schema version {version}, this program knows {newest}; use a newer jsoc-mirror"
        )
    for number, file in files:
        if number <= version:
            continue
        connection.begin()
        try:
            connection.execute(file.read_text())
            connection.execute("INSERT INTO schema_version VALUES (?, now()::TIMESTAMP)", [number])
            connection.commit()
        except BaseException:
            connection.rollback()
            raise
    if version < newest:
        connection.execute("CHECKPOINT")


def _version(connection: duckdb.DuckDBPyConnection) -> int:
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL, applied_at TIMESTAMP)"
    )
    # Fetch everything: a result that is not read to its end keeps its transaction open, which blocks checkpoints.
    ((version,),) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchall()
    return int(version)


# ---- the copy from before ----------------------------------------------------------------------------


@contextmanager
def put_back(path: Path) -> Iterator[bool]:
    """Put the copy from before interrupted migrations in place of the index at ``path``; False if there is none.

    Within the context no other process does the same.
    """
    copy = _copy_of(path)
    if not (copy / path.name).exists():
        yield False
        return
    folder = os.open(copy, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        # The log first: after a kill in between the file still does not open, and all this happens again.
        for place in (log_of(path), path):
            _replace(copy / place.name, place)
        log.warning("migrations of %s had been cut short and had torn it: the copy from before is back", path)
        yield True
    finally:
        os.close(folder)


def _replace(source: Path, place: Path) -> None:
    try:
        if not source.exists():
            place.unlink(missing_ok=True)
            return
        new = place.with_name(f"{place.name}.new")
        shutil.copyfile(source, new)
        _sync(new)
        new.replace(place)
    except OSError as error:
        raise StorageError(
            f"{place} does not open, and its copy {source} cannot be put in its place: {explained(error)}"
        ) from error


def keep_copy(path: Path) -> None:
    """Copy the index and its log, completely or not at all; without room for it, migrations go on without a copy.

    A copy from an earlier attempt is replaced: this index opened, and may have what an older program wrote since.
    """
    copy = _copy_of(path)
    _drop(copy)
    making = copy.with_name(f"{copy.name}.new")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    files = [f for f in (path, log_of(path)) if f.exists()]
    try:
        # In another process, since closing the file here would release the lock on the index.
        subprocess.run(["cp", "--", *files, making], check=True, capture_output=True, text=True)  # noqa: S603, S607
        for file in making.iterdir():
            _sync(file)
        making.rename(copy)
    except (OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(making, ignore_errors=True)
        why = getattr(error, "stderr", None) or error
        log.warning("%s could not be copied before its migration, which goes on: %s", path, str(why).strip())


def _drop(copy: Path) -> None:
    if copy.is_dir():
        gone = copy.with_name(f"{copy.name}.gone")  # a half-removed copy must not be taken for one
        shutil.rmtree(gone, ignore_errors=True)
        copy.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _sync(file: Path) -> None:
    with file.open("rb") as handle:
        os.fsync(handle.fileno())


def _copy_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.before")

