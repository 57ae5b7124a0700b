"""Files: held and exported ones against nginx, assembling against copying, and many clients that wait for one download.

    python benchmarks/files.py [--rounds 7] [--clients 1 8 50] [--workers 1] [--upstream 0 2 5] [--only held]

All with magnetograms of the simulator, 12.4 MB each, Rice compressed. The clients are one process of their
own, which reads into one buffer and throws away, so that the servers are what is measured.

    held        the same file of the store from the mirror and from nginx (sendfile on, with so many worker
                processes; it must be installed), in turn, over connections that stay open
    exported    the same for a `fits` file: nginx has it on the disk, the mirror puts it together while it sends
    small       files of some 190 kB, one after the other over one connection, each another one: files a processor second
                of the mirror, and of nginx with one of them
    assembling  what an export does for a `fits` file: new headers made, and those of some files kept in the
                database; against copying the archived file, a copy that is hashed and synced, and the whole
                file made and written beside
    arriving    one file that is not held to 50 clients at once, from an upstream that takes so many seconds
                for it; against one client that asks that upstream itself

The memory is that of the mirror at its most, above what it was just before.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import hashlib
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing import get_context
from pathlib import Path

from common import (
    Connection,
    Program,
    Times,
    busy,
    fetch,
    hardware,
    processor_seconds,
    rs_list_url,
    run_mirror,
    run_simulator,
)

from mirror.config.loading import load_config
from mirror.daemon import DATABASE
from mirror.drms.export import ExportRequest, Protocol
from mirror.drms.times import format_time, parse_time
from mirror.fits import Exporter, RecordValues, read_archive
from mirror.readthrough.filler import Filler
from mirror.readthrough.first_last import FirstLast
from mirror.readthrough.policy import Rules
from mirror.readthrough.records import Records
from mirror.readthrough.structures import Catalogue
from mirror.services.exports.assembling import Assembler
from mirror.services.exports.content import ReplacedHeader
from mirror.services.exports.jobs import Job, JobFile, Jobs
from mirror.services.exports.planning import ExportPlanner, Plan
from mirror.services.search.search import Search
from mirror.storage.database.database import Database
from mirror.storage.files.blobs import Blobs
from mirror.storage.files.table import Blob
from mirror.storage.index.index import Index
from mirror.upstream.client import UpstreamClient

SERIES, SEGMENT = "hmi.M_45s", "magnetogram"
FIRST, STEP = "2014.01.01_TAI", 45.0
MANY = 50
PIECE = 256 * 1024
#: Files of an export whose making is measured as a whole.
OF_ONE_JOB = 20
#: Small files, and how often each is asked for.
SMALL, AGAIN = 40, 25
#: Bytes that one client of several takes in one measurement, at the least.
AT_LEAST = 1.5e9


# ---- the clients, in a process of their own ------------------------------------------------------


class Client(asyncio.BufferedProtocol):
    """Asks for one path so many times over one connection, and counts what comes."""

    def __init__(self, path: str, files: int) -> None:
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self._files = files
        self._head = b""
        self._left = 0
        self._buffer = memoryview(bytearray(PIECE))
        self.bytes = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def get_buffer(self, _: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        body = nbytes if self._left else self._after_head(nbytes)
        self._left -= body
        self.bytes += body
        if self._left or self._head:
            return
        self._files -= 1
        if self._files:
            self._transport.write(self._request)
        else:
            self.ended.set_result(None)
            self._transport.close()

    def _after_head(self, nbytes: int) -> int:
        self._head += bytes(self._buffer[:nbytes])
        head, end, body = self._head.partition(b"\r\n\r\n")
        if not end:
            return 0
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1"))
        self._left = int(head.lower().partition(b"content-length:")[2].split()[0])
        self._head = b""
        return len(body)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("the server hung up"))


def download(url: str, clients: int, files: int) -> tuple[float, int]:
    """Seconds from the first connection to the last byte of all, and the bytes that came."""
    return asyncio.run(_download(url, clients, files))


async def _download(url: str, clients: int, files: int) -> tuple[float, int]:
    parts, loop = urllib.parse.urlsplit(url), asyncio.get_running_loop()
    started = time.perf_counter()
    connect = (
        loop.create_connection(lambda: Client(parts.path, files), parts.hostname or "", parts.port or 80)
        for _ in range(clients)
    )
    made = [protocol for _, protocol in await asyncio.gather(*connect)]
    await asyncio.gather(*(client.ended for client in made))
    return time.perf_counter() - started, sum(client.bytes for client in made)


@dataclass(frozen=True)
class Clients:
    """The process of the clients."""

    pool: ProcessPoolExecutor

    def download(self, url: str, clients: int = 1, files: int = 1) -> tuple[float, int]:
        """See ``download``."""
        return self.pool.submit(download, url, clients, files).result(600)


# ---- what is downloaded --------------------------------------------------------------------------


def record(number: int) -> str:
    """The query of a record."""
    return f"{SERIES}[{format_time(parse_time(FIRST) + number * STEP)}]"


def path_of(upstream: Program, number: int) -> str:
    """Where the file of a record lies in the archive; the simulator has made it and keeps it."""
    answer = json.loads(fetch(rs_list_url(upstream.url, record(number), key="T_REC", seg=SEGMENT)))
    path: str = answer["segments"][0]["values"][0]
    fetch(upstream.url + path)
    return path


def wait_until_held(url: str) -> None:
    """Return once the mirror has the file in its store: the last byte comes before that."""
    for _ in range(100):
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as answer:
            if answer.headers["X-Mirror"] == "local":
                return
        time.sleep(0.05)
    raise SystemExit(f"{url} is not kept")


@contextmanager
def both() -> Iterator[tuple[Program, Program, Path]]:
    """A simulator, an empty mirror in front of it, and the mirror's store."""
    with (
        tempfile.TemporaryDirectory() as store,
        run_simulator() as upstream,
        run_mirror(Path(store), upstream=upstream.url) as server,
    ):
        yield upstream, server, Path(store)


