"""Blocks: records of a stretch of the axis, cut into their fields and kept in memory beside the database.

The database packs the texts of two thousand records together, and unpacks all of them to return one. People tend to
look again where they have just looked, so the stretch around it stays in memory for a while: as texts at first, and
cut into fields once somebody comes back. A window is then a slice of each field. Fields are kept as they stand in
an answer, each followed by ``GLUE``.

A block has all records of its stretch as of one version of the series, and is valid as long as nothing has changed
in that stretch since (``PlacedVersion``). While nobody waits, blocks are cut ahead and written to a file
(``block_file``), where a first look finds them.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mirror.concurrency import Version
from mirror.storage.index.block_file import Packed
from mirror.storage.index.layout import SEPARATOR, Row
from mirror.wire.rs_list import GLUE, Joined

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_SEPARATOR, _GLUE = SEPARATOR.encode(), GLUE.encode()
#: Axis values of a block, and the most records in it: denser series get shorter blocks.
SLOTS, MOST_IN_BLOCK = 128, 2048
#: Records that are cut at a time: some 10 MB.
AT_ONCE = 8192
#: Bytes of all blocks that were looked into a few times, and of all those to which people come back. The latter are
#: not displaced by somebody who goes through years without coming back to any place.
MOST_NEW, MOST_USED = 16 << 20, 48 << 20
#: How many looks it takes before a block is cut and becomes one of these, or is read for a wide window; and how many
#: looks of the latter kind, and blocks that cannot be made, are remembered.
LOOKS, RECENT = 3, 200
#: Changes of a series whose places are remembered.
MOST_CHANGES = 500


class PlacedVersion(Version):
    """The version of a series' records, which remembers where on the axis the last changes were."""

    def __init__(self) -> None:
        super().__init__()
        self._places: deque[tuple[int, int] | None] = deque(maxlen=MOST_CHANGES)

    def advance(self, place: tuple[int, int] | None = None) -> None:
        """Note that records in a stretch of the axis (None: anywhere) have changed."""
        super().advance()
        self._places.append(place)

    def same_since(self, number: int, lo: int, hi: int) -> bool:
        """True if nothing has changed within ``lo..hi`` since the series was at that version."""
        changed = self.changed_since(number)
        return changed is not None and all(end < lo or begin > hi for begin, end in changed)

    def changed_since(self, number: int) -> list[tuple[int, int]] | None:
        """The stretches that have changed since that version, latest first; None: anywhere."""
        newer = self.number - number
        if newer > len(self._places):
            return None
        latest = [self._places[-1 - i] for i in range(newer)]
        places = [place for place in latest if place is not None]
        return None if len(places) < len(latest) else [(lo, hi) for lo, hi in places if lo <= hi]


