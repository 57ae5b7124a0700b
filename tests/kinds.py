"""Of which kind a test is, by what its module imports: what is pure is quick, and can be run alone.

``unit`` starts nothing; ``lab`` is a server, or a mirror in front of a simulator, in the process of the test; ``program``
starts processes; ``browser`` walks through pages. A module whose tests differ is of the dearest kind among them. One from whose
imports it cannot be seen says it: ``pytestmark = pytest.mark.program``.
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
TESTS = Path(__file__).parent
#: From the cheapest to the dearest.
KINDS = ("unit", "lab", "program", "browser")
_SAID = re.compile(rf"^pytestmark = pytest\.mark\.({'|'.join(KINDS)})$", re.MULTILINE)
#: Words of a module that tell its kind, whatever it imports.
_WORDS = {
    "browser": re.compile(r"\bplaywright\b"),
    "program": re.compile(
        r"\b(subprocess|create_subprocess_exec|os\.fork|multiprocessing|Workers\(|RenderProcess|Renderer\()"
    ),
    "lab": re.compile(r"\b(TestServer|TestClient|HTTPServer|create_server|start_server|web\.TCPSite|build_app\()"),
}
_IMPORTS = re.compile(r"^\s*(?:from (tests[\w.]*) import (\([^)]*\)|[^\n]*)|import (tests[\w.]+))", re.MULTILINE)
#: Fixtures of a folder that have something run: the others only read.
_FIXTURE = re.compile(r"^@pytest_asyncio\.fixture.*\nasync def (\w+)", re.MULTILINE)
#: What helpers have that starts nothing.
_HARMLESS = {
    "tests.lab": {"JSOC_INFO", "AJAX", "Answer", "world", "RUNNER", "recnums"},
    "tests.filelab": {"FETCH", "ADDRESS", "synthetic"},
    "tests.processes": {"environment"},
}


#: What Python does that a unit test has no need of.
_NOT_UNIT = {"subprocess.Popen", "os.fork", "os.posix_spawn", "socket.bind"}
#: What was done of that, for each who watches.
_watching: list[list[str]] = []


@contextmanager
def watched() -> Iterator[list[str]]:
    """What is done meanwhile that a unit test has no need of: processes, and ports."""
    found: list[str] = []
    _watching.append(found)
    try:
        yield found
    finally:
        _watching.remove(found)


def _look(event: str, told: tuple[object, ...]) -> None:
    # A library looks in this way, when it is imported, whether there is IPv6.
    if _watching and event in _NOT_UNIT and not (event == "socket.bind" and told[1] == ("::1", 0)):
        _watching[-1].append(event)


sys.addaudithook(_look)


@cache
def kind_of(module: Path) -> str:
    """The kind of the tests of a module."""
    text = module.read_text("utf-8")
    if said := _SAID.search(text):
        return said[1]
    found = [kind for kind, words in _WORDS.items() if words.search(text)]
    found += [kind_of(helper) for helper in _helpers(text)]
    found += [kind_of(c) for c in _conftests(module) if _uses_fixture(text, c)]
    return max(found, key=KINDS.index, default="unit")


@cache
def is_shared(module: Path) -> bool:
    """Whether tests of a module share what is made once for all of them: then one process is to run them all."""
    texts = [module.read_text("utf-8"), *(c.read_text("utf-8") for c in _conftests(module))]
    return any('scope="module"' in text for text in texts)


@cache
def has_properties(module: Path) -> bool:
    """Whether hypothesis looks for counterexamples in a module: that takes longer than other tests."""
    return "@given(" in module.read_text("utf-8")


def _helpers(text: str) -> list[Path]:
    """The modules of helpers that do something for a module."""
    found: list[Path] = []
    for name, taken, alone in _IMPORTS.findall(text):
        names = set(re.findall(r"\w+", taken))
        if alone or not names or not names <= _HARMLESS.get(name, set()):
            modules = [alone or name, *(f"{name}.{each}" for each in names)]
            found += [ROOT / f"{each.replace('.', '/')}.py" for each in modules]
    return [path for path in found if path.is_file()]


def _conftests(module: Path) -> list[Path]:
    if not module.name.startswith("test_"):
        return []
    folders = [folder for folder in module.parents if folder.is_relative_to(TESTS) and folder != TESTS]
    return [folder / "conftest.py" for folder in folders if (folder / "conftest.py").is_file()]


def _uses_fixture(text: str, conftest: Path) -> bool:
    names = _FIXTURE.findall(conftest.read_text("utf-8"))
    return any(re.search(rf"^(?:async )?def .*[(,]\s*{name}\b", text, re.MULTILINE) for name in names)
