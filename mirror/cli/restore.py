"""``mirror restore``: a store from a backup. Needs no mirror that runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from mirror.cli.support.output import json_option, remark
from mirror.cli.support.own_mirror import store_path
from mirror.humanize import counted, in_words
from mirror.services.transfer.restore import begin_empty
from mirror.services.transfer.restore import restore as restore_backup


@click.command
@click.argument("backup", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--to", "store", type=click.Path(file_okay=False, path_type=Path),
              help="The folder of the new store. Without: the one that the configuration names.")  # fmt: skip
@click.option(
    "--force", is_flag=True, help="Replace the index that is there; the old one keeps another name."
)
@click.option("--skip-damaged", is_flag=True, help="Restore the rest if files of the backup are damaged.")
@click.option(
    "--without-backup", is_flag=True, help="Give a store whose index is lost an empty one; its files stay."
)
@json_option
def restore(
    backup: Path | None, store: Path | None, force: bool, skip_damaged: bool, without_backup: bool, as_json: bool
) -> None:
    """Make a store from a backup: one of them, or the last in a folder of several.

    Every byte is compared with its hash. A store that is there already is left alone, unless --force says
    that its index is to be replaced; files that it has and that are whole are not copied again.

    A store whose index is lost does not start, so that its files are not taken for waste. Without a backup,
    --without-backup makes an empty index: files stay, and are found again as their records are asked for.

    \b
        mirror restore /disk/mirror-backup --to /new/store
        mirror restore /disk/mirror-backup/2026-11-22T10-00-00Z --to /new/store
        mirror restore --without-backup
        MIRROR_STORAGE__PATH=/new/store mirror serve
    """
    if (backup is None) is not without_backup:
        raise click.UsageError("expected either the folder of a BACKUP, or --without-backup")
    target = (store or store_path()).absolute()
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
    lost = f"; {len(done.damaged):,} damaged ones are left out" if done.damaged else ""
    remark(f"as of {done.made_at}: the index and {counted(done.files, 'file')}, {in_words(done.size)}{lost}")
    if done.replaced:
        remark(f"the index that was there is {done.replaced} now; remove it when all is well")


def _begin_empty(target: Path, *, force: bool, as_json: bool) -> None:
    done = begin_empty(target, force=force)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=2))
        return
    click.echo(done.store)
    remark(f"an empty index; {', '.join(done.contents) or 'no files'}, which stay")
    for kept in done.kept:
        remark(f"what was there is {kept} now; remove it when all is well")
