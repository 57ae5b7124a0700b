"""``mirror export``: an export as JSOC makes it, made by the mirror."""

from __future__ import annotations

import click

from mirror.api.contract import plain
from mirror.api.exports import SUBMIT, ExportBody, Job
from mirror.api.fills import Estimate
from mirror.cli.jobs import wait_for
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import (
    announce_estimate,
    dry_run_option,
    estimate_of_export,
    json_option,
    limit_option,
    remark,
    show,
    show_estimate,
    warn_if_stale,
)
from mirror.cli.support.parameters import segment_names, series_names, why_empty
from mirror.humanize import in_words

_SHOWN = ("id", "state", "ds", "protocol", "process", "url", "tar", "files", "size")


@click.command
@click.argument("recordset", shell_complete=series_names)
@click.option("--seg", "--segments", "seg", metavar="NAMES", shell_complete=segment_names, help="Segments, comma-separated.  [default: all]")
@limit_option
@click.option("--protocol", default="as-is", show_default=True, help="as-is: the archived files; fits: with keywords in the FITS header.")
@click.option("--method", type=click.Choice(["url", "url-tar"]), default="url", show_default=True,
              help="A folder of files, or also a tar file.")  # fmt: skip
@click.option("--process", metavar="STEPS", help="Processing at JSOC, such as 'n=0|im_patch,...'.")
@click.option("--name", metavar="FORMAT", help="Format of file names, as JSOC's filenamefmt.")
@click.option("--email", metavar="ADDRESS", help="Address registered at JSOC.  [default: the mirror's own]")
@click.option("--no-wait", is_flag=True, help="Return at once; see `mirror jobs` for progress.")
@dry_run_option
@json_option
@url_option
def export(
    recordset: str,
    daemon: Daemon,
    no_wait: bool,
    dry_run: bool,
    as_json: bool,
    limit: int | None,
    **given: str,
) -> None:
    """Export records to a download folder at the mirror, kept for seven days.

    Works like JSOC's own exports, but cached files are ready at once and need no address. Processing,
    pictures and films are made by JSOC, which needs a registered address.

    \b
        mirror export 'hmi.m_720s[2014.01.01/1h]' --protocol fits
        mirror export 'hmi.sharp_cea_720s[4864][2014.11.29/1d@6h]{Br,Bt,Bp}' --method url-tar
        mirror export 'hmi.m_720s[2014.01.01/2h]' --protocol fits --name '{T_REC:A}.{segment}'
        mirror export 'aia.lev1_euv_12s[2014.01.01/1m][171]' --no-wait
        mirror export 'hmi.m_720s[2014.01.01/30d]' --dry-run

    An identical request returns the same export. To download files into a local folder: mirror fetch.
    """
    def estimate() -> Estimate:
        return estimate_of_export(daemon, recordset, given.get("seg"), limit)

    if dry_run:
        show_estimate(estimate(), as_json=as_json)
        return
    announce_estimate(estimate)
    job = begin(daemon, ExportBody(ds=recordset, n=limit, **{k: v or "" for k, v in given.items()}))
    if not no_wait:
        job = wait_for(daemon, job)
        if job.state == "failed":
            raise click.ClickException(f"{job.id} failed: {why_failed(job)}")
    _report(daemon, job, as_json=as_json)


def why_failed(job: Job) -> str:
    """Why an export failed; if JSOC wants an address, how to give it."""
    return _with_address(str(job.error))


def _with_address(error: str) -> str:
    if "email" not in error:
        return error
    return f"{error}. Give an address that is registered there: --email ADDRESS, or [upstream] email of the mirror"


def begin(daemon: Daemon, wanted: ExportBody) -> Job:
    """The job of a requested export; warns if its records should have been checked."""
    try:
        job, headers = daemon.exchange(SUBMIT, wanted)
    except click.ClickException as problem:
        raise click.ClickException(_with_address(problem.message)) from problem
    warn_if_stale(headers)
    return job


def _report(daemon: Daemon, job: Job, *, as_json: bool) -> None:
    """The whole job as JSON, or a summary; the remark says what to do next."""
    answer = {**plain(job), "url": f"{daemon.url}{job.directory}", "tar": job.tar and f"{daemon.url}{job.tar}"}
    if as_json:
        show(answer, "json")
        return
    answer |= {"files": job.ready, "size": in_words(job.bytes)}
    show({name: answer[name] for name in _SHOWN if answer[name]}, "table")
    if job.state == "done" and not job.ready:
        remark(why_empty(daemon, job.ds) or "No record of this set has an image.")
    if job.state != "done":
        remark(f"in progress; see `mirror jobs {job.id}`")
