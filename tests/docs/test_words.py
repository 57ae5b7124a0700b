"""What users read is plain English: words that are not used in pages, help, docs and the README, and one word for one thing."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from mirror.api.endpoints import ENDPOINTS
from mirror.cli.main import main
from tests.docs.blocks import ROOT, pages

#: Each with what is said instead.
UNUSED = {
    r"told": "shown, reported",
    r"of late": "recently",
    r"(?<![-\"])anew": "again",
    r"look(s|ed)? after": "keep up to date, check",
    r"held": "cached",
    r"the rest": "what is missing, others",
    r"as it stands": "unchanged",
    r"not to be had": "not available",
    r"cannot be had": "is not available",
    r"spared": "saved",
    r"standing wish(es)?": "subscription",
    r"throws? out": "evicts",
    r"taken? (away|out)": "removed",
    r"broke off": "interrupted",
    r"go(es)? by itself": "automatic",
    r"lets? in": "has access",
}
_WORD = re.compile("|".join(rf"\b(?:{word})\b" for word in UNUSED), re.IGNORECASE)
#: The names of things in code are not words of a text.
_CODE = re.compile(r"```.*?```|`[^`]*`|\{[{%#].*?[}%#]\}|<!--.*?-->|--held|\w+\.\w[\w.]*", re.DOTALL)
_TAGS = re.compile(r"<script.*?</script>|<[^>]*?(?:title|placeholder|aria-label|alt)=\"([^\"]*)\"[^>]*>|<[^>]+>", re.DOTALL)
_STRING = re.compile(r"`([^`]*)`|\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'")


def commands(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    """The help of a command and of those below it."""
    context = click.Context(command, info_name=path)
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, f"{path} {name}")


def prose() -> Iterator[tuple[str, str]]:
    """Every text that users read, with the name of where it is."""
    yield from commands(main, "mirror")
    for page in pages():
        # What decisions, the map and the protocol say is for whoever changes the code; they are plain, too.
        yield str(page.relative_to(ROOT)), page.read_text("utf-8")
    settings = (ROOT / "config.toml").read_text("utf-8")
    yield "config.toml", "\n".join(line for line in settings.splitlines() if line.startswith("#"))
    for endpoint in ENDPOINTS:
        yield f"{endpoint.method} {endpoint.path}", endpoint.text
    web = ROOT / "mirror" / "web"
    for template in sorted((web / "templates").glob("*.html")):
        text = re.sub(r"\{[{%#].*?[}%#]\}", lambda found: " ".join(_texts(found[0])), template.read_text("utf-8"), flags=re.DOTALL)
        yield template.name, _TAGS.sub(lambda tag: f" {tag[1] or ''} ", text)
    examples = (web / "examples.sql").read_text("utf-8")
    yield "examples.sql", "\n".join(line for line in examples.splitlines() if line.startswith("--"))
    for script in sorted((web / "static").glob("*.js")):
        # A name in code is one word; what people read has several, or a capital.
        texts = [text for text in _texts(script.read_text("utf-8")) if " " in text or text[:1].isupper()]
        yield script.name, "\n".join(texts)


def _texts(code: str) -> list[str]:
    without = re.sub(r"\$\{[^{}]*\}", "", re.sub(r"^\s*(?://|\*|/\*).*$", "", code, flags=re.MULTILINE))
    return ["".join(groups) for groups in _STRING.findall(without)]


TEXTS = dict(prose())


@pytest.mark.parametrize("where", TEXTS)
def test_a_text_has_no_unused_words(where):
    text = _CODE.sub(" ", TEXTS[where])
    found = [f"...{text[max(0, m.start() - 40):m.end() + 40]}...".replace("\n", " ") for m in _WORD.finditer(text)]
    assert found == [], f"{where}: say it otherwise: {UNUSED}"


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) < 120


def test_words_are_found_where_people_read_them():
    assert _WORD.search("the files that are held")
    assert not _WORD.search("uphold, restful, the user is shown")
    assert _texts('say("None yet."); // it is "held"\n  // "held"') == ["None yet.", "held"]
