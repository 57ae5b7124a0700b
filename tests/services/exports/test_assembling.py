"""Exported FITS files, made of what is held: as JSOC would make them, or of printed values, and said so."""

from __future__ import annotations

import io
import json
import logging

import numpy as np
import pytest
import pytest_asyncio
from astropy.io import fits

from mirror.services.exports import assembling
from tests.filelab import file_lab

PATCH = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{magnetogram}"
DOPPLERGRAM = "hmi.v_45s[2014.01.01_00:03_TAI]{Dopplergram}"
#: Cards that tell when a file was made, or by whom.
OF_THE_MAKING = {"CHECKSUM", "DATASUM", "HEADSUM", "DATE-HDR"}


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


async def files_of(mirror, done):
    return [(await mirror.get(f"{done['dir']}/{row['filename']}")).body for row in done["data"]]


def opened(data):
    hdus = fits.open(io.BytesIO(data), checksum=True)
    hdus.verify("exception")
    return hdus


def cards(data):
    with opened(data) as hdus:
        return [(c.keyword, c.value) for c in hdus[1].header.cards if c.keyword not in OF_THE_MAKING]


async def test_data_are_those_of_the_archived_file_and_keywords_those_of_the_record(mirror):
    done = await mirror.exported(DOPPLERGRAM, protocol="fits")
    (data,) = await files_of(mirror, done)
    archived = await mirror.original((await mirror.export(DOPPLERGRAM, "url_quick"))["data"][0]["filename"])
    with opened(data) as made, opened(archived) as old:
        assert np.array_equal(made[1].data, old[1].data, equal_nan=True)
        head = made[1].header
        assert head["T_REC"] == "2014.01.01_00:03:00.000_TAI"
        assert head["DRMS_ID"] == f"hmi.V_45s:{head['RECNUM']}:Dopplergram"
        assert head["PRIMARYK"] == "T_REC, CAMERA"


async def test_values_at_full_precision_are_asked_for_once_and_kept(mirror):
    await mirror.exported(DOPPLERGRAM, protocol="fits")
    await mirror.exported(DOPPLERGRAM, protocol="fits", filenamefmt="again.{segment}")
    asked = [e for e in await mirror.log(op="rs_list") if e["params"].get("M") == "1"]
    assert len(asked) == 1


async def test_many_records_are_asked_for_together(mirror):
    done = await mirror.exported("hmi.sharp_720s[][2014.01.01_00:12_TAI]{bitmap}", protocol="fits", o="1")
    assert int(done["count"]) > 1
    assert len([e for e in await mirror.log(op="rs_list") if e["params"].get("M") == "1"]) == 1


async def test_without_jsoc_printed_values_stand_in_and_the_log_says_so(mirror, caplog):
    await mirror.exported(PATCH)
    await mirror.faults({"fault": "outage"})
    with caplog.at_level(logging.WARNING):
        done = await mirror.exported(PATCH, protocol="fits")
    (printed,) = await files_of(mirror, done)
    assert any("values as printed" in message for message in caplog.messages)
    await mirror.faults()
    done = await mirror.exported(PATCH, protocol="fits", filenamefmt="exact.{segment}")
    (exact,) = await files_of(mirror, done)
    assert [k for k, _ in cards(printed)] == [k for k, _ in cards(exact)]
    with opened(printed) as a, opened(exact) as b:
        assert np.array_equal(a[1].data, b[1].data, equal_nan=True)
        assert a[1].header["CRLT_OBS"] == pytest.approx(b[1].header["CRLT_OBS"], abs=1e-5)


async def test_a_record_whose_keyword_cannot_be_converted_has_no_file_and_the_others_have(mirror):
    # Recorded: the link of this record leads nowhere, and that of the next does not.
    done = await mirror.exported("hmi.sharp_720s[3563][2014.01.01_TAI/24m]{bitmap}", protocol="fits")
    assert [row["record"] for row in done["data"]] == ["hmi.sharp_720s[3563][2014.01.01_00:12:00_TAI]"]


async def test_an_export_of_no_fits_file_at_all_is_done_and_says_so(mirror):
    done = await mirror.exported("hmi.sharp_720s[3563][2014.01.01_TAI]{bitmap}", protocol="fits")
    assert (done["status"], done["count"]) == ("0", "0")
    assert done["data"][0]["record"].startswith("warning=No FITS files were exported")


async def test_files_that_are_no_fits_are_copied(mirror):
    ds = "hmi.v_sht_modes[]{m6}"
    quick = await mirror.export(ds, "url_quick")
    done = await mirror.exported(ds, protocol="fits")
    first = (await files_of(mirror, done))[0]
    assert first == await mirror.original(quick["data"][0]["filename"])


async def test_the_header_of_a_file_that_is_asked_for_again_is_at_hand_until_its_record_is_another(mirror, monkeypatch):
    made, work = [], assembling._front
    monkeypatch.setattr(assembling, "_front", lambda *asked: made.append(asked) or work(*asked))
    whole = [(await mirror.get(f"/fits/{PATCH}")).body for _ in range(2)]
    part = (await mirror.get(f"/fits/{PATCH}", {"x": "5", "y": "5", "width": "4", "height": "4", "units": "pixels"})).body
    assert len(made) == 1
    assert whole[0] == whole[1]
    with opened(part) as cut, opened(whole[0]) as full:
        assert cut[1].header["HEADSUM"] == full[1].header["HEADSUM"]
    assembler = mirror.running.browsing.cutouts._assembler
    record = f"hmi.sharp_720s:{made[0][1].recnum}"
    values = json.loads((await assembler.precise.get(record))[0])
    await assembler.precise.put(record, json.dumps(values | {"QUALITY": "0x00000007"}), 0)
    assembler._recent.clear()
    again = (await mirror.get(f"/fits/{PATCH}")).body
    with opened(again) as full:
        assert (len(made), full[1].header["QUALITY"]) == (2, 7)
