"""``mirror evict``: make room in the store."""

from __future__ import annotations

import click

from mirror.api.maintenance import EVICT, EvictBody
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, remark, show, size_option
from mirror.humanize import counted, in_words


@click.command
@size_option("--need", help="How much to free, such as 20GB.")
@click.option("--dry-run", is_flag=True, help="Only say what would go. Without --need: all that may go.")
@form_options
@url_option
def evict(need: int | None, dry_run: bool, form: Form, daemon: Daemon) -> None:
    """Make room: throw out what was not used for longest.

    Never what is pinned, or is just being read. A mirror with a quota does this by itself when it is
    full. What goes can be fetched again, as long as JSOC has it.

    \b
        mirror evict --dry-run                what may go, in the order in which it would
        mirror evict --dry-run --need 20GB    what would go for 20 GB
        mirror evict --need 20GB
    """
    if need is None and not dry_run:
        raise click.UsageError("say how much to free, such as --need 20GB, or ask with --dry-run")
    answer = daemon.ask(EVICT, EvictBody(need=need, dry_run=dry_run))
    if form == "table":
        show([{"file": f.file, "size": in_words(f.size), "last used": f.last_used} for f in answer.files], form)
    else:
        show(answer if form == "json" else answer.files, form)
    verb = "would free" if dry_run else "freed"
    unnamed = answer.blobs - len(answer.files)
    more = f" ({unnamed:,} more than are listed)" if unnamed else ""
    limit = f" of a quota of {in_words(answer.quota)}" if answer.quota else ""
    remark(
        f"{verb} {in_words(answer.freed)} in {counted(answer.blobs, 'file')}{more}; {in_words(answer.held)} are held{limit}"
    )
    if need is not None and answer.freed < need:
        remark("the rest is pinned or in use")
