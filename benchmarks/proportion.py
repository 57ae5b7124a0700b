"""How much longer small questions take while a large fill runs: p50 and p99, inside and outside its range.

    python benchmarks/proportion.py [--records 1000000] [--questions 500] [--latency 200]

A mirror in front of a simulator that answers after ``--latency`` milliseconds (JSOC takes a second and more). First an
idle mirror is asked so many questions, each about five records that are not cached; then as many about cached records.
Then the same about other records while a fill of so many records runs, in turn inside its range, outside it, and about
cached ones. The fill is cancelled at the end, unless it is done. Prints times and their ratios to idle.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import Connection, Program, Times, fetch, hardware, rs_list_url, run_mirror, run_simulator

from mirror.drms.times import format_time, parse_time

SERIES, STEP = "hmi.V_45s", 45
START, BESIDE = parse_time("2012.01.01_TAI"), parse_time("2011.01.01_TAI")
FIVE = 5 * STEP


def send(mirror: Program, method: str, path: str, body: dict[str, Any]) -> Any:
    """The JSON that answers a JSON object."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(mirror.url + path, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=600) as response:
        return json.load(response)


def places(start: float, seconds: float, count: int, seed: int) -> Iterator[str]:
    """Record sets of five records each, none twice, at random in a range."""
    slots = range(int(seconds // FIVE))
    for slot in random.Random(seed).sample(slots, min(count, len(slots))):
        yield f"{SERIES}[{format_time(start + slot * FIVE)}/{FIVE}s]"


def ask(connection: Connection, mirror: Program, ds: str, times: Times) -> None:
    """One question, which must be answered."""
    url, body = rs_list_url(mirror.url, ds, key="T_REC,DATAMEAN,QUALITY"), b""

    def work() -> None:
        nonlocal body
        body = connection.get(url)[0]

    times.take(work)
    if json.loads(body)["status"] != 0:
        raise SystemExit(f"{ds}: {body[:300]!r}")


def p99(times: Times) -> float:
    ordered = sorted(times.values)
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


def report(name: str, times: Times, idle: Times | None = None) -> None:
    line = f"{name:34} p50 {times.median:8.1f} ms  p99 {p99(times):8.1f} ms  ({len(times.values)} questions)"
    if idle is not None:
        line += f"  ratios to idle: p50 {times.median / idle.median:.2f}, p99 {p99(times) / p99(idle):.2f}"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--latency", type=int, default=200)
    options = parser.parse_args()
    span, count = options.records * STEP, options.questions
    print(hardware())
    with (
        tempfile.TemporaryDirectory() as store,
        run_simulator("--latency", str(options.latency)) as upstream,
        run_mirror(Path(store), upstream=upstream.url) as mirror,
    ):
        connection = Connection(mirror.url)
        idle, idle_held = Times(), Times()
        held = list(places(BESIDE, 90 * 86400, count, seed=1))
        for ds in held:
            ask(connection, mirror, ds, idle)
        for ds in held:
            ask(connection, mirror, ds, idle_held)
        report("idle, not held", idle)
        report("idle, held", idle_held)
        job = send(mirror, "POST", "/api/fill", {"ds": f"{SERIES}[{format_time(START)}/{span}s]"})["id"]
        began = time.perf_counter()
        inside, outside, warm = Times(), Times(), Times()
        questions = zip(
            places(START, span, count, seed=2), places(BESIDE + 100 * 86400, 90 * 86400, count, seed=3), held, strict=False
        )
        state: Any = {}
        for within, beside, known in questions:
            ask(connection, mirror, within, inside)
            ask(connection, mirror, beside, outside)
            ask(connection, mirror, known, warm)
            state = json.loads(fetch(f"{mirror.url}/api/jobs/{job}"))
            if state["state"] == "done":
                break
        report("while a fill runs, inside", inside, idle)
        report("while a fill runs, outside", outside, idle)
        report("while a fill runs, held", warm, idle_held)
        seconds = time.perf_counter() - began
        print(f"the fill: {state['ready']:,} of {state['total']:,} records in {seconds:.0f} s; {state['state']}")
        print(f"memory of the mirror at most: {mirror.memory('VmHWM'):.0f} MB")
        send(mirror, "DELETE", f"/api/jobs/{job}", {})


if __name__ == "__main__":
    main()
