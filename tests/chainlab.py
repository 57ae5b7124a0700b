"""Mirrors in a row: a simulator, a mirror in front of it, and mirrors in front of that."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp

from tests.filelab import FileLab, file_lab
from tests.lab import Lab, lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def chain_lab(path: Path, **environ: str) -> AsyncIterator[tuple[Lab, Lab]]:
    """Mirrors A and B: B asks A, and A asks the simulator; both have one clock."""
    async with AsyncExitStack() as stack:
        near = await stack.enter_async_context(lab(path / "a", **environ))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        settings = {"MIRROR_UPSTREAM__URL": near.url, "MIRROR_STORAGE__PATH": str(path / "b"), **environ}
        far = Lab(path / "b", near.simulator, session, settings, clock=near.clock)
        stack.push_async_callback(far.stop, last=True)
        await far.start()
        yield near, far


@asynccontextmanager
async def file_chain(path: Path, **environ: str) -> AsyncIterator[tuple[FileLab, FileLab]]:
    """The same for files and exports."""
    async with AsyncExitStack() as stack:
        near = await stack.enter_async_context(file_lab(path / "a", **environ))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        settings = {"MIRROR_UPSTREAM__URL": near.url, "MIRROR_STORAGE__PATH": str(path / "b"), **environ}
        far = FileLab(path / "b", near.simulator, session, settings, clock=near.clock)
        stack.push_async_callback(far.stop, last=True)
        await far.start()
        yield near, far
