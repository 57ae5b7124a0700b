"""Files under hardship: the real programs, whose disk fills in the middle, or which are killed there."""

from __future__ import annotations

import hashlib
import json
import resource
import time
from http.client import IncompleteRead
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.processes import serve, simulate
from tests.recorded import WORLD

BITMAP = "/SUM0/D440000100/S00000/bitmap.fits"
DOPPLERGRAM = "/SUM41/D400000001/S00000/Dopplergram.fits"
FILES = {"program": "file"}
#: Bytes of a file that may be written while the disk is said to be full.
FULL = 4 << 20
DEADLINE = 180.0


@pytest.fixture(scope="module")
def simulator():
    with simulate(WORLD) as running:
        yield running


def faults(simulator, *rules):
    urlopen(Request(f"{simulator.url}/_simulator/faults", data=json.dumps(rules).encode()), timeout=DEADLINE).read()


def asked(simulator, path):
    with urlopen(f"{simulator.url}/_simulator/log", timeout=DEADLINE) as response:
        entries = json.load(response)
    return [e for e in entries if e["program"] == "file" and e["params"]["path"] == path]


def content(program, path):
    with urlopen(program.url + path, timeout=DEADLINE) as response:
        return response.read(), response.headers["X-Mirror"]


def blobs(store):
    return {p.name: p for p in (store / "blobs").glob("*/*")}


def until(ready):
    end = time.monotonic() + DEADLINE
    while not ready():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def test_a_disk_that_fills_in_the_middle_is_an_error_and_the_mirror_goes_on(simulator, tmp_path):
    faults(simulator)
    whole, small = content(simulator, DOPPLERGRAM)[0], content(simulator, BITMAP)[0]
    assert len(whole) > FULL > 10 * len(small)
    with serve(simulator.url, tmp_path) as mirror:
        _, hard = resource.prlimit(mirror.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(mirror.process.pid, resource.RLIMIT_FSIZE, (FULL, hard))
        with pytest.raises((IncompleteRead, HTTPError)):  # a code, or an end before the end
            content(mirror, DOPPLERGRAM)
        assert blobs(tmp_path) == {}
        assert content(mirror, BITMAP)[0] == small
        resource.prlimit(mirror.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        assert content(mirror, DOPPLERGRAM)[0] == whole
        until(lambda: len(blobs(tmp_path)) == 2)
        code, errors = mirror.terminate()
        assert (code, "Traceback" in errors) == (0, False), errors


def test_a_mirror_that_is_killed_while_a_file_arrives_has_it_whole_after_the_restart(simulator, tmp_path):
    faults(simulator)
    whole = content(simulator, DOPPLERGRAM)[0]
    before = len(asked(simulator, DOPPLERGRAM))
    faults(simulator, {"match": FILES, "fault": "cut", "at": len(whole) // 2, "times": 1},
           {"match": FILES, "fault": "slow", "seconds": 600, "times": 1})  # fmt: skip
    with serve(simulator.url, tmp_path) as mirror:
        with urlopen(mirror.url + DOPPLERGRAM, timeout=DEADLINE) as answer:
            answer.read(1000)
            until(lambda: len(asked(simulator, DOPPLERGRAM)) == before + 2)
        mirror.kill()
    faults(simulator)
    with serve(simulator.url, tmp_path) as mirror:
        assert content(mirror, DOPPLERGRAM)[0] == whole
        until(lambda: content(mirror, DOPPLERGRAM)[1] == "local")
        assert list(blobs(tmp_path)) == [hashlib.sha256(whole).hexdigest()]
        mirror.kill()
    with serve(simulator.url, tmp_path) as mirror:
        assert content(mirror, DOPPLERGRAM) == (whole, "local")
