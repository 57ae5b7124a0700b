"""What many records cost beside few: the start, a first look, memory, and room on the disk.

    python benchmarks/growth.py [--stores FOLDER] [--records 1000000 10000000] [--rounds 20]

The indexes are made as in bulk.py and kept as FOLDER/RECORDS; a hundred million records take an hour and 32 GB, and their
blocks, which an idle mirror cuts, half an hour and 18 GB. Then one mirror on each, asked in turns for windows anywhere:
processor time of the daemon a request. The last column compares with the first number of records.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bulk import BLOCK, DAY, build
from common import Connection, Program, busy, hardware, rs_list_url, run_mirror
from small import cut_ahead, window

from mirror.daemon import DATABASE

#: Each row: its name, the records of a window, what else is asked, and how many windows in a round.
WINDOWS: tuple[tuple[str, int, dict[str, str], int], ...] = (
    ("1 record, 1 keyword", 1, {"key": "DATAMEAN"}, 8),
    ("81 records, all", 81, {}, 8),
    ("a day, all", DAY, {}, 4),
)


def make(store: Path, records: int) -> None:
    """The records and their blocks, as far as they are not there."""
    if not (store / DATABASE).exists():
        store.mkdir(parents=True, exist_ok=True)
        asyncio.run(build(store, records))
    asyncio.run(cut_ahead(store))


@contextlib.contextmanager
def started(store: Path) -> Iterator[tuple[Program, float]]:
    """A mirror, and the seconds until it was ready."""
    began = time.perf_counter()
    with run_mirror(store, UPSTREAM__POLICY="offline") as mirror:
        yield mirror, time.perf_counter() - began


def looks(mirrors: dict[int, Program], rounds: int) -> Iterator[tuple[str, dict[int, float]]]:
    """Each row with the milliseconds of processor a request, median of the rounds, by the number of records."""
    chance = random.Random(3)
    connections = {held: Connection(mirror.url) for held, mirror in mirrors.items()}
    for name, records, asked, requests in WINDOWS:
        spent: dict[int, list[float]] = {held: [] for held in mirrors}
        for _ in range(rounds):
            for held, mirror in mirrors.items():
                urls = [rs_list_url(mirror.url, window(records, held, chance), **asked) for _ in range(requests)]
                before = busy([mirror.process.pid])
                for url in urls:
                    body, _ = connections[held].get(url)
                    assert body.endswith(b'"status":0}\n'), body[-200:]
                spent[held].append((busy([mirror.process.pid]) - before) * 1e3 / requests)
        yield name, {held: statistics.median(values) for held, values in spent.items()}


def room(store: Path, held: int) -> dict[str, float]:
    """Bytes a record; bulk.py has rounded their number up."""
    files = {"index": [store / DATABASE], "blocks": sorted(store.glob("blocks.*"))}
    records = -(-held // (BLOCK * DAY)) * BLOCK * DAY
    return {name: sum(path.stat().st_size for path in paths) / records for name, paths in files.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", type=Path)
    parser.add_argument("--records", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.stores or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for held in options.records:
            make(folder / str(held), held)
        print(hardware())
        print(f"{'':24}" + "".join(f"{held:>16,}" for held in options.records))

        def row(name: str, values: dict[int, float], unit: str) -> None:
            cells = "".join(f"{values[held]:>13.2f} {unit:2}" for held in options.records)
            print(f"{name:24}{cells}{values[options.records[-1]] / values[options.records[0]]:>8.2f}", flush=True)

        running = {held: stack.enter_context(started(folder / str(held))) for held in options.records}
        row("ready after", {held: seconds for held, (_, seconds) in running.items()}, "s")
        mirrors = {held: mirror for held, (mirror, _) in running.items()}
        for name, values in looks(mirrors, options.rounds):
            row(name, values, "ms")
        row("memory after that", {held: mirror.memory() for held, mirror in mirrors.items()}, "MB")
        for name in ("index", "blocks"):
            row(f"{name}, a record", {held: room(folder / str(held), held)[name] for held in options.records}, "B")


if __name__ == "__main__":
    main()
