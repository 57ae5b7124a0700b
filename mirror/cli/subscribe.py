"""``mirror subscribe``: tables ``[[subscription]]`` of config.toml, written, listed and taken out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mirror.api.fills import Estimate
from mirror.api.monitoring import STATUS
from mirror.api.subscriptions import ESTIMATE_SUBSCRIPTION, SUBSCRIPTIONS, SubscriptionTable
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
from mirror.cli.sync import show_subscriptions
from mirror.services.subscriptions.editing import Subscribing


@click.command
@click.argument("series", required=False)
@click.option("--start", metavar="TIME", help="From when on: 2024.01.01_TAI, or -30d.")
@click.option("--end", metavar="TIME", help="Until when.  [default: now]")
@click.option("--name", help="What it is called.  [default: the series]")
@click.option(
    "--key", "keys", metavar="KEY=VALUES", multiple=True, help="A prime key: WAVELNTH=171,193. Repeatable."
)
@click.option("--where", metavar="CONDITION", help="Files only of records for which this holds.")
@click.option("--step", metavar="TIME", help="One record each so long: 1h.")
@click.option(
    "--seg",
    "--segments",
    "segments",
    metavar="NAMES",
    help="Files to fetch, with commas; ALL. Without: keywords only.",
)
@click.option(
    "--protocol", type=click.Choice(["as-is", "fits"]), help="fits: what FITS exports need is kept too."
)
@click.option("--every", metavar="TIME", help="How often to look for what is new.  [default: 1h]")
@click.option(
    "--keep", metavar="TIME", help="forever, window, or how long files are kept.  [default: forever]"
)
@click.option("--priority", type=click.Choice(["high", "normal", "low"]), help="Among the subscriptions.")
@click.option("--hours", metavar="HH:MM-HH:MM", help="At which hours of the day.")
@click.option("--budget", metavar="SIZE/TIME", help="How much may come: 50GB/day.")
@click.option("--list", "listing", is_flag=True, help="List the subscriptions.")
@click.option("--remove", metavar="NAME", help="Take a subscription out; what it has fetched stays.")
@click.option(
    "--config", "path", envvar="MIRROR_CONFIG", type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write to.  [default: that of the running mirror; env: MIRROR_CONFIG]",
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
    """Have the mirror keep data current by itself: writes a [[subscription]] into its config.toml.

    A running mirror sees the edit and begins at once, with the newest data; `mirror sync` shows how far it
    is. People who wait come before all subscriptions.

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
    if listing:
        show_subscriptions(daemon.ask(SUBSCRIPTIONS), form)
        return
    subscription = {} if remove else _table(series or "", given)
    if dry_run and not remove:
        show_estimate(_estimate(daemon, subscription), as_json=form == "json")
        return
    file = path or file_of(daemon)
    if remove:
        Subscribing(file, os.environ).remove(remove)
        remark(
            f"{file}: the subscription {remove} is taken out; what it has fetched stays as long as there is room"
        )
        return
    announce_estimate(lambda: _estimate(daemon, subscription))
    added = Subscribing(file, os.environ).add(subscription)
    remark(f"{file}: the subscription {added.identity} is written")
    if form == "json":
        show({"name": added.identity, "file": str(file)}, form)


def _estimate(daemon: Daemon, subscription: Mapping[str, Any]) -> Estimate:
    """What the subscription would fetch by now; raises what the mirror finds wrong with it."""
    return daemon.ask(ESTIMATE_SUBSCRIPTION, SubscriptionTable(**subscription))


def file_of(daemon: Daemon) -> Path:
    """The file that the running mirror follows."""
    answer = daemon.ask(STATUS).config.file
    if answer is None:
        raise click.ClickException(
            "the mirror runs without a configuration; say which file it is to have: --config FILE"
        )
    if not Path(answer).exists():
        raise click.ClickException(f"the mirror's {answer} is on another machine; change it there")
    return Path(answer)


def _table(series: str, given: dict[str, Any]) -> dict[str, Any]:
    """The keys that were given, as they stand in the file."""
    if not given["start"]:
        raise click.UsageError("--start is missing: from when on, such as 2024.01.01_TAI or -30d")
    keys = dict(_key(text) for text in given.pop("keys"))
    segments = [name.strip() for name in (given.pop("segments") or "").split(",") if name.strip()]
    rest = {name: value for name, value in given.items() if value is not None}
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
