"""``mirror audit`` and ``mirror usage``: who did what, and who used the mirror how much."""

from __future__ import annotations

import click

from mirror.api.access import AUDIT, USAGE, AuditQuery, UsageQuery
from mirror.api.contract import plain
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, remark, show
from mirror.humanize import in_words


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


@click.command
@click.option("--since", metavar="DAY", help="First day, such as 2026-11-01.  [default: 30 days ago]")
@form_options
@url_option
def usage(since: str | None, form: Form, daemon: Daemon) -> None:
    """Show usage per user and day.

    A user is the name of a token, the name in HTTP_PROXY=http://ada@HOST:8040, or an address. Traffic from
    JSOC counts for the user who asked first. "(mirror)" is what nobody asked for, such as subscriptions; its
    requests are those to JSOC.

    \b
        mirror usage
        mirror usage --since 2026-11-01 --csv
    """
    answer = daemon.ask(USAGE, UsageQuery(since=since))
    if form == "table":
        show([{**plain(u), "bytes": in_words(u.bytes), "upstream_bytes": in_words(u.upstream_bytes)} for u in answer], form)
    else:
        show(answer, form)
    if form == "table" and not answer:
        remark("no usage in that time")
