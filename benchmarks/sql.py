"""SQL through the mirror against PostgreSQL with the same rows, in the same run.

    python benchmarks/sql.py [--records N] [--store DIR] [--rounds N]

PostgreSQL (Debian's package) gets 20 columns of the same records by COPY, an index on the time of each table,
ANALYZE, and its own memory for sorting and shared buffers. The mirror is timed over HTTP, including the answer;
PostgreSQL by its own clock, without fetching the answer. Then: the first answer to a trivial statement, the rate
of a large answer to pandas, and the effect of four heavy statements on searches.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import http.client
import io
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from bulk import build
from common import INFO, Times, fetch, hardware, run_mirror, timed

import mirror as package
from mirror.daemon import DATABASE

#: A tenth as many records as BIG has, of the first years and spread over all of them.
BIG, FIRST, SPREAD = "hmi.V_45s", "hmi.M_45s", "hmi.Ic_45s"
TABLES = {"big": BIG, "first": FIRST, "spread": SPREAD}
#: The columns of both: those that people plot, and the times.
COLUMNS = """
    recnum t_rec t_rec_tai quality datamin datamax datamedn datamean datarms dataskew datakurt crlt_obs crln_obs
    car_rot obs_vr obs_vn obs_vw dsun_obs rsun_obs crota2
""".split()  # noqa: SIM905  (reads more easily)
_PG_TYPES = {"recnum": "bigint", "t_rec": "timestamp", "quality": "integer", "car_rot": "integer"}
#: Enough memory, a processor for every worker of a plan, and a disk without seek times.
_PG_SETTINGS = (
    "listen_addresses=", "shared_buffers=2GB", "work_mem=512MB", "effective_cache_size=6GB", "random_page_cost=1.1",
    f"max_parallel_workers_per_gather={os.cpu_count()}", "fsync=off", "max_wal_size=8GB",
)  # fmt: skip
HEAVY = "SELECT a.quality, count(*), sum(sqrt(abs(a.datamean * b.datamean))) FROM hmi.v_45s a JOIN hmi.v_45s b ON a.quality = b.quality AND a.recnum % 100000 = b.recnum % 100000 GROUP BY 1"

#: Statements that both understand, by their subject.
QUESTIONS = {
    "daily mean over all rows": "SELECT date_trunc('day', t_rec) AS day, avg(datamean) FROM {big} GROUP BY 1 ORDER BY 1",
    "filter on three keywords": "SELECT count(*), avg(crlt_obs) FROM {big} WHERE quality = 0 AND obs_vr > 1000 AND datarms < 700",
    "join by time, the first years": "SELECT count(*), avg(v.datamean * m.datamean) FROM {big} v JOIN {first} m ON v.t_rec = m.t_rec",
    "join by time, all years": "SELECT count(*), avg(v.datamean * m.datamean) FROM {big} v JOIN {spread} m ON v.t_rec = m.t_rec",
    "top 100": "SELECT t_rec, datamax FROM {big} ORDER BY datamax DESC NULLS LAST, t_rec LIMIT 100",
}


def postgres_programs() -> Path | None:
    """The folder of initdb and its like, of the newest version that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class Postgres:
    """A separate PostgreSQL cluster, and one session in it."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder = programs, folder
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    def __enter__(self) -> Self:
        if self._as:
            shutil.chown(self._folder, "postgres")
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync")
        options = " ".join((f"-k {self._folder}", *(f"-c {setting}" for setting in _PG_SETTINGS)))
        self._run("pg_ctl", "-D", data, "-w", "-l", str(self._folder / "log"), "-o", options, "start")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._as, str(self._programs / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
        )

    def psql(self, *commands: str, source: Path | None = None) -> str:
        """What psql prints for commands, which may copy from stdin."""
        arguments = [x for c in commands for x in ("-c", c)]
        command = [
            *self._as,
            "psql",
            "-h",
            str(self._folder),
            "-U",
            "postgres",
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            *arguments,
        ]
        with (source or Path(os.devnull)).open("rb") as given:
            return subprocess.run(
                command, check=True, stdin=given, stdout=subprocess.PIPE, text=True, cwd="/"
            ).stdout

    def milliseconds(self, sql: str) -> float:
        """How long a statement takes, by psql's own clock, with its answer discarded."""
        said = self.psql("\\o /dev/null", "\\timing on", sql)
        return float(re.findall(r"Time: ([\d.]+) ms", said)[-1])

    def rows(self, sql: str) -> list[list[str]]:
        """What a statement answers."""
        return list(csv.reader(io.StringIO(self.psql(f"COPY ({sql}) TO STDOUT (FORMAT csv)"))))

    def plan(self, sql: str) -> str:
        """Whether a statement runs in parallel, and which index it uses."""
        plan = self.psql(f"EXPLAIN {sql}")
        workers = re.search(r"Workers Planned: (\d+)", plan)
        indexes = sorted(set(re.findall(r"using (\w+)", plan)))
        return f"{workers[1] if workers else 0} workers" + "".join(f", {index}" for index in indexes)

    def load(self, table: str, file: Path) -> None:
        """A table with its natural index from a CSV file."""
        columns = ", ".join(f"{c} {_PG_TYPES.get(c, 'double precision')}" for c in COLUMNS)
        self.psql(
            f"CREATE TABLE {table} ({columns})", f"COPY {table} FROM STDIN (FORMAT csv, HEADER)", source=file
        )
        self.psql(f"CREATE INDEX ON {table} (t_rec)", f"VACUUM ANALYZE {table}")


