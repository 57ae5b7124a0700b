"""Holdings: found by path whatever the disk, by record and segment; with a readable tree of links."""

import asyncio

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from mirror.errors import NotHeld, StorageError
from mirror.storage.files.folders import link_name
from mirror.storage.files.holdings import RecordSegment
from mirror.wire.paths import UnitFile, disk_of, unit_file
from tests.storage.filestore import assert_whole, empty, memory_database, open_store

FILE = UnitFile(600000704, 0, "Dopplergram.fits")
RECORD = RecordSegment("hmi.V_45s", 7, "Dopplergram")
LINK = link_name("hmi.v_45s", "2014-01-01", "hmi.v_45s.20140101_000000_TAI.2.Dopplergram.fits")


@pytest.fixture(scope="module")
def database():
    opened = memory_database()
    yield opened
    opened.close()


@pytest_asyncio.fixture
async def store(tmp_path, database):
    await empty(database)
    return await open_store(tmp_path / "store", database)


def link_of(store, name=LINK):
    return store.root / "by-record" / name


# ---- paths ----


def test_a_path_names_unit_slot_and_file_and_the_disk_says_nothing():
    assert unit_file("/SUM12/D600000704/S00000/Dopplergram.fits") == FILE
    assert unit_file("/SUM3/D600000704/S00000/Dopplergram.fits") == FILE
    assert disk_of("/SUM12/D600000704/S00000/Dopplergram.fits") == "SUM12"
    assert FILE.path("SUM12") == "/SUM12/D600000704/S00000/Dopplergram.fits"
    assert str(FILE) == "/D600000704/S00000/Dopplergram.fits"
    assert unit_file("/SUM1/D5/S00001/deep/er/a.txt") == UnitFile(5, 1, "deep/er/a.txt")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/SUM1/D5/S00000/",
        "/SUM1/D5/S00000",
        "/SUM1/D5/S00000/../../../etc/passwd",
        "/SUM1/D5/S00000/a/../b",
        "/SUM1/D5/S00000/./b",
        "/SUM1/D5/S00000//b",
        "/SUM1/D5/S00000/a\\b",
        "/SUM1/D5/S00000/a\0b",
        "/SUM1/D5/S00000/a\nb",
        "/SUM1/D5/S00000/" + "a" * 256,
        "/SUM1/D-5/S00000/a",
        "/SUM1/D99999999999999999999/S00000/a",
        "/SUM1/D5/S9999999999/a",
        "/SUM1/D٣/S00000/a",
        "/SUMx/D5/S00000/a",
        "/SUM1/X5/S00000/a",
        "SUM1/D5/S00000/a",
        "/x/SUM1/D5/S00000/a",
        "NoDataDirectory",
        "BadSegLink",
    ],
)
def test_what_is_no_path_of_a_storage_unit_names_no_file(path):
    assert unit_file(path) is None
    assert disk_of(path) in {"", "SUM1"}


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**9 - 1), st.integers(0, 99))
def test_a_path_reads_back(sunum, slot, disk):
    file = UnitFile(sunum, slot, "image_lev1.fits")
    assert unit_file(file.path(f"SUM{disk}")) == file


@given(st.text(max_size=40))
def test_no_text_becomes_a_path_that_climbs(text):
    found = unit_file(f"/SUM1/D5/S00000/{text}")
    assert found is None or not {"", ".", ".."} & set(found.file.split("/"))


# ---- lookups ----


async def test_a_file_is_found_by_its_path_and_by_record_and_segment(store):
    blob = await store.keep(b"image")
    await store.holdings.add(FILE, blob, disk="SUM12", record=RECORD)
    by_path = await store.holdings.at(unit_file("/SUM77/D600000704/S00000/Dopplergram.fits"))
    assert by_path == await store.holdings.of(RecordSegment("HMI.v_45S", 7, "DOPPLERGRAM"))
    assert (by_path.blob, by_path.record, by_path.path) == (blob, RECORD, FILE.path("SUM12"))
    assert await store.holdings.of(RecordSegment("hmi.V_45s", 8, "Dopplergram")) is None
    assert await store.holdings.at(UnitFile(600000704, 1, "Dopplergram.fits")) is None


async def test_the_name_of_a_file_is_exact(store):
    await store.holdings.add(FILE, await store.keep(b"image"))
    assert await store.holdings.at(UnitFile(FILE.sunum, FILE.slot, "dopplergram.fits")) is None


async def test_the_disk_is_kept_as_last_seen(store):
    blob = await store.keep(b"image")
    for disk in ("SUM12", "SUM40"):
        await store.holdings.add(FILE, blob, disk=disk, record=RECORD)
    assert (await store.holdings.at(FILE)).path == "/SUM40/D600000704/S00000/Dopplergram.fits"
    assert len(await store.holdings.of_records("hmi.V_45s", [7])) == 1


