"""``mirror status``: how the mirror is doing, for a person: a line a subject, and the subscriptions in a table."""

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
    told = daemon.ask(api.STATUS)
    if form != "table":
        show(told, form)
        return
    click.echo(laid_out([*sections(told), *_usage(daemon)], _width()))
    if told.subscriptions:
        from mirror.cli.sync import show_subscriptions  # noqa: PLC0415  (most mirrors have none)

        show_subscriptions(told.subscriptions, form)


def sections(told: api.Status) -> Iterator[tuple[str, list[str]]]:
    """What is worth knowing of a status, as subjects with their lines."""
    yield "mirror", [_held(told), *_running_since(told)]
    yield "JSOC", [_upstream(told.upstream), *_budget(told.upstream.budget)]
    yield "mode", [_policy(told)]
    if told.searches:
        yield "searches", [", ".join(f"{n:,} {plan}" for plan, n in told.searches.items())]
    if told.jobs:
        yield "exports", [", ".join(f"{n:,} {state}" for state, n in told.jobs.items())]
    if told.fills:
        yield "fetching", [f"{f.series}: {f.done:,} of {f.total:,} slots or records" for f in told.fills]
    if config := list(_config(told.config)):
        yield "configuration", config
    yield "check", [_check(told.check)]


def _held(told: api.Status) -> str:
    files = told.files
    limit = f" of a quota of {in_words(files.quota)}" if files.quota else ""
    adopted = f", {files.adopted:,} of them adopted" if files.adopted else ""
    held = f"{counted(files.count, 'file')}{adopted} ({in_words(files.bytes)}{limit})"
    return f"{told.series:,} cached series, {counted(told.records, 'record')}, {held}"


def _running_since(told: api.Status) -> list[str]:
    # Where none ran, the command has just opened the store itself.
    return [f"up for {span_in_words(told.uptime_seconds)}"] if told.uptime_seconds else []


def _upstream(told: api.Upstream) -> str:
    since = f"{counted(told.requests, 'request')} since start"
    failed = f", {told.failed:,} failed" if told.failed else ""
    now = f"; {told.running:,} running, {told.waiting:,} waiting" if told.running else ""
    return f"{_JSOC.get(told.state, told.state)}; {since}{failed}, {in_words(told.bytes)} received{now}"


def _budget(told: api.UpstreamBudget) -> Iterator[str]:
    """What was used of the budget, where there is a limit."""
    parts = []
    if told.records.limit:
        parts.append(f"{told.records.used:,} of {told.records.limit:,} records per hour")
    if told.bytes.limit:
        parts.append(f"{in_words(told.bytes.used)} of {in_words(told.bytes.limit)} per day")
    if parts:
        yield f"budget: {', '.join(parts)} used"
    if told.until:
        yield f"budget used up until {told.until}; {told.waiting:,} requests are waiting, small searches are still served"


def _policy(told: api.Status) -> str:
    if told.configured_policy == told.policy:
        return told.policy
    return f"{told.policy} (set by command; configured: {told.configured_policy})"


def _config(told: api.ConfigState) -> Iterator[str]:
    if told.file:
        yield f"{told.file}, loaded {told.loaded}"
    if told.problem:
        yield f"invalid, the last valid one is used: {told.problem}"
    if told.waiting_for_restart:
        yield f"restart needed for: {', '.join(told.waiting_for_restart)}"


def _check(told: api.BackgroundCheck) -> str:
    if told.running:
        return "running; `mirror check` shows progress"
    pace = "no automatic checks; run `mirror check`"
    if told.budget_per_day:
        pace = f"{in_words(told.read_today)} of {told.budget_per_day} per day read"
    if told.begun is None:
        return pace
    looked = f"{counted(told.files, 'file')} and {counted(told.records, 'record')}"
    found = ", ".join(f"{n:,} {outcome}" for outcome, n in told.found.items()) or "no problems"
    how = f"last check: {looked}" if told.ended else f"now at {told.step}: {looked}"
    return f"{pace}; {how}; found since start: {found}"


def _usage(daemon: Daemon) -> list[tuple[str, list[str]]]:
    """Who used it most on the last day that anyone did."""
    try:
        lines = daemon.ask(USAGE, UsageQuery())
    except click.ClickException:  # the rest is worth telling without it
        return []
    if not lines:
        return []
    day = max(line.day for line in lines)
    most = sorted((line for line in lines if line.day == day), key=lambda line: -line.requests)
    told = [f"{u.who}: {counted(u.requests, 'request')}, {in_words(u.bytes)}" for u in most[:_STARS]]
    more = [f"and {len(most) - _STARS:,} more; see `mirror usage`"] if len(most) > _STARS else []
    return [(f"used {day}", [*told, *more])]


def _width() -> int | None:
    """Columns of the terminal; None where none shows it."""
    if not sys.stdout.isatty():
        return None
    import shutil  # noqa: PLC0415

    return shutil.get_terminal_size().columns


def laid_out(found: Sequence[tuple[str, list[str]]], width: int | None) -> str:
    """Subjects beside their lines, which are folded where they are wider than the terminal; None: nowhere."""
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
