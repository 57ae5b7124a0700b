"""The command ``mirror``: its subcommands, each loaded when it is used.

A subcommand lives in ``mirror.cli.<module>`` as a click command of its own name; to add one, add it to
COMMANDS. Modules are loaded late so that ``mirror status`` does not wait for the parts of a server.
"""

from __future__ import annotations

import errno
import importlib
import keyword
import os
from collections.abc import Mapping, Sequence
from typing import Any

import click

from mirror.errors import MirrorError

#: Each command, its module, and its purpose.
COMMANDS = {
    "demo": ("mirror.cli.demo", "Try it: a simulated JSOC, a mirror, real clients."),
    "serve": ("mirror.cli.serve", "Run a mirror."),
    "simulate": ("mirror.cli.simulate", "Run a simulated JSOC for tests and trials."),
    "search": ("mirror.cli.search", "Search records; print a table, JSON or CSV."),
    "fetch": ("mirror.cli.fetch", "Download the files of records into a folder."),
    "cutout": ("mirror.cli.images", "Cut parts out of images, as FITS files."),
    "film": ("mirror.cli.images", "Make a film of the images of a record set."),
    "plot": ("mirror.cli.plot", "Plot keywords of a record set to a file."),
    "export": ("mirror.cli.export", "Export records to a download folder at the mirror."),
    "fill": ("mirror.cli.fill", "Fetch all missing records of a large record set."),
    "jobs": ("mirror.cli.jobs", "List exports, fills, films and subscriptions, or show one."),
    "cancel": ("mirror.cli.jobs", "Cancel a running fill, export or film."),
    "adopt": ("mirror.cli.adopt", "Add FITS files that you already have."),
    "subscribe": ("mirror.cli.subscriptions", "Keep a series up to date automatically."),
    "sync": ("mirror.cli.subscriptions", "Show the subscriptions, or run them now."),
    "pin": ("mirror.cli.maintenance", "Pin files so that they are never evicted."),
    "evict": ("mirror.cli.maintenance", "Free space: evict the least recently used files."),
    "forget": ("mirror.cli.maintenance", "Delete cached records and files."),
    "check": ("mirror.cli.maintenance", "Verify all cached data and repair what is damaged."),
    "token": ("mirror.cli.token", "Create, list and revoke access tokens."),
    "audit": ("mirror.cli.access", "Show the log of administrative actions."),
    "usage": ("mirror.cli.access", "Show usage per user and day."),
    "config": ("mirror.cli.config", "Check a configuration, or show where its values come from."),
    "backup": ("mirror.cli.backup", "Back up the store while the mirror runs."),
    "restore": ("mirror.cli.backup", "Restore a store from a backup."),
    "dataset": ("mirror.cli.dataset", "Keep records and files as they are now, to cite them."),
    "bundle": ("mirror.cli.bundle", "Copy part of the mirror to a folder."),
    "import": ("mirror.cli.bundle", "Add a bundle to the store."),
    "sql": ("mirror.cli.sql", "Run SQL on all cached keywords."),
    "cluster": ("mirror.cli.cluster", "Show the mirrors of the cluster, or test what they share."),
    "series": ("mirror.cli.inspect", "List the cached series."),
    "coverage": ("mirror.cli.inspect", "Show which ranges are fully cached."),
    "changes": ("mirror.cli.freshness", "Show which records JSOC has reprocessed."),
    "offline": ("mirror.cli.freshness", "Stop the mirror from contacting JSOC."),
    "online": ("mirror.cli.freshness", "Let the mirror contact JSOC again."),
    "status": ("mirror.cli.status", "Show the state of the mirror and of JSOC."),
}
#: The sections of ``--help``, in the order in which a newcomer needs them.
SECTIONS = {
    "Try it": ("demo", "simulate"),
    "Daily use": ("serve", "search", "sql", "fetch", "cutout", "film", "plot", "export", "fill", "jobs", "cancel"),
    "Information": ("status", "series", "coverage", "changes", "usage", "cluster"),
    "Keep data": ("subscribe", "sync", "pin", "dataset", "adopt", "offline", "online"),
    "Maintenance": ("config", "check", "evict", "forget", "backup", "restore"),
    "Move data": ("bundle", "import"),
    "Access": ("token", "audit"),
}


#: The exit code of a program that ctrl-C ended, as in shells.
INTERRUPTED = 130


