"""Is a file whole: FITS by its structure, anything else by not being empty or a web page."""

import io

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from mirror.fits.integrity import BLOCK, file_problem, fits_problem, plain_problem

PIXELS = np.arange(64 * 64, dtype=np.int16).reshape(64, 64)


def written(*hdus):
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer)
    return buffer.getvalue()


PLAIN = written(fits.PrimaryHDU(PIXELS))
RICE = written(fits.PrimaryHDU(), fits.CompImageHDU(PIXELS, compression_type="RICE_1"))
TABLE = written(
    fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "PJ()", array=[[1], [2, 3]])])
)
FLOATS = written(fits.PrimaryHDU(PIXELS.astype(">f4")), fits.ImageHDU(PIXELS.astype(np.uint8)))
WHOLE = {"plain": PLAIN, "rice": RICE, "table": TABLE, "floats": FLOATS}


def problem(data, name=""):
    return fits_problem(lambda offset, count: data[offset : offset + count], len(data), name)


def with_card(data, keyword, value):
    cards = [data[i : i + 80] for i in range(0, BLOCK, 80)]
    n = next(i for i, card in enumerate(cards) if card[:8].strip() == keyword)
    cards[n] = b"%-8s= %20s" % (keyword, value) + b" " * 50
    return b"".join(cards) + data[BLOCK:]


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_whole_file_has_no_problem(data):
    assert problem(data) is None


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE)
def test_a_file_that_was_cut_anywhere_has_one(data):
    lengths = {*range(0, len(data), 997), *range(0, len(data), BLOCK), *(len(data) * n // 10 for n in range(10))}
    for length in sorted({*lengths, len(data) - 1}):
        found = problem(data[:length])
        assert found is not None or length in ends_of_images(data), length


def ends_of_images(data):
    """Where a file of several images may end too: nothing tells that one more should follow."""
    with fits.open(io.BytesIO(data)) as hdus:
        ends = [hdu.fileinfo()["datLoc"] + hdu.fileinfo()["datSpan"] for hdu in hdus if hdu.size]
    return set(ends) if len(ends) > 1 else set()


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "it is empty"),
        (b"<html><body>502 Bad Gateway</body></html>", "a web page"),
        (b"\n<!DOCTYPE HTML PUBLIC>", "a web page"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html>', "a web page"),
        (b'{"status":4}', "it is not FITS: it begins with '{"),
        (PLAIN + b"<html>", "bytes follow its last HDU at byte"),
        (b"\0" * len(PLAIN), "it is not FITS"),
        (PLAIN[:BLOCK].replace(b"END", b"FIN") + PLAIN[BLOCK:], "is cut short: the header of HDU 0 has no end|not text"),
        (with_card(PLAIN, b"BITPIX", b"17"), "BITPIX 17"),
        (with_card(PLAIN, b"BITPIX", b"many"), "an unreadable BITPIX"),
        (with_card(PLAIN, b"NAXIS", b"-1"), "NAXIS -1"),
        (with_card(PLAIN, b"NAXIS", b"3"), "no NAXIS3"),
        (with_card(PLAIN, b"NAXIS1", b"-64"), "negative axis"),
        (with_card(PLAIN, b"NAXIS1", b"999999999999"), "cut short: HDU 0 ends at byte"),
        (RICE[:BLOCK], "headers only, and no data"),
        (RICE[:BLOCK] + b"\x01" * BLOCK, "are no extension"),
    ],
)
def test_what_is_wrong_is_told(data, words):
    assert any(word in problem(data) for word in words.split("|"))


def test_padding_behind_the_last_unit_is_no_problem():
    assert problem(PLAIN + b"\0" * BLOCK) is None


@given(st.binary(max_size=300), st.integers(0, 10**7))
def test_any_bytes_get_an_answer(data, at):
    spoilt = RICE[: at % len(RICE)] + data + RICE[at % len(RICE) + len(data) :]
    for each in (data, b"SIMPLE  =" + data, PLAIN[:BLOCK] + data, spoilt):
        assert problem(each) is None or problem(each)


@pytest.mark.parametrize("name", ["spots.txt", "m6", "split.out"])
def test_other_files_need_only_be_there_and_no_page(name):
    def check(data):
        return plain_problem(lambda offset, count: data[offset : offset + count], len(data), name)

    assert check(b"1 2 3") is None
    assert check(b"") == "it is empty"
    assert "web page" in check(b"<html>")


def test_files_are_judged_by_their_name(tmp_path):
    path = tmp_path / "part"
    for data, name, whole in [
        (RICE, "image_lev1.fits", True),
        (b"1 2 3", "image_lev1.fits", False),
        (b"1 2 3", "split.out", True),
        (b"<html>", "index.html", True),
        (b"<html>", "split.out", False),
    ]:
        path.write_bytes(data)
        assert (file_problem(path, name) is None) == whole, name


def test_a_file_on_the_disk_is_checked_in_place(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(RICE)
    assert file_problem(path, "a.fits") is None
    path.write_bytes(RICE[:-1])
    assert "cut short" in file_problem(path, "a.fits")
    assert "cannot be read" in file_problem(tmp_path / "none.fits", "none.fits")
