"""Tar files of upstream: what is in them comes into the store, and nothing else anywhere."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.errors import UpstreamBroken
from mirror.services.exports.staging import members, unpacked
from tests.storage.filestore import memory_database, open_store

CARDS = ("SIMPLE  =                    T", "BITPIX  =                    8", "NAXIS   =                    1",
         "NAXIS1  =                 2880", "END")  # fmt: skip
FITS = "".join(card.ljust(80) for card in CARDS).ljust(2880).encode() + bytes(2880)


def packed(*files, kind=tarfile.REGTYPE, form=tarfile.GNU_FORMAT):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), kind
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "some.tar"


async def test_members_come_into_the_store_as_they_were(tmp_path, place):
    place.write_bytes(packed(("./1.a.fits", FITS), ("x/2.txt", b"text"), ("./" + "n" * 200 + ".fits", FITS)))
    database = memory_database()
    store = await open_store(tmp_path, database)
    found = members(place)
    assert list(found) == ["1.a.fits", "2.txt", "n" * 200 + ".fits"]
    for name, content in (("1.a.fits", FITS), ("2.txt", b"text")):
        blob = await unpacked(store.blobs, place, found[name])
        with store.blobs.reading(blob) as path:
            assert path.read_bytes() == content
    database.close()


async def test_a_damaged_member_is_not_kept(tmp_path, place):
    place.write_bytes(packed(("1.fits", FITS[:-1]), ("2.fits", b"<html>sorry</html>"), ("3.fits", b"")))
    database = memory_database()
    store = await open_store(tmp_path, database)
    for member in members(place).values():
        with pytest.raises(UpstreamBroken):
            await unpacked(store.blobs, place, member)
    assert store.blobs.usage().held == 0
    database.close()


def test_links_folders_and_devices_are_no_files(place):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
        place.write_bytes(packed(("../../etc/passwd", b""), kind=kind))
        assert members(place) == {}


def test_a_tar_file_that_is_cut_anywhere_is_none(place):
    whole = packed(("1.fits", FITS), ("2.fits", FITS))
    for length in range(0, len(whole) - 512, 512):
        if whole[length - 1024 : length].strip(b"\0") or length < 1024 or length % 2880:
            place.write_bytes(whole[:length])
            try:
                found = members(place)
            except UpstreamBroken:
                continue
            assert all(m.offset + m.size <= length for m in found.values())


@settings(max_examples=60)
@given(st.binary(max_size=3000), st.booleans())
def test_bytes_that_nobody_foresaw_are_broken_or_have_members_within(tmp_path_factory, data, whole):
    path = tmp_path_factory.mktemp("tar") / "x.tar"
    path.write_bytes(data + bytes(2048) if whole else data)
    try:
        found = members(path)
    except UpstreamBroken:
        return
    assert all(m.offset + m.size <= path.stat().st_size for m in found.values())
