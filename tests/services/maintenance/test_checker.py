"""Checks of a whole store over HTTP: what is damaged is found, and mended from JSOC or put aside."""

import asyncio
import hashlib
import json

import duckdb
import pytest

from mirror.errors import StorageError
from mirror.storage.database.database import Database
from mirror.storage.index.layout import SEPARATOR
from tests.filelab import file_lab
from tests.lab import lab
from tests.lab import rows as selected

RECORDS = "hmi.v_45s[2014.01.01_00:00_TAI/15m]"


async def checked(lab, scope="all", **more):
    """What a check found, once it has ended."""
    told = (await lab.request("POST", "/api/check", json={"scope": scope, **more})).json
    assert "error" not in told, told
    await lab.running.upkeep.checker.wait()
    return (await lab.get("/api/check")).json


async def sql(lab, statement, values=()):
    await lab.running.database.write(lambda c: c.execute(statement, list(values)))


async def rows(lab, statement):
    return await lab.running.database.read(lambda c: c.execute(statement).fetchall())


def outcomes(told):
    return [(f["kind"], f["outcome"]) for f in told["findings"]]


async def test_a_whole_index_is_found_to_be_whole(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(RECORDS)
        told = await checked(made)
        assert (told["ok"], told["findings"], told["running"]) == (True, [], False)
        assert told["run"]["ended_at"] is not None
        assert told["run"]["records"] == 20


@pytest.mark.parametrize(
    "harm",
    [
        "UPDATE hmi.v_45s SET quality = 77 WHERE recnum = {0}",
        "UPDATE hmi.v_45s SET t_rec_index = NULL WHERE recnum = {0}",
        "UPDATE hmi.v_45s SET _raw = _raw || chr(31) || 'more' WHERE recnum = {0}",
        "UPDATE hmi.v_45s SET _raw = NULL WHERE recnum = {0}",
        "UPDATE hmi.v_45s SET _keyset = 99 WHERE recnum = {0}",
    ],
)
async def test_a_damaged_record_is_asked_from_jsoc_again_and_no_other_one(tmp_path, harm):
    async with lab(tmp_path) as made:
        before = (await made.ask(RECORDS, "T_REC,QUALITY,*recnum*,*sunum*")).told
        fetched = await made.fetched()
        number = before["keywords"][2]["values"][3]
        await sql(made, harm.format(number))
        told = await checked(made, "index")
        assert told["ok"]
        assert {f["kind"] for f in told["findings"]} == {"record"}
        assert f"#{number}" in told["findings"][0]["place"]
        assert await made.fetched() - fetched <= 3  # that slot, and where it said to be
        asked = len(await made.log())
        assert (await made.ask(RECORDS, "T_REC,QUALITY,*recnum*,*sunum*")).told == before
        assert len(await made.log()) == asked
        assert (await checked(made, "index"))["findings"] == []


async def test_a_repaired_record_is_repaired_in_the_lake_too(tmp_path):
    async with lab(tmp_path) as made:
        number = (await made.recnums(RECORDS))[3]
        statement = f"SELECT quality FROM hmi.v_45s WHERE recnum = {number}"
        await sql(made, f"UPDATE hmi.v_45s SET quality = 77 WHERE recnum = {number}")
        assert await selected(made, statement) == [[77]]
        assert (await checked(made, "index"))["ok"]
        assert await selected(made, statement) == [[0]]


async def test_what_jsoc_does_not_give_again_is_not_claimed_to_be_held(tmp_path):
    async with lab(tmp_path) as made:
        numbers = await made.recnums(RECORDS)
        await sql(made, f"UPDATE hmi.v_45s SET quality = 77 WHERE recnum = {numbers[3]}")
        await made.faults({"fault": "outage"})
        told = await checked(made, "index")
        assert not told["ok"]
        assert set(outcomes(told)) == {("record", "missing")}
        assert (await made.ask(RECORDS)).json["status"] == 1
        await made.restart()
        assert (await made.ask(RECORDS)).json["status"] == 1
        await made.faults()
        assert await made.recnums(RECORDS) == numbers


async def test_an_offline_mirror_says_what_is_missing_afterwards(tmp_path):
    async with lab(tmp_path) as made:
        numbers = await made.recnums(RECORDS)
        await made.restart(MIRROR_UPSTREAM__POLICY="offline")
        await sql(made, f"UPDATE hmi.v_45s SET _raw = '' WHERE recnum = {numbers[3]}")
        assert outcomes(await checked(made, "index")) == [("record", "missing")]
        told = (await made.ask(RECORDS)).json
        assert "2014.01.01_00:02:15" in told["error"]


async def test_versions_that_were_mixed_up_are_put_in_order(tmp_path):
    async with lab(tmp_path) as made:
        numbers = await made.recnums(RECORDS)
        await sql(made, f"INSERT INTO hmi.v_45s SELECT * FROM hmi.v_45s WHERE recnum = {numbers[0]}")
        await sql(made, f"INSERT INTO hmi.v_45s__old SELECT * FROM hmi.v_45s WHERE recnum = {numbers[1]}")
        told = await checked(made, "index")
        assert outcomes(told) == [("record", "repaired")] * 2
        assert await made.recnums(RECORDS) == numbers
        assert (await checked(made, "index"))["findings"] == []


async def test_jsoc_says_which_of_two_versions_counts(tmp_path):
    async with lab(tmp_path) as made:
        numbers = await made.recnums(RECORDS)
        fields = json.loads(
            (await rows(made, "SELECT fields FROM mirror.keysets WHERE series = 'hmi.v_45s'"))[0][0]
        )
        (raw,) = (await rows(made, f"SELECT _raw FROM hmi.v_45s WHERE recnum = {numbers[2]}"))[0]
        values = raw.split(SEPARATOR)
        values[fields.index("*recnum*")] = "1000000"
        row = f"SELECT * REPLACE (1000000 AS recnum, ? AS _raw) FROM hmi.v_45s WHERE recnum = {numbers[2]}"
        await sql(made, f"INSERT INTO hmi.v_45s__old BY NAME {row}", [SEPARATOR.join(values)])
        told = await checked(made, "index")
        assert ("record", "harmless") in outcomes(told)
        assert told["ok"]
        assert await made.recnums(RECORDS) == numbers


async def test_claims_without_tables_are_taken_back(tmp_path):
    async with lab(tmp_path) as made:
        numbers = await made.recnums(RECORDS)
        await sql(made, "DROP TABLE hmi.v_45s")
        await sql(made, "INSERT INTO mirror.precision VALUES ('nobody.knows', 'a', 1, 1)")
        told = await checked(made, "index")
        assert ("coverage", "repaired") in outcomes(told)
        assert ("index", "repaired") in outcomes(told)
        assert await made.recnums(RECORDS) == numbers


async def test_a_check_that_was_dated_in_the_future_is_made_again(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(RECORDS)
        made.clock.forward(days=-400)
        told = await checked(made, "index")
        assert outcomes(told) == [("coverage", "repaired")]
        asked = len(await made.log())
        await made.ask(RECORDS)
        assert len(await made.log()) > asked


async def test_of_two_that_are_begun_at_one_time_one_joins_the_other(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(RECORDS)
        checker = made.running.upkeep.checker
        told = await asyncio.gather(checker.start("all"), checker.start("all"))
        await checker.wait()
        assert ([each.joined for each in told], told[0].run.id) == ([False, True], told[1].run.id)
        assert await rows(made, "SELECT count(*) FROM mirror.checks") == [(1,)]


async def test_files_of_the_lake_are_not_counted_as_files_of_the_store(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(RECORDS)
        await made.running.analytics._lake.tables(made.running.search._catalogue._index.series("hmi.v_45s")[0])
        assert await made.running.analytics._lake.files()
        told = await checked(made)
        assert (told["run"]["files"], told["run"]["records"], told["run"]["bytes"] > 0) == (0, 20, True)


async def test_a_check_that_runs_is_joined_and_another_scope_refused(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(RECORDS)
        first = (await made.request("POST", "/api/check", json={"scope": "index"})).json
        again = (await made.request("POST", "/api/check", json={"scope": "index"})).json
        other = await made.request("POST", "/api/check", json={"scope": "files"})
        assert (first["joined"], again["joined"]) == (False, True)
        assert other.code == 403
        await made.running.upkeep.checker.wait()
        assert (await made.request("POST", "/api/check", json={"scope": "nothing"})).code == 400
        assert (await made.request("POST", "/api/check", json={"budget": 0})).code == 400


# ---- bits that flip ------------------------------------------------------------------------------


FILE = "hmi.v_45s[2014.01.01_00:03_TAI]{Dopplergram}"


def flip(path, at=0.5):
    """Flip one bit of a file, which may be protected."""
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 8
    path.write_bytes(data)


async def fetched_file(lab):
    """Have one file held; its path at the archive, and its place in the store."""
    (listed,) = (await lab.get("/api/files", {"ds": FILE})).json
    assert (await lab.get(listed["path"])).code == 200
    for download in lab.running.downloads.running():
        await download.kept()
    (held,) = (await lab.get("/api/files", {"ds": FILE, "places": "1"})).json
    return listed["path"], held


async def test_a_flipped_bit_in_a_file_is_found_and_the_file_is_fetched_again(tmp_path):
    async with file_lab(tmp_path) as made:
        path, held = await fetched_file(made)
        place = tmp_path / "blobs" / held["sha256"][:2] / held["sha256"]
        flip(place)
        made.clock.forward(days=1)
        told = await checked(made, "files")
        assert outcomes(told) == [("file", "repaired")]
        assert "sha256" in told["findings"][0]["problem"]
        assert (await made.get(path)).body == await made.original(path)
        assert len(await made.downloads(path)) == 3  # the second of the test itself
        assert [p.name.split(".")[0] for p in (tmp_path / "quarantine").iterdir()] == [held["sha256"]]
        links = [p for p in (tmp_path / "by-record").rglob("*") if p.is_file()]
        assert [link.samefile(place) for link in links] == [True]
        made.clock.forward(days=1)
        assert (await checked(made, "files"))["findings"] == []


async def test_a_damaged_file_that_jsoc_does_not_give_is_in_quarantine_and_not_claimed(tmp_path):
    async with file_lab(tmp_path) as made:
        path, held = await fetched_file(made)
        flip(tmp_path / "blobs" / held["sha256"][:2] / held["sha256"])
        made.clock.forward(days=1)
        await made.faults({"fault": "outage"})
        told = await checked(made)
        assert outcomes(told) == [("file", "quarantined")]
        assert not told["ok"]
        assert (await made.get(path)).code in (502, 503, 504)


async def test_files_rows_links_and_parts_are_put_right_while_the_mirror_runs(tmp_path):
    async with file_lab(tmp_path) as made:
        path, held = await fetched_file(made)
        data = b"nobody knows this"
        name = hashlib.sha256(data).hexdigest()
        stray = tmp_path / "blobs" / name[:2] / name
        stray.parent.mkdir(exist_ok=True)
        stray.write_bytes(data)
        (tmp_path / "blobs" / "notes.txt").write_text("mine")
        (link,) = [p for p in (tmp_path / "by-record").rglob("*") if p.is_file()]
        link.unlink()
        await sql(made, "UPDATE mirror.holdings SET head = head + 1")
        await sql(
            made,
            "INSERT INTO mirror.holdings VALUES ('hmi.v_45s', 1, 'x', 99, 0, 'gone.fits', 'SUM1', NULL, ?, ?)",
            [int("5" * 15, 16), "5" * 64],
        )
        await sql(made, "INSERT INTO mirror.pins VALUES ('no hash', 'person:ada', 'x', 1, NULL)")
        found = outcomes(await checked(made, "files"))
        assert sorted(found) == [
            ("file", "repaired"), ("file", "repaired"), ("holding", "quarantined"), ("link", "repaired"),
            ("pin", "repaired"), ("stray", "harmless"),
        ]  # fmt: skip
        assert link.samefile(held["place"])
        assert (await made.get(path)).plan == "local" or len(await made.downloads(path)) == 1
        assert outcomes(await checked(made, "files")) == [("stray", "harmless")]


async def test_a_file_that_somebody_deleted_is_fetched_again(tmp_path):
    async with file_lab(tmp_path) as made:
        path, held = await fetched_file(made)
        (tmp_path / "blobs" / held["sha256"][:2] / held["sha256"]).unlink()
        assert outcomes(await checked(made, "files")) == [("file", "repaired")]
        assert (await made.get(path)).body == await made.original(path)


async def test_a_flipped_bit_in_a_part_makes_its_download_begin_anew(tmp_path):
    async with file_lab(tmp_path) as made:
        async with made.running.blobs.incoming(100, resume="/SUM1/D1/S00000/big.fits") as sink:
            await sink.write(b"x" * 50)
        (part,) = (tmp_path / "incoming").glob("*.part")
        assert (await checked(made, "files"))["findings"] == []
        flip(part)
        told = await checked(made, "files")
        assert (outcomes(told), told["findings"][0]["place"]) == (
            [("part", "repaired")],
            "/SUM1/D1/S00000/big.fits",
        )
        assert list((tmp_path / "incoming").iterdir()) == []
        assert made.running.blobs.usage().parked == 0


async def test_a_check_that_used_up_its_budget_goes_on_where_it_was(tmp_path):
    async with file_lab(tmp_path) as made:
        blobs = made.running.blobs
        for n in range(3):
            async with blobs.incoming(1000) as sink:
                await sink.write(bytes([n]) * 1000)
                await sink.keep()
        made.clock.forward(days=1)
        first = await checked(made, "files", budget=1500)
        assert (first["run"]["files"], first["run"]["ended_at"]) == (2, None)
        made.clock.forward(days=1)
        await made.restart()
        second = await checked(made, "files")
        assert (second["run"]["id"], second["run"]["files"]) == (first["run"]["id"], 3)
        assert second["run"]["ended_at"] is not None
        assert (await checked(made, "files"))["run"]["id"] != first["run"]["id"]


#: Where DuckDB's blocks begin in its file, and how long they are.
HEADS, BLOCK = 3 * 4096, 262_144


def blocks_of(path, table, column):
    """Where in the file of an index that nobody has open the blocks of a column are."""
    sql = f"SELECT DISTINCT block_id FROM pragma_storage_info('{table}') WHERE column_name = '{column}' AND block_id >= 0"
    with duckdb.connect(str(path / "index.duckdb"), read_only=True) as connection:
        return [HEADS + BLOCK * number for (number,) in connection.execute(sql).fetchall()]


def flip_at(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


async def test_a_damaged_block_of_a_table_costs_its_records_a_question_to_jsoc(tmp_path):
    async with lab(tmp_path) as made:
        before = (await made.ask(RECORDS, "T_REC,QUALITY,*recnum*")).told
        await made.stop()
        places = blocks_of(tmp_path, "hmi.v_45s", "_raw")
        flip_at(tmp_path / "index.duckdb", places[0] + 100)
        await made.start()
        told = (await made.ask(RECORDS, "T_REC,QUALITY,*recnum*")).json
        assert "mirror check" in told["error"]
        found = await checked(made, "index")
        assert ("index", "repaired") in outcomes(found)
        assert found["ok"]
        assert (await made.ask(RECORDS, "T_REC,QUALITY,*recnum*")).told == before
        await made.restart()
        assert (await made.ask(RECORDS, "T_REC,QUALITY,*recnum*")).told == before
        assert (await checked(made, "index"))["findings"] == []


async def test_a_damaged_block_with_jsoc_away_leaves_its_records_unclaimed(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(RECORDS)
        await made.stop()
        places = blocks_of(tmp_path, "hmi.v_45s", "_raw")
        flip_at(tmp_path / "index.duckdb", places[0] + 100)
        await made.start(MIRROR_UPSTREAM__POLICY="offline")
        assert ("index", "missing") in outcomes(await checked(made, "index"))
        assert (await made.ask(RECORDS)).json["status"] == 1
        assert (await made.get("/api/coverage")).json == []


#: Tables that tell of the past, with a column of each.
TOLD = (("mirror.usage", "who"), ("mirror.checks", "scope"))


async def test_damaged_rows_of_what_only_tells_of_the_past_are_left_behind(tmp_path):
    async with lab(tmp_path) as made:
        numbers = await made.recnums(RECORDS)
        await checked(made, "index")
        await made.stop()
        places = {place for table, column in TOLD for place in blocks_of(tmp_path, table, column)}
        for place in places:
            flip_at(tmp_path / "index.duckdb", place + 100)
        await made.start()
        assert ("index", "repaired") in outcomes(await checked(made, "index"))
        assert (await checked(made, "index"))["findings"] == []
        assert await made.recnums(RECORDS) == numbers


@pytest.mark.parametrize("at", [20, 4096 + 20, None])
async def test_an_index_that_cannot_be_opened_says_in_one_message_what_to_do(tmp_path, at):
    async with lab(tmp_path) as made:
        await made.ask(RECORDS)
        await made.stop()
        places = blocks_of(tmp_path, "mirror.coverage", "series")
        flip_at(tmp_path / "index.duckdb", places[0] + 100 if at is None else at)
        if at == 4096 + 20:  # there are two of this head, written by turns
            flip_at(tmp_path / "index.duckdb", 8192 + 20)
        with pytest.raises(StorageError, match=r"damaged .*mirror restore.*restore --without-backup"):
            await made.start()


async def test_a_flipped_bit_in_the_log_of_changes_says_in_one_message_what_to_do(tmp_path):
    async with lab(tmp_path / "store") as made:
        await made.running.database.checkpoint()
        await made.ask(RECORDS)
        for name in ("index.duckdb", "index.duckdb.wal"):
            (tmp_path / name).write_bytes((tmp_path / "store" / name).read_bytes())
    flip(tmp_path / "index.duckdb.wal")
    with pytest.raises(StorageError, match=r"index.duckdb.wal, the log .* damaged .*mirror restore"):
        Database.open(tmp_path / "index.duckdb")
    (tmp_path / "index.duckdb.wal").unlink()
    Database.open(tmp_path / "index.duckdb").close()
