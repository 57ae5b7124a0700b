"""Bundles: a part of a mirror in a folder, to be carried to a laptop or another lab.

Missing data are fetched first (unless only ``held`` ones are wanted). Then tables and files are written, and at the end
the manifest in one step: until then the folder is the bundle that it was.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from mirror import __version__
from mirror.api import transfer as api
from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.claims import held_parts, with_edges
from mirror.coverage.plan import RECNUMS, Forward, box_query, need
from mirror.errors import BadRequest, StorageError, UnknownName, UnknownSeries, UpstreamError, explained
from mirror.services.exports.assembling import link_queries
from mirror.services.search.names import check_segments
from mirror.services.transfer.bundle_contents import (
    EXPORTS,
    FACTS,
    HOLDINGS,
    BundleFiles,
    Fact,
    FactTables,
    FileLoad,
    select_facts,
    write_table,
)
from mirror.services.transfer.manifests import (
    LARGEST,
    MANIFEST,
    POOL,
    TABLES,
    Bundle,
    Claim,
    Structure,
    Table,
    decode_manifest,
    encode_manifest,
    joined,
)
from mirror.services.transfer.pool import UNFINISHED, Pool, alone_in, hash_of, sync_file, write_file
from mirror.storage.disk import Disk
from mirror.storage.index.records_file import write_records
from mirror.storage.index.select_sql import box_predicate
from mirror.wire.export import AddressRequest
from mirror.wire.structure import encode_series_struct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.coverage.claims import CoverageClaim
    from mirror.coverage.coverage import Box
    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series
    from mirror.readthrough.filler import Filler
    from mirror.readthrough.first_last import FirstLast
    from mirror.readthrough.policy import Rules
    from mirror.readthrough.records import Records
    from mirror.readthrough.structures import Listing
    from mirror.services.exports.assembling import Assembler
    from mirror.services.search.search import Search
    from mirror.services.transfer.backup import Report
    from mirror.storage.database.database import Database
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout, Row

#: Milliseconds beyond the edges of a span of plain times within which records are included too.
EDGE = 2000
_SCHEMAS = {"holdings": HOLDINGS, "exports": EXPORTS, "facts": FACTS}


@dataclass(frozen=True, slots=True)
class BundleRequest:
    """What to include: record sets, as in a search; with files or without, and for exports as fits or not.

    ``held``: only what is cached already. ``address``: an e-mail address whose registration is included.
    """

    recordsets: tuple[str, ...]
    files: bool = True
    held: bool = False
    fits: bool = False
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Sources:
    """How records are found: asking upstream where need be, or among cached ones only."""

    search: Search
    extremes: FirstLast
    records: Records
    rules: Rules


@dataclass
class _Load:
    """What is to be included, as it is found."""

    structures: dict[str, Structure] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    files: FileLoad = field(default_factory=FileLoad)
    records: int = 0
    recnums: dict[str, set[int]] = field(default_factory=dict)
    links: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)


class Bundles:
    """Makes bundles of the store below ``root``."""

    def __init__(
        self,
        asking: Sources,
        held: Sources,
        filler: Filler,
        index: Index,
        database: Database,
        files: BundleFiles,
        assembler: Assembler,
        listing: Listing,
        facts: FactTables,
        root: Path,
        disk: Disk | None = None,
    ) -> None:
        self._ways = {False: asking, True: held}
        self._filler = filler
        self._index = index
        self._database = database
        self._files = files
        self._assembler = assembler
        self._listing = listing
        self._facts_of = facts
        self._root = root
        self._disk = disk or Disk()

    async def make(self, wanted: BundleRequest, to: Path, report: Report) -> api.Bundled:
        """Make the folder ``to`` a bundle, or add to the bundle in it; returns a summary."""
        self._check(wanted, to)
        for folder in (to, to / TABLES, to / POOL):
            await asyncio.to_thread(self._disk.make_folder, folder)
        with alone_in(to):
            before = await asyncio.to_thread(read_bundle, to) if (to / MANIFEST).exists() else None
            load = _Load()
            for text in wanted.recordsets:
                await self._one(wanted, text, to, load, report)
            return await self._finish(wanted, to, before, load, report)

    def _check(self, wanted: BundleRequest, to: Path) -> None:
        root = self._root.absolute()
        if not wanted.recordsets:
            raise BadRequest(
                "missing record set; expected one or more, such as hmi.m_720s[2014.01.01/1h]"
            )
        if not to.is_absolute() or to.is_relative_to(root) or root.is_relative_to(to):
            raise BadRequest(f"{to} cannot be a bundle; expected an absolute path outside the store {root}")

    # ---- records ---------------------------------------------------------------------------------

    async def _one(self, wanted: BundleRequest, text: str, to: Path, load: _Load, report: Report) -> None:
        way = self._ways[wanted.held or not self._ways[False].rules.may_ask]
        for selection in await way.search.selections(text):
            check_segments(selection.series, selection.source.segments)
            self._note_structure(selection.series, load)
            resolved = (await way.extremes.resolve(selection)).selection
            if resolved is None:
                continue
            rows, claims, where = await self._rows(way, resolved, load, report)
            if where:
                await self._write_records(selection.series, where, claims, to, load, report)
            load.recnums.setdefault(selection.series.name.lower(), set()).update(row.recnum for row in rows)
            load.links.update(link_queries(selection.series, rows))
            await self._prepare(wanted, self._index.layout(selection.series), rows, load)
            if wanted.files:
                await self._files.gather(selection, rows, load.files, report, fetch=way is self._ways[False])

    async def _prepare(self, wanted: BundleRequest, layout: Layout, rows: Sequence[Row], load: _Load) -> None:
        """Fetch what exports of these records also need: full values, and the names of linked files."""
        if wanted.held or not self._ways[False].rules.may_ask:
            return
        if wanted.fits:
            await self._assembler.keep_precise(layout, rows)
        if wanted.files:
            try:
                await self._assembler.keep_names(layout, rows)
            except UpstreamError as problem:
                load.files.failed.append(api.FailedFile(file="the names of linked files", error=str(problem)))

    async def _rows(
        self, way: Sources, selection: Selection, load: _Load, report: Report
    ) -> tuple[Sequence[Row], list[CoverageClaim], str]:
        """The records of a selection, the part of it that is completely cached, and the condition for all rows to include."""
        series, boxes = selection.series, need(selection)
        if isinstance(boxes, Forward):
            rows = (await way.records.read(selection)).rows
            return rows, [], _numbered([row.recnum for row in rows])
        if way is self._ways[False]:
            await self._fill(series, boxes, report)
        gaps = [gap for box in boxes for gap in self._index.coverage(series).gaps(box)]
        load.missing += [str(box_query(series, gap)) for gap in gaps]
        claims = held_parts(self._index.coverage(series), boxes)
        rows = (await self._index.select(selection)).rows
        return (
            rows,
            claims,
            " OR ".join([*(_lies_in(series, box) for box, _ in claims), _numbered([r.recnum for r in rows])]),
        )

    async def _fill(self, series: Series, boxes: Sequence[Box], report: Report) -> None:
        """Fetch what is missing; where nothing is missing a failing check is ignored, if the policy allows it."""
        rules, coverage = self._ways[False].rules, self._index.coverage(series)
        freshness = rules.freshness(series)
        missing = [gap for box in boxes for gap in coverage.gaps(box)]
        stale = [old for box in boxes for old in coverage.stale(box, freshness)]
        if missing:
            spans = [str(box_query(series, b)) for b in missing[:5]]
            await report(api.Progress(step="asking", series=series.name, spans=spans))
        try:
            await self._filler.fill(series, missing, stale)
        except UpstreamError:
            if missing or not rules.stale_on_failure:
                raise

    def _note_structure(self, series: Series, load: _Load) -> None:
        held = self._index.series(series.name)
        if held is None:
            raise UnknownSeries(series.name)
        view = self._index.view(held[0])
        text = encode_series_struct(held[0], runtime=0.0).decode("latin-1")
        precision = {name: (t.absolute, t.relative) for name, t in (view.tolerances if view else {}).items()}
        load.structures[series.name.lower()] = Structure(held[0].name, text, held[1], precision)

    async def _write_records(
        self, series: Series, where: str, claims: list[CoverageClaim], to: Path, load: _Load, report: Report
    ) -> None:
        view = self._index.view(series)
        if view is None:  # nothing was ever cached
            return
        layout = view.layout
        temporary = to / TABLES / f"records{UNFINISHED}"
        count, numbers = await self._database.read(
            lambda c: write_records(c, layout, f"({where})", temporary)
        )
        fields = {n: tuple(sorted(view.keysets[n], key=view.keysets[n].__getitem__)) for n in numbers}
        name = series.name.lower()
        table = await self._named(
            to, temporary, Table("records", name, "", 0, count, series.name, fields, tuple(Claim.of(*c) for c in claims))
        )
        load.tables.append(table)
        load.records += count
        self._note_structure(series, load)  # what was fetched may have made values less precise
        await report(api.Progress(step="records", series=series.name, records=count))

    async def _named(self, to: Path, temporary: Path, table: Table) -> Table:
        """Rename a written table to its final name, which depends on its content only."""

        def work() -> Table:
            sha256, size = hash_of(temporary)
            file = f"{TABLES}/{table.file}-{sha256[:16]}.parquet"
            sync_file(self._disk, temporary)
            self._disk.move(temporary, to / file)
            return replace(table, file=file, sha256=sha256, size=size)

        return await asyncio.to_thread(work)

    # ---- the end ---------------------------------------------------------------------------------

    async def _finish(
        self, wanted: BundleRequest, to: Path, before: Bundle | None, load: _Load, report: Report
    ) -> api.Bundled:
        came = await self._files.put(Pool(to / POOL, self._disk, seal=False), load.files, report)
        if came.holdings:
            load.tables.append(await self._write(to, "holdings", came.holdings))
        if came.exports:
            load.tables.append(await self._write(to, "exports", came.exports))
        facts = await self._facts(wanted, load)
        load.tables.append(await self._write(to, "facts", facts))
        now = self._ways[False].rules.now().astimezone(UTC).isoformat(timespec="seconds")
        new = Bundle(
            now,
            f"jsoc-mirror {__version__}",
            wanted.recordsets,
            tuple(load.structures.values()),
            tuple(load.tables),
        )
        bundle = joined(before, new)
        await asyncio.to_thread(self._publish, to, bundle)
        return api.Bundled(
            bundle=str(to),
            records=load.records,
            files=len(came.holdings) + len(came.exports),
            size=sum(came.sizes.values()),
            written=came.written,
            missing=load.missing,
            failed=load.files.failed,
        )

    def _publish(self, to: Path, bundle: Bundle) -> None:
        self._disk.sync_folder(to / TABLES)
        write_file(self._disk, to / MANIFEST, encode_manifest(bundle))
        wanted = {table.file for table in bundle.tables}
        for path in (to / TABLES).iterdir():  # left by an interrupted one
            if f"{TABLES}/{path.name}" not in wanted and path.suffix in (".parquet", UNFINISHED):
                self._disk.remove(path)

    async def _write(self, to: Path, kind: Any, rows: Sequence[tuple[Any, ...]]) -> Table:
        temporary = to / TABLES / f"{kind}{UNFINISHED}"
        await asyncio.to_thread(write_table, rows, _SCHEMAS[kind], temporary)
        return await self._named(to, temporary, Table(kind, kind, "", 0, len(rows)))

    async def _facts(self, wanted: BundleRequest, load: _Load) -> list[Fact]:
        """Small answers that are needed where there is no archive."""
        if not wanted.held and self._ways[False].rules.may_ask:
            try:
                await self._listing.series()
                for notes in (False, True):
                    await self._listing.all_series(notes=notes)
                if wanted.address:
                    await self._listing.check_address(AddressRequest(wanted.address))
            except UpstreamError as problem:
                failed = api.FailedFile(file="the list of series, or the address", error=str(problem))
                load.files.failed.append(failed)
        keys = [f"{name}:{recnum}" for name, numbers in load.recnums.items() for recnum in sorted(numbers)]
        address = (wanted.address or "").lower()
        return await select_facts(self._facts_of, keys, load.links, address)


def read_bundle(folder: Path) -> Bundle:
    """The manifest of a bundle; StorageError if it is not one, damaged, or of a newer version."""
    path = folder / MANIFEST
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise UnknownName(f"{folder} is not a bundle; expected a folder made by `mirror bundle`")
        return decode_manifest(path.read_bytes(), Bundle, str(path))
    except OSError as error:
        raise StorageError(f"cannot read {path}: {explained(error)}") from error


def _lies_in(series: Series, box: Box) -> str:
    axis = coverage_axis(series)
    if axis is not None and axis.kind is Kind.MILLISECONDS and box.region != RECNUMS:
        box = with_edges(box, EDGE)
    return f"({box_predicate(series, box)})"


def _numbered(recnums: Sequence[int]) -> str:
    return f"recnum IN ({', '.join(map(str, recnums))})" if recnums else "FALSE"