def blob_of(store: Path) -> Path:
    """The largest file of a store."""
    return max((store / "blobs").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)


# ---- held: against nginx -------------------------------------------------------------------------

NGINX = """
daemon off; pid {folder}/pid; error_log stderr; {user} worker_processes {workers};
events {{ worker_connections 1024; }}
http {{
    access_log off; keepalive_requests 1000000000; sendfile on; tcp_nopush on; default_type image/fits;
    client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
    uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
    server {{ listen 127.0.0.1:{port}; location = /file.fits {{ alias {file}; }} }}
}}
"""


@contextmanager
def run_nginx(file: Path, workers: int) -> Iterator[tuple[str, list[int]]]:
    """The address under which nginx serves a file, and the numbers of its worker processes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        user = f"user {getpass.getuser()};" if os.getuid() == 0 else ""
        text = NGINX.format(folder=folder, file=file, port=port, workers=workers, user=user)
        config = Path(folder, "nginx.conf")
        config.write_text(text)
        command = ["nginx", "-p", folder, "-e", "stderr", "-c", str(config)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            while len(children := Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()) < workers:
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/file.fits", [int(pid) for pid in children]
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(port: int) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("nginx did not start")


def held(clients: Clients, numbers: Sequence[int], rounds: int, workers: int) -> None:
    """MB a second of both servers, and their ratio, for each number of clients."""
    with both() as (upstream, server, store):
        path = path_of(upstream, 0)
        fetch(server.url + path)
        wait_until_held(server.url + path)
        _compare("held", clients, server, path, blob_of(store), numbers, rounds, workers)


def exported(clients: Clients, numbers: Sequence[int], rounds: int, workers: int) -> None:
    """The same of an exported file, of which nginx has a copy on the disk."""
    with both() as (upstream, server, _), tempfile.TemporaryDirectory() as folder:
        path_of(upstream, 0)
        path = export_of(server, 0)
        copy = Path(folder, "copy.fits")
        copy.write_bytes(fetch(server.url + path))
        _compare("exported", clients, server, path, copy, numbers, rounds, workers)


def small(rounds: int) -> None:
    """Small files for each processor second of both servers."""
    ds, segment = "hmi.sharp_cea_720s[377][2011.02.14_TAI/1d]", "magnetogram"
    with both() as (upstream, server, store):
        answer = json.loads(fetch(rs_list_url(upstream.url, ds, key="T_REC", seg=segment)))
        paths = answer["segments"][0]["values"][:SMALL]
        fetch(rs_list_url(server.url, ds, key="T_REC", seg=segment))
        for path in paths:
            fetch(server.url + path)
            wait_until_held(server.url + path)
        with run_nginx(blob_of(store), 1) as (nginx, processes):
            asked = {"nginx": ([nginx] * len(paths), processes),
                     "mirror": ([server.url + path for path in paths], [server.process.pid])}  # fmt: skip
            rates: dict[str, list[float]] = {name: [] for name in asked}
            for _ in range(rounds):
                for name, (urls, pids) in asked.items():
                    connection = Connection(urls[0])
                    before = busy(pids)
                    for url in urls * AGAIN:
                        connection.get(url)
                    rates[name].append(len(urls) * AGAIN / (busy(pids) - before))
            theirs, ours = (statistics.median(rates[name]) for name in asked)
            print(
                f"small files a processor second: nginx {theirs:,.0f}, mirror {ours:,.0f}; "
                f"mirror / nginx = {ours / theirs:.3f}; load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


def export_of(server: Program, number: int) -> str:
    """The path of the `fits` file of a record, once it is exported."""
    asked = {"ds": f"{record(number)}{{{SEGMENT}}}", "protocol": "fits"}
    request = urllib.request.Request(
        f"{server.url}/api/jobs", json.dumps(asked).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        job = json.loads(answer.read())
    while job["state"] not in ("done", "failed"):
        time.sleep(0.001)
        job = json.loads(fetch(f"{server.url}/api/jobs/{job['id']}"))
    path: str = job["files"][0]["path"]
    return path


def _compare(
    what: str,
    clients: Clients,
    server: Program,
    path: str,
    file: Path,
    numbers: Sequence[int],
    rounds: int,
    workers: int,
) -> None:
    with run_nginx(file, workers) as (nginx, processes):
        data = fetch(server.url + path)
        assert fetch(nginx) == data
        for number in numbers:
            files, before = max(1, round(AT_LEAST / len(data) / number)), _begin_memory(server)
            both_servers = (nginx, processes), (server.url + path, [server.process.pid])
            took = [[_took(clients, *each, number, files) for each in both_servers] for _ in range(rounds)]
            _tell(what, number, workers, took, server.memory("VmHWM") - before)


def _tell(what: str, number: int, workers: int, took: list[list[tuple[float, float]]], memory: float) -> None:
    (theirs, cpu), (ours, our_cpu) = (
        (statistics.median(pair[i][0] for pair in took), statistics.median(pair[i][1] for pair in took))
        for i in (0, 1)
    )
    ratios = [mirror[0] / nginx[0] for nginx, mirror in took]
    print(
        f"{what}, {number:2} clients: nginx ({workers} workers) {theirs:5,.0f} MB/s, mirror {ours:5,.0f} MB/s; "
        f"mirror / nginx = {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); "
        f"processor seconds a GB {cpu:.2f} and {our_cpu:.2f}; "
        f"memory +{memory:.0f} MB; load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def _took(clients: Clients, url: str, pids: Sequence[int], number: int, files: int) -> tuple[float, float]:
    """MB a second, and the server's processor seconds a GB, which other programs disturb less."""
    before = sum(map(processor_seconds, pids))
    seconds, came = clients.download(url, number, files)
    return came / seconds / 1e6, (sum(map(processor_seconds, pids)) - before) / came * 1e9


