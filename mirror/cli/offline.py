"""``mirror offline`` and ``mirror online``: whether a running mirror asks JSOC."""

from __future__ import annotations

import json
from typing import Literal

import click

from mirror.api.contract import plain
from mirror.api.freshness import SET_POLICY, PolicyBody
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option

_MEANING = {
    "offline": "JSOC is not asked; what is held is answered",
    "fallback": "JSOC is asked for what is missing; while it does not answer, what is held is answered",
    "strict": "JSOC is asked for what is missing; while it does not answer, nothing old is answered",
}


@click.command
@json_option
@url_option
def offline(as_json: bool, daemon: Daemon) -> None:
    """Let the mirror ask JSOC nothing from now on.

    What it holds is answered as ever, and what it does not hold is an error that names what is missing.
    That lasts until `mirror online`, a restart, or an edit of the policy in config.toml.

    \b
        mirror offline
        mirror offline --json
    """
    _set(daemon, "offline", as_json=as_json)


@click.command
@json_option
@url_option
def online(as_json: bool, daemon: Daemon) -> None:
    """Let the mirror ask JSOC again, as config.toml says.

    A mirror that config.toml keeps offline asks JSOC for what is missing from now on, until a restart.

    \b
        mirror online
    """
    _set(daemon, "online", as_json=as_json)


def _set(daemon: Daemon, policy: Literal["offline", "online"], *, as_json: bool) -> None:
    answer = daemon.ask(SET_POLICY, PolicyBody(policy=policy))
    click.echo(json.dumps(plain(answer)) if as_json else f"{answer.policy}: {_MEANING[answer.policy]}")
