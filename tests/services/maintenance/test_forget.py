"""Forgetting over HTTP: what was given up is fetched from JSOC again, exactly that, and nothing else."""

from tests.filelab import file_lab
from tests.lab import lab

HOUR = "hmi.v_45s[2014.01.01_00:00_TAI/30m]"
PART = "hmi.v_45s[2014.01.01_00:10_TAI/6m]"
FILES = "hmi.v_45s[2014.01.01_00:03_TAI/90s]{Dopplergram}"


async def forget(lab, ds, **more):
    answer = await lab.request("POST", "/api/forget", json={"ds": ds, **more})
    return answer.code, answer.json


async def fetch_files(lab, ds):
    """Have the files of a record set held; their paths."""
    listed = (await lab.get("/api/files", {"ds": ds})).json
    for file in listed:
        assert (await lab.get(file["path"])).code == 200
    for download in lab.running.downloads.running():
        await download.kept()
    return [file["path"] for file in listed]


async def test_after_records_were_forgotten_jsoc_is_asked_for_exactly_those(tmp_path):
    async with lab(tmp_path) as made:
        numbers = await made.recnums(HOUR)
        part = await made.recnums(PART)
        code, told = await forget(made, PART, dry_run=True)
        assert (code, told["records"], told["dry_run"]) == (200, len(part), True)
        assert await made.recnums(HOUR) == numbers
        assert await made.fetched() == len(numbers)
        assert (await forget(made, PART))[1]["records"] == len(part)
        await made.restart()
        assert await made.recnums(HOUR) == numbers
        assert await made.fetched() == len(numbers) + len(part)


async def test_a_series_is_forgotten_whole(tmp_path):
    async with lab(tmp_path) as made:
        numbers = await made.recnums(HOUR)
        assert (await forget(made, "hmi.V_45s"))[1]["records"] == len(numbers)
        assert (await made.get("/api/coverage")).json == []
        assert await made.recnums(HOUR) == numbers
        assert await made.fetched() == 2 * len(numbers)


async def test_records_that_a_condition_chooses_are_forgotten_with_their_slots(tmp_path):
    async with lab(tmp_path) as made:
        numbers = await made.recnums(HOUR)
        _, told = await forget(made, f"hmi.v_45s[? recnum = {numbers[4]} ?]", records=True)
        assert told["records"] == 1
        assert await made.recnums(HOUR) == numbers
        assert await made.fetched() == len(numbers) + 1


async def test_files_go_and_records_stay_if_only_files_are_named(tmp_path):
    async with file_lab(tmp_path) as made:
        paths = await fetch_files(made, FILES)
        _, told = await forget(made, FILES, files=True)
        assert (told["files"], told["blobs"], told["records"]) == (2, 2, 0)
        assert made.running.blobs.usage().held == 0
        assert [p for p in (tmp_path / "by-record").rglob("*") if p.is_file()] == []
        asked = await made.fetched()
        assert (await made.ask(FILES.partition("{")[0])).plan == "local"
        assert await made.fetched() == asked
        assert (await made.get(paths[0])).body == await made.original(paths[0])


async def test_pinned_files_stay_unless_they_are_forced_to_go(tmp_path):
    async with file_lab(tmp_path) as made:
        await fetch_files(made, FILES)
        pin = {"ds": "hmi.v_45s[2014.01.01_00:03_TAI]{Dopplergram}", "owner": "ada"}
        assert (await made.request("POST", "/api/pins", json=pin)).json["pinned"] == 1
        _, told = await forget(made, FILES, files=True)
        assert (told["blobs"], told["pinned"]) == (1, 1)
        _, told = await forget(made, FILES, force=True)
        assert (told["blobs"], told["pinned"]) == (1, 0)


async def test_what_cannot_be_meant_is_refused_with_one_sentence(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(HOUR)
        for ds, code, words in (
            ("hmi.v_45s[$]", 403, "known only to JSOC"),
            ("no.such", 404, "not found"),
            ("", 400, "ds is missing"),
        ):
            answer = await made.request("POST", "/api/forget", json={"ds": ds})
            assert answer.code == code
            assert words in answer.json["error"]
        neither = await made.request(
            "POST", "/api/forget", json={"ds": HOUR, "files": False, "records": False}
        )
        assert neither.code == 400
