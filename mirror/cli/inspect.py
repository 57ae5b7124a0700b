"""``mirror series``, ``coverage`` and ``status``: what a mirror has and how it is doing."""

from __future__ import annotations

import click

from mirror.cli.http import Daemon, url_option
from mirror.cli.output import Form, form_options, show


@click.command
@form_options
@url_option
def series(form: Form, daemon: Daemon) -> None:
    """List the series that the mirror knows.

    Those are the series that somebody has asked about. For all that JSOC has:

    \b
        python -c 'import drms; print(drms.Client().series("hmi"))'
    """
    show(daemon.get("/api/series"), form)


@click.command
@click.argument("name", metavar="[SERIES]", required=False)
@form_options
@url_option
def coverage(name: str | None, form: Form, daemon: Daemon) -> None:
    """Show for which ranges the mirror holds every record.

    A search within these ranges is answered without JSOC. A line with a restriction, such as WAVELNTH
    171, is about the records with that value only.

    \b
        mirror coverage                  all series
        mirror coverage hmi.v_45s
    """
    show(daemon.get("/api/coverage", {"series": name}), form)


@click.command
@form_options
@url_option
def status(form: Form, daemon: Daemon) -> None:
    """Show how the mirror is doing: what it holds, what it is fetching, whether JSOC answers."""
    show(daemon.get("/api/status"), form)