async def test_a_file_asked_for_by_path_gets_its_record_when_that_is_known(store):
    blob = await store.keep(b"image")
    assert (await store.holdings.add(FILE, blob)).record is None
    await store.holdings.add(FILE, blob, record=RECORD)
    assert (await store.holdings.at(FILE)).record == RECORD
    await store.holdings.add(FILE, blob)
    assert (await store.holdings.at(FILE)).record == RECORD
    assert await store.holdings.by_series() == {"hmi.v_45s": (1, 5)}


async def test_a_linked_segment_has_the_file_of_its_target(store):
    blob = await store.keep(b"image")
    target = RecordSegment("aia.lev1", 3, "image_lev1")
    linked = RecordSegment("aia.lev1_euv_12s", 9, "image")
    file = UnitFile(5, 0, "image_lev1.fits")
    for record in (target, linked):
        await store.holdings.add(file, blob, record=record)
    assert (await store.holdings.of(target)).file == (await store.holdings.of(linked)).file == file
    assert await store.holdings.by_series() == {"aia.lev1": (1, 5), "aia.lev1_euv_12s": (1, 5)}


async def test_many_files_and_records_are_looked_up_at_once(store):
    blob = await store.keep(b"image")
    files = [UnitFile(n, 0, "a.fits") for n in range(20)]
    for n, file in enumerate(files[:10]):
        await store.holdings.add(file, blob, record=RecordSegment("hmi.v_45s", n, "image"))
    assert (await store.holdings.at_all(files)).keys() == set(files[:10])
    assert await store.holdings.at_all([]) == {}
    found = await store.holdings.of_records("hmi.V_45s", [3, 4, 99])
    assert [h.record.recnum for h in found] == [3, 4]


async def test_new_content_of_a_file_takes_the_place_of_the_old_for_all_who_have_it(store):
    old, new = await store.keep(b"old"), await store.keep(b"new")
    other = RecordSegment("hmi.V_45s_shadowed", 1, "Dopplergram")
    await store.holdings.add(FILE, old, record=RECORD, link=LINK)
    await store.holdings.add(FILE, old, record=other, link="other/2014-01-01/a.fits")
    await store.holdings.add(FILE, new, record=RECORD)
    assert {(await store.holdings.of(r)).blob.sha256 for r in (RECORD, other)} == {new.sha256}
    assert link_of(store).read_bytes() == link_of(store, "other/2014-01-01/a.fits").read_bytes() == b"new"
    await assert_whole(store)


async def test_a_blob_that_is_not_in_the_store_cannot_be_noted(store):
    blob = await store.keep(b"image")
    await store.blobs.evict(1)
    with pytest.raises(NotHeld):
        await store.holdings.add(FILE, blob)
    assert await store.holdings.at(FILE) is None


async def test_what_is_evicted_is_held_no_more(store):
    blob = await store.keep(b"image")
    await store.holdings.add(FILE, blob, record=RECORD, link=LINK)
    assert await store.holdings.at(FILE)
    evicted = await store.blobs.evict(1)
    assert [(x.file, x.record, x.link) for x in evicted.lost] == [(FILE, ("hmi.v_45s", 7, "dopplergram"), LINK)]
    assert await store.holdings.at(FILE) is None
    assert not (store.root / "by-record" / "hmi.v_45s").exists()
    await assert_whole(store)


async def test_what_is_damaged_is_held_no_more_and_told(store):
    blob = await store.keep(b"image")
    await store.holdings.add(FILE, blob, record=RECORD, link=LINK)
    store.file_of(blob).chmod(0o600)
    store.file_of(blob).write_bytes(b"IMAGE")
    assert await store.holdings.at(FILE)
    verdict = await store.blobs.verify(blob.sha256)
    assert [x.file for x in verdict.lost] == [FILE]
    assert await store.holdings.at(FILE) is None
    assert not link_of(store).exists()


async def test_what_somebody_deleted_is_not_held_wherever_it_is_looked_up(store):
    for look_up in (
        lambda: store.holdings.at(FILE),
        lambda: store.holdings.of(RECORD),
        lambda: store.holdings.of_records(RECORD.series, [RECORD.recnum]),
        lambda: store.holdings.at_all([FILE]),
    ):
        blob = await store.keep(b"content")
        await store.holdings.add(FILE, blob, record=RECORD, link="hmi.v_45s/20140101/7.fits")
        assert await look_up()
        store.file_of(blob).unlink()
        assert not await look_up()
        assert not (store.root / "by-record" / "hmi.v_45s").exists()


