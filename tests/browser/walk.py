"""A browser that walks through the pages of a mirror with a simulator behind it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

#: The browser without what only a window needs is the quicker one, by half; both draw the same.
BROWSERS = ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")
CHROMIUM = next(filter(os.path.exists, BROWSERS), "")
AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
#: A folder for pictures of the pages, if somebody wants to look at them.
PICTURES = os.environ.get("MIRROR_TEST_PICTURES")
#: Milliseconds that a page may take for anything: the machine may be busy.
PATIENCE = 120_000


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    """A browser; the test is skipped, loudly, where there is none."""
    if not CHROMIUM:
        pytest.skip(f"THE PAGES ARE NOT LOOKED AT: {BROWSERS[0]} is missing; apt-get install chromium-headless-shell")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


class Walk:
    """A page in a browser, and what it complained of."""

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._asked)

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.complaints.append(f"asked of somebody else: {request.url}")

    async def to(self, path: str) -> None:
        """Open a page of the mirror, and wait until its scripts have run."""
        await self.page.goto(self.url + path, wait_until="load")
        await self.page.wait_for_selector("#theme:not([hidden])")

    async def until(self, expression: str) -> None:
        """Wait until this is true. Playwright's own way evaluates within the page, whose policy forbids that."""
        async with asyncio.timeout(PATIENCE / 1000):
            while not await self.page.evaluate(expression):
                await self.page.wait_for_timeout(20)

    async def accessibility(self) -> list[str]:
        """What an accessibility checker finds that is serious."""
        # As an evaluated expression: the page's own policy lets no other script in.
        if await self.page.evaluate("!window.axe"):
            await self.page.evaluate(AXE.read_text() + "; undefined")
        found = await self.page.evaluate(
            "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']})"
        )
        return [
            f"{v['impact']}: {v['id']}: {node['target']} {node['failureSummary']}"
            for v in found["violations"]
            for node in v["nodes"]
        ]


async def shot(walk: Walk, name: str) -> None:
    """Keep a picture of the page, where somebody wants to look at them."""
    if PICTURES:
        await walk.page.wait_for_timeout(500)
        await walk.page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


async def looked_over(walk: Walk) -> None:
    """Nothing sticks out, an accessibility checker finds nothing, the browser did not complain."""
    wide = await walk.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, "the page is wider than the window"
    found = await walk.accessibility()
    assert not found, "\n".join(found)
    assert walk.complaints == []


@asynccontextmanager
async def walking(browser: Any, url: str, **options: Any) -> AsyncIterator[Walk]:
    """A walk in a fresh profile; ``options`` as for a browser context."""
    context = await browser.new_context(**options)
    try:
        yield Walk(await context.new_page(), url)
    finally:
        await context.close()
