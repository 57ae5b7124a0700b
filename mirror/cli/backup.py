"""``mirror backup`` and ``mirror restore``: the store, copied while it serves, and a store from a copy.

A restore needs no running mirror.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from mirror.api.transfer import BACKUP, BackupBody
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, json_option, remark, show, watched
from mirror.cli.support.own_mirror import check_owner, store_path
from mirror.cli.support.parameters import GivenPath
from mirror.humanize import counted, in_words
from mirror.services.transfer.backup import describe
from mirror.services.transfer.restore import begin_empty
from mirror.services.transfer.restore import restore as restore_backup

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


@click.command
@click.argument("backup", type=GivenPath(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--to", "store", type=GivenPath(file_okay=False, path_type=Path),
              help="Folder of the new store.  [default: the configured store]")  # fmt: skip
@click.option(
    "--force", is_flag=True, help="Replace an existing index; the old one is renamed."
)
@click.option("--skip-damaged", is_flag=True, help="Skip damaged files of the backup.")
@click.option(
    "--without-backup", is_flag=True, help="Create an empty index for a store that lost its own."
)
@json_option
def restore(
    backup: Path | None, store: Path | None, force: bool, skip_damaged: bool, without_backup: bool, as_json: bool
) -> None:
    """Restore a store from a backup, or from the latest in a folder of backups.

    All files are compared with their hashes. An existing store is not touched unless --force is given; its
    intact files are not copied again.

    A store that has lost its index does not start. If there is no backup, --without-backup creates an empty
    index; files stay, and are found again when their records are searched.

    \b
        mirror restore /disk/mirror-backup --to /new/store
        mirror restore /disk/mirror-backup/2026-11-22T10-00-00Z --to /new/store
        mirror restore --without-backup
        MIRROR_STORAGE__PATH=/new/store mirror serve
    """
    if (backup is None) is not without_backup:
        raise click.UsageError("expected either BACKUP or --without-backup")
    target = (store or store_path()).absolute()
    check_owner(target)
    if backup is None:
        _begin_empty(target, force=force, as_json=as_json)
        return
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("files", total=None)
        done = restore_backup(
            backup.absolute(),
            target,
            force=force,
            skip_damaged=skip_damaged,
            progress=lambda count, total: progress.update(task, completed=count, total=total),
        )
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
        return
    click.echo(done.store)
    lost = f"; {len(done.damaged):,} damaged files skipped" if done.damaged else ""
    remark(f"as of {done.made_at}: the index and {counted(done.files, 'file')}, {in_words(done.size)}{lost}")
    if done.replaced:
        remark(f"the old index is now {done.replaced}; remove it once everything works")


def _begin_empty(target: Path, *, force: bool, as_json: bool) -> None:
    done = begin_empty(target, force=force)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
        return
    click.echo(done.store)
    remark(f"created an empty index; kept {', '.join(done.contents) or 'no files'}")
    for kept in done.kept:
        remark(f"the old file is now {kept}; remove it once everything works")
