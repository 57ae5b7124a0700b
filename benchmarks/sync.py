"""Subscriptions: complete after a kill with nothing fetched twice, how soon they begin, how long others wait.

    python benchmarks/sync.py                            # all; some minutes
    python benchmarks/sync.py --only waiting --rounds 40
    python benchmarks/sync.py --only complete --days 30 --file-days 30     # 44 GB, half an hour

``complete``: a subscription of hmi.M_720s over so many days, with magnetograms of the last of them; the
mirror is killed (kill -9) midway, and restarted. ``edit``: from the moment config.toml is replaced to the
first request upstream for a new subscription. ``waiting``: searches of one person, through an idle mirror
and through one whose subscription fetches at full speed, in turn; goal: a ratio below 2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from common import Program, Times, fetch, hardware, rs_list_url, run_mirror, run_simulator

SERIES = "hmi.M_720s"


def table(name: str, **keys: object) -> str:
    return "\n".join(
        [f'[[subscription]]\nname = "{name}"', *(f"{k} = {json.dumps(v)}" for k, v in keys.items()), ""]
    )


def write(config: Path, *tables: str) -> None:
    """Replace the file as editors do: a new one in its place."""
    new = config.with_suffix(".new")
    new.write_text("\n".join(tables))
    new.replace(config)


def log(simulator: Program) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(fetch(f"{simulator.url}/_simulator/log"))
    return entries


def subscriptions(mirror: Program) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = json.loads(fetch(f"{mirror.url}/api/subscriptions"))
    return reports


def files_in(entries: list[dict[str, Any]]) -> Counter[str]:
    return Counter(e["params"]["path"] for e in entries if e["program"] == "file")


def wait_for(simulator: Program, files: int) -> None:
    while len(files_in(log(simulator))) < files:
        time.sleep(0.2)


def complete(days: float, file_days: float, store: Path) -> None:
    config = store / "config.toml"
    file_hours, hours = max(1, round(file_days * 24)), max(1, round(days * 24))
    end = "2014.02.01_TAI"
    window = {"series": SERIES, "end": end}
    first = time.strftime("%Y.%m.%d_%H:%M:%S_TAI", time.gmtime(1391212800 - hours * 3600))
    with_files = time.strftime("%Y.%m.%d_%H:%M:%S_TAI", time.gmtime(1391212800 - file_hours * 3600))
    write(
        config,
        table("keywords", start=first, **window),
        table("files", start=with_files, segments=["magnetogram"], **window),
    )
    with run_simulator() as simulator:
        began = time.perf_counter()
        with run_mirror(store / "store", upstream=simulator.url, CONFIG=str(config)) as mirror:
            wait_for(simulator, file_hours * 5 // 2)
            mirror.process.kill()
            mirror.process.wait()
        with run_mirror(store / "store", upstream=simulator.url, CONFIG=str(config)) as mirror:
            while any(
                r["state"] != "current" or r["files"] + r["files_absent"] < r["files_wanted"]
                for r in subscriptions(mirror)
            ):
                time.sleep(0.2)
            taken, reports = time.perf_counter() - began, subscriptions(mirror)
        entries = log(simulator)
    for r in reports:
        print(
            f"complete: {r['name']}: {r['records']:,} of {r['records_wanted']:,} records, {r['files']:,} of "
            f"{r['files_wanted']:,} files, {r['bytes'] / 1e9:.2f} GB, {r['files_absent']} not to be had"
        )
    again = sorted(n for n in files_in(entries).values() if n > 1)
    sent = sum(e["records"] for e in entries if "R" in e["params"])
    print(
        f"complete: {taken:.0f} s with a kill -9 in the middle; records sent {sent:,}; files asked for "
        f"{len(files_in(entries)):,}, more than once {len(again)} (those that were on their way at the kill)"
    )


def edit(rounds: int, store: Path) -> None:
    config = store / "config.toml"
    write(config, "")
    taken = []
    with (
        run_simulator() as simulator,
        run_mirror(store / "store", upstream=simulator.url, CONFIG=str(config)),
    ):
        time.sleep(2)
        tables: list[str] = []
        for n in range(rounds):
            tables.append(
                table(
                    f"n{n}", series=SERIES, start=f"2014.01.{n + 1:02d}_TAI", end=f"2014.01.{n + 2:02d}_TAI"
                )
            )
            before, edited = len(log(simulator)), time.time()
            write(config, *tables)
            while len(entries := log(simulator)) == before:
                time.sleep(0.01)
            taken.append(entries[before]["time"] - edited)
            time.sleep(1)
    print(
        f"edit: first request {statistics.median(taken) * 1e3:.0f} ms after the edit (worst {max(taken) * 1e3:.0f})"
    )


def waiting(rounds: int, latency: int, store: Path) -> None:
    """Searches of cached records, and of records that must be fetched, in turn at both mirrors."""
    config = store / "config.toml"
    wish = {"series": SERIES, "start": "2011.01.01_TAI", "end": "2014.01.01_TAI", "segments": ["magnetogram"]}
    write(config, table("busy", **wish))
    (store / "idle.toml").write_text("")
    held = "hmi.V_45s[2014.01.01_TAI/1h]"
    with (
        run_simulator("--latency", f"{latency}") as simulator,
        run_simulator("--latency", f"{latency}") as other,
    ):
        idle_at, busy_at = {"CONFIG": str(store / "idle.toml")}, {"CONFIG": str(config)}
        with (
            run_mirror(store / "a", upstream=other.url, **idle_at) as idle,
            run_mirror(store / "b", upstream=simulator.url, **busy_at) as busy,
        ):
            for mirror in (idle, busy):
                fetch(rs_list_url(mirror.url, held, key="T_REC"))
            wait_for(simulator, 1)
            times = {key: (Times(), Times()) for key in ("held", "fetched")}
            for n in range(rounds):
                new = f"hmi.V_45s[2013.{1 + n // 28 % 12:02d}.{1 + n % 28:02d}_TAI/1h]"
                for i, mirror in enumerate((idle, busy)):
                    for what, ds in (("held", held), ("fetched", new)):
                        url = rs_list_url(mirror.url, ds, key="T_REC,CRLT_OBS")
                        times[what][i].take(lambda url=url: fetch(url))  # type: ignore[misc]
            [report] = subscriptions(busy)
    for what, (without, beside) in times.items():
        print(f"waiting: {what:8} idle {without}")
        print(f"waiting: {what:8} busy {beside}   ratio {beside.median / without.median:.2f}")
    print(
        f"waiting: meanwhile {report['records']:,} records and {report['files']:,} files came; state {report['state']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["complete", "edit", "waiting"])
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--file-days", type=float, default=0.2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--latency", type=int, default=200)
    options = parser.parse_args()
    print(hardware())
    parts = {
        "complete": lambda store: complete(options.days, options.file_days, store),
        "edit": lambda store: edit(min(options.rounds, 20), store),
        "waiting": lambda store: waiting(options.rounds, options.latency, store),
    }
    for name, part in parts.items():
        if options.only in (None, name):
            with tempfile.TemporaryDirectory() as store:
                part(Path(store))


if __name__ == "__main__":
    main()
