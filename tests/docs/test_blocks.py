"""What the pages show works: every block of code in them is run, in order, by the real programs."""

import re

import pytest

from mirror.cli.serve import serve
from mirror.cli.simulate import simulate
from mirror.config.loading import Config
from tests.docs import blocks as reading
from tests.docs.desk import desk, server

PAGES = {str(p.relative_to(reading.ROOT)): p for p in reading.pages()}


@pytest.fixture(scope="module")
def upstream(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulator")
    with server("simulate", "--port", "0", cwd=folder, env={}) as url:
        yield url


#: Pages with tests of their own, which also compare the answers.
TOLD = {"docs/cookbook.md"}


@pytest.mark.parametrize("page", [n for n, path in PAGES.items() if reading.blocks(path) and n not in TOLD])
def test_the_blocks_of_a_page_run(page, upstream, tmp_path):
    chosen = [b for b in reading.blocks(PAGES[page]) if b.language in reading.RUN and not b.not_run]
    if chosen:
        with desk(upstream, tmp_path / "home") as here:
            for block in chosen:
                here.run(block)


def upstreams(text: str) -> list[tuple[str, str]]:
    """The port of each mirror's simulated JSOC, and that of the simulator that was started before it."""
    usual = {parameter.name: parameter.default for parameter in simulate.params}["port"]
    started, found = "none", []
    for line in text.splitlines():
        if re.search(r"\bmirror simulate\b(?! --help)", line) and not line.lstrip().startswith("#"):
            port = re.search(r"--port[ =](\d+)", line)
            started = port[1] if port else str(usual)
        if asked := re.search(r"MIRROR_UPSTREAM__URL=http://(?:127\.0\.0\.1|localhost):(\d+)", line):
            found.append((asked[1], started))
    return found


@pytest.mark.parametrize("text", [*PAGES, "mirror simulate --help", "mirror serve --help"])
def test_a_mirror_asks_the_simulator_that_was_started_for_it(text):
    told = {"mirror simulate --help": simulate.help, "mirror serve --help": serve.help}
    if text in PAGES:
        found = [
            pair for b in [reading.blocks(PAGES[text])] for pair in upstreams("\n".join(x.text for x in b))
        ]
    else:
        found = upstreams(told[text] or "")
    assert [asked for asked, started in found if asked != started] == []


def test_the_first_five_minutes_end_with_the_mirror_that_they_started():
    text = PAGES["docs/start.md"].read_text()
    assert upstreams("\n".join(b.text for b in reading.blocks(PAGES["docs/start.md"]))) == [("8050", "8050")]
    assert f"localhost:{Config().server.port}" in text
    assert "MIRROR_STORAGE__PATH=trial" in text, "made-up records never get into the store of real ones"


def test_no_block_is_left_out_without_a_reason():
    every = [b for path in PAGES.values() for b in reading.blocks(path)]
    unrun = [b.where for b in every if b.language not in reading.RUN | reading.SHOWN and not b.not_run]
    assert unrun == []
    assert [b.where for b in every if b.not_run and b.language in reading.SHOWN] == []


def test_blocks_are_read_with_the_remarks_before_its_blocks():
    text = "a\n\n<!-- first: x\ny -->\n<!-- not run: root -->\n```sh\nz\n```\n- b\n\n  ```toml\n  c = 1\n  ```\n```{note}\n```\n"
    one, two = reading.read(text, "p.md")
    assert (one.language, one.text, one.not_run, one.first, one.where) == (
        "sh",
        "z\n",
        "root",
        "x\ny",
        "p.md:6",
    )
    assert (two.language, two.text, two.not_run, two.first) == ("toml", "c = 1\n", "", "")
