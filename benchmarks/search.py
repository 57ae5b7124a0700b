"""Warm searches with all keywords: the mirror's time, against the client's time to read them.

    python benchmarks/search.py [--small 1000000] [--large 10000000] [--rounds 60] [--stores FOLDER]

Two mirrors run side by side, on indexes of a million and of ten million records (made first, see
bulk.py; kept in --stores if given). Random windows of an hour (81 records) and of a day (1,920) are
asked of each in turn, without gzip and over a new connection, as drms asks:

    server        from sending the request to the last byte of the answer, on loopback; nothing decoded;
                  of a window that was just asked for (again), and of one anywhere in the file (first)
    json+frame    json.loads of that answer, and a DataFrame of its keywords
    drms          drms.Client.query on that answer, its transport replaced: the same, and numbers made
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import drms
import drms.json
import pandas as pd
from bulk import DAY, FIRST, SERIES, build
from common import Program, Times, fetch, hardware, rs_list_url, run_mirror

import mirror
from mirror.daemon import DATABASE
from mirror.drms.times import format_time, parse_time

WINDOWS = {81: "1h", DAY: "1d"}
HOUR, DAY_SECONDS = 3600.0, 86400.0


def window(records: int, held: int, chance: random.Random) -> str:
    """A record set of so many records within the first ``held`` of the index."""
    start = parse_time(FIRST) + chance.randrange(held // DAY - 1) * DAY_SECONDS
    if records == DAY:
        return f"{SERIES}[{format_time(start)}/1d]"
    start += chance.randrange(23) * HOUR
    return f"{SERIES}[{format_time(start)}-{format_time(start + HOUR)}]"


def frame(body: bytes) -> pd.DataFrame:
    """The least that a client of this protocol does: JSON, and a table."""
    columns = json.loads(body)["keywords"]
    return pd.DataFrame({column["name"]: column["values"] for column in columns})


class Decoder:
    """drms.Client.query without its transport."""

    def __init__(self, url: str) -> None:
        self._client = drms.Client(server=mirror.server_config(url))
        self._client.info(SERIES)  # it asks once for the types of the keywords

    def query(self, ds: str, body: bytes) -> pd.DataFrame:
        with mock.patch.object(drms.json, "urlopen", lambda *_, **__: io.BytesIO(body)):
            return self._client.query(ds, key="**ALL**")


def compare(mirrors: dict[int, Program], rounds: int) -> dict[tuple[int, int, str], Times]:
    """Times by records in the index, records requested, and who takes them."""
    decoder, chance = Decoder(next(iter(mirrors.values())).url), random.Random(1)
    times: dict[tuple[int, int, str], Times] = {}

    def one(held: int, records: int) -> None:
        ds = window(records, held, chance)
        url, body = rs_list_url(mirrors[held].url, ds), b""

        def ask() -> None:
            nonlocal body
            body = fetch(url)

        for who, work in {
            "server first": ask,
            "server again": ask,
            "json+frame": lambda: frame(body),
            "drms": lambda: decoder.query(ds, body),
        }.items():
            times.setdefault((held, records, who), Times()).take(work)
        assert len(frame(body)) > records / 2, body[:200]  # the simulator's days have gaps, of half an hour at most

    for round_number in range(-3, rounds):
        for records in WINDOWS:
            for held in mirrors:
                one(held, records)
        if round_number < 0:
            times.clear()
    return times


def report(times: dict[tuple[int, int, str], Times], held: list[int]) -> None:
    for records in WINDOWS:
        for size in held:
            print(f"\n{records:,} records of {size:,}, all keywords")
            for client in ("json+frame", "drms"):
                print(f"  {client:12} {times[size, records, client]}")
            for server in ("server first", "server again"):
                taken = times[size, records, server]
                ratios = (taken.median / times[size, records, c].median for c in ("json+frame", "drms"))
                print(f"  {server:12} {taken}  {next(ratios):.2f} of json+frame, {next(ratios):.2f} of drms")
        for server in ("server first", "server again"):
            medians = [times[size, records, server].median for size in held]
            print(f"  {held[-1]:,} against {held[0]:,} records, {server}: {medians[-1] / medians[0]:.2f}")


@contextlib.contextmanager
def _stores(folder: Path | None, sizes: list[int]) -> Iterator[dict[int, Path]]:
    with contextlib.ExitStack() as stack:
        base = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores = {size: base / f"{size}" for size in sizes}
        for size, store in stores.items():
            if not (store / DATABASE).exists():
                asyncio.run(build(store, size))
        yield stores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--stores", type=Path)
    options = parser.parse_args()
    sizes = sorted({options.small, options.large})
    with _stores(options.stores, sizes) as stores, contextlib.ExitStack() as stack:
        print(hardware())
        offline = {"UPSTREAM__POLICY": "offline"}
        mirrors = {n: stack.enter_context(run_mirror(s, **offline)) for n, s in stores.items()}
        report(compare(mirrors, options.rounds), sizes)
        for size, program in mirrors.items():
            print(f"memory of the mirror with {size:,} records: {program.memory():.0f} MB")


if __name__ == "__main__":
    main()
