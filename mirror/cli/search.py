"""``mirror search``: records as a table, with progress while the mirror asks JSOC."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from mirror.api.exports import QUICKLOOK, QuicklookQuery
from mirror.api.monitoring import STATUS
from mirror.api.search import SEARCH, Found, SearchQuery
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, limit_option, one_of, origin_in_words, remark, show
from mirror.cli.support.parameters import keyword_names, segment_names, series_names
from mirror.humanize import counted

Answered = tuple[Found, HTTPMessage]
#: Seconds before progress is shown, and between requests for the mirror's progress.
PATIENCE, INTERVAL = 0.7, 0.5


@click.command
@click.argument("recordset", shell_complete=series_names)
@click.option(
    "--key", metavar="NAMES", shell_complete=keyword_names, help="Keywords, comma-separated; '**ALL**' for all.  [default: prime keys]"
)
@click.option(
    "--seg", "--segments", "seg", metavar="NAMES", shell_complete=segment_names, help="Segments, comma-separated; prints the paths of their files."
)
@click.option(
    "--where",
    metavar="SQL",
    help="SQL condition on the keywords, as in `mirror sql`.",
)
@limit_option
@click.option(
    "--open", "number", metavar="N", type=click.IntRange(1), help="Open a picture of the Nth record."
)
@one_of("--refresh", "cache_control", "no-cache", help="Check with JSOC first, even if checked recently.")
@one_of("--cached", "cache_control", "only-if-cached", help="Use cached records only; never contact JSOC.")
@click.option(
    "--wait", "whole", is_flag=True, help="Fetch all missing records first, however many, with a progress bar."
)
@one_of("--held", "cache_control", "only-if-cached", hidden=True)
@form_options
@url_option
def search(
    recordset: str,
    key: str | None,
    seg: str | None,
    where: str | None,
    limit: int | None,
    number: int | None,
    whole: bool,
    cache_control: str | None,
    form: Form,
    daemon: Daemon,
) -> None:
    """Search records; print a table, JSON or CSV.

    Missing records are fetched from JSOC. A line on stderr says where the answer came from.

    \b
        mirror search 'hmi.v_45s[2014.01.01_TAI/1h]' --key T_REC,CRLT_OBS
        mirror search 'hmi.sharp_720s[4864]' --key T_REC,USFLUX --csv > usflux.csv
        mirror search 'hmi.m_720s[$]' --key '**ALL**' --json
        mirror search 'aia.lev1_euv_12s[2014.01.01/1m][171]' --seg image
        mirror search 'aia.lev1_euv_12s[2014.01.01/1m][171]' --open 1
        mirror search 'hmi.sharp_720s[4864]' --refresh
        mirror search 'hmi.v_45s[2014.01.01_TAI/90d]' --key T_REC,DATAMEAN --csv --wait > datamean.csv
        mirror search 'hmi.sharp_720s[][2014.01.01/1d]' --where 'USFLUX > 5e22 AND abs(LON_FWT) < 30'

    Values are printed exactly as JSOC prints them. Quote the record set: the shell interprets brackets and $.
    """
    if number is not None and where is not None:
        raise click.UsageError("--open cannot be combined with --where")
    if whole and cache_control == "only-if-cached":
        raise click.UsageError("--wait cannot be combined with --cached")
    if whole:
        from mirror.cli.fill import fill_and_wait  # noqa: PLC0415  (only for --wait)

        fill_and_wait(daemon, recordset)
    asked = SearchQuery(ds=recordset, key=key or "", seg=seg or "", n=limit, where=where)
    found, headers = _patiently(daemon, asked, {} if cache_control is None else {"Cache-Control": cache_control})
    show(found, form)
    answer = origin_in_words(found.plan, found.age_seconds if isinstance(found.age_seconds, int) else None)
    if source := headers.get("X-Mirror-Source"):
        answer = f"JSOC is not responding; from {source}, not cached"
    if not found.count and found.plan == "filled":
        answer = "JSOC was asked"  # nothing came of it
    remark(f"{counted(found.count, 'record')}; {answer}")
    if found.note:
        remark(found.note)
    if number is not None:
        open_quick_look(daemon, asked, number)


def _patiently(daemon: Daemon, asked: SearchQuery, headers: Mapping[str, str]) -> Answered:
    """The answer to a search with its headers; a terminal shows the mirror's progress if it takes long."""
    answer = _in_background(daemon, asked, headers)
    finished, _ = wait([answer], PATIENCE)
    console = Console(stderr=True)
    if not finished and console.is_terminal:
        _show_progress(answer, daemon, asked.ds, console)
    return answer.result()


def _show_progress(answer: Future[Answered], daemon: Daemon, recordset: str, console: Console) -> None:
    """A bar, until the answer is there."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task("fetching from JSOC", total=None)
        while not wait([answer], INTERVAL).done:
            progress.update(task, **fill_progress(daemon, recordset))


def _in_background(daemon: Daemon, asked: SearchQuery, headers: Mapping[str, str]) -> Future[Answered]:
    """The request in a thread that dies with the program, so that ctrl-C ends both at once."""
    answer: Future[Answered] = Future()

    def ask() -> None:
        try:
            answer.set_result(daemon.exchange(SEARCH, asked, headers))
        except BaseException as problem:  # noqa: BLE001  (raised again where the result is taken)
            answer.set_exception(problem)

    threading.Thread(target=ask, daemon=True).start()
    return answer


def fill_progress(daemon: Daemon, recordset: str) -> dict[str, Any]:
    """The progress of the fills for a record set: {"completed", "total"}; {} if the mirror does not report it."""
    try:
        fills = daemon.ask(STATUS).fills
    except click.ClickException:
        return {}
    mine = [fill for fill in fills if fill.series.lower() in recordset.lower()]
    total = sum(fill.total for fill in mine)
    return {"completed": sum(fill.done for fill in mine), "total": total} if total else {}


# ---- quick looks ---------------------------------------------------------------------------------
# ``mirror search --open N`` shows the picture of a record.


def open_quick_look(daemon: Daemon, search: SearchQuery, number: int) -> Path:
    """Save the picture of the ``number``-th record of a search, open it if there is a screen, and print its path."""
    asked = QuicklookQuery(ds=search.ds, seg=search.seg, n=search.n, number=number, fetch=True)
    with daemon.stream(QUICKLOOK.path, asked) as answer:
        png = answer.read()
        record = unquote(answer.headers.get("X-Mirror-Record", "record"))
        segment = unquote(answer.headers.get("X-Mirror-Segment", ""))
    path = Path(tempfile.mkdtemp(prefix="mirror-")) / f"{_file_name(record, segment)}.png"
    path.write_bytes(png)
    if has_screen(os.environ) and sys.stdout.isatty():
        click.launch(str(path))
    remark(f"quick look of {record}{{{segment}}}: {path}")
    return path


def has_screen(environ: Mapping[str, str]) -> bool:
    """True if a picture can be shown here: not over a plain ssh connection, for example."""
    return sys.platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _file_name(record: str, segment: str) -> str:
    """A plain name that says what the file is."""
    return re.sub(r"[^A-Za-z0-9.]+", "_", f"{record}_{segment}").strip("._")[:100] or "quicklook"
