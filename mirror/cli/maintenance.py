"""``mirror pin``, ``evict``, ``forget``, ``check``: what the store keeps, and whether it is intact."""

from __future__ import annotations

import time
from typing import Any

import click
from msgspec.structs import replace

from mirror.api.maintenance import (
    BEGIN_CHECK,
    CHECK,
    EVICT,
    FORGET,
    PIN,
    PINS,
    UNPIN,
    CheckBody,
    CheckProgress,
    CheckRun,
    EvictBody,
    ForgetBody,
    Forgotten,
    PinBody,
    Scope,
)
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import (
    Form,
    form_options,
    json_option,
    limit_option,
    one_of,
    remark,
    show,
    size_option,
)
from mirror.cli.support.parameters import segment_names, series_names
from mirror.client.connection import user_name
from mirror.config.readers import duration
from mirror.humanize import counted, in_words


def _seconds(_context: click.Context, _option: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else duration(text)
    except ValueError as problem:
        raise click.BadParameter(f"{text!r}; expected {problem}") from problem


@click.command
@click.argument("recordset", shell_complete=series_names, required=False)
@click.option("--seg", "--segments", "seg", metavar="NAMES", shell_complete=segment_names, help="Segments, comma-separated.  [default: all]")
@limit_option
@click.option("--remove", is_flag=True, help="Remove your pins.")
@click.option("--for", "seconds", metavar="TIME", callback=_seconds, help="How long, such as 30d.  [default: forever]")
@click.option("--reason", metavar="TEXT", help="Reason, shown to others.  [default: the record set]")
@click.option("--owner", metavar="NAME", help="Owner of the pins.  [default: your user name]")
@form_options
@url_option
def pin(
    recordset: str | None,
    daemon: Daemon,
    remove: bool,
    owner: str | None,
    limit: int | None,
    form: Form,
    **given: Any,
) -> None:
    """Pin files so that they are never evicted; without a record set, list pins.

    When the quota is full, the least recently used files are evicted. Files pinned by anyone stay. Only
    cached files can be pinned: fetch missing ones first.

    \b
        mirror pin 'hmi.sharp_cea_720s[4864]' --reason 'paper on AR 12192'
        mirror pin 'aia.lev1_euv_12s[2014.01.01/1h][171]' --for 30d
        mirror pin 'hmi.sharp_cea_720s[4864]' --remove
        mirror pin
    """
    if recordset is None:
        if remove:
            raise click.UsageError("--remove needs a RECORDSET")
        pins = daemon.ask(PINS)
        show(pins, form)
        if form == "table" and not pins:
            remark("no pins yet; add some with `mirror pin RECORDSET`")
        return
    body = PinBody(
        ds=recordset, seg=given["seg"] or "", n=limit, owner=owner or user_name(), seconds=given["seconds"],
        reason=given["reason"] or "",
    )  # fmt: skip
    if remove:
        gone = daemon.ask(UNPIN, body)
        _tell(gone, f"{counted(gone.removed, 'pin')} removed", form)
        return
    answer = daemon.ask(PIN, body)
    text = f"pinned: {counted(answer.pinned, 'file')}, {in_words(answer.bytes)}"
    _tell(answer, text + (f"; not cached: {answer.not_held:,} (get them with `mirror fetch`)" if answer.not_held else ""), form)
    if answer.not_held and not answer.pinned:
        raise SystemExit(1)


def _tell(answer: object, text: str, form: Form) -> None:
    if form == "table":
        remark(text)
    else:
        show(answer, form)


@click.command
@size_option("--need", help="Space to free, such as 20GB.")
@click.option("--dry-run", is_flag=True, help="Show what would be evicted, and change nothing.")
@form_options
@url_option
def evict(need: int | None, dry_run: bool, form: Form, daemon: Daemon) -> None:
    """Free space: evict the least recently used files.

    Pinned files and files in use are never evicted. A mirror with a quota evicts automatically when it is
    full. Evicted files are fetched again when needed.

    \b
        mirror evict --dry-run                everything evictable, first to go first
        mirror evict --dry-run --need 20GB    what would be evicted to free 20 GB
        mirror evict --need 20GB
    """
    if need is None and not dry_run:
        raise click.UsageError("expected --need SIZE, such as --need 20GB, or --dry-run")
    answer = daemon.ask(EVICT, EvictBody(need=need, dry_run=dry_run))
    if form == "table":
        show([{"file": f.file, "size": in_words(f.size), "last used": f.last_used} for f in answer.files], form)
    else:
        show(answer if form == "json" else answer.files, form)
    verb = "would free" if dry_run else "freed"
    unnamed = answer.blobs - len(answer.files)
    more = f" ({unnamed:,} not listed)" if unnamed else ""
    limit = f" of a quota of {in_words(answer.quota)}" if answer.quota else ""
    remark(
        f"{verb} {in_words(answer.freed)} in {counted(answer.blobs, 'file')}{more}; {in_words(answer.held)} cached{limit}"
    )
    if need is not None and answer.freed < need:
        remark("all other files are pinned or in use")


@click.command
@click.argument("recordset", shell_complete=series_names)
@click.option("--files", is_flag=True, help="Delete files only.")
@click.option("--records", is_flag=True, help="Delete records and their coverage only.")
@click.option("--force", is_flag=True, help="Delete pinned files, and records of data sets, too.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@url_option
def forget(
    recordset: str,
    files: bool,
    records: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    daemon: Daemon,
) -> None:
    """Delete cached records and files of a record set or a whole series.

    They are fetched from JSOC again when needed. Pinned files and records of data sets stay.

    \b
        mirror forget 'hmi.m_720s[2014.01.01/1d]' --dry-run
        mirror forget 'hmi.m_720s[2014.01.01/1d]' --files
        mirror forget hmi.m_720s --yes
    """
    named = files or records
    body = ForgetBody(
        ds=recordset, force=force, files=files if named else None, records=records if named else None
    )
    answer = daemon.ask(FORGET, replace(body, dry_run=True))
    for warning in answer.warnings:
        remark(f"warning: {warning}")
    if not dry_run:
        if not yes and (answer.files or answer.records):
            click.confirm(f"{_what_goes(answer)} will be deleted. Continue?", abort=True, err=True)
        answer = daemon.ask(FORGET, body)
    if as_json:
        show(answer, "json")
        return
    remark(f"{'would delete' if dry_run else 'deleted'}: {_what_goes(answer)}{_kept(answer)}")


def _what_goes(answer: Forgotten) -> str:
    return (
        f"{counted(answer.records, 'record')}, {counted(answer.files, 'file')}, {in_words(answer.bytes)}"
    )


def _kept(answer: Forgotten) -> str:
    kept = [
        what
        for count, what in (
            (answer.pinned, f"{counted(answer.pinned, 'file')} pinned or in use"),
            (answer.shared, f"{counted(answer.shared, 'file')} shared with other records"),
            (answer.kept, f"{counted(answer.kept, 'record')} of data sets"),
        )
        if count
    ]
    return f"; kept: {', '.join(kept)}" if kept else ""


#: Seconds between two requests for progress.
_LOOK = 0.3


@click.command
@one_of("--files", "scope", "files", "all", help="Check files only: contents, links, partial downloads.")
@one_of("--index", "scope", "index", "all", help="Check the index only: records and coverage.")
@one_of("--all", "scope", "all", "all", help="Check both.  [default]")
@size_option("--budget", help="Stop after reading this much, such as 50GB; the next check continues there.")
@click.option("--restart", is_flag=True, help="Start over instead of resuming an unfinished check.")
@json_option
@url_option
@click.pass_context
def check(
    context: click.Context, scope: Scope, budget: int | None, restart: bool, as_json: bool, daemon: Daemon
) -> None:
    """Verify all cached data and repair what is damaged.

    Compares every file with its hash, and every record with its printed values. Damaged data are set aside
    and fetched again from JSOC. An interrupted check resumes. The exit code is 0 if everything is fine or
    was repaired.

    \b
        mirror check
        mirror check --files --budget 100GB
        mirror check --index --json
    """
    answer = daemon.ask(BEGIN_CHECK, CheckBody(scope=scope, budget=budget, restart=restart))
    if answer.joined:
        remark("a check is already running; waiting for it")
    if answer.resumed:
        remark("resuming an unfinished check; --restart starts over")
    answer = _watched(daemon, answer)
    if as_json:
        show(answer, "json")
    else:
        _print(answer)
    context.exit(0 if answer.ok else 1)


def _watched(daemon: Daemon, answer: CheckProgress) -> CheckProgress:
    """Wait for the end, with a line that shows the progress."""
    from rich.console import Console  # noqa: PLC0415  (only here, since loading it takes long)
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        line = progress.add_task("", state="", total=None)
        while answer.running:
            time.sleep(_LOOK)
            answer = daemon.ask(CHECK)
            if (run := answer.run) is not None:
                progress.update(
                    line,
                    total=len(run.steps),
                    completed=run.steps.index(run.step),
                    description=run.doing,
                    state=_looked_at(run),
                )
    return answer


def _print(answer: CheckProgress) -> None:
    columns = ("kind", "place", "problem", "action", "outcome")
    if answer.findings:
        show({"columns": columns, "rows": [[getattr(f, c) for c in columns] for f in answer.findings]}, "table")
    more = answer.more_findings or 0
    if more:
        remark(f"and {more:,} more findings")
    if (run := answer.run) is None:
        return
    ended = "" if run.ended_at else "; stopped before the end, the next check continues there"
    found = len(answer.findings) + more
    verdict = (
        "no problems"
        if not found
        else f"{counted(found, 'finding')}, {'all repaired' if answer.ok else 'not all could be repaired'}"
    )
    remark(f"{_looked_at(run)}: {verdict}{ended}")


def _looked_at(run: CheckRun) -> str:
    return f"{counted(run.files, 'file')}, {counted(run.records, 'record')}, {in_words(run.bytes)}"
