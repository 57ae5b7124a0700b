"""One header card: made from name, value and comment, and taken apart again.

Rule for editors: a card is a str of one character a byte (Latin-1), without padding while it is made and
with 80 characters once it is in a header. What fits is decided here as CFITSIO 3.4x decides it, because
JSOC's exporter is built on that; FITS standard 4.0, sections 4.1 and 4.2, is the grammar.
"""

from __future__ import annotations

import re

CARD = 80  #: characters of a card
STRING = 68  #: characters of a string value that one card holds, quotes inside it counted twice
_VALUE_END, _COMMENT_END = 30, 77  # fixed format ends here; a comment begins before here or not at all
_NO_VALUE = ("COMMENT ", "HISTORY ", "END     ", "CONTINUE", "        ")
_QUOTED = re.compile(r"'(?:[^']|'')*+'")
_TOKEN_END = re.compile(r"[ /]")
_NOT_PRINTABLE = re.compile(r"[^ -~]")


def make_card(name: str, value: str, comment: str = "") -> str:
    """The card of a keyword, at most 80 characters; ``value`` is its FITS text, quotes included.

    Strings start in column 11, other values end in column 30 unless they are longer. A comment is cut at
    column 80 and left out where no room is.
    """
    card = f"{name.upper():<8}= "
    card += value[: CARD - 10] if value.startswith("'") else value.rjust(_VALUE_END - 10)
    if len(card) == CARD and value.startswith("'"):
        card = card[: CARD - 1] + "'"
    if comment:
        card = card.ljust(_VALUE_END)
    if comment and len(card) < _COMMENT_END:
        card = f"{card} / {comment}"[:CARD]
    return card


def finished(card: str) -> str:
    """The card as a header holds it: blanks for what cannot be printed, 80 characters."""
    return _NOT_PRINTABLE.sub(" ", card).ljust(CARD)


def name_of(card: str) -> str:
    """The keyword's name: the first eight characters without blanks at the end."""
    return card[:8].rstrip(" ")


def quoted(text: str) -> str:
    """``text`` as the FITS text of a string value: quotes doubled, at least eight characters, at most 68."""
    inside = ""
    for character in text[:STRING]:
        if len(inside) >= STRING:
            break
        inside += "''" if character == "'" else character
    return f"'{inside.ljust(8)}'" if len(inside) <= STRING else f"'{inside[:STRING]}"


def unquoted(value: str) -> str:
    """The string that a FITS text stands for, without the blanks at its end; other values as they are."""
    if not value.startswith("'"):
        return value
    found = _QUOTED.match(value)
    inside = found[0][1:-1] if found else value[1:].removesuffix("'")
    return inside.replace("''", "'").rstrip(" ")


def split_card(card: str) -> tuple[str, str]:
    """Value and comment of a card, both "" where it has none; a string value keeps its quotes.

    A commentary card (COMMENT, HISTORY, CONTINUE, no name) is a comment from column 9 on.
    """
    if card.startswith(_NO_VALUE) or card[8:10].ljust(2) != "= ":
        return "", card[8:].rstrip(" ")
    rest = card[10:].strip(" ")
    value = _value_at_start(rest)
    comment = rest[len(value) :].lstrip(" ").removeprefix("/").removeprefix(" ")
    return value, comment


def _value_at_start(rest: str) -> str:
    if rest.startswith("/"):
        return ""
    if rest.startswith("'"):
        found = _QUOTED.match(rest)
        return found[0] if found else f"{rest}'"
    return _TOKEN_END.split(rest, maxsplit=1)[0]


def string_cards(name: str, text: str, comment: str = "") -> list[str]:
    """The cards of a string of any length: the keyword's own, then CONTINUE cards.

    Every card but the last ends its value with ``&``. Where the last piece would leave no room for a
    comment of up to 47 characters, 16 characters of it go to one card more.
    """
    cards: list[str] = []
    rest, size, silent = text, _room(text), False
    room = min(len(comment), 47)
    while True:
        piece, last = quoted(rest[:size]), len(rest) <= size
        if not last:
            size, piece = size - 1, _continued(piece)
        cards.append(_piece_card(name, piece, "" if silent else comment, first=not cards))
        rest, silent = rest[size:], False
        if last or not rest:
            return cards
        size = _room(rest)
        taken = len(rest) + rest[:STRING].count("'")
        if room and taken <= STRING and taken + room > 65 and size > 18:
            size, silent = len(rest) - 15, True


def _room(text: str) -> int:
    """Characters of ``text`` that fit in one card; each quote among the first 68 takes the room of two."""
    return max(STRING - text[:STRING].count("'"), 8)


def _continued(piece: str) -> str:
    """The quoted piece with ``&`` over its last character."""
    return f"{piece[:-3]}&'" if piece[-2] == "'" else f"{piece[:-2]}&'"


def _piece_card(name: str, piece: str, comment: str, *, first: bool) -> str:
    if first:
        return make_card(name, piece, comment)
    card = make_card("CONTINUE", piece, comment)
    return f"{card[:8]}  {card[10:]}"


def commentary_cards(name: str, text: str) -> list[str]:
    """``text`` as COMMENT or HISTORY cards of 72 characters; none if there is no text."""
    width = CARD - 8
    return [f"{name:<8}{text[start : start + width]}" for start in range(0, len(text), width)]
