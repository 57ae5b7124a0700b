"""Adopting files: found, verified, kept, and served from then on, with JSOC and without."""

import errno
import os

import pytest
import pytest_asyncio

from mirror.services.adoption.adopt import Item
from tests.adoptlab import ARCHIVED, DRMS_NAME, EXPORTS, RECORD, files, put
from tests.filelab import file_lab, synthetic


@pytest_asyncio.fixture
async def lab(tmp_path):
    async with file_lab(tmp_path / "store", synthetic()) as made:
        yield made


@pytest.fixture
def have(tmp_path):
    return put(tmp_path / "have")


async def adopt(lab, paths, how="copy", **options):
    return await lab.running.adoption.adopt([Item(p) for p in paths], how, **options)


def states(outcomes):
    return [o.state for o in outcomes]


async def test_exports_and_archived_files_find_their_records(lab, have):
    outcomes = await adopt(lab, have)
    assert states(outcomes) == ["placed"] * 3, outcomes
    by_kind = {o.kind: o for o in outcomes}
    assert by_kind["as-is"].segment == "magnetogram"
    assert by_kind["as-is"].record == RECORD
    assert by_kind["fits"].segment == "Br"
    assert all(path.stat().st_nlink == 1 for path in have)  # copies


async def test_many_files_of_a_series_are_one_question(lab, have):
    await adopt(lab, [p for p in have if ".Br." in p.name])
    assert len(await lab.log(op="rs_list")) == 1


async def test_adopting_again_says_so_and_asks_nobody(lab, have):
    await adopt(lab, have)
    asked = len(await lab.log())
    again = await adopt(lab, have, compare=True)
    assert states(again) == ["held"] * 3
    assert all(o.same for o in again)
    assert len(await lab.log()) == asked


async def test_adopted_exports_are_exported_byte_for_byte_without_jsoc(lab, have):
    await adopt(lab, have)
    await lab.faults({"fault": "outage"})
    await lab.restart(MIRROR_UPSTREAM__POLICY="offline")
    done = await lab.exported(EXPORTS, protocol="fits")
    for row in done["data"]:
        assert (await lab.get(f"{done['dir']}/{row['filename']}")).body == files().exports[row["filename"]]


async def test_an_adopted_export_is_never_the_archived_file(lab, have):
    await adopt(lab, [p for p in have if ".Br." in p.name])
    await lab.restart(MIRROR_UPSTREAM__POLICY="offline")
    listed = (await lab.get("/api/files", {"ds": EXPORTS})).json
    assert {file["state"] for file in listed} == {"online"}
    assert (await lab.get(listed[0]["path"])).code == 503


async def test_an_adopted_archived_file_is_served_at_its_path_without_a_download(lab, have):
    await adopt(lab, [p for p in have if p.name == DRMS_NAME])
    assert (await lab.get(files().path)).body == files().archived
    assert await lab.downloads() == []
    listed = (await lab.get("/api/files", {"ds": ARCHIVED})).json
    assert [file["state"] for file in listed] == ["held"]


async def test_adopted_files_stand_in_the_readable_tree_and_are_there_after_a_restart(lab, have):
    await adopt(lab, have)
    await lab.restart()
    tree = lab.path / "by-record" / "hmi.sharp_cea_720s" / "20140101"
    names = sorted(p.name.partition(".")[2] for p in tree.iterdir())
    assert names == ["export.Br.fits", "export.Br.fits", "magnetogram.fits"]


async def test_linking_shares_the_bytes_and_makes_the_file_read_only(lab, have):
    outcomes = await adopt(lab, have, "link")
    assert {o.how for o in outcomes} == {"linked"}
    assert all(p.stat().st_nlink >= 2 and not p.stat().st_mode & 0o222 for p in have)
    assert {p.name: p.read_bytes() for p in have if ".Br." in p.name} == files().exports


async def test_a_dry_run_keeps_nothing(lab, have):
    assert states(await adopt(lab, have, dry_run=True)) == ["placed"] * 3
    assert lab.running.blobs.usage().held == 0
    assert states(await adopt(lab, have)) == ["placed"] * 3


