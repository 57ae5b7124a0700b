"""Parameters that several commands have: files and folders, names that the shell completes, names that may be meant.

Series, jobs, data sets and subscriptions are completed, and keywords and segments of the series named on the command line. A running mirror is asked, with a
short timeout; without one nothing is completed, and nothing is started for it.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, split_arg_string

from mirror.api.datasets import DATASETS
from mirror.api.exports import JOBS
from mirror.api.search import NAMES, SEARCH, SERIES, NamesQuery, SearchQuery
from mirror.api.subscriptions import SUBSCRIPTIONS
from mirror.cli.support.daemon import Daemon
from mirror.humanize import near

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Seconds within which the mirror must answer: somebody has just pressed the key.
PATIENCE = 2.0
_SERIES = re.compile(r"[A-Za-z]\w*\.\w+(?=\[|\{|$)")
_JSOC_INFO = "/cgi-bin/ajax/jsoc_info"


def series_names(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """The series whose names begin like this; none once there is a bracket."""
    daemon = _daemon(context)
    if daemon is None or "[" in begun:
        return []
    try:
        found = daemon.ask(NAMES, NamesQuery(q=begun))
    except click.ClickException:
        return []
    return [CompletionItem(one.series, help=one.note) for one in found if one.series.lower().startswith(begun.lower())]


def keyword_names(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """The keywords that complete the text after the last comma."""
    return _listed(context, "keywords", begun)


def segment_names(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """The same for segments."""
    return _listed(context, "segments", begun)


def job_ids(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """The last jobs, but for subscriptions."""
    return _offered(context, begun, lambda daemon: [(job.id, f"{job.state}: {job.ds}") for job in daemon.ask(JOBS) if job.kind != "subscription"])


def dataset_names(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """The names of the data sets."""
    return _offered(context, begun, lambda daemon: [(one.name, one.title) for one in daemon.ask(DATASETS)])


def subscription_names(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    """The names of the subscriptions."""
    return _offered(context, begun, lambda daemon: [(one.name, one.series) for one in daemon.ask(SUBSCRIPTIONS)])


def _offered(
    context: click.Context, begun: str, ask: Callable[[Daemon], Iterable[tuple[str, str]]]
) -> list[CompletionItem]:
    """The names, each with a note, that begin like this."""
    daemon = _daemon(context)
    try:
        found = [] if daemon is None else ask(daemon)
        return [CompletionItem(name, help=note) for name, note in found if name.lower().startswith(begun.lower())]
    except click.ClickException:
        return []


def _listed(context: click.Context, kind: str, begun: str) -> list[CompletionItem]:
    before, comma, word = begun.rpartition(",")
    return [
        CompletionItem(f"{before}{comma}{one['name']}", help=one.get("note", ""))
        for one in _structure(context).get(kind, ())
        if one["name"].lower().startswith(word.lower())
    ]


def _structure(context: click.Context) -> dict[str, Any]:
    """The mirror's structure of the named series; empty if there is none."""
    daemon, series = _daemon(context), _series()
    if daemon is None or not series:
        return {}
    try:
        with daemon.stream(_JSOC_INFO, {"op": "series_struct", "ds": series}) as answer:
            found = json.loads(answer.read().decode("latin-1"))
    except (click.ClickException, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _series() -> str:
    """The series on the command line, which click has not parsed: an option at its end has no value yet."""
    words = split_arg_string(os.environ.get("COMP_WORDS", ""))
    return next((found[0] for word in words if (found := _SERIES.match(word))), "")


def _daemon(context: click.Context) -> Daemon | None:
    """The mirror of the command line, with a short timeout."""
    daemon = context.params.get("daemon")
    return daemon.patient(PATIENCE) if isinstance(daemon, Daemon) else None


class GivenPath(click.Path):
    """A path as ``click.Path`` has it, but for an empty one: that is a variable without a value, and no folder to write to."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; wrong usage for one that cannot be."""
        if value == "":
            what = "folder" if not self.file_okay else "file" if not self.dir_okay else "file or folder"
            self.fail(f"it is empty; expected the name of a {what}", param, ctx)
        return super().convert(value, param, ctx)


class NewFile(GivenPath):
    """A file to be written, in a folder that exists: a command should not find that out after all its work."""

    def __init__(self, *endings: str) -> None:
        super().__init__(dir_okay=False, path_type=Path)
        self._endings = endings  #: of its name; none: any

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; wrong usage for a file that cannot be made."""
        path = Path(super().convert(value, param, ctx))
        if not path.parent.is_dir():
            self.fail(f"there is no folder {str(path.parent)!r}; make it first", param, ctx)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            self.fail(f"the folder {str(path.parent)!r} cannot be written", param, ctx)
        if self._endings and path.suffix.lower() not in self._endings:
            known = f"{', '.join(self._endings[:-1])} or " if self._endings[1:] else ""
            self.fail(f"{path.name!r}; expected a name that ends in {known}{self._endings[-1]}", param, ctx)
        return path


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
