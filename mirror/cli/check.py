"""``mirror check``: verify everything that is cached, and repair what is damaged."""

from __future__ import annotations

import time

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mirror.api.maintenance import BEGIN_CHECK, CHECK, CheckBody, CheckProgress, CheckRun, Scope
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, one_of, remark, show, size_option
from mirror.humanize import counted, in_words

#: Seconds between two requests for progress.
_LOOK = 0.3


@click.command
@one_of("--files", "scope", "files", "all", help="Check files only: contents, links, partial downloads.")
@one_of("--index", "scope", "index", "all", help="Check the index only: records and coverage.")
@one_of("--all", "scope", "all", "all", help="Check both.  [default]")
@size_option("--budget", help="Stop after reading this much, such as 50GB; the next check continues there.")
@click.option("--restart", is_flag=True, help="Start over instead of resuming an unfinished check.")
@json_option
@url_option
@click.pass_context
def check(
    context: click.Context, scope: Scope, budget: int | None, restart: bool, as_json: bool, daemon: Daemon
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
    answer = daemon.ask(BEGIN_CHECK, CheckBody(scope=scope, budget=budget, restart=restart))
    if answer.joined:
        remark("a check is already running; waiting for it")
    if answer.resumed:
        remark("resuming an unfinished check; --restart starts over")
    answer = _watched(daemon, answer)
    if as_json:
        show(answer, "json")
    else:
        _print(answer)
    context.exit(0 if answer.ok else 1)


def _watched(daemon: Daemon, answer: CheckProgress) -> CheckProgress:
    """Wait for the end, with a line that shows the progress."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task("", state="", total=None)
        while answer.running:
            time.sleep(_LOOK)
            answer = daemon.ask(CHECK)
            if (run := answer.run) is not None:
                progress.update(
                    line,
                    total=len(run.steps),
                    completed=run.steps.index(run.step),
                    description=run.doing,
                    state=_looked_at(run),
                )
    return answer


def _print(answer: CheckProgress) -> None:
    columns = ("kind", "place", "problem", "action", "outcome")
    if answer.findings:
        show({"columns": columns, "rows": [[getattr(f, c) for c in columns] for f in answer.findings]}, "table")
    more = answer.more_findings or 0
    if more:
        remark(f"and {more:,} more findings")
    if (run := answer.run) is None:
        return
    ended = "" if run.ended_at else "; stopped before the end, the next check continues there"
    found = len(answer.findings) + more
    verdict = (
        "no problems"
        if not found
        else f"{counted(found, 'finding')}, {'all repaired' if answer.ok else 'not all could be repaired'}"
    )
    remark(f"{_looked_at(run)}: {verdict}{ended}")


def _looked_at(run: CheckRun) -> str:
    return f"{counted(run.files, 'file')}, {counted(run.records, 'record')}, {in_words(run.bytes)}"
