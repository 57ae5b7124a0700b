"""How fast the mirror fills: records a second, from the first request to the answer.

    python benchmarks/fill.py [--days 26] [--latency 0 500] [--repeat 3]

One client asks an empty mirror for some weeks of hmi.V_45s, all of which must be fetched with all
keywords; the simulator waits so many milliseconds before each answer. Both share the machine: their
processor seconds show which was busy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from common import fetch, hardware, rs_list_url, run_mirror, run_simulator


def fill(days: int, latency: int) -> float:
    """Records a second; prints what happened."""
    with tempfile.TemporaryDirectory() as store, run_simulator("--latency", f"{latency}") as upstream:
        with run_mirror(Path(store), upstream=upstream.url) as server:
            before = server.cpu(), upstream.cpu()
            started = time.perf_counter()
            answer = json.loads(fetch(rs_list_url(server.url, f"hmi.V_45s[2014.01.01_TAI/{days}d]", key="T_REC")))
            taken = time.perf_counter() - started
            rate = answer["count"] / taken
            print(
                f"latency {latency} ms: {answer['count']:,} records in {taken:.1f} s: {rate:,.0f} a second; "
                f"processor: mirror {server.cpu() - before[0]:.1f} s, simulator {upstream.cpu() - before[1]:.1f} s; "
                f"memory of the mirror {server.memory('VmHWM'):.0f} MB at most"
            )
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=26)
    parser.add_argument("--latency", type=int, nargs="+", default=[0, 500])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    print(hardware())
    rates: dict[int, list[float]] = {latency: [] for latency in options.latency}
    for _ in range(options.repeat):
        for latency, found in rates.items():
            found.append(fill(options.days, latency))
    for latency, found in rates.items():
        print(f"latency {latency} ms: median {statistics.median(found):,.0f} records a second")


if __name__ == "__main__":
    main()
