"""The command ``mirror``: its subcommands, each loaded when it is used.

A subcommand lives in ``mirror.cli.<module>`` as a click command of its own name; to add one, add it to
COMMANDS. Modules are loaded late so that ``mirror status`` does not wait for the parts of a server.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from mirror import __version__
from mirror.drms.errors import MirrorError

#: Each command, its module, and what it is for, in the order in which a newcomer meets them.
COMMANDS = {
    "demo": ("mirror.cli.demo", "See it work: a simulated JSOC, a mirror, real clients."),
    "serve": ("mirror.cli.serve", "Run a mirror."),
    "simulate": ("mirror.cli.simulate", "Run a JSOC in a box, to try things on."),
    "search": ("mirror.cli.search", "Search records, as a table, JSON or CSV."),
    "fetch": ("mirror.cli.fetch", "Fetch the files of records into a folder."),
    "export": ("mirror.cli.export", "Export records: a folder of files at the mirror."),
    "jobs": ("mirror.cli.jobs", "List the exports that were asked for, or one of them with its files."),
    "pin": ("mirror.cli.pin", "Pin files, so that they stay in the mirror's store."),
    "evict": ("mirror.cli.evict", "Make room: throw out the files that were not used for longest."),
    "series": ("mirror.cli.inspect", "List the series that the mirror knows."),
    "coverage": ("mirror.cli.inspect", "Show for which ranges the mirror holds every record."),
    "status": ("mirror.cli.inspect", "Show how the mirror is doing."),
}


class Commands(click.Group):
    """A group whose commands are imported when they are called; MirrorErrors become messages."""

    def __init__(self, commands: Mapping[str, tuple[str, str]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._modules = commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order they were given."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command, imported now; None if there is none of that name."""
        if name not in self._modules:
            return None
        command = getattr(importlib.import_module(self._modules[name][0]), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{self._modules[name][0]}.{name} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in ``--help``, which needs no import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._modules.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; what it cannot do on purpose is one message and exit code 1."""
        try:
            return super().invoke(ctx)
        except MirrorError as problem:
            raise click.ClickException(str(problem)) from problem


HELP = """A caching mirror of the JSOC solar data archive.

A mirror stands between your scripts and JSOC. What anyone has asked once, it answers by itself, at
once, also while JSOC is down. Scripts with drms or sunpy stay as they are:

\b
    mirror demo                              see it happen, nothing to set up
    mirror serve                             run a mirror on port 8040
    HTTP_PROXY=http://localhost:8040 python your_script.py
    mirror search 'hmi.v_45s[2014.01.01_TAI/1h]' --key T_REC,CRLT_OBS
    mirror fetch 'hmi.m_720s[2014.01.01/1h]' --to data

A record set is a series, then for each of its prime keys a value or range in brackets:

\b
    hmi.v_45s[2014.01.01_TAI/1d@1h]          a day of Dopplergrams, one an hour
    hmi.sharp_720s[4864][$]                  the last record of an active region
    aia.lev1_euv_12s[2014.01.01/1m][171]     a minute in one wavelength
    hmi.m_720s[2014.01.01/1d][? QUALITY=0 ?] those without a flag

Every command explains itself: mirror COMMAND --help.
"""

main = click.version_option(__version__, prog_name="mirror")(
    Commands(COMMANDS, name="mirror", help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
)
