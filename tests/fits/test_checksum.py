"""Sums and their 16 characters; FITS standard 4.0, appendix J."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mirror.fits.assembly import add_sums, encoded, ones_complement

WORDS = st.integers(0, 2**32 - 1)
BLOCKS = st.binary(max_size=400).map(lambda data: data[: len(data) // 4 * 4])


def slow_sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 4]) for i in range(0, len(data), 4))
    while total >> 32:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


@given(BLOCKS)
def test_the_sum_is_that_of_the_standard(data):
    assert ones_complement(data) == slow_sum(data)


@given(BLOCKS, BLOCKS)
def test_sums_of_parts_add_up(first, second):
    assert ones_complement(first + second) == ones_complement(second, ones_complement(first))
    assert ones_complement(first + second) == add_sums(ones_complement(first), ones_complement(second))


def test_large_data_do_not_overflow():
    assert ones_complement(b"\xff" * 4_000_000) == 0xFFFFFFFF


@given(WORDS)
def test_a_sum_is_written_in_letters_and_digits(value):
    text = encoded(value)
    assert len(text) == 16
    assert text.isascii()
    assert text.isalnum()


@given(WORDS)
def test_a_card_with_the_sum_in_it_brings_the_total_to_all_ones(value):
    zeros = b"CHECKSUM= '0000000000000000'".ljust(80)
    rest = np.array([value], dtype=">u4").tobytes()
    total = ones_complement(zeros + rest)
    filled = zeros.replace(b"0" * 16, encoded(total).encode())
    assert ones_complement(filled + rest) in (0, 0xFFFFFFFF)
