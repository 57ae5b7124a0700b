"""config.toml edited while the mirror runs: applied as a whole, or not at all."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest

from mirror.config.loading import load_config
from mirror.config.watching import ConfigWatcher, differing, edits, waiting_for_restart
from mirror.errors import StorageError

WISH = '[[subscription]]\nname = "{name}"\nseries = "hmi.M_720s"\nstart = "-1d"\n'


class Edits:
    """Tells of as many edits as a test makes."""

    def __init__(self):
        self.queue = asyncio.Queue()

    async def __call__(self, path):
        while (item := await self.queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield None


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("")
    return path


@pytest.fixture
def watched(path):
    applied = []

    async def apply(config):
        if isinstance(config, Exception) or config.storage.quota == 13:
            raise StorageError("the store cannot do that")
        applied.append(config)

    watch = ConfigWatcher(path, load_config(path, {}), {}, apply, lambda: 1e9, Edits())
    return watch, applied


async def edit(watch, path, text):
    path.write_text(text)
    await watch.reload()
    return watch.status()


async def test_an_edit_is_applied(watched, path):
    watch, applied = watched
    told = await edit(watch, path, WISH.format(name="a"))
    assert [s.name for s in applied[-1].subscription] == ["a"]
    assert (told.problem, told.waiting_for_restart, told.file) == ("", [], str(path))


async def test_a_file_that_says_the_same_is_not_applied_again(watched, path):
    watch, applied = watched
    await edit(watch, path, "# only a remark\n")
    assert applied == []


async def test_a_bad_edit_changes_nothing_and_is_told_once(watched, path, caplog):
    watch, applied = watched
    await edit(watch, path, WISH.format(name="a"))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            told = await edit(watch, path, WISH.format(name="a").replace("-1d", "someday"))
    assert len(applied) == 1
    assert "start = 'someday': expected a time such as" in told.problem
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
    assert (await edit(watch, path, WISH.format(name="a"))).problem == ""
    assert len(applied) == 1


async def test_a_file_that_is_away_for_a_moment_changes_nothing(watched, path):
    watch, applied = watched
    path.unlink()
    await watch.reload()
    assert "cannot be read" in watch.status().problem
    assert (await edit(watch, path, "")).problem == ""
    assert applied == []


async def test_what_cannot_be_applied_is_told_like_a_bad_edit(watched, path):
    watch, _ = watched
    assert (await edit(watch, path, "[storage]\nquota = 13")).problem == "the store cannot do that"


async def test_what_needs_a_restart_is_named_until_it_is_as_at_the_start(watched, path):
    watch, _ = watched
    told = await edit(watch, path, '[server]\nport = 1\n[upstream]\npolicy = "strict"\n[storage]\npath = "x"')
    assert told.waiting_for_restart == ["server.port", "storage.path"]
    assert (await edit(watch, path, '[upstream]\npolicy = "strict"')).waiting_for_restart == []


async def test_differences_are_named_by_section_and_key(path):
    before = load_config(path, {})
    path.write_text('[[freshness]]\npattern = "x"\n[storage]\nquota = "1GB"\n[fill]\nchunk_records = 9\n')
    after = load_config(path, {})
    assert set(differing(before, after)) == {"storage.quota", "fill.chunk_records", "freshness"}
    assert waiting_for_restart(before, after) == ["fill.chunk_records"]
    assert differing(after, after) == []


async def test_edits_are_followed_until_they_cannot_be_seen_any_more(path):
    changes, applied = Edits(), []

    async def apply(config):
        applied.append(config)

    watch = ConfigWatcher(path, load_config(path, {}), {}, apply, lambda: 1e9, changes)
    path.write_text(WISH.format(name="a"))
    changes.queue.put_nowait(True)
    changes.queue.put_nowait(OSError("too many watches"))
    await watch.run()
    assert len(applied) == 1
    assert "cannot be detected, restart after editing: too many watches" in watch.status().problem


async def test_the_real_watcher_sees_a_file_that_is_put_in_the_place_of_another(path):
    async def seen():
        async for _ in edits(path):
            break

    waiting = asyncio.ensure_future(seen())
    for _ in range(500):  # until the watcher has begun
        (path.parent / "other").write_text("x")
        new = path.parent / ".config.toml.new"
        new.write_text("x")
        new.replace(path)
        done, _ = await asyncio.wait([waiting], timeout=0.02)
        if done:
            break
    await waiting


@pytest.mark.parametrize("kind", ["pipe", "folder", "gone"])
async def test_a_file_that_becomes_a_pipe_or_a_folder_is_told_and_changes_nothing(watched, path, kind):
    watch, applied = watched
    path.unlink()
    if kind != "gone":
        (os.mkfifo if kind == "pipe" else os.mkdir)(path)
    await watch.reload()
    assert "cannot be read: " in watch.status().problem
    assert applied == []
