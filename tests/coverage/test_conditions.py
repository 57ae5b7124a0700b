"""What is one condition, and what is one question."""

from __future__ import annotations

import pytest

from mirror.coverage.conditions import answer_key, canonical_text, condition_of, is_volatile
from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from tests.lab import world
from tests.storage.archive import SERIES


def selection(text, series=SERIES):
    return bind(parse_query(text).sets[0], series)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("  NOAA_AR   =  11158 ", "noaa_ar = 11158"),
        ("Name = 'A  b'", "name = 'A  b'"),
        ('Name ~ "A  B"  AND X', 'name ~ "A  B" and x'),
        ("X = $$A  B$$", "X = $$A  B$$"),
        (r"X = E'a\'B  c'", r"X = E'a\'B  c'"),
        ("X = 'open", "X = 'open"),
        (r"X  ~ '^\d+$' AND Y", r"x ~ '^\d+$' and y"),
        ("X = 'a--B'  OR Y", "x = 'a--B' or y"),
        ("X = $$a'B$$ OR Y = 'C  D'", "X = $$a'B$$ OR Y = 'C  D'"),
        ("T > $(2014.01.01_TAI)", "t > $(2014.01.01_tai)"),
    ],
)
def test_the_canonical_form_changes_nothing_that_is_quoted(text, expected):
    assert canonical_text(text) == expected


@pytest.mark.parametrize(
    "one, other",
    [
        ("[? VALUE>1 ?]", "[1-2][?  value  > 1 ?]"),
        ("[? value > 1 ?][? k = 1 ?]", "[? k=1 ?][? (value > 1) ?]"),
    ],
)
def test_spellings_of_a_condition_are_one(one, other):
    assert condition_of(selection(f"lab.Small{one}")).key == condition_of(selection(f"lab.Small{other}")).key


def test_versions_and_conditions_tell_conditions_apart():
    texts = ["[? value > 1 ?]", "[! value > 1 !]", "[? value > 2 ?]", "[? value > 1 ?][? k = 1 ?]"]
    assert len({condition_of(selection(f"lab.Small{text}")).key for text in texts}) == len(texts)


@pytest.mark.parametrize("text", ["[1-2]", "[$][? value > 1 ?]", "[? 1=1) or (1=1 ?]", "[1-9][K=2-3][? value > 1 ?]"])
def test_what_cannot_be_taken_apart_is_no_condition(text):
    assert condition_of(selection(f"lab.Small{text}")) is None


def test_a_bracket_on_a_rounded_time_is_a_condition():
    series = next(d.structure for d in world() if d.structure.name == "su_test.nokeyidx")
    assert condition_of(selection("su_test.nokeyidx[2014.01.01_UTC]", series)) is not None
    assert condition_of(selection("su_test.nokeyidx[]", series)) is None


def test_a_question_is_told_by_its_marks_and_its_limit():
    texts = [("lab.Small[1]", None), ("lab.Small[1]", 3), ("lab.Small[$]", None), ("lab.Small[:#1]", None)]
    assert len({answer_key(selection(text), n) for text, n in texts}) == len(texts)
    assert answer_key(selection("lab.Small[ 1 ]".replace(" ", ""))) == answer_key(selection("lab.Small[K=1]"))


@pytest.mark.parametrize(
    "text, expected", [("t < now()", True), ("random() < 0.5", True), ("name = 'now'", False), ("known = 1", False)]
)
def test_what_is_of_the_moment(text, expected):
    assert is_volatile(f"[? {text} ?]") is expected
