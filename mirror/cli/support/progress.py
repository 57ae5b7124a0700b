"""How far a long task of the mirror is, as one line that changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from mirror.cli.support.daemon import Daemon
from mirror.humanize import in_words


def watched(daemon: Daemon, path: str, body: Mapping[str, Any], steps: Mapping[str, str]) -> Any:
    """What a long task comes to; ``steps`` gives the words for each of its steps."""
    with _line() as say:
        return daemon.follow(path, body, lambda word: say(in_a_line(word, steps)))


def in_a_line(word: Mapping[str, Any], steps: Mapping[str, str]) -> str:
    """A word of a task for people: "copying files: 20 of 300, 1.2 GB"."""
    figures = [f"{word['done']:,} of {word['total']:,}"] if "total" in word else []
    figures += [in_words(word["bytes"])] if word.get("bytes") else []
    figures += [f"{word['series']}"] if "series" in word else []
    figures += [f"{word['records']:,} records"] if "records" in word else []
    figures += list(word.get("spans", ()))
    return f"{steps.get(word['step'], word['step'])}{': ' if figures else ''}{', '.join(figures)}"


@contextmanager
def _line() -> Iterator[Any]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _text: None
        return
    with console.status("") as status:
        yield status.update
