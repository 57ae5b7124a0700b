"""The blocks of code in a Markdown page, and what the page says about running them.

A fence of sh, console, python, sql or toml is run by ``tests/docs/test_blocks.py`` (``Desk`` in ``desk.py`` does it).
A fence of text shows what the fence of sh before it prints, one of console has commands after ``$`` and what they print:
each line that is shown is printed, in that order, and ``...`` stands for anything. Two remarks, which no reader of the
rendered page sees, may stand before a fence:

    <!-- not run: it needs root -->               the block is not run, and why
    <!-- first: mirror search 'hmi.v_45s[...]' -->  sh that prepares what the block takes for granted

Fences without a language show layouts; there is nothing to run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]

#: Languages whose blocks are run, those that nothing here can run, and those that only show something.
RUN = frozenset({"sh", "console", "text", "python", "sql", "toml"})
FOREIGN = frozenset({"idl", "r", "ini", "haproxy", "nginx", "promql", "yaml"})
SHOWN = frozenset({"", "json", "mermaid"})

_REMARK = re.compile(r"<!--\s*(not run|first):\s*(.*?)\s*-->", re.DOTALL)
_FENCE = re.compile(
    r"^(?P<indent>[ ]*)```(?P<language>[^\s`]*)[^\n`]*\n(?P<text>.*?)^(?P=indent)```[ ]*$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """One fence; ``line`` counts from 1."""

    page: str
    line: int
    language: str
    text: str
    not_run: str = ""  #: why not
    first: str = ""  #: what to do before

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page that people read: the README and docs/, but for what is generated."""
    written = sorted((ROOT / "docs").glob("**/*.md"))
    return [
        ROOT / "README.md",
        *(p for p in written if not {"_build", "reference"} & set(p.parts) or p.name == "index.md"),
    ]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return read(page.read_text("utf-8"), str(page.relative_to(ROOT)))


def read(text: str, page: str) -> list[Block]:
    """The blocks of a text; directives of MyST are none."""
    found, end = [], 0
    for fence in _FENCE.finditer(text):
        remarks = dict(_REMARK.findall(_remarks_before(text[end : fence.start()])))
        end = fence.end()
        if fence["language"].startswith("{"):
            continue
        line = text.count("\n", 0, fence.start()) + 1
        code = dedent(fence["text"])
        found.append(
            Block(page, line, fence["language"], code, remarks.get("not run", ""), remarks.get("first", ""))
        )
    return found


def _remarks_before(text: str) -> str:
    """The remarks at the end of a text, with nothing but blanks between them and the end."""
    match = re.search(r"(?:<!--(?:(?!-->).)*-->\s*)+\Z", text, re.DOTALL)
    return match[0] if match else ""
