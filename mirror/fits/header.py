"""The cards of one header in order, with the few edits that an export makes.

Names are looked up as CFITSIO does: the first card of that name. No rule about keywords is kept here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mirror.fits.cards import finished, name_of, split_card, unquoted

BLOCK = 2880  #: bytes of a FITS block
END = "END".ljust(80)


class Header:
    """A header without its END card. Cards go in unpadded and come out with 80 characters."""

    def __init__(self, cards: Iterable[str] = ()) -> None:
        self._cards = [finished(card) for card in cards]
        self._first: dict[str, int] | None = None

    @property
    def cards(self) -> Sequence[str]:
        """All cards in order, END left out."""
        return self._cards

    def find(self, name: str) -> int | None:
        """Where the first card of that name stands, or None."""
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
        """Add cards of 80 characters, the first of which bears the name of all, at the end."""
        if self._first is not None and cards:
            self._first.setdefault(name_of(cards[0]), len(self._cards))
            if len(cards) > 1:
                self._first.setdefault(name_of(cards[1]), len(self._cards) + 1)
        self._cards.extend(cards)

    def replace(self, position: int, card: str) -> None:
        """Put a card of the same name in the place of another."""
        self._cards[position] = finished(card)

    def replace_string(self, position: int, cards: Iterable[str]) -> None:
        """Put the cards of a string in the place of a card and of the CONTINUE cards behind it."""
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
