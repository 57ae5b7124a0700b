"""``mirror fill``: make the mirror fetch all missing records of a record set, however many."""

from __future__ import annotations

from http.client import FORBIDDEN

import click

from mirror.api.contract import UNSET, plain
from mirror.api.exports import JOB, Job, JobQuery
from mirror.api.fills import FILL, Fill, FillBody
from mirror.cli.jobs import wait_for
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, remark, show
from mirror.cli.support.parameters import series_names, why_empty
from mirror.client.connection import RemoteError
from mirror.humanize import duration

_SHOWN = ("id", "state", "ds", "ready", "total", "seconds_left", "error")


@click.command
@click.argument("recordset", shell_complete=series_names)
@click.option("--dry-run", is_flag=True, help="Show how much would be fetched, and fetch nothing.")
@click.option("--wait", is_flag=True, help="Wait until the fill has ended, with a progress bar.")
@json_option
@url_option
def fill(recordset: str, daemon: Daemon, *, dry_run: bool, wait: bool, as_json: bool) -> None:
    """Fetch all missing records of a large record set.

    A search fetches only small gaps. A fill fetches a year or a whole series in the background: in small
    parts, with lower priority than searches, and it continues after a restart. It fetches records only; for
    files use `mirror fetch`, `mirror export` or a subscription.

    \b
        mirror fill 'hmi.v_45s[2014.01.01_TAI/365d]' --dry-run
        mirror fill 'hmi.v_45s[2014.01.01_TAI/365d]'
        mirror fill 'hmi.sharp_720s[]' --wait
        mirror jobs FILL_20261128_001
        mirror cancel FILL_20261128_001

    Records already fetched are kept when a fill is cancelled or fails; the same command resumes it.
    """
    if dry_run:
        _estimated(daemon.ask(FILL, FillBody(ds=recordset, dry_run=True)), as_json=as_json)
        return
    begun = daemon.ask(FILL, FillBody(ds=recordset))
    job = daemon.ask(JOB, JobQuery(), id=str(begun.id))
    if wait:
        job = wait_for(daemon, job)
    if as_json:
        show(job, "json")
    else:
        answer = plain(job)
        show({name: answer[name] for name in _SHOWN if answer[name] is not None}, "table")
    if job.state in ("failed", "cancelled"):
        raise click.ClickException(f"{job.id} {_ending(job)}")
    if job.state != "done":
        remark(f"in progress; see `mirror jobs {job.id}`, stop it with `mirror cancel {job.id}`")
    elif not begun.count:
        remark(why_empty(daemon, recordset) or "everything is cached already")


def fill_and_wait(daemon: Daemon, recordset: str) -> None:
    """Fetch everything that is missing of a record set, and wait for it; an error if the fill fails.

    A record set that cannot be fetched in parts is left to the search that follows.
    """
    try:
        begun = daemon.ask(FILL, FillBody(ds=recordset))
    except click.ClickException as problem:
        if isinstance(problem.__cause__, RemoteError) and problem.__cause__.code == FORBIDDEN:
            return
        raise
    if not begun.count:
        return
    job = wait_for(daemon, daemon.ask(JOB, JobQuery(), id=str(begun.id)))
    if job.state != "done":
        raise click.ClickException(f"{job.id} {_ending(job)}")


def _ending(job: Job) -> str:
    return f"failed: {job.error}" if job.state == "failed" else "was cancelled"


def _estimated(answer: Fill, *, as_json: bool) -> None:
    if as_json:
        show(answer, "json")
        return
    size = answer.estimate
    assert size is not UNSET, "a dry run has an estimate"
    line: dict[str, object] = {"gaps": answer.count, "slots": answer.slots, "records": size.records}
    if size.seconds is not None:
        line["time"] = duration(size.seconds)
    show({name: value for name, value in line.items() if value is not None}, "table")
    for text in (size.text, *size.notes):
        remark(text)
