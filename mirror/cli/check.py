"""``mirror check``: look at everything that is held, and mend what is damaged."""

from __future__ import annotations

import time

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mirror.api.maintenance import BEGIN_CHECK, CHECK, CheckBody, CheckProgress, CheckRun, Scope
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, remark, show, size_option
from mirror.humanize import counted, in_words

#: Seconds between two looks at how far it is.
_LOOK = 0.3


@click.command
@click.option(
    "--files", "scope", flag_value="files", help="Files only: contents, links, broken-off downloads."
)
@click.option("--index", "scope", flag_value="index", help="The index only: records and coverage.")
@click.option("--all", "scope", flag_value="all", default=True, help="Both, as without an option.")
@size_option("--budget", help="Stop after reading so much, such as 50GB; the next check goes on there.")
@click.option("--restart", is_flag=True, help="Start from the beginning, even if an earlier check was not finished.")
@json_option
@url_option
@click.pass_context
def check(
    context: click.Context, scope: Scope, budget: int | None, restart: bool, as_json: bool, daemon: Daemon
) -> None:
    """Look at everything that is held, and mend what is damaged.

    Each file is read and compared with its hash, each record with what it prints. What is damaged is put
    aside and asked from JSOC again. A check that was stopped goes on where it was. The exit code is 0 if
    all is well, or well again.

    \b
        mirror check
        mirror check --files --budget 100GB
        mirror check --index --json
    """
    answer = daemon.ask(BEGIN_CHECK, CheckBody(scope=scope, budget=budget, restart=restart))
    if answer.joined:
        remark("a check is running already; this waits for it")
    if answer.resumed:
        remark("going on with a check that was not finished; --restart starts from the beginning")
    answer = _watched(daemon, answer)
    if as_json:
        show(answer, "json")
    else:
        _print(answer)
    context.exit(0 if answer.ok else 1)


def _watched(daemon: Daemon, answer: CheckProgress) -> CheckProgress:
    """Wait for the end, with a line that says how far it is."""
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
        remark(f"and {more:,} findings more")
    if (run := answer.run) is None:
        return
    ended = "" if run.ended_at else "; stopped before the end, the next check goes on there"
    found = len(answer.findings) + more
    verdict = (
        "all is well"
        if not found
        else f"{counted(found, 'finding')}, {'all mended' if answer.ok else 'not all could be mended'}"
    )
    remark(f"{_looked_at(run)}: {verdict}{ended}")


def _looked_at(run: CheckRun) -> str:
    return f"{counted(run.files, 'file')}, {counted(run.records, 'record')}, {in_words(run.bytes)}"
