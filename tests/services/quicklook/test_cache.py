"""The folder of pictures: bounded, forgetful, and never an error."""

from __future__ import annotations

import errno
import os

from hypothesis import given
from hypothesis import strategies as st

from mirror.services.quicklook.quicklook import Pictures
from mirror.storage.disk import Disk


def key(n: int) -> str:
    return f"{n:040x}"


def test_a_picture_is_found_again_also_after_a_restart(tmp_path):
    Pictures(tmp_path, 100, Disk()).keep(key(1), b"png")
    assert Pictures(tmp_path, 100, Disk()).find(key(1)) == b"png"
    assert Pictures(tmp_path, 100, Disk()).find(key(2)) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 60)), max_size=40))
def test_it_is_never_larger_than_it_may_be_and_forgets_what_was_used_longest_ago(tmp_path_factory, steps):
    root = tmp_path_factory.mktemp("p")
    pictures, model = Pictures(root, 100, Disk()), {}
    for keeps, n, size in steps:
        if keeps:
            pictures.keep(key(n), bytes(size))
            model.pop(n, None)
            model[n] = size
            while sum(model.values()) > 100:
                del model[next(iter(model))]
        else:
            found = pictures.find(key(n))
            assert (None if found is None else len(found)) == model.get(n)
            if n in model:
                model[n] = model.pop(n)
        sums = 32 * len(model)
        assert sum(p.stat().st_size for p in root.rglob("*.png")) == sum(model.values()) + sums


def test_after_a_restart_the_oldest_files_go_first(tmp_path):
    pictures = Pictures(tmp_path, 100, Disk())
    for n in range(3):
        pictures.keep(key(n), bytes(30))
        os.utime(tmp_path / "00" / f"{key(n)}.png", (n, n))
    again = Pictures(tmp_path, 100, Disk())
    again.keep(key(9), bytes(30))
    assert [again.find(key(n)) is None for n in (0, 1, 2, 9)] == [True, False, False, False]


def test_one_that_is_larger_than_all_of_it_is_not_kept(tmp_path):
    pictures = Pictures(tmp_path, 10, Disk())
    pictures.keep(key(1), bytes(11))
    assert pictures.find(key(1)) is None


def test_what_cannot_be_written_or_was_deleted_is_no_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    Pictures(tmp_path / "file", 100, Disk()).keep(key(1), b"png")
    pictures = Pictures(tmp_path / "folder", 100, Disk())
    pictures.keep(key(1), b"png")
    (tmp_path / "folder" / "00" / f"{key(1)}.png").unlink()
    assert pictures.find(key(1)) is None


def test_one_that_cannot_be_written_leaves_nothing_and_what_a_crash_left_goes(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "00").mkdir()
    (tmp_path / "00" / f"{key(7)}.part").write_bytes(bytes(50))
    pictures = Pictures(tmp_path, 100, Disk())
    with monkeypatch.context() as broken:
        broken.setattr(os, "pwrite", full)
        for n in range(3):
            pictures.keep(key(n), bytes(30))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    pictures.keep(key(1), bytes(30))
    assert pictures.find(key(1)) == bytes(30)
