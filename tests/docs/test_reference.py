"""The reference says all there is: every setting, command, option, path and metric, each with words of its own."""

import json
import re
import shlex
from dataclasses import fields
from itertools import takewhile

import click
import pytest

from docs.ext import commands, configuration, routes
from mirror.config.loading import Config
from tests.docs.blocks import ROOT

COMMANDS = list(commands.commands())


@pytest.fixture(scope="module")
def specimen():
    return routes.specimen()


def test_every_setting_is_documented():
    page, held = configuration.page(), configuration.keys()
    assert set(held) == {f.name for f in fields(Config)}
    for section, keys in held.items():
        assert [k.name for k in keys] == [f.name for f in fields(configuration.kind(section))]
        assert f"[{section}]" in page
    missing = [
        f"{k.section}.{k.name}" for ks in held.values() for k in ks if not (k.text and k.value and k.expected)
    ]
    assert missing == []
    assert all(f"`{k.name}`\n: {k.text}" in page for ks in held.values() for k in ks)


def test_every_setting_of_a_table_names_its_variable():
    page = configuration.page()
    assert "MIRROR_SERVER__PORT" in page
    assert "MIRROR_SUBSCRIPTION__SERIES" not in page


def test_every_command_and_option_is_documented():
    page = commands.page()
    for name, command, context in COMMANDS:
        assert f"## {name}\n" in page
        assert command.help, name
        for option in command.get_params(context):
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, f"{name} {option.opts}"
                assert all(opt in page for opt in option.opts), f"{name} {option.opts}"


def test_no_command_is_missing_from_the_reference():
    from mirror.cli.main import COMMANDS as KNOWN

    assert set(KNOWN) <= {name.split()[1] for name, _, _ in COMMANDS}


@pytest.mark.parametrize("line", [line for _, command, _ in COMMANDS for line in commands.examples(command)])
def test_an_example_in_a_help_text_is_understood(line):
    words = shlex.split(line, comments=True)[1:]
    words = list(takewhile(lambda w: w not in (">", "|", "&"), words))
    group: click.Command = commands.main
    while isinstance(group, click.Group):
        _, found, words = group.resolve_command(click.Context(group), words)
        assert found is not None
        group = found
    group.make_parser(click.Context(group)).parse_args(words)


def test_every_path_is_documented(specimen):
    paths, _ = specimen
    page = routes.pages()[0]
    assert [r.path for r in paths if not r.text] == []
    assert [r.path for r in paths if f"`{r.path}`" not in page] == []


def test_every_metric_is_documented(specimen):
    _, measured = specimen
    page = routes.pages()[1]
    assert [m.name for m in measured if not m.text or f"`{m.name}`" not in page] == []


def test_the_dashboard_shows_metrics_that_there_are(specimen):
    _, measured = specimen
    told = (ROOT / "scripts" / "service" / "grafana-dashboard.json").read_text()
    exprs = [t["expr"] for p in json.loads(told)["panels"] for t in p.get("targets", ())]
    used = {name.removesuffix("_bucket") for expr in exprs for name in re.findall(r"mirror_\w+", expr)}
    assert used == {m.name for m in measured}


def test_the_picture_of_the_readme_is_the_one_that_is_drawn():
    from docs.ext.diagrams import overview

    assert (ROOT / "docs" / "images" / "overview.svg").read_text() == overview()