def _begin_memory(server: Program) -> float:
    """Resident memory in MB from where ``VmHWM`` counts anew."""
    Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
    return server.memory()


# ---- arriving: one download for everybody --------------------------------------------------------


def arriving(clients: Clients, seconds: Sequence[float], rounds: int) -> None:
    """Last bytes at many clients against one who asks upstream itself."""
    numbers = count()
    with both() as (upstream, server, _):
        for pace in seconds:
            for _ in range(rounds):
                path = path_of(upstream, next(numbers))
                _slow_down(upstream, pace)
                alone, _ = clients.download(upstream.url + path)
                asked, before = _downloads(upstream, path), _begin_memory(server)
                taken, came = clients.download(server.url + path, MANY)
                _slow_down(upstream, 0)
                print(
                    f"arriving, {MANY} clients: upstream itself {alone:.2f} s, last of {came / 1e6:,.0f} MB after "
                    f"{taken:.2f} s: {taken / alone:.2f} times; "
                    f"downloads from upstream: {_downloads(upstream, path) - asked}; "
                    f"memory {before:.0f} MB +{server.memory('VmHWM') - before:.0f} MB",
                    flush=True,
                )


def _slow_down(upstream: Program, seconds: float) -> None:
    """Spread every download over so many seconds; 0: as fast as it can."""
    rules = [{"match": {"program": "file"}, "fault": "slow", "seconds": seconds}] if seconds else []
    data = json.dumps(rules).encode()
    headers = {"Content-Type": "application/json"}
    address = f"{upstream.url}/_simulator/faults"
    urllib.request.urlopen(urllib.request.Request(address, data, headers)).close()


