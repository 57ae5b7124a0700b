"""``mirror pin``: files that must stay in the store."""

from __future__ import annotations

import getpass
import os
from typing import Any

import click

from mirror.api.maintenance import PIN, PINS, UNPIN, PinBody
from mirror.cli.support.completion import segment_names, series_names
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import Form, form_options, limit_option, remark, show
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
        ds=recordset, seg=given["seg"] or "", n=limit, owner=owner or _user(), seconds=given["seconds"],
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


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        return str(os.getuid())
