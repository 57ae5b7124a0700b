"""Unmodified drms and sunpy, whose HTTP_PROXY is a mirror: exports and downloads, then again without JSOC."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.forkserver import PREPARE
from tests.processes import program, run_client, serve

HASTILY = {PREPARE: "tests.hastily"}
SCRIPT = Path(__file__).parent / "exporting.py"


async def run(client, proxy):
    """What the script of a client found, through a mirror as its proxy."""
    done = await asyncio.to_thread(run_client, str(SCRIPT), client, HTTP_PROXY=proxy)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


async def both(proxy):
    drms, sunpy = await asyncio.gather(run("drms", proxy), run("sunpy", proxy))
    return {**drms, **sunpy}


@pytest.mark.filterwarnings("ignore")
async def test_exports_by_drms_and_sunpy_come_through_and_then_from_the_mirror_alone(tmp_path):
    with program("simulate", "--port", "0", "--side", "1024") as simulator, serve(simulator.url, tmp_path, **HASTILY) as mirror:
        first = await both(mirror.url)
        simulator.kill()
        again = await both(mirror.url)
        assert again == first
        assert len(first["quick"]["records"]) == 4
        assert list(first["quick"]["files"].values())[0][2] == [[1024, 1024]]
        assert len(first["texts"]["files"]) == 9
        assert {name.rpartition(".")[0].rpartition(".")[2] for name in first["fits"]["files"]} == {
            "magnetogram",
            "continuum",
        }
        assert [shape for _, _, shape in first["cutout"]["files"].values()] == [[[272, 272]]] * 6
        assert list(first["tar as-is"]["files"])[0].endswith(".tar")
        assert first["fido"][1].startswith("HMI")
        assert first["tar"] == ["url-tar", "fits", 0]
        code, errors = mirror.terminate()
        assert (code, "Traceback" in errors) == (0, False), errors