def _downloads(upstream: Program, path: str) -> int:
    log = json.loads(fetch(f"{upstream.url}/_simulator/log"))
    return sum(e["program"] == "file" and e["params"]["path"] == path for e in log)


# ---- assembling: against copying -----------------------------------------------------------------


@dataclass(frozen=True)
class Workshop:
    """What makes exported files of archived ones, without a daemon around it."""

    planner: ExportPlanner
    assembler: Assembler
    blobs: Blobs
    jobs: Jobs


@asynccontextmanager
async def workshop(store: Path, upstream: str) -> AsyncIterator[Workshop]:
    """A workshop whose clock goes on a second with every look, so that no two files are the same."""
    looks = count()
    config = load_config(None, {"MIRROR_STORAGE__PATH": str(store), "MIRROR_UPSTREAM__URL": upstream})
    rules = Rules("fallback", config.freshness_of, lambda: datetime.now(UTC) + timedelta(seconds=next(looks)))
    database = await asyncio.to_thread(Database.open, store / DATABASE)
    client = UpstreamClient(upstream, timeout=60, queries=2, agent="benchmark", on_request=lambda _: None)
    try:
        index = await Index.load(database)
        catalogue, extremes = Catalogue(index, client, rules), FirstLast(index, client, rules)
        filler = Filler(index, client, rules, config.fill)
        records = Records(index, client, filler, extremes, rules, config.fill)
        blobs = await Blobs.open(store, database, now=rules.timestamp)
        planner = ExportPlanner(index, catalogue, records, Search(index, catalogue, records))
        yield Workshop(
            planner, Assembler(index, blobs, client, rules), blobs, Jobs(database, rules.timestamp)
        )
    finally:
        await client.close()
        await asyncio.to_thread(database.close)


async def assembling(rounds: int) -> None:
    """Times of the steps, and their ratios."""
    with tempfile.TemporaryDirectory() as folder, run_simulator() as upstream:
        async with workshop(Path(folder), upstream.url) as made:
            data = fetch(upstream.url + path_of(upstream, 0))
            request = ExportRequest(f"{record(0)}{{{SEGMENT}}}", protocol=Protocol("fits"))
            plan = await made.planner.plan(request)
            await made.assembler.prepare(plan)
            values = precise_values(upstream)
            await _measure_assembling(made, plan, values, data, Path(folder), rounds)


