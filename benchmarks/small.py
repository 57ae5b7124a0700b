"""What one request costs the daemon, from one record to a day: processor time, first touch and asked again.

    python benchmarks/small.py [--store FOLDER] [--rounds 20] [--records 200000] [--only NAME ...] [--fresh]

Everything is measured in turns, one round of each after the other, so that other load on the machine affects all of
them: the mirror, a bare aiohttp server beside it (``ok`` as JSON), and the client's time to read the same answer
(json.loads and a DataFrame). Processor time of the daemon is that of its process, user and system together, over many
requests of one connection that stays open; wall time says little on a shared machine.

    first   a window that nobody has asked for before, anywhere in the file
    again   the same window, asked for by somebody else
    near    windows that were never asked for, within a day that people look at

What an idle mirror does, cutting blocks ahead, is done beforehand, unless the records should be ``--fresh``.

The store has records of hmi.V_45s made as in bulk.py, and two hours of aia.lev1_euv_12s that a simulator sent.
Many clients at once: throughput.py.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from bulk import DAY, FIRST, SERIES, build
from common import (
    INFO,
    Connection,
    Program,
    hardware,
    processor_seconds,
    rs_list_url,
    run_mirror,
    run_simulator,
)

from mirror.daemon import DATABASE
from mirror.drms.times import format_time, parse_time
from mirror.storage.database.database import Database
from mirror.storage.index.index import Index

AIA, AIA_DAY = "aia.lev1_euv_12s", "2014.01.01"
BARE = """
import sys
from aiohttp import web
async def answer(request): return web.json_response({"status": "ok"})
app = web.Application(); app.router.add_get("/healthz", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=lambda *a: print("ready", flush=True), access_log=None)
"""
KEYS = "T_REC,DATAMEAN,QUALITY,CRPIX1,CROTA2"


@dataclass
class Case:
    """One row of the table: the addresses to ask, one after the other, and how many in a round."""

    name: str
    urls: Callable[[], Iterator[str]]
    requests: int
    client: bool = False  #: whether the client's own work on the last answer is measured too
    daemon: list[float] = field(default_factory=list)  #: processor ms a request, by round
    beside: list[float] = field(default_factory=list)


def window(records: int, held: int, chance: random.Random) -> str:
    """A random window of the held records, as a record set."""
    start = parse_time(FIRST) + 45 * chance.randrange(held - records)
    return f"{SERIES}[{format_time(start, 'TAI', 0)}/{45 * records}s]"


def frame(body: bytes) -> pd.DataFrame:
    """The least that a client does with an answer."""
    return pd.DataFrame({column["name"]: column["values"] for column in json.loads(body)["keywords"]})


def cases(base: str, held: int) -> list[Case]:
    """The table."""
    chance = random.Random(5)

    def hmi(records: int, again: int = 0, day: int | None = None, **asked: str) -> Callable[[], Iterator[str]]:
        def urls() -> Iterator[str]:
            while True:
                if day is not None:
                    start = parse_time(FIRST) + 45 * (day * DAY + chance.randrange(DAY - records))
                    ds = f"{SERIES}[{format_time(start, 'TAI', 0)}/{45 * records}s]"
                else:
                    ds = window(records, held, chance)
                yield rs_list_url(base, ds, **asked)
                for _ in range(again):
                    yield rs_list_url(base, ds, **asked)

        return urls

    def aia(minutes: int, *, again: bool) -> Callable[[], Iterator[str]]:
        def urls() -> Iterator[str]:
            while True:
                start = 0 if again else chance.randrange(60 * 60 // 12)
                clock = time.strftime("%H:%M:%S", time.gmtime(start * 12))
                yield rs_list_url(base, f"{AIA}[{AIA_DAY}_{clock}/{minutes}m]")

        return urls

    def same(url: str) -> Callable[[], Iterator[str]]:
        def urls() -> Iterator[str]:
            while True:
                yield url

        return urls

    def once(make: Callable[[], Iterator[str]]) -> Callable[[], Iterator[str]]:
        return same(next(make()))

    struct = f"{base}{INFO}?{urllib.parse.urlencode({'op': 'series_struct', 'ds': SERIES})}"
    return [
        Case("1 record, 1 keyword: first", hmi(1, key="DATAMEAN"), 8),
        Case("1 record, 1 keyword: near", hmi(1, day=3, key="DATAMEAN"), 8),
        Case("1 record, 1 keyword: again", once(hmi(1, key="DATAMEAN")), 20, client=True),
        Case("81 records, 5 keywords: first", hmi(81, key=KEYS), 8),
        Case("81 records, 5 keywords: near", hmi(81, day=3, key=KEYS), 8),
        Case("81 records, 5 keywords: again", once(hmi(81, key=KEYS)), 20, client=True),
        Case("81 records, all: first", hmi(81), 8),
        Case("81 records, all: near", hmi(81, day=3), 8),
        Case("81 records, all: again", once(hmi(81)), 20, client=True),
        Case("a day, all: first", hmi(DAY), 4),
        Case("a day, all: again", once(hmi(DAY)), 4, client=True),
        Case("an AIA hour, all: first", aia(60, again=False), 4),
        Case("an AIA hour, all: again", aia(60, again=True), 4, client=True),
        Case("series_struct", same(struct), 20),
        Case("/healthz", same(f"{base}/healthz"), 20),
    ]


def busy(pid: int) -> float:
    """Processor seconds of a process since its start, to the microsecond where the system tells them."""
    told = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(words[0]) for words in told) / 1e9 if told else processor_seconds(pid)


def measure(mirror: Program, bare: tuple[str, int], held: int, rounds: int, only: list[str]) -> dict[str, Case]:
    """All cases, round by round."""
    chosen = [c for c in cases(mirror.url, held) if not only or any(o in c.name for o in only)]
    chosen.append(Case("bare aiohttp", lambda: iter(lambda: f"{bare[0]}/healthz", ""), 40))
    streams = {c.name: c.urls() for c in chosen}
    ours, theirs = Connection(mirror.url), Connection(bare[0])
    for number in range(-1, rounds):
        for case in chosen:
            pid, connection = (bare[1], theirs) if case.name == "bare aiohttp" else (mirror.process.pid, ours)
            urls, body = [next(streams[case.name]) for _ in range(case.requests)], b""
            before = busy(pid)
            for url in urls:
                body, _ = connection.get(url)
            spent = (busy(pid) - before) * 1e3 / case.requests
            case.daemon += [spent] if number >= 0 else []
            if case.client:
                began = time.process_time()
                for _ in range(5):
                    frame(body)
                case.beside += [(time.process_time() - began) * 200]
            assert b'"status":0' in body or b'"status"' in body, body[:200]
    return {case.name: case for case in chosen}


def report(found: dict[str, Case]) -> None:
    """The table."""
    bare = statistics.fmean(found["bare aiohttp"].daemon)
    print(f"\n{'':34} {'daemon':>9} {'/ bare':>7} {'client':>9} {'/ client':>8}")
    for case in found.values():
        mean, line = statistics.fmean(case.daemon), ""
        beside = found.get(case.name.partition(":")[0] + ": again")
        if beside is not None and beside.beside:
            client = statistics.median(beside.beside)
            line = f"{client:6.2f} ms {mean / client:8.2f}"
        print(f"{case.name:34} {mean:6.2f} ms {mean / bare:7.1f} {line}")


# ---- stores ----------------------------------------------------------------------------------------


def make_store(store: Path, records: int) -> None:
    """The records of both series."""
    asyncio.run(build(store, records))
    with run_simulator() as simulator, run_mirror(store, upstream=simulator.url) as mirror:
        connection = Connection(mirror.url)
        for hour in range(2):
            connection.get(rs_list_url(mirror.url, f"{AIA}[{AIA_DAY}_0{hour}:00:00/1h]"))


async def cut_ahead(store: Path) -> None:
    """What an idle mirror does."""
    database = await asyncio.to_thread(Database.open, store / DATABASE)
    began = time.process_time()
    await (await Index.load(database)).cut_ahead(lambda: True)
    print(f"blocks cut in {time.process_time() - began:.1f} s of processor")
    database.close()


@contextlib.contextmanager
def bare_aiohttp() -> Iterator[tuple[str, int]]:
    """A server of nothing but aiohttp: its address and the number of its process."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", BARE, str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--fresh", action="store_true")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        store = options.store or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (store / DATABASE).exists():
            make_store(store, options.records)
        if options.fresh:
            (store / "blocks.sqlite").unlink(missing_ok=True)
        else:
            asyncio.run(cut_ahead(store))
        mirror = stack.enter_context(run_mirror(store, UPSTREAM__POLICY="offline"))
        bare = stack.enter_context(bare_aiohttp())
        print(hardware())
        report(measure(mirror, bare, options.records, options.rounds, options.only))
        print(f"memory {mirror.memory():.0f} MB")


if __name__ == "__main__":
    main()
