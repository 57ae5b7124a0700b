"""Jobs and power cuts: the real programs, killed in the middle of exports, go on where they were."""

from __future__ import annotations

import json
import time
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.forkserver import PREPARE
from tests.processes import serve, simulate
from tests.recorded import WORLD

SHARP = "hmi.sharp_720s[3563][2014.01.01_TAI/48m]{bitmap,magnetogram}"
FILES = 8
HELD_BEFORE = 3
OFFLINE = "hmi.m_720s[:#4007]{magnetogram}"
DEADLINE = 180.0
HASTILY = {PREPARE: "tests.hastily"}


class Programs:
    """A simulator and a mirror in front of it, by HTTP."""

    def __init__(self, simulator):
        self.simulator = simulator
        self.mirror = None

    def fetch(self, **params):
        return self._json(f"{self.mirror.url}/cgi-bin/ajax/jsoc_fetch?{urlencode(params)}")

    def export(self, ds, **more):
        params = {
            "op": "exp_request",
            "ds": ds,
            "method": "url",
            "protocol": "as-is",
            "notify": "a@example.com",
        }
        told = self.fetch(**{**params, **more})
        assert told["status"] == 2, told
        return told["requestid"]

    def done(self, request_id):
        told = self.until(lambda: self._ended(request_id))
        assert told["status"] == "0", told
        return told

    def _ended(self, request_id):
        told = self.fetch(op="exp_status", requestid=request_id)
        return told if str(told["status"]) not in ("1", "2") else None

    def faults(self, *rules):
        request = Request(f"{self.simulator.url}/_simulator/faults", data=json.dumps(rules).encode())
        urlopen(request, timeout=DEADLINE).read()

    def log(self, program, **params):
        entries = self._json(f"{self.simulator.url}/_simulator/log")
        return [e for e in entries if e["program"] == program and params.items() <= e["params"].items()]

    def held(self, path):
        with urlopen(Request(self.mirror.url + path, method="HEAD"), timeout=DEADLINE) as response:
            return response.headers["X-Mirror"] == "local"

    def until(self, ready):
        """What ``ready`` says once it says something."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            if found := ready():
                return found
            time.sleep(0.1)  # to ask takes from the programs what they need to get there
        raise AssertionError("it takes too long")

    @staticmethod
    def _json(url):
        with urlopen(url, timeout=DEADLINE) as response:
            return json.loads(response.read().decode("latin-1"))


@pytest.fixture
def programs():
    with simulate(WORLD) as simulator:
        yield Programs(simulator)


def test_exports_go_on_after_a_power_cut_and_nothing_is_fetched_twice(programs, tmp_path):
    url = programs.simulator.url
    programs.faults({"match": {"program": "file"}, "fault": "slow", "seconds": 600, "skip": HELD_BEFORE},
                    {"match": {"op": "exp_request"}, "fault": "staging", "seconds": 0.5})  # fmt: skip
    with serve(url, tmp_path, **HASTILY) as programs.mirror:
        files = programs.export(SHARP)
        programs.until(lambda: len(programs.log("file")) > HELD_BEFORE)
        before = [e["params"]["path"] for e in programs.log("file")][:HELD_BEFORE]
        programs.until(lambda: all(map(programs.held, before)))
        staged = programs.export(OFFLINE, o="1")
        processed = programs.export(
            "hmi.m_720s[:#4005]{magnetogram}", protocol="fits", process="n=0|rebin,scale=0.25"
        )
        programs.until(lambda: len(programs.log("jsoc_fetch", op="exp_request")) == 2)
        programs.until(lambda: len(programs.log("jsoc_fetch", op="exp_status")) >= 2)
        programs.mirror.kill()
    programs.faults()
    with serve(url, tmp_path, **HASTILY) as programs.mirror:
        done = programs.done(files)
        assert done["count"] == str(FILES)
        assert programs.done(staged)["count"] == "1"
        assert programs.done(processed)["count"] == "1"
        fetched = [e["params"]["path"] for e in programs.log("file")]
        assert all(fetched.count(path) == 1 for path in before)
        asked = {e["params"]["ds"] for e in programs.log("jsoc_fetch", op="exp_request")}
        assert len(asked) == 2
        for row in done["data"]:
            with urlopen(f"{programs.mirror.url}{done['dir']}/{row['filename']}", timeout=DEADLINE) as response:
                assert response.read(9) == b"SIMPLE  ="
        code, errors = programs.mirror.terminate()
        assert (code, "Traceback" in errors) == (0, False), errors


TAPE = "hmi.sharp_720s[:#439,#536]"
WHOLE = "hmi.sharp_720s[3563][2014.01.01_TAI/84m]{magnetogram}"
TOO_LARGE = {"fault": "status", "status": 3, "message": "Request exceeds max byte limit of 10000MB"}
PARTS = {"match": {"op": "exp_request", "ds": "#[0-9]+,#[0-9]+,#[0-9]+,#[0-9]+|TAI/"}, **TOO_LARGE}
HANGS = {"fault": "slow", "seconds": 600}


def test_a_job_in_parts_goes_on_after_a_power_cut(programs, tmp_path):
    url = programs.simulator.url
    programs.faults({"match": {"program": "file"}, **HANGS, "skip": 4}, PARTS)
    with serve(url, tmp_path, **HASTILY) as programs.mirror:
        whole = programs.export(WHOLE, protocol="fits", **{"process=n": "0|rebin,scale=0.5"})
        programs.until(lambda: len(programs.log("file")) == 5)
        before = accepted(programs)
        programs.mirror.kill()
    programs.faults(PARTS)
    with serve(url, tmp_path, **HASTILY) as programs.mirror:
        assert programs.done(whole)["count"] == "7"
        assert len(before) == 2
        assert accepted(programs)[:2] == before
        assert len(accepted(programs)) == 3
        fetched = [e["params"]["path"] for e in programs.log("file")]
        assert all(fetched.count(path) == 1 for path in fetched[:3])


def test_a_tar_file_of_upstream_is_gone_on_with_after_a_power_cut(programs, tmp_path):
    url = programs.simulator.url
    tar = {"match": {"program": "file", "path": "tar$"}}
    programs.faults({**tar, "fault": "cut", "at": 500_000, "times": 1}, {**tar, **HANGS})
    with serve(url, tmp_path, **HASTILY) as programs.mirror:
        tape = programs.export(TAPE, o="1")
        programs.until(lambda: len(programs.log("file")) == 2)
        programs.mirror.kill()
    programs.faults()
    with serve(url, tmp_path, **HASTILY) as programs.mirror:
        assert int(programs.done(tape)["count"]) >= 62
        assert len(accepted(programs)) == 1
        assert len({e["params"]["path"] for e in programs.log("file")}) == 1
        assert len(programs.log("file")) == 3


def accepted(programs):
    """The record sets of the requests that the simulator has accepted."""
    return [e["params"]["ds"] for e in programs.log("jsoc_fetch", op="exp_request") if e["status"] == 2]
