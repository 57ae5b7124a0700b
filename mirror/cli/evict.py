"""``mirror evict``: make room in the store."""

from __future__ import annotations

import click

from mirror.api.maintenance import EVICT, EvictBody
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, remark, show, size_option
from mirror.humanize import counted, in_words


@click.command
@size_option("--need", help="Space to free, such as 20GB.")
@click.option("--dry-run", is_flag=True, help="Show what would be evicted, and change nothing.")
@form_options
@url_option
def evict(need: int | None, dry_run: bool, form: Form, daemon: Daemon) -> None:
    """Free space: evict the least recently used files.

    Pinned files and files in use are never evicted. A mirror with a quota evicts automatically when it is
    full. Evicted files are fetched again when needed.

    \b
        mirror evict --dry-run                everything evictable, first to go first
        mirror evict --dry-run --need 20GB    what would be evicted to free 20 GB
        mirror evict --need 20GB
    """
    if need is None and not dry_run:
        raise click.UsageError("expected --need SIZE, such as --need 20GB, or --dry-run")
    answer = daemon.ask(EVICT, EvictBody(need=need, dry_run=dry_run))
    if form == "table":
        show([{"file": f.file, "size": in_words(f.size), "last used": f.last_used} for f in answer.files], form)
    else:
        show(answer if form == "json" else answer.files, form)
    verb = "would free" if dry_run else "freed"
    unnamed = answer.blobs - len(answer.files)
    more = f" ({unnamed:,} not listed)" if unnamed else ""
    limit = f" of a quota of {in_words(answer.quota)}" if answer.quota else ""
    remark(
        f"{verb} {in_words(answer.freed)} in {counted(answer.blobs, 'file')}{more}; {in_words(answer.held)} cached{limit}"
    )
    if need is not None and answer.freed < need:
        remark("all other files are pinned or in use")
