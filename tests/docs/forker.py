"""Runs the commands of pages in forks of one process that has loaded everything once.

A page is full of ``mirror ...``; each in a process of its own would take a second to load. So ``bin/mirror`` and
``bin/python`` in a test's PATH are small programs that hand their arguments, folder, environment and open files to
this one, which forks. To the shell they are what they stand for: pipes, redirections and exit codes hold.

``python -m tests.docs.forker SOCKET`` prints "ready" when it listens.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mirror.simulator.synthetic.structure import Blueprint

#: What hands a command over; {python} and {socket} are filled in.
CLIENT = """\
#!{python} -IS
import json, os, socket, sys
mother = socket.socket(socket.AF_UNIX)
mother.connect({socket!r})
asked = json.dumps({{"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ)}}).encode() + b"\\n"
socket.send_fds(mother, [asked[:1]], [0, 1, 2])
mother.sendall(asked[1:])
pid, code = 0, b""
with mother.makefile("rb") as words:
    pid = int(words.readline())
    code = words.readline()
sys.exit(int(code) if code else 137)
"""


def main(path: str) -> None:
    """Serve until killed."""
    _load()
    with socket.socket(socket.AF_UNIX) as mother:
        mother.bind(path)
        mother.listen(64)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        print("ready", flush=True)  # noqa: T201
        while True:
            client, _ = mother.accept()
            if os.fork() == 0:
                mother.close()
                _child(client)
            client.close()


def _load() -> None:
    import drms  # noqa: F401
    import pandas as pd  # noqa: F401

    import mirror.client.remote
    import mirror.daemon
    import mirror.simulator.app  # noqa: F401
    from mirror.cli.main import COMMANDS, main

    for name in COMMANDS:
        main.get_command(None, name)


def _child(client: socket.socket) -> None:
    first, fds, _, _ = socket.recv_fds(client, 1, 3)
    with client.makefile("rb") as words:
        asked = json.loads(first + words.readline())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    worker = os.fork()
    if worker == 0:
        _work(asked, fds)
    for fd in fds:
        os.close(fd)
    client.sendall(f"{worker}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    with suppress(BrokenPipeError):  # whoever asked has gone
        client.sendall(f"{code if code >= 0 else 128 - code}\n".encode())
    os._exit(0)


def _work(asked: dict[str, Any], fds: list[int]) -> None:
    """Be the program that was asked for."""
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    code = _run(asked["argv"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run(argv: list[str]) -> int:
    sys.argv = argv
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(n, mode, encoding="utf-8", buffering=1, closefd=False) for n, mode in enumerate("rww")
    )
    try:
        {"mirror": _mirror, "python": _python, "session": _session}[Path(argv[0]).name](argv[1:])
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  (the exit code tells it, as everywhere)
        traceback.print_exc()
        return 1
    return 0


def _mirror(arguments: list[str]) -> None:
    if os.environ.get("DOCS_BRIEFLY"):
        _stop_when_ready()
    if arguments[:1] == ["simulate"]:
        _small_pictures()
    from mirror.cli.main import main

    main(arguments, prog_name="mirror")


def _stop_when_ready() -> None:
    """A server in the middle of a page is ready, and has shown all that there is to see."""
    import mirror.cli.serve
    import mirror.cli.simulate

    def announce(url: str) -> None:
        print(f"ready {url}", flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGTERM)

    mirror.cli.serve.announce = mirror.cli.simulate.announce = announce


def _small_pictures() -> None:
    """A day of pictures of the whole disk is 1.5 GB; a thousandth of that shows the same."""
    from mirror.simulator.synthetic import catalogue

    load = catalogue.load

    def smaller(name: str) -> Blueprint:
        made = load(name)
        segments = (replace(s, dims=s.dims.replace("4096", "128")) for s in made.series.segments)
        return replace(made, series=replace(made.series, segments=tuple(segments)))

    catalogue.load = smaller


def _python(arguments: list[str]) -> None:
    kind, *rest = arguments
    sys.path.insert(0, str(Path.cwd()))
    sys.argv = arguments
    if kind == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        exec(rest[0], {"__name__": "__main__"})
    else:
        runpy.run_path(kind, run_name="__main__")


def _session(_: list[str]) -> None:
    """Blocks of Python, one JSON text a line, in one namespace; answers null, or what went wrong."""
    names: dict[str, object] = {"__name__": "__main__"}
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        problem = None
        try:
            exec(compile(json.loads(line), "block", "exec"), names)
        except BaseException:  # noqa: BLE001  (whoever asked is told)
            problem = traceback.format_exc()
        print(json.dumps(problem), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
