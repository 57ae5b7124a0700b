"""``mirror check``: look at everything that is held, and mend what is damaged."""

from __future__ import annotations

import time

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mirror.api.maintenance import BEGIN_CHECK, CHECK, CheckProgress, CheckRun, CheckWish, Scope
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, remark, show, size_option
from mirror.humanize import counted, in_words

#: Seconds between two looks at how far it is.
_LOOK = 0.3


@click.command
@click.option(
    "--files", "scope", flag_value="files", help="Check files only: contents, links, partial downloads."
)
@click.option("--index", "scope", flag_value="index", help="Check the index only: records and coverage.")
@click.option("--all", "scope", flag_value="all", default=True, help="Check both.  [default]")
@size_option("--budget", help="Stop after reading this much, such as 50GB; the next check continues there.")
@click.option("--anew", is_flag=True, help="Start over instead of resuming an unfinished check.")
@json_option
@url_option
@click.pass_context
def check(
    context: click.Context, scope: Scope, budget: int | None, anew: bool, as_json: bool, daemon: Daemon
) -> None:
    """Verify all cached data and repair what is damaged.

    Compares every file with its hash, and every record with its printed values. Damaged data are set aside
    and fetched again from JSOC. An interrupted check resumes. The exit code is 0 if everything is fine or
    was repaired.

    \b
        mirror check
        mirror check --files --budget 100GB
        mirror check --index --json
    """
    told = daemon.ask(BEGIN_CHECK, CheckWish(scope=scope, budget=budget, anew=anew))
    if told.joined:
        remark("a check is already running; waiting for it")
    if told.resumed:
        remark("resuming an unfinished check; --anew starts over")
    told = _watched(daemon, told)
    if as_json:
        show(told, "json")
    else:
        _print(told)
    context.exit(0 if told.ok else 1)


def _watched(daemon: Daemon, told: CheckProgress) -> CheckProgress:
    """Wait for the end, with a line that says how far it is."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task("", told="", total=None)
        while told.running:
            time.sleep(_LOOK)
            told = daemon.ask(CHECK)
            if (run := told.run) is not None:
                progress.update(
                    line,
                    total=len(run.steps),
                    completed=run.steps.index(run.step),
                    description=run.doing,
                    told=_looked_at(run),
                )
    return told


def _print(told: CheckProgress) -> None:
    columns = ("kind", "place", "problem", "action", "outcome")
    if told.findings:
        show({"columns": columns, "rows": [[getattr(f, c) for c in columns] for f in told.findings]}, "table")
    more = told.more_findings or 0
    if more:
        remark(f"and {more:,} more findings")
    if (run := told.run) is None:
        return
    ended = "" if run.ended_at else "; stopped before the end, the next check continues there"
    found = len(told.findings) + more
    verdict = (
        "no problems"
        if not found
        else f"{counted(found, 'finding')}, {'all repaired' if told.ok else 'not all could be repaired'}"
    )
    remark(f"{_looked_at(run)}: {verdict}{ended}")


def _looked_at(run: CheckRun) -> str:
    return f"{counted(run.files, 'file')}, {counted(run.records, 'record')}, {in_words(run.bytes)}"
