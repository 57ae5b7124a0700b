"""DATASUM and CHECKSUM of FITS: the ones' complement sum of big-endian 32-bit words, and its ASCII form."""

from __future__ import annotations

import numpy as np

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
