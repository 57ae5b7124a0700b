"""Migrations: in order, each whole or not at all, and a copy from before that outlives a torn file."""

from __future__ import annotations

import asyncio
import logging
import shutil

import duckdb
import pytest

from mirror.errors import StorageError
from mirror.storage.database import migrations
from mirror.storage.database.database import STORAGE_VERSION, Database
from mirror.storage.database.migrations import migrate, schema_files

#: What is migrated is copied by another process.
pytestmark = pytest.mark.program


def test_only_migrations_above_the_stores_version_run(tmp_path):
    connection = duckdb.connect(str(tmp_path / "x"))
    files = [
        (1, text(tmp_path, "CREATE TABLE a (x INTEGER)")),
        (2, text(tmp_path, "CREATE TABLE b (x INTEGER)")),
    ]
    migrate(connection, files[:1])
    connection.execute("INSERT INTO a VALUES (7)")
    migrate(connection, files)
    assert connection.execute("SELECT x FROM a").fetchone() == (7,)
    assert connection.execute("SELECT count(*) FROM b").fetchone() == (0,)
    connection.close()


def test_a_migration_that_fails_leaves_the_store_at_the_version_before(tmp_path):
    connection = duckdb.connect(str(tmp_path / "x"))
    good, bad = (
        text(tmp_path, "CREATE TABLE a (x INTEGER)"),
        text(tmp_path, "CREATE TABLE b (x INTEGER); SELECT nonsense"),
    )
    with pytest.raises(duckdb.Error):
        migrate(connection, [(1, good), (2, bad)])
    assert connection.execute("SELECT max(version) FROM schema_version").fetchone() == (1,)
    assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'b'").fetchone() == (
        0,
    )
    connection.close()


def text(folder, sql):
    path = folder / f"{abs(hash(sql))}.sql"
    path.write_text(sql)
    return path


# ---- the copy from before ----------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path):
    """An index of the version before the newest, with a row in it and another in its log only."""
    path = tmp_path / "index.duckdb"
    connection = duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION})
    migrate(connection, schema_files()[:-1])
    connection.execute("CREATE TABLE mine AS SELECT 1 AS x")
    connection.execute("CHECKPOINT")
    connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    connection.execute("INSERT INTO mine VALUES (2)")
    connection.close()
    assert path.with_name("index.duckdb.wal").exists()
    return path


def mine(path):
    """The rows of an index that is opened for it, and its version."""
    database = Database.open(path)
    try:
        return asyncio.run(database.read(lambda c: c.execute("SELECT list(x ORDER BY x), (SELECT max(version) FROM schema_version) FROM mine").fetchall()))[0]
    finally:
        database.close()


def tear(path):
    """Spoil everything behind the heads, as a write does that ends in the middle."""
    with path.open("r+b") as file:
        file.seek(12_288)
        file.write(b"\0" * (path.stat().st_size - 12_288))


def beside(path):
    return sorted(p.name for p in path.parent.iterdir())


NEWEST = schema_files()[-1][0]


def test_a_migration_that_ended_leaves_no_copy(old):
    assert mine(old) == ([1, 2], NEWEST)
    assert beside(old) == ["index.duckdb"]


def cut_short(old, monkeypatch):
    """Migrate up to the moment after the copy."""
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Database.open(old)
    assert "index.duckdb.before" in beside(old)


def test_a_file_that_a_migration_tore_is_replaced_by_the_copy_and_migrated(old, monkeypatch, caplog):
    cut_short(old, monkeypatch)
    tear(old)
    with caplog.at_level(logging.WARNING):
        assert mine(old) == ([1, 2], NEWEST)
    assert "the copy from before is back" in caplog.text
    assert beside(old) == ["index.duckdb"]


@pytest.mark.parametrize("kills", [1, 2])
def test_to_put_the_copy_back_can_be_cut_short_too(old, monkeypatch, kills):
    cut_short(old, monkeypatch)
    tear(old)
    replace, done = migrations._replace, []

    def replacing(source, place):
        done.append(place)
        if len(done) == kills:
            raise KeyboardInterrupt
        replace(source, place)

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "_replace", replacing)
        with pytest.raises(KeyboardInterrupt):
            Database.open(old)
    assert mine(old) == ([1, 2], NEWEST)


def test_a_file_that_is_whole_stays_and_the_copy_goes(old, monkeypatch):
    cut_short(old, monkeypatch)
    connection = duckdb.connect(str(old))
    connection.execute("INSERT INTO mine VALUES (3)")
    connection.close()
    assert mine(old) == ([1, 2, 3], NEWEST)
    assert beside(old) == ["index.duckdb"]


def test_what_an_older_program_wrote_after_a_try_is_in_the_copy_of_the_next(old, monkeypatch):
    cut_short(old, monkeypatch)
    connection = duckdb.connect(str(old))
    connection.execute("INSERT INTO mine VALUES (3)")
    connection.close()
    cut_short(old, monkeypatch)
    tear(old)
    assert mine(old) == ([1, 2, 3], NEWEST)


def test_half_a_copy_is_no_copy(old):
    (old.parent / "index.duckdb.before.new").mkdir()
    (old.parent / "index.duckdb.before.new" / "index.duckdb").write_bytes(b"half")
    tear(old)
    with pytest.raises(StorageError, match="is damaged"):
        Database.open(old)


def test_without_room_for_a_copy_the_migration_goes_on_and_says_so(old, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(old.parent))
    shutil.copy("/bin/false", old.parent / "cp")
    with caplog.at_level(logging.WARNING):
        assert mine(old) == ([1, 2], NEWEST)
    assert "could not be copied before its migration" in caplog.text


def test_a_new_index_needs_no_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(migrations, "keep_copy", lambda _: pytest.fail("a copy of nothing"))
    Database.open(tmp_path / "index.duckdb").close()


# ---- what single migrations carry over ---------------------------------------------------------------


def test_small_answers_of_one_table_go_to_a_table_for_each_kind(tmp_path):
    tables = {
        "list": "series_lists",
        "address": "addresses",
        "no such series": "absent_series",
        "linked texts": "linked_keywords",
        "precise": "precise_keywords",
        "budget": "budget",
        "fill": "fills",
    }
    path = tmp_path / "index.duckdb"
    with duckdb.connect(str(path), config={"storage_compatibility_version": STORAGE_VERSION}) as store:
        migrate(store, [file for file in schema_files() if file[0] < 15])
        for kind in tables:
            store.execute("INSERT INTO mirror.facts VALUES (?, 'a', ?, 5), (?, 'b', '', 6)", [kind, kind, kind])
        store.execute("INSERT INTO mirror.facts VALUES ('job number', '20261128', '17', 7)")
    Database.open(path).close()
    with duckdb.connect(str(path)) as store:
        for kind, table in tables.items():
            assert store.execute(f"FROM mirror.{table} ORDER BY key").fetchall() == [("a", kind, 5), ("b", "", 6)]
        assert store.execute("FROM mirror.job_numbers").fetchall() == [("20261128", 17)]
        assert not store.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'facts'").fetchall()
