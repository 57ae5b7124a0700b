"""``mirror demo``: a simulated JSOC, a mirror in front of it, and the tutorials through it, twice."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from mirror.api.monitoring import STATUS
from mirror.cli.support.daemon import Daemon

_JSOC = "http://jsoc.stanford.edu"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one round: its result, how long it took, and what was asked upstream for it."""

    name: str
    result: str
    seconds: float
    requests: int


@click.command
@click.option("--upstream", metavar="URL", help=f"Use this server instead of a simulated one, such as {_JSOC}.")
@click.option(
    "--exit", "leave", is_flag=True, help="Exit at the end instead of keeping the mirror running."
)
def demo(upstream: str | None, leave: bool) -> None:
    """Try it: a simulated JSOC, a mirror in front of it, and unmodified drms and sunpy.

    Runs the first steps of the drms and sunpy tutorials through the mirror, twice, and shows the time and
    the requests to JSOC that each step took. Then keeps the mirror running until Ctrl-C.

    \b
        mirror demo
        mirror demo --exit
        mirror demo --upstream http://jsoc.stanford.edu      with the real JSOC
    """
    _check_clients()
    # Either way of ending it also ends what it started.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)
    console = Console(width=max(Console().width, 120))  # the summary is wide; lines may wrap elsewhere
    with ExitStack() as stack:
        store = stack.enter_context(tempfile.TemporaryDirectory(prefix="mirror-demo-"))
        source = upstream or stack.enter_context(_running(["simulate", "--port", "0"], {}))
        console.print(f"upstream  {source}" + ("" if upstream else "  (simulated data)"))
        settings = {
            "MIRROR_UPSTREAM__URL": source,
            "MIRROR_STORAGE__PATH": str(Path(store)),
            "MIRROR_SERVER__PORT": "0",
            "MIRROR_LOG__LEVEL": "warning",
        }
        mirror = stack.enter_context(_running(["serve"], settings))
        console.print(f"mirror    {mirror}\n")
        rounds = [_round(mirror, console, text) for text in ("first run", "second run")]
        console.print(_summary(*rounds))
        console.print(_advice(mirror))
        if not leave:
            console.print("The mirror keeps running. Press Ctrl-C to stop it.")
            with suppress(KeyboardInterrupt):
                signal.pause()


def _check_clients() -> None:
    missing = [name for name in ("drms", "sunpy") if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"the demo needs drms and sunpy; {' and '.join(missing)} cannot be imported. "
            "Install both: pip install 'jsoc-mirror[clients]'"
        )


@contextmanager
def _running(command: list[str], settings: dict[str, str]) -> Iterator[str]:
    """One of our own commands as a process; its address, once it is ready. It ends with the block."""
    process = subprocess.Popen(  # noqa: S603  (our own program)
        [sys.executable, "-m", "mirror", *command],
        env={name: value for name, value in os.environ.items() if name != "MIRROR_CONFIG"} | settings,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("ready "):
            raise click.ClickException(f"mirror {command[0]} did not start; see the messages above")
        yield line.split()[1]
    finally:
        process.terminate()
        process.wait()


def _round(mirror: str, console: Console, text: str) -> list[Step]:
    """Every step once, in a process that knows the mirror only as its proxy."""
    client = subprocess.Popen(  # noqa: S603  (our own program)
        [sys.executable, "-P", str(Path(__file__).parent / "support" / "demo_client.py")],
        env=os.environ | {"HTTP_PROXY": mirror},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    taken = []
    with client, console.status(f"{text}: starting drms and sunpy") as status:
        for line in client.stdout:
            name = json.loads(line)["step"]
            status.update(f"{text}: {name}")
            before = _requests(mirror)
            client.stdin.write("\n")
            client.stdin.flush()
            done: dict[str, Any] = json.loads(client.stdout.readline() or "{}")
            if not done:
                break
            taken.append(Step(name, done["result"], done["seconds"], _requests(mirror) - before))
    if client.returncode:
        raise click.ClickException("a client failed; see the messages above")
    return taken


def _requests(mirror: str) -> int:
    return Daemon(mirror).ask(STATUS).upstream.requests


def _summary(first: list[Step], second: list[Step]) -> Table:
    table = Table(title="The drms and sunpy tutorials through the mirror")
    for name in ("step", "result", "first run", "JSOC requests", "second run", "JSOC requests"):
        table.add_column(name, justify="left" if name in ("step", "result") else "right")
    for a, b in zip(first, second, strict=True):
        if a.result != b.result:
            raise click.ClickException(f"{a.name}: {a.result} in the first run, {b.result} in the second")
        table.add_row(a.name, a.result, _ms(a), str(a.requests), _ms(b), str(b.requests))
    asked = (sum(s.requests for s in steps) for steps in (first, second))
    table.add_section()
    times = (f"{1000 * sum(s.seconds for s in steps):.0f} ms" for steps in (first, second))
    (t1, t2), (n1, n2) = times, asked
    table.add_row("total", "", t1, str(n1), t2, str(n2))
    return table


def _ms(step: Step) -> str:
    return f"{1000 * step.seconds:.0f} ms"


def _advice(mirror: str) -> str:
    return (
        f"\nTry it:\n"
        f"  HTTP_PROXY={mirror} python your_script.py\n"
        f"  mirror search 'hmi.v_45s[2014.01.01_TAI/1h]' --key T_REC,CRLT_OBS --url {mirror}\n"
        f"  mirror coverage --url {mirror}\n"
    )
