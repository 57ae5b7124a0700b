"""``mirror subscribe`` and ``mirror sync``: the subscriptions of config.toml, and what becomes of them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from http.client import BAD_REQUEST, FORBIDDEN, NOT_FOUND
from pathlib import Path
from typing import Any

import click

from mirror.api.fills import Estimate
from mirror.api.monitoring import STATUS
from mirror.api.subscriptions import (
    ESTIMATE_SUBSCRIPTION,
    SUBSCRIPTIONS,
    SYNC,
    Subscription,
    SubscriptionTable,
    SyncBody,
)
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import (
    Form,
    announce_estimate,
    dry_run_option,
    form_options,
    remark,
    show,
    show_estimate,
)
from mirror.cli.support.parameters import GivenPath, segment_names, series_names, subscription_names
from mirror.client.connection import RemoteError
from mirror.humanize import in_words

#: HTTP codes that mean that a subscription is wrong.
_WRONG = (BAD_REQUEST, FORBIDDEN, NOT_FOUND)


@click.command
@click.argument("series", shell_complete=series_names, required=False)
@click.option("--start", metavar="TIME", help="Start of the data: 2024.01.01_TAI, or -30d for the last 30 days.")
@click.option("--end", metavar="TIME", help="End of the data.  [default: now]")
@click.option("--name", help="Name of the subscription.  [default: the series]")
@click.option(
    "--key", "keys", metavar="KEY=VALUES", multiple=True, help="Values of a prime key: WAVELNTH=171,193. Repeatable."
)
@click.option("--where", metavar="CONDITION", help="Fetch files only of records that satisfy this, such as 'QUALITY = 0'.")
@click.option("--step", metavar="TIME", help="Time between records, such as 1h.  [default: every record]")
@click.option(
    "--seg",
    "--segments",
    "segments",
    shell_complete=segment_names,
    metavar="NAMES",
    help="Segments to fetch, comma-separated, or ALL.  [default: keywords only]",
)
@click.option(
    "--protocol", type=click.Choice(["as-is", "fits"]), help="fits: also cache what FITS exports need."
)
@click.option("--every", metavar="TIME", help="How often to look for new data.  [default: 1h]")
@click.option(
    "--keep", metavar="TIME", help="How long to keep files: forever, window, or a time.  [default: forever]"
)
@click.option("--priority", type=click.Choice(["high", "normal", "low"]), help="Priority among subscriptions.  [default: normal]")
@click.option("--hours", metavar="HH:MM-HH:MM", help="Hours of the day in which to fetch.")
@click.option("--budget", metavar="SIZE/TIME", help="Most that may be fetched, such as 50GB/day.")
@click.option("--pictures", is_flag=True, help="Make quick-look pictures of new files ahead.")
@click.option("--list", "listing", is_flag=True, help="List the subscriptions.")
@click.option("--remove", metavar="NAME", shell_complete=subscription_names, help="Remove a subscription; its data stay cached.")
@click.option(
    "--config", "path", envvar="MIRROR_CONFIG", type=GivenPath(path_type=Path),
    help="Configuration file to edit.  [default: that of the running mirror; env: MIRROR_CONFIG]",
)  # fmt: skip
@dry_run_option
@form_options
@url_option
def subscribe(
    series: str | None,
    listing: bool,
    remove: str | None,
    path: Path | None,
    dry_run: bool,
    form: Form,
    daemon: Daemon,
    **given: Any,
) -> None:
    """Keep a series up to date automatically.

    Adds a [[subscription]] to config.toml. A running mirror starts at once, with the newest data; `mirror
    sync` shows progress. Searches and downloads of users have priority.

    \b
        mirror subscribe hmi.M_720s --start -30d --segments magnetogram
        mirror subscribe aia.lev1_euv_12s --start 2024.01.01_TAI --key WAVELNTH=171,193 --step 1h
        mirror subscribe hmi.sharp_cea_720s --start -7d --segments Br,Bt,Bp --keep window --budget 50GB/day
        mirror subscribe hmi.M_45s --start 2010.05.01_TAI --segments ALL --dry-run
        mirror subscribe --list
        mirror subscribe --remove hmi.M_720s
    """
    if sum(map(bool, (series, listing, remove))) != 1:
        raise click.UsageError("expected a SERIES, or --list, or --remove NAME")
    if dry_run and not series:
        raise click.UsageError(f"--dry-run cannot be combined with {'--remove' if remove else '--list'}")
    if listing:
        found = daemon.ask(SUBSCRIPTIONS)
        show_subscriptions(found, form)
        if form == "table" and not found:
            remark(NONE)
        return
    subscription = {} if remove else _table(series or "", given)
    if dry_run:
        show_estimate(_estimate(daemon, subscription), as_json=form == "json")
        return
    from mirror.services.subscriptions.editing import Subscribing  # noqa: PLC0415  (what edits TOML takes as long to load as all else)

    file = path or file_of(daemon)
    if remove:
        Subscribing(file, os.environ).remove(remove)
        remark(
            f"removed subscription {remove} from {file}; its data stay cached while there is space"
        )
        return
    _check_and_tell(daemon, subscription)
    added = Subscribing(file, os.environ).add(subscription)
    remark(f"added subscription {added.identity} to {file}")
    if form == "json":
        show({"name": added.identity, "file": str(file)}, form)


def _check_and_tell(daemon: Daemon, subscription: Mapping[str, Any]) -> None:
    """Print what is about to be fetched; raises what is wrong with the subscription, so that nothing is written.

    If that cannot be determined, because JSOC or the mirror is down, it is written all the same.
    """
    try:
        estimate = _estimate(daemon, subscription)
    except click.ClickException as problem:
        if isinstance(problem.__cause__, RemoteError) and problem.__cause__.code in _WRONG:
            raise
        return
    announce_estimate(lambda: estimate)


def _estimate(daemon: Daemon, subscription: Mapping[str, Any]) -> Estimate:
    """What the subscription would fetch now; raises what the mirror finds wrong with it."""
    return daemon.ask(ESTIMATE_SUBSCRIPTION, SubscriptionTable(**subscription))


def file_of(daemon: Daemon) -> Path:
    """The file that the running mirror follows."""
    answer = daemon.ask(STATUS).config.file
    if answer is None:
        raise click.ClickException(
            "the mirror runs without a configuration file, which is where subscriptions and tokens are kept; start it with one, which may "
            "be empty: touch config.toml; mirror serve --config config.toml"
        )
    if not Path(answer).exists():
        raise click.ClickException(f"the mirror's {answer} is on another machine; edit it there")
    return Path(answer)


def _table(series: str, given: dict[str, Any]) -> dict[str, Any]:
    """The given keys, as they are in the file."""
    if not given["start"]:
        raise click.UsageError("missing --start, such as 2024.01.01_TAI or -30d")
    keys = dict(_key(text) for text in given.pop("keys"))
    segments = [name.strip() for name in (given.pop("segments") or "").split(",") if name.strip()]
    rest = {name: value for name, value in given.items() if value is not None and value is not False}
    return {
        "series": series,
        **rest,
        **({"keys": keys} if keys else {}),
        **({"segments": segments} if segments else {}),
    }


def _key(text: str) -> tuple[str, Any]:
    key, _, values = text.partition("=")
    if not key.strip() or not values.strip():
        raise click.BadParameter(f"{text!r}; expected a prime key and its values, as in WAVELNTH=171,193")
    numbers = values.split(",")
    plain = all(number.strip().isdecimal() for number in numbers)
    return key.strip(), [int(number) for number in numbers] if plain else values.strip()


#: Seconds between two requests for progress.
PAUSE = 0.5
NONE = "no subscriptions yet; add one with `mirror subscribe SERIES --start ...`"
_LOOKS = ("last sync", "next sync")


@click.command
@click.argument("name", required=False, shell_complete=subscription_names)
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
