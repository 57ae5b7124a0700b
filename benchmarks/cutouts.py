"""Cutouts: what the mirror takes for one, against opening the whole file, and against sending it.

    python benchmarks/cutouts.py [--rounds 15]

A 600 x 600 part of a cached 4096 x 4096 magnetogram is asked for over HTTP; beside it, in turn, in this process: the same
file opened by astropy and its data read; opened, cut and written again by astropy; and the whole file downloaded from the
mirror and read. Milliseconds, and ratios. Then the time of the processor that each takes, which depends less on what else the
machine does: of the mirror, of the processes that cut for it, and of this one.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

from astropy.io import fits
from common import Times, busy, fetch, hardware, run_mirror, run_simulator

DISK = "hmi.M_720s[2014.01.01_00:00:00_TAI]{magnetogram}"


def descendants(process: int) -> list[int]:
    """The processes below one."""
    children = [int(each) for path in Path(f"/proc/{process}/task").glob("*/children") for each in path.read_text().split()]
    return [*children, *(below for child in children for below in descendants(child))]


def processor(work: Callable[[], object], rounds: int, *processes: int) -> float:
    """Milliseconds of the processor that work takes of these processes; of this one if there are none."""
    now = (lambda: busy(processes)) if processes else time.process_time
    began = now()
    for _ in range(rounds):
        work()
    return (now() - began) / rounds * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    print(hardware())
    with tempfile.TemporaryDirectory() as folder, run_simulator() as upstream:
        store = Path(folder)
        with run_mirror(store / "store", upstream=upstream.url) as server:
            address = f"{server.url}/fits/{urllib.parse.quote(DISK)}"
            path = store / "whole.fits"
            path.write_bytes(fetch(address))
            part = f"{address}?x=1749&y=1749&width=600&height=600&units=pixels"

            def opened() -> None:
                with fits.open(path) as hdus:
                    assert hdus[1].data.shape == (4096, 4096)

            def cut() -> None:
                with fits.open(path, do_not_scale_image_data=True) as hdus:
                    made = fits.CompImageHDU(hdus[1].data[1449:2049, 1449:2049], hdus[1].header, compression_type="RICE_1")
                    fits.HDUList([fits.PrimaryHDU(), made]).writeto(io.BytesIO())

            def downloaded() -> None:
                with fits.open(io.BytesIO(fetch(address))) as hdus:
                    assert hdus[1].data.shape == (4096, 4096)

            ways = {
                "cutout by the mirror": lambda: fetch(part),
                "astropy: whole file opened": opened,
                "astropy: opened, cut, written": cut,
                "whole file downloaded and opened": downloaded,
            }
            times = {name: Times() for name in ways}
            for turn in range(-2, options.rounds):
                for name, work in ways.items():
                    if turn < 0:
                        work()
                    else:
                        times[name].take(work)
            server_ms, cutter_ms = (
                processor(lambda: fetch(part), options.rounds, *processes)
                for processes in ([server.process.pid], descendants(server.process.pid))
            )
            astropy_ms = {name: processor(ways[name], 3) for name in list(ways)[1:3]}
    ours = times["cutout by the mirror"].median
    for name, taken in times.items():
        print(f"{name:34} {taken}  {taken.median / ours:.1f} times a cutout")
    print(f"processor: mirror {server_ms:.1f} ms, processes that cut {cutter_ms:.1f} ms a cutout;", end=" ")
    print(", ".join(f"{name} {taken:.0f} ms" for name, taken in astropy_ms.items()))


if __name__ == "__main__":
    main()
