"""Many clients at once, on one processor: the mirror, and other servers of the same records.

    python benchmarks/throughput.py [--store FOLDER] [--seconds 5] [--rounds 3] [--python PYTHON]

50 connections send one request after the other as fast as they get answers: for windows of 81 records with all
keywords, a different one each time, within ten days (*distinct*), and all for the same one (*identical*). Prints
answers per second of processor time of the server and all of its processes, and how long clients waited.

    mirror      ``mirror serve``
    nginx       a file of the same bytes as one answer, with sendfile
    postgres    the same rows in PostgreSQL (``apt-get install postgresql``), a text each value, with an index on the slot:
                aiohttp, asyncpg with ten connections, and orjson make the same columns of them, and nothing else
    datasette   the same rows in SQLite, with the same index

The last two need a Python with ``asyncpg orjson aiohttp datasette``: ``--python``; without it they are left out.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bulk import DAY, FIRST, SERIES
from common import Connection, Program, busy, hardware, rs_list_url, run_mirror
from files import run_nginx
from small import make_store
from sql import Postgres, postgres_programs

from mirror.daemon import DATABASE
from mirror.drms.times import format_time, parse_time

PARALLEL, RECORDS, DAYS = 50, 81, 10
CLIENT = """
import asyncio, sys, time, json
async def main(host, port, paths, seconds):
    times, end = [], time.perf_counter() + seconds
    async def one(mine):
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 22)
        at = 0
        while time.perf_counter() < end:
            began = time.perf_counter()
            writer.write(f"GET {mine[at % len(mine)]} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n".encode())
            at += 1
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).lower()
            assert b" 200 " in head.partition(b"\\r\\n")[0], head
            if b"content-length:" in head:
                await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
            else:
                while size := int(await reader.readline(), 16):
                    await reader.readexactly(size + 2)
                await reader.readline()
            times.append(time.perf_counter() - began)
        writer.close()
    await asyncio.gather(*(one(p) for p in paths))
    print(json.dumps(times))
asyncio.run(main(sys.argv[1], int(sys.argv[2]), json.load(sys.stdin), float(sys.argv[3])))
"""
HANDLER = """
import asyncpg, orjson, sys
from aiohttp import web
async def begin(app):
    app["pool"] = await asyncpg.create_pool(host=sys.argv[2], user="postgres", database="postgres", min_size=10, max_size=10)
async def answer(request):
    lo, hi = int(request.query["lo"]), int(request.query["hi"])
    rows = await request.app["pool"].fetch("SELECT * FROM v WHERE slot BETWEEN $1 AND $2 ORDER BY slot", lo, hi)
    names = list(rows[0].keys())
    columns = [{"name": n, "values": list(v)} for n, v in zip(names, zip(*rows))]
    body = orjson.dumps({"keywords": columns, "count": len(rows), "status": 0})
    return web.Response(body=body, content_type="application/json")