def answer(url: str, sql: str, form: str = "json") -> bytes:
    """The answer to a statement over a connection of its own."""
    parts = urlsplit(url)
    http_client = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)
    http_client.request("POST", f"/api/sql?format={form}", sql.encode())
    response = http_client.getresponse()
    body = response.read()
    if response.status != 200:
        raise SystemExit(f"{sql}: {body.decode()}")
    return body


def same_rows(ours: list[list[object]], theirs: list[list[str]]) -> bool:
    """True if two answers are the same, except for the order in which floats were summed."""
    if len(ours) != len(theirs):
        return False
    pairs = [pair for row, other in zip(ours, theirs, strict=True) for pair in zip(row, other, strict=True)]
    return all(_same(a, b) for a, b in pairs)


def _same(a: object, b: str) -> bool:
    if isinstance(a, int | float):
        return math.isclose(a, float(b), rel_tol=1e-9)
    return ("" if a is None else str(a).replace("T", " ")) == b


def against_postgres(url: str, postgres: Postgres, rounds: int) -> None:
    print(f"\n{'statement':30} {'mirror':>12} {'PostgreSQL':>12}   ratio              PostgreSQL's plan")
    for what, statement in QUESTIONS.items():
        ours, theirs = statement.format(**TABLES), statement.format(**{name: name for name in TABLES})
        if not same_rows(json.loads(answer(url, ours))["rows"], postgres.rows(theirs)):
            raise SystemExit(f"{what}: the two answer differently")
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            times[0].append(timed(lambda ours=ours: answer(url, ours)))
            times[1].append(postgres.milliseconds(theirs))
        a, b = map(statistics.median, times)
        best = min(times[1]) / min(times[0])
        print(
            f"{what:30} {a:9.1f} ms {b:9.1f} ms   {b / a:5.1f} (best {best:5.1f})   {postgres.plan(theirs)}"
        )


def first_statement(url: str) -> None:
    """The very first, just after the start: a process is ready for it."""
    time.sleep(2.0)
    print(f"first statement of all           {timed(lambda: answer(url, 'SELECT 1')):7.2f} ms")


