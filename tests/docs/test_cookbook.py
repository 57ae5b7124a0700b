"""The cookbook: every example runs, answers what the page shows, and draws its picture."""

from __future__ import annotations

import re

import pytest

from tests.docs.cookbook import IMAGES, PAGE, cook, with_answers


@pytest.fixture(scope="module")
def cooked(tmp_path_factory):
    return cook(PAGE, tmp_path_factory.mktemp("cookbook"))


def test_every_statement_gives_rows(cooked):
    assert [block.where for block, lines in cooked.answers if len(lines) < 2] == []
    assert len(cooked.answers) >= 7


def test_the_page_shows_what_its_statements_answer(cooked):
    text = PAGE.read_text("utf-8")
    assert with_answers(text, cooked.answers) == text, "python docs/make_images.py makes them again"


def test_every_picture_of_the_page_is_drawn_by_it_and_kept(cooked):
    named = set(re.findall(r"\]\(images/([\w.]+)\)", PAGE.read_text("utf-8")))
    assert named == set(cooked.images) == {p.name for p in IMAGES.glob("*.png")} & named
    assert all(data.startswith(b"\x89PNG") and len(data) > 10_000 for data in cooked.images.values())
