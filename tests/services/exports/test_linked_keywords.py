"""Names of linked files: values that have a layout come from the record in which the file lies."""

from __future__ import annotations

import logging

import pytest
import pytest_asyncio

from tests.filelab import file_lab

#: The record's CAMERA is 1 and its T_OBS 00:12:04.7, those of the record that it links to 3 and 00:12:05.
LINKED = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{fulldisk}"
OWN = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{bitmap}"
MANY = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI/48m]{fulldisk}"


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


async def names(mirror, ds, template, **more):
    done = await mirror.exported(ds, filenamefmt=template, **more)
    return [row["filename"] for row in done["data"]]


async def asked(mirror):
    """The questions about records at the ends of links."""
    found = await mirror.log(op="rs_list")
    return [e["params"]["ds"] for e in found if e["params"].get("key") in ("T_OBS", "CAMERA", "T_OBS,CAMERA")]


@pytest.mark.parametrize("protocol", ["as-is", "fits"])
async def test_a_linked_file_is_named_by_the_record_it_lies_in(mirror, protocol):
    template = "{HARPNUM}.{T_OBS:A}.{CAMERA:%d}.{CAMERA}.{segment}"
    expected = ["3563.20140101_001205_TAI.3.1.magnetogram.fits"]
    assert await names(mirror, LINKED, template, protocol=protocol) == expected
    assert len(await asked(mirror)) == 1


async def test_a_file_of_the_record_itself_is_named_by_that(mirror):
    assert await names(mirror, OWN, "{CAMERA:%d}.{segment}") == ["1.bitmap.fits"]
    assert await asked(mirror) == []


async def test_nothing_is_asked_where_names_have_no_layouts(mirror):
    assert await names(mirror, LINKED, "{CAMERA}.{segment}") == ["1.magnetogram.fits"]
    assert await asked(mirror) == []


async def test_many_targets_are_asked_for_together_and_kept(mirror):
    first = await names(mirror, MANY, "{T_OBS:A}.{recnum:%d}")
    (question,) = await asked(mirror)
    assert question.count("hmi.M_720s[") == len(first) > 1
    await mirror.faults({"fault": "outage"})
    assert await names(mirror, MANY, "{T_OBS:A}.{recnum:%d}.fits") == [f"{name}.fits" for name in first]
    assert len(await asked(mirror)) == 1


async def test_a_keyword_that_the_other_record_lacks_is_an_error_as_at_jsoc(mirror):
    accepted = await mirror.export(LINKED, filenamefmt="{HARPNUM:%d}.{segment}")
    told = accepted if accepted["status"] != 2 else await mirror.ended(accepted["requestid"])
    assert (told["status"], "no keyword 'HARPNUM'" in told["error"]) == (4, True)


async def test_without_jsoc_files_go_by_their_own_record_and_the_log_says_so(mirror, caplog):
    await mirror.exported(LINKED)
    await mirror.faults({"fault": "outage"})
    with caplog.at_level(logging.WARNING):
        assert await names(mirror, LINKED, "{CAMERA:%d}.{segment}") == ["1.magnetogram.fits"]
    assert any("without their links" in message for message in caplog.messages)
