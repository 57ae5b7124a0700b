"""Bundles: a part of a mirror, carried to another; the same answers there, and nothing else."""

from __future__ import annotations

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mirror.services.transfer.bundle import read_bundle
from mirror.services.transfer.pool import hash_of
from tests.carrylab import Refusal, bundle, take, told
from tests.filelab import file_lab, synthetic
from tests.lab import JSOC_INFO, lab

SPAN, MORE = "hmi.V_45s[2014.01.01_TAI/3m]", "hmi.V_45s[2014.01.01_00:03_TAI/3m]"
OFFLINE = {"MIRROR_UPSTREAM__POLICY": "offline"}


def tree(folder):
    """The files of a bundle, without its lock."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


async def elsewhere(origin, path, **environ):
    """Go on with another store, as on another machine."""
    await origin.restart(MIRROR_STORAGE__PATH=str(path), **{**OFFLINE, **environ})


# ---- there and back -----------------------------------------------------------------------------


async def test_an_imported_bundle_answers_byte_for_byte_with_files_and_no_network(tmp_path):
    async with file_lab(tmp_path / "a") as mirror:
        made = await bundle(mirror, tmp_path / "disk", SPAN, fits=True)
        assert (made["records"], made["files"], made["missing"], made["failed"]) == (4, 4, [], [])
        before = await told(mirror, SPAN)
        paths = (await mirror.ask(SPAN, None, seg="Dopplergram")).json["segments"][0]["values"]
        files = [(await mirror.get(path)).body for path in paths]
        export = await mirror.exported(SPAN, "url", "fits")
        asked = await mirror.log()
        await elsewhere(mirror, tmp_path / "b")
        taken = await take(mirror, tmp_path / "disk")
        assert (taken["records"], taken["files"], taken["new_files"]) == (4, 4, 4)
        assert await told(mirror, SPAN) == before
        assert (await mirror.ask(SPAN)).plan == "local"
        assert [(await mirror.get(path)).body for path in paths] == files
        again = await mirror.exported(SPAN, "url", "fits")
        assert [f["filename"] for f in again["data"]] == [f["filename"] for f in export["data"]]
        assert (await mirror.get("/cgi-bin/ajax/show_series")).json["n"] > 0
        assert await mirror.log() == asked


@pytest.mark.parametrize(
    "ds",
    ["hmi.sharp_cea_720s[4864][2014.11.23_TAI/1d]", "aia.lev1_euv_12s[2014.01.01/1m][171]", "hmi.M_720s[$]", "hmi.M_720s[^]",
     "hmi.V_45s[2014.01.01_TAI/1h][? QUALITY >= 0 ?]", "hmi.V_45s[:#1-#3]", "mdi.fd_M_96m_lev182[1996.05.20/2d]"],
)  # fmt: skip
async def test_every_kind_of_record_set_answers_the_same(tmp_path, ds):
    async with lab(tmp_path / "a") as mirror:
        assert (await mirror.ask(ds)).json["status"] == 0
        await bundle(mirror, tmp_path / "disk", ds, files=False)
        before = await told(mirror, ds)
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "disk")
        assert await told(mirror, ds) == before


async def test_made_up_series_of_every_shape_answer_the_same(tmp_path):
    async with lab(tmp_path / "a", synthetic()[:6]) as mirror:
        sets = [f"{data.structure.name}[$]" for data in synthetic()[:6]]
        await bundle(mirror, tmp_path / "disk", *sets, files=False)
        before = [(await mirror.ask(ds, "**ALL**")).told for ds in sets]
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "disk")
        assert [(await mirror.ask(ds, "**ALL**")).told for ds in sets] == before


async def test_what_was_not_asked_for_is_not_claimed(tmp_path):
    async with lab(tmp_path / "a") as mirror:
        await mirror.recnums(MORE)
        await bundle(mirror, tmp_path / "disk", SPAN, files=False)
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "disk")
        answer = await mirror.ask(MORE)
        assert "not cached" in answer.json["error"]
        assert "2014.01.01_00:03:00_TAI" in answer.json["error"]


async def test_only_what_is_held_goes_along_where_nothing_may_be_asked(tmp_path):
    async with lab(tmp_path / "a") as mirror:
        await mirror.recnums(SPAN)
        asked = await mirror.log()
        made = await bundle(mirror, tmp_path / "disk", "hmi.V_45s[2014.01.01_TAI/6m]", held=True)
        assert await mirror.log() == asked
        assert made["records"] == 4
        assert made["missing"] == ["hmi.V_45s[T_REC_index=#1]"] or made["missing"]
        assert len(made["failed"]) == 4
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "disk")
        assert len(await mirror.recnums(SPAN)) == 4


async def test_a_bundle_that_is_added_to_has_both_parts(tmp_path):
    async with lab(tmp_path / "a") as mirror:
        await bundle(mirror, tmp_path / "disk", SPAN, files=False)
        first = tree(tmp_path / "disk")
        await bundle(mirror, tmp_path / "disk", MORE, files=False)
        assert {
            k: v for k, v in tree(tmp_path / "disk").items() if k in first and "records" in k
        }.items() <= first.items()
        before = await told(mirror, MORE)
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "disk")
        assert await told(mirror, MORE) == before
        assert len(await mirror.recnums(SPAN)) == 4


async def test_to_import_again_changes_nothing(tmp_path):
    async with file_lab(tmp_path / "a") as mirror:
        await bundle(mirror, tmp_path / "disk", SPAN)
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "disk")
        before, coverage = await told(mirror, SPAN), (await mirror.get("/api/coverage")).json
        again = await take(mirror, tmp_path / "disk")
        assert again["new_files"] == 0
        assert await told(mirror, SPAN) == before
        assert (await mirror.get("/api/coverage")).json == coverage


async def test_an_address_goes_along_only_if_it_is_named(tmp_path):
    async with file_lab(tmp_path / "a") as mirror:
        question = ("/cgi-bin/ajax/checkAddress.sh", {"address": "a@example.com", "checkonly": "1"})
        registered = (await mirror.get(*question)).told
        await bundle(mirror, tmp_path / "without", SPAN, files=False)
        await bundle(mirror, tmp_path / "with", SPAN, files=False, address="a@example.com")
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "without")
        assert "offline" in (await mirror.get(*question)).json["error"]
        await take(mirror, tmp_path / "with")
        assert (await mirror.get(*question)).told == registered


# ---- who knows better ---------------------------------------------------------------------------


async def test_of_two_versions_the_newest_counts_whichever_way_it_comes(tmp_path):
    async with lab(tmp_path / "a", synthetic()) as mirror:
        old = await mirror.recnums(SPAN)
        await bundle(mirror, tmp_path / "old", SPAN, files=False)
        await mirror.reprocess("hmi.V_45s[2014.01.01_00:00:45_TAI]")
        mirror.clock.forward(days=400)
        new = await mirror.recnums(SPAN)
        assert sorted(map(old.__contains__, new)) == [False, True, True, True]
        await bundle(mirror, tmp_path / "new", SPAN, files=False)
        for order in (("old", "new"), ("new", "old")):
            await elsewhere(mirror, tmp_path / "-".join(order))
            for name in order:
                await take(mirror, tmp_path / name)
            assert (await mirror.ask(SPAN)).plan == "local"
            assert await mirror.recnums(SPAN) == new
            numbers = ",".join(f"#{n}" for n in old)
            assert await mirror.recnums(f"hmi.V_45s[:{numbers}]") == old  # the old version is held too


async def test_claims_are_as_old_as_they_were_where_the_bundle_was_made(tmp_path):
    async with lab(tmp_path / "a") as mirror:
        await bundle(mirror, tmp_path / "disk", SPAN, files=False)
        checked = [line["checked_at"] for line in (await mirror.get("/api/coverage")).json]
        mirror.clock.forward(days=100)
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "disk")
        assert [line["checked_at"] for line in (await mirror.get("/api/coverage")).json] == checked
        assert (await mirror.ask(SPAN)).plan == "stale"


async def test_claims_from_the_future_are_as_of_now(tmp_path):
    async with lab(tmp_path / "a") as mirror:
        mirror.clock.forward(days=1000)
        await bundle(mirror, tmp_path / "disk", SPAN, files=False)
        mirror.clock.forward(days=-1000)
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "disk")
        assert all(x["checked_at"] <= mirror.clock.seconds for x in (await mirror.get("/api/coverage")).json)


# ---- what a bundle must not do ------------------------------------------------------------------


def rewritten(folder, kind, change):
    """Change a table of a bundle, and the manifest so that it looks right."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = next(t for t in manifest["tables"] if t["kind"] == kind)
    path = folder / entry["file"]
    table = change(pq.read_table(path))
    pq.write_table(table, path)
    entry["sha256"], entry["size"] = hash_of(path)
    entry["rows"] = len(table)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def with_column(name, values):
    def change(table):
        kind = table.schema.field(name).type
        return table.set_column(table.schema.names.index(name), name, pa.array([values] * len(table), kind))

    return change


