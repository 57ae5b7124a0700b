"""Engines of others read the rows that `mirror sql` reads; scripts/engines has them."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess

import pytest

from tests.filelab import synthetic
from tests.lab import lab, rows

NAME = "hmi.sharp_cea_720s"
COLUMNS = "recnum, T_REC::VARCHAR, T_REC_tai, HARPNUM, AREA_ACR::VARCHAR, NOAA_ARS"
PROGRAM = """
import glob, json, os, sys
import duckdb
connection = duckdb.connect(config={"allow_unsigned_extensions": "true"})
site = os.path.dirname(os.path.dirname(duckdb.__file__))
for name in ("avro", "iceberg"):
    found = glob.glob(f"{site}/duckdb_extension_{name}/extensions/*/{name}.duckdb_extension")
    connection.execute(f"LOAD '{found[0]}'")
print(json.dumps([connection.execute(sql).fetchall() for sql in json.loads(sys.stdin.read())]))
"""


def asked(python, statements):
    """What the other DuckDB answers."""
    told = json.dumps(statements)
    ended = subprocess.run([python, "-c", PROGRAM], input=told, capture_output=True, text=True, check=True, env={})
    return json.loads(ended.stdout)


async def test_duckdb_with_its_extension_reads_the_same_rows(tmp_path):
    python = os.environ.get("ICEBERG_DUCKDB")
    if not python:
        pytest.skip("no DuckDB with an extension for Iceberg: scripts/engines makes one")
    (tmp_path / "store").mkdir()
    folder = tmp_path / "iceberg"
    async with lab(tmp_path / "store", synthetic(), MIRROR_LAKE__ICEBERG=f"file://{folder}") as mirror:
        await mirror.ask(f"{NAME}[][2014.01.31_23:36_TAI/1h]", "**ALL**")
        await mirror.running.publisher.publish()
        expected = await rows(mirror, f"SELECT {COLUMNS} FROM {NAME} ORDER BY recnum")
        february = await rows(mirror, f"SELECT count(*) FROM {NAME} WHERE T_REC >= TIMESTAMP '2014-02-01'")
    table = f"iceberg_scan('{folder}/hmi/sharp_cea_720s')"
    statements = [
        f"SELECT {COLUMNS} FROM {table} ORDER BY recnum",
        f"SELECT count(*) FROM {table} WHERE T_REC >= TIMESTAMP '2014-02-01'",
    ]
    assert await asyncio.to_thread(asked, python, statements) == [expected, february]
    assert len(expected) > 20
