"""``mirror adopt`` against a whole mirror: the report, the exit code, and what becomes of the originals."""

import asyncio
import json
import os

import pytest
from click.testing import CliRunner

from mirror.cli.main import main
from tests.adoptlab import put
from tests.filelab import file_lab, synthetic


@pytest.fixture
async def lab(tmp_path):
    async with file_lab(tmp_path / "store", synthetic()) as made:
        yield made


@pytest.fixture
def adopt(lab):
    async def run(*arguments):
        env = {"MIRROR_URL": lab.url}
        return await asyncio.to_thread(CliRunner().invoke, main, ["adopt", *map(str, arguments)], env=env)

    return run


async def test_a_folder_is_adopted_and_what_has_no_place_is_listed_with_the_reason(adopt, tmp_path):
    put(tmp_path / "have" / "deep")
    (tmp_path / "have" / "junk.fits").write_bytes(b"junk")
    (tmp_path / "have" / "notes.txt").write_text("not looked at")
    result = await adopt(tmp_path / "have")
    assert result.exit_code == 1
    assert "junk.fits" in result.stdout
    assert "it is not FITS" in result.stdout
    assert "hmi.sharp" not in result.stdout
    assert "4 files: 3 adopted, 1 not adopted" in result.stderr


async def test_moving_removes_only_what_is_held(adopt, tmp_path):
    paths = put(tmp_path / "have")
    (tmp_path / "have" / "junk.fits").write_bytes(b"junk")
    dry = await adopt(tmp_path / "have", "--move", "--dry-run", "--json")
    assert json.loads(dry.stdout)["placed"] == 3
    assert all(path.exists() for path in paths)
    result = await adopt(tmp_path / "have", "--move", "--json")
    told = json.loads(result.stdout)
    assert (told["placed"], told["rejected"], told["removed"]) == (3, 1, 3), told
    assert [p.name for p in (tmp_path / "have").iterdir()] == ["junk.fits"]


async def test_all_files_are_listed_on_demand_and_those_that_are_held_cost_nothing(adopt, tmp_path):
    put(tmp_path / "have")
    assert (await adopt(tmp_path / "have")).exit_code == 0
    result = await adopt(tmp_path / "have", "--all")
    assert result.exit_code == 0
    assert result.stdout.count("held") == 3
    assert "3 already cached" in result.stderr


async def test_a_path_that_is_not_there_is_a_wrong_use(adopt, tmp_path):
    result = await adopt(tmp_path / "nope")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr and "file:" not in result.stderr


async def test_nothing_to_adopt_is_told(adopt, tmp_path):
    result = await adopt(tmp_path)
    assert result.exit_code == 1
    assert "folders are searched for *.fits" in result.stderr


async def test_pipes_and_devices_among_the_files_are_not_waited_for(adopt, tmp_path):
    have = tmp_path / "have"
    put(have)
    os.mkfifo(have / "pipe.fits")
    (have / "zero.fits").symlink_to("/dev/zero")
    (have / "folder.fits").mkdir()
    async with asyncio.timeout(180):
        result = await adopt(have)
    assert result.exit_code == 1
    assert result.stdout.count("it is not a regular file") == 2
    assert "2 not adopted" in result.stderr
