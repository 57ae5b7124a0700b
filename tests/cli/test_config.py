"""`mirror config`, and the configuration file that is named to every command."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from mirror.cli.config import _written as written
from mirror.cli.config import lines_of, shown
from mirror.cli.main import main
from mirror.config import readers
from mirror.config.loading import check_value, read_config
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


SHIPPED = Path(__file__).parents[2] / "config.toml"
HASH = "sha256$" + "0" * 64
TEXT = f"""\
[server]
port = 9123
[upstream]
url = "http://mirror.example.org:8040"
token = "lab.abcdef"
[cluster]
database = "postgresql://mirror:hunter2@db/mirror?password=foo"
objects = "file:///x"
[access]
networks = [
  "10.0.0.0/8 read",
]
[[token]]
name = "ada"
hash = "{HASH}"
[[subscription]]
series = "hmi.M_720s"
start = "-30d"
[[subscription]]
series = "hmi.v_720s"
start = "-30d"
keep = "window"
"""


def rows(text="", **environ):
    path = Path("/etc/config.toml")
    return {row.key: row for row in shown(read_config(text, path, environ), text, environ)}


def test_a_value_comes_from_the_environment_else_from_the_file_else_from_the_default():
    found = rows(TEXT, MIRROR_SERVER__PORT="9200", MIRROR_LOG__LEVEL="debug")
    assert (found["server.port"].value, found["server.port"].variable) == (9200, "MIRROR_SERVER__PORT")
    assert (found["log.level"].value, found["log.level"].source) == ("debug", "environment")
    assert (found["upstream.url"].source, found["upstream.url"].line) == ("file", 4)
    assert (found["access.networks"].value, found["access.networks"].line) == (["10.0.0.0/8 read"], 10)
    assert (found["subscription[2].series"].line, found["subscription[2].keep"].value) == (20, "window")
    assert (found["subscription[1].keep"].value, found["subscription[1].keep"].source) == ("forever", "default")
    assert (found["freshness[1].pattern"].value, found["freshness[1].pattern"].source) == (
        "*_nrt*",
        "default",
    )
    assert found["storage.quota"].value == "none"


def test_secrets_are_hidden():
    told = repr(rows(TEXT))
    assert not re.search(r"hunter2|foo|abcdef|0{64}", told)
    assert rows(TEXT)["token[1].hash"].value == "(secret)"


def test_of_addresses_that_let_somebody_in_only_the_host_is_shown():
    text = '[[webhook]]\nurl = "https://chat.example.org/hooks/abc"\n[[upstream.alternative]]\nurl = "http://a:1"\ntoken = "hush"\n'
    rows = {row.key: row.value for row in shown(read_config(text, None, {}), text, {})}
    assert rows["webhook[1].url"] == "https://chat.example.org/(secret)"
    assert rows["upstream.alternative"] == ["http://a:1"]


def test_defaults_are_put_as_the_shipped_file_puts_them():
    text = SHIPPED.read_text()
    for key, row in rows(text).items():
        if row.source == "file" and key not in ("storage.path", "access.networks", "access.hosts", "access.pass_through"):
            line = text.splitlines()[row.line - 1]
            put = str(row.value).lower() if isinstance(row.value, bool) else str(row.value)
            assert line.partition("=")[2].strip().strip('"').replace("_", "") == put.replace("_", ""), line
            check_value(*key.split("."), row.value)


@given(st.one_of(st.integers(1, 10**7), st.floats(0.001, 10**4).map(lambda x: round(x, 3))))
def test_a_duration_is_read_as_it_was_put(seconds):
    assert readers.duration(written(readers.duration, float(seconds))) == pytest.approx(seconds, rel=1e-5)


@given(st.integers(1, 10**15))
def test_a_size_is_read_as_it_was_put(size):
    assert readers.size(written(readers.size, size)) == size


@pytest.mark.parametrize(
    "text, place, line",
    [
        ("server.port = 1", ("server", None, "port"), 1),
        ("\n[ 'server' ] # x\n  \"port\" = 1", ("server", None, "port"), 3),
        ("server = { port = 1 }", ("server", None, ""), 1),
        ('[log]\nfile = """\n[server]\nport = 1\n"""\nlevel = "x"', ("log", None, "level"), 6),
        ("[[token]]\n[[token]]\nname = 'x'", ("token", 2, "name"), 3),
    ],
)
def test_the_line_of_a_key(text, place, line):
    assert lines_of(text).get(place) == line
    assert place[0] == "server" or ("server", None, "port") not in lines_of(text)
