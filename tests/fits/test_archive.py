"""Reading the beginning of an archived file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import UpstreamBroken
from mirror.fits import read_archive
from mirror.fits.header import Header
from tests.fits.recorded_cases import cases

FILES = [case.archived for case in cases() if case.archived and case.archived[:6] == b"SIMPLE"]


@pytest.mark.parametrize("data", FILES)
def test_header_and_data_fill_the_file(data):
    archive = read_archive(data)
    assert archive.data_start + archive.data_size == len(data)
    assert archive.in_primary == (archive.cards[0][:6] == "SIMPLE")
    assert archive.stated_sum is not None


@given(st.sampled_from(FILES), st.data())
def test_a_head_is_enough_from_the_end_of_the_header_on_and_too_short_before(data, draw):
    archive = read_archive(data)
    cut = draw.draw(st.integers(0, archive.data_start + 100))
    assert read_archive(data[:cut]) == (archive if cut >= archive.data_start else None)


@pytest.mark.parametrize(
    "data",
    [
        b"<html><body>502 Bad Gateway</body></html>".ljust(2880),
        b"SIMPLE",
        b"\x1f\x8b" * 2000,
        Header(["SIMPLE  =                    T", "BITPIX  =                    8"]).to_bytes(),
        Header(["SIMPLE  =                    T", "NAXIS   =                    0"]).to_bytes()
        + b"junk" * 720,
        Header(["SIMPLE  =                    T", "NAXIS   =                    x"]).to_bytes(),
    ],
    ids=["html", "short text", "gzip", "no axes", "no extension", "axes not a number"],
)
def test_what_is_not_an_archived_image_is_an_error(data):
    if data == b"SIMPLE":
        data = data.ljust(2880, b"x")
    with pytest.raises(UpstreamBroken, match=r"not a FITS file|not an archived image"):
        read_archive(data)


def test_a_file_whose_two_first_headers_have_no_data_has_no_image():
    empty = ["BITPIX  =                    8", "NAXIS   =                    0"]
    data = Header(["SIMPLE  =                    T", *empty]).to_bytes()
    data += Header(["XTENSION= 'IMAGE   '", *empty]).to_bytes()
    with pytest.raises(UpstreamBroken, match="not an archived image"):
        read_archive(data)


@given(st.binary(max_size=6000))
def test_no_bytes_surprise_the_reader(data):
    try:
        assert read_archive(data) is None
    except UpstreamBroken as problem:
        assert "FITS" in str(problem)  # noqa: PT017


@given(st.sampled_from(FILES), st.data())
def test_a_damaged_head_is_read_or_refused(data, draw):
    damaged = bytearray(data[:8640])
    for _ in range(3):
        damaged[draw.draw(st.integers(0, len(damaged) - 1))] = draw.draw(st.integers(0, 255))
    try:
        archive = read_archive(bytes(damaged))
    except UpstreamBroken:
        return
    assert archive is None or archive.data_size >= 0