# ---- cutting -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cut:
    """Fields of ``count`` records: ``data`` has the values place by place, each followed by ``GLUE``.

    ``offsets`` says where each value begins, and where the last one ends. Value ``i`` of a place is number ``first + i``
    of them, or number ``first`` where all records are ``alike``: those share one value.
    """

    data: bytes | memoryview
    offsets: NDArray[np.int32]
    count: int
    first: NDArray[np.intp]
    alike: NDArray[np.bool_]

    @classmethod
    def plain(cls, data: bytes | memoryview, offsets: NDArray[np.int32], count: int) -> Cut:
        """Fields of which each has ``count`` values in ``data``."""
        first = np.arange(0, len(offsets) - 1, count)
        return cls(data, offsets, count, first, np.zeros(len(first), np.bool_))

    @classmethod
    def shared(cls, data: bytes | memoryview, offsets: NDArray[np.int32], count: int, alike: NDArray[np.bool_]) -> Cut:
        """Fields of which those that are ``alike`` have one value in ``data``."""
        values = np.where(alike, 1, count)
        return cls(data, offsets, count, np.cumsum(values) - values, alike)

    def pieces(self, start: int, stop: int, places: NDArray[np.intp] | None = None, *, go_on: bool = False) -> list[Piece]:
        """The values of records ``start`` up to ``stop``, a piece for each place (None: for all).

        If more values follow (``go_on``), each piece ends with ``GLUE``.
        """
        first, alike = (self.first, self.alike) if places is None else (self.first[places], self.alike[places])
        step = 1 - alike  # from the value of one record to that of the next
        begin, end = self.offsets[first + start * step], self.offsets[first + (stop - 1) * step + 1]
        cut_off = 0 if go_on else len(_GLUE)
        ends = (end - cut_off * step).tolist()
        found: list[Piece] = list(map(memoryview(self.data).__getitem__, map(slice, begin.tolist(), ends)))
        for place in np.flatnonzero(alike).tolist():
            repeated = bytes(found[place]) * (stop - start)
            found[place] = repeated if go_on else repeated[:-cut_off]
        return found

    def chosen(self, places: NDArray[np.intp], records: NDArray[np.int32]) -> Cut:
        """Only these places of these records."""
        wanted = np.add.outer(self.first[places], records)
        wanted[self.alike[places]] = self.first[places[self.alike[places]], np.newaxis]
        return _taken(_array(self.data, self.offsets), wanted.ravel(), len(records))

    def compact(self) -> Cut:
        """The same of a plain one, with a single value where all records are alike."""
        view, lengths = memoryview(self.data), np.diff(self.offsets).reshape(-1, self.count)
        ends = self.offsets[self.count :: self.count].tolist()
        pieces: list[memoryview] = []
        alike = np.zeros(len(ends), np.bool_)
        for place, (begin, end) in enumerate(pairwise([0, *ends])):
            value = view[begin : begin + int(lengths[place, 0])]
            alike[place] = len(value) * self.count == end - begin and bytes(value) * self.count == bytes(view[begin:end])
            pieces.append(value if alike[place] else view[begin:end])
        kept = np.concatenate([row[:1] if same else row for row, same in zip(lengths, alike, strict=True)])
        return Cut.shared(b"".join(pieces), _offsets(kept), self.count, alike)


Piece = bytes | memoryview


def _offsets(lengths: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def cut(raws: Sequence[str], places: Sequence[int] | NDArray[np.intp]) -> Cut:
    """The fields at ``places`` of one or more records that all have the same number of fields.

    UnicodeEncodeError for a character outside Latin-1, which no answer has.
    """
    return _cut((SEPARATOR.join(raws) + SEPARATOR).encode("latin-1"), len(raws), places)


def cut_texts(texts: pa.Array, places: Sequence[int] | NDArray[np.intp]) -> Cut:
    """The same for an array of strings that each end with SEPARATOR."""
    _, ends, data = texts.buffers()
    first, last = np.frombuffer(ends, np.int32)[[texts.offset, texts.offset + len(texts)]]
    text = memoryview(data)[int(first) : int(last)]
    return _cut(text if _is_ascii(text) else str(text, "utf-8").encode("latin-1"), len(texts), places)


def _is_ascii(text: memoryview) -> bool:
    return not len(text) or bool(np.frombuffer(text, np.uint8).max() < 128)


def _cut(text: bytes | memoryview, count: int, places: Sequence[int] | NDArray[np.intp]) -> Cut:
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _SEPARATOR[0])
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends + 1
    width = len(ends) // count
    # The first field of every record, then the second of every record, and so on.
    chosen = np.add.outer(np.asarray(places, np.int32), np.arange(0, len(ends), width, dtype=np.int32))
    taken = _array(text, offsets).take(pa.array(chosen.ravel()))
    _, ends_buffer, data = taken.buffers()
    found = np.frombuffer(ends_buffer, np.int32)[: len(taken) + 1]
    plain = data.to_pybytes()[: int(found[-1])] if data is not None else b""
    wider = (len(_GLUE) - 1) * np.arange(len(found), dtype=np.int32)
    return Cut.plain(plain.replace(_SEPARATOR, _GLUE), found + wider, count)


def _array(data: bytes | memoryview, offsets: NDArray[np.int32]) -> pa.BinaryArray:
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


def _taken(values: pa.BinaryArray, wanted: NDArray[np.intp], count: int) -> Cut:
    taken = values.take(pa.array(wanted, pa.int32()))
    _, ends, data = taken.buffers()
    offsets = np.frombuffer(ends, np.int32)[: len(taken) + 1]
    return Cut.plain(b"" if data is None else data.to_pybytes()[: int(offsets[-1])], offsets, count)


