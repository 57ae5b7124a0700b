"""`mirror dataset`, its API and Client.dataset in front of whole mirrors: made, verified, compared, carried, refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import asynccontextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import pytest_asyncio
from click.testing import CliRunner

import mirror as package
from mirror.cli.main import main
from mirror.services.datasets.datasets import _changes, digest
from mirror.storage.index.layout import SEPARATOR, Row
from tests.filelab import FileLab, file_lab, synthetic
from tests.server.webcheck import Page

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.filterwarnings("ignore")]
DAY = "hmi.sharp_cea_720s[377][2011.02.14_00:00:00_TAI/36m]{Br,bitmap}"
OTHER = "hmi.sharp_720s[377][2011.02.14_00:00:00_TAI/24m]{bitmap}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory):
    async with file_lab(tmp_path_factory.mktemp("store"), synthetic()) as made:
        yield made


@asynccontextmanager
async def another(lab, path):
    """A second mirror in front of the same JSOC."""
    settings = {**lab.environ, "MIRROR_STORAGE__PATH": str(path), "MIRROR_UPSTREAM__POLICY": "fallback"}
    made = FileLab(path, lab.simulator, lab.session, settings)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def run(lab, *words, code=0):
    result = await asyncio.to_thread(CliRunner().invoke, main, ("dataset", *map(str, words)), env={"MIRROR_URL": lab.url})
    assert result.exit_code == code, result.output
    return result


async def told(lab, *words, code=0):
    return json.loads((await run(lab, *words, "--json", code=code)).stdout)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(lab):
    return await told(lab, "create", "day", "--ds", DAY, "--ds", OTHER, "--files", "--title", "A day {of} the Sun")


async def test_a_data_set_has_its_records_their_files_and_a_hash_that_names_them(lab, made):
    assert (made["name"], made["records"]) == ("day", 3 + 2)
    assert {s["series"]: (s["records"], s["files"]) for s in made["series"]} == {"hmi.sharp_cea_720s": (3, 6), "hmi.sharp_720s": (2, 2)}
    assert made["ds"] == [DAY, OTHER]
    records = await told(lab, "show", "day", "--records")
    assert [r["recnum"] for r in records[:3]] == await lab.recnums(DAY)
    for file in (f for r in records[:2] for f in r["files"]):
        assert hashlib.sha256(await lab.original(file["path"])).hexdigest() == file["sha256"]
    assert [one["name"] for one in await told(lab, "list")] == ["day"]
    cited = (await run(lab, "show", "day", "--bibtex")).stdout
    assert f"sha256:{made['sha256']}" in cited and "title = {A day (of) the Sun}" in cited
    assert (await told(lab, "verify", "day"))["ok"]
    same = await told(lab, "create", "again", "--ds", f"{OTHER}", "--ds", DAY, "--files")
    assert same["sha256"] == made["sha256"]


async def test_sql_chooses_records_of_the_series_that_it_reads(lab, made):
    one = await told(lab, "create", "by-sql", "--sql", "SELECT recnum, t_rec FROM hmi.sharp_cea_720s ORDER BY t_rec LIMIT 2")
    assert (one["records"], one["files"], one["ds"]) == (2, 0, [])
    both = "SELECT 'hmi.sharp_720s' AS series, recnum FROM hmi.sharp_720s UNION ALL SELECT 'hmi.sharp_cea_720s', recnum FROM hmi.sharp_cea_720s"
    assert (await told(lab, "create", "both", "--sql", both))["records"] == 5
    filled = await told(lab, "create", "filled", "--sql", "SELECT recnum FROM jsoc('hmi.v_45s[2014.01.03_TAI/10m]')")
    assert filled["records"] == 13


WRONG = [
    (("create", "day", "--ds", DAY), "there is a data set day already"),
    (("create", "DAY", "--ds", DAY), "there is a data set DAY already"),
    (("create", "../x", "--ds", DAY), "expected letters, digits"),
    (("create", "x"), "expected record sets (--ds), or a statement (--sql)"),
    (("create", "x", "--ds", DAY, "--sql", "SELECT 1"), "and not both"),
    (("create", "x", "--ds", "hmi.v_45s["), "expected ']'"),
    (("create", "x", "--ds", "hmi.m_720s[1999.01.01]"), "no records match"),
    (("create", "x", "--sql", "SELECT t_rec FROM hmi.sharp_720s"), "the statement gives no recnum"),
    (("create", "x", "--sql", "SELECT a.recnum FROM hmi.sharp_720s a, hmi.sharp_cea_720s b"), "expected a column series"),
    (("create", "x", "--sql", "SELECT -5 AS recnum, 'hmi.v_45s' AS series"), "recnum is -5; expected numbers above 0"),
    (("create", "x", "--sql", "SELECT 999999999 AS recnum, 'hmi.v_45s' AS series"), "not available from JSOC"),
    (("create", "x", "--sql", "SELECT nope FROM hmi.sharp_720s"), "nope"),
    (("show", "nope"), "no data set 'nope'"),
    (("verify", "nope"), "no data set 'nope'"),
    (("export", "nope", "--to", "x"), "no data set 'nope'"),
    (("fetch", "/nonexistent"), "/nonexistent is not a crate"),
    (("delete", "nope"), "no data set 'nope'"),
]


@pytest.mark.parametrize("words, problem", WRONG, ids=range(len(WRONG)))
async def test_what_cannot_be_is_one_clear_error_and_makes_nothing(lab, made, words, problem):
    before = await told(lab, "list")
    result = await run(lab, *words, code=2 if "and not both" in problem or words == ("create", "x") else 1)
    assert problem in result.output
    assert await told(lab, "list") == before


async def test_what_jsoc_has_now_is_not_guessed_while_it_cannot_be_asked(lab, made):
    await lab.faults({"match": {}, "fault": "refuse"})
    assert "JSOC is not responding; what JSOC has of" in (await run(lab, "diff", "day", code=1)).output
    await lab.restart(MIRROR_UPSTREAM__POLICY="offline")
    assert "the mirror is offline; what JSOC has of" in (await run(lab, "diff", "day", code=1)).output
    assert (await told(lab, "verify", "day"))["ok"]
    await lab.faults()
    await lab.restart(MIRROR_UPSTREAM__POLICY="fallback")


async def test_neither_eviction_nor_forgetting_takes_what_a_data_set_keeps_without_saying_so(lab, made):
    answer = await lab.request("POST", "/api/evict", json={"need": 10**12})
    assert answer.code == 200
    assert (await told(lab, "verify", "day"))["ok"]
    forgotten = (await lab.request("POST", "/api/forget", json={"ds": "hmi.sharp_cea_720s"})).json
    assert forgotten["kept"] >= 3
    assert "the data set day keeps 3 records, which stay" in forgotten["warnings"]
    assert (await told(lab, "verify", "day"))["ok"]
    assert len(await lab.recnums(DAY)) == 3  # nothing is claimed of the rest: it is fetched again


async def test_a_crate_is_a_bag_and_an_ro_crate_and_brings_the_same_versions_back_elsewhere(lab, made, tmp_path):
    crate = tmp_path / "crate"
    written = await told(lab, "export", "day", "--to", crate)
    assert written["sha256"] == made["sha256"]
    check_bag(crate)
    table = pq.read_table(crate / "data/keywords/hmi.sharp_cea_720s.parquet")
    assert table["recnum"].to_pylist() == await lab.recnums(DAY)
    assert {"T_REC", "USFLUX", "QUALITY"} <= set(table.column_names)
    await lab.reprocess("hmi.sharp_cea_720s[377][2011.02.14_00:12:00_TAI]")
    async with another(lab, tmp_path / "second") as second:
        before = len(await lab.downloads())
        back = await told(second, "fetch", crate)
        assert {**back, "created": ""} == {**made, "created": ""}
        assert len(await lab.downloads()) == before  # the crate has the files
        assert (await told(second, "verify", "day"))["ok"]
        assert (await told(second, "fetch", crate))["sha256"] == made["sha256"]  # again: it is there
        difference = await told(second, "diff", "day")
        assert (len(difference["reprocessed"]), difference["withdrawn"], difference["unchanged"]) == (1, [], 4)
        changed = difference["reprocessed"][0]
        assert changed["new"] > changed["old"]
        assert changed["keywords"] == []  # the simulator reprocesses to the same values
    bare = tmp_path / "bare"
    await run(lab, "export", "day", "--to", bare, "--no-files")
    async with another(lab, tmp_path / "third") as third:
        assert (await told(third, "fetch", bare))["sha256"] == made["sha256"]
        assert (await told(third, "verify", "day"))["ok"]


async def test_what_jsoc_no_longer_has_is_named(lab, made, tmp_path):
    await lab.reprocess("hmi.V_45s[2014.01.05_00:00:00_TAI/90s]")
    await run(lab, "create", "new", "--ds", "hmi.v_45s[2014.01.05_TAI/90s]")
    await run(lab, "export", "new", "--to", tmp_path / "crate")
    async with file_lab(tmp_path / "elsewhere", synthetic()) as other:  # a JSOC that never had these versions
        refused = await run(other, "fetch", tmp_path / "crate", code=1)
        assert "2 items of new not available" in refused.output
        assert "hmi.V_45s[2014.01.05_00:00:00_TAI][2] (recnum" in refused.output
        assert "JSOC no longer has this version" in refused.output
        assert await told(other, "list") == []


async def test_records_that_jsoc_withdrew_are_told_by_diff_and_fetch_and_what_is_left_is_kept(lab, made, tmp_path):
    many = "hmi.m_720s[2014.01.03_TAI/4h]{magnetogram}"
    await run(lab, "create", "many", "--ds", many, "--files")
    await run(lab, "export", "many", "--to", tmp_path / "crate")
    await run(lab, "export", "many", "--to", tmp_path / "bare", "--no-files")
    url = lab.simulator.make_url("/_simulator/withdraw")
    async with lab.session.post(url, json={"ds": "hmi.m_720s[2014.01.03_TAI/3h]"}) as answer:
        gone = {name: len(numbers) for name, numbers in (await answer.json()).items()}
    assert gone == {"hmi.M_720s": 15}
    names = [f"hmi.M_720s[2014.01.03_0{n // 5}:{n % 5 * 12:02d}:00_TAI][1]" for n in range(15)]
    diff = await run(lab, "diff", "many", code=1)
    assert [line for line in diff.output.splitlines() if line.startswith("withdrawn: ")] == [f"withdrawn: {n}" for n in names]
    assert "5 unchanged, 0 reprocessed, 15 withdrawn, 0 added" in diff.output
    assert (await told(lab, "verify", "many"))["ok"], "what is kept stays as it is"
    async with another(lab, tmp_path / "elsewhere") as other:
        for crate in ("bare", "crate"):
            refused = await run(other, "fetch", tmp_path / crate, code=1)
            assert [line.partition(" (")[0] for line in refused.output.splitlines() if "no longer has this version" in line] == names
            assert "15 items of many not available, so no data set was made; all else stays cached" in refused.output
        assert await told(other, "list") == []
        status = (await other.get("/api/status")).json
        assert status["records"] == 5


#: What an edit of the contents does that somebody sealed again, and what is said of it.
SEALED = {
    "newer": (lambda j: j.update(version=2, dataset=None), "made by a newer program: version 2; expected 1"),
    "version": (lambda j: j.update(version="1"), "is damaged: "),
    "name": (lambda j: j["dataset"].update(name="../x"), "name is '../x'"),
    "path": (lambda j: j["dataset"]["files"][0].update(path="/SUM1/../../etc/passwd"), "expected a path of a storage unit"),
    "size": (lambda j: j["dataset"]["files"][0].update(size=10**30), "is damaged: "),
    "recnum": (lambda j: j["dataset"]["records"][0].update(recnum=10**19), "is damaged: "),
    "negative": (lambda j: j["dataset"]["records"][0].update(recnum=-5), "expected the name of a record, and a number above 0"),
    "twice": (lambda j: j["dataset"]["records"].extend(j["dataset"]["records"]), "it has a record twice"),
    "nobody's": (lambda j: j["dataset"]["files"][0].update(recnum=7), "is of no record of it"),
    "nothing": (lambda j: j["dataset"].update(records=[]), "it has no records"),
    "hash": (lambda j: j.update(sha256="0" * 64), "its records are not those of sha256:000"),
}  # fmt: skip


@pytest.mark.parametrize("edit", SEALED)
async def test_a_crate_that_was_edited_and_sealed_again_is_refused_too(lab, made, tmp_path, edit):
    crate = tmp_path / "crate"
    await run(lab, "export", "day", "--to", crate)
    change, problem = SEALED[edit]
    contents = json.loads((crate / "data/dataset.json").read_text())
    change(contents)
    (crate / "data/dataset.json").write_text(json.dumps(contents))
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        names = [line.split("  ", 1)[1] for line in (crate / manifest).read_text().splitlines()]
        (crate / manifest).write_text("".join(f"{hashlib.sha256((crate / n).read_bytes()).hexdigest()}  {n}\n" for n in names))
    assert problem in (await run(lab, "fetch", crate, code=1)).output


@pytest.mark.parametrize("crate, code", [("crate.zip", 1), ("https://example.org/crate", 2), ("nowhere", 1), ("", 2)])
async def test_what_is_no_folder_is_no_crate(lab, tmp_path, monkeypatch, crate, code):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crate.zip").write_bytes(b"PK")
    assert "expected a folder" in (await run(lab, "fetch", crate, code=code)).output


@pytest.mark.parametrize("edit", ["values", "file", "more", "manifest", "less", "tag", "seal", "folder", "link"])
async def test_a_crate_that_was_edited_is_refused(lab, made, tmp_path, edit):
    crate = tmp_path / "crate"
    await run(lab, "export", "day", "--to", crate)
    contents = crate / "data/dataset.json"
    if edit == "values":
        contents.write_text(contents.read_text().replace('"title"', '"Title"'))
    elif edit == "file":
        next((crate / "data/files").iterdir()).write_bytes(b"SIMPLE")
    elif edit == "more":
        (crate / "data/more.txt").write_text("more")
    elif edit == "less":
        next((crate / "data/files").iterdir()).unlink()
    elif edit == "tag":
        (crate / "more.txt").write_text("more")
    elif edit == "seal":
        (crate / "tagmanifest-sha256.txt").write_text("")
    elif edit == "folder":  # a link that leads out of the crate
        (crate / "data").rename(tmp_path / "data")
        (crate / "data").symlink_to(tmp_path / "data")
    elif edit == "link":
        (crate / "tagmanifest-sha256.txt").unlink()
        (crate / "tagmanifest-sha256.txt").symlink_to("/etc/passwd")
    else:
        manifest = crate / "manifest-sha256.txt"
        manifest.write_text(manifest.read_text().partition("\n")[2])
    refused = await run(lab, "fetch", crate, code=1)
    assert "was edited" in refused.output
    assert "root:" not in refused.output


async def test_a_crate_wants_a_new_folder_outside_the_store(lab, made, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    assert "is there already" in (await run(lab, "export", "day", "--to", tmp_path / "full", code=1)).output
    assert "outside the store" in (await run(lab, "export", "day", "--to", lab.path / "x", code=1)).output
    assert "made without files" in (await run(lab, "export", "by-sql", "--to", tmp_path / "y", "--files", code=1)).output


async def test_damage_and_loss_are_found_by_verify(lab, made):
    one = await told(lab, "create", "lost", "--ds", "hmi.sharp_720s[377][2011.02.15_00:00:00_TAI/24m]{bitmap}", "--files")
    file = (await told(lab, "show", "lost", "--records"))[0]["files"][0]
    path = lab.blob_files()[file["sha256"]]
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    forced = (await lab.request("POST", "/api/forget", json={"ds": "hmi.sharp_720s[377][2011.02.15_00:12:00_TAI]", "force": True, "records": True})).json
    assert "the data set lost loses 1 record" in forced["warnings"]
    found = await told(lab, "verify", "lost", code=1)
    problems = {(p["record"], p["segment"]): p["problem"] for p in found["problems"]}
    assert one["records"] == 2
    assert problems[("hmi.sharp_720s[377][2011.02.15_00:00:00_TAI]", "bitmap")].startswith("its file is damaged")
    assert problems[("hmi.sharp_720s[377][2011.02.15_00:12:00_TAI]", "")] == "it is not in the store"


async def test_the_client_and_the_pages_show_them(lab, made, tmp_path):
    client = package.Client(lab.url)
    one = await asyncio.to_thread(client.dataset, "of-python", "hmi.v_45s[2014.01.01_TAI/3m]", title="<b>")
    assert "&lt;b&gt;" in await asyncio.to_thread(one._repr_html_)
    assert len(await asyncio.to_thread(one.records)) == 4
    assert (await asyncio.to_thread(one.verify)).ok
    crate = await asyncio.to_thread(one.export, tmp_path / "crate")
    await asyncio.to_thread(one.delete)
    with pytest.raises(package.RemoteError, match="no data set"):
        await asyncio.to_thread(client.dataset, "of-python")
    again = await asyncio.to_thread(client.fetch_dataset, crate)
    assert (await asyncio.to_thread(again.show)).records == 4
    assert "of-python" in list((await asyncio.to_thread(client.datasets))["name"])
    for path in ("/datasets", "/datasets/day", "/datasets/of-python"):
        answer = await lab.get(path)
        page = Page(answer.body.decode())
        assert (answer.code, page.problems) == (200, [])
    assert (await lab.get("/datasets/nope")).code == 404


async def test_a_data_set_survives_a_restart_and_needs_no_jsoc(lab, made):
    await lab.restart(MIRROR_UPSTREAM__POLICY="offline")
    assert (await told(lab, "show", "day"))["sha256"] == made["sha256"]
    assert (await told(lab, "verify", "day"))["ok"]


async def test_a_changed_keyword_is_told_with_both_values():
    fields = {"T_REC": 0, "DATAMEAN": 1, "*recnum*": 2}
    old = Row(1, fields, SEPARATOR.join(["2014.01.01_TAI", "1.5", "1"]))
    new = Row(2, {**fields, "NEWKEY": 3}, SEPARATOR.join(["2014.01.01_TAI", "1.6", "2", "x"]))
    assert digest(old, ["T_REC"]) == digest(new, ["T_REC"])
    assert digest(old, ["DATAMEAN"]) != digest(new, ["DATAMEAN"])
    found = [(c.keyword, c.old, c.new) for c in _changes(old, new, ["T_REC", "DATAMEAN"])]
    assert found == [("DATAMEAN", "1.5", "1.6"), ("NEWKEY", None, "x")]


def check_bag(crate: Path) -> None:
    """BagIt by its rules, and RO-Crate by its own: every file is listed, with its hash, and described."""
    listed = {}
    for manifest in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        for line in (crate / manifest).read_text().splitlines():
            sha256, _, name = line.partition("  ")
            assert hashlib.sha256((crate / name).read_bytes()).hexdigest() == sha256
            listed[name] = manifest
    there = {p.relative_to(crate).as_posix() for p in crate.rglob("*") if p.is_file()}
    assert there == {*listed, "tagmanifest-sha256.txt"}
    graph = {entity["@id"]: entity for entity in json.loads((crate / "ro-crate-metadata.json").read_text())["@graph"]}
    parts = {part["@id"] for part in graph["./"]["hasPart"]}
    assert parts == {name for name in there if name.startswith("data/")}
    assert all(graph[part]["@type"] == "File" and int(graph[part]["contentSize"]) == (crate / part).stat().st_size for part in parts)
