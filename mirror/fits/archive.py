"""An archived ("as-is") FITS file, as far as its beginning tells: the header of its image, and where its data lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mirror.errors import UpstreamBroken
from mirror.fits.cards import name_of, split_card, unquoted
from mirror.fits.header import BLOCK, END

_CARDS_OF_BLOCK = BLOCK // 80


@dataclass(frozen=True, slots=True)
class ArchivedImage:
    """The first header with data: its cards without END, and its data unit as a range of bytes of the file.

    ``in_primary`` is False for an image in an extension, as compressed ones are. ``stated_sum`` is the
    ones-complement sum of the data as the file's own DATASUM tells it, None if it tells none.
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
    """The cards of the header that begins there, without END, and where its data begin."""
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
    """Bytes of the data unit, its padding included (FITS standard 4.0, section 4.4.1.1)."""
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
