"""The synthetic series at a fixed time."""

import pytest

from tests.simulator.synthetic.asking import Archive, archive_at


@pytest.fixture(scope="session")
def archive() -> Archive:
    return archive_at("2026.11.22_00:00:00_TAI")
