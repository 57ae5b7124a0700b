"""FITS files as header-data units: cards as text, data as bytes, and their checksums."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mirror.simulator.exports.loading import fits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MADE = "2020-01-01T00:00:00"  #: the date in every checksum
_CHECKSUM, _DATASUM = "CHECKSUM", "DATASUM"
_STANDARD = (
    "COMMENT   FITS (Flexible Image Transport System) format is defined in 'Astronomy",
    "COMMENT   and Astrophysics', volume 376, page 359; bibcode: 2001A&A...376..359H",
)


@dataclass(frozen=True, slots=True)
class Hdu:
    """One unit: its cards, without END, each of 80 characters at most, and its data without padding."""

    cards: tuple[str, ...]
    data: bytes = b""

    def __bytes__(self) -> bytes:
        """The unit as it stands in a file."""
        return header_bytes(self.cards) + padded(self.data)


def header_bytes(cards: Sequence[str]) -> bytes:
    """A header in whole blocks."""
    text = "".join(card.ljust(80) for card in (*cards, "END"))
    return padded(text.encode("ascii"), b" ")


def card(name: str, value: float | str | None = None, comment: str = "") -> str:
    """One card; a float as the archive writes it, with a point and no superfluous digits; None has no value."""
    if isinstance(value, float):
        head = f"{name:<8}= {_float(value):>20}"
        return (f"{head} / {comment}" if comment else head)[:80]
    given = fits().card.UNDEFINED if value is None else value
    image: str = fits().Card(name, given, comment or None).image
    return image


def _float(value: float) -> str:
    text = f"{value:.17G}" if value != float(f"{value:.15G}") else f"{value:.15G}"
    if "." in text:
        return text
    return f"{value:.1E}" if "E" in text else f"{text}."


def empty_primary() -> Hdu:
    """The primary unit of a file whose image is compressed."""
    return Hdu(
        (
            card("SIMPLE", True, "file does conform to FITS standard"),
            card("BITPIX", 16, "number of bits per data pixel"),
            card("NAXIS", 0, "number of data axes"),
            card("EXTEND", True, "FITS dataset may contain extensions"),
            *_STANDARD,
        )
    )


def image_primary(bitpix: int, axes: Sequence[int]) -> tuple[str, ...]:
    """The structural cards of an image that is not compressed; ``axes``: the length of each, columns first."""
    return (
        card("SIMPLE", True, "file does conform to FITS standard"),
        card("BITPIX", bitpix, "number of bits per data pixel"),
        card("NAXIS", len(axes), "number of data axes"),
        *(card(f"NAXIS{at}", length, f"length of data axis {at}") for at, length in enumerate(axes, 1)),
        card("EXTEND", True, "FITS dataset may contain extensions"),
        *_STANDARD,
    )


# ---- seals ----------------------------------------------------------------------------------------


def sealed(hdu: Hdu) -> Hdu:
    """The unit with DATASUM and a valid CHECKSUM, in their existing places or at the end."""
    total = word_sum(padded(hdu.data)) if hdu.data else 0
    cards = _with(hdu.cards, _DATASUM, card(_DATASUM, str(total), f"data unit checksum updated {_MADE}"))
    return Hdu(resealed(cards, total), hdu.data)


def resealed(cards: Sequence[str], data_sum: int) -> tuple[str, ...]:
    """Cards whose CHECKSUM is valid for data of that sum."""
    comment = f"HDU checksum updated {_MADE}"
    blank = _with(cards, _CHECKSUM, card(_CHECKSUM, "0" * 16, comment), before=_DATASUM)
    total = word_sum(header_bytes(blank), data_sum)
    return _with(blank, _CHECKSUM, card(_CHECKSUM, ascii_checksum(total), comment))


def data_sum(cards: Sequence[str]) -> int:
    """The value of DATASUM."""
    (text,) = (text for text in cards if text.startswith(f"{_DATASUM:<8}="))
    return int(str(fits().Card.fromstring(text).value))


def _with(cards: Sequence[str], name: str, new: str, before: str | None = None) -> tuple[str, ...]:
    """The cards with this one in place of that of the same name, or before another, or at the end."""
    places = {text[:8].rstrip(): at for at, text in reversed(list(enumerate(cards)))}
    if name in places:
        return (*cards[: places[name]], new, *cards[places[name] + 1 :])
    at = places.get(before or "", len(cards))
    return (*cards[:at], new, *cards[at:])


# ---- reading ----------------------------------------------------------------------------------------


def units(file: bytes) -> Iterator[Hdu]:
    """The units of a FITS file, in order."""
    with fits().open(io.BytesIO(file), disable_image_compression=True) as hdus:
        for hdu in hdus:
            info = hdu.fileinfo()
            head = file[info["hdrLoc"] : info["datLoc"]].decode("ascii")
            lines = [head[at : at + 80].rstrip() for at in range(0, len(head), 80)]
            yield Hdu(tuple(lines[: lines.index("END")]), file[info["datLoc"] : info["datLoc"] + hdu.size])


_ALL = 0xFFFFFFFF
_DIGITS, _OFFSET = 4, ord("0")
#: The punctuation between the digits, upper and lower case letters, which the ASCII form leaves out.
_EXCLUDED = frozenset({*range(0x3A, 0x41), *range(0x5B, 0x61)})
BLOCK = 2880


def word_sum(data: bytes, start: int = 0) -> int:
    """The 32-bit ones' complement sum of ``data``, whose length is a multiple of 4, added to ``start``."""
    total = start + int(np.frombuffer(data, dtype=">u4").sum(dtype=np.uint64))
    while total > _ALL:
        total = (total & _ALL) + (total >> 32)
    return total


def ascii_checksum(total: int) -> str:
    """The 16 characters which, in the value of CHECKSUM, bring the sum of an HDU from ``total`` to all ones."""
    value = _ALL - total
    columns = [_four_characters((value >> shift) & 0xFF) for shift in (24, 16, 8, 0)]
    text = "".join(chr(column[i]) for i in range(_DIGITS) for column in columns)
    return text[-1] + text[:-1]  # the value starts at the second byte of a word


def _four_characters(byte: int) -> list[int]:
    """Four letters or digits whose codes less that of "0" sum up to ``byte``."""
    quotient, rest = divmod(byte, _DIGITS)
    codes = [quotient + _OFFSET + (rest if i == 0 else 0) for i in range(_DIGITS)]
    while any(code in _EXCLUDED for code in codes):
        for first in (0, 2):
            if codes[first] in _EXCLUDED or codes[first + 1] in _EXCLUDED:
                codes[first], codes[first + 1] = codes[first] + 1, codes[first + 1] - 1
    return codes


def padded(data: bytes, fill: bytes = b"\0") -> bytes:
    """``data`` filled up to whole blocks."""
    return data + fill * (-len(data) % BLOCK)