# ---- blocks --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """Records in the server's order, all of one key set: as texts, each ending with SEPARATOR, or cut."""

    fields: dict[str, int]
    recnums: list[int]
    keys: tuple[list[object], ...]  #: of each record, by the columns of the layout's order
    texts: pa.Array
    keyset: int
    cut: Cut | None = None

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        size = self.texts.nbytes if self.cut is None else len(self.cut.data) + self.cut.offsets.nbytes
        return 200 + int(size) + 100 * len(self.recnums)

    def raw(self, record: int) -> str:
        """All fields of one record, as the index has them."""
        if self.cut is None:
            return str(self.texts[record].as_py())[: -len(SEPARATOR)]
        return SEPARATOR.join(str(piece, "latin-1") for piece in self.cut.pieces(record, record + 1))

    def whole(self) -> Block:
        """The block, cut."""
        if self.cut is not None or not self.recnums:
            return self
        return replace(self, texts=_NO_TEXTS, cut=cut_texts(self.texts, range(len(self.fields))))

    def parts(self) -> list[Part]:
        """The block in parts that are cut one after the other, so that a large answer is never in memory twice."""
        count = len(self.recnums)
        return [Part(self, start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]

    def pieces(self, start: int, stop: int, places: NDArray[np.intp], *, go_on: bool = False) -> list[Piece]:
        """The values of each place, of the records ``start`` up to ``stop``: at least one. See ``Cut.pieces``."""
        if self.cut is None:
            return cut_texts(self.texts.slice(start, stop - start), places).pieces(0, stop - start, go_on=go_on)
        return self.cut.pieces(start, stop, places, go_on=go_on)

    def chosen(self, records: NDArray[np.int32], places: NDArray[np.intp], *, go_on: bool = False) -> list[Piece]:
        """The same for the given records."""
        if self.cut is None:
            found = cut_texts(self.texts.take(pa.array(records)), places)
        else:
            found = self.cut.chosen(places, records)
        return found.pieces(0, len(records), go_on=go_on)


_NO_TEXTS = pa.nulls(0, pa.string())  # pa.array would look for pandas, and load it


def block_of(rows: pa.Table, keysets: dict[int, dict[str, int]]) -> Block | None:
    """The block of rows ``recnum, _keyset, _raw, *keys of the order``, in any order, whose texts end with SEPARATOR.

    None if they have several key sets, or a character outside Latin-1.
    """
    rows = _in_order(rows)
    texts = rows["_raw"].combine_chunks()
    kinds = rows["_keyset"].unique().to_pylist()
    keys = tuple(column.to_pylist() for column in rows.columns[3:])
    if not kinds:
        return Block({}, [], keys, texts, 0)
    if len(kinds) > 1 or not _is_latin(texts):
        return None
    return Block(keysets[kinds[0]], rows["recnum"].to_pylist(), keys, texts, kinds[0])


def blocks_of(rows: pa.Table, keysets: dict[int, dict[str, int]], numbers: range, slots: int) -> list[Block | None]:
    """The blocks ``numbers``, made of such rows as by ``block_of``; the axis must be the first key."""
    rows = _in_order(rows)
    along = rows.column(3).to_numpy()
    ends = np.searchsorted(along, [number * slots for number in (*numbers, numbers.stop)]).tolist()
    # Copied: a few remembered blocks must not keep the bytes of all rows alive.
    parts = (rows.slice(a, b - a).take(pa.array(np.arange(b - a))) for a, b in pairwise(ends))
    return [block_of(part, keysets) for part in parts]


def _is_latin(texts: pa.Array) -> bool:
    text = memoryview(texts.buffers()[2])
    if _is_ascii(text):
        return True
    try:
        str(text, "utf-8").encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _in_order(rows: pa.Table) -> pa.Table:
    """Rows in the server's order: by their keys, missing ones first, then by number."""
    first = rows.column(3)
    if not first.null_count and pa.types.is_integer(first.type):
        along = first.to_numpy()
        if bool(np.all(along[1:] > along[:-1])):
            return rows
    names = [*rows.column_names[3:], "recnum"]
    keys = [(name, "ascending", "at_start") for name in names]
    return rows.take(pc.sort_indices(rows, sort_keys=keys))


#: Blocks are packed for speed: more effort saves a tenth of the space and takes three times as long.
_PACKING = pa.Codec("zstd", compression_level=1)
_LENGTH = np.dtype("<u2")
_HEAD = msgspec.msgpack.Decoder(tuple[int, list[int], tuple[list[object], ...], bytes])


def packed(number: int, block: Block | None) -> Packed:
    """A block in the form of the file: its record numbers and keys, the lengths of its values, the values."""
    whole = None if block is None or not block.recnums else block.whole().cut
    if block is None or whole is None or np.diff(whole.offsets).max() > np.iinfo(_LENGTH).max:
        return Packed(number, 0, b"")
    cut = whole.compact()
    head = msgspec.msgpack.encode((block.keyset, block.recnums, block.keys, cut.alike.tobytes()))
    lengths = np.diff(cut.offsets).astype(_LENGTH).tobytes()
    parts = b"".join((len(head).to_bytes(4, "little"), len(lengths).to_bytes(4, "little"), head, lengths, cut.data))
    return Packed(number, len(parts), _PACKING.compress(parts, asbytes=True))


def unpacked(found: Packed, keysets: dict[int, dict[str, int]]) -> Block | None:
    """The inverse of ``packed``; None where no block can be made."""
    if not found.data:
        return None
    whole = memoryview(pa.decompress(found.data, found.size, codec="zstd"))
    begin = 8 + int.from_bytes(whole[:4], "little")
    after = begin + int.from_bytes(whole[4:8], "little")
    keyset, recnums, keys, alike = _HEAD.decode(whole[8:begin])
    offsets = _offsets(np.frombuffer(whole[begin:after], _LENGTH))
    cut = Cut.shared(whole[after:], offsets, len(recnums), np.frombuffer(alike, np.bool_))
    return Block(keysets[keyset], recnums, keys, _NO_TEXTS, keyset, cut)


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one block: a stretch, or given ones."""

    block: Block
    start: int
    stop: int
    named: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return self.stop - self.start if self.named is None else len(self.named)

    def record(self, index: int) -> int:
        """The block's number of the record at ``index``."""
        return self.start + index if self.named is None else int(self.named[index])

    def first(self, n: int) -> Part:
        """The first ``n``."""
        if self.named is None:
            return Part(self.block, self.start, min(self.stop, self.start + n))
        return Part(self.block, 0, 0, self.named[:n])

    def last(self, n: int) -> Part:
        """The last ``n``, which is above 0."""
        if self.named is None:
            return Part(self.block, max(self.start, self.stop - n), self.stop)
        return Part(self.block, 0, 0, self.named[-n:])

    def pieces(self, places: NDArray[np.intp], *, go_on: bool = False) -> list[Piece]:
        """The values of each place. See ``Cut.pieces``."""
        if self.named is not None:
            return self.block.chosen(self.named, places, go_on=go_on)
        return self.block.pieces(self.start, self.stop, places, go_on=go_on)


class BlockRows(Sequence[Row]):
    """Rows in blocks, one after the other. Columns can be had without making rows."""

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._count = sum(map(len, self._parts))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._count))]
        at = index + self._count if index < 0 else index
        for part in self._parts:
            if 0 <= at < len(part):
                record = part.record(at)
                return Row(part.block.recnums[record], part.block.fields, part.block.raw(record))
            at -= len(part)
        raise IndexError(index)

    def first(self, n: int) -> BlockRows:
        """The first ``n`` rows, or the last for a negative ``n``."""
        parts: list[Part] = []
        left = abs(n)
        for part in self._parts if n > 0 else reversed(self._parts):
            if not left:
                break
            parts.append(part.first(left) if n > 0 else part.last(left))
            left -= len(parts[-1])
        return BlockRows(parts if n > 0 else reversed(parts))

    @property
    def _fields(self) -> Iterable[dict[str, int]]:
        """The positions of fields, once for each key set: its blocks share them."""
        return {id(part.block.fields): part.block.fields for part in self._parts}.values()

    @property
    def uncut(self) -> int:
        """How many of the rows must still be cut to get columns."""
        return sum(len(part) for part in self._parts if part.block.cut is None)

    def fields(self, names: set[str]) -> list[str]:
        """Those of the names that every record has a field of."""
        for fields in self._fields:
            names = names & fields.keys()
        return list(names)

    def columns(self, names: Sequence[str]) -> list[Joined]:
        """These fields of all records: at least one, and all must have them."""
        places = {id(fields): np.array([fields[name] for name in names], np.intp) for fields in self._fields}
        last = self._parts[-1]
        found = [part.pieces(places[id(part.block.fields)], go_on=part is not last) for part in self._parts]
        return [Joined(pieces, self._count) for pieces in zip(*found, strict=True)]


