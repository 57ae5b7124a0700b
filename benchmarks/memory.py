"""The daemon's memory over 10,000 searches.

    python benchmarks/memory.py [--searches 10000] [--records 1000000] [--store FOLDER]

Warm searches anywhere in an index of a million records: mostly hours, every tenth a day, with all
keywords or a few, every fifth with a condition. Prints one line per thousand.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import tempfile
from pathlib import Path

from bulk import DAY, build
from common import Connection, hardware, rs_list_url, run_mirror
from search import window

from mirror.daemon import DATABASE


def search(number: int, held: int, chance: random.Random) -> tuple[str, str]:
    """A record set and the keywords to ask for."""
    ds = window(DAY if number % 10 == 0 else 81, held, chance)
    condition = "[? QUALITY >= 0 AND DATAMEAN > -5000 ?]" if number % 5 == 0 else ""
    return ds + condition, chance.choice(("**ALL**", "T_REC,QUALITY,DATAMEAN"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=10_000)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--store", type=Path)
    options = parser.parse_args()
    print(hardware())
    with contextlib.ExitStack() as stack:
        store = options.store or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (store / DATABASE).exists():
            asyncio.run(build(store, options.records))
        server = stack.enter_context(run_mirror(store, UPSTREAM__POLICY="offline"))
        client, chance = Connection(server.url), random.Random(1)
        print(f"      0 searches: {server.memory():.0f} MB")
        for number in range(1, options.searches + 1):
            ds, keys = search(number, options.records, chance)
            body, _ = client.get(rs_list_url(server.url, ds, key=keys))
            if json.loads(body)["status"] != 0:
                raise SystemExit(f"{ds}: {body[:200]!r}")
            if number % 1000 == 0:
                print(f"{number:7,} searches: {server.memory():.0f} MB", flush=True)


if __name__ == "__main__":
    main()
