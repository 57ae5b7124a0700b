"""What a command says beside an empty answer: why nothing was found, and which name may have been meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mirror.api.search import SEARCH, SERIES, SearchQuery
from mirror.humanize import near

if TYPE_CHECKING:
    from mirror.cli.support.daemon import Daemon


def why_empty(daemon: Daemon, recordset: str) -> str:
    """Why a record set has no records, such as when its series begins; "" if it has some, or nobody can tell now."""
    try:
        found = daemon.ask(SEARCH, SearchQuery(ds=recordset, key="*recnum*", n=1))
    except click.ClickException:
        return ""
    return found.note or ""


def meant(daemon: Daemon, name: str) -> str:
    """Which cached series may have been meant by the name of one that is not, to stand behind what is said of it."""
    known = [line.series for line in daemon.ask(SERIES)]
    if name.lower() in map(str.lower, known):
        return ""
    found = near(name, known)
    return f"; did you mean {' or '.join(found)}?" if found else "; no series of that name is cached"
