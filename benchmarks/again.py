"""Every recorded query twice, and once more with JSOC away: which are sent upstream again, and which have no answer then.

    python benchmarks/again.py [--field FILE] [--list]

The recorded queries run on the recorded world; those of FILE (record sets and conditions from public scripts, as JSON)
on the simulator's synthetic archive. An answer counts as good if JSOC (the simulator) gave one the first time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parents[1]))

from mirror.simulator.log import Log
from mirror.simulator.synthetic.catalogue import synthetic_series
from tests import lab, recorded

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2023, 11, 14, tzinfo=UTC).timestamp()
LISTS = {"show_series", "showextseries"}
#: What only JSOC's storage knows, and answers that do not count.
LIVE = re.compile(r"\*(logdir|online|retain|archive|recdir|dirmtime|size)\*")


@dataclass
class Tally:
    """The results of the queries."""

    asked: int = 0
    again: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def show(self, title: str, *, every: bool) -> None:
        print(
            f"{title}: {self.asked} queries answered; {len(self.again)} go upstream the second time, "
            f"{len(self.away)} have no answer with JSOC away, {len(self.other)} have another"
        )
        for kind, lines in (("AGAIN", self.again), ("AWAY", self.away), ("OTHER", self.other)):
            for line in lines if every else lines[:5]:
                print(f"  {kind} {line}")


def queries(lines: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Path and query of the recorded requests."""
    found = []
    for line in lines:
        listed = line["op"] in LISTS
        params = line["params"] if listed else {"op": line["op"], **line["params"]}
        text = "&".join(f"{k}={quote(v.encode('latin-1', 'replace'), safe='')}" for k, v in params.items())
        found.append((lab.AJAX + (line["op"] if listed else "jsoc_info"), text))
    return found


def fielded(path: Path) -> list[tuple[str, str]]:
    """Path and query of what public scripts ask, each with its keys and segments, counted, by show_info, and with n."""
    material = json.loads(path.read_text(encoding="utf-8"))
    asked = [{"ds": q["ds"], "key": q["key"], "seg": q["seg"]} for q in material["queries"]]
    on = material["conditions_on"]
    asked += [{"ds": f"{on}[? {c} ?]", "key": "T_REC,HARPNUM,*recnum*", "seg": ""} for c in material["conditions"]]
    found = []
    for one in asked:
        ds, key = quote(one["ds"], safe=""), quote(one["key"].replace(" ", ""), safe="")
        seg = f"&seg={one['seg']}" if one["seg"] else ""
        found += [
            (lab.JSOC_INFO, f"op=rs_list&ds={ds}&key={key}{seg}"),
            (lab.JSOC_INFO, f"op=rs_summary&ds={ds}"),
            (lab.JSOC_INFO, f"op=rs_list&ds={ds}&key={key}{seg}&R=1&M=1"),
            (lab.JSOC_INFO, f"op=rs_list&ds={ds}&key={key}&n=3"),
            (lab.AJAX + "show_info", f"ds={ds}&key={key}"),
            (lab.AJAX + "show_info", f"ds={ds}&c=1"),
        ]
    return found


def flagged(asked: list[tuple[str, str]], every: int) -> list[tuple[str, str]]:
    """Every n-th list again, with each of the flags."""
    lists = [(path, text) for path, text in asked if "op=rs_list" in text][::every]
    return [(path, f"{text}&{flag}=1") for path, text in lists for flag in ("M", "f", "l", "o", "R")]


def told(answer: lab.Answer) -> bytes:
    return re.sub(rb'"runtime": ?"?[0-9.]+"?', b"", answer.body)


def good(answer: lab.Answer) -> bool:
    if answer.code != 200:
        return False
    try:
        return answer.json.get("status", 0) == 0
    except (ValueError, AttributeError):
        return not answer.body.startswith((b"error", b"Error", b"status=", b"show_info: ", b"###"))


async def tally(world: Any, asked: list[tuple[str, str]]) -> Tally:
    found, went = Tally(), Counter[str]()
    add = Log.add

    def noted(log: Log, entry: Any) -> None:
        went["all"] += 1
        add(log, entry)

    Log.add = noted  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with lab.lab(Path(folder), world) as mirror:
                first = [(one, await mirror.get(*one)) for one in asked]
                answered = [(one, answer) for one, answer in first if good(answer)]
                found.asked = len(answered)
                for one, answer in answered:
                    before = went["all"]
                    second = await mirror.get(*one)
                    if went["all"] > before:
                        found.again.append(_line(one, f"{answer.plan}, then {second.plan}"))
                    if told(second) != told(answer) and not LIVE.search(one[1].replace("%2A", "*")):
                        found.other.append(_line(one, f"{told(answer)[:300]!r} then {told(second)[:300]!r}"))
                await mirror.faults({"fault": "outage"})
                for one, answer in answered:
                    third = await mirror.get(*one)
                    if not good(third):
                        found.away.append(_line(one, third.body[:260].decode("latin-1")))
                    elif told(third) != told(answer) and not LIVE.search(one[1].replace("%2A", "*")):
                        found.other.append(_line(one, f"{told(answer)[:300]!r} then {told(third)[:300]!r} (away)"))
    finally:
        Log.add = add  # type: ignore[method-assign]
    return found


def _line(one: tuple[str, str], what: str) -> str:
    from urllib.parse import unquote

    return f"{one[0].rpartition('/')[2]} {unquote(one[1], 'latin-1')[:200]} | {what}"


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--field", type=Path)
    parser.add_argument("--flags", type=int, default=0, help="every so-manieth recorded list by each flag too")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--only-field", action="store_true")
    options = parser.parse_args()
    recorded_ones = queries(recorded.lines("queries") + recorded.lines("random"))
    if not options.only_field:
        (await tally(None, recorded_ones)).show("recorded", every=options.list)
    if options.flags:
        (await tally(None, flagged(recorded_ones, options.flags))).show("with flags", every=options.list)
    if options.field:
        (await tally(synthetic_series(lambda: NOW), fielded(options.field))).show("field", every=options.list)


if __name__ == "__main__":
    asyncio.run(main())
