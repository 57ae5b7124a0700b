"""The command ``mirror``: its subcommands, each loaded when it is used.

A subcommand lives in ``mirror.cli.<module>`` as a click command of its own name; to add one, add it to
COMMANDS. Modules are loaded late so that ``mirror status`` does not wait for the parts of a server.
"""

from __future__ import annotations

import errno
import importlib
import keyword
from collections.abc import Mapping, Sequence
from typing import Any

import click

from mirror.errors import MirrorError

#: Each command, its module, and what it is for.
COMMANDS = {
    "demo": ("mirror.cli.demo", "See it work: a simulated JSOC, a mirror, real clients."),
    "serve": ("mirror.cli.serve", "Run a mirror."),
    "simulate": ("mirror.cli.simulate", "Run a JSOC in a box, to try things on."),
    "search": ("mirror.cli.search", "Search records, as a table, JSON or CSV."),
    "fetch": ("mirror.cli.fetch", "Fetch the files of records into a folder."),
    "cutout": ("mirror.cli.cutout", "Cut parts out of images, as FITS files."),
    "export": ("mirror.cli.export", "Export records: a folder of files at the mirror."),
    "fill": ("mirror.cli.fill", "Fetch the records of a record set, however many."),
    "jobs": ("mirror.cli.jobs", "List exports, fills and subscriptions, or one of them."),
    "cancel": ("mirror.cli.cancel", "End a fill or an export that is under way."),
    "adopt": ("mirror.cli.adopt", "Give the mirror FITS files that you have already."),
    "subscribe": ("mirror.cli.subscribe", "Have the mirror keep data current by itself."),
    "sync": ("mirror.cli.sync", "Fetch what the subscriptions want, or show how far it is."),
    "pin": ("mirror.cli.pin", "Pin files, so that they stay in the mirror's store."),
    "evict": ("mirror.cli.evict", "Make room: throw out what was not used for longest."),
    "forget": ("mirror.cli.forget", "Give up what is held of a record set."),
    "check": ("mirror.cli.check", "Look at everything that is held, and mend what is damaged."),
    "token": ("mirror.cli.token", "Make, list and revoke tokens."),
    "audit": ("mirror.cli.audit", "Show what admins did, newest first."),
    "usage": ("mirror.cli.usage", "Show who used the mirror how much."),
    "backup": ("mirror.cli.backup", "Back the mirror's store up, while it serves."),
    "restore": ("mirror.cli.restore", "Make a store from a backup."),
    "bundle": ("mirror.cli.bundle", "Put a part of the mirror on a disk."),
    "import": ("mirror.cli.import_", "Take a bundle into the mirror's store."),
    "sql": ("mirror.cli.sql", "Run SQL over every keyword of all that is held."),
    "series": ("mirror.cli.inspect", "List the series that the mirror knows."),
    "coverage": ("mirror.cli.inspect", "Show for which ranges every record is held."),
    "changes": ("mirror.cli.changes", "Show which held records JSOC replaced, newest first."),
    "offline": ("mirror.cli.offline", "Let the mirror ask JSOC nothing from now on."),
    "online": ("mirror.cli.offline", "Let the mirror ask JSOC again, as config.toml says."),
    "status": ("mirror.cli.status", "Show how the mirror is doing."),
}
#: What belongs together in ``--help``, in the order in which a newcomer meets it.
SECTIONS = {
    "Trying out": ("demo", "simulate"),
    "Every day": ("serve", "search", "sql", "fetch", "cutout", "export", "fill", "jobs", "cancel"),
    "What is there": ("status", "series", "coverage", "changes", "usage"),
    "Keeping data": ("subscribe", "sync", "pin", "adopt", "offline", "online"),
    "Upkeep": ("check", "evict", "forget", "backup", "restore"),
    "Carrying away": ("bundle", "import"),
    "Who may use it": ("token", "audit"),
}


#: The exit code of a program that ctrl-C ended, as shells have it.
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The lists in ``--help``, which need no import; one column is as wide in all of them."""
        width = max(map(len, self._modules))
        for title, names in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), self._modules[name][1]) for name in names])

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; what cannot be done is one message and exit code 1, ctrl-C exit code 130."""
        try:
            return super().invoke(ctx)
        except MirrorError as problem:
            raise click.ClickException(str(problem)) from problem
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(INTERRUPTED)
        except OSError as problem:
            if problem.errno == errno.EPIPE:  # whoever read our output has read enough; click ends in silence
                raise
            raise click.ClickException(_refused(problem)) from problem


def _refused(problem: OSError) -> str:
    """What the system would not do, in one line."""
    names = " and ".join(str(name) for name in (problem.filename, problem.filename2) if name is not None)
    return f"{names}: {problem.strerror}" if names else str(problem.strerror or problem)


def _attribute(name: str) -> str:
    """What a command is called in its module: Python has other uses for ``import``."""
    return f"{name}_" if keyword.iskeyword(name) else name


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

Every command explains itself: mirror COMMAND --help. The exit code is 0 if all went well, 1 if something
could not be done, 2 for a wrong use, 130 after ctrl-C. Data go to stdout, words about them to stderr.
"""



def _tell_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from mirror import __version__  # noqa: PLC0415  (looking it up takes longer than most commands need to start)

        click.echo(f"mirror, version {__version__}")
        context.exit()


main = click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_tell_version,
    help="Show the version and exit.",
)(
    Commands(
        COMMANDS, SECTIONS, name="mirror", help=HELP, context_settings={"help_option_names": ["-h", "--help"]}
    )
)
