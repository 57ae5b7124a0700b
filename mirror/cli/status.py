"""``mirror status``: how the mirror is doing, for a person: a line a subject, and the subscriptions in a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, show, span_in_words, wide_enough
from mirror.cli.sync import show_subscriptions
from mirror.humanize import counted, in_words

_JSOC = {
    "ok": "answers",
    "failing": "failed of late",
    "away": "does not answer; it is left alone for a while, and looked at now and then",
    "offline": "is not asked",
}
_STARS = 3  #: users that are named


@click.command
@form_options
@url_option
def status(form: Form, daemon: Daemon) -> None:
    """Show how the mirror is doing: what it holds, what it is fetching, whether JSOC answers.

    \b
        mirror status
        mirror status --json
    """
    told = daemon.get("/api/status")
    if form != "table":
        show(told, form)
        return
    _print([*sections(told), *_usage(daemon)])
    if told.get("subscriptions"):
        show_subscriptions(told["subscriptions"], form)


def sections(told: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """What is worth knowing of a status, as subjects with their lines; what the mirror does not tell is left out."""
    yield "mirror", [_held(told), *_running_since(told)]
    if upstream := told.get("upstream"):
        yield "JSOC", [_upstream(upstream), *_budget(upstream.get("budget") or {})]
    if "policy" in told:
        yield "policy", [_policy(told)]
    if searches := told.get("searches"):
        yield "searches", [", ".join(f"{n:,} {plan}" for plan, n in searches.items())]
    if jobs := told.get("jobs"):
        yield "exports", [", ".join(f"{n:,} {state}" for state, n in jobs.items())]
    if fills := told.get("fills"):
        yield "fetching", [f"{f['series']}: {f['done']:,} of {f['total']:,} slots or records" for f in fills]
    if config := list(_config(told.get("config") or {})):
        yield "configuration", config
    if check := told.get("check"):
        yield "check", [_check(check)]


def _held(told: Mapping[str, Any]) -> str:
    parts = [f"{told.get('series', 0):,} series", counted(told.get("records", 0), "record")]
    if files := told.get("files"):
        limit = f" of a quota of {in_words(files['quota'])}" if files["quota"] else ""
        adopted = f", {files['adopted']:,} of them adopted exports" if files["adopted"] else ""
        parts.append(f"{counted(files['count'], 'file')}{adopted} ({in_words(files['bytes'])}{limit})")
    return f"holds {', '.join(parts)}"


def _running_since(told: Mapping[str, Any]) -> list[str]:
    uptime = told.get("uptime_seconds")
    # Where none ran, the command has just opened the store itself.
    return [] if not uptime else [f"has run for {span_in_words(uptime)}"]


def _upstream(told: Mapping[str, Any]) -> str:
    state = str(told.get("state", ""))
    since = f"{counted(told.get('requests', 0), 'request')} since the start"
    failed = f", {told['failed']:,} failed" if told.get("failed") else ""
    now = f"; {told['running']:,} now, {told['waiting']:,} wait" if told.get("running") else ""
    return f"{_JSOC.get(state, state)}; {since}{failed}, {in_words(told.get('bytes', 0))} received{now}"


def _budget(told: Mapping[str, Any]) -> Iterator[str]:
    """What was used of the budget, where there is a limit."""
    parts = []
    if records := told.get("records", {}).get("limit"):
        parts.append(f"{told['records']['used']:,} of {records:,} records in an hour")
    if size := told.get("bytes", {}).get("limit"):
        parts.append(f"{in_words(told['bytes']['used'])} of {in_words(size)} in a day")
    if parts:
        yield f"budget: {', '.join(parts)} used"
    if told.get("until"):
        yield f"the budget is used up until {told['until']}; {told['waiting']:,} requests wait, people's small questions do not"


def _policy(told: Mapping[str, Any]) -> str:
    policy, configured = told["policy"], told.get("configured_policy")
    return (
        policy
        if configured in (None, policy)
        else f"{policy}, set by hand; the configuration says {configured}"
    )


def _config(told: Mapping[str, Any]) -> Iterator[str]:
    if told.get("file"):
        yield f"{told['file']}, in force since {told['loaded']}"
    if told.get("problem"):
        yield f"not right now, the last good one holds: {told['problem']}"
    if told.get("waiting_for_restart"):
        yield f"waits for a restart: {', '.join(map(str, told['waiting_for_restart']))}"


def _check(told: Mapping[str, Any]) -> str:
    if told.get("running"):
        return "is running, since somebody asked for it; `mirror check` shows how far it is"
    budget, today = told.get("budget_per_day"), in_words(told.get("read_today", 0))
    pace = (
        f"{today} of {budget} a day are read"
        if budget
        else "none by itself; `mirror check` looks at everything"
    )
    if told.get("begun") is None:
        return pace
    looked = f"{counted(told['files'], 'file')} and {counted(told['records'], 'record')}"
    found = ", ".join(f"{n:,} {outcome}" for outcome, n in told.get("found", {}).items()) or "nothing wrong"
    how = f"the last one saw {looked}" if told.get("ended") else f"is at {told['step']}, has seen {looked}"
    return f"{pace}; {how}; found since the start: {found}"


def _usage(daemon: Daemon) -> list[tuple[str, list[str]]]:
    """Who used it most on the last day that anyone did."""
    try:
        lines: Sequence[Mapping[str, Any]] = daemon.get("/api/usage")
    except click.ClickException:  # the rest is worth telling without it
        return []
    if not lines:
        return []
    day = max(line["day"] for line in lines)
    most = sorted((line for line in lines if line["day"] == day), key=lambda line: -line["requests"])
    told = [
        f"{line['who']}: {counted(line['requests'], 'request')}, {in_words(line['bytes'])}"
        for line in most[:_STARS]
    ]
    more = [f"and {len(most) - _STARS:,} more; see `mirror usage`"] if len(most) > _STARS else []
    return [(f"used {day}", [*told, *more])]


def _print(found: Sequence[tuple[str, list[str]]]) -> None:
    drawn = RichTable.grid(padding=(0, 2))
    drawn.add_column(no_wrap=True, style="bold")
    drawn.add_column(overflow="fold")
    for subject, lines in found:
        drawn.add_row(Text(subject), Text("\n".join(lines)))
    console = wide_enough(Console())
    with console.capture() as capture:
        console.print(drawn)
    click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
