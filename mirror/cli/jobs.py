"""``mirror jobs``: the exports of a mirror."""

from __future__ import annotations

from typing import Any

import click

from mirror.cli.http import Daemon, url_option
from mirror.cli.output import Form, form_options, remark, show
from mirror.storage.quota import in_words


@click.command
@click.argument("job_id", metavar="[ID]", required=False)
@click.option(
    "-n", "limit", type=click.IntRange(1), default=20, show_default=True, help="The last N exports."
)
@form_options
@url_option
def jobs(job_id: str | None, limit: int, form: Form, daemon: Daemon) -> None:
    """List exports, or one of them with its files.

    An export is waiting, staging (JSOC works on it), fetching, done, or failed. One that JSOC does not
    serve now is tried again, and says why and when. JSOC's own request ids find the export for which the
    mirror made them.

    \b
        mirror jobs
        mirror jobs JSOC_20140101_900001
        mirror jobs JSOC_20140101_900001 --csv       its files, as a list
    """
    if job_id is None:
        listed = daemon.get("/api/jobs", {"n": str(limit)})
        show(listed if form == "json" else [_line(job) for job in listed], form)
        if form == "table" and not listed:
            remark("no exports; `mirror export RECORDSET` makes one")
        return
    job = daemon.get(f"/api/jobs/{job_id}")
    files = job["files"]
    if form != "table":
        show(job if form == "json" else files, form)
        return
    show({**_line(job), "directory": daemon.url + job["directory"]}, form)
    if files:
        show([{"name": f["name"], "size": f["size"], "record": f["record"]} for f in files], form)
    for line in (*_waits(job), *job["notes"], job["error"]):
        if line:
            remark(line)


def _waits(job: Any) -> list[str]:
    """Why an export pauses, and until when."""
    waits = job["waits"]
    return [f"goes on at {waits['next_try']}, after {waits['tries']} tries: {waits['why']}"] if waits else []


def _line(job: Any) -> dict[str, Any]:
    """What a table has room for."""
    return {
        "id": job["id"],
        "state": f"waits until {job['waits']['next_try'][11:16]}" if job["waits"] else job["state"],
        "files": f"{job['ready']}/{job['total']}",
        "size": in_words(job["bytes"]),
        "protocol": job["protocol"],
        "created": job["created"],
        "ds": job["ds"],
    }
