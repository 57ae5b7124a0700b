"""Files of the lake that are gone, cut or have other bytes: SQL goes on, and a check finds what no reader sees."""

from __future__ import annotations

import json

import pytest

from tests.lab import Lab, lab
from tests.storage.filestore import full

HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"
SUMS = "SELECT count(*), sum(recnum), bit_xor(hash(COLUMNS(*))) FROM hmi.v_45s"


@pytest.fixture
async def mirror(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(HOUR)
        yield made


async def sql(mirror: Lab, statement: str = SUMS, code: int = 200):
    answer = await mirror.request("POST", "/api/sql", data=statement)
    assert answer.code == code, answer.body
    return answer.json.get("rows")


async def checked(mirror: Lab) -> list[tuple[str, str]]:
    await mirror.request("POST", "/api/check", json={"scope": "files"})
    await mirror.running.upkeep.checker.wait()
    told = (await mirror.get("/api/check")).json
    assert told["ok"], told
    return [(f["kind"], f["outcome"]) for f in told["findings"]]


def newest(mirror: Lab):
    return max((mirror.path / "lake" / "hmi.v_45s").glob("*.parquet"))


def damaged(data: bytes, how: str) -> bytes | None:
    middle = len(data) // 2
    return {
        "gone": None,
        "cut": data[:middle],
        "no footer": data[:-200] + bytes(200),
        "no pages": data[:4] + bytes(middle) + data[middle + 4 :],
    }[how]


def damage(mirror: Lab, how: str) -> None:
    file = newest(mirror)
    data = damaged(file.read_bytes(), how)
    file.unlink()
    if data is not None:
        file.write_bytes(data)


WAYS = ["gone", "cut", "no footer", "no pages"]


@pytest.mark.parametrize("how", WAYS)
async def test_a_file_that_is_damaged_while_the_mirror_runs_is_written_anew(mirror, how):
    before = await sql(mirror)
    damage(mirror, how)
    assert await sql(mirror) == before
    assert await checked(mirror) == []


@pytest.mark.parametrize("how", ["gone", "no pages"])
async def test_a_file_that_was_damaged_between_two_runs_is_written_anew(mirror, how):
    before = await sql(mirror)
    await mirror.stop()
    damage(mirror, how)
    await mirror.start()
    assert await sql(mirror) == before


async def test_the_whole_lake_may_be_deleted(mirror):
    before = await sql(mirror)
    for file in (mirror.path / "lake").rglob("*.*"):
        if file.is_file():
            file.unlink()
    (mirror.path / "lake" / "hmi.v_45s").rmdir()
    assert await sql(mirror) == before


async def test_a_flipped_bit_that_no_reader_sees_is_found_by_a_check(mirror):
    before = await sql(mirror)
    file = newest(mirror)
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)
    assert await checked(mirror) == [("lake", "repaired")]
    assert await sql(mirror) == before
    assert await checked(mirror) == []


async def test_a_record_set_in_a_statement_survives_it_too(mirror):
    statement = "SELECT count(*), sum(recnum) FROM jsoc('hmi.v_45s[2014.01.01_TAI/30m]')"
    before = await sql(mirror, statement)
    damage(mirror, "no pages")
    assert await sql(mirror, statement) == before


async def test_an_error_of_the_statement_stays_that_of_the_statement(mirror):
    await sql(mirror)
    file = newest(mirror)
    await sql(mirror, f"SELECT * FROM read_parquet('{mirror.path}/lake/nothing.parquet'), hmi.v_45s", 400)
    await sql(mirror, "SELECT CAST('x' AS INTEGER) FROM hmi.v_45s", 400)
    assert newest(mirror) == file
    manifest = json.loads((mirror.path / "lake" / "manifest.json").read_text())
    assert len(manifest["tables"]["hmi.v_45s"][0]["sha256"]) == 64


async def test_a_disk_without_room_for_the_lake_is_an_error_and_later_the_statement_runs(mirror):
    with full(4_000):
        answer = await mirror.request("POST", "/api/sql", data=SUMS)
        assert (answer.code, "cannot write" in answer.json["error"]) == (507, True)
        assert not list((mirror.path / "lake").rglob("*.parquet*"))
        assert (await mirror.ask(HOUR)).plan == "local"
    [[count, _, _]] = [row[:3] for row in await sql(mirror)]
    assert count == len(await mirror.recnums(HOUR))
