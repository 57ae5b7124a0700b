"""What the pages show works: every block of code in them is run, in order, by the real programs."""

import tempfile
from pathlib import Path

import pytest

from tests.docs import blocks as reading
from tests.docs.desk import desk, forker, server
from tests.processes import environment

PAGES = {str(p.relative_to(reading.ROOT)): p for p in reading.pages()}


@pytest.fixture(scope="module")
def made():
    with tempfile.TemporaryDirectory() as folder, forker(Path(folder)) as made:
        yield made


@pytest.fixture(scope="module")
def upstream(made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulator")
    with server(made, "simulate", "--port", "0", cwd=folder, env=environment()) as url:
        yield url


#: Pages with tests of their own, which also compare the answers.
TOLD = {"docs/cookbook.md"}


@pytest.mark.parametrize("page", [n for n, path in PAGES.items() if reading.blocks(path) and n not in TOLD])
def test_the_blocks_of_a_page_run(page, made, upstream, tmp_path):
    chosen = [b for b in reading.blocks(PAGES[page]) if b.language in reading.RUN and not b.not_run]
    if chosen:
        with desk(made, upstream, tmp_path / "home") as here:
            for block in chosen:
                here.run(block)


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
