"""``mirror offline`` and ``mirror online``: whether a running mirror may ask JSOC."""

from __future__ import annotations

import json
from typing import Literal

import click

from mirror.api.contract import plain
from mirror.api.freshness import SET_POLICY, PolicyBody
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option

_MEANING = {
    "offline": "JSOC is not contacted; only cached data are served",
    "fallback": "missing data are fetched from JSOC; while JSOC is down, cached data are served even if old",
    "strict": "missing data are fetched from JSOC; while JSOC is down, old data are refused",
}


@click.command
@json_option
@url_option
def offline(as_json: bool, daemon: Daemon) -> None:
    """Stop the mirror from contacting JSOC.

    Cached data are served as before; anything else is an error that names what is missing. This lasts until
    `mirror online`, a restart, or an edit of the policy in config.toml.

    \b
        mirror offline
        mirror offline --json
    """
    _set(daemon, "offline", as_json=as_json)


@click.command
@json_option
@url_option
def online(as_json: bool, daemon: Daemon) -> None:
    """Let the mirror contact JSOC again.

    If config.toml sets policy "offline", this lasts until a restart.

    \b
        mirror online
    """
    _set(daemon, "online", as_json=as_json)


def _set(daemon: Daemon, policy: Literal["offline", "online"], *, as_json: bool) -> None:
    answer = daemon.ask(SET_POLICY, PolicyBody(policy=policy))
    click.echo(json.dumps(plain(answer)) if as_json else f"{answer.policy}: {_MEANING[answer.policy]}")
