"""``mirror changes``: the cached records that JSOC has replaced."""

from __future__ import annotations

import click

from mirror.api.freshness import CHANGES, ChangesQuery
from mirror.cli.support.completion import series_names
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.hints import meant
from mirror.cli.support.output import Form, form_options, remark, show
from mirror.humanize import counted


@click.command
@click.argument("name", metavar="[SERIES]", shell_complete=series_names, required=False)
@click.option("--since", metavar="DATE", help="Found since: a date such as 2026-11-01, or 7d for the last week.")
@click.option(
    "-n", "limit", type=click.IntRange(1), default=1000, show_default=True, help="Show the last N changes."
)
@form_options
@url_option
def changes(name: str | None, since: str | None, limit: int, form: Form, daemon: Daemon) -> None:
    """Show which records JSOC has reprocessed, newest first.

    A reprocessed record has a new record number, which the mirror finds when it checks; the old version is
    kept. A line without a new number is a record that JSOC has withdrawn.

    \b
        mirror changes
        mirror changes hmi.sharp_720s --since 2026-11-01
        mirror changes --since 7d --csv > changed.csv
    """
    found = daemon.ask(CHANGES, ChangesQuery(series=name, since=since, n=limit))
    show(found, form)
    if form == "table":
        unknown = meant(daemon, name) if name and not found else ""
        remark(counted(len(found), "change") + ("; use -n for more" if len(found) == limit else "") + unknown)
