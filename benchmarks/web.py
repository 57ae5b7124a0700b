"""How long the pages take on a large mirror, and each JSON route that they request.

A store of one series with so many records (``bulk.py``) gets files that have a length but no content (no page reads it,
and they take no room), and what a group accumulates in a year: usage, exports, changes, the log of admins.

    python benchmarks/web.py [--records 1000000] [--files 100000] [--store FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import bulk
import numpy as np
from common import Times, hardware, run_mirror

from mirror.daemon import DATABASE
from mirror.storage.database.database import Cursor, Database

T = TypeVar("T")

ROUNDS = 5
#: Bytes of each file.
SIZE = 7_000_000
#: Milliseconds that a first answer may take.
LIMIT = 300.0
#: What a group accumulates: users and days, exports with so many files each, reprocessed records, lines of the log.
PEOPLE, DAYS, JOBS, FILES, CHANGES, LINES = 50, 400, 3_000, 20, 50_000, 20_000


def get(base: str, path: str) -> bytes:
    """A body as a browser gets it; POSTs are dry runs."""
    path = path.removeprefix("POST ")
    data = json.dumps({"need": 10**9, "dry_run": True}).encode() if path == "/api/evict" else None
    headers = {"Accept-Encoding": "gzip", "Content-Type": "application/json"}
    try:
        response = urllib.request.urlopen(urllib.request.Request(base + path, data, headers), timeout=600)
    except urllib.error.HTTPError as problem:
        if problem.code not in (404, 400, 409, 507):
            raise
        print(f"    {path}: HTTP {problem.code} {problem.read()[:120]!r}")
        return b""
    with response:
        body: bytes = response.read()
        return gzip.decompress(body) if response.headers.get("Content-Encoding") == "gzip" else body


async def run_on(store: Path, work: Callable[[Cursor], T]) -> T:
    """Run it in one transaction of the store's database."""
    database = await asyncio.to_thread(Database.open, store / DATABASE)
    done = await database.write(work)
    await database.checkpoint()
    await asyncio.to_thread(database.close)
    return done


