"""``mirror series`` and ``mirror coverage``: what a mirror has."""

from __future__ import annotations

from typing import Any

import click

from mirror.api.contract import plain
from mirror.api.coverage import COVERAGE, CoverageQuery
from mirror.api.search import SERIES
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, remark, show
from mirror.cli.support.parameters import meant, series_names
from mirror.humanize import short_moment

#: The most characters of a question in a table.
QUESTION = 100


@click.command
@form_options
@url_option
def series(form: Form, daemon: Daemon) -> None:
    """List the cached series.

    These are the series that someone has asked for. The second example lists all series at JSOC.

    \b
        mirror series
        python -c 'import drms; print(drms.Client().series("hmi"))'
    """
    answer = daemon.ask(SERIES)
    show(answer, form)
    if form == "table" and not answer:
        remark("no cached series yet; run a search first")


@click.command
@click.argument("name", metavar="[SERIES]", shell_complete=series_names, required=False)
@click.option("--each", is_flag=True, help="List every range, also those that repeat.")
@form_options
@url_option
def coverage(name: str | None, each: bool, form: Form, daemon: Daemon) -> None:
    """Show which ranges are fully cached.

    Searches within these ranges do not need JSOC. Ranges that repeat, such as one record an hour, are one line
    with their distance; --each lists every one. Each range begins and ends with a record. A line with a
    restriction, such as WAVELNTH 171, covers only records with that value.

    A line with an answer is a cached result for that range that records alone cannot give: which of them
    satisfy a condition, which records or how many a query returns, or a complete answer.

    \b
        mirror coverage                  all series
        mirror coverage hmi.v_45s
    """
    answer = daemon.ask(COVERAGE, CoverageQuery(series=name, folded=not each))
    if form == "table":
        show([_short(plain(span)) for span in answer], form)
    else:
        show(answer, form)
    if form == "table" and not answer:
        remark(f"no range of {name} is fully cached{meant(daemon, name)}" if name else "no range is fully cached yet")


def _short(line: dict[str, Any]) -> dict[str, Any]:
    """A line as people read it: a long question cut short."""
    shown = {**line, "checked_at": short_moment(line.get("checked_at"))}
    question = line.get("condition")
    if question is not None and len(question) > QUESTION:
        shown["condition"] = question[: QUESTION - 3] + "..."
    return shown
