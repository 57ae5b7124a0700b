"""Which files an export wants, of records as the index keeps them."""

from __future__ import annotations

import pytest
import pytest_asyncio

from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.errors import UnknownName
from mirror.services.exports.segment_files import UNDATED, FileLocation, label, requested_files
from tests.filelab import file_lab


@pytest_asyncio.fixture
async def planned(tmp_path):
    """The files of a record set."""
    async with file_lab(tmp_path) as lab:

        async def of(ds):
            part = parse_query(ds).sets[0]
            search = lab.running.search
            series = await search.structure(part.series)
            read = await search._records.read(bind(part, series))
            return requested_files(search._index.layout(series), read.rows, part.segments)

        yield of


async def test_every_record_has_a_file_of_every_segment_in_the_series_order(planned):
    files = await planned("hmi.sharp_720s[3563][2014.01.01_TAI/24m]{bitmap,magnetogram,bitmap}")
    assert [w.segment for w in files] == ["magnetogram", "bitmap"] * 2
    assert files[0].record == "hmi.sharp_720s[3563][2014.01.01_00:00:00_TAI]"
    assert (files[1].path, files[1].file) == ("/SUM0/D440000100/S00000/bitmap.fits", "bitmap.fits")
    assert (files[1].owner.recnum, files[1].sunum, files[1].day) == (100, 440000100, "20140101")


async def test_names_of_segments_are_found_in_any_case(planned):
    files = await planned("hmi.v_45s[2014.01.01_TAI]{DOPPLERGRAM}")
    assert [w.segment for w in files] == ["Dopplergram"]


async def test_without_names_all_segments_are_wanted(planned):
    assert len(await planned("hmi.sharp_720s[3563][2014.01.01_TAI]")) == 32


async def test_a_segment_that_is_none_is_an_error_with_those_that_are(planned):
    with pytest.raises(UnknownName, match=r"no segment 'nosuch'; expected some of magnetogram"):
        await planned("hmi.sharp_720s[3563][2014.01.01_TAI]{nosuch}")


async def test_files_on_tape_are_told_from_those_that_never_were(planned):
    offline = await planned("hmi.m_720s[:#4007]{magnetogram}")
    never = await planned("hmi.v_45s[2014.01.01_00:09:45_TAI]{Dopplergram}")
    assert [(w.place, w.path, w.sunum) for w in offline] == [(FileLocation.OFFLINE, "", 430004007)]
    assert [(w.place, w.path) for w in never] == [(FileLocation.NOWHERE, "")]
    assert never[0].sunum < 0


async def test_a_linked_file_lies_where_its_target_does(planned):
    files = await planned("hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{magnetogram,fulldisk}")
    own, linked = files
    assert linked.segment == "fulldisk"
    assert linked.file == own.file == "magnetogram.fits"
    assert linked.path != own.path


async def test_records_without_a_time_have_no_day(planned):
    files = await planned("hmi.v_sht_modes[]")
    assert all(w.day == UNDATED or w.day.isdigit() for w in files)


async def test_a_linked_file_is_listed_by_the_segment_of_its_target(tmp_path):
    async with file_lab(tmp_path) as lab:
        ds = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]"
        series = await lab.running.search.structure(ds)
        read = await lab.running.search._records.read(bind(parse_query(ds).sets[0], series))
        layout = lab.running.search._index.layout(series)
        own, linked = requested_files(layout, read.rows, ("bitmap", "fulldisk"))
    assert label(series, own) == f"{own.record}{{bitmap}}"
    assert label(series, linked) == f"{own.record}{{magnetogram}}"