app = web.Application(); app.router.add_get("/v", answer); app.on_startup.append(begin)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=lambda *a: print("ready", flush=True), access_log=None)
"""


@dataclass
class Server:
    """A server: its address, its current processes, and the path of the window that begins at a slot."""

    name: str
    url: str
    processes: Callable[[], list[int]]
    path: Callable[[int], str]
    rates: dict[str, list[float]] = field(default_factory=dict)
    waits: dict[str, list[tuple[float, float]]] = field(default_factory=dict)


def below(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += map(int, task.read_text().split())
    return found


def load(server: Server, what: str, slots: list[list[int]], seconds: float) -> None:
    """50 clients for so many seconds."""
    parts, paths = urllib.parse.urlsplit(server.url), [[server.path(slot) for slot in mine] for mine in slots]
    before = busy(server.processes())
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, parts.hostname or "", str(parts.port), str(seconds)],
        input=json.dumps(paths), stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    spent, times = busy(server.processes()) - before, sorted(json.loads(done.stdout))
    server.rates.setdefault(what, []).append(len(times) / spent)
    server.waits.setdefault(what, []).append((times[len(times) // 2], times[len(times) * 99 // 100]))


# ---- the servers -----------------------------------------------------------------------------------


def path_of_mirror(slot: int) -> str:
    """The path that asks the mirror."""
    start = parse_time(FIRST) + 45 * slot
    url = urllib.parse.urlsplit(rs_list_url("http://x", f"{SERIES}[{format_time(start, 'TAI', 0)}/{45 * RECORDS}s]"))
    return f"{url.path}?{url.query}"


def rows_of(mirror: Program, days: int) -> tuple[list[str], Iterator[tuple[str, ...]]]:
    """The keywords of the first days, and their printed values; before them the slot, counted from the first day."""
    connection = Connection(mirror.url)

    def day(number: int) -> list[dict[str, list[str]]]:
        start = parse_time(FIRST) + 45 * DAY * number
        ds = f"{SERIES}[{format_time(start, 'TAI', 0)}/1d]"
        keywords: list[dict[str, list[str]]] = json.loads(connection.get(rs_list_url(mirror.url, ds))[0])["keywords"]
        return keywords

    def rows(keywords: list[dict[str, list[str]]]) -> Iterator[tuple[str, ...]]:
        columns = {str(column["name"]).lower(): column["values"] for column in keywords}
        slots = [str(round((parse_time(time) - parse_time(FIRST)) / 45)) for time in columns["t_rec"]]
        return zip(slots, *columns.values(), strict=True)

    names = ["slot", *(str(column["name"]).lower() for column in day(0))]
    return names, (row for n in range(days) for row in rows(day(n)))


@contextlib.contextmanager
def postgres_server(mirror: Program, days: int, python: str) -> Iterator[Server]:
    """PostgreSQL with the rows, and a handler in front of it."""
    programs = postgres_programs()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed")
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        Path(scratch).chmod(0o755)
        folder = Path(scratch, "pg")
        folder.mkdir()
        cluster = stack.enter_context(Postgres(programs, folder))
        names, rows = rows_of(mirror, days)
        file = Path(scratch, "rows.tsv")
        with file.open("w") as out:
            for row in rows:
                out.write("\t".join(value.replace("\\", "\\\\") for value in row) + "\n")
        columns = ", ".join(f'"{n}" {"bigint" if n == "slot" else "text"}' for n in names)
        cluster.psql(f"CREATE TABLE v ({columns})", "COPY v FROM STDIN", source=file)
        cluster.psql("CREATE INDEX ON v (slot)", "VACUUM ANALYZE v")
        server_pid = int(Path(folder, "data", "postmaster.pid").read_text().split()[0])
        url, process = stack.enter_context(started([python, "-c", HANDLER], str(folder)))
        yield Server(
            "postgres", url, lambda: [*below(process), *below(server_pid)],
            lambda slot: f"/v?lo={slot}&hi={slot + RECORDS - 1}",
        )  # fmt: skip


@contextlib.contextmanager
def datasette_server(mirror: Program, days: int, python: str) -> Iterator[Server]:
    """Datasette on SQLite with the rows."""
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        file = Path(scratch, "held.db")
        names, rows = rows_of(mirror, days)
        with contextlib.closing(sqlite3.connect(file)) as made:
            columns = ", ".join(f'"{n}" {"INTEGER" if n == "slot" else "TEXT"}' for n in names)
            made.execute(f"CREATE TABLE v ({columns})")
            made.executemany(f"INSERT INTO v VALUES ({', '.join('?' * len(names))})", rows)
            made.execute("CREATE INDEX by_slot ON v (slot)")
            made.commit()
        options = ["-m", "datasette", "serve", "-i", str(file), "--setting", "facet_time_limit_ms", "1", "--port"]
        url, process = stack.enter_context(started([python, *options], ready=False))
        parameters = "_shape=arrays&_size=100&_nocount=1&_nofacet=1&_sort=slot"
        yield Server(
            "datasette", url, lambda: below(process),
            lambda slot: f"/held/v.json?{parameters}&slot__gte={slot}&slot__lte={slot + RECORDS - 1}",
        )  # fmt: skip


@contextlib.contextmanager
def started(command: list[str], *more: str, ready: bool = True) -> Iterator[tuple[str, int]]:
    """A program that gets a port as argument, once it listens: its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = subprocess.PIPE if ready else subprocess.DEVNULL  # a pipe that nobody reads holds up whoever writes a log to it
    process = subprocess.Popen([*command, str(port), *more], stdout=told, stderr=subprocess.DEVNULL, text=True)
    try:
        if process.stdout is not None:
            process.stdout.readline()
        for _ in range(600):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def nginx_server(mirror: Program) -> Iterator[Server]:
    """Nginx with a file of the bytes of one answer."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        file = Path(folder, "answer.json")
        file.write_bytes(Connection(mirror.url).get(f"{mirror.url}{path_of_mirror(0)}")[0])
        with run_nginx(file, 1) as (address, processes):
            parts = urllib.parse.urlsplit(address)
            yield Server("nginx", f"http://{parts.netloc}", lambda: processes, lambda _: parts.path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", help="with asyncpg, orjson, aiohttp and datasette")
    options = parser.parse_args()
    chance = random.Random(9)
    with contextlib.ExitStack() as stack:
        store = options.store or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (store / DATABASE).exists():
            make_store(store, options.records)
        mirror = stack.enter_context(run_mirror(store, UPSTREAM__POLICY="offline"))
        servers = [Server("mirror", mirror.url, lambda: [mirror.process.pid], path_of_mirror)]
        servers.append(stack.enter_context(nginx_server(mirror)))
        if options.python:
            days = options.records // DAY
            servers.append(stack.enter_context(postgres_server(mirror, days, options.python)))
            servers.append(stack.enter_context(datasette_server(mirror, days, options.python)))
        print(hardware())
        for _ in range(options.rounds):
            distinct = [[chance.randrange(DAYS * DAY - RECORDS) for _ in range(400)] for _ in range(PARALLEL)]
            for what, slots in (("distinct", distinct), ("identical", [[distinct[0][0]]] * PARALLEL)):
                for server in servers:
                    load(server, what, slots, options.seconds)
        for what in ("distinct", "identical"):
            for server in servers:
                half, last = (statistics.median(times) for times in zip(*server.waits[what], strict=True))
                print(
                    f"{what:10} {server.name:10} {statistics.median(server.rates[what]):7.0f} a processor second; "
                    f"median {half * 1e3:5.0f} ms, p99 {last * 1e3:5.0f} ms ({last / half:.1f} of the median)"
                )
        print(f"memory of the mirror {mirror.memory():.0f} MB, load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
