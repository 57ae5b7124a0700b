"""The pages are built without a warning, and what is built fetches nothing from anywhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from tests.docs.blocks import ROOT

#: What a browser fetches of its own accord.
FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}


class Fetches(HTMLParser):
    """Gathers the addresses that a page fetches."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attrs):
        address = dict(attrs).get(FETCHED.get(tag, ""))
        if address and dict(attrs).get("rel") not in ("canonical", "license"):
            self.found.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        folder / "trees",
        ROOT / "docs",
        folder / "html",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_page_is_built_without_a_warning(site):
    written = {p.relative_to(ROOT / "docs").with_suffix(".html") for p in (ROOT / "docs").glob("**/*.md")}
    built = {p.relative_to(site) for p in site.glob("**/*.html")}
    assert {p for p in written if "_build" not in p.parts} <= built


def test_pages_fetch_nothing_from_elsewhere(site):
    outside = set()
    for page in site.glob("**/*.html"):
        reader = Fetches()
        reader.feed(page.read_text("utf-8"))
        outside |= {a for a in reader.found if re.match(r"(https?:)?//", a)}
    assert outside == set()


def test_pictures_are_told_in_words(site):
    for page in site.glob("**/*.html"):
        assert not re.search(
            r'<img(?![^>]*\balt="[^"]+")[^>]*\bsrc="[^"]*_images', page.read_text("utf-8")
        ), page
