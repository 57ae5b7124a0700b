"""The real programs in processes of their own, for tests of what only a process can show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.forkserver import forkserver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from tests.forkserver import ForkServer

#: Variables that would lead a client, or the mirror's settings, elsewhere.
_ASIDE = ("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "MIRROR_URL", "MIRROR_CONFIG")
#: What sunpy is built on. It is itself loaded by the script of a user: it looks then which proxy there is.
CLIENTS = (
    "drms", "parfive", "reproject", "matplotlib.pyplot", "bs4", "zeep", "astropy.io.fits", "astropy.coordinates",
    "astropy.visualization.wcsaxes", "scipy.interpolate", "astropy.table", "astropy.time",
)  # fmt: skip
#: Seconds in which a program must be ready, or gone.
PATIENCE = 180.0
#: Seconds in which one ends that was asked to: five by the promise, but tests share their machine.
IN_TIME = 30.0


class Program:
    """A ``mirror`` command that was started; ``began`` is when, by the monotonic clock.

    ``url`` is where it says that it is ready.
    """

    def __init__(self, *arguments: str, cwd: Path | None = None, **more: str) -> None:
        self._arguments = arguments
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by close)
        self._url = ""
        reading, writing = os.pipe()
        self._words = os.fdopen(reading)
        self.began = time.monotonic()
        with Path(os.devnull).open("rb") as nothing:
            files = (nothing.fileno(), writing, self._errors.fileno())
            try:
                self.process = forkserver().start(
                    ("mirror", *arguments), env=environment(**more), files=files, cwd=cwd
                )
            finally:
                os.close(writing)

    @property
    def url(self) -> str:
        return self._url or self.ready()

    def ready(self) -> str:
        """Its address once it accepts requests; AssertionError with what it wrote if it ends instead."""
        line = self._words.readline()
        if not line.startswith("ready http://"):
            self.process.kill()
            self.process.wait(PATIENCE)
            raise AssertionError(f"{self._arguments}: {line!r} {self.errors()}")
        self._url = line.split()[1]
        return self._url

    def errors(self) -> str:
        """What it has written to stderr."""
        return _content(self._errors)

    def send(self, number: signal.Signals) -> float:
        """Send a signal that ends it; seconds until it was gone."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        return time.monotonic() - began

    def kill(self) -> float:
        """End it at once, as a power cut would."""
        return self.send(signal.SIGKILL)

    def terminate(self) -> tuple[int, str]:
        """Ask it to end; its exit code, and what it wrote to stderr."""
        self.process.terminate()
        return self.process.wait(PATIENCE), self.errors()

    def close(self) -> None:
        """End it, and let go of what it wrote."""
        self.kill()
        self._words.close()
        self._errors.close()


def environment(**more: str) -> dict[str, str]:
    """The environment of this process without what points at a mirror, and with ``more``."""
    kept = {k: v for k, v in os.environ.items() if k not in _ASIDE and not k.startswith("MIRROR_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


@contextmanager
def started(*arguments: str, **more: str) -> Iterator[Program]:
    """``mirror <arguments>``, perhaps not ready yet; killed in the end if it still runs."""
    made = Program(*arguments, **more)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def program(*arguments: str, **more: str) -> Iterator[Program]:
    """``mirror <arguments>`` that has printed where it is ready; killed in the end if it still runs."""
    with started(*arguments, **more) as made:
        made.ready()
        yield made


def simulate(world: Path, *arguments: str):
    """A simulator of a recorded world."""
    return program("simulate", "--port", "0", "--world", str(world), *arguments)


def serve(upstream: str, store: Path, **more: str):
    """A mirror in front of ``upstream``, with its store in ``store``."""
    settings = {
        "MIRROR_UPSTREAM__URL": upstream,
        "MIRROR_STORAGE__PATH": str(store),
        "MIRROR_SERVER__PORT": "0",
    }
    return program("serve", **settings, **more)


def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A Python script or module to its end, such as ``-m mirror status``; much of what it imports is loaded already."""
    return _run(forkserver(), arguments, more)


def run_client(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """The same for a script of a user, in a process that has loaded drms and what sunpy loads, and nothing of the mirror."""
    return _run(forkserver(*CLIENTS), arguments, more)


def _run(server: ForkServer, arguments: tuple[str, ...], more: dict[str, str]) -> subprocess.CompletedProcess[str]:
    with (
        Path(os.devnull).open("rb") as nothing,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        files = (nothing.fileno(), output.fileno(), errors.fileno())
        process = server.start(("python", *arguments), env=environment(**more), files=files)
        try:
            code = process.wait(PATIENCE)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, code, _content(output), _content(errors))


def interpret(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A Python script or module to its end in an interpreter of its own, which has loaded nothing."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def _content(file: IO[bytes]) -> str:
    # The place in the file is the program's: it is not to be moved.
    return os.pread(file.fileno(), 1 << 30, 0).decode(errors="replace")
