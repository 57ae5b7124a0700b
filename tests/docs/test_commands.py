"""Every command that a text names is there, with the options that it is given: docs, help, pages and messages."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise

import click
import pytest

from mirror.cli.main import main
from tests.docs.blocks import ROOT, pages
from tests.docs.test_words import commands

_INLINE = re.compile(r"`(?:[A-Z_]+=\S+ )*(mirror [^`\n{}]+)`")
_LINE = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(mirror .*)$", re.MULTILINE)


def texts() -> dict[str, list[str]]:
    """The commands that each text shows."""
    found = {str(p.relative_to(ROOT)): p.read_text("utf-8") for p in pages()}
    shown = {name: _INLINE.findall(text) + _LINE.findall("\n".join(_code(text))) for name, text in found.items()}
    shown |= {f"{path} --help": [line for line in _LINE.findall(text) if not line.endswith(".")] for path, text in commands(main, "mirror")}
    package = ROOT / "mirror"
    for source in [*package.rglob("*.py"), *package.rglob("*.html"), *package.rglob("*.js")]:
        shown[str(source.relative_to(ROOT))] = _INLINE.findall(source.read_text("utf-8"))
    return {name: lines for name, lines in shown.items() if lines}


def _code(text: str) -> list[str]:
    return re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def problem(line: str) -> str | None:
    """What is wrong with a command as it is shown."""
    line = re.split(r" [|>&#] |  #|;", line)[0].replace("...", "")
    try:
        words = shlex.split(line)[1:]
    except ValueError:  # a quotation that goes on in the next line
        words = line.split()[1:]
    command: click.Command = main
    context = click.Context(main, info_name="mirror")
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-") and word not in _values(words):
            below = command.get_command(context, word)
            if below is None:
                return None if word.isupper() or not word.islower() else f"no command {word!r}"
            command = below
            continue
        if re.match(r"--?[a-z]", word):
            options = [o for p in (*command.params, *main.params) for o in (*p.opts, *p.secondary_opts)]
            if word.partition("=")[0] not in [*options, "--help", "-h"]:
                return f"{command.name} has no option {word}"
    return None


def _values(words: list[str]) -> list[str]:
    """The values of options of the program itself."""
    return [after for before, after in pairwise(words) if before == "--config"]


SHOWN = texts()


@pytest.mark.parametrize("where", SHOWN)
def test_commands_that_are_shown_exist_with_their_options(where):
    assert [(line, wrong) for line in SHOWN[where] if (wrong := problem(line))] == []


def test_what_does_not_exist_is_found():
    assert problem("mirror serch 'x'") == "no command 'serch'"
    assert problem("mirror search 'x' --kex A") == "search has no option --kex"
    assert problem("mirror --config FILE config show --json # words") is None


def test_commands_are_shown_in_fences_only():
    """So that they are run."""
    indented = re.compile(r"^ {4,}(?:\$ )?(?:[A-Z_]+=\S+ )*mirror [a-z]+( |$)", re.MULTILINE)
    outside = {p.name: indented.findall(re.sub(r"```.*?```|<!--.*?-->", "", p.read_text("utf-8"), flags=re.DOTALL)) for p in pages()}
    assert {name: found for name, found in outside.items() if found} == {}
