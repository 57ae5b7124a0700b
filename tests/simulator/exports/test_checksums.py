"""Checksums against astropy's."""

from __future__ import annotations

import io

from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from mirror.simulator.exports.hdus import Hdu, card, image_primary, sealed, units, word_sum


@given(st.binary(min_size=1, max_size=400), st.text("ABCXYZ abc", max_size=40))
def test_a_sealed_unit_has_the_checksums_that_astropy_expects(data, note):
    cards = (*image_primary(8, (1, len(data))), card("NOTE", note, "any"))
    file = bytes(sealed(Hdu(cards, data)))
    hdu = fits.open(io.BytesIO(file))[0]
    assert hdu.verify_datasum() == 1
    assert hdu.verify_checksum() == 1


@given(st.binary(max_size=200).map(lambda data: data * 4))
def test_the_sum_does_not_depend_on_where_it_is_cut(data):
    half = len(data) // 8 * 4
    assert word_sum(data[half:], word_sum(data[:half])) == word_sum(data)


def test_units_are_read_back_as_they_were_written():
    written = sealed(Hdu(image_primary(16, (3, 5)), bytes(30)))
    (read,) = units(bytes(written))
    assert read == Hdu(tuple(text.rstrip() for text in written.cards), written.data)
