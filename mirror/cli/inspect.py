"""``mirror series`` and ``mirror coverage``: what a mirror has."""

from __future__ import annotations

from typing import Any

import click

from mirror.api.contract import plain
from mirror.api.coverage import COVERAGE, CoverageQuery
from mirror.api.search import SERIES
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, remark, show
from mirror.humanize import short_moment

#: Characters of a question that a table shows.
QUESTION = 100


@click.command
@form_options
@url_option
def series(form: Form, daemon: Daemon) -> None:
    """List the series that the mirror knows.

    Those are the series that somebody has asked about. The last line is for all that JSOC has.

    \b
        mirror series
        python -c 'import drms; print(drms.Client().series("hmi"))'
    """
    answer = daemon.ask(SERIES)
    show(answer, form)
    if form == "table" and not answer:
        remark("no series is known yet; a search makes one known")


@click.command
@click.argument("name", metavar="[SERIES]", required=False)
@form_options
@url_option
def coverage(name: str | None, form: Form, daemon: Daemon) -> None:
    """Show for which ranges every record is held.

    A search within these ranges is answered without JSOC. A line with a restriction, such as WAVELNTH
    171, is about the records with that value only.

    A line with an answer is what JSOC said over its range that the records alone do not tell: which of them
    satisfy a condition (all of these are held), which records or how many a query has, or an answer kept whole.

    \b
        mirror coverage                  all series
        mirror coverage hmi.v_45s
    """
    answer = daemon.ask(COVERAGE, CoverageQuery(series=name))
    if form == "table":
        show([_short(plain(span)) for span in answer], form)
    else:
        show(answer, form)
    if form == "table" and not answer:
        remark(f"nothing of {name} is held completely" if name else "nothing is held completely yet")


def _short(line: dict[str, Any]) -> dict[str, Any]:
    """A line as people read it: a long question cut short."""
    shown = {**line, "checked_at": short_moment(line.get("checked_at"))}
    question = line.get("condition")
    if question is not None and len(question) > QUESTION:
        shown["condition"] = question[: QUESTION - 3] + "..."
    return shown
