"""The prompt of ``mirror sql``: it completes the names of series, keywords and SQL, and keeps a history."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory

from mirror.api.sql import SQL, SqlQuery
from mirror.cli.support.daemon import Daemon

WORDS = ["SELECT", "FROM", "WHERE", "GROUP", "BY", "ORDER", "LIMIT", "JOIN", "ASOF", "USING", "ON", "AS", "AND", "OR", "NOT", "IN", "BETWEEN", "LIKE", "IS", "NULL", "DISTINCT", "COUNT", "AVG", "MIN", "MAX", "SUM", "MEDIAN", "STDDEV", "QUANTILE", "WITH", "UNION", "ALL", "CASE", "WHEN", "THEN", "ELSE", "END", "CAST", "DATE", "TIMESTAMP", "INTERVAL", "DATE_TRUNC", "DESCRIBE", "SUMMARIZE", "EXPLAIN", "PIVOT", "HAVING", "OVER", "PARTITION", "DESC", "ASC"]
HELP = """End a statement with ;  Tab completes names, Ctrl-R searches the history.
  SHOW ALL TABLES;          list the tables          (also .tables or \\d)
  DESCRIBE hmi.v_45s;       list its columns         (also \\d hmi.v_45s)
  help                      show this text
  quit                      or Ctrl-D"""
_NAME = re.compile(r"[\w.$]*$")


class Names(Completer):
    """Completes words: series by their whole names, columns of the series already named."""

    def __init__(self, columns: dict[str, list[str]]) -> None:
        self._columns = columns

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """The names that complete the text before the cursor."""
        begun = found[0] if (found := _NAME.search(document.text_before_cursor)) else ""
        for name in self.candidates(document.text, begun):
            yield Completion(name, start_position=-len(begun))

    def candidates(self, text: str, begun: str) -> list[str]:
        """Every name that begins like this, in any case: columns first, then tables, then words of SQL."""
        if not begun:
            return []
        named = [series for series in self._columns if series.lower() in text.lower()]
        names = [column for series in named for column in self._columns[series]]
        names += [*self._columns, *WORDS]
        return list(dict.fromkeys(name for name in names if name.lower().startswith(begun.lower())))


def prompt(daemon: Daemon, run: Callable[[str], None]) -> None:
    """Read statements and run each, until the end."""
    click.echo(HELP)
    session: PromptSession[str] = PromptSession(
        completer=Names(_columns(daemon)), history=FileHistory(str(_history()))
    )
    for statement in statements(_lines(session)):
        if statement.lower().rstrip(";") in ("help", ".help", r"\h", r"\?"):
            click.echo(HELP)
            continue
        try:
            run(statement)
        except click.ClickException as problem:
            problem.show()


def statements(lines: Iterable[str]) -> Iterator[str]:
    """The statements in lines: each ends with a semicolon at the end of a line; ``quit`` ends all.

    Commands, such as ``help`` and ``\\d NAME``, are a line without a semicolon.
    """
    typed = ""
    for line in lines:
        word = line.strip().lower().rstrip(";")
        if not typed and word in ("quit", "exit", r"\q", ".quit", ".exit"):
            return
        if not typed and (word == "help" or word.startswith(("\\", "."))):
            yield line.strip()
            continue
        typed += f"{line}\n"
        if not typed.strip():
            typed = ""
        elif typed.rstrip().endswith(";"):
            yield typed.strip()
            typed = ""


def _lines(session: PromptSession[str]) -> Iterator[str]:
    while True:
        try:
            yield session.prompt("sql> ")
        except KeyboardInterrupt:  # drops the line, as in every shell
            yield ""
        except EOFError:
            return


def _columns(daemon: Daemon) -> dict[str, list[str]]:
    """The columns of each table; the prompt works without them if they are not available."""
    asked = 'SELECT series, list("column") FROM mirror.keywords GROUP BY series ORDER BY series'
    try:
        rows = daemon.ask(SQL, SqlQuery(query=asked)).rows
    except click.ClickException:
        return {}
    own = [f"mirror.{name}" for name in ("series", "keywords", "segments", "coverage", "holdings", "jobs")]
    return dict(rows) | {name: [] for name in own}


def _history() -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    file = state / "jsoc-mirror" / "sql-history"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file
