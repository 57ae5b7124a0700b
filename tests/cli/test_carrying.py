"""The commands backup, restore, bundle and import, against real daemons that are killed in the middle."""

from __future__ import annotations

import json
import os
import urllib.request

import pytest
from click.testing import CliRunner

from mirror.cli.main import main
from tests import processes
from tests.recorded import WORLD

SPAN = "hmi.v_45s[2014.01.01_TAI/3m]"


@pytest.fixture(scope="module")
def simulator():
    with processes.simulate(WORLD) as running:
        yield running.url


def mirror(*arguments, **more):
    return processes.run("-m", "mirror", *map(str, arguments), **more)


def words(url, path, **body):
    """The words of a long task, one by one."""
    request = urllib.request.Request(
        url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=180) as answer:
        for line in answer:
            yield json.loads(line)


def killed_after(running, count, path, **body):
    """Kill the daemon once it has told so many words of a task; True if the task had ended before."""
    for number, word in enumerate(words(running.url, path, **body), start=1):
        assert "error" not in word, word
        if "done" in word and "step" not in word:
            return True
        if number == count:
            running.kill()
            return False
    return True


def recnums(url):
    told = mirror("search", SPAN, "--key", "*recnum*", "--json", "--url", url)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)["rows"]


def test_a_bundle_goes_to_a_laptop_by_the_command_line(tmp_path, simulator):
    with processes.serve(simulator, tmp_path / "a") as lab:
        made = mirror("bundle", SPAN, "--to", tmp_path / "disk", "--url", lab.url)
        assert made.returncode == 0, made.stderr
        assert "4 records, 4 files" in made.stderr
        origin = recnums(lab.url)
    laptop = {
        "MIRROR_STORAGE__PATH": str(tmp_path / "b"),
        "MIRROR_UPSTREAM__POLICY": "offline",
        "MIRROR_UPSTREAM__URL": "http://127.0.0.1:9",
    }
    taken = mirror("import", tmp_path / "disk", **laptop)  # no mirror runs, and there is no store yet
    assert taken.returncode == 0, taken.stderr
    assert "4 records of 1 series, 4 files, 4 of them new" in taken.stderr
    fetched = mirror("fetch", SPAN, "--to", tmp_path / "data", **laptop)
    assert fetched.returncode == 0, fetched.stderr
    assert len(list((tmp_path / "data").iterdir())) == 4
    with processes.serve("http://127.0.0.1:9", tmp_path / "b", MIRROR_UPSTREAM__POLICY="offline") as running:
        assert recnums(running.url) == origin


def test_a_daemon_killed_while_it_makes_or_takes_a_bundle_loses_and_invents_nothing(tmp_path, simulator):
    disk = tmp_path / "disk"
    for count in (3, 99):
        with processes.serve(simulator, tmp_path / "a") as lab:
            ended = killed_after(lab, count, "/api/bundle", recordsets=[SPAN], to=str(disk))
            assert (disk / "manifest.json").exists() == ended
    assert ended
    before = (disk / "manifest.json").read_bytes()
    with processes.serve(simulator, tmp_path / "a") as lab:
        killed_after(lab, 3, "/api/bundle", recordsets=["hmi.v_45s[2014.01.01_TAI/6m]"], to=str(disk))
    assert (disk / "manifest.json").read_bytes() == before
    for count in (4, 99):
        with processes.serve(
            "http://127.0.0.1:9", tmp_path / "b", MIRROR_UPSTREAM__POLICY="offline"
        ) as laptop:
            ended = killed_after(laptop, count, "/api/import", bundle=str(disk))
            if ended:
                assert len(recnums(laptop.url)) == 4
    assert ended


def test_a_daemon_killed_while_it_backs_up_leaves_no_backup_that_is_not_whole(tmp_path, simulator):
    with processes.serve(simulator, tmp_path / "a") as lab:
        origin = recnums(lab.url)
        assert not killed_after(lab, 1, "/api/backup", to=str(tmp_path / "backups"))
    assert [p for p in (tmp_path / "backups").iterdir() if not p.name.startswith(".")] == []
    with processes.serve(simulator, tmp_path / "a") as lab:
        made = mirror("backup", tmp_path / "backups", "--keep", "2", "--url", lab.url)
        assert made.returncode == 0, made.stderr
    told = mirror("restore", tmp_path / "backups", "--to", tmp_path / "new")
    assert told.returncode == 0, told.stderr
    again = mirror("restore", tmp_path / "backups", "--to", tmp_path / "new")
    assert again.returncode == 1
    assert "expected an empty folder, or --force" in again.stderr
    with processes.serve(simulator, tmp_path / "new", MIRROR_UPSTREAM__POLICY="offline") as restored:
        assert recnums(restored.url) == origin
        second = mirror("serve", MIRROR_STORAGE__PATH=str(tmp_path / "new"), MIRROR_SERVER__PORT="0")
        assert second.returncode == 1
        assert (
            f"is in use by process {restored.process.pid}; a store can be used by one mirror at a time"
            in second.stderr
        )
        assert "Traceback" not in second.stderr


def test_the_backups_of_a_folder_are_listed(tmp_path):
    told = mirror("backup", tmp_path, "--list", "--json", "--url", "http://127.0.0.1:9")
    assert json.loads(told.stdout) == []


def test_root_leaves_the_store_of_somebody_else_to_them(tmp_path, monkeypatch):
    """What root writes there the mirror of that user could not open."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "index.duckdb").touch()
    if os.geteuid() == 0:
        os.chown(store, 65534, 65534)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    env = {"MIRROR_STORAGE__PATH": str(store), "MIRROR_SERVER__PORT": "1"}
    for command in (["status"], ["series"], ["restore", str(tmp_path)], ["restore", "--without-backup", "--force"]):
        done = CliRunner().invoke(main, command, env=env)
        assert done.exit_code == 1
        assert f"the store {store} belongs to " in done.stderr and "runuser -u " in done.stderr
    assert [each.name for each in store.iterdir()] == ["index.duckdb"]
