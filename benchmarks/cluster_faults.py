"""Faults at a chosen step of a fetch, within a mirror that runs as a process of its own: for ``cluster.py kills``.

``prepare`` is called in the process before the mirror starts. From then on each step looks for an order, the file named by
FAULT_ORDER with "step how" in it, deletes it, and does to its own process what it says:

- ``kill``: SIGKILL
- ``pause``: SIGSTOP; whoever gave the order sends SIGCONT
- ``session``: PostgreSQL ends all of this server's sessions
- ``wait``: waits until the file with ".reached" is deleted, so that something else can be stopped meanwhile

Steps are ``claimed`` (the flight is recorded), ``fetched`` (JSOC has answered), ``committed`` (here), ``put`` (the
object exists) and ``written`` (its row is in the journal).
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

STEPS = ("claimed", "fetched", "committed", "put", "written")


def prepare(argv: list[str]) -> None:
    """Look for orders at each step, if this is to be a mirror."""
    if "serve" not in argv:
        return
    from mirror.cluster.writer import JournalWriter
    from mirror.storage.index.index import Index

    order = Path(os.environ["FAULT_ORDER"])
    make, keep = JournalWriter.__init__, Index.keep

    def made(self: JournalWriter, *arguments: Any) -> None:
        make(self, *arguments)
        self.step = lambda step: _obey(order, step.name)

    async def kept(self: Index, *arguments: Any, **more: Any) -> None:
        _obey(order, "fetched")
        await keep(self, *arguments, **more)

    JournalWriter.__init__, Index.keep = made, kept  # type: ignore[method-assign]


def _obey(order: Path, step: str) -> None:
    if not order.exists():
        return
    wanted, how = order.read_text().split()
    if wanted != step:
        return
    reached = order.with_suffix(".reached")
    order.rename(reached)
    if how in ("kill", "pause"):
        os.kill(os.getpid(), signal.SIGKILL if how == "kill" else signal.SIGSTOP)
    elif how == "session":
        import psycopg

        with psycopg.connect(os.environ["MIRROR_CLUSTER__DATABASE"], autocommit=True) as connection:
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
            connection.execute(sql, (f"jsoc-mirror {os.environ['MIRROR_CLUSTER__NAME']}",))
    else:
        until = time.monotonic() + 30
        while reached.exists() and time.monotonic() < until:
            time.sleep(0.01)
