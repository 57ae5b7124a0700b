"""Where values come from: the default, a line of the file, a variable; put so that config.toml takes them again."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.config import readers
from mirror.config.loading import check_value, read_config
from mirror.config.showing import _written as written
from mirror.config.showing import lines_of, shown

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
