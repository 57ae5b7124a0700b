"""A keyword written into the scratch header, read back, and carried over into the file's header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.fits.header import Header
from mirror.fits.keyword import FitsKeyword, Kind, put, read, update, value_text, write, written

PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)


def carried(keyword: FitsKeyword) -> list[str]:
    """The keyword's cards in the file, without blanks at their ends."""
    scratch, header = Header(), Header()
    write(scratch, keyword)
    found = read(scratch, keyword.name, keyword.kind)
    if found is not None:
        update(header, found)
    return [card.rstrip() for card in header.cards]


@pytest.mark.parametrize(
    "value, digits, text",
    [
        (1.0, 9, "1."),
        (0.0, 17, "0."),
        (-0.0, 17, "-0."),
        (23.5846176, 9, "23.584617600000001"),
        (1e17, 9, "1.0E+17"),
        (-2.5e-5, 9, "-2.5000000000000001E-05"),
        (1e300, 17, "1.0000000000000001E+300"),
        (147096543210.123, 17, "147096543210.12299"),
        (3.40282347e38, 9, "3.4028234699999998E+38"),
    ],
)
def test_a_real_number_has_nine_digits_on_the_way_if_it_is_a_float_and_seventeen_in_the_end(
    value, digits, text
):
    cards = carried(FitsKeyword("X", Kind.REAL, value, digits=digits))
    assert cards == [f"X       = {text:>20}"]


def test_a_number_too_small_to_be_read_back_is_lost():
    assert carried(FitsKeyword("X", Kind.REAL, 5e-324)) == []


@pytest.mark.parametrize("value", [None, float("inf"), float("-inf")])
def test_what_has_no_number_is_missing(value):
    keyword = FitsKeyword("X", Kind.REAL, value, "note", "deg")
    assert carried(keyword) == ["X       =                      / [deg] (MISSING) note"]


def test_a_missing_number_without_a_note_says_so_twice_and_a_string_becomes_empty():
    assert carried(FitsKeyword("X", Kind.INTEGER, None)) == [
        "X       =                      / (MISSING) (MISSING)"
    ]
    assert carried(FitsKeyword("X", Kind.STRING, None)) == ["X       = '        '           / (MISSING)"]


@pytest.mark.parametrize(
    "comment, unit, written",
    [
        ("note", "m/s", "/ [m/s] note"),
        ("note", " m/s ", "/ [ m/s ] note"),
        ("", "deg", "/ [deg]"),
        ("note", "none", "/ note"),
        ("[old] note", "deg", "/ [deg] note"),
        ("(radians) note", None, "/ note"),
        ("  note", None, "/ note"),
    ],
)
def test_unit_and_comment_of_a_card(comment, unit, written):
    [card] = carried(FitsKeyword("X", Kind.INTEGER, 1, comment, unit))
    assert card.partition(" 1 ")[2] == written


def test_a_comment_that_begins_with_missing_makes_the_value_missing():
    keyword = FitsKeyword("X", Kind.INTEGER, 1, "(MISSING) it seems")
    assert carried(keyword) == ["X       =                      / (MISSING) it seems"]


def test_a_keyword_that_is_there_is_updated_in_its_place_with_its_continued_cards():
    header = Header()
    for name in ("A", "B", "C"):
        update(header, FitsKeyword(name, Kind.STRING, name * 100))
    update(header, FitsKeyword("B", Kind.STRING, "short", "note"))
    update(header, FitsKeyword("A", Kind.STRING, None, "note"))
    names = [card[:8].rstrip() for card in header.cards]
    assert names == ["A", "CONTINUE", "B", "C", "CONTINUE"]
    assert header.cards[0].rstrip() == "A       =                      / (MISSING) note"


def test_comments_move_to_the_end_and_their_lines_stay_apart():
    header = Header(["COMMENT old", "NUM     =                    1"])
    update(header, FitsKeyword("COMMENT", Kind.STRING, "one\n\ntwo"))
    assert [card.rstrip() for card in header.cards[1:]] == ["COMMENT one", "COMMENT two"]


def test_an_empty_history_leaves_no_card():
    assert carried(FitsKeyword("HISTORY", Kind.STRING, "")) == []


@given(
    st.text(PRINTABLE, max_size=200), st.text(PRINTABLE, max_size=60), st.sampled_from([None, "deg", "none"])
)
def test_carrying_over_a_second_time_changes_nothing(text, comment, unit):
    once, again = Header(), Header()
    write(once, FitsKeyword("X", Kind.STRING, text, comment, unit))
    found = read(once, "X", Kind.STRING)
    update(again, found)
    if read(again, "X", Kind.STRING) == found:
        before = list(again.cards)
        update(again, found)
        assert list(again.cards) == before


# ---- both steps at once ---------------------------------------------------------------------------

TEXTS = st.text(PRINTABLE, max_size=200)
VALUES = st.one_of(
    st.tuples(st.just(Kind.INTEGER), st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))),
    st.tuples(st.just(Kind.REAL), st.one_of(st.none(), st.floats(allow_nan=False))),
    st.tuples(st.just(Kind.STRING), st.one_of(st.none(), TEXTS)),
)
KEYWORDS = st.builds(
    lambda name, of, comment, unit, digits: FitsKeyword(name, *of, comment, unit, digits),
    st.sampled_from(["X", "DATE", "T_OBS", "CRPIX1", "LONGNAME"]),
    VALUES,
    st.text(PRINTABLE, max_size=60),
    st.sampled_from([None, "none", "deg", "(MISSING)", "m/s"]),
    st.sampled_from([9, 17]),
)


def archived(keyword, more):
    """A header that may have the keyword already, with cards that continue it."""
    header = Header(["BITPIX  =                    8"])
    for each in more:
        write(header, each)
    header.append(
        "T_REC   = 'x'", f"{keyword.name:<8}= 'a&'" if len(more) % 2 else "COMMENT a", "CONTINUE  'b'"
    )
    return header


@given(KEYWORDS, st.lists(KEYWORDS, max_size=2))
def test_both_steps_at_once_give_the_cards_of_one_after_the_other(keyword, more):
    slow, fast = archived(keyword, more), archived(keyword, more)
    scratch = Header()
    write(scratch, keyword)
    found = read(scratch, keyword.name, keyword.kind)
    if found is not None:
        update(slow, found)
    done = written(keyword, value_text(keyword))
    put(fast, done)
    assert list(done.scratch) == list(scratch.cards)
    assert fast.to_bytes() == slow.to_bytes()
    names = ("X", "DATE", "T_OBS", "CRPIX1", "LONGNAME", "CONTINUE", "BITPIX")
    assert [fast.find(name) for name in names] == [Header(fast.cards).find(name) for name in names]
