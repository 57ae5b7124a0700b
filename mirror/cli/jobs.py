"""``mirror jobs``: the exports, fills and subscriptions of a mirror."""

from __future__ import annotations

import click

from mirror.api.contract import UNSET
from mirror.api.exports import JOB, JOBS, Job, JobQuery, JobsQuery, Kind
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, remark, show
from mirror.humanize import counted, duration, in_words


@click.command
@click.argument("job_id", metavar="[ID]", required=False)
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
        "kind": job.kind,
        "state": f"waiting until {job.waits.next_try[11:16]}" if job.waits else job.state,
        "done": f"{job.ready:,}/{job.total:,} {job.counted}",
        "left": "" if left is None else duration(left),
        "size": in_words(job.bytes) if job.bytes else "",
        "created": job.created,
        "ds": job.ds,
    }