async def test_a_copy_of_the_archives_folders_is_placed_once_its_record_is_held(lab, tmp_path):
    copy = tmp_path / "jsoc.stanford.edu" / files().path[1:]
    copy.parent.mkdir(parents=True)
    copy.write_bytes(files().archived)
    (before,) = await adopt(lab, [copy])
    assert before.state == "later"
    assert "search for its records first" in before.reason
    await lab.recnums("hmi.sharp_cea_720s[3563][2014.01.01_TAI]")
    (after,) = await adopt(lab, [copy])
    assert (after.state, after.kind, after.segment) == ("placed", "as-is", "magnetogram")


async def test_of_two_files_of_one_place_whichever_is_looked_at_later_is_cached_already(lab, have):
    copy = have[0].with_name("again.fits")
    copy.write_bytes(have[0].read_bytes())
    outcomes = await adopt(lab, [have[0], copy])
    assert sorted(states(outcomes)) == ["held", "placed"]
    assert outcomes[0].sha256 == outcomes[1].sha256


def changed(data, at, byte=1):
    return data[:at] + bytes([data[at] ^ byte]) + data[at + 1 :]


#: What somebody may have done to an export, and a word of the reason why it is not taken.
WRONG = {
    "they were changed": lambda d: changed(d, len(d) - 3000),
    "HARPNUM": lambda d: d.replace(b"HARPNUM =                 3563", b"HARPNUM =                 3562"),
    "header was changed": lambda d: d.replace(b"LICENSE = 'LICENSE '", b"LICENSE = 'license '"),
    "cut short": lambda d: d[: len(d) - 2880],
    "empty": lambda _: b"",
    "gzip": lambda d: b"\x1f\x8b" + d,
    "no DATASUM and CHECKSUM": lambda d: d.replace(b"CHECKSUM", b"CHECKSUN"),
    "rewritten by a program": lambda d: d.replace(
        b"file does conform to FITS standard", b"conforms to FITS standard         "
    ),
}


async def test_what_is_not_as_jsoc_wrote_it_is_rejected_with_the_reason(lab, tmp_path):
    original = next(iter(files().exports.values()))
    paths = [tmp_path / f"{i}.fits" for i in range(len(WRONG))]
    for path, make in zip(paths, WRONG.values(), strict=True):
        assert make(original) != original
        path.write_bytes(make(original))
    outcomes = [(await adopt(lab, [path]))[0] for path in paths]
    assert {o.state for o in outcomes} == {"rejected"}
    for reason, outcome in zip(WRONG, outcomes, strict=True):
        assert reason in outcome.reason
    assert lab.running.blobs.usage().held == 0


async def test_without_jsoc_and_without_records_files_have_to_wait(lab, have):
    await lab.restart(MIRROR_UPSTREAM__POLICY="offline")
    outcomes = await adopt(lab, have)
    assert states(outcomes) == ["later"] * 3
    assert all("JSOC could not be contacted" in o.reason for o in outcomes)


async def test_without_jsoc_exports_of_held_records_are_placed(lab, have):
    await lab.recnums(EXPORTS.partition("{")[0])
    await lab.restart(MIRROR_UPSTREAM__POLICY="offline")
    outcomes = await adopt(lab, [p for p in have if ".Br." in p.name])
    assert states(outcomes) == ["placed"] * 2, outcomes


async def test_a_series_that_does_not_exist_and_a_file_that_is_gone_are_told(lab, tmp_path):
    path = tmp_path / "hmi.nothing.5.Br.fits"
    path.write_bytes(files().archived)
    nameless = tmp_path / "nameless.fits"
    nameless.write_bytes(files().archived)
    gone, unknown, bare = await adopt(lab, [tmp_path / "gone.fits", path, nameless])
    assert gone.reason == "no such file"
    assert "no series 'hmi.nothing'" in unknown.reason
    assert "identifies its series" in bare.reason


async def test_eviction_forgets_an_adopted_export_and_its_name_in_the_tree(lab, have):
    exports = [p for p in have if ".Br." in p.name]
    await adopt(lab, exports)
    await lab.running.blobs.evict(10**9)
    assert not any(p.is_file() for p in (lab.path / "by-record").rglob("*"))
    assert states(await adopt(lab, exports)) == ["placed"] * 2


async def test_a_file_that_cannot_be_read_is_told(lab, have, monkeypatch):
    opened = os.open

    def forbidden(path, *arguments, **more):  # by its mode would not do: root may read everything
        if path == have[0]:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **more)

    monkeypatch.setattr(os, "open", forbidden)
    (outcome,) = await adopt(lab, have[:1])
    assert "cannot be read" in outcome.reason
