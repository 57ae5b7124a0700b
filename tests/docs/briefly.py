"""What differs for a program that a page shows, where it runs in a test: short lives, and small pictures."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.simulator.synthetic.structure import Blueprint


def prepare(argv: list[str]) -> None:
    """Called in a fork, before the program runs."""
    if argv[0].endswith("mirror"):
        if os.environ.get("DOCS_BRIEFLY"):
            _stop_when_ready()
        if argv[1:2] == ["simulate"] and "--side" not in argv:
            _small_pictures()


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


def session() -> None:
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
