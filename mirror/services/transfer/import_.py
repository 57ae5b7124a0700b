"""Importing a bundle into a mirror's store. A bundle comes from elsewhere: everything in it is checked.

First everything is read and compared with its hash, and nothing is changed; then files, records with their coverage,
and small answers are stored. The store is consistent after each step, and repeating all of them changes nothing: an
interrupted import is simply begun again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mirror.api.transfer import Imported, Progress
from mirror.errors import BadRequest, MirrorError, StorageError
from mirror.readthrough.files import SegmentFile
from mirror.services.transfer.bundle import read_bundle
from mirror.services.transfer.bundle_contents import (
    Carried,
    CarriedExport,
    carried_exports,
    carried_facts,
    carried_files,
)
from mirror.services.transfer.manifests import POOL
from mirror.services.transfer.pool import PIECE, Pool, hash_of
from mirror.storage.disk import Disk
from mirror.storage.files.adopted_exports import export_link
from mirror.storage.index.layout import Layout, Tolerance
from mirror.storage.index.merge import ForeignRecords
from mirror.storage.index.records_file import read_records
from mirror.wire.structure import decode_series_struct, structure_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mirror.drms.series import Series
    from mirror.readthrough.files import Files
    from mirror.services.transfer.backup import Report
    from mirror.services.transfer.bundle_contents import FactTables
    from mirror.services.transfer.manifests import Bundle, Structure, Table
    from mirror.storage.files.adopted_exports import Adopted
    from mirror.storage.files.blobs import Blobs
    from mirror.storage.files.table import Blob
    from mirror.storage.index.index import Index

#: Seconds of work between two reports of progress.
STEP = 0.5
#: Damaged files that an error names; the others are counted.
NAMED = 5


class Importer:
    """Imports bundles into a store; ``now`` gives Unix seconds, ``tree`` says whether there is a readable tree."""

    def __init__(
        self,
        index: Index,
        files: Files,
        adopted: Adopted,
        blobs: Blobs,
        facts: FactTables,
        now: Callable[[], float],
        disk: Disk | None = None,
        *,
        tree: bool = True,
    ) -> None:
        self._adopted = adopted
        self._tree = tree
        self._index = index
        self._files = files
        self._blobs = blobs
        self._facts = facts
        self._now = now
        self._disk = disk or Disk()

    async def take(self, folder: Path, report: Report) -> Imported:
        """Import the bundle in ``folder``; returns a summary.

        StorageError, and nothing is changed, if it is damaged or of a newer version, or if there is no room.
        """
        if not folder.is_absolute():
            raise BadRequest(
                f"{folder} is not an absolute path; expected where on the mirror's machine it lies"
            )
        bundle = await asyncio.to_thread(read_bundle, folder)
        structures = {s.name.lower(): (s, _series(folder, s)) for s in bundle.series}
        await self._check_tables(
            folder, bundle, {name: series for name, (_, series) in structures.items()}, report
        )
        carried = await asyncio.to_thread(carried_files, folder, bundle)
        exports = await asyncio.to_thread(carried_exports, folder, bundle)
        everything: list[Carried | CarriedExport] = [*carried, *exports]
        odd = [each.record.series for each in everything if each.record.series not in structures]
        if odd:
            raise StorageError(f"{folder} is damaged: it has files of {odd[0][:80]!r}, and not its structure")
        facts = await asyncio.to_thread(carried_facts, folder, bundle)
        new = await self._check_files(folder, everything, report)
        await self._take_files(folder, carried, new, report)
        for each in exports:
            await self._take_export(folder, each, structures[each.record.series][1])
        for structure, series in structures.values():
            await self._take_structure(structure, series)
        records = [
            await self._take_records(folder, t, structures[t.series.lower()][0], report)
            for t in bundle.tables
            if t.kind == "records"
        ]
        for kind, key, value, fetched_at in facts:
            await self._facts[kind].put_newer(key, value, min(fetched_at, self._now()))
        return Imported(
            bundle=str(folder),
            made_at=bundle.made_at,
            asked=list(bundle.asked),
            series=len(structures),
            records=sum(records),
            files=len(everything),
            new_files=len(new),
            new_bytes=sum(new.values()),
        )

    # ---- looking ---------------------------------------------------------------------------------

    async def _check_tables(self, folder: Path, bundle: Bundle, known: dict[str, Series], report: Report) -> None:
        """Raise unless every table is as the manifest says, down to the values of its records."""
        for number, table in enumerate(bundle.tables):
            await report(Progress(step="checking", done=number, total=len(bundle.tables), file=table.file))
            if await asyncio.to_thread(hash_of, folder / table.file) != (table.sha256, table.size):
                raise StorageError(
                    f"{folder / table.file} is damaged: its bytes are not those of the manifest"
                )
            if table.kind != "records":
                continue
            series = known.get(table.series.lower())
            if series is None:
                raise StorageError(
                    f"{folder} is damaged: it has records of {table.series}, and not its structure"
                )
            await asyncio.to_thread(_look_through, folder, table, Layout(series))

    async def _check_files(
        self, folder: Path, carried: Sequence[Carried | CarriedExport], report: Report
    ) -> dict[str, int]:
        """The files that are not cached yet, with their sizes; raises unless each of them is whole."""
        sizes = {each.sha256: each.size for each in carried}
        new = {sha256: size for sha256, size in sizes.items() if await self._blobs.find(sha256) is None}
        usage = self._blobs.usage()
        if usage.limit is not None and sum(new.values()) > usage.limit:
            raise StorageError(
                f"the bundle has files of {sum(new.values()):,} bytes, the quota is {usage.limit:,}"
            )
        pool, todo, done = Pool(folder / POOL, self._disk), iter(new.items()), 0
        damaged: list[str] = []
        while done < len(new):
            count, bad = await asyncio.to_thread(_check_some, pool, todo)
            done, damaged = done + count, damaged + bad
            await report(Progress(step="checking", done=done, total=len(new)))
        if damaged:
            more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
            raise StorageError(
                f"files of the bundle are missing or damaged: {', '.join(damaged[:NAMED])}{more}; nothing was changed"
            )
        return new

    # ---- taking ----------------------------------------------------------------------------------

    async def _take_files(
        self, folder: Path, carried: Sequence[Carried], new: dict[str, int], report: Report
    ) -> None:
        pool = Pool(folder / POOL, self._disk)
        for number, each in enumerate(carried):
            blob = await self._held(pool, each, str(each.file))
            await self._files.note(
                SegmentFile(each.file.path(each.disk), each.record, each.day or None), each.file, blob
            )
            if number % 20 == 0:
                await report(Progress(step="files", done=number, total=len(carried), new=len(new)))

    async def _take_export(self, folder: Path, each: CarriedExport, series: Series) -> None:
        """Keep an adopted export, unless the mirror already has one of that segment."""
        if await self._adopted.of(each.record) is not None:
            return
        blob = await self._held(Pool(folder / POOL, self._disk), each, each.name)
        segment = series.segment(each.record.segment)
        name = each.record.segment if segment is None else segment.name
        link = export_link(each.record, name, each.day) if self._tree and each.day else None
        await self._adopted.add(each.record, blob, name=each.name, link=link, now=self._now())

    async def _held(self, pool: Pool, each: Carried | CarriedExport, name: str) -> Blob:
        """The blob of a file of the bundle, stored first if need be; ``name`` is for the error if there is no room."""
        blob = await self._blobs.find(each.sha256)
        if blob is None:
            await self._keep(pool.path(each.sha256), each)
            blob = await self._blobs.find(each.sha256)
        if blob is None:  # evicted at once: there is no room for all of them
            raise StorageError(f"the store has no space for {name}; raise the quota, or unpin files")
        return blob

    async def _keep(self, path: Path, each: Carried | CarriedExport) -> None:
        async with self._blobs.incoming(each.size) as sink:
            with path.open("rb", buffering=0) as file:
                while piece := await asyncio.to_thread(file.read, PIECE):
                    await sink.write(piece)
            blob = await sink.keep(size=each.size)
        if blob.sha256 != each.sha256:
            raise StorageError(f"{path} changed during the import; import the bundle again")

    async def _take_structure(self, structure: Structure, series: Series) -> None:
        """Keep the structure, unless a newer one is cached."""
        held, fetched_at = self._index.series(series.name), min(structure.fetched_at, self._now())
        if held is None or held[1] < fetched_at:
            await self._index.keep_series(series, fetched_at)

    async def _take_records(self, folder: Path, table: Table, structure: Structure, report: Report) -> int:
        held = self._index.series(table.series)
        assert held is not None
        series, layout = held[0], self._index.layout(held[0])
        keysets = {n: (await self._index.keyset(series, f), f) for n, f in table.keysets.items()}
        await report(Progress(step="records", series=series.name, records=table.rows))
        found = await asyncio.to_thread(
            lambda: list(read_records(folder / table.file, layout, keysets, table.rows))
        )
        # Rows that lack a keyword which the series has by now make no coverage: they are fetched again.
        whole = all(map(layout.is_whole, table.keysets.values()))
        now = self._now()
        share = ForeignRecords(
            new=tuple(rows for old, rows in found if not old),
            old=tuple(rows for old, rows in found if old),
            claims=tuple((c.box, min(c.checked_at, now)) for c in table.claims) if whole else (),
            tolerances={
                name: Tolerance(*pair)
                for name, pair in structure.precision.items()
                if name in layout.columns_by_name
            },
        )
        await self._index.absorb(series, share)
        return table.rows


# ---- what a bundle says, checked ----------------------------------------------------------------


def _series(folder: Path, structure: Structure) -> Series:
    """The series of a structure; StorageError if its names are invalid."""
    try:
        series = decode_series_struct(structure.structure.encode("latin-1"), name_hint=structure.name)
    except (MirrorError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{folder} is damaged: the structure of {structure.name}: {error}") from error
    if series.name.lower() != structure.name.lower():
        raise StorageError(f"{folder} is damaged: the structure of {structure.name} is that of {series.name}")
    problem = structure_problem(series) or Layout(series).problem
    if problem is not None:
        raise StorageError(f"{folder} is damaged: the structure of {structure.name}: {problem}")
    return series


def _look_through(folder: Path, table: Table, layout: Layout) -> None:
    space = len(layout.series.primekeys)
    for box in (claim.box for claim in table.claims):
        if len(box.region.others) > max(space, 1):
            raise StorageError(f"{folder} is damaged: a claim on {table.series} has too many prime keys")
    keysets = {number: (number, fields) for number, fields in table.keysets.items()}
    for _ in read_records(folder / table.file, layout, keysets, table.rows):
        pass


def _check_some(pool: Pool, todo: Iterator[tuple[str, int]]) -> tuple[int, list[str]]:
    """Check files for a while; how many there were, and which are wrong."""
    until, count, damaged = time.monotonic() + STEP, 0, []
    for sha256, size in todo:
        count += 1
        if pool.size(sha256) != size or hash_of(pool.path(sha256))[0] != sha256:
            damaged.append(str(pool.path(sha256)))
        if time.monotonic() > until:
            break
    return count, damaged
