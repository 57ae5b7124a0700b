"""What a bundle says of itself: ``manifest.json``, the only file that counts until it names another. Pure.

A bundle comes from elsewhere: what is decoded here is checked member by member, and names no file but its own.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NoReturn, TypeVar, get_args

from mirror.coverage.coverage import Between, Box, Region
from mirror.coverage.intervals import Steps
from mirror.errors import StorageError
from mirror.storage.disk import is_sha256
from mirror.wire.structure_check import SERIES_NAME

T = TypeVar("T")
Kind = Literal["records", "holdings", "exports", "facts"]

FORMAT, VERSION = "jsoc-mirror bundle", 1
MANIFEST, TABLES, BLOBS = "manifest.json", "tables", "blobs"
#: Bytes of a manifest; one of a large bundle has some 100 kB.
LARGEST = 256 << 20
_FILE = re.compile(r"tables/[a-z0-9_-][a-z0-9_.-]{0,150}\.parquet")


@dataclass(frozen=True, slots=True)
class Table:
    """A Parquet file below the bundle's folder. Of records: their series, what the numbers of its key sets mean,
    and the boxes of which it has every record, each with the time of the last check.
    """

    kind: Kind
    file: str
    sha256: str
    size: int
    rows: int
    series: str = ""
    keysets: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    claims: tuple[tuple[Box, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Structure:
    """A series: its structure as series_struct tells it, when that was asked, and the precision of its keywords.

    ``precision`` gives the absolute and the relative error of printed values by keyword, in lower case.
    """

    name: str
    structure: str
    fetched_at: float
    precision: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle; ``asked`` are the record sets that it was made for."""

    made_at: str
    program: str
    asked: tuple[str, ...] = ()
    series: tuple[Structure, ...] = ()
    tables: tuple[Table, ...] = ()


def joined(old: Bundle | None, new: Bundle) -> Bundle:
    """A bundle to which more was added: later tables count where they tell otherwise."""
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


# ---- writing ------------------------------------------------------------------------------------


def encode_bundle(bundle: Bundle) -> bytes:
    """``manifest.json``."""
    tables = [
        {**asdict(table), "claims": [_claim_to_json(*claim) for claim in table.claims]}
        for table in bundle.tables
    ]
    members = {**asdict(bundle), "tables": tables}
    return json.dumps({"format": FORMAT, "version": VERSION, **members}, indent=1).encode() + b"\n"


def _claim_to_json(box: Box, checked_at: float) -> dict[str, Any]:
    others = [list(r) if isinstance(r, Between) else r for r in box.region.others]
    steps = [[s.lo, s.hi, s.step] for s in box.steps]
    return {
        "others": others,
        "all_versions": box.region.all_versions,
        "steps": steps,
        "checked_at": checked_at,
    }


# ---- reading ------------------------------------------------------------------------------------


class _Wrong(Exception):
    """A member is not what it should be."""


def decode_bundle(data: bytes, where: str) -> Bundle:
    """The inverse; StorageError, which names ``where`` and the member, for anything else."""
    try:
        given: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{where} is no JSON: {error}") from error
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise StorageError(f"{where} is not that of a bundle; expected a folder that `mirror bundle` made")
    version = given.get("version")
    if type(version) is not int or version != VERSION:
        raise StorageError(
            f"{where} has version {version!r}, this program knows {VERSION}; use a newer jsoc-mirror"
        )
    try:
        return _bundle(given)
    except (_Wrong, RecursionError) as error:
        raise StorageError(f"{where} is damaged: {error}") from error


def _bundle(given: Any) -> Bundle:
    return Bundle(
        _get(given, "made_at", _text),
        _get(given, "program", _text),
        _get(given, "asked", _list(_text)),
        _get(given, "series", _list(_structure)),
        _get(given, "tables", _list(_table)),
    )


def _structure(given: Any) -> Structure:
    return Structure(
        _get(given, "name", _series),
        _get(given, "structure", _text),
        _get(given, "fetched_at", _number),
        _get(given, "precision", _map(_text, _pair)),
    )


def _table(given: Any) -> Table:
    kind = _get(
        given, "kind", lambda v: v if v in get_args(Kind) else _wrong(v, "records, holdings or facts")
    )
    return Table(
        kind,
        _get(given, "file", lambda v: v if _FILE.fullmatch(_text(v)) else _wrong(v, "tables/NAME.parquet")),
        _get(given, "sha256", lambda v: v if is_sha256(_text(v)) else _wrong(v, "64 hexadecimal digits")),
        _get(given, "size", _count),
        _get(given, "rows", _count),
        _get(given, "series", _series if kind == "records" else _text),
        _get(given, "keysets", _map(_keyset_number, _list(_text))),
        _get(given, "claims", _list(_claim)),
    )


def _claim(given: Any) -> tuple[Box, float]:
    others = _get(given, "others", _list(_restriction))
    region = Region(others, _get(given, "all_versions", _truth))
    return Box(region, _get(given, "steps", _list(_steps))), _get(given, "checked_at", _number)


def _restriction(value: Any) -> Between | str | None:
    if value is None or isinstance(value, str):
        return value
    lo, hi = (
        _list(_whole)(value)[:2]
        if isinstance(value, list) and len(value) == 2
        else _wrong(value, "two numbers")
    )
    return Between(lo, hi)


def _steps(value: Any) -> Steps:
    found = _list(_whole)(value)
    right = len(found) == 3 and found[0] <= found[1] and found[2] >= 1
    return Steps(*found) if right else _wrong(value, "first, last and step")


# ---- members ------------------------------------------------------------------------------------


def _get(given: Any, name: str, read: Callable[[Any], T]) -> T:
    if not isinstance(given, dict) or name not in given:
        raise _Wrong(f"the member {name} is missing")
    try:
        return read(given[name])
    except _Wrong as problem:
        raise _Wrong(f"{name}: {problem}") from problem


def _wrong(value: Any, expected: str) -> NoReturn:
    raise _Wrong(f"{str(value)[:80]!r}; expected {expected}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _wrong(value, "a text")


def _series(value: Any) -> str:
    return _text(value) if SERIES_NAME.fullmatch(_text(value)) else _wrong(value, "the name of a series")


def _truth(value: Any) -> bool:
    return value if isinstance(value, bool) else _wrong(value, "true or false")


def _whole(value: Any) -> int:
    return value if type(value) is int and abs(value) < 2**63 else _wrong(value, "a whole number")


def _count(value: Any) -> int:
    return _whole(value) if _whole(value) >= 0 else _wrong(value, "a number, 0 or more")


def _keyset_number(value: Any) -> int:
    return int(value) if re.fullmatch(r"\d{1,9}", _text(value), re.ASCII) else _wrong(value, "a number")


def _number(value: Any) -> float:
    right = type(value) in (int, float) and math.isfinite(value)
    return float(value) if right else _wrong(value, "a number")


def _pair(value: Any) -> tuple[float, float]:
    found = _list(_number)(value)
    return (
        (found[0], found[1])
        if len(found) == 2 and min(found) >= 0
        else _wrong(value, "two numbers, 0 or more")
    )


def _list(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    return lambda value: tuple(map(read, value)) if isinstance(value, list) else _wrong(value, "a list")


def _map(key: Callable[[Any], Any], read: Callable[[Any], T]) -> Callable[[Any], dict[Any, T]]:
    return lambda value: (
        {key(k): read(v) for k, v in value.items()} if isinstance(value, dict) else _wrong(value, "an object")
    )
