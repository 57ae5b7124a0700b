"""FITS cards, the header that they make up, and the header of an archived file.

Cards are made from name, value and comment, and split again. Rule for editors: a card is a str with one character per
byte (Latin-1), without padding while it is made and with 80 characters once it is in a header. What fits is decided
as in CFITSIO 3.4x, on which JSOC's exporter is built; the grammar is FITS standard 4.0, sections 4.1 and 4.2.

A ``Header`` keeps its cards in order, and has the few edits that an export makes. Names are looked up as CFITSIO does:
the first card of that name. Rules about particular keywords are elsewhere.

``read_archive`` reads the beginning of an archived ("as-is") file: the header of its image, and where its data lie.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mirror.errors import UpstreamBroken

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
    column 80, and omitted if there is no room.
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
    """The card as a header has it: 80 characters, with blanks for unprintable ones."""
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
    """The string that a FITS text stands for, without trailing blanks; other values unchanged."""
    if not value.startswith("'"):
        return value
    found = _QUOTED.match(value)
    inside = found[0][1:-1] if found else value[1:].removesuffix("'")
    return inside.replace("''", "'").rstrip(" ")


def split_card(card: str) -> tuple[str, str]:
    """Value and comment of a card, each "" if it has none; a string value keeps its quotes.

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

    Every card but the last ends its value with ``&``. If the last piece would leave no room for a comment of up
    to 47 characters, 16 characters of it go to one more card.
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
    """How many characters of ``text`` fit in one card; each quote among the first 68 counts as two."""
    return max(STRING - text[:STRING].count("'"), 8)


def _continued(piece: str) -> str:
    """The quoted piece with ``&`` in place of its last character."""
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


BLOCK = 2880  #: bytes of a FITS block
END = "END".ljust(80)


class Header:
    """A header without its END card. Cards go in unpadded and come out with 80 characters."""

    def __init__(self, cards: Iterable[str] = ()) -> None:
        self._cards = [finished(card) for card in cards]
        self._first: dict[str, int] | None = None

    @property
    def cards(self) -> Sequence[str]:
        """All cards in order, without END."""
        return self._cards

    def find(self, name: str) -> int | None:
        """The position of the first card of that name, or None."""
        if self._first is None:
            self._first = {}
            for position, card in enumerate(self._cards):
                self._first.setdefault(name_of(card), position)
        return self._first.get(name.upper())

    def append(self, *cards: str) -> None:
        """Add cards at the end."""
        for card in cards:
            done = finished(card)
            if self._first is not None:
                self._first.setdefault(name_of(done), len(self._cards))
            self._cards.append(done)

    def append_finished(self, cards: Sequence[str]) -> None:
        """Add cards of 80 characters at the end; all have the name of the first."""
        if self._first is not None and cards:
            self._first.setdefault(name_of(cards[0]), len(self._cards))
            if len(cards) > 1:
                self._first.setdefault(name_of(cards[1]), len(self._cards) + 1)
        self._cards.extend(cards)

    def replace(self, position: int, card: str) -> None:
        """Replace a card by one of the same name."""
        self._cards[position] = finished(card)

    def replace_string(self, position: int, cards: Iterable[str]) -> None:
        """Replace a card, and the CONTINUE cards after it, by the cards of a string."""
        end = position + 1
        while end < len(self._cards) and name_of(self._cards[end]) == "CONTINUE":
            end += 1
        self._cards[position:end] = [finished(card) for card in cards]
        self._first = None

    def remove_all(self, name: str) -> None:
        """Remove every card of that name."""
        self._cards = [card for card in self._cards if name_of(card) != name]
        self._first = None

    def commentary(self, name: str) -> list[str]:
        """The texts of all COMMENT or HISTORY cards, in order."""
        return [split_card(card)[1] for card in self._cards if name_of(card) == name]

    def string(self, position: int) -> tuple[str, str]:
        """Value and comment of the string that begins there, its CONTINUE cards joined."""
        value, comment = split_card(self._cards[position])
        text = unquoted(value)
        for card in self._cards[position + 1 :]:
            if not text.endswith("&") or not card.startswith("CONTINUE  "):
                break
            value, more = split_card(f"STRING  = {card[10:]}")
            text = text[:-1] + unquoted(value)
            comment = f"{comment} {more}" if more else comment
        return text, comment[:72]

    def to_bytes(self) -> bytes:
        """The header with END, padded with blanks to whole blocks."""
        text = "".join(self._cards) + END
        return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("latin-1")


_CARDS_OF_BLOCK = BLOCK // 80


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """The first header with data: its cards without END, and its data unit as a byte range of the file.

    ``in_primary`` is False for an image in an extension, such as a compressed one. ``stated_sum`` is the
    ones-complement sum of the data according to the file's own DATASUM, None if it has none.
    """

    cards: tuple[str, ...]
    data_start: int
    data_size: int
    in_primary: bool
    stated_sum: int | None


def read_archive(head: bytes) -> ArchivedImage | None:
    """The image of the file that begins with ``head``; None if more of the file is needed.

    UpstreamBroken if the file is not FITS or has no image. 64 kB are enough for what JSOC archives.
    """
    start = 0
    while True:
        found = _read_header(head, start)
        if found is None:
            return None
        cards, data_start = found
        size = _data_size(cards)
        if size:
            return ArchivedImage(cards, data_start, size, start == 0, _stated_sum(cards))
        if start:
            raise UpstreamBroken("not an archived image: neither its first header nor the next one has data")
        start = data_start


def _read_header(head: bytes, start: int) -> tuple[tuple[str, ...], int] | None:
    """The cards of the header at ``start``, without END, and where its data begin."""
    cards: list[str] = []
    for block_start in range(start, len(head), BLOCK):
        block = head[block_start : block_start + BLOCK].decode("latin-1")
        first = "XTENSION=" if start else "SIMPLE  ="
        if not cards and block[: len(first)] != first[: len(block)]:
            raise UpstreamBroken(f"not a FITS file: expected a header at byte {start}, found {block[:40]!r}")
        if len(block) < BLOCK:
            return None
        fresh = [block[i * 80 : i * 80 + 80] for i in range(_CARDS_OF_BLOCK)]
        if END in fresh:
            return (*cards, *fresh[: fresh.index(END)]), block_start + BLOCK
        cards.extend(fresh)
    return None


def _data_size(cards: tuple[str, ...]) -> int:
    """Bytes of the data unit, including padding (FITS standard 4.0, section 4.4.1.1)."""
    values = {name_of(card): split_card(card)[0] for card in reversed(cards)}
    axes = [_integer(values, f"NAXIS{i + 1}") for i in range(_integer(values, "NAXIS"))]
    if not axes:
        return 0
    groups = _integer(values, "GCOUNT", 1)
    bits = abs(_integer(values, "BITPIX")) * groups * (_integer(values, "PCOUNT", 0) + math.prod(axes))
    return -(-bits // 8 // BLOCK) * BLOCK


def _integer(values: dict[str, str], name: str, default: int | None = None) -> int:
    text = values.get(name)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError as problem:
        raise UpstreamBroken(f"not a FITS file: expected an integer for {name}, found {text!r}") from problem


def _stated_sum(cards: tuple[str, ...]) -> int | None:
    for card in cards:
        if name_of(card) == "DATASUM":
            text = unquoted(split_card(card)[0]).strip()
            return int(text) if text.isdecimal() else None
    return None
