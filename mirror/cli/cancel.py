"""``mirror cancel``: end a running fill or export."""

from __future__ import annotations

import click

from mirror.api.exports import CANCEL
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, remark, show


@click.command
@click.argument("job_id", metavar="ID")
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
