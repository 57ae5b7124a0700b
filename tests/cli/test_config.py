"""`mirror config`, and the configuration file that is named to every command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from mirror.cli.main import main
from tests.processes import program, run

WRONG = """\
[server]
port = "x"
hots = "a"

[upstream]
url = "http://ada:hunter2@host/x"
[[subscription]]
series = "hmi.m_720s"
where = "QUALITY >"
[nothing]
"""


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Calls a command in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("MIRROR_CONFIG", "MIRROR_URL"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments, **environ):
        return CliRunner().invoke(main, list(arguments), env=environ)

    return call


def test_check_prints_a_line_for_each_problem_in_the_order_of_the_file(mirror, tmp_path):
    (tmp_path / "wrong.toml").write_text(WRONG)
    done = mirror("config", "check", "wrong.toml", MIRROR_LOG__LEVEL="loud")
    found = [re.match(r"(?:wrong\.toml:(\d+)|environment): ", line) for line in done.stdout.splitlines()]
    assert [each and each[1] for each in found] == ["2", "3", "6", "7", "9", "10", None]
    assert (done.exit_code, "hunter2" in done.output) == (1, False)
    assert "did you mean 'host'?" in done.stdout and "the key 'start' is missing" in done.stdout


@pytest.mark.parametrize(
    "text, told",
    [
        ("[log\n", "is not TOML"),
        ("[storage]\nlow = '99%'\n", "wrong.toml:2: [storage] low"),
        ("[server]\nhost = '0.0.0.0'\n", "wrong.toml:2: [server] host = '0.0.0.0' listens to other computers"),
        ("[upstream]\nqueries = 5\n", "wrong.toml:2: [upstream] queries = 5: expected at most 2"),
        ("token = 1\n", "wrong.toml:1: [[token]]: expected a list of tables"),
        ("[[server]]\n", "[server]: expected a table"),
    ],
)
def test_check_tells_what_a_mirror_would_refuse(mirror, tmp_path, text, told):
    (tmp_path / "wrong.toml").write_text(text)
    done = mirror("--config", "wrong.toml", "config", "check")
    assert (done.exit_code, len(done.stdout.splitlines())) == (1, 1)
    assert told in done.stdout


def test_check_of_a_file_that_is_right_and_of_none(mirror, tmp_path):
    (tmp_path / "right.toml").write_text("[server]\nport = 1\n")
    assert mirror("config", "check", "right.toml").exit_code == 0
    for name in ("absent.toml", "."):
        done = mirror("config", "check", name)
        assert (done.exit_code, len(done.output.splitlines())) == (1, 1)
    assert mirror("config", "check").exit_code == 2


def test_show_says_where_each_value_comes_from(mirror, tmp_path):
    (tmp_path / "right.toml").write_text("[server]\nport = 9123\n\n[storage]\nquota = '500 GB'\n")
    done = mirror("--config", "right.toml", "config", "show", MIRROR_LOG__LEVEL="debug")
    told = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    assert told["server.port"] == ["9123", "right.toml:2"]
    assert told["storage.quota"] == ["500GB", "right.toml:5"]
    assert told["log.level"] == ["debug", "MIRROR_LOG__LEVEL"]
    assert told["server.host"] == ["127.0.0.1", "default"]
    rows = {row["key"]: row for row in json.loads(mirror("config", "show", "right.toml", "--json").stdout)}
    assert rows["server.port"] == {
        "key": "server.port", "value": 9123, "source": "file", "file": "right.toml", "line": 2, "variable": None,
    }  # fmt: skip
    assert {row["source"] for row in json.loads(mirror("config", "show", "--json").stdout)} == {"default"}


def test_the_file_of_a_mirror_says_where_it_listens_and_where_its_store_is(mirror, tmp_path):
    config = tmp_path / "folder" / "config.toml"
    config.parent.mkdir()
    config.write_text("[server]\nport = 1\n[storage]\npath = 'store'\n[upstream]\npolicy = 'offline'\n")
    with program("serve", "--config", str(config), "--port", "0", "--store", str(tmp_path / "other")) as running:
        port = running.url.rpartition(":")[2]
        config.write_text(config.read_text().replace("port = 1\n", f"port = {port}\n"))
        done = mirror("--config", str(config), "status", "--json")
        assert json.loads(done.stdout)["config"]["file"] == str(config)
        assert (tmp_path / "other").is_dir() and not (config.parent / "store").exists()
        in_its_environment = run("-m", "mirror", "status", "--json", MIRROR_SERVER__PORT=port, MIRROR_SERVER__HOST="0.0.0.0")
        assert json.loads(in_its_environment.stdout)["config"]["file"] == str(config)
        elsewhere = mirror("--config", str(config), "status", "--url", "http://127.0.0.1:1")
        assert (elsewhere.exit_code, "no mirror at http://127.0.0.1:1" in elsewhere.output) == (1, True)
    with_own_store = run("-m", "mirror", "--config", str(config), "series")
    assert (with_own_store.returncode, f"no mirror at {running.url}" in with_own_store.stderr) == (1, True)


def test_a_file_that_is_not_there_is_not_passed_over(mirror, tmp_path):
    absent = str(tmp_path / "absent.toml")
    for command in ("status", "series", "jobs", "serve"):
        done = mirror("--config", absent, command)
        assert (done.exit_code, f"{absent}: cannot be read: No such file" in done.output) == (1, True)
    added = mirror("--config", absent, "token", "create", "ada")  # which makes it
    assert (added.exit_code, Path(absent).exists()) == (0, True), added.output


@pytest.mark.parametrize(
    "option", [("--port", "70000"), ("--port", "x"), ("--upstream", "jsoc"), ("--host", ""), ("--store", "")]
)
def test_an_option_of_serve_that_cannot_be_is_wrong_usage(mirror, option):
    done = mirror("serve", *option)
    assert (done.exit_code, "expected" in done.output) == (2, True)
