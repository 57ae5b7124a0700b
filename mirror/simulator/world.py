"""Recorded worlds: a folder of series, each one answer of a real server that holds every record.

``SERIES.json`` or ``SERIES.json.gz`` is an object with

    series          the name in the series' own case
    series_struct   the raw answer of op=series_struct
    answer          an rs_list of every record of every version, with all keywords, segments and links
    precise         optional: the float, double and time values again, as the flag M=1 prints them

Three more files are optional. ``NULLS.json`` says which ``MISSING`` are SQL NULL (the rest is DRMS's own
missing value): series -> keyword (``*``: every keyword) -> list of recnums, or true for all.
``LISTED.json`` is a list of series that only have an entry in the series list: name, primekeys, note.
``EXPORTS.json`` holds recorded exports, see ``mirror.simulator.exports.recorded``.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from mirror.drms.series import PrimeKey, Series
from mirror.errors import ConfigError, MirrorError
from mirror.simulator.base import Column, SegmentCells
from mirror.simulator.completion import with_slots
from mirror.simulator.dynamic import with_dynamic_links
from mirror.simulator.recorded import MISSING, stored_column
from mirror.wire.structure import decode_series_struct
from mirror.wire.text import to_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mirror.drms.recordset import Selection
    from mirror.drms.series import Keyword
    from mirror.simulator.base import Rows

T = TypeVar("T")

_NO_SEGMENT = {"BadSegLink", "NoDataDirectory"}
_NO_VALUE = {MISSING, "Invalid KeyLink"}
_MISSING_QUALITY = "0x80000000"  # how the server prints it under that very name


def load_world(folder: Path) -> list[RecordedSeries]:
    """Every series of a folder, by name; ConfigError names an invalid file."""
    nulls = _optional(folder / "NULLS.json", {})
    listed = [_listed(entry) for entry in _optional(folder / "LISTED.json", [])]
    files = [p for p in sorted(folder.iterdir()) if p.name.endswith((".json", ".json.gz")) and not _sidecar(p)]
    if not files:
        raise ConfigError(f"{folder}: no recorded series; expected files named SERIES.json or SERIES.json.gz")
    worlds = [_load(path) for path in files]
    recordings = with_dynamic_links({w.series.name: (w.series, w.answer) for w in worlds})
    tables = (Table(*recordings[w.series.name], w.precise, nulls.get(w.series.name, {})) for w in worlds)
    return [*(RecordedSeries(table) for table in tables), *listed]


def _sidecar(path: Path) -> bool:
    return path.name in {"NULLS.json", "LISTED.json", "EXPORTS.json"}


def _optional(path: Path, default: Any) -> Any:
    return json.loads(path.read_text("utf-8")) if path.is_file() else default


class _Recording(NamedTuple):
    series: Series
    answer: Mapping[str, Any]
    precise: Mapping[str, Any]


def _load(path: Path) -> _Recording:
    try:
        data = path.read_bytes()
        world = json.loads(gzip.decompress(data) if path.name.endswith(".gz") else data)
        told = decode_series_struct(world["series_struct"].encode("utf-8"), name_hint=world["series"])
        return _Recording(*with_slots(told, world["answer"]), world.get("precise", {}))
    except (OSError, ValueError, KeyError, TypeError, MirrorError) as problem:
        raise ConfigError(f"{path}: not a recorded series: {problem!r}") from problem


def _listed(entry: Mapping[str, str]) -> RecordedSeries:
    keys = tuple(PrimeKey(name.strip(), slotted=False) for name in entry["primekeys"].split(",") if name.strip())
    structure = Series(entry["name"], entry["note"], 0, 0, 0, 0, keys, (), (), (), ())
    return RecordedSeries(Table(structure, {}, {}, {}))


def _bytewise(text: str) -> str:
    """A JSON text as the server's bytes read as Latin-1, which is how all values are handled here."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