# ---- the memory ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Remembered:
    block: Block
    version: int
    looks: int = 1


@dataclass
class _Room:
    """Blocks up to a number of bytes; the least recently used are dropped first."""

    most: int
    bytes: int = 0
    blocks: OrderedDict[tuple[str, int], _Remembered] = field(default_factory=OrderedDict)

    def put(self, key: tuple[str, int], what: _Remembered) -> None:
        self.drop(key)
        self.blocks[key] = what
        self.bytes += what.block.size
        while self.bytes > self.most:
            self.drop(next(iter(self.blocks)))

    def drop(self, key: tuple[str, int]) -> None:
        gone = self.blocks.pop(key, None)
        if gone is not None:
            self.bytes -= gone.block.size


@dataclass
class Blocks:
    """Blocks by series (in lower case) and number."""

    new: _Room = field(default_factory=lambda: _Room(MOST_NEW))
    used: _Room = field(default_factory=lambda: _Room(MOST_USED))
    _looks: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _unfit: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _slots: dict[str, int] = field(default_factory=dict)

    def slots(self, series: str) -> int:
        """The axis values of one block of a series."""
        return self._slots.get(series, SLOTS)

    def find(self, series: str, number: int, current: PlacedVersion) -> Block | None:
        """The block at the current version; None if it is not remembered."""
        key = (series, number)
        room = self.used if key in self.used.blocks else self.new
        found = room.blocks.get(key)
        if found is None:
            return None
        slots = self.slots(series)
        if not current.same_since(found.version, number * slots, number * slots + slots - 1):
            room.drop(key)
            return None
        found.version = current.number
        found.looks += 1
        room.blocks.move_to_end(key)
        return found.block

    def is_worth_reading(self, series: str, number: int) -> bool:
        """Note a look, among many, at a block that is not remembered; True after several such looks recently."""
        self._looks.append((series, number))
        return self._looks.count((series, number)) >= LOOKS

    def is_used(self, series: str, number: int) -> bool:
        """True if a block is looked into often enough to be put, cut, among the used ones."""
        found = self.new.blocks.get((series, number))
        return found is not None and found.looks >= LOOKS and bool(found.block.recnums)

    def is_fit(self, series: str, number: int) -> bool:
        """False for a block that recently could not be made."""
        return (series, number) not in self._unfit

    def put(
        self, series: str, slots: int, number: int, block: Block | None, version: int, *, used: bool = False
    ) -> None:
        """Remember a block as of a version of the series; None for one that cannot be made: it is not tried again.

        ``number`` counts blocks of ``slots``. If they have become shorter since, it would be that of another stretch.
        """
        if slots != self.slots(series):
            return
        room, key = self.used if used else self.new, (series, number)
        if block is None or block.size > room.most // 4:
            self._unfit.append(key)
            return
        if self.shorten(series, len(block.recnums)):
            return
        self.new.drop(key)
        room.put(key, _Remembered(block, version))

    def have_slots(self, series: str, slots: int) -> None:
        """Set the number of axis values in the blocks of a series."""
        if slots != self.slots(series):
            self._slots[series] = slots
            for room in (self.new, self.used):
                for key in [key for key in room.blocks if key[0] == series]:
                    room.drop(key)

    def shorten(self, series: str, records: int) -> bool:
        """Make the blocks of a series shorter if one has more than MOST_IN_BLOCK records; True if that was done."""
        slots = self.slots(series)
        while records > MOST_IN_BLOCK and slots > 1:
            slots, records = slots // 2, records // 2
        if slots == self.slots(series):
            return False
        self.have_slots(series, slots)
        return True
