"""Programs that start in a moment: a process that has loaded everything once, and forks one when asked.

What is forked is a process of its own with its own arguments, folder, environment and open files, and can be
killed like any other; only the second or two of imports is saved. It never outlives the process that asked.

``python -m tests.forkserver SOCKET [MODULE...]`` prints "ready" when it listens, and ends when its stdin does. With names of
modules it has loaded just those.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).parents[1]
#: A variable that names a module whose ``prepare`` is called in the fork, with the words of the command, before it runs.
PREPARE = "TESTS_PREPARE"
#: A program of the shell that is run in a fork; {python} and {socket} are filled in.
CLIENT = """\
#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({socket!r})
asked = json.dumps({{"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ)}}).encode() + b"\\n"
socket.send_fds(server, [asked[:1]], [0, 1, 2])
server.sendall(asked[1:])
pid, code = 0, b""
with server.makefile("rb") as words:
    pid = int(words.readline())
    code = words.readline()
sys.exit(int(code) if code else 137)
"""
_PR_SET_PDEATHSIG = 1


# ---- who asks ------------------------------------------------------------------------------------------


class Forked:
    """A program that runs; ``returncode`` is None until somebody has waited for its end."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._connection = connection

    def poll(self) -> int | None:
        """Its exit code, None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, seconds: float = 180) -> int:
        """Its exit code once it has ended, to the last of its threads; a negative one is the signal that killed it."""
        if self.returncode is None:
            self._connection.settimeout(seconds)
            said = b""
            while not said.endswith(b"\n") and (part := self._connection.recv(64)):
                said += part
            self._connection.close()
            self.returncode = int(said or -signal.SIGKILL)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class ForkServer:
    """Where programs are asked for; ``bin`` has a ``mirror`` and a ``python`` for the PATH of a shell.

    ``modules`` are all that it has loaded; without any it is what the programs of the mirror need.
    """

    def __init__(self, *modules: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="forks"))
        self._path = str(self._folder / "s")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MIRROR_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.forkserver", self._path, *modules],
            cwd=ROOT,
            env={**kept, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"
        self.bin = self._folder / "bin"
        self.bin.mkdir()
        for name in ("mirror", "python"):
            (self.bin / name).write_text(CLIENT.format(python=sys.executable, socket=self._path))
            (self.bin / name).chmod(0o755)

    def start(
        self, argv: Sequence[str], *, env: Mapping[str, str], files: Sequence[int], cwd: Path | None = None
    ) -> Forked:
        """Run ``mirror ...`` or ``python ...`` with stdin, stdout and stderr from ``files``."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        order = {"argv": list(argv), "cwd": str(cwd or Path.cwd()), "env": dict(env)}
        asked = json.dumps(order).encode() + b"\n"
        socket.send_fds(connection, [asked[:1]], list(files))
        connection.sendall(asked[1:])
        pid = b""
        while not pid.endswith(b"\n"):
            pid += connection.recv(1)
        return Forked(int(pid), connection)

    def close(self) -> None:
        """End the server, and all that it started."""
        self._process.kill()
        self._process.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)


_servers: dict[tuple[str, ...], ForkServer] = {}
_starting = threading.Lock()


def forkserver(*modules: str) -> ForkServer:
    """The server of this process that has loaded these modules, started when the first program is asked of it."""
    with _starting:
        if modules not in _servers:
            _servers[modules] = ForkServer(*modules)
            atexit.register(_servers[modules].close)
        return _servers[modules]


# ---- the server ----------------------------------------------------------------------------------------


def serve(path: str, *modules: str) -> None:
    """Fork what is asked for, until stdin ends."""
    for name in modules:
        importlib.import_module(name)
    if not modules:
        _load()
    gc.collect()
    gc.freeze()  # forks share these objects as long as nobody looks through them for cycles
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        print("ready", flush=True)  # noqa: T201
        while True:
            ready, _, _ = select.select([listening, 0], [], [], 1)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG) != (0, 0):
                    pass
            if 0 in ready:
                return
            if listening in ready:
                _accept(listening)


def _load() -> None:
    import drms  # noqa: F401

    import mirror.client.remote
    import mirror.daemon
    import mirror.simulator.app  # noqa: F401
    from mirror.cli.main import COMMANDS, main

    for name in COMMANDS:
        main.get_command(None, name)  # type: ignore[arg-type]


def _accept(listening: socket.socket) -> None:
    client, _ = listening.accept()
    if os.fork() == 0:
        listening.close()
        _end_with_parent()
        _watch(client)
    client.close()


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _watch(client: socket.socket) -> None:
    """Fork the program that a client asks for, and tell it first the process id, then the exit code."""
    first, files, _, _ = socket.recv_fds(client, 1, 3)
    with client.makefile("rb") as words:
        asked = json.loads(first + words.readline())
    worker = os.fork()
    if worker == 0:
        client.close()
        _end_with_parent()
        _become(asked, files)
    for number in (0, 1, *files):
        os.close(number)
    with suppress(BrokenPipeError):  # whoever asked has gone
        client.sendall(f"{worker}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
        client.sendall(f"{code}\n".encode())
    os._exit(0)


def _become(asked: dict[str, Any], files: list[int]) -> None:
    """Be the program that was asked for, to its end."""
    for number, fd in enumerate(files):
        os.dup2(fd, number)
    for fd in files:
        if fd > 2:
            os.close(fd)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    tempfile.tempdir = None
    code = _run(asked["argv"])
    # As the interpreter ends: threads, what is registered, streams.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _run(argv: list[str]) -> int:
    sys.argv = argv
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(n, mode, encoding="utf-8", buffering=1, closefd=False) for n, mode in enumerate("rww")
    )
    try:
        if name := os.environ.pop(PREPARE, ""):
            importlib.import_module(name).prepare(argv)
        {"mirror": _mirror, "python": _python}[Path(argv[0]).name](argv[1:])
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  (the exit code tells it, as everywhere)
        traceback.print_exc()
        return 1
    return 0


def _mirror(arguments: list[str]) -> None:
    from mirror.cli.main import main

    main(arguments, prog_name="mirror")


def _python(arguments: list[str]) -> None:
    kind, *rest = arguments
    sys.path.insert(0, str(Path.cwd()))
    sys.argv = arguments
    if kind == "-m" and rest[0] == "mirror":
        _mirror(rest[1:])
    elif kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        exec(rest[0], {"__name__": "__main__"})
    else:
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    serve(*sys.argv[1:])
