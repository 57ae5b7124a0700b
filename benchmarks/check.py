"""How fast a check reads files, compared with sha256sum of the same files: MB/s, cold and warm.

    python benchmarks/check.py --files 200 --size 4 --folder /data/scratch

Cold means that these files are dropped from the page cache before each run, as far as the system allows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import tempfile
import time
from pathlib import Path

from mirror.storage.database.database import Database
from mirror.storage.files.blobs import Blobs


def give_back(paths: list[Path]) -> None:
    """Drop the files from the page cache."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def report(what: str, size: int, seconds: float) -> None:
    """One line."""
    print(f"{what:32} {size / seconds / 1e6:8.0f} MB/s  {seconds:6.2f} s", flush=True)


def with_sha256sum(paths: list[Path], processes: int) -> float:
    """Seconds that so many sha256sum processes take for the files, each for its share."""
    began = time.perf_counter()
    shares = [paths[i::processes] for i in range(processes)]
    running = [
        subprocess.Popen(["sha256sum", *map(str, share)], stdout=subprocess.DEVNULL) for share in shares
    ]
    assert all(process.wait() == 0 for process in running)
    return time.perf_counter() - began


async def checked(blobs: Blobs) -> float:
    """Seconds that a check of all blobs takes."""
    began = since = time.time()
    while due := await blobs.check.due(since, 64):
        assert await blobs.check.verify(due) == []
    return time.time() - began


async def filled(root: Path, database: Database, files: int, size: int) -> Blobs:
    """A store with so many files of so many bytes."""
    blobs = await Blobs.open(root, database, now=time.time)
    for _ in range(files):
        async with blobs.incoming(size) as sink:
            await sink.write(os.urandom(size))
            await sink.keep()
    return blobs


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--size", type=float, default=4.0, help="MB of each")
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        database = Database.open(Path(folder) / "index.duckdb")
        blobs = await filled(Path(folder), database, given.files, int(given.size * 1e6))
        paths = [p for p in (Path(folder) / "blobs").rglob("*") if len(p.name) == 64]
        total = sum(p.stat().st_size for p in paths)
        for state in ("cold", "warm"):
            for what, run in (
                ("sha256sum", lambda: with_sha256sum(paths, 1)),
                ("two sha256sum at a time", lambda: with_sha256sum(paths, 2)),
            ):
                if state == "cold":
                    give_back(paths)
                report(f"{what}, {state}", total, run())
            if state == "cold":
                give_back(paths)
            report(f"mirror check, {state}", total, await checked(blobs))
            with_sha256sum(paths, 1)  # so that the next round is warm
        database.close()


if __name__ == "__main__":
    asyncio.run(main())
