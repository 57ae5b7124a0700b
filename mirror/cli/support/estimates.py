"""What a command would ask JSOC for, told before it begins; ``--dry-run`` tells that and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from mirror.api.fills import ESTIMATE, Estimate, EstimateQuery
from mirror.cli.support.daemon import Daemon
from mirror.cli.support.output import remark, show

F = TypeVar("F", bound=Callable[..., Any])


def dry_run_option(command: F) -> F:
    """``--dry-run``; the function gets ``dry_run``."""
    words = "Only say how many records and files are missing, their bytes, and how long that takes."
    return click.option("--dry-run", is_flag=True, help=words)(command)


def estimate_of_export(daemon: Daemon, ds: str, seg: str | None, n: int | None) -> Estimate:
    """The estimate of the files of a record set; raises as ``Daemon.ask`` does."""
    return daemon.ask(ESTIMATE, EstimateQuery(ds=ds, seg=seg or "", n=n, export=True))


def told_before(estimate: Callable[[], Estimate]) -> None:
    """Says on stderr what is about to be asked of JSOC, if something is.

    Where there is no estimate the command goes on, and says itself what is wrong with what was asked.
    """
    try:
        told = estimate()
    except click.ClickException:
        return
    if told.records != 0 or told.files != 0:
        _notes(told)
        remark(told.text)


def show_estimate(told: Estimate, *, as_json: bool) -> None:
    """The answer of a dry run: its line on stdout, notes on stderr; or all of it as JSON."""
    if as_json:
        show(told, "json")
        return
    _notes(told)
    click.echo(told.text)


def _notes(told: Estimate) -> None:
    for note in told.notes:
        remark(f"note: {note}")
