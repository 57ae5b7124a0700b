"""`mirror plot` in front of a whole mirror."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
from click.testing import CliRunner

from mirror.cli.main import main
from mirror.drms.series import error_of
from tests.filelab import synthetic
from tests.lab import lab

pytestmark = pytest.mark.asyncio(loop_scope="module")
REGION = "hmi.sharp_cea_720s[377][2011.02.14/6h]"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store"), synthetic()) as made:
        yield made


async def plot(mirror, *words):
    return await asyncio.to_thread(CliRunner().invoke, main, ("plot", *map(str, words)), env={"MIRROR_URL": mirror.url})


@pytest.mark.parametrize(
    "words, end",
    [
        (("--key", "USFLUX"), b"\x89PNG"),
        (("--key", "USFLUX,AREA_ACR,TOTUSJZ", "--log"), b"\x89PNG"),
        (("--key", "LAT_FWT", "--x", "LON_FWT", "--style", "scatter"), b"\x89PNG"),
        (("--key", "usflux", "--style", "histogram", "-n", "5", "--where", "usflux > 0"), b"\x89PNG"),
    ],
)
async def test_keywords_are_drawn_to_a_file(mirror, tmp_path, words, end):
    result = await plot(mirror, REGION, *words, "--to", tmp_path / "x.png")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "x.png").read_bytes().startswith(end)


async def test_lines_are_open_where_records_are_missing_and_have_error_bars(mirror, tmp_path):
    two = f"{REGION.replace('/6h', '/1h')},{REGION.replace('2011.02.14/6h', '2011.02.14_05:00/1h')}"
    result = await plot(mirror, two, "--key", "USFLUX", "--to", tmp_path / "x.svg", "--no-errors")
    assert result.exit_code == 0, result.output
    bare = (tmp_path / "x.svg").read_text()
    assert bare.count("clip-path=") >= 2
    result = await plot(mirror, two, "--key", "USFLUX", "--to", tmp_path / "y.svg")
    assert result.exit_code == 0, (result.output, result.exception)
    assert "LineCollection" in (tmp_path / "y.svg").read_text()
    assert "LineCollection" not in bare


@pytest.mark.parametrize(
    "words, problem",
    [
        (("--key", "NOAA_ARS", "--to", "x.png"), "NOAA_ARS is no number"),
        (("--key", "NOPE", "--to", "x.png"), "NOPE"),
        (("--key", "USFLUX", "--x", "NOAA_ARS", "--to", "x.png"), "NOAA_ARS is no number"),
        (("--key", "USFLUX", "--to", "x.nope"), "x.nope"),
    ],
)
async def test_what_cannot_be_drawn_is_one_clear_error(mirror, words, problem):
    result = await plot(mirror, REGION, *words)
    assert (result.exit_code, problem in result.output) == (2 if "x.nope" in words else 1, True), result.output


async def test_an_empty_record_set_draws_nothing(mirror, tmp_path):
    result = await plot(mirror, "hmi.sharp_cea_720s[999999]", "--key", "USFLUX", "--to", tmp_path / "x.png")
    assert result.exit_code == 1
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    "name, known, error",
    [
        ("USFLUX", ["T_REC", "ERRVF"], "ERRVF"),
        ("usflux", ["errvf"], "errvf"),
        ("X", ["ERR_X"], "ERR_X"),
        ("X", ["X_ERR", "Y"], "X_ERR"),
        ("USFLUX", ["T_REC"], None),
    ],
)
async def test_the_error_of_a_keyword_is_known(name, known, error):
    assert error_of(name, known) == error
