"""The directory of an export: its documents as recorded, its tar file, and what has left the store."""

from __future__ import annotations

import io
import json
import re
import tarfile

import pytest
import pytest_asyncio

from tests.filelab import FETCH, file_lab
from tests.recorded import DATA

SHARP = "hmi.sharp_720s[3563][2014.01.01_TAI/24m]{magnetogram,bitmap}"
#: Recorded directories, with how their files differ from those of the simulated archive.
RECORDED = ["asis_url", "asis_url_tar", "fits_url", "fits_url_tar"]
PLACES = [
    (r"JSOC_20\d{6}_\d+(_IN)?", "ID"),
    (r"\\?/SUM\d+\\?/D\d+\\?/S00000|\\?/export\\?/ID", "DIR"),
    (r"https://jsoc1.stanford.edu", ""),
    (r"\d{4}\.\d\d\.\d\d_\d\d:\d\d:\d\d_UT", "NOW"),
    (r'(size(=|": "|</b></td><td>))\d+', r"\1SIZE"),
]


@pytest_asyncio.fixture
async def mirror(tmp_path):
    async with file_lab(tmp_path) as made:
        yield made


def placeless(text):
    """A document without what differs from one archive and request to the next."""
    for pattern, word in PLACES:
        text = re.sub(pattern, word, text)
    return text


async def exported_as(mirror, case):
    """The index of the request that a recorded directory is of."""
    trace = json.loads((DATA / "exports" / case / "trace.json").read_text())
    accepted = (await mirror.get(FETCH, trace[0]["params"])).json
    return await mirror.ended(accepted["requestid"])


async def document(mirror, done, name):
    answer = await mirror.get(f"{done['dir']}/{name}")
    assert answer.code == 200, name
    return answer.body.decode("latin-1")


@pytest.mark.parametrize("case", RECORDED)
async def test_the_documents_are_those_that_were_recorded(mirror, case):
    if case == "asis_url_tar":  # that archive had lost the file, and tells so
        await mirror.faults({"match": {"program": "file", "path": "azimuth"}, "fault": "gone"},
                            {"match": {"op": "exp_request"}, "fault": "status", "status": 4, "message": "no"})  # fmt: skip
    done = await exported_as(mirror, case)
    for name in ("index.txt", "index.json", "index.html"):
        expected = (DATA / "exports" / case / name).read_text("latin-1")
        assert placeless(await document(mirror, done, name)) == placeless(expected), name
    if case.startswith("asis"):
        expected = next((DATA / "exports" / case).glob("*.keywords.txt")).read_text("latin-1")
        the_tables_are_equal_but_for_formats(await document(mirror, done, f"{done['requestid']}.keywords.txt"), expected)


def the_tables_are_equal_but_for_formats(text, recorded):
    found, expected = ([line.split("\t") for line in x.splitlines()] for x in (text, recorded))
    assert found[:2] == expected[:2]
    # A missing time comes out there as what the number for it would print as.
    assert found[3:] == [["MISSING" if cell.startswith("-4712.") else cell for cell in row] for row in expected[3:]]


async def test_a_directory_without_a_name_is_its_index(mirror):
    done = await mirror.exported(SHARP)
    answer = await mirror.get(f"{done['dir']}/")
    assert (answer.code, answer.headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    assert answer.body.decode() == await document(mirror, done, "index.html")


async def test_links_of_the_index_lead_to_the_files(mirror):
    done = await mirror.exported(SHARP)
    links = re.findall(r'HREF="([^"]+)"', await document(mirror, done, "index.html"))
    assert len(links) == 4
    for link in links:
        assert (await mirror.get(link)).body.startswith(b"SIMPLE")


# ---- tar files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["as-is", "fits"])
async def test_a_tar_file_holds_the_files_and_the_documents(mirror, protocol):
    done = await mirror.exported(SHARP, "url-tar", protocol)
    answer = await mirror.get(done["tarfile"])
    assert int(answer.headers["Content-Length"]) == len(answer.body) and len(answer.body) % 10240 == 0
    with tarfile.open(fileobj=io.BytesIO(answer.body)) as archive:
        members = {m.name.removeprefix("./"): archive.extractfile(m).read() for m in archive.getmembers()}
    files = {row["filename"] for row in done["data"]}
    assert files <= set(members)
    documents = set(members) - files
    assert {"index.txt", "index.json", "index.html"} <= documents
    for name in (*files, *documents):
        assert members[name] == (await mirror.get(f"{done['dir']}/{name}")).body


async def test_any_part_of_a_tar_file_is_that_part_of_it(mirror):
    done = await mirror.exported(SHARP, "url-tar")
    whole = (await mirror.get(done["tarfile"])).body
    size = len(whole)
    for first, last in ((0, 0), (500, 5000), (size // 2, size - 1), (size - 3, size - 1)):
        part = await mirror.get(done["tarfile"], headers={"Range": f"bytes={first}-{last}"})
        assert (part.code, part.body) == (206, whole[first : last + 1])
    head = await mirror.request("HEAD", done["tarfile"])
    assert (head.code, int(head.headers["Content-Length"]), head.body) == (200, size, b"")


async def test_a_tar_file_is_only_there_if_it_was_asked_for(mirror):
    done = await mirror.exported(SHARP)
    assert (await mirror.get(f"{done['dir']}/{done['requestid']}.tar")).code == 404


async def test_files_that_left_the_store_are_not_left_out_of_the_tar_but_made_again(mirror):
    done = await mirror.exported(SHARP, "url-tar", "fits")
    first = (await mirror.get(done["tarfile"])).body
    mirror.clock.forward(days=8)
    await mirror.running.blobs.evict(10**12)
    whole = (await mirror.get(done["tarfile"])).body
    assert len(whole) == len(first)
    again = await mirror.ended(done["requestid"])
    assert {**again, "exptime": ""} == {**done, "exptime": ""}


async def test_a_linked_file_does_not_take_the_place_of_the_records_own(mirror):
    done = await mirror.exported("hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{magnetogram,fulldisk}", protocol="fits")
    names = [row["filename"] for row in done["data"]]
    assert len(set(names)) == 2
    sizes = {len((await mirror.get(f"{done['dir']}/{name}")).body) for name in names}
    assert len(sizes) == 2


async def test_an_unknown_name_or_export_is_404(mirror):
    done = await mirror.exported(SHARP)
    for path in (f"{done['dir']}/nosuch.fits", "/export/JSOC_20200101_1/index.html", "/export/x/y"):
        assert (await mirror.get(path)).code == 404


async def test_an_export_that_is_not_done_has_no_directory_yet(mirror):
    await mirror.faults({"match": {"program": "file"}, "fault": "slow", "seconds": 1.0})
    mirror.gate.clear()
    accepted = await mirror.export(SHARP)
    assert (await mirror.export_status(accepted["requestid"]))["status"] == 1
    assert (await mirror.get(f"/export/{accepted['requestid']}/index.json")).code == 404
    mirror.gate.set()
    assert (await mirror.ended(accepted["requestid"]))["status"] == "0"
