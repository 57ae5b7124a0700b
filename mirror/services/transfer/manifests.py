"""The descriptions in backups and bundles: ``manifest.json``, and a backup's ``SHA256SUMS``. Pure.

A bundle comes from elsewhere, and a disk may have damaged a backup: each decoded member is checked, and names no file
outside. Files count only if the manifest leads to them. Members added by later programs are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import asdict, replace

from mirror.coverage.coverage import Between, Box, Region
from mirror.coverage.intervals import MAX, MIN, Steps
from mirror.errors import StorageError
from mirror.wire.structure import SERIES_NAME

MANIFEST, POOL = "manifest.json", "blobs"
#: A backup's other files.
SUMS, INDEX = "SHA256SUMS", "index.duckdb"
#: A bundle's folder of Parquet files.
TABLES = "tables"
#: The most bytes of a manifest; one of a large bundle has some 100 kB.
LARGEST = 256 << 20
#: The name of a backup's folder: its time in UTC, and a number if there are several of one second.
NAME = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ(?:-\d+)?")
_LINE = re.compile(r"([0-9a-f]{64})  (?:\.\./blobs/[0-9a-f]{2}/([0-9a-f]{64})|index\.duckdb)")

Kind = Literal["records", "holdings", "exports", "facts"]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Count = Annotated[int, Meta(ge=0, le=MAX)]
Whole = Annotated[int, Meta(ge=MIN, le=MAX)]
NotNegative = Annotated[float, Meta(ge=0)]
SeriesName = Annotated[str, Meta(pattern=rf"^(?a:{SERIES_NAME.pattern})\Z")]
TableFile = Annotated[str, Meta(pattern=r"^tables/[a-z0-9_-][a-z0-9_.-]{0,150}\.parquet\Z")]


class Backup(Struct, frozen=True):
    """A backup: when it was made, by which program, of which schema; ``files`` and ``size`` (bytes) of its blobs.

    ``sums`` is the sha256 of the file SHA256SUMS; ``index_only``: the files are not in it.
    """

    made_at: str
    program: str
    schema: Count
    files: Count
    size: Count
    index_only: bool
    sums: Sha256


class Claim(Struct, frozen=True):
    """A box of which a table has every record, and when that was last checked (seconds since 1970)."""

    others: tuple[tuple[Whole, Whole] | str | None, ...]
    all_versions: bool
    steps: tuple[tuple[Whole, Whole, Annotated[int, Meta(ge=1, le=MAX)]], ...]
    checked_at: float

    @classmethod
    def of(cls, box: Box, checked_at: float) -> Claim:
        """The claim of a box."""
        others = tuple((r.lo, r.hi) if isinstance(r, Between) else r for r in box.region.others)
        steps = tuple((s.lo, s.hi, s.step) for s in box.steps)
        return cls(others, box.region.all_versions, steps, checked_at)

    @property
    def box(self) -> Box:
        """The box of the claim."""
        others = tuple(Between(*r) if isinstance(r, tuple) else r for r in self.others)
        return Box(Region(others, self.all_versions), tuple(Steps(*s) for s in self.steps))

    def __post_init__(self) -> None:
        """ValueError for steps that end before they begin."""
        if any(lo > hi for lo, hi, _ in self.steps):
            raise ValueError("steps end before they begin; expected first, last and step")


class Table(Struct, frozen=True):
    """A Parquet file below the bundle's folder. Of records: their series, what the numbers of its key sets mean,
    and the boxes of which it has every record.
    """

    kind: Kind
    file: TableFile
    sha256: Sha256
    size: Count
    rows: Count
    series: str = ""
    keysets: Mapping[Annotated[int, Meta(ge=0)], tuple[str, ...]] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        """ValueError for records without a series."""
        if self.kind == "records" and not SERIES_NAME.fullmatch(self.series):
            raise ValueError(f"series: {self.series[:80]!r}; expected the name of a series")


class Structure(Struct, frozen=True):
    """A series: its structure as series_struct gives it, when it was fetched, and the precision of its keywords.

    ``precision`` gives the absolute and the relative error of printed values by keyword, in lower case.
    """

    name: SeriesName
    structure: str
    fetched_at: float
    precision: Mapping[str, tuple[NotNegative, NotNegative]] = field(default_factory=dict)


class Bundle(Struct, frozen=True):
    """A bundle; ``asked`` are the record sets for which it was made."""

    made_at: str
    program: str
    asked: tuple[str, ...] = ()
    series: tuple[Structure, ...] = ()
    tables: tuple[Table, ...] = ()


M = TypeVar("M", Backup, Bundle)
_FORMATS = {Backup: "jsoc-mirror backup", Bundle: "jsoc-mirror bundle"}
VERSION = 1


class _Head(Struct):
    format: object = None
    version: object = None


def encode_manifest(manifest: Backup | Bundle) -> bytes:
    """``manifest.json``."""
    members = {"format": _FORMATS[type(manifest)], "version": VERSION, **asdict(manifest)}
    return msgspec.json.format(msgspec.json.encode(members), indent=1) + b"\n"


def decode_manifest(data: bytes, kind: type[M], where: str) -> M:
    """The inverse; StorageError, which names ``where`` and the member, for anything else."""
    what = _FORMATS[kind].removeprefix("jsoc-mirror ")
    try:
        head = msgspec.json.decode(data, type=_Head)
    except msgspec.ValidationError:
        head = _Head()
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise StorageError(f"{where} is no JSON: {error}") from error
    if head.format != _FORMATS[kind]:
        raise StorageError(f"{where} is not that of a {what}; expected a folder that `mirror {what}` made")
    if type(head.version) is not int or head.version != VERSION:
        raise StorageError(
            f"{where} has version {head.version!r}, this program knows {VERSION}; use a newer jsoc-mirror"
        )
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise StorageError(f"{where} is damaged: {_by_member(str(error))}") from error


def _by_member(problem: str) -> str:
    """The error of msgspec, the member first: ``tables[0].size: Expected `int`, got `str```."""
    found = re.fullmatch(r"(.*) - at (?:`key` in )?`\$\.?(.*)`", problem, re.DOTALL)
    place, what = (found[2], found[1]) if found else ("", problem)
    if lacking := re.fullmatch(r"Object missing required field `(\w+)`", what):
        what = f"the member {lacking[1]} is missing"
    return f"{place}: {what}" if place else what


def joined(old: Bundle | None, new: Bundle) -> Bundle:
    """A bundle to which more was added: where tables differ, later ones count."""
    if old is None:
        return new
    known = {s.name.lower(): s for s in old.series}
    for structure in new.series:
        before = known.get(structure.name.lower())
        known[structure.name.lower()] = structure if before is None else _both(before, structure)
    again = {table.file for table in new.tables}
    tables = (*(t for t in old.tables if t.file not in again), *new.tables)
    asked = tuple(dict.fromkeys((*old.asked, *new.asked)))
    return replace(new, asked=asked, series=tuple(known.values()), tables=tables)


def _both(old: Structure, new: Structure) -> Structure:
    names = sorted({*old.precision, *new.precision})
    pairs = {n: [p[n] for p in (old.precision, new.precision) if n in p] for n in names}
    widest = {n: (max(a for a, _ in found), max(r for _, r in found)) for n, found in pairs.items()}
    return replace(max(old, new, key=lambda s: s.fetched_at), precision=widest)


def encode_sums(index: str, blobs: Iterable[str]) -> bytes:
    """``SHA256SUMS``, as ``sha256sum -c`` reads it: the hash of the index, and of each of its files in the pool beside it."""
    lines = [f"{index}  {INDEX}", *(f"{x}  ../{POOL}/{x[:2]}/{x}" for x in sorted(blobs))]
    return ("\n".join(lines) + "\n").encode()


def decode_sums(data: bytes, where: str) -> tuple[str, list[str]]:
    """The inverse; StorageError for anything else."""
    index, blobs = "", []
    for number, line in enumerate(data.decode(errors="replace").removesuffix("\n").split("\n"), start=1):
        found = _LINE.fullmatch(line)
        if found is None or (found[2] is None) != (number == 1) or found[2] not in (None, found[1]):
            raise StorageError(f"{where} is damaged in line {number}: {line[:100]!r}")
        if found[2] is None:
            index = found[1]
        else:
            blobs.append(found[1])
    return index, blobs
