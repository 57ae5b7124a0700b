"""Mirrors that start in a moment: a process that has imported the program once, and forks one when asked.

What is forked runs the ordinary command line in a process of its own, that can be killed like any other; only
the second or two of imports is saved. For tests that start hundreds of mirrors.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.processes import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Seconds in which a mirror must be ready, or say why not.
PATIENCE = 60.0
_PR_SET_PDEATHSIG = 1


@dataclass
class Forked:
    """A mirror; ``began`` is when it was asked for, by the monotonic clock."""

    pid: int
    output: Path
    began: float

    def ready(self) -> str:
        """Its address, once it accepts requests; AssertionError with what it wrote if it ends instead."""
        while True:
            words = self.output.read_text(errors="replace").partition("ready ")[2].split("\n")
            if len(words) > 1:
                return words[0].strip()
            assert self.runs(), self.output.with_suffix(".err").read_text(errors="replace")
            assert time.monotonic() - self.began < PATIENCE, "it does not become ready"
            time.sleep(0.005)

    def runs(self) -> bool:
        # To the last of its threads: only then is the store free.
        return Path(f"/proc/{self.pid}").exists()

    def send(self, number: signal.Signals) -> float:
        """Send a signal; seconds until the process was gone."""
        began = time.monotonic()
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        while self.runs():
            assert time.monotonic() - began < PATIENCE, f"signal {number} does not end it"
            time.sleep(0.002)
        return time.monotonic() - began

    def kill(self) -> float:
        """End it at once, as a power cut would."""
        return self.send(signal.SIGKILL)


class Nursery:
    """Makes mirrors; ``folder`` takes what they write."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._count = 0

    def start(self, *arguments: str, **settings: str) -> Forked:
        """``mirror <arguments>`` with these variables; nothing else of the environment counts."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._count += 1
        output = self._folder / f"{self._count % 20}.out"
        output.write_text("")
        began = time.monotonic()
        order = {"arguments": arguments, "settings": settings, "output": str(output)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Forked(int(self._process.stdout.readline()), output, began)


@contextmanager
def nursery(folder: Path) -> Iterator[Nursery]:
    """A nursery that is gone in the end, with what it made."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.nursery"], cwd=Path(__file__).parents[1], env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Nursery(process, folder)
    finally:
        process.kill()
        process.communicate()


def _become(order: Mapping[str, Any]) -> None:
    """Be a mirror from here on, and no longer than the nursery: nobody else would ever end it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    output = Path(order["output"])
    for number, path in ((1, output), (2, output.with_suffix(".err"))):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(fd, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(order["settings"])
    from mirror.cli.main import main

    main(list(order["arguments"]))


def run() -> None:
    """Fork a mirror for each line of stdin, and tell its process id."""
    import mirror.cli.serve
    import mirror.daemon  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead need nobody to wait for them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    run()