async def _measure_assembling(
    made: Workshop, plan: Plan, values: RecordValues, data: bytes, folder: Path, rounds: int
) -> None:
    archived = await _keep(made.blobs, data)
    exporter = Exporter(plan.series, SEGMENT)

    async def front() -> ReplacedHeader:
        new = await made.assembler.front(plan, plan.files[0], archived)
        assert new is not None
        return new

    async def fronts_kept(job: Job) -> None:
        fronts = [await front() for _ in range(OF_ONE_JOB)]
        rows = [JobFile("", f"{i}.fits", archived.sha256, f.whole, front=f) for i, f in enumerate(fronts)]
        await made.jobs.set_files(job.id, rows)

    names = "copied", "copied, hashed, synced", "assembled beside", "new headers", f"{OF_ONE_JOB} exported"
    times = {name: Times() for name in names}
    target = folder / "copy"
    with made.blobs.reading(archived) as source:
        for number in range(rounds):
            job, _ = await made.jobs.submit("{}", str(number), day="20140101", name=str, same_since=0.0)
            for name, work in (
                (names[0], lambda: asyncio.to_thread(copy_after, b"", source, 0, target)),
                (names[1], lambda: asyncio.to_thread(copy_after, b"", source, 0, target, sync=True)),
                (names[2], lambda: asyncio.to_thread(assembled_beside, source, values, exporter, target)),
                (names[3], front),
                (names[4], lambda job=job: fronts_kept(job)),
            ):
                target.unlink(missing_ok=True)
                os.sync()  # what the one before left to be written is not charged to the next
                started = time.perf_counter()
                await work()
                times[name].values.append((time.perf_counter() - started) * 1e3)
    for name, taken in times.items():
        print(f"assembling, {len(data) / 1e6:.1f} MB: {name:22} {taken}")
    each = times[names[4]].median / OF_ONE_JOB
    print(f"assembling: a file of {names[4]} / copied = {each / times[names[0]].median:.2f}")
    for one, base in ((names[3], names[0]), (names[3], names[1]), (names[2], names[0])):
        print(f"assembling: {one} / {base} = {times[one].median / times[base].median:.2f}")


async def _keep(blobs: Blobs, data: bytes) -> Blob:
    """A file into the store, in the pieces in which downloads come."""
    async with blobs.incoming(len(data)) as sink:
        for at in range(0, len(data), PIECE):
            await sink.write(data[at : at + PIECE])
        return await sink.keep(size=len(data))


def precise_values(upstream: Program) -> RecordValues:
    """The values of the first record with all their digits."""
    answer = json.loads(fetch(rs_list_url(upstream.url, record(0), key="*recnum*,**ALL**", M="1")))
    texts = {k["name"]: str(k["values"][0]) for k in answer["keywords"]}
    return RecordValues(int(texts.pop("*recnum*")), texts)


def assembled_beside(source: Path, values: RecordValues, exporter: Exporter, target: Path) -> None:
    """The exported file, written without the store."""
    with source.open("rb") as file:
        archive = read_archive(file.read(64 * 1024))
    assert archive is not None
    patch = exporter.assemble(archive, values, now=datetime.now(UTC))
    copy_after(patch.head, source, patch.copy_start, target)


def copy_after(head: bytes, source: Path, start: int, target: Path, *, sync: bool = False) -> None:
    """A new file: ``head``, then the rest of ``source``; hashed and made to last with ``sync``."""
    digest = hashlib.sha256()
    with source.open("rb") as old, target.open("wb") as new:
        new.write(head)
        old.seek(start)
        while piece := old.read(1024 * 1024):
            new.write(piece)
            if sync:
                digest.update(piece)
        if sync:
            new.flush()
            os.fsync(new.fileno())


def main() -> None:
    """Measure all, or one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 50])
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--upstream", type=float, nargs="+", default=[0, 2, 5])
    parser.add_argument("--only", choices=("held", "exported", "small", "assembling", "arriving"))
    options = parser.parse_args()
    print(hardware())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        clients = Clients(pool)
        pool.submit(os.getpid).result(60)  # it starts before anything is timed
        for name, measure in (("held", held), ("exported", exported)):
            if options.only in (None, name):
                for workers in options.workers:
                    measure(clients, options.clients, options.rounds, workers)
        if options.only in (None, "small"):
            small(options.rounds)
        if options.only in (None, "assembling"):
            asyncio.run(assembling(options.rounds * 3))
        if options.only in (None, "arriving"):
            arriving(clients, options.upstream, min(options.rounds, 3))
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
