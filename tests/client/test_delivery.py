"""How a file gets from a mirror into a folder, whatever the mirror and the folder are like."""

import errno
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.fetch import expected_bytes
from mirror.client.connection import Connection, RemoteError
from mirror.client.delivery import TRIES, Delivered, Delivery, Failure, Item, Stopped, kept, name_problem
from mirror.client.remote import Client

DATA = bytes(range(256)) * 64
SHA256 = hashlib.sha256(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        code, length, data = self.server.answers.pop(0) if self.server.answers else (200, len(DATA), DATA)
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.answers, made.asked = [], []
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def delivery(server, tmp_path):
    def make(*, link=True, overwrite=False, arrived=lambda _: None):
        folder = tmp_path / "to"
        folder.mkdir(exist_ok=True)
        return Delivery(Connection(f"http://127.0.0.1:{server.server_port}", None, 60), folder, arrived, link=link, overwrite=overwrite)  # fmt: skip

    return make


def item(**more):
    return Item("a.fits", "x.y[1]", "image", "/SUM1/D1/S00000/a b.fits", **more)


def files(tmp_path):
    return sorted(p.name for p in (tmp_path / "to").iterdir())


@pytest.fixture
def blob(tmp_path):
    path = tmp_path / SHA256
    path.write_bytes(DATA)
    return path


# ---- downloads ----------------------------------------------------------------------------------


def test_a_download_has_its_name_once_it_is_whole_and_every_byte_is_counted(delivery, server, tmp_path):
    counts = []
    found = delivery(arrived=counts.append).bring(item(size=len(DATA), sha256=SHA256))
    assert found == Delivered("a.fits", "x.y[1]", "image", "downloaded", len(DATA))
    assert (tmp_path / "to" / "a.fits").read_bytes() == DATA
    assert (sum(counts), files(tmp_path)) == (len(DATA), ["a.fits"])
    assert server.asked == ["/SUM1/D1/S00000/a%20b.fits"]


def test_one_that_breaks_off_is_tried_again_and_counted_once(delivery, server, tmp_path):
    counts = []
    server.answers += [(200, len(DATA), DATA[:1000])]
    assert delivery(arrived=counts.append).bring(item()).how == "downloaded"
    assert (tmp_path / "to" / "a.fits").read_bytes() == DATA
    assert sum(counts) == len(DATA)


def test_one_that_always_breaks_off_is_told_and_leaves_nothing(delivery, server, tmp_path):
    server.answers += [(200, len(DATA), DATA[:1000])] * (TRIES + 1)
    found = delivery().bring(item())
    assert isinstance(found, Failure)
    assert found.error.startswith("download interrupted")
    assert (files(tmp_path), len(server.asked)) == ([], TRIES)


def test_what_the_mirror_refuses_is_not_asked_again(delivery, server):
    server.answers += [(404, 9, b"not here\n")]
    assert delivery().bring(item()) == Failure("a.fits", "x.y[1]", "image", "not here")
    assert len(server.asked) == 1


def test_bytes_that_are_not_those_of_the_store_are_not_kept(delivery, server, tmp_path):
    server.answers += [(200, len(DATA), DATA[::-1])] * TRIES
    found = delivery().bring(item(size=len(DATA), sha256=SHA256))
    assert "sha256" in found.error
    assert files(tmp_path) == []


def test_no_mirror_there_is_told(tmp_path):
    found = Delivery(Connection("http://127.0.0.1:1", None, 60), tmp_path, print, link=True, overwrite=False).bring(item())
    assert "no mirror at" in found.error


def test_a_delivery_that_is_stopped_leaves_nothing(delivery, tmp_path):
    stopped = delivery()
    stopped.stop()
    with pytest.raises(Stopped):
        stopped.bring(item())
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_written_to_is_told(delivery, tmp_path):
    made = delivery()
    (tmp_path / "to").rmdir()
    assert made.bring(item()) == Failure("a.fits", "x.y[1]", "image", "No such file or directory")


# ---- links --------------------------------------------------------------------------------------


def test_a_file_of_the_store_is_linked(delivery, server, blob, tmp_path):
    assert delivery().bring(item(size=len(DATA), sha256=SHA256, place=str(blob))).how == "linked"
    assert (tmp_path / "to" / "a.fits").samefile(blob)
    assert (server.asked, files(tmp_path)) == ([], ["a.fits"])


def test_linking_over_the_same_file_leaves_one_name(delivery, blob, tmp_path):
    known = item(size=len(DATA), sha256=SHA256, place=str(blob))
    for _ in range(2):
        assert delivery(overwrite=True).bring(known).how == "linked"
    assert files(tmp_path) == ["a.fits"]


@pytest.mark.parametrize("change", [{"place": "/nowhere/" + SHA256}, {"size": 5}, {"sha256": "0" * 64}])
def test_what_is_not_surely_the_file_is_not_linked(delivery, server, blob, change):
    server.answers += [(200, 5, DATA[:5])]
    known = {"size": len(DATA), "sha256": SHA256, "place": str(blob)} | change
    delivery().bring(item(**known))
    assert len(server.asked) >= 1


def test_without_links_all_is_downloaded(delivery, server, blob):
    known = item(size=len(DATA), sha256=SHA256, place=str(blob))
    assert delivery(link=False).bring(known).how == "downloaded"


# ---- what is there ------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_a_file_of_the_same_length_is_left_alone_also_if_only_the_answer_tells_it(delivery, tmp_path, size):
    made = delivery()
    (tmp_path / "to" / "a.fits").write_bytes(DATA[::-1])
    assert made.bring(item(size=size)).how == "there"
    assert (tmp_path / "to" / "a.fits").read_bytes() == DATA[::-1]


@pytest.mark.parametrize("size", [None, len(DATA)])
def test_a_file_of_another_length_is_replaced_only_when_asked(delivery, tmp_path, size):
    made = delivery()
    (tmp_path / "to" / "a.fits").write_bytes(b"mine")
    assert "use --overwrite to replace it" in made.bring(item(size=size)).error
    assert (tmp_path / "to" / "a.fits").read_bytes() == b"mine"
    assert delivery(overwrite=True).bring(item(size=size)).how == "downloaded"
    assert (tmp_path / "to" / "a.fits").read_bytes() == DATA


# ---- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a/b", "/etc/passwd", "..", ".", "", "a\\b", "a\0", "a\n", "x" * 300])
def test_a_name_that_is_not_one_of_a_file_in_a_folder_is_refused(name):
    assert "is not a valid file name" in name_problem(["good.fits", name])


@given(st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=6))
def test_names_are_fine_if_none_is_given_twice(names):
    assert (name_problem(names) is None) == (len(set(names)) == len(names))


# ---- time left ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes, total",
    [([], None), ([None, None], None), ([10, None, 20, None], 60), ([10, 20], 30), ([0, None], None)],
)
def test_files_whose_length_nobody_knows_yet_count_as_long_as_the_others(sizes, total):
    assert expected_bytes({str(n): size for n, size in enumerate(sizes)}) == total


def test_what_is_written_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = tmp_path / "new" / "folder"
    assert kept(folder, "a.fits", b"first") == folder / "a.fits"

    def full(path, data):
        path.open("wb").close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        kept(folder, "a.fits", b"second")
    assert [(path.name, path.read_bytes()) for path in folder.iterdir()] == [("a.fits", b"first")]


def test_a_cutout_without_a_mirror_makes_no_folder(tmp_path):
    with pytest.raises(RemoteError, match="no mirror"):
        Client("http://127.0.0.1:1").cutout("hmi.m_720s[$]", (0, 0), (9, 9), to=tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
