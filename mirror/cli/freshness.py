"""``mirror changes``, ``offline``, ``online``: what JSOC has reprocessed, and whether it is asked."""

from __future__ import annotations

import json
from typing import Literal

import click

from mirror.api.contract import plain
from mirror.api.freshness import CHANGES, SET_POLICY, ChangesQuery, PolicyBody
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, json_option, remark, show
from mirror.cli.support.parameters import meant, series_names
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


_MEANING = {
    "offline": "JSOC is not contacted; only cached data are served",
    "fallback": "missing data are fetched from JSOC; while JSOC is down, cached data are served even if old",
    "strict": "missing data are fetched from JSOC; while JSOC is down, old data are refused",
}


@click.command
@json_option
@url_option
def offline(as_json: bool, daemon: Daemon) -> None:
    """Stop the mirror from contacting JSOC.

    Cached data are served as before; anything else is an error that names what is missing. This lasts until
    `mirror online`, a restart, or an edit of the policy in config.toml.

    \b
        mirror offline
        mirror offline --json
    """
    _set(daemon, "offline", as_json=as_json)


@click.command
@json_option
@url_option
def online(as_json: bool, daemon: Daemon) -> None:
    """Let the mirror contact JSOC again.

    If config.toml sets policy "offline", this lasts until a restart.

    \b
        mirror online
    """
    _set(daemon, "online", as_json=as_json)


def _set(daemon: Daemon, policy: Literal["offline", "online"], *, as_json: bool) -> None:
    answer = daemon.ask(SET_POLICY, PolicyBody(policy=policy))
    click.echo(json.dumps(plain(answer)) if as_json else f"{answer.policy}: {_MEANING[answer.policy]}")
