"""The reference of the commands: what each says with ``--help``, laid out as a page."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING

import click

from mirror.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A remark beside a command, which a help text sets apart by blanks alone.
_REMARK = re.compile(r"^(mirror .*?\S) {2,}(\S.*)$", re.MULTILINE)


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every command with its full name and context, subcommands after their groups."""
    yield from _below(main, click.Context(main, info_name="mirror"), "mirror")


def _below(
    group: click.Group, context: click.Context, name: str
) -> Iterator[tuple[str, click.Command, click.Context]]:
    for part in group.list_commands(context):
        command = group.get_command(context, part)
        assert command is not None
        inner = click.Context(command, info_name=part, parent=context)
        yield f"{name} {part}", command, inner
        if isinstance(command, click.Group):
            yield from _below(command, inner, f"{name} {part}")


def examples(command: click.Command) -> list[str]:
    """The lines of ``mirror ...`` that a command shows."""
    lines = [line.strip() for kind, text in _parts(command) if kind == "code" for line in text.splitlines()]
    return [line for line in lines if line.startswith("mirror ")]


def page() -> str:
    """The page, in Markdown."""
    return "\n".join([_HEAD, *(_told(*each) for each in commands())])


def _told(name: str, command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    body = [_fence("sh", text) if kind == "code" else text + "\n" for kind, text in _parts(command)]
    return "\n".join(
        [f"## {name}\n", _fence("text", f"{name} {usage}".rstrip()), *body, *_options(command, context)]
    )


def _parts(command: click.Command) -> Iterator[tuple[str, str]]:
    r"""The paragraphs of a help text: "text", and "code" where it has the mark \b and is indented."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield "code", _REMARK.sub(r"\1  # \2", inspect.cleandoc(paragraph.removeprefix("\b\n")))
        elif paragraph.strip():
            yield "text", _escaped(" ".join(paragraph.split()))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [r for p in command.get_params(context) if (r := p.get_help_record(context))]
    if records:
        yield "| option | |"
        yield "|---|---|"
        yield from (f"| `{names}` | {_escaped(text)} |" for names, text in records)
        yield ""


def _escaped(text: str) -> str:
    """Text as Markdown: only what code is made of is kept from meaning something else."""
    parts = text.replace("|", "\\|").split("`")
    plain = [
        p.replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;").replace("[", "\\[") for p in parts[::2]
    ]
    return "`".join(plain[n // 2] if n % 2 == 0 else parts[n] for n in range(len(parts)))


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```\n"


_HEAD = """# Commands

<!-- Made by docs/ext/commands.py of what the commands say with --help. -->

Commands that ask a mirror find it by `--url`, by `MIRROR_URL`, at the port of the configuration that
`mirror --config FILE COMMAND` or `MIRROR_CONFIG` names, or at this computer's port 8040. Where none runs, most open the
store themselves, as that file and `MIRROR_STORAGE__PATH` name it, for as long as the command takes. What is printed on stdout is the answer, everything else goes to stderr. Exit codes: 0, it is done; 1, it
could not be done, or not all of it; 2, the command was not understood.
"""
