"""``mirror token``: who is let in with a token; the tables ``[[token]]`` of config.toml."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import click

from mirror.cli.subscribe import file_of
from mirror.cli.support.daemon import Daemon, running_option
from mirror.cli.support.output import Form, form_options, remark, show
from mirror.config.access import ROLES
from mirror.config.editing import ConfigFile
from mirror.services.access import authentication

_config = click.option(
    "--config", "path", envvar="MIRROR_CONFIG", type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write to.  [default: that of the running mirror; env: MIRROR_CONFIG]",
)  # fmt: skip


def _file(path: Path | None, daemon: Daemon) -> ConfigFile:
    return ConfigFile(path or file_of(daemon), os.environ)


@click.group
def token() -> None:
    """Make, list and revoke tokens: for people and programs that are not let in by their address.

    A running mirror sees the edit of its config.toml, and takes or refuses the token at once.

    \b
        mirror token create ada --role export
        mirror token list
        mirror token revoke ada

    Whoever has the token uses it like this, and changes no script:

    \b
        HTTP_PROXY=http://ada:TOKEN@HOST:8040 python script.py
        MIRROR_TOKEN=TOKEN mirror status --url http://HOST:8040
        curl -H 'Authorization: Bearer TOKEN' http://HOST:8040/api/status
    """


@token.command
@click.argument("name")
@click.option(
    "--role", type=click.Choice(ROLES), default="read", show_default=True, help="What it is good for."
)
@_config
@running_option
def create(name: str, role: str, path: Path | None, daemon: Daemon) -> None:
    """Make a token, and print it, this once; config.toml gets its hash.

    read: searches, files, pages, SQL. export: also exports and pins. admin: everything.
    """
    file = _file(path, daemon)
    made = authentication.create(file, name, role, secrets.token_bytes)
    remark(f"{file.path}: the token {name} with the role {role} is written. It is shown now and never again:")
    click.echo(made)


@token.command("list")
@form_options
@_config
@running_option
def list_(path: Path | None, daemon: Daemon, form: Form) -> None:
    """List the tokens: names and roles."""
    show([{"name": t.name, "role": str(t.role)} for t in authentication.listed(_file(path, daemon))], form)


@token.command
@click.argument("name")
@_config
@running_option
def revoke(name: str, path: Path | None, daemon: Daemon) -> None:
    """Take a token out; a running mirror refuses it from then on, and ends the sessions of its owner."""
    file = _file(path, daemon)
    authentication.revoke(file, name)
    remark(f"{file.path}: the token {name} is taken out")
