"""A mirror that is told to stop does, whatever it is doing, and loses nothing that it had."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from tests.lab import JSOC_INFO
from tests.processes import IN_TIME, PATIENCE, serve, simulate
from tests.recorded import WORLD

DOPPLERGRAM = "/SUM41/D400000001/S00000/Dopplergram.fits"
ENDLESS = b"SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range + b.range = 7"
FILL = f"{JSOC_INFO}?{urlencode({'op': 'rs_list', 'ds': 'hmi.v_45s[2014.01.01_TAI/1d]', 'key': 'T_REC'})}"
SLOW = [{"match": {"program": "file"}, "fault": "slow", "seconds": 600}]


@pytest.fixture(scope="module")
def simulator():
    with simulate(WORLD, "--latency", "50") as running:
        urlopen(
            Request(f"{running.url}/_simulator/faults", data=json.dumps(SLOW).encode()), timeout=180
        ).read()
        yield running


def ask(url: str, data: bytes | None = None) -> threading.Thread:
    """A request that somebody waits for."""

    def wait() -> None:
        with suppress(URLError, OSError, ValueError):
            urlopen(Request(url, data=data), timeout=180).read()

    asking = threading.Thread(target=wait, daemon=True)
    asking.start()
    return asking


def asked(simulator, **what: str) -> int:
    with urlopen(f"{simulator.url}/_simulator/log", timeout=180) as response:
        return sum(all(e["params"].get(k) == v for k, v in what.items()) for e in json.load(response))


def until(ready) -> None:
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.01)


def test_it_stops_in_the_middle_of_a_fill_a_download_a_statement_and_a_check(simulator, tmp_path):
    with serve(simulator.url, tmp_path, MIRROR_FILL__CHUNK_RECORDS="60") as mirror:
        waiting = [ask(mirror.url + DOPPLERGRAM), ask(mirror.url + FILL)]
        until(lambda: asked(simulator, path=DOPPLERGRAM) and asked(simulator, op="rs_list") > 3)
        waiting.append(ask(f"{mirror.url}/api/sql", ENDLESS))
        urlopen(
            Request(f"{mirror.url}/api/check", data=b"{}", headers={"Content-Type": "application/json"}),
            timeout=180,
        )
        began = time.monotonic()
        code, errors = mirror.terminate()
        assert time.monotonic() - began < IN_TIME
        assert (code, "Traceback" in errors) == (0, False), errors
        for each in waiting:
            each.join(PATIENCE)
    with serve(simulator.url, tmp_path, MIRROR_UPSTREAM__POLICY="offline") as mirror:
        with urlopen(f"{mirror.url}/api/check", timeout=180) as response:
            assert response.status == 200
        assert mirror.terminate()[0] == 0
