"""The checksums of FITS files: 32-bit ones-complement sums, and their 16-character form.

FITS standard 4.0, section 4.4.2.7 and appendix J. Sums of parts that are multiples of four bytes add up,
so a header may change while the sum over its data stays.
"""

from __future__ import annotations

import numpy as np

_ALL_ONES = 0xFFFFFFFF
_PUNCTUATION = frozenset((*range(0x3A, 0x41), *range(0x5B, 0x61)))  # between digits and letters


def add_sums(*sums: int) -> int:
    """The ones-complement sum of ones-complement sums."""
    total = sum(sums)
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def ones_complement(data: bytes | memoryview, start: int = 0) -> int:
    """The sum over ``data``, whose length is a multiple of four, added to ``start``."""
    words = np.frombuffer(data, dtype=">u4")
    return add_sums(start, int(words.sum(dtype=np.uint64)))


def encoded(value: int) -> str:
    """The 16 letters and digits whose bytes sum up to the complement of ``value``, as CHECKSUM holds them.

    They are meant to start in column 12 of a card, one byte behind a word's start; hence the rotation.
    """
    letters = [""] * 16
    for place, byte in enumerate((~value & _ALL_ONES).to_bytes(4)):
        for part, code in enumerate(_four_codes(byte)):
            letters[(4 * part + place + 1) % 16] = chr(code)
    return "".join(letters)


def _four_codes(byte: int) -> list[int]:
    """Four codes of letters or digits whose sum is ``byte`` above four times the code of "0"."""
    quarter, rest = divmod(byte, 4)
    codes = [quarter + 0x30 + rest, *[quarter + 0x30] * 3]
    while not _PUNCTUATION.isdisjoint(codes):
        for pair in (0, 2):
            if not _PUNCTUATION.isdisjoint(codes[pair : pair + 2]):
                codes[pair] += 1
                codes[pair + 1] -= 1
    return codes
