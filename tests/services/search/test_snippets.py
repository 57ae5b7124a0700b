"""Code to copy: it runs as it stands, and finds the records that the search found."""

from __future__ import annotations

import asyncio
import json

import pytest

from mirror.drms.parser import parse_query
from mirror.services.search.snippets import SnippetQuery, snippets, sunpy_code
from tests.lab import lab, world
from tests.processes import environment, run_client

SERIES = {s.structure.name.lower(): s.structure for s in world() if s.structure}


def told(ds, *keys, **more):
    sets = parse_query(ds).sets
    return SnippetQuery(ds, sets, SERIES[sets[0].series.lower()], keys or ("T_REC",), **more)


def code(asked, name, address="http://localhost:8040"):
    return next(s.code for s in snippets(asked, address) if s.id == name)


async def run(*command):
    process = await asyncio.create_subprocess_exec(
        *command, env=environment(), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode()


async def test_the_code_of_each_client_finds_the_same_records(tmp_path):
    ds = "hmi.v_45s[2014.01.01_TAI/10m][? QUALITY >= 0 AND OBS_VR > 20 ?]"
    async with lab(tmp_path) as made:
        expected = (await made.ask(ds, "T_REC")).json["keywords"][0]["values"]
        asked = told(ds, "T_REC", "OBS_VR")
        python = (
            code(asked, "drms", made.url) + "print(*records.T_REC)\n"
            + code(asked, "sunpy", made.url) + "print(*records['T_REC'])\n"
        )  # fmt: skip
        done = await asyncio.to_thread(run_client, "-c", python)
        assert done.returncode == 0, done.stderr
        drms, sunpy = done.stdout.splitlines()[-2:]
        curl = json.loads(await run("sh", "-c", code(asked, "curl", made.url)))
        sql = await made.request("POST", "/api/sql?format=json", data=code(asked, "sql"))
    assert len(expected) > 5
    assert (drms.split(), sunpy.split(), curl["keywords"][0]["values"]) == (expected, expected, expected)
    assert len(sql.json["rows"]) == len(expected)


@pytest.mark.parametrize(
    "ds", ["hmi.v_45s[:#1-#9]", "hmi.v_45s[2014][? QUALITY = 0 OR 1 = 1 ?]", "hmi.v_45s[2014],hmi.v_45s[2015]", "hmi.v_45s[! 1=1 !]", "hmi.v_45s[]", "hmi.v_45s[2014][? CAMERA > 1 AND CAMERA < 3 ?]"]
)  # fmt: skip
def test_what_fido_cannot_say_is_told(ds):
    assert "cannot say" in sunpy_code(told(ds), "http://localhost:8040")


def test_quotes_and_dollars_are_quoted_in_every_language():
    asked = told("""hmi.sharp_720s[][$][? NOAA_ARS = 'a"b$(c)' ?]""", segments=("Br",), n=5)
    assert code(asked, "shell").startswith("""mirror search 'hmi.sharp_720s[][$][? NOAA_ARS = '"'"'a"b$(c)'""")
    assert "jsoc('hmi.sharp_720s[][$][? NOAA_ARS = ''a\"b$(c)'' ?]'" in code(asked, "sql")
    compile(code(asked, "drms"), "drms", "exec")
    assert code(asked, "sql").endswith("LIMIT 5\n")
