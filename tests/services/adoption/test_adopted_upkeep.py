"""Adopted exports are kept like everything else: pinned, forgotten, checked, counted, and carried away."""

import pytest_asyncio

from mirror.services.adoption.adopt import Item
from tests.adoptlab import EXPORTS, files, put
from tests.carrylab import bundle, take
from tests.filelab import file_lab, synthetic


@pytest_asyncio.fixture
async def lab(tmp_path):
    """A mirror that has adopted two exports, and nothing else."""
    async with file_lab(tmp_path / "store", synthetic()) as made:
        have = put(tmp_path / "have", archived=None)
        outcomes = await made.running.adoption.adopt([Item(p) for p in have])
        assert [o.state for o in outcomes] == ["placed"] * len(have)
        yield made


async def checked(lab):
    await lab.request("POST", "/api/check", json={"scope": "all"})
    await lab.running.upkeep.checker.wait()
    return (await lab.get("/api/check")).json


async def exported_offline(lab):
    done = await lab.exported(EXPORTS, protocol="fits")
    return {row["filename"]: (await lab.get(f"{done['dir']}/{row['filename']}")).body for row in done["data"]}


async def test_they_are_pinned_with_their_records(lab):
    pin = {"ds": EXPORTS, "owner": "ada"}
    told = (await lab.request("POST", "/api/pins", json=pin)).json
    assert (told["pinned"], told["not_held"]) == (2, 0)
    evicted = (await lab.request("POST", "/api/evict", json={"dry_run": True})).json
    assert evicted["blobs"] == 0
    assert (await lab.request("DELETE", "/api/pins", json=pin)).json["removed"] == 2


async def test_what_would_be_evicted_is_named(lab):
    told = (await lab.request("POST", "/api/evict", json={"dry_run": True})).json
    assert len(told["files"]) == 2
    assert all(f["file"].startswith("export of hmi.sharp_cea_720s[:#") for f in told["files"])


async def test_they_are_forgotten_with_their_records(lab, tmp_path):
    tree = tmp_path / "store" / "by-record"
    assert len(list(tree.rglob("*.export.*"))) == 2
    told = (
        await lab.request("POST", "/api/forget", json={"ds": EXPORTS.partition("{")[0], "files": True})
    ).json
    assert (told["files"], told["blobs"]) == (2, 2)
    assert lab.running.blobs.usage().held == 0
    assert [p for p in tree.rglob("*") if p.is_file()] == []


async def test_sql_tells_which_files_are_exports(lab):
    answer = await lab.request(
        "POST", "/api/sql", json={"query": "SELECT kind, path, bytes FROM mirror.holdings"}
    )
    sizes = sorted(len(data) for data in files().exports.values())
    assert sorted(answer.json["rows"], key=lambda row: row[2]) == [["fits", None, size] for size in sizes]


async def test_the_status_counts_them(lab):
    told = (await lab.get("/api/status")).json["files"]
    size = sum(len(data) for data in files().exports.values())
    assert (told["count"], told["bytes"], told["adopted"]) == (2, size, 2)


async def test_a_damaged_one_is_put_aside_and_jsoc_is_asked_for_no_file(lab):
    first = next(iter(sorted(lab.blob_files().items())))[1]
    first.chmod(0o600)
    first.write_bytes(b"x" + first.read_bytes()[1:])
    lab.clock.forward(hours=1)
    told = await checked(lab)
    (finding,) = told["findings"]
    assert (finding["kind"], finding["outcome"]) == ("file", "quarantined")
    assert "the export of hmi.sharp_cea_720s[:#" in finding["place"]
    assert "adopt it again" in finding["action"]
    assert await lab.downloads() == []
    assert (await checked(lab))["ok"]


async def test_a_row_without_its_content_is_removed(lab):
    nowhere = "UPDATE mirror.adopted SET sha256 = repeat('0', 64), head = 0"
    await lab.running.database.write(lambda c: c.execute(nowhere))
    told = await checked(lab)
    kinds = [f["kind"] for f in told["findings"] if "the export of" in f["place"]]
    assert kinds == ["holding", "holding"]
    rows = await lab.running.database.read(lambda c: c.execute("SELECT * FROM mirror.adopted").fetchall())
    assert rows == []


async def test_they_go_along_in_a_bundle_and_serve_exports_elsewhere(lab, tmp_path):
    made = await bundle(lab, tmp_path / "disk", EXPORTS, held=True)
    assert made["files"] == 2
    assert all("an export of it goes along" in f["error"] for f in made["failed"])
    elsewhere = {"MIRROR_STORAGE__PATH": str(tmp_path / "other"), "MIRROR_UPSTREAM__POLICY": "offline"}
    await lab.restart(**elsewhere)
    taken = await take(lab, tmp_path / "disk")
    assert (taken["files"], taken["new_files"]) == (2, 2)
    assert await exported_offline(lab) == files().exports
    assert len(list((tmp_path / "other" / "by-record").rglob("*.export.Br.fits"))) == 2
    assert (await take(lab, tmp_path / "disk"))["new_files"] == 0
    assert (await checked(lab))["findings"] == []