def edited(name, edit):
    def change(table):
        values = [edit(x) for x in table[name].to_pylist()]
        return table.set_column(
            table.schema.names.index(name), name, pa.array(values, table.schema.field(name).type)
        )

    return change


BAD = {
    "a path that climbs": ("holdings", with_column("file", "../../../../etc/cron.d/x")),
    "an absolute path": ("holdings", with_column("file", "/etc/passwd")),
    "a day that climbs": ("holdings", with_column("day", "../..")),
    "a hidden day": ("holdings", with_column("day", ".ssh")),
    "a series that climbs": ("holdings", with_column("series", "../x.y")),
    "a series with SQL": ("holdings", with_column("series", "x'; DROP TABLE mirror.blobs; --")),
    "a disk that is none": ("holdings", with_column("disk", "../SUM1")),
    "a hash that is none": ("holdings", with_column("sha256", "../../x")),
    "a size that is none": ("holdings", with_column("size", -1)),
    "another size": ("holdings", with_column("size", 1)),
    "a hash of nothing": ("holdings", with_column("sha256", "0" * 64)),
    "a unit below 0": ("holdings", with_column("sunum", -5)),
    "a column missing": ("holdings", lambda t: t.drop_columns(["size"])),
    "a column of another type": ("holdings", lambda t: t.set_column(9, "size", pa.array(["1"] * len(t)))),
    "a value missing": ("holdings", with_column("disk", None)),
    "a fact of another kind": ("facts", with_column("kind", "job number")),
    "a list that is none": ("facts", with_column("value", "[[1]]")),
    "too few values": ("records", edited("_raw", lambda x: x.rpartition("\x1f")[0])),
    "too many values": ("records", edited("_raw", lambda x: x + "\x1fx")),
    "a number that is none": ("records", edited("_raw", lambda x: x.replace("1", "one"))),
    "a quote": ("records", edited("_raw", lambda x: '"' + x)),
    "a line's end": ("records", edited("_raw", lambda x: "\n" + x)),
    "a stray backslash": ("records", edited("_raw", lambda x: "\\" + x)),
    "a character that no answer has": ("records", edited("_raw", lambda x: "\u2603" + x)),
    "an unknown key set": ("records", with_column("_keyset", 77)),
    "no raw values": ("records", with_column("_raw", None)),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle, made once; copied for each test that spoils it."""
    import asyncio

    folder = tmp_path_factory.mktemp("made")

    async def make():
        async with file_lab(folder / "a") as mirror:
            await bundle(mirror, folder / "disk", SPAN)

    asyncio.run(make())
    return folder / "disk"


async def refused(mirror, folder):
    """The refusal of a bundle, after which the store is as it was."""
    before = (await mirror.get("/api/series")).json, (await mirror.get("/api/coverage")).json
    with pytest.raises(Refusal) as refusal:
        await take(mirror, folder)
    assert ((await mirror.get("/api/series")).json, (await mirror.get("/api/coverage")).json) == before
    return str(refusal.value)


async def test_a_spoilt_bundle_is_refused_and_changes_nothing(tmp_path, made):
    async with file_lab(tmp_path / "b", **OFFLINE) as mirror:
        for number, (name, (kind, change)) in enumerate(BAD.items()):
            folder = tmp_path / str(number)
            shutil.copytree(made, folder)
            rewritten(folder, kind, change)
            words = await refused(mirror, folder)
            assert "damaged" in words or "missing" in words, (name, words)
            assert len(words) < 1000, (name, words)
        assert list((tmp_path / "b" / "by-record").iterdir()) == []
        assert [p for p in (tmp_path / "b" / "blobs").iterdir() if p.name != ".mirror"] == []


async def test_flipped_bits_missing_files_and_links_are_refused(tmp_path, made):
    async with file_lab(tmp_path / "b", **OFFLINE) as mirror:
        names = [name for name in tree(made) if name != "manifest.json"]
        for number, name in enumerate(names):
            folder = tmp_path / str(number)
            shutil.copytree(made, folder)
            path = folder / name
            data = path.read_bytes()
            path.chmod(0o600)
            path.write_bytes(
                data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]
            )
            assert path.name in await refused(mirror, folder)
            path.unlink()
            assert path.name in await refused(mirror, folder)
            path.symlink_to(made / name)
            assert path.name in await refused(mirror, folder)


@pytest.mark.parametrize(
    "name, value, words",
    [("version", 99, "version 99, this program knows 1; use a newer jsoc-mirror"), ("format", "x", "expected a folder that"),
     ("series", [], "not its structure"), ("tables", [{}], "the member kind is missing")],
)  # fmt: skip
async def test_a_manifest_that_is_wrong_is_refused_with_the_reason(tmp_path, made, name, value, words):
    folder = tmp_path / "disk"
    shutil.copytree(made, folder)
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    async with lab(tmp_path / "b", **OFFLINE) as mirror:
        assert words in await refused(mirror, folder)


@pytest.mark.parametrize(
    "old, new",
    [('\\"T_REC\\"', '\\"T_REC; DROP TABLE x\\"'), ('\\"QUALITY\\"', '\\"_raw\\" , \\"x'),
     ("primekeysinfo", "x"), ('"structure": "{', '"structure": "[')],
)  # fmt: skip
async def test_a_structure_that_cannot_be_is_refused(tmp_path, made, old, new):
    folder = tmp_path / "disk"
    shutil.copytree(made, folder)
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace(old, new))
    async with lab(tmp_path / "b", **OFFLINE) as mirror:
        assert "damaged" in await refused(mirror, folder)


async def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    async with lab(tmp_path / "b", **OFFLINE) as mirror:
        assert "is not a bundle" in await refused(mirror, tmp_path)
        for body in ({"bundle": "here"}, {"bundle": ""}, {}, {"bundle": 1}):
            assert (await mirror.request("POST", "/api/import", json=body)).code == 400


async def test_files_beyond_the_quota_are_refused_before_anything_is_taken(tmp_path, made):
    async with lab(tmp_path / "b", **OFFLINE, MIRROR_STORAGE__QUOTA="1MB") as mirror:
        assert "the quota is 1,000,000" in await refused(mirror, made)


async def test_an_answer_of_the_tables_does_not_come_from_their_typed_columns(tmp_path, made):
    folder = tmp_path / "disk"
    shutil.copytree(made, folder)
    rewritten(folder, "records", with_column("quality", 12345))
    async with lab(tmp_path / "b", **OFFLINE) as mirror:
        await take(mirror, folder)
        params = {"op": "rs_list", "ds": f"{SPAN}[? QUALITY = 12345 ?]", "key": "*recnum*"}
        assert (await mirror.get(JSOC_INFO, params)).json["count"] == 0


def test_anyone_may_read_the_tables(made):
    table = next(t for t in read_bundle(made).tables if t.kind == "records")
    found = pq.read_table(made / table.file)
    assert len(found) == 4
    assert {"recnum", "t_rec", "crlt_obs"} <= set(found.schema.names)


async def test_offline_a_linked_file_has_the_name_of_the_record_it_lies_in(tmp_path):
    ds, template = "hmi.sharp_720s[3563][2014.01.01_00:12_TAI]{fulldisk}", "{HARPNUM}.{T_REC:A}.{segment}"
    async with file_lab(tmp_path / "a") as mirror:
        await bundle(mirror, tmp_path / "disk", ds, fits=True)
        asked = len(await mirror.log())
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "disk")
        done = await mirror.exported(ds, "url", "fits", filenamefmt=template)
        assert len(await mirror.log()) == asked
        names = [f["filename"] for f in done["data"]]
        await mirror.restart(MIRROR_STORAGE__PATH=str(tmp_path / "c"), MIRROR_UPSTREAM__POLICY="fallback")
        done = await mirror.exported(ds, "url", "fits", filenamefmt=template)
        assert names == [f["filename"] for f in done["data"]]


async def test_a_store_that_was_made_by_an_import_is_found_to_be_whole(tmp_path):
    async with file_lab(tmp_path / "a") as mirror:
        await bundle(mirror, tmp_path / "disk", SPAN, "hmi.sharp_720s[3563][2014.01.01_TAI/24m]", fits=True)
        await elsewhere(mirror, tmp_path / "b")
        await take(mirror, tmp_path / "disk")
        mirror.clock.forward(days=1)
        await mirror.request("POST", "/api/check", json={"scope": "all"})
        await mirror.running.upkeep.checker.wait()
        told = (await mirror.get("/api/check")).json
        assert (told["ok"], told["findings"]) == (True, [])
        assert told["run"]["files"] > 4
