"""Lazy cubes against whole files, and searches beside a hundred cutouts.

    python benchmarks/cubes.py [--frames 300] [--whole 40] [--cutouts 100]

- The light curve of 300 x 300 pixels of cached magnetograms of 4096 x 4096: by ``mirror.Client.cube`` over all frames, with the
  highest memory of the process that computes it; and by fetching the whole files from the same mirror and opening each
  with sunpy's Map, for some of them, reckoned up to all.
- Cached searches one after the other over one connection, while nothing else happens and while so many cutouts are asked
  for at once: the 99th of 100 of each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import Connection, fetch, hardware, rs_list_url, run_mirror, run_simulator, timed

DS = "hmi.M_720s[2014.01.01_00:00:00_TAI/{}m]{{magnetogram}}"
CUBE = """
import json, resource, sys, time
import mirror
began = time.perf_counter()
cube = mirror.Client(sys.argv[1]).cube(sys.argv[2])
light = cube[:, 1900:2200, 1900:2200].mean(("y", "x")).compute()
print(json.dumps([len(light), time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""
WHOLE = """
import json, resource, sys, time, warnings
import numpy as np, sunpy.map
import mirror
warnings.simplefilter("ignore")
began = time.perf_counter()
paths = mirror.Client(sys.argv[1]).fetch(sys.argv[2], sys.argv[3])
light = [np.nanmean(sunpy.map.Map(path).data[1900:2200, 1900:2200]) for path in paths]
print(json.dumps([len(light), time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def run(code: str, *arguments: str) -> tuple[int, float, float]:
    """Frames, seconds, and the peak memory in MB, of a separate program."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    frames, seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return frames, seconds, memory


def cubes(url: str, folder: Path, frames: int, whole: int) -> None:
    import mirror

    client = mirror.Client(url)
    client.fetch(DS.format(12 * frames), folder / "all", protocol="as-is")  # cached from here on
    count, seconds, memory = run(CUBE, url, DS.format(12 * frames))
    print(f"cube:        {count} frames, {seconds:6.1f} s to the light curve, at most {memory:4.0f} MB")
    some, taken, held = run(WHOLE, url, DS.format(12 * whole), str(folder / "whole"))
    every = taken / some * count
    print(f"whole files: {some} frames, {taken:6.1f} s, at most {held:4.0f} MB; {every:.0f} s for {count}: {every / seconds:.1f} times the cube")


def searches(url: str, count: int) -> None:
    asked, connection = rs_list_url(url, "hmi.M_720s[2014.01.01_TAI/10h]", key="T_REC,DATAMEAN,QUALITY"), Connection(url)
    part = f"{url}/fits/{urllib.parse.quote(DS.format(12))}"
    places = [f"{part}?x={1500 + 10 * n}&y=2000&width=300&height=300&units=pixels" for n in range(count)]
    for _ in range(50):
        connection.get(asked)
    idle = [timed(lambda: connection.get(asked)) for _ in range(1000)]
    beside: list[float] = []
    with ThreadPoolExecutor(count) as pool:
        began = time.perf_counter()
        futures = [pool.submit(fetch, place) for place in places]
        while not all(future.done() for future in futures):
            beside.append(timed(lambda: connection.get(asked)))
        taken = time.perf_counter() - began
    assert all(len(future.result()) > 2880 for future in futures)
    print(f"{count} cutouts at once took {taken:.1f} s; {len(beside)} searches meanwhile")
    low, high = (statistics.quantiles(times, n=100) for times in (idle, beside))
    for name, at in (("median", 49), ("99 of 100 below", 98)):
        print(f"searches, {name}: idle {low[at]:.2f} ms, beside cutouts {high[at]:.2f} ms, {high[at] / low[at]:.1f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--whole", type=int, default=40)
    parser.add_argument("--cutouts", type=int, default=100)
    options = parser.parse_args()
    print(hardware())
    with tempfile.TemporaryDirectory() as folder, run_simulator() as upstream:
        with run_mirror(Path(folder) / "store", upstream=upstream.url) as server:
            if options.frames:
                cubes(server.url, Path(folder), options.frames, options.whole)
            if options.cutouts:
                fetch(rs_list_url(server.url, "hmi.M_720s[2014.01.01_TAI/10h]"))
                fetch(f"{server.url}/fits/{urllib.parse.quote(DS.format(12))}?x=2000&y=2000&width=3&height=3&units=pixels")
                searches(server.url, options.cutouts)


if __name__ == "__main__":
    main()
