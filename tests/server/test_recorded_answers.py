"""Every recorded answer of the real server software, through a mirror: cold, warm, and with JSOC away."""

from __future__ import annotations

import asyncio
import json
import re
from urllib.parse import quote

from hypothesis import settings

from tests import lab, recorded

LISTS = {"show_series", "showextseries"}
#: Printed values do not tell an SQL NULL from the keyword's missing value; here the real one was NULL.
NULL_PRINTED_AS_MISSING = "su_test.zoo[? lowercase = 7 ?]"
#: Answered by the real server; of these we refuse those on other tables, and leave the rest to JSOC.
SUBSELECT = "(select "
AT_A_TIME = 8


def lines():
    """All recorded requests; in a quick run every third of those that chance has made."""
    every = 1 if settings.get_current_profile_name() == "deep" else 3
    chosen = recorded.lines("queries") + recorded.lines("random")[::every]
    return [line for line in chosen if line["params"].get("ds") != NULL_PRINTED_AS_MISSING]


def good(line):
    """True if the recorded answer is one; where the real program died we answer with an error."""
    answered = line["http"] == 200 and line["response"].get("status", 0) == 0
    return answered and SUBSELECT not in line["params"].get("ds", "")


async def ask(mirror, line):
    listed = line["op"] in LISTS
    params = line["params"] if listed else {"op": line["op"], **line["params"]}
    query = "&".join(f"{k}={quote(v.encode('latin-1', 'replace'), safe='')}" for k, v in params.items())
    return await mirror.get(lab.AJAX + (line["op"] if listed else "jsoc_info"), query)


def without_runtime(text):
    return re.sub(r'"runtime":( ?)[0-9.]+', r'"runtime":\g<1>0.000', text)


def difference(line, answer):
    """None if the answer is the recorded one, else what is wrong with it."""
    told = answer.told
    if not good(line):
        return None if refused(answer) else f"expected an error, got {str(told)[:300]}"
    if told != line["response"]:
        return f"expected {json.dumps(line['response'])[:300]}\n     got {json.dumps(told)[:300]}"
    head = re.sub(r'"runtime":?[^,]*$', "", without_runtime(line.get("raw_head", "")))
    text = without_runtime(answer.body.decode("latin-1"))
    return None if text.startswith(head) else f"expected bytes {head!r}\n     got {text[:400]!r}"


def refused(answer):
    return answer.code == 200 and answer.told.get("status") == 1 and answer.told["error"].strip()


async def answers(mirror, asked):
    """The answers to all lines, some of them asked for at the same time."""
    turns = asyncio.Semaphore(AT_A_TIME)

    async def one(line):
        async with turns:
            return line, await ask(mirror, line)

    return await asyncio.gather(*map(one, asked))


def report(problems, asked):
    shown = "\n".join(f"{line['op']} {line['params']}\n  {problem}" for line, problem in problems[:10])
    assert not problems, f"{len(problems)} of {len(asked)}:\n{shown}"


async def test_recorded_answers_come_out_cold_and_with_jsoc_away_and_warm(tmp_path):
    asked = lines()
    async with lab.lab(tmp_path) as mirror:
        problems = [(x, d) for x, a in await answers(mirror, asked) if (d := difference(x, a)) is not None]
        report(problems, asked)
        await mirror.faults({"fault": "outage"})
        found = await answers(mirror, asked)
        # Away: the same answer to all that was answered once, which is warm therefore.
        report([(x, d) for x, a in found if (d := difference(x, a)) is not None], asked)


async def test_subselects_on_other_tables_are_refused_by_name(tmp_path):
    asked = [x for x in recorded.lines("queries") if SUBSELECT in x["params"].get("ds", "")]
    others = [x for x in asked if " from " in x["params"]["ds"]]
    assert 0 < len(others) < len(asked)
    async with lab.lab(tmp_path) as mirror:
        for line, answer in await answers(mirror, others):
            assert "subselects on other tables than hmi." in answer.told["error"], line
