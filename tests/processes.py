"""The real programs in processes of their own, for tests of what only a process can show."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Variables that would lead a client, or the mirror's settings, elsewhere.
_ASIDE = ("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "MIRROR_URL", "MIRROR_CONFIG")


class Program:
    """A running ``mirror`` command; ``url`` is where it said that it is ready."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> tuple[int, str]:
        """Ask it to end; its exit code, and what it wrote to stderr."""
        self.process.terminate()
        _, errors = self.process.communicate(timeout=10)
        return self.process.returncode, errors


def environment(**more: str) -> dict[str, str]:
    """The environment of this process without what points at a mirror, and with ``more``."""
    kept = {k: v for k, v in os.environ.items() if k not in _ASIDE and not k.startswith("MIRROR_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


@contextmanager
def program(*arguments: str, **more: str) -> Iterator[Program]:
    """``mirror <arguments>`` that prints where it is ready; killed in the end if it still runs."""
    command = [sys.executable, "-m", "mirror", *arguments]
    process = subprocess.Popen(
        command, env=environment(**more), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready http://"):
            process.kill()
            raise AssertionError(f"{command}: {line!r} {process.communicate()[1]}")
        yield Program(process, line.split()[1])
    finally:
        process.kill()
        process.communicate()


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
    """A Python script or module to its end, such as ``-m mirror status``."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
