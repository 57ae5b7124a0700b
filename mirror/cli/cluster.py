"""``mirror cluster``: the mirrors that share with this one, and whether what they share works."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mirror.api.cluster import CLUSTER
from mirror.cli.support.daemon import Daemon, url_option
from mirror.cli.support.output import json_option, remark, show
from mirror.cli.support.parameters import GivenPath
from mirror.config.loading import load_config
from mirror.humanize import counted, in_words

if TYPE_CHECKING:
    from mirror.api.cluster import Cluster


@click.group
def cluster() -> None:
    """Show the mirrors of the cluster, or test what they share.

    \b
        mirror cluster status
        mirror cluster check --config config.toml
    """


@cluster.command
@json_option
@url_option
@click.pass_context
def status(context: click.Context, as_json: bool, daemon: Daemon) -> None:
    """Show which servers are there, and what they share.

    The exit code is 0 if the cluster is there, and 1 if it is away or the mirror is alone.

    \b
        mirror cluster status
        mirror cluster status --json
    """
    told = daemon.ask(CLUSTER)
    if as_json:
        show(told, "json")
    elif told.alone:
        remark(f"this mirror is alone: {told.problem}")
    else:
        _print(told)
    context.exit(0 if told.connected else 1)


def _print(told: Cluster) -> None:
    click.echo(f"cluster  {told.id or 'not seen yet'}, objects at {told.objects}")
    click.echo(f"here     {told.name}: {_how(told)}")
    if told.objects_problem:
        click.echo(f"objects  {told.objects_problem}")
    for server in told.servers:
        click.echo(f"server   {server.name}, {server.version}, since {server.since}" + (", this one" if server.here else ""))
    click.echo(
        f"shared   {counted(told.records, 'record')} in {counted(told.chunks, 'chunk')} ({in_words(told.bytes)}), "
        f"{counted(told.rows, 'row')} of the journal, {counted(told.flights, 'fill')} under way"
    )
    click.echo(f"files    {counted(told.files, 'file')} ({in_words(told.file_bytes)})")
    if told.files_problem:
        click.echo(f"waiting  files of this server do not go there now: {told.files_problem}")
    if told.unpublished:
        verb = "is" if told.unpublished == 1 else "are"
        click.echo(f"waiting  {counted(told.unpublished, 'commit')} of this server {verb} not published yet")
    if told.versions:
        click.echo(f"versions {told.versions}")
    for problem in told.broken:
        click.echo(f"broken   {problem}")


def _how(told: Cluster) -> str:
    if not told.connected:
        return f"away: {told.problem}"
    return f"connected, but {told.problem}" if told.problem else "connected"


@cluster.command
@click.option(
    "--config",
    "path",
    envvar="MIRROR_CONFIG",
    type=GivenPath(path_type=Path),
    help="The configuration whose [cluster] is tried.  [env: MIRROR_CONFIG]",
)
@click.pass_context
def check(context: click.Context, path: Path | None) -> None:
    """Try the PostgreSQL, the objects and the clock of [cluster], and compare the journal with the objects.

    No mirror has to run; one that runs is not disturbed. The exit code is 0 if all is well.

    \b
        mirror cluster check --config config.toml
    """
    section = load_config(path, os.environ).cluster
    if section.database is None:
        raise click.ClickException("there is no [cluster] in the configuration; expected its database and objects")
    from mirror.cluster.check import examine  # noqa: PLC0415  (most mirrors have no cluster)

    logging.getLogger("mirror").setLevel(logging.ERROR)  # each problem is printed once
    found = asyncio.run(examine(section))
    for finding in found:
        click.echo(f"{'ok     ' if finding.ok else 'WRONG  '} {finding.subject}: {finding.text}")
    context.exit(0 if all(finding.ok for finding in found) else 1)
