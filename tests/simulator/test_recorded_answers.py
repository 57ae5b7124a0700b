"""Every recorded answer of the real server software comes out of the running simulator again."""

from __future__ import annotations

import gzip
import json
import re
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

import pytest

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
PROGRAMS = {"show_series", "showextseries"}
#: Answered by the real server, refused by us: subselects.
REFUSED = "(select "


def recorded(name):
    with gzip.open(GOLDEN / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def by_kind():
    """Recorded requests by file, operation and tag, so that a failure names a part of the grammar."""
    for name in ("queries", "random"):
        kinds = sorted(recorded(name), key=kind)
        for key, group in groupby(kinds, key=kind):
            yield pytest.param(list(group), id=f"{name}-{key[0]}-{key[1]}")


def kind(line):
    return line["op"], line["series"] if line["tag"] == "random" else line["tag"]


async def ask(client, line):
    program = line["op"] if line["op"] in PROGRAMS else "jsoc_info"
    params = line["params"] if program in PROGRAMS else {"op": line["op"], **line["params"]}
    query = "&".join(f"{k}={quote(v.encode('latin-1', 'replace'), safe='')}" for k, v in params.items())
    response = await client.get(f"/cgi-bin/ajax/{program}?{query}")
    assert response.status == 200
    return (await response.read()).decode("latin-1")


def without_runtime(text):
    return re.sub(r'"runtime":( ?)[0-9.]+', r'"runtime":\g<1>0.000', text)


def difference(line, text):
    """None if the answer is the recorded one, else what is wrong with it."""
    answer = json.loads(text)
    expected = line["response"]
    if line["http"] == 500 or expected.get("status", 0) != 0 or REFUSED in line["params"].get("ds", ""):
        return None if answer["status"] == 1 and answer["error"].strip() else "expected an error"
    answer.pop("runtime", None)
    if answer != expected:
        return f"expected {json.dumps(expected)[:300]}\n     got {json.dumps(answer)[:300]}"
    if list(answer) != list(expected):
        return f"members in the order {list(answer)}"
    head = line.get("raw_head", "")
    cut = re.sub(r'"runtime":?[^,]*$', "", without_runtime(head))
    return None if without_runtime(text).startswith(cut) else f"expected bytes {head!r}\n     got {text[:400]!r}"


@pytest.mark.parametrize("lines", list(by_kind()))
async def test_recorded_answers_come_out_again_and_recorded_errors_are_errors(client, lines):
    wrong = [
        f"{line['params']}\n  {problem}"
        for line in lines
        if (problem := difference(line, await ask(client, line))) is not None
    ]
    assert not wrong, f"{len(wrong)} of {len(lines)}:\n" + "\n".join(wrong[:10])
