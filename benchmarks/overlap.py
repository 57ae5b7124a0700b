"""How many records the mirror asks for, for each one that it lacks: 1.00 is the minimum.

    python benchmarks/overlap.py [--queries 1000] [--clients 8]

A thousand random, overlapping record sets over two months: ranges, steps, lists, wavelengths of AIA; several
clients at a time. The simulator's log shows what was asked of it.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import Program, fetch, hardware, rs_list_url, run_mirror, run_simulator

from mirror.drms.times import format_time, parse_time

START, DAYS = parse_time("2014.01.01_TAI"), 60
WAVES = (94, 131, 171, 193, 211, 304, 335)
NUMBER = "*recnum*"


def hmi(chance: random.Random) -> str:
    """A range of hmi.V_45s: by both ends, by duration, with a step, or two of them."""
    start = START + chance.uniform(0, DAYS) * 86400
    minutes = chance.choice((5, 60, 240, 720))
    first, last = format_time(start), format_time(start + minutes * 60)
    later = format_time(start + 1.5 * minutes * 60)
    forms = (
        f"[{first}-{last}]",
        f"[{first}/{minutes}m]",
        f"[{first}-{last}@{chance.choice((90, 180, 720))}s]",
        f"[{first}/{minutes}m,{later}/{minutes}m]",
        f"[{first}/{minutes}m][2]",
    )
    return f"hmi.V_45s{chance.choice(forms)}"


def aia(chance: random.Random) -> str:
    """A range of aia.lev1_euv_12s, with all wavelengths or some."""
    start = format_time(START + chance.uniform(0, DAYS / 20) * 86400)
    waves = ",".join(map(str, chance.sample(WAVES, chance.choice((1, 1, 2, 3)))))
    return f"aia.lev1_euv_12s[{start}/{chance.choice((5, 30, 120))}m]{chance.choice(('', f'[{waves}]'))}"


def ask(mirror: Program, ds: str) -> tuple[str, set[int]]:
    """The series and the record numbers of an answer."""
    answer = json.loads(fetch(rs_list_url(mirror.url, ds, key=NUMBER)))
    if answer["status"] != 0:
        raise SystemExit(f"{ds}: {answer}")
    return ds.partition("[")[0], set(answer["keywords"][0]["values"]) if answer["count"] else set()


def asked_upstream(simulator: Program) -> Iterator[tuple[str, int]]:
    """The series and the number of records of every answer with records that the simulator gave."""
    for entry in json.loads(fetch(f"{simulator.url}/_simulator/log")):
        if entry["params"].get("op") == "rs_list":
            yield entry["params"]["ds"].partition("[")[0], entry["records"]


def report(name: str, held: set[int], asked: list[int], queries: int, answered: int) -> None:
    print(
        f"{name}: {queries} queries for {answered:,} records, {len(held):,} of them different; "
        f"asked upstream: {sum(asked):,} in {len(asked):,} requests; "
        f"asked / missing = {sum(asked) / len(held):.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    chance = random.Random(1)
    queries = [chance.choice((hmi, hmi, aia))(chance) for _ in range(options.queries)]
    print(hardware())
    with tempfile.TemporaryDirectory() as store, run_simulator() as upstream:
        with run_mirror(Path(store), upstream=upstream.url) as server, ThreadPoolExecutor(options.clients) as pool:
            answers = list(pool.map(lambda ds: ask(server, ds), queries))
        log = list(asked_upstream(upstream))
    for name in dict.fromkeys(series for series, _ in answers):
        mine = [numbers for series, numbers in answers if series == name]
        asked = [count for series, count in log if series == name]
        report(name, set().union(*mine), asked, len(mine), sum(map(len, mine)))


if __name__ == "__main__":
    main()
