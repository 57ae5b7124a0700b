"""The recorded answers of the real server software, for every test that compares with them."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"
WORLD = DATA / "world"


def lines(name: str) -> list[dict[str, Any]]:
    """The recorded requests of a file: queries, random, times or exports. They are read once, and nobody's to change."""
    return list(_lines(name))


@cache
def _lines(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / "golden" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
