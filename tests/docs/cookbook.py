"""The cookbook, run on a desk: what its statements answer, and the pictures that it draws."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.docs.blocks import ROOT, blocks
from tests.docs.desk import desk, server

if TYPE_CHECKING:
    from tests.docs.blocks import Block

PAGE = ROOT / "docs" / "cookbook.md"
IMAGES = ROOT / "docs" / "images"
#: Rows of an answer that a page shows.
SHOWN = 4


@dataclass
class Cooked:
    """What came of a page: the answers to its statements as lines of CSV, and its pictures by name."""

    answers: list[tuple[Block, list[str]]] = field(default_factory=list)
    images: dict[str, bytes] = field(default_factory=dict)


def cook(page: Path, folder: Path) -> Cooked:
    """Run a page from its first block to its last, below ``folder``; raises Failed where one does not work."""
    cooked = Cooked()
    with (
        server("simulate", "--port", "0", cwd=folder, env={}) as upstream,
        desk(upstream, folder / "home") as here,
    ):
        for block in blocks(page):
            if block.not_run or block.language not in {"sh", "sql", "python"}:
                continue
            here.run(block)
            if block.language == "sql":
                cooked.answers.append((block, (here.home / "block.csv").read_text().splitlines()))
        cooked.images = {p.name: p.read_bytes() for p in here.home.glob("*.png")}
    return cooked


def with_answers(text: str, answers: list[tuple[Block, list[str]]]) -> str:
    """A page whose texts below statements show the first lines of what these answered."""
    for block, lines in answers:
        head, statement, rest = text.partition(f"```sql\n{block.text}```\n")
        shown = re.match(r"\n```text\n.*?```\n", rest, re.DOTALL)
        if shown:
            more = ["..."] if len(lines) > SHOWN + 1 else []
            rest = "\n```text\n" + "\n".join([*lines[: SHOWN + 1], *more]) + "\n```\n" + rest[shown.end() :]
        text = head + statement + rest
    return text