class Table:
    """The columns of one recorded series; each is converted at its first use, then kept."""

    def __init__(
        self, structure: Series, answer: Mapping[str, Any], precise: Mapping[str, Any], nulls: Mapping[str, Any]
    ) -> None:
        self.structure = structure
        self.count: int = answer.get("count", 0)
        self._keys = {column["name"].lower(): column["values"] for column in answer.get("keywords", [])}
        self._precise = {name.lower(): values for name, values in precise.items()}
        self._segments = {segment["name"]: segment for segment in answer.get("segments", [])}
        self._links = {link["name"]: link["values"] for link in answer.get("links", [])}
        self._nulls = {name.lower(): where for name, where in nulls.items()}
        self._kept: dict[tuple[str, ...], Any] = {}

    def _once(self, key: tuple[str, ...], make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        kept: T = self._kept[key]
        return kept

    def texts(self, name: str, precise: bool) -> Sequence[str]:
        """Plain printed values; KeyError if the world does not have the column."""
        source = self._precise.get(name.lower()) if precise else None
        return [_bytewise(text) for text in (source or self._keys[name.lower()])]

    def wire(self, name: str, precise: bool) -> NDArray[Any]:
        """Wire texts of a keyword or pseudo keyword."""
        return self._once(("wire", name, str(precise)), lambda: self._wire(name, precise))

    def _wire(self, name: str, precise: bool) -> NDArray[Any]:
        keyword = self.structure.keyword(name)
        texts = self.texts(name, precise)
        if keyword is not None and keyword.name == "QUALITY":
            texts = [MISSING if text == _MISSING_QUALITY else text for text in texts]
        if precise and keyword is not None and keyword.type not in {"float", "double", "time"}:
            texts = self._plain(keyword, texts)
        return _objects(_encoded(texts))

    def pseudo(self, name: str) -> NDArray[Any]:
        """Wire texts of a pseudo keyword; ``NA`` where the world was recorded without it."""
        return self.wire(name, precise=False) if name in self._keys else _objects(["NA"] * self.count)

    def _plain(self, keyword: Keyword, texts: Sequence[str]) -> Sequence[str]:
        """Integers in decimal and strings without padding, as the flag M=1 prints them."""
        given = sorted(set(texts) - _NO_VALUE)
        plain = dict(zip(given, map(str, stored_column(keyword, given, None).values.tolist()), strict=True))
        return [plain.get(text, text) for text in texts]

    def stored(self, column: str) -> Column:
        """A database column of all records; KeyError if there is none."""
        return self._once(("stored", column), lambda: self._stored(column))

    def _stored(self, column: str) -> Column:
        if column in {"recnum", "sunum"}:
            return Column(np.array(self._number(column), dtype=np.int64))
        if column == "slotnum":
            return Column(np.zeros(self.count, dtype=np.int64))
        if column.startswith("sg_") and column.endswith("_file"):
            return Column(_objects(self._file_names(int(column[3:6]))))
        keyword = self.structure.keyword(column)
        if keyword is None:
            raise KeyError(column)
        return stored_column(keyword, self.texts(column, precise=True), self._null(keyword))

    def _number(self, column: str) -> Sequence[int]:
        """``recnum`` or ``sunum``; if a world lacks them, its records are numbered from 1."""
        given = self._keys.get(f"*{column}*")
        return list(range(1, self.count + 1)) if given is None else given

    def _null(self, keyword: Keyword) -> NDArray[np.bool_] | None:
        marks = [self._nulls[name] for name in (keyword.name.lower(), "*") if name in self._nulls]
        if not marks or keyword.name in {key.name for key in self.structure.primekeys}:
            return None
        empty = {MISSING, keyword.defval}  # the server prints the default for NULL, if there is one
        missing = np.array([text in empty for text in self.texts(keyword.name, precise=False)])
        recnums = self.stored("recnum").values
        chosen = [missing if mark is True else missing & np.isin(recnums, mark) for mark in marks]
        null: NDArray[np.bool_] = np.logical_or.reduce(chosen)
        return null

    def _file_names(self, index: int) -> list[str]:
        """The file name of a segment in each record: "" without a storage unit."""
        name = self.structure.segments[index].name
        found = [path.rpartition("/")[2] if path not in _NO_SEGMENT else None for path in self._paths(name)]
        usual = Counter(file for file in found if file).most_common(1)
        instead = usual[0][0] if usual else ""
        sunums = self.stored("sunum").values.tolist()
        return [file or ("" if sunum < 0 else instead) for file, sunum in zip(found, sunums, strict=True)]

    def _paths(self, segment: str) -> Sequence[str]:
        values: Sequence[str] = self._segments[segment]["values"]
        return values

    def link(self, name: str) -> NDArray[Any]:
        """Wire texts of a link."""
        return self._once(("link", name), lambda: _objects(_encoded(self._links[name])))

    def segment(self, name: str) -> dict[str, NDArray[Any] | None]:
        """The five lists of a segment, by member, aligned with the records."""
        return self._once(("segment", name), lambda: self._aligned(self._whole(name)))

    def _whole(self, name: str) -> Mapping[str, Sequence[str]]:
        """The recorded segment; if its dimensions were left out, with those of the structure."""
        segment = self.structure.segment(name)
        dims = "NA" if segment is None else segment.dims
        return {"dims": [dims] * self.count, **self._segments[name]}

    def _aligned(self, segment: Mapping[str, Sequence[str]]) -> dict[str, NDArray[Any] | None]:
        """A shorter list has no entry for records whose linked segment does not resolve."""
        lists: dict[str, NDArray[Any] | None] = {}
        resolved = [path != "BadSegLink" for path in segment["values"]]
        for member in ("values", "dims", "cparms", "bzeros", "bscales"):
            texts = _encoded(segment.get(member, ()))
            if not texts:
                lists[member] = None
            elif len(texts) == self.count:
                lists[member] = _objects(texts)
            else:
                rest = iter(texts)
                lists[member] = _objects([next(rest) if there else None for there in resolved])
        return lists


def _encoded(texts: Sequence[str]) -> list[str]:
    known = {text: to_wire(text) for text in set(texts)}
    return [known[text] for text in texts]


def _objects(values: Sequence[Any]) -> NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


class RecordedRows:
    """Some records of a table, by position."""

    def __init__(self, table: Table, positions: NDArray[np.intp]) -> None:
        self._table = table
        self._positions = positions

    def __len__(self) -> int:
        return len(self._positions)

    def take(self, positions: NDArray[np.intp]) -> RecordedRows:
        return RecordedRows(self._table, self._positions[positions])

    def stored(self, column: str) -> Column:
        whole = self._table.stored(column)
        null = None if whole.null is None else whole.null[self._positions]
        return Column(whole.values[self._positions], null)

    def printed(self, keyword: str, precise: bool) -> Sequence[str]:
        return self._cut(self._table.wire(keyword, precise))

    def pseudo(self, name: str) -> Sequence[str]:
        return self._cut(self._table.pseudo(name))

    def segment(self, name: str) -> SegmentCells:
        lists = self._table.segment(name)
        cut = {k: None if v is None else self._cut(v) for k, v in lists.items()}
        paths, dims = cut["values"] or [], cut["dims"] or []
        return SegmentCells(paths, dims, cut["cparms"], cut["bzeros"], cut["bscales"])

    def link(self, name: str) -> Sequence[str]:
        return self._cut(self._table.link(name))

    def _cut(self, column: NDArray[Any]) -> list[str]:
        taken: list[str] = column[self._positions].tolist()
        return taken


class RecordedSeries:
    """A series of a recorded world: every record is a candidate, always."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @property
    def structure(self) -> Series:
        return self._table.structure

    def candidates(self, selection: Selection, n: int | None = None) -> Rows:  # noqa: ARG002 # all of them
        return RecordedRows(self._table, np.arange(self._table.count, dtype=np.intp))

    def print_format(self, keyword: str) -> str | None:  # noqa: ARG002 # no answer tells it
        return None

    def count(self, selection: Selection) -> int | None:  # noqa: ARG002 # rows have to be looked at
        return None

    def unit(self, sunum: int) -> Rows:
        return RecordedRows(self._table, np.flatnonzero(self._table.stored("sunum").values == sunum))