def small_and_large(url: str) -> None:
    later = Times()
    for _ in range(50):
        later.take(lambda: answer(url, "SELECT 1"))
    print(f"\ntrivial statement over HTTP      {later}")
    client = package.Client(url)
    columns = ", ".join(COLUMNS)
    last = client.sql(f"SELECT t_rec FROM {BIG} ORDER BY t_rec LIMIT 1 OFFSET 1000000")
    # A range, as people ask; LIMIT makes DuckDB buffer all rows first.
    until = "TRUE" if last.empty else f"t_rec < TIMESTAMP '{last.iloc[0, 0]}'"
    for kind in ("arrow", "pandas"):
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            table = client.sql(f"SELECT {columns} FROM {BIG} WHERE {until}", kind=kind)
            seconds.append(time.perf_counter() - started)
        size = table.nbytes if kind == "arrow" else table.memory_usage(deep=True).sum()
        print(
            f"{len(table):,} rows x {table.shape[1]} to {kind:7} {statistics.median(seconds):.2f} s, "
            f"{size / statistics.median(seconds) / 1e6:.0f} MB/s (best {size / min(seconds) / 1e6:.0f})"
        )


@contextmanager
def heavy(url: str, number: int) -> Iterator[None]:
    """So many heavy statements at a time, one after the other, until the end."""
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                answer(url, HEAVY)
            except (
                SystemExit,
                OSError,
                http.client.HTTPException,
            ):  # heavy statements run out of time; or it is the end
                continue

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    try:
        yield
    finally:
        done.set()


def searches(url: str, number: int) -> list[float]:
    """Milliseconds of searches for an hour of records each."""
    times = []
    for n in range(number):
        day = f"2010.0{5 + n % 4}.{1 + n % 28:02}"
        ds = f"{BIG}[{day}_{n % 24:02}:00:00_TAI/1h]"
        times.append(timed(lambda ds=ds: fetch(f"{url}{INFO}?op=rs_list&ds={ds}&key=T_REC,DATAMEAN,QUALITY")))
    return times


def beside_searches(url: str) -> None:
    searches(url, 50)
    idle = searches(url, 300)
    with heavy(url, 4):
        busy = searches(url, 300)
    p99 = [statistics.quantiles(times, n=100)[98] for times in (idle, busy)]
    medians = [statistics.median(times) for times in (idle, busy)]
    print(
        f"\nsearch of 81 records: median {medians[0]:.1f} ms idle, {medians[1]:.1f} ms beside four heavy statements "
        f"({medians[1] / medians[0]:.2f}); p99 {p99[0]:.1f} and {p99[1]:.1f} ms ({p99[1] / p99[0]:.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--store", type=Path, help="where the index is made, and kept for the next run")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    print(hardware())
    with tempfile.TemporaryDirectory(prefix="mirror-sql-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        store = given.store or folder / "store"
        if not (store / DATABASE).exists():
            asyncio.run(build(store, given.records, BIG))
            asyncio.run(build(store, given.records // 10, FIRST))
            asyncio.run(build(store, given.records // 10, SPREAD, every=10))
        with run_mirror(store, SQL__SECONDS="300s", UPSTREAM__POLICY="offline") as program:
            first_statement(program.url)
            columns = ", ".join(COLUMNS)
            sealing = [
                timed(lambda s=s: answer(program.url, f"SELECT count(*) FROM {s}")) for s in TABLES.values()
            ]
            print(
                f"sealing the lake: {sum(sealing) / 1e3:.1f} s, a second look {timed(lambda: answer(program.url, f'SELECT count(*) FROM {BIG}')):.1f} ms"
            )
            programs = postgres_programs()
            if programs is None:
                print("PostgreSQL is not installed (apt-get install postgresql): no comparison")
            else:
                (folder / "pg").mkdir()
                with Postgres(programs, folder / "pg") as postgres:
                    for table, series in TABLES.items():
                        file = folder / f"{table}.csv"
                        file.write_bytes(answer(program.url, f"SELECT {columns} FROM {series}", "csv"))
                        postgres.load(table, file)
                        file.unlink()
                    against_postgres(program.url, postgres, given.rounds)
            small_and_large(program.url)
            beside_searches(program.url)


if __name__ == "__main__":
    main()
