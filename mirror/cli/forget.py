"""``mirror forget``: delete what is cached of a record set."""

from __future__ import annotations

import click
from msgspec.structs import replace

from mirror.api.maintenance import FORGET, ForgetBody, Forgotten
from mirror.cli.support.completion import series_names
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, remark, show
from mirror.humanize import counted, in_words


@click.command
@click.argument("recordset", shell_complete=series_names)
@click.option("--files", is_flag=True, help="Delete files only.")
@click.option("--records", is_flag=True, help="Delete records and their coverage only.")
@click.option("--force", is_flag=True, help="Delete pinned files, and records of data sets, too.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@url_option
def forget(
    recordset: str,
    files: bool,
    records: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    daemon: Daemon,
) -> None:
    """Delete cached records and files of a record set or a whole series.

    They are fetched from JSOC again when needed. Pinned files and records of data sets stay.

    \b
        mirror forget 'hmi.m_720s[2014.01.01/1d]' --dry-run
        mirror forget 'hmi.m_720s[2014.01.01/1d]' --files
        mirror forget hmi.m_720s --yes
    """
    named = files or records
    body = ForgetBody(
        ds=recordset, force=force, files=files if named else None, records=records if named else None
    )
    answer = daemon.ask(FORGET, replace(body, dry_run=True))
    for warning in answer.warnings:
        remark(f"warning: {warning}")
    if not dry_run:
        if not yes and (answer.files or answer.records):
            click.confirm(f"{_in_words(answer)} will be deleted. Continue?", abort=True, err=True)
        answer = daemon.ask(FORGET, body)
    if as_json:
        show(answer, "json")
        return
    remark(f"{'would delete' if dry_run else 'deleted'}: {_in_words(answer)}{_kept(answer)}")


def _in_words(answer: Forgotten) -> str:
    return (
        f"{counted(answer.records, 'record')}, {counted(answer.files, 'file')}, {in_words(answer.bytes)}"
    )


def _kept(answer: Forgotten) -> str:
    kept = [
        what
        for count, what in (
            (answer.pinned, f"{counted(answer.pinned, 'file')} pinned or in use"),
            (answer.shared, f"{counted(answer.shared, 'file')} shared with other records"),
            (answer.kept, f"{counted(answer.kept, 'record')} of data sets"),
        )
        if count
    ]
    return f"; kept: {', '.join(kept)}" if kept else ""