class Commands(click.Group):
    """A group whose commands are imported when they are called; MirrorErrors become messages.

    ``sections`` say under which title ``--help`` lists each of them.
    """

    def __init__(
        self,
        commands: Mapping[str, tuple[str, str]],
        sections: Mapping[str, Sequence[str]],
        **attributes: Any,
    ) -> None:
        super().__init__(**attributes)
        self._modules = commands
        self._sections = sections

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order they were given."""
        return list(self._modules)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command, imported now; None if there is none of that name."""
        if name not in self._modules:
            return None
        command = getattr(importlib.import_module(self._modules[name][0]), _attribute(name))
        if not isinstance(command, click.Command):
            raise TypeError(f"{self._modules[name][0]}.{name} is not a command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it; the error for an unknown command suggests similar names."""
        name = args[0]
        if name not in self._modules and not name.startswith("-") and not ctx.resilient_parsing:
            from mirror.humanize import near  # noqa: PLC0415  (only for this error)

            found = near(name, self._modules)
            ctx.fail(f"No such command {name!r}." + (f" Did you mean {' or '.join(found)}?" if found else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The lists in ``--help``, made without imports; the first column has the same width in all of them."""
        width = max(map(len, self._modules))
        for title, names in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), self._modules[name][1]) for name in names])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; a failure is one message and exit code 1, ctrl-C exit code 130."""
        if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
            ctx.color = False  # its commands inherit it
        try:
            return self._invoked(ctx)
        except click.ClickException as problem:
            from mirror.cli.support.output import readable  # noqa: PLC0415  (only for errors)

            problem.message = readable(problem.message)  # type: ignore[misc]  # another error would lose its context
            raise

    def _invoked(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except MirrorError as problem:
            raise click.ClickException(str(problem)) from problem
        except click.BadParameter as problem:
            if (message := _of_numbers(problem)) == problem.message:
                raise
            raise click.BadParameter(message, problem.ctx, problem.param, problem.param_hint) from problem
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(INTERRUPTED)
        except OSError as problem:
            if problem.errno == errno.EPIPE:  # the reader of our output has closed it; click ends silently
                raise
            raise click.ClickException(_refused(problem)) from problem


def _of_numbers(problem: click.BadParameter) -> str:
    """What is wrong with a value; of what should be a number also what was expected, which click leaves out."""
    kind = None if problem.param is None else problem.param.type
    if "is not a valid" not in problem.message or not isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        return problem.message
    shown = problem.message.partition(" is not a valid")[0]
    what = "a whole number" if isinstance(kind, click.types.IntParamType) else "a number"
    bounds = f", {kind._describe_range()}" if isinstance(kind, click.IntRange | click.FloatRange) else ""  # noqa: SLF001  (as help has it)
    return f"{shown}; expected {what}{bounds}."


def _refused(problem: OSError) -> str:
    """An error of the operating system, in one line."""
    names = " and ".join(str(name) for name in (problem.filename, problem.filename2) if name is not None)
    return f"{names}: {problem.strerror}" if names else str(problem.strerror or problem)


def _attribute(name: str) -> str:
    """The name of a command in its module: ``import`` is a keyword of Python."""
    return f"{name}_" if keyword.iskeyword(name) else name


HELP = """A caching mirror of the JSOC solar data archive.

It stands between your scripts and JSOC. Whatever was asked once is answered from the cache, in
milliseconds, even while JSOC is down. Scripts that use drms or sunpy do not change:

\b
    mirror demo                              try it, nothing to set up
    mirror serve                             run a mirror on port 8040
    HTTP_PROXY=http://localhost:8040 python your_script.py
    mirror search 'hmi.v_45s[2014.01.01_TAI/1h]' --key T_REC,CRLT_OBS
    mirror fetch 'hmi.m_720s[2014.01.01/1h]' --to data

A record set is a series name, then a value or range in brackets for each prime key:

\b
    hmi.v_45s[2014.01.01_TAI/1d@1h]          one Dopplergram an hour for a day
    hmi.sharp_720s[4864][$]                  the last record of an active region
    aia.lev1_euv_12s[2014.01.01/1m][171]     one minute at one wavelength
    hmi.m_720s[2014.01.01/1d][? QUALITY=0 ?] only with QUALITY 0

For details: mirror COMMAND --help. Exit codes: 0 success, 1 failure, 2 wrong usage, 130 interrupted by
Ctrl-C. Data go to stdout, messages to stderr.
"""


def _tell_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from mirror import __version__  # noqa: PLC0415  (looking it up takes longer than most commands need to start)

        click.echo(f"mirror, version {__version__}")
        context.exit()


def _use_config(context: click.Context, _option: click.Parameter, path: str | None) -> None:
    """Make the command, and what it starts, read this file, by setting MIRROR_CONFIG."""
    if path is None:
        return
    before = os.environ.get("MIRROR_CONFIG")
    os.environ["MIRROR_CONFIG"] = path

    def restore() -> None:
        if before is None:
            os.environ.pop("MIRROR_CONFIG", None)
        else:
            os.environ["MIRROR_CONFIG"] = before

    context.call_on_close(restore)


_version = click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_tell_version,
    help="Show the version and exit.",
)
_config = click.option(
    "--config",
    metavar="FILE",
    expose_value=False,
    callback=_use_config,
    help="Configuration file for any command: mirror --config FILE COMMAND.  [env: MIRROR_CONFIG]",
)
main = _config(
    _version(
        Commands(
            COMMANDS, SECTIONS, name="mirror", help=HELP, context_settings={"help_option_names": ["-h", "--help"]}
        )
    )
)
