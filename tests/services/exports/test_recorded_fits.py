"""The recorded FITS exports through the whole path: archived files and keywords upstream, exports here."""

from __future__ import annotations

import io

import numpy as np
import pytest
import pytest_asyncio
from astropy.io import fits

from tests.filelab import file_lab
from tests.fits.recorded_cases import HEADSUM_OPEN, cards_of, cases
from tests.fitsworld import fits_world

CASES = cases()
EXPORTED = [case for case in CASES if case.failure is None]
REFUSED = [case for case in CASES if case.failure is not None]


def named(case):
    return f"{case.number:03d}-{case.record}-{case.segment}"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return fits_world(tmp_path_factory.mktemp("world"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(world, tmp_path_factory):
    series, files = world
    async with file_lab(tmp_path_factory.mktemp("store"), series, recorded=files) as made:
        yield made


async def exported(mirror, case):
    """The index of the export of a case, asked for at the time when it was recorded."""
    ds = f"{case.series.name}[:#{case.values.recnum}]{{{case.segment}}}"
    if case.failure is None and case.archived[:6] == b"SIMPLE":
        mirror.clock.seconds = case.export_time.timestamp()
    name = f"{case.number}.{{segment}}"
    return await mirror.exported(ds, protocol="fits", filenamefmt=name)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", EXPORTED, ids=named)
async def test_an_export_is_the_recorded_file(mirror, case):
    done = await exported(mirror, case)
    assert done["count"] == "1"
    ours = (await mirror.get(f"{done['dir']}/{done['data'][0]['filename']}")).body
    if case.number not in HEADSUM_OPEN:
        assert ours == case.exported
        return
    free = ("HEADSUM", "CHECKSUM")
    assert [c for c in cards_of(ours) if not c.startswith(free)] == [
        c for c in cards_of(case.exported) if not c.startswith(free)
    ]
    with fits.open(io.BytesIO(ours)) as made, fits.open(io.BytesIO(case.exported)) as recorded:
        np.testing.assert_array_equal(made[-1].data, recorded[-1].data)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("case", REFUSED, ids=named)
async def test_what_the_exporter_could_not_write_is_not_in_the_export(mirror, case):
    if case.archived is None:  # the archive had lost the file
        await mirror.faults({"match": {"program": "file", "path": case.path}, "fault": "gone"},
                            {"match": {"op": "exp_request"}, "fault": "status", "status": 4, "message": "no"})  # fmt: skip
    done = await exported(mirror, case)
    await mirror.faults()
    assert (done["status"], done["count"]) == ("0", "0")
