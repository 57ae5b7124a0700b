"""What the real jsoc_fetch answered comes out of the simulator again."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest

from .conftest import FETCH, WORLD

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "exports.jsonl.gz"
NEW_ID = re.compile(r"JSOC_20[0-9]{6}_[0-9]{3}(_IN)?(?=\")")


def recorded():
    with gzip.open(GOLDEN, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def told_id(line):
    """The id that the recorded server gave, if the request is about one of these."""
    return line["params"].get("requestid", "").startswith("JSOC_20261122")


@pytest.mark.parametrize("line", recorded(), ids=lambda line: line["tag"])
async def test_a_recorded_request_is_answered_as_it_was(start, line):
    simulated = await start()
    if line["tag"] == "url-dup":
        await simulated.client.get(FETCH, params=line["params"])
    response = await simulated.client.get(FETCH, params=line["params"])
    text = (await response.read()).decode("latin-1")
    assert response.status == 200
    if line["params"].get("format") == "txt":
        assert text == line["raw_head"]
    elif line["http"] == 500 or line["response"].get("error") or told_id(line):
        answer = json.loads(text)
        assert answer["status"] == (line["response"] or {}).get("status", 4) or told_id(line)
        assert answer.get("error", "").strip()
    else:
        assert NEW_ID.sub("ID", text)[: len(NEW_ID.sub("ID", line["raw_head"]))] == NEW_ID.sub(
            "ID", line["raw_head"]
        )


async def test_the_world_holds_the_recorded_exports():
    told = json.loads((WORLD / "EXPORTS.json").read_text())
    assert set(told["requests"]) >= {f"JSOC_20260101_10{n}" for n in range(6)}
