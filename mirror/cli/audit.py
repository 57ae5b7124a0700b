"""``mirror audit``: what was done to the mirror, and by whom."""

from __future__ import annotations

import click

from mirror.api.access import AUDIT, AuditQuery
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, show


@click.command
@click.option("--since", metavar="DATE", help="Start: a date such as 2026-11-01, or 7d for the last week.")
@click.option(
    "-n", "limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Show the last N entries."
)
@form_options
@url_option
def audit(since: str | None, limit: int, form: Form, daemon: Daemon) -> None:
    """Show the log of administrative actions, newest first.

    It includes refused attempts and logins on the page. Entries are kept for 400 days.

    \b
        mirror audit
        mirror audit --since 7d --csv
    """
    show(daemon.ask(AUDIT, AuditQuery(since=since, n=limit)), form)
