"""Takes the pictures of the pages that the docs show, of a mirror with a simulated JSOC: python docs/make_page_images.py

To look at all pages in three widths, light and dark: python docs/make_page_images.py --all FOLDER
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.browser.walk import Walk, chromium, walking
from tests.processes import program

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IMAGES = Path(__file__).parent / "images"
WIDTHS = (390, 768, 1440)
HOUR, MAGNETOGRAMS = "hmi.v_45s[2014.01.01_TAI/1h]", "hmi.m_720s[2014.01.01_TAI/1h]"
STATEMENT = (
    "SELECT T_REC, DATAMEAN, DATARMS FROM hmi.v_45s WHERE quality = 0 ORDER BY T_REC"
)
#: A year of which a part is fetched while the overview is looked at.
YEAR = "hmi.v_45s[2015.01.01_TAI/365d]"
SETTINGS = """
[storage]
path = "store"
quota = "500GB"
[server]
port = 0
[[subscription]]
name = "magnetograms"
series = "hmi.M_720s"
start = "2014.01.01_TAI"
end = "2014.01.02_TAI"
segments = ["magnetogram"]
budget = "300MB/day"
[[subscription]]
name = "regions"
series = "hmi.sharp_cea_720s"
start = "2014.01.01_TAI"
end = "2014.01.01_06:00:00_TAI"
"""
PAGES: Mapping[str, str] = {
    "overview": "/",
    "search": f"/search?ds={quote(HOUR)}&key=T_REC,CRLT_OBS,DATAMEAN,QUALITY",
    "search-none": f"/search?ds={quote('hmi.v_45s[2009.01.01_TAI/1h]')}",
    "search-error": f"/search?ds={quote('hmi.v_45s[2014.13.01_TAI/1h]')}",
    "search-keyword": f"/search?ds={quote('hmi.v_45s[2014.01.01_TAI/1h]')}&key=T_RECC",
    "search-pictures": f"/search?ds={quote(MAGNETOGRAMS)}&pictures=magnetogram",
    "search-plot": f"/search?ds={quote(HOUR)}&key=T_REC,DATAMEAN,DATARMS",
    "series-list": "/series",
    "series": "/series/hmi.V_45s",
    "coverage": "/coverage?series=hmi.V_45s",
    "sql": f"/sql?query={quote(STATEMENT)}",
    "jobs": "/jobs",
    "subscriptions": "/subscriptions",
    "datasets": "/datasets",
    "upkeep": "/upkeep",
    "absent": "/serie/hmi.v_45s",
}
#: The tab that is opened on a page.
TABS = {PAGES["search-plot"]: "plot"}
#: Of the docs: the page, and how high it is.
SHOWN = {
    "overview": 820, "search-error": 420, "search-pictures": 1000, "search-plot": 960, "coverage": 820, "jobs": 480,
    "sql": 1000, "subscriptions": 620, "upkeep": 1020,
}  # fmt: skip


def asked(url: str, path: str, **body: Any) -> Any:
    """What the mirror answers; a body is posted."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def used(url: str) -> None:
    """What a group does with a mirror in a day."""
    for _ in range(12):
        for day in ("2014.01.01", "2014.01.03", "2014.01.04"):
            asked(url, f"/api/search?ds={quote(f'hmi.v_45s[{day}_TAI/1d]')}&key=T_REC")
    asked(url, f"/api/search?ds={quote('aia.lev1_euv_12s[2014.01.01/1m][171]')}&key=T_REC")
    asked(url, "/api/jobs", ds=MAGNETOGRAMS, protocol="as-is")
    files = json.loads(asked(url, f"/api/files?ds={quote(MAGNETOGRAMS)}"))
    for _ in range(40):  # people of one group
        for file in files:
            asked(url, file["path"])
    asked(url, "/api/fill", ds=YEAR)


async def _shown(walk: Walk, path: str) -> None:
    await walk.to(path)
    await walk.page.wait_for_load_state("load")
    if tab := TABS.get(path):
        await walk.page.click(f"#tab-{tab}")
    if path == PAGES["sql"]:
        await walk.page.click("#run")
        await walk.until("!document.querySelector('#run').disabled")
    await walk.page.wait_for_timeout(1500)  # charts and live figures have come


async def every_page(browser: Any, url: str, folder: Path) -> None:
    """All pages in all widths, light and dark."""
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    for width, scheme in [*((width, "light") for width in WIDTHS), (1440, "dark"), (390, "dark")]:
        size = {"width": width, "height": 844 if width < 700 else 900}
        async with walking(browser, url, viewport=size, color_scheme=scheme) as walk:
            for name, path in PAGES.items():
                await _shown(walk, path)
                wide = await walk.page.evaluate("document.documentElement.scrollWidth - innerWidth")
                complaints = [f"{wide} px wider than the window"] * (wide > 0) + walk.complaints
                walk.complaints.clear()
                for complaint in complaints:
                    print(f"{name} at {width}: {complaint}")
                await walk.page.screenshot(path=folder / f"{name}-{width}{'-dark' * (scheme == 'dark')}.png", full_page=True)


async def pages_of_the_docs(browser: Any, url: str) -> None:
    """Those that the docs show, light and 1280 wide."""
    async with walking(browser, url, color_scheme="light") as walk:
        await _shown(walk, PAGES["overview"])
        await walk.page.wait_for_timeout(6000)  # its picture of the Sun is made
        for name, height in SHOWN.items():
            await walk.page.set_viewport_size({"width": 1280, "height": height})
            await _shown(walk, PAGES[name])
            place = IMAGES / f"page-{name}.png"
            print(f"docs/images/{place.name}: {len(await walk.page.screenshot(path=place)):,} bytes")


def mirrors(folder: Path) -> Iterator[str]:
    """The address of a mirror that has been used, in front of a simulator that takes its time."""
    (folder / "config.toml").write_text(SETTINGS)
    with program("simulate", "--port", "0") as simulator:
        settings = {"MIRROR_UPSTREAM__URL": simulator.url}
        with program("serve", "--config", str(folder / "config.toml"), **settings) as mirror:
            used(mirror.url)
            yield mirror.url


async def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for url in mirrors(Path(folder)):
            async with chromium() as browser:
                await (pages_of_the_docs(browser, url) if given.all is None else every_page(browser, url, given.all))


if __name__ == "__main__":
    asyncio.run(main())
