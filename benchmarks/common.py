"""Shared by the benchmarks: programs started and stopped, times taken, and how figures are printed."""

from __future__ import annotations

import http.client
import os
import platform
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

#: Nobody listens there, so that a warm search that asks upstream fails instead of going unnoticed.
NOWHERE = "http://127.0.0.1:1"
INFO = "/cgi-bin/ajax/jsoc_info"


@dataclass(frozen=True)
class Program:
    """A program of ours that accepts requests at ``url``."""

    url: str
    process: subprocess.Popen[str]

    def memory(self, what: str = "VmRSS") -> float:
        """Resident memory in MB (10**6 bytes); ``VmHWM`` is the most there ever was."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition(f"{what}:")[2].split()[0]) * 1024 / 1e6

    def cpu(self) -> float:
        """Processor seconds since the start."""
        return processor_seconds(self.process.pid)


def processor_seconds(pid: int) -> float:
    """The processor time that a process has used since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy(processes: Sequence[int]) -> float:
    """The same for several processes, to the nanosecond, without threads that have ended."""
    told = (path.read_text().split() for pid in processes for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(words[0]) for words in told) / 1e9


@contextmanager
def run_simulator(*options: str) -> Iterator[Program]:
    """A simulator of JSOC, with options of ``mirror simulate``."""
    with _program("simulate", "--port", "0", *options) as program:
        yield program


@contextmanager
def run_mirror(store: Path, *, upstream: str = NOWHERE, **settings: str) -> Iterator[Program]:
    """A mirror on ``store``; ``settings`` are environment variables, as in ``FILL__CHUNK_RECORDS="100"``."""
    given = {"SERVER__PORT": "0", "STORAGE__PATH": str(store), "UPSTREAM__URL": upstream, **settings}
    with _program("serve", **{f"MIRROR_{name}": value for name, value in given.items()}) as program:
        yield program


@contextmanager
def _program(*arguments: str, **environment: str) -> Iterator[Program]:
    command = [sys.executable, "-m", "mirror", *arguments]
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            raise SystemExit(f"{' '.join(command)} did not start")
        yield Program(words[1], process)
    finally:
        process.terminate()
        process.wait(30)


def rs_list_url(base: str, ds: str, **parameters: str) -> str:
    """The address that asks ``base`` for records; without parameters for all keywords."""
    asked = {"op": "rs_list", "ds": ds, **(parameters or {"key": "**ALL**"})}
    return f"{base}{INFO}?{urllib.parse.urlencode(asked)}"


def fetch(url: str) -> bytes:
    """The body of one GET over a new connection, as drms asks."""
    with urllib.request.urlopen(url, timeout=600) as response:
        body: bytes = response.read()
    return body


class Connection:
    """GETs over one connection that stays open."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self._http = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=600)

    def get(self, url: str) -> tuple[bytes, Mapping[str, str]]:
        """Body and headers."""
        parts = urllib.parse.urlsplit(url)
        self._http.request("GET", f"{parts.path}?{parts.query}")
        response = self._http.getresponse()
        return response.read(), response.headers


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that ``work`` takes."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e3


@dataclass
class Times:
    """Milliseconds of one thing, measured several times."""

    values: list[float] = field(default_factory=list)

    def take(self, work: Callable[[], object]) -> None:
        """Measure once more."""
        self.values.append(timed(work))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def __str__(self) -> str:
        ordered = sorted(self.values)
        return f"{self.median:7.2f} ms  (best {ordered[0]:.2f}, 9 of 10 below {ordered[len(ordered) * 9 // 10]:.2f})"


def hardware() -> str:
    """The machine and the libraries, in one line."""
    import duckdb

    model = next((x.split(": ")[1] for x in Path("/proc/cpuinfo").open() if x.startswith("model name")), "?")
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} cores {model.strip()}, Python {platform.python_version()}, "
        f"duckdb {duckdb.__version__}, load {load:.1f} at the start"
    )
