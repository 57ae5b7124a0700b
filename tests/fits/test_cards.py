"""Cards made and taken apart; FITS standard 4.0, section 4."""

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from mirror.fits.header import (
    Header,
    commentary_cards,
    finished,
    make_card,
    quoted,
    split_card,
    string_cards,
    unquoted,
)

PRINTABLE = st.characters(min_codepoint=0x20, max_codepoint=0x7E)
TEXTS = st.text(PRINTABLE, max_size=300)
NAMES = st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"), min_size=1, max_size=8).filter(
    lambda name: name not in {"COMMENT", "HISTORY", "CONTINUE", "END"}
)


@pytest.mark.parametrize(
    "arguments, card",
    [
        (("NUM", "1", "number"), "NUM     =                    1 / number"),
        (("NUM", "1"), "NUM     =                    1"),
        (("num", "", "(MISSING)"), "NUM     =                      / (MISSING)"),
        (("T", "'secs    '", "unit"), "T       = 'secs    '           / unit"),
        (("T", "'secs    '"), "T       = 'secs    '"),
        (("D", "-1.2345678901234567E-300", "x"), "D       = -1.2345678901234567E-300 / x"),
        (("S", "'" + "x" * 65 + "'", "c"), "S       = '" + "x" * 65 + "'"),
        (("S", "'" + "x" * 64 + "'", "cd"), "S       = '" + "x" * 64 + "' / c"),
        (("S", "'" + "x" * 68 + "'", "c"), "S       = '" + "x" * 68 + "'"),
    ],
)
def test_a_card_in_fixed_format(arguments, card):
    made = make_card(*arguments)
    assert made == card if len(card) < 80 else made == card[:80]


@given(NAMES, TEXTS.filter(lambda t: len(t) < 30), TEXTS)
def test_value_and_comment_of_a_card_are_read_back_as_far_as_they_fit(name, text, comment):
    value, read = split_card(make_card(name, quoted(text), comment))
    assert unquoted(value) == text.rstrip(" ")
    assert comment.rstrip(" ").startswith(read)


@given(NAMES, TEXTS, TEXTS)
def test_strings_of_any_length_are_read_back(name, text, comment):
    header = Header(string_cards(name, text, comment))
    assert all(len(card) == 80 for card in header.cards)
    if not text.rstrip(" ").endswith("&"):
        assert header.string(0)[0] == text.rstrip(" ")


@given(NAMES, TEXTS.filter(lambda t: "&" not in t), st.text(PRINTABLE, max_size=40))
def test_astropy_reads_the_same_strings(name, text, comment):
    cards = Header(string_cards(name, text, comment)).cards
    card = fits.Card.fromstring("".join(cards))
    assert card.value == text.rstrip(" ")


def test_a_long_string_keeps_room_for_its_comment_on_a_card_of_its_own():
    cards = string_cards("L_STR", "x" * 120, "a comment of forty characters or so, no more")
    assert [card[:11] for card in cards] == ["L_STR   = '", "CONTINUE  '", "CONTINUE  '"]
    assert cards[-1].startswith("CONTINUE  'xxxxxxxxxxxxxxxx'   / a comment")


def test_a_string_of_nothing_but_quotes_comes_to_an_end():
    header = Header(string_cards("Q", "'" * 400))
    assert header.string(0)[0] == "'" * 400


def test_bytes_that_cannot_be_printed_become_blanks_one_each():
    assert finished("NOTE    = 'caf\xc3\xa9\t'")[:20] == "NOTE    = 'caf   '  "


@given(TEXTS)
def test_commentary_is_cut_into_cards_of_72_characters_and_joined_again(text):
    cards = [finished(card) for card in commentary_cards("HISTORY", text)]
    assert "".join(card[8:] for card in cards).rstrip(" ") == text.rstrip(" ")


@pytest.mark.parametrize(
    "card, parts",
    [
        ("NAXIS1  =                  512 / axis", ("512", "axis")),
        ("A       = 'it''s / x' / c", ("'it''s / x'", "c")),
        ("A       = 'open", ("'open'", "")),
        ("A       =                      / c", ("", "c")),
        ("A       =", ("", "")),
        ("COMMENT = 'not a value'", ("", "= 'not a value'")),
        ("HISTORY  two blanks", ("", " two blanks")),
        ("A       = T", ("T", "")),
        ("A       = 1.5/c", ("1.5", "c")),
    ],
)
def test_value_and_comment_of_a_card(card, parts):
    assert split_card(card) == parts
