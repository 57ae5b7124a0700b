"""One browser for the tests of a module."""

import pytest_asyncio

from tests.browser.walk import chromium


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser():
    async with chromium() as made:
        yield made
