"""``mirror status``: the state of the mirror for people: one line per subject, and the subscriptions in a table."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import click

from mirror.api import monitoring as api
from mirror.api.access import USAGE, UsageQuery
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, show, span_in_words
from mirror.humanize import counted, in_words

_JSOC = {
    "ok": "online",
    "failing": "recent failures",
    "away": "not responding; retried from time to time",
    "offline": "not contacted (offline)",
}
_STARS = 3  #: users that are named


@click.command
@form_options
@url_option
def status(form: Form, daemon: Daemon) -> None:
    """Show the state of the mirror and of JSOC: what is cached, what is being fetched.

    \b
        mirror status
        mirror status --json
    """
    answer = daemon.ask(api.STATUS)
    if form != "table":
        show(answer, form)
        return
    click.echo(laid_out([*sections(answer), *_usage(daemon)], _width()))
    if answer.subscriptions:
        from mirror.cli.subscriptions import show_subscriptions  # noqa: PLC0415  (most mirrors have none)

        show_subscriptions(answer.subscriptions, form)


def sections(answer: api.Status) -> Iterator[tuple[str, list[str]]]:
    """The important parts of a status, as subjects with their lines."""
    yield "mirror", [_held(answer), *_running_since(answer)]
    yield "JSOC", [_upstream(answer.upstream), *_budget(answer.upstream.budget)]
    yield "mode", [_policy(answer)]
    if answer.searches:
        yield "searches", [", ".join(f"{n:,} {plan}" for plan, n in answer.searches.items())]
    if answer.jobs:
        yield "exports", [", ".join(f"{n:,} {state}" for state, n in answer.jobs.items())]
    if fetching := [*map(_fill, answer.fills), *map(_files, answer.downloads)]:
        yield "fetching", fetching
    if answer.disk:
        yield "disk", [_disk(answer.disk)]
    if config := list(_config(answer.config)):
        yield "configuration", config
    yield "check", [_check(answer.check)]


def _held(answer: api.Status) -> str:
    files = answer.files
    limit = f" of a quota of {in_words(files.quota)}" if files.quota else ""
    adopted = f", {files.adopted:,} of them adopted" if files.adopted else ""
    held = f"{counted(files.count, 'file')}{adopted} ({in_words(files.bytes)}{limit})"
    return f"{answer.series:,} cached series, {counted(answer.records, 'record')}, {held}"


def _fill(f: api.FillProgress) -> str:
    who = f"{', '.join(f.who)}: " if f.who else ""
    return f"{who}{f.series}, {f.done:,} of {counted(f.total, 'chunk')}{_left(f.seconds_left)}"


def _files(f: api.FileProgress) -> str:
    size = f" of {in_words(f.size)}" if f.size else ""
    return f"{f.who}: {counted(f.files, 'file')}, {in_words(f.bytes)}{size}{_left(f.seconds_left)}"


def _left(seconds: int | None) -> str:
    return "" if seconds is None else f", about {span_in_words(max(1, seconds))} left"


def _disk(answer: api.Disk) -> str:
    used = 100 * (1 - answer.free / answer.total) if answer.total else 0.0
    quota = f"quota for files {in_words(answer.quota)}" if answer.quota else "no quota for files"
    return f"{in_words(answer.free)} free of {in_words(answer.total)} ({used:.0f}% used); {quota}"


def _running_since(answer: api.Status) -> list[str]:
    # If none was running, the command has just opened the store itself.
    return [f"up for {span_in_words(answer.uptime_seconds)}"] if answer.uptime_seconds else []


def _upstream(answer: api.Upstream) -> str:
    since = f"{counted(answer.requests, 'request')} since start"
    failed = f", {answer.failed:,} failed" if answer.failed else ""
    failed += f", {answer.refused:,} refused by JSOC" if answer.refused else ""
    now = f"; {answer.running:,} running, {answer.waiting:,} waiting" if answer.running else ""
    return f"{_JSOC.get(answer.state, answer.state)}; {since}{failed}, {in_words(answer.bytes)} received{now}"


def _budget(answer: api.UpstreamBudget) -> Iterator[str]:
    """How much of the budget was used, if there is a limit."""
    parts = []
    if answer.records.limit:
        parts.append(f"{answer.records.used:,} of {answer.records.limit:,} records per hour")
    if answer.bytes.limit:
        parts.append(f"{in_words(answer.bytes.used)} of {in_words(answer.bytes.limit)} per day")
    if parts:
        yield f"budget: {', '.join(parts)} used"
    if answer.until:
        yield f"budget used up until {answer.until}; {answer.waiting:,} requests are waiting, small searches are still served"


def _policy(answer: api.Status) -> str:
    if answer.configured_policy == answer.policy:
        return answer.policy
    return f"{answer.policy} (set by command; configured: {answer.configured_policy})"


def _config(answer: api.ConfigState) -> Iterator[str]:
    if answer.file:
        yield f"{answer.file}, loaded {answer.loaded}"
    if answer.problem:
        yield f"invalid, the last valid one is used: {answer.problem}"
    if answer.waiting_for_restart:
        yield f"restart needed for: {', '.join(answer.waiting_for_restart)}"


def _check(answer: api.BackgroundCheck) -> str:
    if answer.running:
        return "running; `mirror check` shows progress"
    pace = "no automatic checks; run `mirror check`"
    if answer.budget_per_day:
        pace = f"{in_words(answer.read_today)} of {answer.budget_per_day} per day read"
    if answer.begun is None:
        return pace
    looked = f"{counted(answer.files, 'file')} and {counted(answer.records, 'record')}"
    found = ", ".join(f"{n:,} {outcome}" for outcome, n in answer.found.items()) or "no problems"
    how = f"last check: {looked}" if answer.ended else f"now at {answer.step}: {looked}"
    return f"{pace}; {how}; found since start: {found}"


def _usage(daemon: Daemon) -> list[tuple[str, list[str]]]:
    """The heaviest users of the last day with any use."""
    try:
        lines = daemon.ask(USAGE, UsageQuery())
    except click.ClickException:  # the other lines are useful without it
        return []
    if not lines:
        return []
    day = max(line.day for line in lines)
    most = sorted(
        (line for line in lines if line.day == day), key=lambda u: (u.requests, u.bytes + u.upstream_bytes), reverse=True
    )
    answer = [
        f"{u.who}: {counted(u.requests, 'request')}, {in_words(u.bytes)} sent, {in_words(u.upstream_bytes)} from JSOC"
        for u in most[:_STARS]
    ]
    more = [f"and {len(most) - _STARS:,} more; see `mirror usage`"] if len(most) > _STARS else []
    return [(f"used {day}", [*answer, *more])]


def _width() -> int | None:
    """Columns of the terminal; None if there is none."""
    if not sys.stdout.isatty():
        return None
    import shutil  # noqa: PLC0415

    return shutil.get_terminal_size().columns


def laid_out(found: Sequence[tuple[str, list[str]]], width: int | None) -> str:
    """Subjects with their lines beside them, folded to the width of the terminal; None: not folded."""
    left = max(len(subject) for subject, _ in found) + 2
    rows = []
    for subject, lines in found:
        folded = lines if width is None else [part for line in lines for part in _folded(line, width - left)]
        rows.append(f"{click.style(subject, bold=True)}{' ' * (left - len(subject))}{folded[0]}")
        rows += [f"{' ' * left}{part}" for part in folded[1:]]
    return "\n".join(row.rstrip() for row in rows)


def _folded(line: str, room: int) -> list[str]:
    import textwrap  # noqa: PLC0415

    return textwrap.wrap(line, max(20, room), break_on_hyphens=False) or [""]
