"""``mirror backup``: the store, copied while it serves."""

from __future__ import annotations

from pathlib import Path

import click

from mirror.api.transfer import BACKUP, BackupBody
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, remark, show, watched
from mirror.cli.support.paths import GivenPath
from mirror.humanize import counted, in_words
from mirror.services.transfer.backup import describe

_STEPS = {"index": "copying the index", "files": "files"}


@click.command
@click.argument("to", type=GivenPath(file_okay=False, path_type=Path))
@click.option("--index-only", is_flag=True, help="Back up records and coverage only, no files.")
@click.option(
    "--keep", type=click.IntRange(1), metavar="N", help="Keep the last N backups; remove older ones."
)
@click.option("--list", "listing", is_flag=True, help="List existing backups and exit.")
@form_options
@url_option
def backup(to: Path, daemon: Daemon, index_only: bool, keep: int | None, listing: bool, form: Form) -> None:
    """Back up the store while the mirror runs.

    Writes the index to TO/<UTC time>/ and files to TO/blobs, which all backups share: hard links on the same
    file system, otherwise copies of new files only. An interrupted backup leaves no folder of that name.
    Verify a backup without the mirror: sha256sum -c SHA256SUMS.

    \b
        mirror backup /disk/mirror-backup
        mirror backup /disk/mirror-backup --keep 7
        mirror backup /disk/mirror-backup --list
        mirror restore /disk/mirror-backup --to /new/store
    """
    if listing:
        show(describe(to.absolute()), form)
        return
    body = BackupBody(to=str(to.absolute()), index_only=index_only, keep=keep)
    made = watched(daemon, BACKUP, body, _STEPS)
    if form == "json":
        show(made, "json")
        return
    click.echo(made.path)
    copied = f"{made.copied:,} copied ({in_words(made.copied_bytes)})"
    remark(
        f"{counted(made.files, 'file')}, {in_words(made.size)}: {made.linked:,} linked, {copied}, "
        f"others already there"
        + (f"; {len(made.skipped):,} damaged or removed meanwhile" if made.skipped else "")
        + (f"; {counted(len(made.removed), 'older backup')} removed" if made.removed else "")
    )
