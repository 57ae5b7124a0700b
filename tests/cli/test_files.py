"""fetch, export, jobs, pin, evict and search --open: the commands against a whole mirror and a simulator."""

import asyncio
import csv
import io
import json
import os
from pathlib import Path

import pytest
from astropy.io import fits
from click.testing import CliRunner

from mirror.cli import search as search_command
from mirror.cli.main import main
from tests.filelab import ADDRESS, file_lab, synthetic

SHARPS = "hmi.sharp_cea_720s[][2014.01.01/12m]{Br}"
TAPED = "hmi.sharp_720s[3690][2014.02.01_14:00:00_TAI]{bitmap}"
TAPED_RECORD = "hmi.sharp_720s[3690][2014.02.01_14:00:00_TAI]"


@pytest.fixture
async def lab(tmp_path):
    async with file_lab(tmp_path / "store", synthetic()) as made:
        yield made


@pytest.fixture
def run(lab):
    """A command against the mirror of the lab, in a thread: the mirror answers in this one."""

    async def run(*arguments):
        env = {"MIRROR_URL": lab.url, "HTTP_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=env)
        for download in lab.running.downloads.running():  # what was sent is noted a moment later
            await asyncio.wait([download.blob])
        return result

    return run


async def fetched(run, *arguments):
    """What ``fetch --json`` tells; nothing may be missing."""
    result = await run("fetch", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def ways(told):
    return {file["how"] for file in told["files"]}


# ---- fetch --------------------------------------------------------------------------------------


async def test_files_come_into_a_folder_byte_for_byte_and_their_paths_are_printed(lab, run, tmp_path):
    listed = (await lab.get("/api/files", {"ds": SHARPS})).json
    result = await run("fetch", SHARPS, "--to", str(tmp_path / "a" / "b"))
    assert result.exit_code == 0, result.output
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert [p.name for p in paths] == [f["name"] for f in listed]
    assert [p.name for p in sorted((tmp_path / "a" / "b").iterdir())] == sorted(p.name for p in paths)
    assert [p.read_bytes() for p in paths] == [await lab.original(f["path"]) for f in listed]
    assert f"{len(paths)} files, " in result.stderr
    assert f"{len(paths)} linked" in result.stderr
    assert all(p.stat().st_nlink > 1 for p in paths), "they take no space, also at the first time"


async def test_cached_files_are_all_that_is_fetched_where_jsoc_is_not_to_be_asked(lab, run, tmp_path):
    await fetched(run, SHARPS, "--to", str(tmp_path / "first"))
    asked = len(await lab.log())
    more = SHARPS.replace("12m", "1h")
    told = await fetched(run, more, "--to", str(tmp_path / "second"), "--cached")
    assert {f["record"] for f in told["files"]} and ways(told) == {"linked"}
    assert len(await lab.log()) == asked
    held = await run("fetch", more, "--to", str(tmp_path / "third"), "--held")
    assert held.exit_code == 0 and len(held.stdout.split()) == len(told["files"])
    nothing = await run("fetch", "hmi.m_720s[2014.01.01_TAI]", "--to", str(tmp_path / "fourth"), "--cached")
    assert nothing.exit_code == 1


async def test_what_is_held_is_linked_from_the_store_and_nothing_is_asked(lab, run, tmp_path):
    first = await fetched(run, SHARPS, "--to", str(tmp_path / "first"))
    asked = len(await lab.log())
    second = await fetched(run, SHARPS, "--to", str(tmp_path / "second"))
    assert (ways(first), ways(second)) == ({"linked"}, {"linked"})
    assert len(await lab.log()) == asked
    for file in second["files"]:
        one, two = (tmp_path / folder / file["name"] for folder in ("first", "second"))
        assert two.stat().st_nlink > 1
        assert one.read_bytes() == two.read_bytes()


async def test_with_copy_files_are_ones_own(run, tmp_path):
    await fetched(run, SHARPS, "-n", "1", "--to", str(tmp_path / "first"))
    told = await fetched(run, SHARPS, "-n", "1", "--to", str(tmp_path / "own"), "--copy")
    (file,) = told["files"]
    path = tmp_path / "own" / file["name"]
    assert file["how"] == "downloaded"
    assert path.stat().st_nlink == 1
    assert path.stat().st_mode & 0o200


async def test_files_that_are_fetched_by_path_stand_in_the_readable_tree(run, lab, tmp_path):
    told = await fetched(run, SHARPS, "-n", "2", "--to", str(tmp_path / "a"))
    links = [p for p in (lab.path / "by-record").rglob("*") if p.is_file()]
    assert sorted(p.read_bytes() for p in links) == sorted(
        (tmp_path / "a" / f["name"]).read_bytes() for f in told["files"]
    )


async def test_what_is_there_is_left_alone_and_another_file_of_the_name_is_not_overwritten(lab, run, tmp_path):
    told = await fetched(run, SHARPS, "-n", "2", "--to", str(tmp_path))
    mine, other = (tmp_path / f["name"] for f in told["files"])
    before = mine.stat().st_ino
    other.unlink()
    other.write_text("notes of mine")
    result = await run("fetch", SHARPS, "-n", "2", "--to", str(tmp_path))
    assert result.exit_code == 1
    assert f"{other} exists and is a different file; use --overwrite to replace it" in result.stderr
    assert (mine.stat().st_ino, other.read_text()) == (before, "notes of mine")
    again = await fetched(run, SHARPS, "-n", "2", "--to", str(tmp_path), "--overwrite")
    assert [f["size"] for f in again["files"]] == [mine.stat().st_size, other.stat().st_size]
    assert other.stat().st_size > 100
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "store") == sorted([mine.name, other.name])


async def test_fits_files_carry_the_keywords_and_the_names_that_were_asked_for(run, tmp_path):
    arguments = (SHARPS, "-n", "3", "--protocol", "fits", "--name", "{HARPNUM}.{T_REC:A}.{segment}")
    told = await fetched(run, *arguments, "--to", str(tmp_path / "a"))
    names = [f["name"] for f in told["files"]]
    assert all(name.endswith("20140101_000000_TAI.Br.fits") for name in names)
    with fits.open(tmp_path / "a" / names[0]) as hdus:
        assert str(hdus[1].header["HARPNUM"]) == names[0].partition(".")[0]
    again = await fetched(run, *arguments, "--to", str(tmp_path / "b"))
    assert ways(again) == {"downloaded"}  # they are put together whenever they are sent
    assert [f["name"] for f in again["files"]] == names


async def test_a_record_of_which_no_fits_file_can_be_made_is_told(lab, run, tmp_path):
    listed = (await lab.get("/api/files", {"ds": SHARPS})).json
    await lab.faults({"match": {"program": "file", "path": listed[1]["path"]}, "fault": "gone"},
                     {"match": {"op": "exp_request"}, "fault": "status", "status": 4, "message": "no"})  # fmt: skip
    result = await run("fetch", SHARPS, "-n", "3", "--to", str(tmp_path / "a"), "--protocol", "fits", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, len(told["files"])) == (1, 2)
    assert [f["record"] for f in told["failed"]] == [listed[1]["record"]]
    assert "cannot be written as FITS" in told["failed"][0]["error"]


async def test_files_on_tape_are_brought_back_for_an_address(lab, run, tmp_path):
    told = await fetched(run, TAPED, "--email", ADDRESS, "--to", str(tmp_path / "a"))
    (file,) = told["files"]
    assert (tmp_path / "a" / file["name"]).stat().st_size == file["size"] > 0
    again = await fetched(run, TAPED, "--to", str(tmp_path / "b"))
    assert ways(again) == {"linked"}


async def test_a_file_that_does_not_come_back_is_told_and_the_others_come(lab, run, tmp_path):
    both = f"{TAPED_RECORD}{{bitmap}},hmi.sharp_720s[3690][2014.02.01_14:12:00_TAI]{{bitmap}}"
    result = await run("fetch", both, "--to", str(tmp_path / "a"), "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert len(told["files"]) == 1
    (failed,) = told["failed"]
    assert failed["record"] == TAPED_RECORD
    assert "email" in failed["error"].lower()
    result = await run("fetch", both, "--to", str(tmp_path / "a"))
    assert f"not fetched: {TAPED_RECORD}{{bitmap}}: " in result.stderr
    assert "--email ADDRESS" in result.stderr
    assert "1 of 2 files are on tape" in result.stderr
    assert "has an image" not in result.stderr


async def test_a_file_that_does_not_come_is_told_and_the_others_come(lab, run, tmp_path):
    listed = (await lab.get("/api/files", {"ds": SHARPS})).json
    await lab.faults({"match": {"program": "file", "path": listed[1]["path"]}, "fault": "gateway"})
    result = await run("fetch", SHARPS, "-n", "3", "--to", str(tmp_path / "a"), "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [f["name"] for f in told["files"]] == [listed[0]["name"], listed[2]["name"]]
    assert [f["name"] for f in told["failed"]] == [listed[1]["name"]]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(f["name"] for f in told["files"])


async def test_without_upstream_what_is_held_comes_and_the_rest_is_told(lab, run, tmp_path):
    await fetched(run, SHARPS, "-n", "2", "--to", str(tmp_path / "a"))
    await lab.restart(MIRROR_UPSTREAM__POLICY="offline")
    result = await run("fetch", SHARPS, "-n", "3", "--to", str(tmp_path / "b"), "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (len(told["files"]), len(told["failed"])) == (2, 1)
    assert "offline" in told["failed"][0]["error"]


WRONG_FETCHES = [
    (("hmi.sharp_cea_720s[nonsense",), "^"),
    (("hmi.nope[]",), "hmi.nope"),
    ((SHARPS, "--name", "same.fits"), "1 file name is not unique, such as 'same.fits'"),
    ((SHARPS, "--name", "a/{recnum}"), "expected a --name without slashes"),
    ((SHARPS, "--name", "../{recnum}"), "expected a --name without slashes"),
    ((SHARPS, "--name", "{NOPE}"), "NOPE"),
    (("hmi.sharp_cea_720s[][2014.01.01/12m]{Bx}",), "no segment 'Bx'"),
    ((SHARPS, "--protocol", "fits", "--name", "{"), "a brace is not closed"),
]


async def test_what_is_wrong_is_one_message_and_leaves_no_file(run, tmp_path):
    for arguments, message in WRONG_FETCHES:
        result = await run("fetch", *arguments, "--to", str(tmp_path / "a"))
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        estimate = ("note: ", "to fetch: ")  # comes before, where the record set is right
        told = [line for line in result.stderr.splitlines() if not line.startswith(estimate)]
        assert told[0].startswith("Error: ")
        assert message in result.stderr
        assert not (tmp_path / "a").exists()


async def test_no_records_are_no_files_and_exit_code_1(run, tmp_path):
    result = await run("fetch", "hmi.sharp_cea_720s[1][2014.01.01/12m]{Br}", "--to", str(tmp_path / "a"))
    assert result.exit_code == 1
    assert "0 files" in result.stderr and "No records match, here or at JSOC." in result.stderr
    filled = await run("fill", "hmi.sharp_cea_720s[1][2014.01.01/12m]", "--wait")
    assert (filled.exit_code, "No records match, here or at JSOC." in filled.stderr) == (0, True)
    assert "No records match" not in (await run("fill", SHARPS, "--wait")).stderr


async def test_a_folder_that_cannot_be_made_is_told(run, tmp_path):
    (tmp_path / "file").write_text("")
    result = await run("fetch", SHARPS, "--to", str(tmp_path / "file" / "a"))
    assert result.exit_code == 1
    assert "cannot create folder" in result.stderr


# ---- export and jobs ----------------------------------------------------------------------------


async def test_an_export_is_a_folder_at_the_mirror_and_the_same_one_again(lab, run):
    first = await run("export", SHARPS, "-n", "2", "--protocol", "fits", "--method", "url-tar", "--json")
    assert first.exit_code == 0, first.output
    job = json.loads(first.stdout)
    assert (job["state"], job["ready"], job["total"]) == ("done", 2, 2)
    async with lab.session.get(job["url"] + "index.json") as answer:
        assert [row["filename"] for row in (await answer.json(content_type=None))["data"]] == [
            f["name"] for f in job["files"]
        ]
    async with lab.session.get(job["tar"]) as answer:
        assert answer.status == 200
    again = await run("export", SHARPS, "-n", "2", "--protocol", "fits", "--method", "url-tar")
    assert job["id"] in again.stdout
    assert job["url"] in again.stdout


async def test_jobs_are_listed_newest_first_and_each_with_its_files(run):
    ids = []
    for n in ("1", "2"):
        told = json.loads((await run("export", SHARPS, "-n", n, "--json")).stdout)
        ids.append(told["id"])
    listed = json.loads((await run("jobs", "--json")).stdout)
    assert [job["id"] for job in listed] == ids[::-1]
    assert [job["id"] for job in json.loads((await run("jobs", "-n", "1", "--json")).stdout)] == ids[1:]
    table = (await run("jobs", ids[1])).stdout
    assert "2/2" in table
    rows = list(csv.DictReader(io.StringIO((await run("jobs", ids[1], "--csv")).stdout)))
    assert len(rows) == 2
    assert all(row["name"] in table for row in rows)


async def test_an_export_that_is_not_waited_for_says_how_to_look(run):
    result = await run("export", SHARPS, "--no-wait")
    assert result.exit_code == 0
    assert "mirror jobs JSOC_" in result.stderr or "done" in result.stdout


WRONG_EXPORTS = [
    (("export", SHARPS, "--protocol", "jpg"), "neither validated nor registered"),
    (("export", "hmi.nope[]"), "does not exist"),
    (("export", "hmi.m_720s[", "--json"), "^"),
    (("jobs", "JSOC_20140101_1"), "no job 'JSOC_20140101_1' at this mirror"),
    (("jobs", "../../etc/passwd"), "Error: "),
]


async def test_a_wrong_export_or_job_is_one_message(run):
    for arguments, message in WRONG_EXPORTS:
        result = await run(*arguments)
        assert (result.exit_code, result.stdout) == (1, ""), result.output
        assert message in result.stderr


async def test_an_export_that_fails_says_why(run):
    result = await run("export", TAPED)
    assert result.exit_code == 1
    assert "failed: " in result.stderr
    assert "failed" in (await run("jobs")).stdout


# ---- pin and evict ------------------------------------------------------------------------------


async def test_what_is_pinned_stays_and_what_is_let_go_goes(run, tmp_path):
    await fetched(run, SHARPS, "-n", "3", "--to", str(tmp_path / "a"))
    pinned = await run("pin", SHARPS, "-n", "1", "--reason", "a paper", "--for", "30d")
    assert "pinned: 1 file, " in pinned.stderr
    (told,) = json.loads((await run("pin", "--json")).stdout)
    assert (told["reason"], told["files"], told["until"][:7]) == ("a paper", 1, "2023-12")
    dry = json.loads((await run("evict", "--dry-run", "--json")).stdout)
    assert (dry["blobs"], dry["dry_run"]) == (2, True)
    assert all(f["file"].startswith("/SUM") for f in dry["files"])
    done = json.loads((await run("evict", "--need", "1TB", "--json")).stdout)
    assert [f["sha256"] for f in done["files"]] == [f["sha256"] for f in dry["files"]]
    assert json.loads((await run("evict", "--dry-run", "--json")).stdout)["blobs"] == 0
    removed = await run("pin", SHARPS, "--remove")
    assert "1 pin removed" in removed.stderr
    assert json.loads((await run("evict", "--dry-run", "--json")).stdout)["blobs"] == 1
    assert json.loads((await run("pin", "--json")).stdout) == []


async def test_a_dry_run_for_an_amount_names_only_what_would_go(run, tmp_path):
    told = await fetched(run, SHARPS, "-n", "3", "--to", str(tmp_path / "a"))
    least = min(f["size"] for f in told["files"])
    result = await run("evict", "--dry-run", "--need", f"{least}B")
    assert "would free " in result.stderr
    assert " in 1 file; " in result.stderr
    assert "of a quota" not in result.stderr


async def test_what_is_not_held_cannot_be_pinned(run):
    result = await run("pin", SHARPS)
    assert result.exit_code == 1
    assert "pinned: 0 files" in result.stderr
    assert "get them with `mirror fetch`" in result.stderr


WRONG_OPTIONS = [
    (("evict",), "expected --need SIZE"),
    (("evict", "--need", "much"), "expected a size"),
    (("pin", "--remove"), "needs a RECORDSET"),
    (("pin", SHARPS, "--for", "ages"), "expected a duration"),
    (("search", SHARPS, "--open", "0"), "0 is not in the range"),
]


async def test_wrong_options_are_told(run):
    for arguments, message in WRONG_OPTIONS:
        result = await run(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr


# ---- search --open ------------------------------------------------------------------------------


async def test_a_search_opens_the_picture_of_one_of_its_records(run, tmp_path, monkeypatch):
    monkeypatch.setattr(search_command.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    ds = SHARPS.partition("{")[0]
    result = await run("search", ds, "--key", "HARPNUM", "--seg", "Br", "--open", "2", "--csv")
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert f"quick look of hmi.sharp_cea_720s[{rows[1]['HARPNUM']}][" in result.stderr
    (path,) = tmp_path.glob("*.png")
    assert result.stderr.rstrip().endswith(f": {path}")
    assert path.read_bytes().startswith(b"\x89PNG")


async def test_a_picture_that_cannot_be_made_is_told_after_the_table(run):
    result = await run("search", SHARPS.partition("{")[0], "--open", "99")
    assert result.exit_code == 1
    assert "HARPNUM" in result.stdout
    assert "no record 99" in result.stderr


def test_a_picture_is_opened_only_where_there_is_a_screen(monkeypatch):
    monkeypatch.setattr(search_command.sys, "platform", "linux")
    assert not search_command.has_screen({"SSH_TTY": "/dev/pts/1"})
    assert search_command.has_screen({"DISPLAY": ":0"})
    assert search_command.has_screen({"WAYLAND_DISPLAY": "wayland-0"})
    assert os.sep not in search_command._file_name("../../a b[x/y]", "s/eg")


# ---- old answers --------------------------------------------------------------------------------


async def test_that_records_were_not_checked_is_said_on_stderr(lab, run, tmp_path):
    assert (await run("fetch", SHARPS, "--to", str(tmp_path / "a"))).exit_code == 0
    await lab.exported(SHARPS)  # the address is known from here on
    lab.clock.forward(days=200)
    await lab.faults({"fault": "outage"})
    words = "records: from the cache, not checked with JSOC; may be out of date (last checked 200 days ago)"
    for arguments in (("fetch", SHARPS, "--to", str(tmp_path / "b")), ("export", SHARPS)):
        result = await run(*arguments)
        assert result.exit_code == 0, result.output
        assert words in result.stderr
        assert words not in result.stdout
    asked = await lab.get("/cgi-bin/ajax/jsoc_fetch", {"op": "exp_request", "ds": SHARPS, "notify": ADDRESS})
    assert asked.headers["X-Mirror"] == "stale"
    await lab.faults()


async def test_of_records_that_were_checked_nothing_is_said(lab, run, tmp_path):
    result = await run("fetch", SHARPS, "--to", str(tmp_path))
    assert "checked" not in result.stderr
