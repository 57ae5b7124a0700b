"""Answers of the real server software, and what the decoders must refuse."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[1] / "data"
Line = dict[str, Any]


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], list[Line]]:
    """All recorded requests of an operation that were answered with status 0, with their answers."""
    lines: list[Line] = []
    for name in ("queries", "random"):
        with gzip.open(DATA / "golden" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            lines += map(json.loads, file)
    return lambda op: [line for line in lines if line["op"] == op and _answered(line)]


def _answered(line: Line) -> bool:
    answer = line["response"]
    return line["http"] == 200 and isinstance(answer, dict) and answer.get("status", 0) == 0


@pytest.fixture(scope="session")
def worlds() -> dict[str, Line]:
    """The recorded series by name: the structure as sent, and an answer with all that the series holds."""
    files = sorted((DATA / "world").glob("*.json.gz"))
    return {
        path.name.removesuffix(".json.gz"): json.loads(gzip.decompress(path.read_bytes())) for path in files
    }


@pytest.fixture(scope="session")
def damaged() -> Callable[[bytes], list[bytes]]:
    """Ways in which an answer arrives broken: cut anywhere, or something else altogether."""
    others = [
        b"",
        b"Internal Server Error\n",
        b"<html></html>",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
    ]
    return lambda whole: [whole[:end] for end in range(0, len(whole) - 2, max(1, len(whole) // 97))] + others
