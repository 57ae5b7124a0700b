"""Tokens from the command line: printed once, kept as hashes, followed by a running mirror, revoked at once."""

from __future__ import annotations

import json

import pytest

from mirror.config.access import fits
from mirror.config.loading import load_config
from tests.processes import program, run

BEFORE = """\
# Ours.
[server]
port = 0  # any

[storage]
path = "store"
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(BEFORE)
    return path


def token(config, *arguments):
    return run("-m", "mirror", "token", *arguments, MIRROR_CONFIG=str(config))


def test_a_token_is_printed_once_and_the_file_keeps_its_hash_and_all_else(config):
    done = token(config, "create", "ada", "--role", "export")
    assert done.returncode == 0, done.stderr
    made, text = done.stdout.strip(), config.read_text()
    assert text.startswith(BEFORE) and made not in text and made.partition(".")[2] not in text
    [ada] = load_config(config, {}).token
    assert (ada.name, str(ada.role), fits(made, ada.hash)) == ("ada", "export", True)
    assert "requires a token from everybody now" in done.stderr
    assert json.loads(token(config, "list", "--json").stdout) == [{"name": "ada", "role": "export"}]
    again = token(config, "create", "Ada")
    assert (again.returncode, "has a token 'Ada' already" in again.stderr) == (1, True)
    wrong = token(config, "create", "a b")
    assert (wrong.returncode, "'a b' is no name of a token; expected letters" in wrong.stderr) == (1, True)
    assert "expected one of: ada" in token(config, "revoke", "bob").stderr
    assert token(config, "revoke", "ADA").returncode == 0
    assert config.read_text().rstrip() == BEFORE.rstrip()
    empty = token(config, "list")
    assert (empty.stdout, "no tokens yet" in empty.stderr) == ("", True)


def test_a_running_mirror_is_asked_for_its_file_and_follows_it(config):
    with program("serve", "--config", str(config)) as mirror:
        made = run("-m", "mirror", "token", "create", "root", "--role", "admin", "--url", mirror.url)
        assert made.returncode == 0, made.stderr
        known = {"MIRROR_TOKEN": made.stdout.strip(), "MIRROR_URL": mirror.url}
        while run("-m", "mirror", "status", MIRROR_URL=mirror.url).returncode == 0:
            pass  # until the edit is seen
        assert run("-m", "mirror", "offline", **known).returncode == 0
        listed = json.loads(run("-m", "mirror", "audit", "--json", **known).stdout)
        assert [(row["who"], row["action"], row["outcome"]) for row in listed][:1] == [
            ("token:root", "POST /api/policy", "done")
        ]
        gone = run("-m", "mirror", "token", "revoke", "root", **known)
        assert gone.returncode == 0, gone.stderr
        assert mirror.terminate()[0] == 0


def test_a_mirror_for_others_that_lets_nobody_in_does_not_start(config):
    done = run("-m", "mirror", "serve", "--config", str(config), MIRROR_SERVER__HOST="0.0.0.0")
    assert done.returncode == 1
    assert "listens to other computers" in done.stderr and "mirror token create" in done.stderr
    assert "Traceback" not in done.stderr
