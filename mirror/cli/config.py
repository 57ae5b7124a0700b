"""``mirror config``: whether a configuration is right, and where each of its values comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mirror.cli.support.output import json_option, remark, show
from mirror.cli.support.paths import GivenPath
from mirror.config.loading import Problem, check_access, examine, read_config, text_of
from mirror.config.showing import Shown, lines_of, placed, shown
from mirror.errors import ConfigError
from mirror.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.config.loading import Config

#: What [access] is about: who may come, and from where.
_OF_ACCESS = ("server", "access", "token")

_file = click.argument(
    "path", metavar="[FILE]", required=False, envvar="MIRROR_CONFIG", type=GivenPath(path_type=Path)
)


@click.group
def config() -> None:
    """Check a configuration, or show where its values come from.

    \b
        mirror config check config.toml
        mirror config show config.toml
    """


@config.command
@_file
@click.pass_context
def check(context: click.Context, path: Path | None) -> None:
    """Check a configuration file, and the environment variables that override it.

    Prints one line per problem. The exit code is 0 if the configuration is right, and 1 if not. Nothing is
    started or changed. Without FILE, the file that --config or MIRROR_CONFIG names is checked.

    \b
        mirror config check /etc/jsoc-mirror/config.toml
    """
    if path is None:
        raise click.UsageError("expected a FILE, or one named by --config or MIRROR_CONFIG")
    text = text_of(path)
    found, problems = examine(text, path, os.environ)
    lines = list(_lines(path, text, [*problems, *_of_access(found, problems)]))
    for line in lines:
        click.echo(line)
    if lines:
        context.exit(1)
    remark(f"{path} is valid")


def _of_access(found: Config, problems: Sequence[Problem]) -> Iterator[Problem]:
    """That nobody has access, which only matters to a mirror that starts."""
    if any(problem.section in _OF_ACCESS for problem in problems):
        return
    try:
        check_access(found)
    except ConfigError as problem:
        yield Problem(str(problem).partition(" Set one of these")[0], "server", key="host")


def _lines(path: Path, text: str, problems: Sequence[Problem]) -> Iterator[str]:
    """A line for each problem, in the order of the file; those of the environment are last."""
    known = lines_of(text)
    found = []
    for problem in problems:
        told = problem.text.partition("\n")[0]
        told = redacted(told) if "://" in told else told
        places = ((problem.section, problem.number, name) for name in (problem.key, ""))
        line = None if problem.in_environment else next((known[place] for place in places if place in known), None)
        found.append((problem.in_environment, line or 0, told if problem.in_environment else f"{placed(path, line)}: {told}"))
    yield from (told for _, _, told in sorted(found, key=lambda each: each[:2]))


@config.command("show")
@_file
@json_option
def show_(path: Path | None, as_json: bool) -> None:
    """Show every key with its value, and where the value comes from.

    A value comes from an environment variable, or else from the file with its line, or else it is the default.
    Options of `mirror serve` override all of these. Tokens, their hashes and passwords are hidden. Without FILE,
    the file that --config or MIRROR_CONFIG names is shown, or the defaults.

    \b
        mirror config show config.toml
        mirror config show config.toml --json
    """
    text = "" if path is None else text_of(path)
    rows = list(shown(read_config(text, path, os.environ), text, os.environ))
    if as_json:
        file = None if path is None else str(path)
        show([_plain(row, file if row.source == "file" else None) for row in rows], "json")
        return
    wide = max(len(row.key) for row in rows)
    values = [row.value if isinstance(row.value, str) else json.dumps(row.value) for row in rows]
    room = min(max(map(len, values)), 45)
    for row, value in zip(rows, values, strict=True):
        origin = row.variable or ("default" if path is None or row.source == "default" else placed(path, row.line))
        click.echo(f"{row.key:<{wide}}  {value:<{room}}  {origin}")


def _plain(row: Shown, file: str | None) -> dict[str, Any]:
    return {
        "key": row.key, "value": row.value, "source": row.source, "file": file, "line": row.line, "variable": row.variable,
    }  # fmt: skip
