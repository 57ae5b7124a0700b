"""``mirror jobs``: the exports, fills and subscriptions of a mirror."""

from __future__ import annotations

import click

from mirror.api.contract import UNSET
from mirror.api.exports import JOB, JOBS, Job, JobQuery, JobsQuery, Kind
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, remark, show
from mirror.humanize import in_words
from mirror.services.estimates.estimates import duration


@click.command
@click.argument("job_id", metavar="[ID]", required=False)
@click.option(
    "-n", "limit", type=click.IntRange(1), default=20, show_default=True, help="The last N exports and fills."
)
@click.option("--kind", type=click.Choice(["export", "fill", "subscription"]), help="Only jobs of this kind.")
@form_options
@url_option
def jobs(job_id: str | None, limit: int, kind: Kind | None, form: Form, daemon: Daemon) -> None:
    """List exports, fills and subscriptions, or one of them with its files.

    An export is waiting, staging (JSOC works on it), fetching, done, or failed; a fill running, waiting, done,
    failed, or cancelled. One that JSOC does not serve now is tried again, and says why and when. JSOC's own
    request ids find the export for which the mirror made them.

    \b
        mirror jobs
        mirror jobs --kind fill
        mirror jobs FILL_20261128_001
        mirror jobs JSOC_20140101_900001
        mirror jobs JSOC_20140101_900001 --csv       its files, as a list
    """
    if job_id is None:
        listed = daemon.ask(JOBS, JobsQuery(n=limit, kind=kind))
        show(listed if form == "json" else [_line(job) for job in listed], form)
        if form == "table" and not listed:
            remark("no jobs; `mirror export RECORDSET` and `mirror fill RECORDSET` make some")
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
    tries = "" if waits.tries is UNSET else f", after {waits.tries} tries"
    return [f"goes on at {waits.next_try}{tries}: {waits.why}"]


def _line(job: Job) -> dict[str, object]:
    """What a table has room for."""
    left = job.seconds_left
    return {
        "id": job.id,
        "kind": job.kind,
        "state": f"waits until {job.waits.next_try[11:16]}" if job.waits else job.state,
        "done": f"{job.ready:,}/{job.total:,} {job.counted}",
        "left": "" if left is None else duration(left),
        "size": in_words(job.bytes) if job.bytes else "",
        "created": job.created,
        "ds": job.ds,
    }
