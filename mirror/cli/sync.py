"""``mirror sync``: the state of the subscriptions, or a sync now."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from mirror.api.subscriptions import SUBSCRIPTIONS, SYNC, Subscription, SyncBody
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, remark, show
from mirror.humanize import in_words

#: Seconds between two requests for progress.
PAUSE = 0.5
NONE = "no subscriptions yet; add one with `mirror subscribe SERIES --start ...`"
_LOOKS = ("last sync", "next sync")


@click.command
@click.argument("name", required=False)
@click.option("--once", is_flag=True, help="Look for new data now, fetch it, and exit.")
@form_options
@url_option
def sync(name: str | None, once: bool, form: Form, daemon: Daemon) -> None:
    """Show the subscriptions, or run them now (--once).

    A running mirror syncs automatically; --once makes it look for new data now. If no mirror runs, this
    command opens the store itself, for example from a cron job on a laptop. Hours and budgets apply here
    too. The exit code is 1 if a subscription failed.

    \b
        mirror sync                          show the state of all subscriptions
        mirror sync --once                   sync all now
        mirror sync --once magnetograms      sync one, by name
    """
    if not once:
        if name is not None:
            raise click.UsageError("NAME requires --once")
        answer = daemon.ask(SUBSCRIPTIONS)
        show_subscriptions(answer, form)
        if form == "table" and not answer:
            remark(NONE)
        return
    before = daemon.ask(SYNC, SyncBody(name=name))
    if not before:
        remark(NONE)
        return
    reports = _until_done(daemon, before)
    show_subscriptions(reports, form)
    if any(report.state == "failing" for report in reports):
        raise SystemExit(1)


def show_subscriptions(reports: Sequence[Subscription], form: Form) -> None:
    """Prints the state of the subscriptions; in a table only what fits."""
    if form == "table":
        show([{**row, **{name: _moment(row[name]) for name in _LOOKS}} for row in map(line, reports)], form)
    else:
        show(reports if form == "json" else [line(report) for report in reports], form)
    for report in reports if form == "table" else ():
        if report.why:
            remark(f"{report.name}: {report.why}")


def line(report: Subscription) -> dict[str, str]:
    """A subscription in one row."""
    left = report.seconds_left
    return {
        "name": report.name,
        "state": report.state,
        "records": f"{report.records:,}/{report.records_wanted:,}",
        "files": f"{report.files:,}/{report.files_wanted:,}" if report.segments else "",
        "size": in_words(report.bytes) if report.segments else "",
        "rate": f"{in_words(report.rate)}/s" if report.rate and report.state == "working" else "",
        "left": _duration(left) if left and report.state == "working" else "",
        "last sync": report.last_look or "",
        "next sync": report.next_look,
    }


def _moment(text: str) -> str:
    """A short time for tables: "11-22 14:05", in UTC."""
    return f"{text[5:10]} {text[11:16]}" if text else ""


def _until_done(daemon: Daemon, before: dict[str, int]) -> list[Subscription]:
    """Wait until each of these has rested once more; shows their progress meanwhile."""
    from rich.console import Console  # noqa: PLC0415  (`mirror status` takes tables from here, and no console)

    console = Console(stderr=True)
    with console.status("looking for new data") as shown:
        while True:
            found = [r for r in daemon.ask(SUBSCRIPTIONS) if r.name in before]
            if all(r.passes > before[r.name] for r in found):
                return found
            shown.update(", ".join(_progress(r) for r in found if r.passes <= before[r.name]))
            time.sleep(PAUSE)


def _progress(report: Subscription) -> str:
    files = f", {report.files:,} of {report.files_wanted:,} files" if report.segments else ""
    return f"{report.name}: {report.records:,} of {report.records_wanted:,} records{files}"


def _duration(seconds: float) -> str:
    """A time in words, "3 d", "5 h", "12 min" or "40 s": whole, rounded up."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{-(-seconds // size):.0f} {unit}"
    return f"{seconds:.0f} s"
