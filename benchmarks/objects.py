"""The cost of a file from the object store of a cluster, compared with obstore alone: python benchmarks/objects.py

Starts its own S3 (SeaweedFS), puts files of 12.4 MB there, and gets them: by obstore alone, in pieces to a synced file;
by ``Objects.reading``; and as a download of a mirror, hashed, checked and kept. Needs the extra ``test``.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1]))

FILES, SIZE, ROUNDS = 12, 12_400_000, 3
DOWNLOAD = "a mirror's download, kept"


async def main() -> None:
    import obstore

    from mirror.cluster.files import SharedFiles
    from mirror.cluster.objects import open_objects
    from mirror.cluster.units import Unit, blob_key
    from mirror.readthrough.downloads import Downloads, Manner
    from mirror.storage.database.database import Database
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob
    from mirror.wire.paths import UnitFile, unit_file
    from tests.servers import KEYS, bucket

    url, endpoint = bucket()
    objects = open_objects(url, endpoint, KEYS)
    store = objects._store  # noqa: SLF001  (obstore alone)
    units: dict[UnitFile, Unit] = {}
    puts, took = [], []
    for number in range(FILES):
        data = os.urandom(SIZE)
        sha256 = hashlib.sha256(data).hexdigest()
        began = time.perf_counter()
        await objects.put_new(blob_key(sha256), data)
        puts.append(time.perf_counter() - began)
        file = UnitFile(number + 1, 0, "image.fits")
        units[file] = Unit(file, "SUM1", sha256, SIZE)

    async def find(file: UnitFile) -> Unit | None:
        return units.get(file)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)

        def written(fd: int, pieces: list[bytes]) -> None:
            for piece in pieces:
                os.write(fd, piece)

        async def alone(unit: Unit) -> None:
            result = await obstore.get_async(store, unit.key)
            fd = os.open(root / "alone", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            try:
                async for piece in result.stream(1 << 20):
                    await asyncio.to_thread(written, fd, [bytes(piece)])
                await asyncio.to_thread(os.fsync, fd)
            finally:
                os.close(fd)

        async def memory(unit: Unit) -> None:
            assert len(await (await obstore.get_async(store, unit.key)).bytes_async()) == SIZE

        async def reading(unit: Unit) -> None:
            async with objects.reading(unit.key) as incoming:
                async for _ in incoming.pieces:
                    pass

        came: list[Blob] = []
        database = await asyncio.to_thread(Database.open, root / "index.duckdb")
        blobs = await Blobs.open(root, database, now=time.time)
        cluster = SimpleNamespace(id=1, connected=True, name="one")
        shared = SharedFiles((cluster, objects), SimpleNamespace(), database, blobs)  # type: ignore[arg-type]
        shared.units.find = find  # type: ignore[method-assign]
        downloads = Downloads(blobs, shared)

        async def kept(_: object) -> None:
            pass

        async def mirror(unit: Unit) -> None:
            came.append(await downloads.start(unit.path, kept, manner=Manner(check=lambda *_: None)).kept())

        async def hashed(unit: Unit) -> None:
            with (root / "alone").open("rb") as file:
                await asyncio.to_thread(hashlib.file_digest, file, "sha256")

        assert unit_file(next(iter(units.values())).path) in units
        print(f"put of {SIZE / 1e6:.1f} MB: {statistics.median(puts) * 1e3:.0f} ms; load {os.getloadavg()[0]:.1f}")
        ways = {"obstore, to memory": memory, "obstore, to a file that lasts": alone, "Objects.reading": reading,
                "the sha256 of that file": hashed, DOWNLOAD: mirror}  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for unit in units.values():
                for name, way in ways.items():
                    began = time.perf_counter()
                    await way(unit)
                    times[name].append(time.perf_counter() - began)
                while came:
                    await blobs.drop(came.pop())
        for name, took in times.items():
            print(f"{name:32} {statistics.median(took) * 1e3:6.1f} ms")
        middle = {name: statistics.median(took) for name, took in times.items()}
        alone_and_hashed = middle["obstore, to a file that lasts"] + middle["the sha256 of that file"]
        rate = middle["obstore, to memory"] / middle["Objects.reading"]
        print(f"Objects.reading, of the rate of obstore: {rate:.2f}")
        print(f"a mirror's download, of the rate of obstore to a file, hashed: {alone_and_hashed / middle[DOWNLOAD]:.2f}")
        await asyncio.to_thread(database.close)


if __name__ == "__main__":
    asyncio.run(main())
