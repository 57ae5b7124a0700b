"""Each test has the mark of one kind, and a unit test that does what only others may fails."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from tests.kinds import KINDS, TESTS, kind_of, watched

pytestmark = pytest.mark.unit


def test_every_module_is_of_a_kind_and_there_are_some_of_each():
    found = {path: kind_of(path) for path in TESTS.rglob("test_*.py")}
    assert set(found.values()) == set(KINDS)


@pytest.mark.parametrize("name, kind", [
    ("drms/test_parser.py", "unit"), ("server/test_bad_input.py", "lab"), ("hostile/test_budgets.py", "lab"), ("server/test_programs.py", "program"),
    ("services/sql/test_hostile.py", "program"), ("docs/test_blocks.py", "program"), ("browser/test_search.py", "browser"),
])  # fmt: skip
def test_a_module_is_of_the_kind_of_what_it_imports(name, kind):
    assert kind_of(TESTS / name) == kind


def test_this_test_has_one_mark_of_a_kind(request):
    assert [mark.name for mark in request.node.iter_markers() if mark.name in KINDS] == ["unit"]


@pytest.mark.parametrize("act", [
    lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    lambda: socket.create_server(("127.0.0.1", 0)).close(),
    lambda: os.waitpid(os.fork() or os._exit(0), 0),
])  # fmt: skip
def test_what_a_unit_test_has_no_need_of_is_seen(act):
    with watched() as found:
        act()
    assert len(found) == 1
