"""What every test shares: the same examples in every run, marks by kind, and where its files lie."""

from __future__ import annotations

import gc
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.kinds import KINDS, is_shared, kind_of, watched

settings.register_profile(
    "steady",
    derandomize=True,  # a failure seen once is seen again
    deadline=None,  # machines that run tests are busy
    max_examples=60,  # the whole run is to take less than seven minutes
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", parent=settings.get_profile("steady"), derandomize=False, max_examples=2000)
settings.load_profile("steady")

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
    # Stores of tests need not outlast them. Whoever needs a disk asks for the fixture on_disk.
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
        if kind_of(item.path) == "unit" or is_shared(item.path):
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(Path(__file__).parent))))
    items.sort(key=lambda item: -KINDS.index(kind_of(item.path)))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """A unit test that starts a process or a server fails: its mark would tell something untrue."""
    if item.get_closest_marker("unit") is None:
        return (yield)
    with watched() as found:
        result = yield
    assert not found, f"a unit test has no need of {found}: tests/kinds.py tells kinds apart"
    return result


@pytest.fixture
def on_disk(tmp_path_factory: pytest.TempPathFactory):
    """A folder on a real disk, for what a file system in memory cannot show."""
    import tempfile

    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)