async def test_what_nothing_refers_to_is_evicted_before_what_was_used_longest_ago(store):
    held, loose = await store.keep(b"held"), await store.keep(b"loose")
    await store.holdings.add(FILE, held)
    await store.bytes_of(loose)
    assert [b.sha256 for b in (await store.blobs.evict(1, dry_run=True)).blobs] == [loose.sha256]


async def test_a_file_asked_for_often_is_found_as_it_is_now(store):
    async def change(n):
        blob = await store.keep(b"%d" % n)
        await store.holdings.add(FILE, blob)
        assert (await store.holdings.at(FILE)).blob == blob
        await store.blobs.evict(10**6)
        assert await store.holdings.at(FILE) is None

    for n in range(5):
        await change(n)


async def test_lookups_beside_changes_never_give_what_is_gone(store):
    async def look():
        for _ in range(20):
            found = await store.holdings.at(FILE)
            if found is not None:
                seen.append(found)

    seen = []
    for n in range(4):
        await store.holdings.add(FILE, await store.keep(b"%d" % n))
        await asyncio.gather(look(), store.blobs.evict(10**6))
        assert await store.holdings.at(FILE) is None


async def test_a_holding_can_be_forgotten_and_its_blob_stays(store):
    blob = await store.keep(b"image")
    await store.holdings.add(FILE, blob, record=RECORD, link=LINK)
    await store.holdings.forget(FILE)
    assert await store.holdings.at(FILE) is None
    assert not link_of(store).exists()
    assert await store.bytes_of(blob) == b"image"
    await assert_whole(store)


# ---- the readable tree ----


async def test_a_link_is_the_file_itself_read_only_and_counted_once(store):
    blob = await store.keep(b"image")
    await store.holdings.add(FILE, blob, record=RECORD, link=LINK)
    assert link_of(store).read_bytes() == b"image"
    assert link_of(store).samefile(store.file_of(blob))
    assert link_of(store).stat().st_mode & 0o222 == 0
    await assert_whole(store)


async def test_a_newer_record_of_the_same_name_takes_the_link(store):
    for n, data in enumerate((b"first", b"second")):
        record = RecordSegment("hmi.V_45s", n, "Dopplergram")
        await store.holdings.add(UnitFile(n, 0, "a.fits"), await store.keep(data), record=record, link=LINK)
    assert link_of(store).read_bytes() == b"second"
    assert (await store.holdings.at(UnitFile(0, 0, "a.fits"))).link is None
    await assert_whole(store)


async def test_another_name_for_the_same_holding_replaces_the_first(store):
    blob = await store.keep(b"image")
    for link in (LINK, "hmi.v_45s/2014-01-01/other.fits"):
        await store.holdings.add(FILE, blob, record=RECORD, link=link)
    assert not link_of(store).exists()
    await assert_whole(store)


@pytest.mark.parametrize("harm", ["removed", "stray", "another file"])
async def test_a_tree_that_was_meddled_with_is_mended_at_the_next_start(store, database, harm):
    blob = await store.keep(b"image")
    await store.holdings.add(FILE, blob, record=RECORD, link=LINK)
    if harm == "removed":
        link_of(store).unlink()
    elif harm == "stray":
        link_of(store).with_name("stray.fits").hardlink_to(store.file_of(blob))
    else:
        link_of(store).unlink()
        link_of(store).write_bytes(b"?")
    await assert_whole(await open_store(store.root, database))


async def test_files_that_people_put_into_the_tree_are_left_alone(store, database):
    (store.root / "by-record" / "mine").mkdir()
    notes, elsewhere = (store.root / "by-record" / "mine" / n for n in ("notes.txt", "elsewhere"))
    notes.write_text("look at this flare")
    elsewhere.symlink_to("/")
    await open_store(store.root, database)
    assert notes.exists()
    assert elsewhere.is_symlink()


@pytest.mark.parametrize("part", ["", ".", "..", "a/b", "../x", ".hidden", "a\0", "a\n", "x" * 256, "a\\b"])
def test_a_name_in_the_tree_stays_where_it_is_put(part):
    for parts in ((part, "2014-01-01", "a"), ("s", part, "a"), ("s", "2014-01-01", part)):
        with pytest.raises(StorageError, match="cannot be a name in the readable tree"):
            link_name(*parts)


async def test_a_link_that_leads_out_of_the_tree_is_refused(store):
    blob = await store.keep(b"image")
    for link in ("../../x", "/etc/passwd", "a/../../../x"):
        with pytest.raises(StorageError, match="leads out of the readable tree"):
            await store.holdings.add(FILE, blob, link=link)
    assert await store.holdings.at(FILE) is None
    await assert_whole(store)
