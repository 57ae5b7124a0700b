"""Looking at files: which are looked at, and what is told of those that are none."""

import os
from pathlib import Path

from mirror.services.adoption.match import Unplaced
from mirror.services.adoption.scan import files_below, look, read_through, unit_path
from tests.adoptlab import put


def names(paths, folder):
    return [p.relative_to(folder).as_posix() for p in paths]


def test_folders_are_searched_for_fits_names_and_named_files_are_taken_whatever_they_are_called(tmp_path):
    for name in (
        "b.fits",
        "a.FITS",
        "c.fits.1",
        "d.txt",
        ".e.fits",
        "sub/f.fts",
        ".hidden/g.fits",
        "other/h",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = list(files_below([tmp_path, tmp_path / "other" / "h", tmp_path / "b.fits"]))
    assert names(found, tmp_path) == ["a.FITS", "b.fits", "c.fits.1", "sub/f.fts", "other/h"]


def test_links_that_go_round_in_a_circle_are_no_matter(tmp_path):
    (tmp_path / "x.fits").write_bytes(b"")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "link.fits").symlink_to(tmp_path / "x.fits")
    (tmp_path / "nowhere.fits").symlink_to(tmp_path / "gone")
    assert names(files_below([tmp_path]), tmp_path) == ["link.fits", "nowhere.fits", "x.fits"]


def reason(path):
    found = look(path)
    assert isinstance(found, Unplaced), found
    return found.reason


def test_what_is_no_file_or_no_fits_is_told(tmp_path):
    (tmp_path / "web.fits").write_text("<!DOCTYPE html><html>")
    (tmp_path / "tar.fits").write_bytes(b"x".ljust(257, b"\0") + b"ustar".ljust(600, b"\0"))
    (tmp_path / "long.fits").write_bytes((b"SIMPLE  =" + b"T".rjust(21)).ljust(80) * 36 * 5000)
    os.mkfifo(tmp_path / "pipe.fits")
    assert reason(tmp_path) == "it is a folder"
    assert reason(tmp_path / "pipe.fits") == "it is not a regular file"
    assert reason(tmp_path / "gone.fits") == "no such file"
    assert "web page" in reason(tmp_path / "web.fits")
    assert "tar -x" in reason(tmp_path / "tar.fits")
    assert "no END" in reason(tmp_path / "long.fits")


def test_a_file_that_changes_between_two_looks_is_left_for_later(tmp_path):
    (path, *_) = put(tmp_path / "have", archived=None)
    seen = look(path)
    with path.open("ab") as file:
        file.write(bytes(2880))
    found = read_through(seen)
    assert isinstance(found, Unplaced)
    assert found.for_now


def test_paths_of_storage_units_are_seen_in_copies_of_the_archive():
    assert unit_path(Path("/x/jsoc.stanford.edu/SUM12/D123/S00000/a.fits")) == "/SUM0/D123/S00000/a.fits"
    assert unit_path(Path("/x/D123/S00000/a.fits")) == "/SUM0/D123/S00000/a.fits"
    assert unit_path(Path("/x/D123/a.fits")) is None
