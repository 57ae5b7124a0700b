"""``mirror forget``: give up what is held of a record set."""

from __future__ import annotations

import click
from msgspec.structs import replace

from mirror.api.maintenance import FORGET, ForgetWish, Forgotten
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, remark, show
from mirror.humanize import counted, in_words


@click.command
@click.argument("recordset")
@click.option("--files", is_flag=True, help="Delete files only.")
@click.option("--records", is_flag=True, help="Delete records and their coverage only.")
@click.option("--force", is_flag=True, help="Delete pinned files too.")
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

    They are fetched from JSOC again when needed. Pinned files stay.

    \b
        mirror forget 'hmi.m_720s[2014.01.01/1d]' --dry-run
        mirror forget 'hmi.m_720s[2014.01.01/1d]' --files
        mirror forget hmi.m_720s --yes
    """
    named = files or records
    wish = ForgetWish(
        ds=recordset, force=force, files=files if named else None, records=records if named else None
    )
    told = daemon.ask(FORGET, replace(wish, dry_run=True))
    for warning in told.warnings:
        remark(f"warning: {warning}")
    if not dry_run:
        if not yes and (told.files or told.records):
            click.confirm(f"{_in_words(told)} will be deleted. Continue?", abort=True, err=True)
        told = daemon.ask(FORGET, wish)
    if as_json:
        show(told, "json")
        return
    remark(f"{'would delete' if dry_run else 'deleted'}: {_in_words(told)}{_kept(told)}")


def _in_words(told: Forgotten) -> str:
    return (
        f"{counted(told.records, 'record')}, {counted(told.files, 'file')}, {in_words(told.bytes)}"
    )


def _kept(told: Forgotten) -> str:
    kept = [
        f"{count:,} {what}"
        for count, what in ((told.pinned, "pinned or in use"), (told.shared, "shared with other records"))
        if count
    ]
    return f"; kept: {', '.join(kept)}" if kept else ""
