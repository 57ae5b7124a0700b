"""How long the pages take on a large mirror: the overview, the heat map of all years, and of what they ask.

A store of one series with so many records (``bulk.py``) gets files that have a length but no content: no page
reads it, and they take no room.

    python benchmarks/web.py [--records 1000000] [--files 100000] [--store FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import tempfile
import urllib.request
from pathlib import Path

import bulk
import numpy as np
from common import Times, hardware, run_mirror

from mirror.daemon import DATABASE
from mirror.storage.database.database import Cursor, Database

ROUNDS = 9
#: Bytes of each file.
SIZE = 7_000_000
#: Milliseconds that these may take.
LIMITS = {"overview": 200.0, "heat map": 300.0}


def get(url: str) -> bytes:
    """A body as a browser gets it."""
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=600) as response:
        body: bytes = response.read()
        return gzip.decompress(body) if response.headers.get("Content-Encoding") == "gzip" else body


def add_files(store: Path, files: int) -> None:
    """Rows of so many files of 7 MB, spread over the records."""

    def work(cursor: Cursor) -> list[str]:
        table = '"hmi"."v_45s"'
        (records,) = cursor.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        rows = min(files, records)
        cursor.execute(
            "CREATE TEMP TABLE chosen AS SELECT recnum, sha256(recnum::VARCHAR) AS sha256 FROM "
            f"(SELECT recnum FROM {table} ORDER BY hash(recnum) LIMIT {rows})"
        )
        head = "('0x' || sha256[:15])::BIGINT"
        cursor.execute(
            f"INSERT INTO mirror.blobs SELECT {head}, sha256, {SIZE}, 1.7e9, 1.7e9, 1.7e9 FROM chosen"
        )
        cursor.execute(
            "INSERT INTO mirror.holdings SELECT 'hmi.v_45s', recnum, 'dopplergram', recnum, 0, "
            f"'Dopplergram.fits', 'SUM1', NULL, {head}, sha256 FROM chosen"
        )
        return [name for (name,) in cursor.execute("SELECT sha256 FROM chosen").fetchall()]

    async def run() -> list[str]:
        database = await asyncio.to_thread(Database.open, store / DATABASE)
        names = await database.write(work)
        await database.checkpoint()
        await asyncio.to_thread(database.close)
        return names

    blobs = store / "blobs"
    for name in asyncio.run(run()):
        (blobs / name[:2]).mkdir(parents=True, exist_ok=True)
        with (blobs / name[:2] / name).open("wb") as file:
            file.truncate(SIZE)
    (blobs / ".mirror").touch()  # that these are the files of this store, to which nothing happened


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--store", type=Path, help="where to build, or what was built by this or by sql.py")
    given = parser.parse_args()
    print(hardware())
    with tempfile.TemporaryDirectory(prefix="jsoc-mirror-web-") as scratch:
        store = given.store or Path(scratch)
        if not (store / DATABASE).exists():
            store.mkdir(parents=True, exist_ok=True)
            asyncio.run(bulk.build(store, given.records))
        if not any((store / "blobs").glob("??")):
            add_files(store, given.files)
        measure(store)


def measure(store: Path) -> None:
    """Ask a mirror on ``store``; the first answer of each is told apart from those that are remembered."""
    series = "hmi.v_45s"
    with run_mirror(store) as mirror:
        paths = {
            "overview": "/",
            "heat map": f"/api/coverage/days?series={series}",
            "heat map, one year": f"/api/coverage/days?series={series}&year=2012",
            "hours of a day": f"/api/coverage/hours?series={series}&day=2012.03.04",
            "delays": f"/api/coverage/delays?series={series}",
            "page of the series": f"/series/{series}",
            "page of coverage": f"/coverage?series={series}",
            "list of series": "/series",
            "status": "/api/status",
        }
        for name, path in paths.items():
            first, times = Times(), Times()
            before = mirror.cpu()
            first.take(lambda path=path: get(mirror.url + path))
            used = (mirror.cpu() - before) * 1e3
            for _ in range(ROUNDS):
                times.take(lambda path=path: get(mirror.url + path))
            limit = LIMITS.get(name)
            verdict = (
                ""
                if limit is None
                else f"  ({'within' if first.median <= limit else 'ABOVE'} {limit:.0f} ms)"
            )
            print(
                f"{name:20} first {first.median:8.1f} ms ({used:.0f} of the processor), then {times}{verdict}"
            )
        told = json.loads(get(f"{mirror.url}/api/coverage/days?series={series}"))
        print(
            f"{int(np.sum(told['records'])):,} records, {int(np.sum(told['files'])):,} files in {len(told['states'])} days"
        )
        print(f"resident {mirror.memory():.0f} MB")


if __name__ == "__main__":
    main()
