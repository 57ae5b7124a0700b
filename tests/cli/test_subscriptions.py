"""Subscriptions from the command line: written into config.toml, worked on, resumed after a kill."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter

import pytest

from mirror.config.loading import load_config
from tests.processes import program, run, simulate
from tests.recorded import WORLD
from tests.waiting import PAUSE

SERIES = "hmi.sharp_cea_720s"
BEFORE = """\
# Our mirror. Do not touch the port, the firewall knows it.
[server]
port = 0  # any

[storage]
path = "store"

# The big one.
[[subscription]]
name = "old"   # since 2024
series = "hmi.M_720s"
start = "2024.01.01_TAI"
end = "2024.01.01_TAI"
"""
WISH = ("--start", "2014.01.01_TAI", "--end", "2014.01.01_01:00:00_TAI", "--segments", "bitmap")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(BEFORE)
    return path


def subscribe(config, *arguments, **more):
    return run("-m", "mirror", "subscribe", *arguments, MIRROR_CONFIG=str(config), **more)


def sync(config, *arguments, **more):
    return run("-m", "mirror", "sync", *arguments, MIRROR_CONFIG=str(config), **more)


def log(url):
    with urllib.request.urlopen(f"{url}/_simulator/log") as response:
        return json.load(response)


def names(url):
    with urllib.request.urlopen(f"{url}/api/subscriptions") as response:
        return {each["name"] for each in json.load(response)}


def test_a_subscription_is_added_and_everything_else_stays(config):
    done = subscribe(
        config, SERIES, *WISH, "--key", "HARPNUM=3536,3560", "--hours", "20:00-06:00", "--keep", "window",
        "--pictures",
    )
    assert done.returncode == 0, done.stderr
    assert f"added subscription {SERIES} to " in done.stderr
    assert config.read_text().startswith(BEFORE)
    old, new = load_config(config, {}).subscription
    assert (old.name, new.name, new.series, new.segments) == ("old", SERIES, SERIES, ("bitmap",))
    assert (new.keys, str(new.hours)) == ((("HARPNUM", "3536,3560"),), "20:00-06:00")
    assert (new.pictures, old.pictures) == (True, False)
    again = subscribe(config, SERIES, *WISH)
    assert f"added subscription {SERIES}-2 to " in again.stderr


def test_a_subscription_is_taken_out_and_everything_else_stays(config):
    subscribe(config, SERIES, *WISH)
    done = subscribe(config, "--remove", SERIES)
    assert done.returncode == 0, done.stderr
    assert config.read_text().rstrip() == BEFORE.rstrip()
    gone = subscribe(config, "--remove", SERIES)
    assert (gone.returncode, "expected one of: old" in gone.stderr) == (1, True)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((SERIES,), "missing --start"),
        ((SERIES, "--start", "soon"), "start = 'soon': expected a time such as"),
        ((SERIES, "--start", "-1d", "--where", "QUALITY ="), "the condition ends here"),
        ((SERIES, "--start", "-1d", "--key", "HARPNUM"), "expected a prime key and its values"),
        ((SERIES, "--start", "-1d", "--name", "old"), "this name is taken"),
        ((), "expected a SERIES, or --list, or --remove NAME"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(config, arguments, message):
    done = subscribe(config, *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert config.read_text() == BEFORE


def test_a_kill_in_the_middle_costs_nothing_twice(config):
    config.write_text(BEFORE.replace("[storage]", "[fill]\nchunk_records = 64\n\n[storage]"))
    subscribe(config, "--remove", "old")
    subscribe(config, SERIES, *WISH)
    with simulate(WORLD) as jsoc:
        with program("serve", "--config", str(config), MIRROR_UPSTREAM__URL=jsoc.url) as mirror:
            while sum(e["program"] == "file" for e in log(jsoc.url)) < 4:
                time.sleep(PAUSE)
            mirror.kill()
        done = sync(config, "--once", "--json", MIRROR_UPSTREAM__URL=jsoc.url)
        assert done.returncode == 0, done.stderr
        [report] = json.loads(done.stdout)
        entries = log(jsoc.url)
    assert (report["state"], report["records"], report["files"]) == ("current", 17, 17)
    files = Counter(e["params"]["path"] for e in entries if e["program"] == "file")
    whole = {path: n for path, n in files.items() if n > 1}
    # What was on its way when the power went may have been whole there and not yet written down here.
    assert len(files) == 17
    assert sum(whole.values()) <= 2 * len(whole) <= 4
    assert sum(e["records"] for e in entries if "R" in e["params"]) == 17


def test_an_edit_of_a_running_mirror_starts_work_and_sync_waits_for_it(config):
    subscribe(config, "--remove", "old")
    with (
        simulate(WORLD) as jsoc,
        program("serve", "--config", str(config), MIRROR_UPSTREAM__URL=jsoc.url) as mirror,
    ):
        done = subscribe(config, SERIES, *WISH, "--name", "maps", MIRROR_URL=mirror.url)
        assert done.returncode == 0, done.stderr
        once = sync(config, "--once", "maps", MIRROR_URL=mirror.url)
        assert once.returncode == 0, once.stderr
        assert "17/17" in once.stdout
        listed = subscribe(config, "--list", "--json", MIRROR_URL=mirror.url)
        assert [r["name"] for r in json.loads(listed.stdout)] == ["maps"]
        shown = run("-m", "mirror", "status", MIRROR_URL=mirror.url)
        assert "maps" in shown.stdout
        unknown = sync(config, "--once", "other", MIRROR_URL=mirror.url)
        assert (unknown.returncode, "expected one of: maps" in unknown.stderr) == (1, True)
        subscribe(config, SERIES, *WISH, "--name", "more", MIRROR_URL=mirror.url)
        while names(mirror.url) != {"maps", "more"}:  # the watcher sees the edit
            time.sleep(PAUSE)
        code, _ = mirror.terminate()
        assert code == 0