def add_bookkeeping(cursor: Cursor) -> None:
    """Fill other tables as after a year."""
    now = time.time()
    day = f"strftime(make_timestamp((({now} - 86400 * d) * 1e6)::BIGINT), '%Y-%m-%d')"
    cursor.execute(
        f"INSERT INTO mirror.usage SELECT {day}, 'token:user' || w, 100 + w, 10000, 1000000 * w, 100000 * w "
        f"FROM range({DAYS}) AS days(d), range({PEOPLE}) AS people(w)"
    )
    asked = {"op": "exp_request", "ds": "hmi.V_45s[2012.01.01_TAI/15m]", "method": "url", "protocol": "as-is", "format": "json"}
    request = json.dumps(asked)
    (known,) = cursor.execute("SELECT count(*) FROM mirror.jobs").fetchone() or (0,)
    assert not known
    cursor.execute(
        "INSERT INTO mirror.jobs BY NAME SELECT 'JSOC_20251101_' || lpad((100000 + j)::VARCHAR, 6, '0') AS id, "
        f"'identity' || j AS identity, NULL AS upstream_id, '{request}' AS request, "
        f"CASE WHEN j % 50 = 0 THEN 'failed' ELSE 'done' END AS state, {now} - 600 * j AS created, {now} - 600 * j AS updated, "
        f"NULL AS error FROM range({JOBS}) AS jobs(j)"
    )
    cursor.execute(
        "INSERT INTO mirror.job_files BY NAME SELECT id AS job, f AS position, 'hmi.V_45s[2012.01.01_00:00:00_TAI][2]' AS record, "
        f"f || '.fits' AS name, NULL AS sha256, {SIZE} AS size FROM mirror.jobs, range({FILES}) AS files(f)"
    )
    table = '"hmi"."v_45s"'
    cursor.execute(
        f"INSERT INTO mirror.changes SELECT 'hmi.v_45s', -recnum, recnum, 'hmi.V_45s[' || recnum || '][2]', {now} - recnum % 1000000 "
        f"FROM (SELECT recnum FROM {table} ORDER BY hash(recnum) LIMIT {CHANGES})"
    )
    cursor.execute(
        f"INSERT INTO mirror.audit SELECT {now} - 600 * n, 'token:admin', '10.0.0.1', 'POST /api/evict', '{{}}', 200 "
        f"FROM range({LINES}) AS lines(n)"
    )
    cursor.execute(
        f"INSERT INTO mirror.findings SELECT 1, {now} - n, 'file', 'blobs/' || n, 'is damaged', 'repaired', 'fetched again' "
        f"FROM range(5000) AS found(n)"
    )
    cursor.execute(
        f"INSERT INTO mirror.pins SELECT sha256, 'token:user1', 'paper', {now}, NULL FROM mirror.blobs USING SAMPLE 1000 ROWS"
    )


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

    names = asyncio.run(run_on(store, work))
    asyncio.run(run_on(store, add_bookkeeping))
    blobs = store / "blobs"
    for name in names:
        (blobs / name[:2]).mkdir(parents=True, exist_ok=True)
        with (blobs / name[:2] / name).open("wb") as file:
            file.truncate(SIZE)
    (blobs / ".mirror").touch()  # marks these as the files of this store, unharmed


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
    """Ask a mirror on ``store``; the first answer of each is reported separately from cached ones."""
    series = "hmi.v_45s"
    with run_mirror(store, UPSTREAM__POLICY="offline") as mirror:
        hour = quote(f"{series}[2012.03.04_TAI/1h]")
        month = quote(f"{series}[2012.03.04_TAI/30d]")
        paths = {
            "overview": "/",
            "list of series": "/series",
            "page of the series": f"/series/{series}",
            "page of coverage": f"/coverage?series={series}",
            "page of search": "/search",
            "search, an hour": f"/search?ds={hour}&key=T_REC,DATAMEAN,QUALITY",
            "search, last": f"/search?ds={series}[$]&key=T_REC",
            "search, a month, n=100": f"/search?ds={month}&key=T_REC,DATAMEAN&n=100",
            "search as pictures": f"/search?ds={hour}&key=T_REC&view=pictures",
            "plot": f"/search?ds={hour}&key=T_REC,DATAMEAN&view=plot",
            "page of SQL": "/sql",
            "page of jobs": "/jobs",
            "one job": "/jobs/JSOC_20251101_100007",
            "page of subscriptions": "/subscriptions",
            "page of data sets": "/datasets",
            "page of upkeep": "/upkeep",
            "page of the cluster": "/cluster",
            "builder": f"/search/builder?series={series}",
            "health": "/healthz",
            "metrics": "/metrics",
            "status": "/api/status",
            "API document": "/api/openapi.json",
            "heat map": f"/api/coverage/days?series={series}",
            "heat map, one year": f"/api/coverage/days?series={series}&year=2012",
            "hours of a day": f"/api/coverage/hours?series={series}&day=2012.03.04",
            "delays": f"/api/coverage/delays?series={series}",
            "ranges": "/api/coverage",
            "ranges, folded": f"/api/coverage?series={series}&folded=1",
            "gaps of a day": f"/api/gaps?ds={quote(series + '[2012.03.04_TAI/1d]')}",
            "series as JSON": "/api/series",
            "names": "/api/names?q=hmi",
            "search as JSON": f"/api/search?ds={hour}&key=T_REC,DATAMEAN",
            "check of a query": f"/api/check-query?ds={hour}",
            "check of a month": f"/api/check-query?ds={month}",
            "check of all": f"/api/check-query?ds={series}[]",
            "files of an hour": f"/api/files?ds={hour}&seg=Dopplergram",
            "estimate of a day": f"/api/estimate?ds={quote(series + '[2012.03.04_TAI/1d]')}&seg=Dopplergram",
            "estimate of a year": f"/api/estimate?ds={quote(series + '[2012.03.04_TAI/365d]')}&seg=Dopplergram",
            "Sun": "/api/sun",
            "jobs": "/api/jobs",
            "jobs of one kind": "/api/jobs?kind=export&n=1000",
            "changes": "/api/changes",
            "changes of a series": f"/api/changes?series={series}&n=50",
            "usage": "/api/usage",
            "usage since": "/api/usage?since=2020-01-01",
            "audit": "/api/audit?n=200",
            "pins": "/api/pins",
            "check": "/api/check",
            "eviction, dry": "POST /api/evict",
            "subscriptions": "/api/subscriptions",
            "data sets": "/api/datasets",
            "saved statements": "/api/queries",
            "backups": "/api/backups?to=/nowhere",
            "news": "/api/news",
            "feed": "/api/feed.atom",
            "cluster": "/api/cluster",
            "policy": "/api/policy",
        }  # fmt: skip
        for name, path in paths.items():
            first, times = Times(), Times()
            before = mirror.cpu()
            first.take(lambda path=path: get(mirror.url, path))
            used = (mirror.cpu() - before) * 1e3
            for _ in range(ROUNDS):
                times.take(lambda path=path: get(mirror.url, path))
            verdict = "" if max(first.median, times.median) <= LIMIT else f"  (ABOVE {LIMIT:.0f} ms)"
            print(f"{name:22} first {first.median:8.1f} ms ({used:.0f} of the processor), then {times}{verdict}", flush=True)
        told = json.loads(get(mirror.url, f"/api/coverage/days?series={series}"))
        print(
            f"{int(np.sum(told['records'])):,} records, {int(np.sum(told['files'])):,} files in {len(told['states'])} days"
        )
        print(f"resident {mirror.memory():.0f} MB")


if __name__ == "__main__":
    main()
