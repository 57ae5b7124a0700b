"""``mirror jobs`` and ``mirror cancel``: exports, fills, films and subscriptions.

Other commands wait for a job here.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import click

from mirror.api.contract import UNSET
from mirror.api.exports import CANCEL, ENDED_STATES, JOB, JOBS, Job, JobQuery, JobsQuery, Kind
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, json_option, remark, show
from mirror.cli.support.parameters import job_ids
from mirror.humanize import counted, duration, in_words

#: Seconds between two looks at a job: at first, and after it has taken long.
FIRST_INTERVAL, LAST_INTERVAL = 0.1, 2.0
#: Called with how much of a job is ready, and of how much.
Watch = Callable[[int, int], object]


@click.command
@click.argument("job_id", metavar="[ID]", required=False, shell_complete=job_ids)
@click.option(
    "-n", "limit", type=click.IntRange(1), default=20, show_default=True, help="Show the last N exports, fills and films."
)
@click.option("--kind", type=click.Choice(["export", "fill", "film", "subscription"]), help="Only jobs of this kind.")
@form_options
@url_option
def jobs(job_id: str | None, limit: int, kind: Kind | None, form: Form, daemon: Daemon) -> None:
    """List exports, fills, films and subscriptions, or show one with its files.

    States of an export: waiting, staging (at JSOC), fetching, done, failed. States of a fill: running,
    waiting, done, failed, cancelled. A waiting job shows why, and when it will be retried. A request ID of
    JSOC finds the export that made the request.

    \b
        mirror jobs
        mirror jobs --kind fill
        mirror jobs FILL_20261128_001
        mirror jobs JSOC_20140101_900001
        mirror jobs JSOC_20140101_900001 --csv       list its files
    """
    if job_id is None:
        listed = daemon.ask(JOBS, JobsQuery(n=limit, kind=kind))
        elsewhere = any(job.server is not UNSET for job in listed)
        lines = [_line(job) | ({"server": "here" if job.server is UNSET else job.server} if elsewhere else {}) for job in listed]
        show(listed if form == "json" else lines, form)
        if form == "table" and not listed:
            remark("no jobs yet; start one with `mirror export RECORDSET` or `mirror fill RECORDSET`")
        return
    job = daemon.ask(JOB, JobQuery(), id=job_id)
    files = job.files or []
    if form != "table":
        show(job if form == "json" else files, form)
        return
    directory = {"directory": f"{daemon.url}{job.directory}"} if job.kind == "export" else {}
    show({**_line(job), **directory}, form)
    if files:
        show([{"name": f.name, "size": f.size, "record": f.record} for f in files], form)
    for line in (*_waits(job), *job.notes, job.error):
        if line:
            remark(line)


def _waits(job: Job) -> list[str]:
    """Why an export pauses, and until when."""
    waits = job.waits
    if not waits:
        return []
    tries = "" if waits.tries is UNSET else f", after {counted(waits.tries, 'attempt')}"
    return [f"retries at {waits.next_try}{tries}: {waits.why}"]


def _line(job: Job) -> dict[str, object]:
    """What a table has room for."""
    left = job.seconds_left
    return {
        "id": job.id,
        "state": f"waiting, {job.waits.next_try[11:16]}" if job.waits else job.state,
        "kind": job.kind,
        "done": f"{job.ready:,}/{job.total:,} {job.counted}",
        "left": "" if left is None else duration(left),
        "size": in_words(job.bytes) if job.bytes else "",
        "created": job.created,
        "ds": job.ds,
    }


@click.command
@click.argument("job_id", metavar="ID", shell_complete=job_ids)
@json_option
@url_option
def cancel(job_id: str, daemon: Daemon, *, as_json: bool) -> None:
    """Cancel a running fill, export or film.

    Data already fetched are kept, and parts that others are waiting for are still fetched. An export that
    JSOC has accepted continues there. To end a subscription: mirror subscribe --remove NAME.

    \b
        mirror jobs
        mirror cancel FILL_20261128_001
    """
    job = daemon.ask(CANCEL, id=job_id)
    if as_json:
        show(job, "json")
        return
    how = f"{job.ready:,} of {job.total:,} {job.counted} were fetched"
    remark(f"{job.id} is {job.state}" + (f" ({job.error})" if job.error else "") + f"; {how}")


# ---- waiting -------------------------------------------------------------------------------------


def wait_for(daemon: Daemon, job: Job, watch: Watch | None = None) -> Job:
    """The job once it has ended; without ``watch`` a terminal shows a bar. After Ctrl-C all but a film goes on."""
    try:
        return _watched(daemon, job, watch)
    except KeyboardInterrupt:
        if job.kind != "film" and job.state not in ENDED_STATES:
            remark(f"\n{job.id} goes on; see `mirror jobs {job.id}`, stop it with `mirror cancel {job.id}`")
        raise


def _watched(daemon: Daemon, job: Job, watch: Watch | None) -> Job:
    if watch is not None:
        return _ended(daemon, job, watch)
    # Only here: loading it takes as long as all else that most commands do.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    # How long an export takes at JSOC cannot be seen from how far it is.
    last, what = (TimeElapsedColumn(), "files ready") if job.kind == "export" else (TimeRemainingColumn(), job.counted)
    with Progress(*columns, last, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"{job.id}: {what}", total=None)
        return _ended(daemon, job, lambda ready, total: progress.update(task, completed=ready, total=total or None))


def _ended(daemon: Daemon, job: Job, watch: Watch) -> Job:
    interval = FIRST_INTERVAL
    why: str | None = ""
    while job.state not in ENDED_STATES:
        time.sleep(interval)
        interval = min(interval * 1.3, LAST_INTERVAL)
        job = daemon.ask(JOB, JobQuery(), id=job.id)
        watch(job.ready, job.total)
        if job.waits and job.waits.why != why:  # a job that retries for hours must not seem to hang
            why = job.waits.why
            remark(f"{job.id} is waiting: {why}; next attempt at {job.waits.next_try}")
    return job
