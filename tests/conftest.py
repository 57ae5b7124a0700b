"""What every test shares: the same examples in every run, marks by kind, and where its files lie."""

from __future__ import annotations

import gc
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from _pytest.assertion import util
from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.conjecture import providers

from tests import failures
from tests.kinds import KINDS, has_properties, is_shared, kind_of, watched

settings.register_profile(
    "steady",
    derandomize=True,  # a failure seen once is seen again
    deadline=None,  # machines that run tests are busy
    max_examples=40,  # the whole run is to take less than seven minutes, and unit tests less than one
    phases=[phase for phase in Phase if phase is not Phase.explain],  # that takes minutes, and a run gives up after five
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", parent=settings.get_profile("steady"), derandomize=False, max_examples=2000)
settings.load_profile("steady")
# Otherwise examples would have constants of the modules that happen to be loaded: another run, or worker, had others.
providers._get_local_constants = lambda: providers._local_constants

#: A file system in memory, and the bytes that must be free there: containers often have 64 MB.
MEMORY, ENOUGH = Path("/dev/shm"), 3_000_000_000


def pytest_configure(config: pytest.Config) -> None:
    for kind, words in (
        ("unit", "starts nothing"),
        ("lab", "has a server in its process"),
        ("program", "starts processes"),
        ("browser", "walks through pages"),
    ):
        config.addinivalue_line("markers", f"{kind}: {words} (set by what a module imports)")
    for name in ("CI", "BUILD_NUMBER"):  # with these pytest writes whole differences: of two large files, for minutes
        os.environ.pop(name, None)
    # Stores of tests need not outlast them. Whoever wants them on a disk says where: TMPDIR=/var/tmp
    if not {"TMPDIR", "PYTEST_DEBUG_TEMPROOT"} & os.environ.keys() and _is_roomy(MEMORY):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)
    gc.disable()  # of a hundred thousand objects that collecting tests makes, all stay


def _is_roomy(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > ENOUGH


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A run of unit tests does without importing the others."""
    only = config.option.markexpr == "unit"
    if only and collection_path.name.startswith("test_") and kind_of(collection_path) != "unit":
        return True
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test the mark of its kind; what takes long comes first, so that all processes end at a time."""
    for item in items:
        if item.get_closest_marker(kind_of(item.path)) is None:
            item.add_marker(kind_of(item.path))
    items.sort(key=lambda item: (-KINDS.index(kind_of(item.path)), not has_properties(item.path)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whoever is free takes the next test; those that share something with others of their module, all of it."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            module = config.rootpath / path
            return path if kind_of(module) == "unit" or is_shared(module) else nodeid

    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)  # a mirror is a hundred thousand objects made: the default looks through all at each
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """A unit test that starts a process or a server fails: its mark would tell something untrue. Large values are told briefly."""
    if util._reprcompare is not None:  # of this test alone
        util._reprcompare = failures.briefly(util._reprcompare)
    if item.get_closest_marker("unit") is None:
        return (yield)
    with watched() as found:
        result = yield
    assert not found, f"a unit test has no need of {found}: tests/kinds.py tells kinds apart"
    return result


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """A test that sets up logging for the whole process, as a command does, leaves nothing of that to the next."""
    root, raising = logging.getLogger(), logging.raiseExceptions
    levels = {name: logging.getLogger(name).level for name in ("", "aiohttp", "mirror", "watchfiles", "psycopg.pool")}
    handlers = root.handlers[:]
    yield
    logging.raiseExceptions = raising
    for name, level in levels.items():
        if (logger := logging.getLogger(name)).level != level:
            logger.setLevel(level)  # which forgets what all others have found out
    for handler in root.handlers[:]:
        if handler not in handlers and type(handler).__module__.partition(".")[0] != "_pytest":
            root.removeHandler(handler)
            handler.close()


# ---- what a run says about its failures ----------------------------------------------------------------


def pytest_make_parametrize_id(val: object) -> str | None:
    return failures.parameter_id(val)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    report.sections = [(name, failures.printable(text)) for name, text in report.sections]
    if report.failed:
        failures.shorten(report)
    return report


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Name the failed tests, after all else that pytest writes: where an output is cut, its end is kept."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is None or hasattr(config, "workerinput"):
        return
    for line in failures.in_short([*terminal.stats.get("failed", ()), *terminal.stats.get("error", ())]):
        terminal.write_line(line, red=True)
