"""Several mirrors behind one port: all answer alike, share what they fetch, and end with the process that runs them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import pytest

from mirror.errors import ConfigError
from mirror.processes import postgres_programs
from tests.processes import simulate, started
from tests.recorded import WORLD

PATIENCE = 180.0
QUERY = urlencode({"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI/10m]", "key": "*recnum*"})


@pytest.fixture(autouse=True)
def programs():
    try:
        postgres_programs()
    except ConfigError as problem:
        pytest.skip(str(problem))


@pytest.fixture
def store():
    """A folder that others can come to: PostgreSQL is run as one of them where root runs the tests."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def ask(url):
    with urllib.request.urlopen(url, timeout=180) as answer:
        return json.load(answer)


def until(found):
    end = time.monotonic() + PATIENCE
    while not (what := found()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return what


def children(pid):
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at /proc")
def test_two_mirrors_behind_one_port_share_and_are_started_again_and_end_together(store):
    with simulate(WORLD) as jsoc:
        settings = {
            "MIRROR_UPSTREAM__URL": jsoc.url,
            "MIRROR_STORAGE__PATH": str(store),
            "MIRROR_SERVER__PORT": "0",
        }
        with started("serve", "--processes", "2", **settings) as mirror:
            url = mirror.ready()
            answers = [ask(f"{url}/cgi-bin/ajax/jsoc_info?{QUERY}") for _ in range(12)]
            assert all(each["keywords"] == answers[0]["keywords"] for each in answers)
            log = ask(f"{jsoc.url}/_simulator/log")
            sent = sum(e["records"] for e in log if e["params"].get("op") == "rs_list" and "R" in e["params"])
            assert sent == answers[0]["count"]
            servers = until(lambda: len(found := ask(f"{url}/api/cluster")["servers"]) == 2 and found)
            assert len({server["address"] for server in servers}) == 2
            before = children(mirror.process.pid)
            victim = next(pid for pid in before if "serve" in Path(f"/proc/{pid}/cmdline").read_text())
            os.kill(victim, signal.SIGKILL)
            until(lambda: len(children(mirror.process.pid)) == len(before) and victim not in children(mirror.process.pid))
            until(lambda: _answers(url))
            victim = next(pid for pid in children(mirror.process.pid) if "postgres" in Path(f"/proc/{pid}/cmdline").read_text())
            os.kill(victim, signal.SIGKILL)
            until(lambda: len(children(mirror.process.pid)) == len(before) and victim not in children(mirror.process.pid))
            until(lambda: _answers(url))
            new = urlencode({"op": "rs_list", "ds": "hmi.v_45s[2014.01.02_TAI/10m]", "key": "*recnum*"})
            until(lambda: _count(f"{url}/cgi-bin/ajax/jsoc_info?{new}"))
            ended = children(mirror.process.pid)
            mirror.process.terminate()
            assert mirror.process.wait(60) == 0
            until(lambda: all(map(is_gone, ended)))


def _answers(url):
    try:
        return len(ask(f"{url}/api/cluster")["servers"]) == 2
    except OSError:
        return False


def _count(url):
    """How many records an answer has; 0 as long as the mirrors cannot ask JSOC."""
    try:
        return ask(url).get("count", 0)
    except OSError:
        return 0
