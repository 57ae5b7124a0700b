"""How a cluster's PostgreSQL scales to many rows and many servers: synthetic rows, real statements.

    python benchmarks/cluster_scale.py [--rows 1000000] [--servers 100]

The journal gets so many rows, a tenth for each of ten series; so many servers have their locks, and have reported what
they fetched from JSOC in each minute of an hour. Then each statement of a miss, of a start and of the status is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg

from mirror.cluster.database import LIVING, PRESENCE, ClusterDatabase
from mirror.cluster.journal import add_entry, claim, tail
from mirror.cluster.status import _TOTALS
from mirror.cluster.tallies import Tallies
from mirror.coverage.coverage import Box, Coverage, Region
from mirror.coverage.intervals import Steps
from mirror.upstream.budget import Budget, BudgetLimits
from tests.servers import database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.cluster.database import Cursor

SERIES = 10
#: Rows of a chunk of 10,000 records of hmi.v_45s, one after the other.
ROWS = (
    "INSERT INTO mirror.journal (series, space, kind, claims, lo, hi, object, sha256, size, rows, server) "
    "SELECT 'bench.s' || n %% {series}, 'a', 'content', jsonb_build_array(jsonb_build_array("
    """'{{"others": [], "all_versions": false}}'::jsonb, jsonb_build_array(jsonb_build_array(n * 10000, n * 10000 + 9999, 1, 1.7e9 + n)))), """
    "n * 10000, n * 10000 + 9999, 'chunks/bench.s' || n %% {series} || '/' || md5(n::text) || '.parquet', md5(n::text) || md5((-n)::text), "
    "1500000, 10000, 'server' || n %% 100 FROM generate_series(1::BIGINT, %s) AS n"
)


async def timed(name: str, work: Callable[[], Awaitable[object]], times: int = 50) -> None:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await work()
        took.append((time.perf_counter() - began) * 1000)
    print(f"{name}: {statistics.median(took):.1f} ms (worst {max(took):.1f})", flush=True)


async def main(options: argparse.Namespace) -> None:
    os.environ["TESTS_FSYNC"] = "on"  # writes are synced, as in production
    address = database()
    cluster = ClusterDatabase(address, "here", "bench")
    await cluster.start()
    with psycopg.connect(address, autocommit=True) as connection:
        began = time.monotonic()
        connection.execute(ROWS.format(series=SERIES).encode(), (options.rows,))
        connection.execute("VACUUM ANALYZE mirror.journal")
        sizes = connection.execute(
            "SELECT pg_table_size('mirror.journal'), pg_indexes_size('mirror.journal')"
        ).fetchone() or (0, 0)
        print(f"{options.rows:,} rows in {time.monotonic() - began:.0f} s: {sizes[0] / options.rows:.0f} bytes a row, "
              f"{sizes[1] / options.rows:.0f} of its indexes", flush=True)  # fmt: skip
        connection.execute(
            "INSERT INTO mirror.used (server, kind, part, amount) SELECT 'server' || s, k, p, 10 "
            "FROM generate_series(1, %s) s, unnest(ARRAY['records', 'bytes']) k, generate_series(1, 60) p",
            (options.servers,),
        )
    others = [psycopg.connect(address, autocommit=True) for _ in range(options.servers - 1)]
    for each in others:
        row = each.execute("INSERT INTO mirror.servers (name, version) VALUES ('other', 'bench') RETURNING id").fetchone()
        each.execute("SELECT pg_advisory_lock(%s, %s)", (PRESENCE, row[0] if row else 0))
    print(f"{options.servers} servers are there", flush=True)
    position = 0

    async def transaction(work: Callable[[Cursor], Awaitable[object]]) -> None:
        async with cluster.transaction() as cursor:
            await work(cursor)

    async def at_end(cursor: Cursor) -> None:
        await tail(cursor, "bench.s1", "a", options.rows * 2)

    async def claimed(cursor: Cursor) -> None:
        nonlocal position
        position += 20_000
        await claim(cursor, "bench.s1", options.rows * 2, [Box(Region(()), (Steps(10**12 + position, 10**12 + position + 9999),))], cluster.id)

    await timed("the tail of a journal, nothing new", lambda: transaction(at_end))
    await timed("a flight written down", lambda: transaction(claimed))
    await timed("which servers are there", cluster.members)
    await timed("the totals of the status", lambda: transaction(lambda cursor: cursor.execute(_TOTALS)), 5)
    tallies = Tallies(cluster, Budget(BudgetLimits(10**6, 10**12), time.time))

    async def exchange() -> None:
        tallies.begin_again()
        await tallies.exchange()

    await timed("the budget of all, told and heard", exchange)
    await timed("flights of servers that are gone", lambda: transaction(
        lambda cursor: cursor.execute(f"SELECT DISTINCT series FROM flights WHERE server NOT IN ({LIVING})".encode())))  # fmt: skip
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    at, kept, told = 0, {}, Coverage()
    while True:
        async with cluster.transaction() as cursor:
            entries, after = await tail(cursor, "bench.s1", "a", at)
        for number, entry in enumerate(entries):
            if number % 100 == 0:
                await asyncio.sleep(0)
            kept[entry.id] = entry
            told = add_entry(told, entry)
        if after == at:
            break
        at = after
    took = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(f"all {len(kept):,} rows of a series read: {took:.1f} s, {len(kept) / took:,.0f} rows a second, {grown / max(len(kept), 1):,.0f} bytes a row")
    for each in others:
        each.close()
    await cluster.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--servers", type=int, default=100)
    asyncio.run(main(parser.parse_args()))
