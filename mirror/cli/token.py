"""``mirror token``: tokens for access; the tables ``[[token]]`` of config.toml."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.cli.subscriptions import file_of
from mirror.cli.support.daemon import Daemon, running_option
from mirror.cli.support.output import Form, form_options, remark, show
from mirror.cli.support.parameters import GivenPath
from mirror.config.access import ROLES
from mirror.config.editing import ConfigFile
from mirror.humanize import in_words
from mirror.services.access import authentication

if TYPE_CHECKING:
    from mirror.config.sections import Token

_config = click.option(
    "--config", "path", envvar="MIRROR_CONFIG", type=GivenPath(path_type=Path),
    help="Configuration file to edit.  [default: that of the running mirror; env: MIRROR_CONFIG]",
)  # fmt: skip


def _file(path: Path | None, daemon: Daemon) -> ConfigFile:
    return ConfigFile(path or file_of(daemon), os.environ)


@click.group
def token() -> None:
    """Create, list and revoke access tokens.

    Tokens are for users and programs whose address alone gives no access. Changes take effect at once.

    \b
        mirror token create ada --role export
        mirror token list
        mirror token revoke ada

    How to use a token:

    \b
        HTTP_PROXY=http://ada:TOKEN@HOST:8040 python script.py
        MIRROR_TOKEN=TOKEN mirror status --url http://HOST:8040
        curl -H 'Authorization: Bearer TOKEN' http://HOST:8040/api/status
    """


@token.command
@click.argument("name")
@click.option(
    "--role", type=click.Choice(ROLES), default="read", show_default=True, help="Role of the token."
)
@click.option("--bytes-per-day", metavar="SIZE", help="Most bytes that it may download, or have fetched from JSOC, per day.")
@click.option("--requests", metavar="RATE", help='Most requests per minute; other periods: "10/s", "5000/h", "20000/d".')
@_config
@running_option
def create(
    name: str, role: str, bytes_per_day: str | None, requests: str | None, path: Path | None, daemon: Daemon
) -> None:
    """Create a token and print it once; config.toml stores only its hash.

    Roles: read (searches, files, pages, SQL), export (also exports and pins), admin (everything).

    \b
        mirror token create ada --role export --bytes-per-day 50GB --requests 5000/h
    """
    file = _file(path, daemon)
    limits = {"bytes_per_day": bytes_per_day, "requests": requests}
    given = {key: value for key, value in limits.items() if value is not None}
    is_first = not authentication.listed(file)
    made = authentication.create(file, name, role, secrets.token_bytes, given)
    if is_first:
        remark("The mirror requires a token from everybody now, also on this computer: export MIRROR_TOKEN=TOKEN")
    remark(f"added token {name} (role {role}) to {file.path}. It is shown only this once:")
    click.echo(made)


@token.command("list")
@form_options
@_config
@running_option
def list_(path: Path | None, daemon: Daemon, form: Form) -> None:
    """List the names, roles and limits of all tokens."""
    tokens = authentication.listed(_file(path, daemon))
    show([_shown(t, form) for t in tokens], form)
    if form == "table" and not tokens:
        remark("no tokens yet; `mirror token create NAME` creates one")


def _shown(token: Token, form: Form) -> dict[str, object]:
    size = token.bytes_per_day
    limits = {"bytes_per_day": in_words(size) if form == "table" and size is not None else size, "requests": token.requests and str(token.requests)}
    return {"name": token.name, "role": str(token.role), **{k: v for k, v in limits.items() if v is not None}}


@token.command
@click.argument("name")
@_config
@running_option
def revoke(name: str, path: Path | None, daemon: Daemon) -> None:
    """Revoke a token and end its sessions."""
    file = _file(path, daemon)
    authentication.revoke(file, name)
    remark(f"removed token {name} from {file.path}")
