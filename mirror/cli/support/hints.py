"""Hints that a command prints with an empty answer: why nothing was found, and which name may have been meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mirror.api.search import SEARCH, SERIES, SearchQuery
from mirror.humanize import near

if TYPE_CHECKING:
    from mirror.cli.support.daemon import Daemon


def why_empty(daemon: Daemon, recordset: str) -> str:
    """Why a record set has no records, such as when its series begins; "" if it has some, or the reason is unknown."""
    try:
        found = daemon.ask(SEARCH, SearchQuery(ds=recordset, key="*recnum*", n=1))
    except click.ClickException:
        return ""
    return found.note or ""


def meant(daemon: Daemon, name: str) -> str:
    """The cached series that may have been meant by an unknown name, to be appended to the error."""
    known = [line.series for line in daemon.ask(SERIES)]
    if name.lower() in map(str.lower, known):
        return ""
    found = near(name, known)
    return f"; did you mean {' or '.join(found)}?" if found else "; no series of that name is cached"
