"""Several mirrors of one cluster, each a process: what JSOC is asked, whether all answer alike, and what sharing costs.

    python benchmarks/cluster.py overlap [--servers 3] [--runs 5]   asked / missing, answers against a single mirror's
    python benchmarks/cluster.py warm                               a warm search with and without [cluster]
    python benchmarks/cluster.py writers [--servers 4]              records a second of many writers against one's
    python benchmarks/cluster.py kills [--rounds 200]               kill -9, SIGSTOP, ends of sessions, and PostgreSQL or the
                                                                    objects stopped, or paused, and started, after each step
    python benchmarks/cluster.py processes [--processes 2]          warm searches a second of one process and of several

A PostgreSQL is set up for it; the objects are a folder, or with --s3 a SeaweedFS.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg

from benchmarks import cluster_faults as faults
from tests.processes import Program
from tests.servers import KEYS, bucket, database, object_server, postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

INFO = "/cgi-bin/ajax/jsoc_info"
CLIENTS = 8
#: Queries of one run.
QUERIES = int(os.environ.get("QUERIES", "60"))
RUNTIME = re.compile(rb'"runtime"\s*:\s*[\d.]+')
KEY = {"hmi": "T_REC,QUALITY,DATAMEAN,CRLT_OBS,*recnum*", "aia": "T_REC,WAVELNTH,EXPTIME,QUALITY,*recnum*"}


class Cluster:
    """A simulator, and mirrors in front of it; ``single``: one that shares nothing."""

    def __init__(self, stack: ExitStack, folder: Path, *, s3: bool, latency: float = 5.0) -> None:
        self.stack, self.folder, self.s3 = stack, folder, s3
        self.address = database()
        objects, endpoint = bucket() if s3 else (f"file://{folder / 'objects'}", "none")
        (folder / "objects").mkdir()
        self.simulator = Program("simulate", "--port", "0", "--latency", str(latency))
        stack.callback(self.simulator.close)
        self.shared = {"MIRROR_CLUSTER__DATABASE": self.address, "MIRROR_CLUSTER__OBJECTS": objects, "MIRROR_CLUSTER__ENDPOINT": endpoint, **KEYS}
        self.servers: dict[str, Program] = {}

    def serve(self, name: str, *, shares: bool = True, **more: str) -> Program:
        settings = {
            "MIRROR_SERVER__PORT": "0",
            "MIRROR_STORAGE__PATH": str(self.folder / name),
            "MIRROR_UPSTREAM__URL": self.simulator.url,
            "MIRROR_UPSTREAM__RECORDS_PER_HOUR": "none",
            "MIRROR_FILL__CHUNK_RECORDS": "500",
            "MIRROR_LOG__LEVEL": "warning",
            **more,
        }
        if shares:
            settings |= self.shared | {"MIRROR_CLUSTER__NAME": name}
        program = self.servers[name] = Program("serve", **settings)
        self.stack.callback(program.close)
        return program

    @contextmanager
    def without_objects(self) -> Iterator[None]:
        """The object store is down inside this block."""
        if self.s3:
            object_server().stop()
            yield
            object_server().start()
            object_server().wait()
            return
        place, aside = self.folder / "objects", self.folder / "aside"
        place.rename(aside)
        place.write_text("a disk that is not mounted")
        yield
        place.unlink()
        aside.rename(place)

    def count(self, table: str) -> int:
        with psycopg.connect(self.address) as connection:
            return connection.execute(f"SELECT count(*) FROM mirror.{table}").fetchone()[0]


async def ask(session: aiohttp.ClientSession, url: str, ds: str) -> bytes:
    params = {"op": "rs_list", "ds": ds, "key": KEY[ds[:3]]}
    async with session.get(url + INFO, params=params) as response:
        return RUNTIME.sub(b"", await response.read())


async def sent(session: aiohttp.ClientSession, simulator: str) -> int:
    """How many whole records JSOC has sent."""
    async with session.get(f"{simulator}/_simulator/log") as response:
        return sum(e["records"] for e in await response.json() if e["params"].get("op") == "rs_list" and "R" in e["params"])


def queries(seed: int, *, dense: bool) -> Iterator[str]:
    """Ranges of hmi.v_45s and of some wavelengths of AIA: over an hour or two, or over days."""
    chance, span = random.Random(seed), 7200 if dense else 5 * 86400
    for _ in range(QUERIES):
        first = chance.randrange(0, span // 45) * 45
        day, rest = 1 + first // 86400, first % 86400
        clock = f"2014.03.{day:02}_{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}_TAI"
        if chance.random() < 0.4:
            waves = chance.choice(["[171]", "[94,131]", "[171,193]", "[304]"])
            yield f"aia.lev1_euv_12s[{clock}/{chance.randrange(2, 30)}m]{waves}"
        else:
            yield f"hmi.v_45s[{clock}/{chance.randrange(10, 240)}m]"


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


async def overlap(options: argparse.Namespace) -> None:
    for dense in (True, False):
        for run in range(options.runs):
            with ExitStack() as stack:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                made = Cluster(stack, folder, s3=options.s3)
                urls = [made.serve(f"m{n}").url for n in range(options.servers)]
                asked = list(queries(run, dense=dense))
                async with client() as session:
                    answers: dict[int, bytes] = {}

                    async def one(number: int) -> None:
                        for i in range(number, len(asked), CLIENTS):
                            answers[i] = await ask(session, urls[i % len(urls)], asked[i])

                    began = time.monotonic()
                    await asyncio.gather(*map(one, range(CLIENTS)))
                    took = time.monotonic() - began
                    many = await sent(session, made.simulator.url)
                    single = made.serve("single", shares=False).url
                    alike = 0
                    for i, ds in enumerate(asked):
                        right = await ask(session, single, ds)
                        alike += right == answers[i]
                        if right != answers[i]:
                            print(f"differs at m{i % len(urls)}: {ds}\n  {answers[i][:300]!r}\n  {right[:300]!r}", file=sys.stderr)
                    missing = await sent(session, made.simulator.url) - many
                    for name, server in made.servers.items():
                        if words := server.errors():
                            print(name, "wrote:", words[-1500:], file=sys.stderr)
                flights = made.count("flights")
            kind = "dense " if dense else "sparse"
            print(f"{kind} run {run}: asked/missing {many / missing:.4f} ({many} / {missing}), {alike}/{len(asked)} answers alike, "
                  f"{flights} flights left, {took:.1f} s", flush=True)  # fmt: skip


async def warm(options: argparse.Namespace) -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = Cluster(stack, folder, s3=options.s3, latency=0)
        urls = {"alone": made.serve("alone", shares=False).url, "cluster": made.serve("m0", MIRROR_CLUSTER__PUBLISH="none").url}
        ds, times = "hmi.v_45s[2014.03.01_TAI/1h]", {name: [] for name in urls}
        async with client() as session:
            for url in urls.values():
                await ask(session, url, ds)
            for _ in range(options.rounds * 20):
                for name, url in urls.items():
                    began = time.perf_counter()
                    await ask(session, url, ds)
                    times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(found) * 1000 for name, found in times.items()}
    print(f"warm search of 80 records: alone {medians['alone']:.2f} ms, in a cluster {medians['cluster']:.2f} ms, "
          f"ratio {medians['cluster'] / medians['alone']:.3f}")  # fmt: skip


async def writers(options: argparse.Namespace) -> None:
    rates = {}
    for count in (1, options.servers):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            made = Cluster(stack, folder, s3=options.s3, latency=0)
            urls = [made.serve(f"m{n}", MIRROR_FILL__CHUNK_RECORDS="2000").url for n in range(count)]
            async with client() as session:
                async def one(number: int) -> None:
                    for day in range(1, 4):
                        await ask(session, urls[number], f"hmi.v_45s[2014.{number + 1:02}.{day:02}_TAI/1d]")

                began = time.monotonic()
                await asyncio.gather(*map(one, range(count)))
                took = time.monotonic() - began
                rates[count] = await sent(session, made.simulator.url) / took
    one, many = rates[1], rates[options.servers]
    print(f"records a second: one writer {one:,.0f}, {options.servers} writers {many:,.0f} together on {os.cpu_count()} processors")


async def kills(options: argparse.Namespace) -> None:
    """Rounds of one fault at one step of a fetch, all of them in turn; what each did, and what all came to."""
    hows = [how for how in HOWS if how != "objects-silent" or options.s3]  # a folder cannot hang
    rounds = [(step, how) for step in faults.STEPS for how in hows if options.how in (None, how)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = Cluster(stack, folder, s3=options.s3, latency=10)
        for name in NAMES:
            made.serve(name, **_orders(folder, name))
        single = made.serve("single", shares=False).url
        found: list[Round] = []
        async with client() as session:
            for name in NAMES:
                await ask(session, made.servers[name].url, f"hmi.v_45s[{clock(-2)}/1m]")
            began = time.monotonic()
            for number in range(options.rounds):
                step, how = rounds[number % len(rounds)]
                took = await one_round(made, session, single, number, step, how, options.pause)
                found.append(took)
                print(f"round {number}: {how} after {step}, {took}", flush=True)
                if options.seconds and time.monotonic() - began > options.seconds:
                    break
            new = made.serve("new").url
            before = await sent(session, made.simulator.url)
            for number in range(0, len(found), 5):
                ds = f"hmi.v_45s[{clock(number)}/1h]"
                found[number].wrong += await ask(session, new, ds) != await ask(session, single, ds)
            again = await sent(session, made.simulator.url) - before
        _sum_up(found, made.count("flights"), again)


NAMES = ("m0", "m1", "m2")
#: The faults of a server, or of what all servers need: see cluster_faults.
HOWS = ("kill", "session", "pause", "postgres", "objects", "postgres-silent", "objects-silent")


@dataclass
class Round:
    """The effect of a fault: records that were asked for twice, wrong answers, and seconds until the others had their answer."""

    how: str
    twice: int
    wrong: int
    recovery: float

    def __str__(self) -> str:
        return f"{self.twice} asked twice, {self.wrong} wrong, others after {self.recovery:.2f} s"


def _orders(folder: Path, name: str) -> dict[str, str]:
    return {"TESTS_PREPARE": "benchmarks.cluster_faults", "FAULT_ORDER": str(folder / f"{name}.order")}


def clock(hour: int) -> str:
    """An hour for each round, so that rounds share no records."""
    return f"2014.04.{3 + hour // 24:02}_{hour % 24:02}:00_TAI"


async def one_round(
    made: Cluster, session: aiohttp.ClientSession, single: str, number: int, step: str, how: str, pause: float
) -> Round:
    victim = NAMES[number % len(NAMES)]
    others = [name for name in NAMES if name != victim]
    ds, program = f"hmi.v_45s[{clock(number)}/1h]", made.servers[victim]
    order = made.folder / f"{victim}.order"
    reached = order.with_suffix(".reached")
    order.write_text(f"{step} {how if how in ('kill', 'session', 'pause') else 'wait'}")
    before = await sent(session, made.simulator.url)
    doomed = asyncio.ensure_future(ask(session, program.url, ds))
    until = time.monotonic() + 30
    while not reached.exists():
        assert time.monotonic() < until, f"{step} was not reached: {program.errors()[-2000:]}"
        await asyncio.sleep(0.005)
    began = time.monotonic()
    if how == "postgres":
        server = postgres()
        server.stop(signal.SIGINT)
        reached.unlink()
        await asyncio.sleep(0.5)
        server.start()
        await asyncio.to_thread(server.wait)
        began = time.monotonic()
    elif how.endswith("-silent"):
        server = postgres() if how == "postgres-silent" else object_server()
        server.pause()
        reached.unlink()
        await asyncio.sleep(pause)
        server.resume()
        began = time.monotonic()
    elif how == "objects":
        with made.without_objects():
            reached.unlink()
            await asyncio.sleep(0.5)
        began = time.monotonic()
    reached.unlink(missing_ok=True)
    bodies = await asyncio.gather(*(patiently(session, made.servers[name].url, ds) for name in others))
    recovery = time.monotonic() - began
    if how == "pause":
        await asyncio.sleep(max(0.0, began + pause - time.monotonic()))
        program.process.send_signal(signal.SIGCONT)
    await asyncio.gather(doomed, return_exceptions=True)
    if how == "kill":
        program.close()
        await asyncio.to_thread(lambda: made.serve(victim, **_orders(made.folder, victim)).url)
    bodies.append(await patiently(session, made.servers[victim].url, ds))
    asked = await sent(session, made.simulator.url) - before
    right = await ask(session, single, ds)
    whole = await sent(session, made.simulator.url) - before - asked
    return Round(how, asked - whole, sum(body != right for body in bodies), recovery)


async def patiently(session: aiohttp.ClientSession, url: str, ds: str) -> bytes:
    """The answer that a client gets which retries while the cluster is away."""
    until = time.monotonic() + 60
    while True:
        body = await ask(session, url, ds)
        if b'"status":0' in body.replace(b" ", b"") or time.monotonic() > until:
            return body
        await asyncio.sleep(0.05)


def _sum_up(found: Sequence[Round], flights: int, again: int) -> None:
    for how in HOWS:
        some = [each for each in found if each.how == how]
        if some:
            slow = sorted(each.recovery for each in some)
            print(f"{how}: {len(some)} rounds, {sum(e.wrong for e in some)} wrong, {sum(e.twice for e in some)} asked twice (most in a "
                  f"round {max(e.twice for e in some)}), others after {statistics.median(slow):.2f} s (slowest {slow[-1]:.2f})")  # fmt: skip
    print(f"{len(found)} rounds: {sum(e.wrong for e in found)} wrong, {sum(e.twice for e in found)} asked twice, {flights} flights left, "
          f"{again} records asked by a new server, slowest recovery {max(e.recovery for e in found):.2f} s")  # fmt: skip


async def processes(options: argparse.Namespace) -> None:
    rates = {}
    for count in (1, options.processes):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            made = Cluster(stack, folder, s3=False, latency=0)
            url = made.serve("m", shares=False, MIRROR_SERVER__PROCESSES=str(count)).url
            ds = "hmi.v_45s[2014.03.01_TAI/1h]"
            async with client() as session:
                for _ in range(20):
                    await ask(session, url, ds)
                until, done = time.monotonic() + 5, 0

                async def one() -> None:
                    nonlocal done
                    async with client() as own:
                        while time.monotonic() < until:
                            await ask(own, url, ds)
                            done += 1

                await asyncio.gather(*(one() for _ in range(CLIENTS)))
                rates[count] = done / 5
    print(f"warm searches a second: {', '.join(f'{n} processes {rate:,.0f}' for n, rate in rates.items())}; "
          f"ratio {rates[options.processes] / rates[1]:.2f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overlap", "warm", "writers", "kills", "processes"])
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--how", choices=HOWS)
    parser.add_argument("--pause", type=float, default=6.0, help="seconds that a server is paused")
    parser.add_argument("--seconds", type=float, default=0.0, help="seconds after which no other round begins; 0: any number")
    parser.add_argument("--s3", action="store_true")
    options = parser.parse_args()
    os.environ["TESTS_FSYNC"] = "on"  # writes are synced, as in production
    asyncio.run(globals()[options.what](options))


if __name__ == "__main__":
    main()
