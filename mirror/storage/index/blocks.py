"""Records cut into their fields, and blocks of such records that are remembered beside the database.

To find and unpack one record takes DuckDB a millisecond, whichever it is. People look where others have just looked:
so what was looked at twice is kept in memory for a while, already cut, and a window of it is no more than a slice of
each column. Values are kept as they stand in an answer, each followed by ``GLUE``.

A block holds all records of a stretch of its series' axis, as the table had them at one version of the series; it
counts as long as nothing changed in that stretch since (``PlacedVersion``).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, overload

import numpy as np
import pyarrow as pa

from mirror.concurrency import Version
from mirror.storage.index.layout import SEPARATOR, Row
from mirror.wire.rs_list import GLUE, Joined

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_SEPARATOR, _GLUE = SEPARATOR.encode(), GLUE.encode()
#: Axis values of a block, and records that it may have: of denser series blocks are made shorter.
SLOTS, MOST_IN_BLOCK = 1024, 2048
#: Bytes of all blocks together.
MOST_BYTES = 48 << 20
#: How often somebody looks into a block before it is read whole, among the last looks into any that is not remembered.
#: Who goes through years without coming back to any place would else have all of them read for nothing.
LOOKS, RECENT = 3, 100
#: Changes of a series that are remembered by their place.
MOST_CHANGES = 500


class PlacedVersion(Version):
    """The version of a series' records, which remembers where along the axis the last changes were."""

    def __init__(self) -> None:
        super().__init__()
        self._places: deque[tuple[int, int] | None] = deque(maxlen=MOST_CHANGES)

    def advance(self, place: tuple[int, int] | None = None) -> None:
        """Records within a stretch of the axis (None: any) have changed."""
        super().advance()
        self._places.append(place)

    def same_since(self, number: int, lo: int, hi: int) -> bool:
        """True if nothing has changed within ``lo..hi`` since the series was at that version."""
        changed = self.changed_since(number)
        return changed is not None and all(end < lo or begin > hi for begin, end in changed)

    def changed_since(self, number: int) -> list[tuple[int, int]] | None:
        """The stretches in which something has changed since that version, the latest first; None: anywhere."""
        newer = self.number - number
        if newer > len(self._places):
            return None
        latest = [self._places[-1 - i] for i in range(newer)]
        places = [place for place in latest if place is not None]
        return None if len(places) < len(latest) else [(lo, hi) for lo, hi in places if lo <= hi]


# ---- cutting -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cut:
    """Fields of records: ``data`` has those of each place, one place after the other, each followed by ``GLUE``.

    ``offsets`` says where each value begins, and where the last one ends.
    """

    data: bytes
    offsets: NDArray[np.int32]
    count: int

    def pieces(self, start: int, stop: int) -> list[memoryview]:
        """The values of records ``start`` up to ``stop``, of each place."""
        view, places = memoryview(self.data), len(self.offsets) - 1
        firsts = self.offsets[start : places : self.count].tolist()
        ends = self.offsets[stop :: self.count].tolist()
        return [view[a : b - len(_GLUE)] for a, b in zip(firsts, ends, strict=False)]

    def piece(self, place: int, start: int, stop: int) -> memoryview:
        """The same, of one place."""
        at = place * self.count
        first, end = int(self.offsets[at + start]), int(self.offsets[at + stop])
        return memoryview(self.data)[first : end - len(_GLUE)]

    def chosen(self, places: Sequence[int], records: NDArray[np.int32]) -> Cut:
        """The fields at some places of some records."""
        return _taken(_array(self.data, self.offsets), places, records, self.count)


def cut(raws: Sequence[str], places: Sequence[int]) -> Cut:
    """The fields at ``places`` of records, at least one, that have as many fields each.

    UnicodeEncodeError for a character that is not of Latin-1, as no answer has.
    """
    text = (SEPARATOR.join(raws) + SEPARATOR).encode("latin-1")
    ends = np.flatnonzero(np.frombuffer(text, np.uint8) == _SEPARATOR[0])
    offsets = np.zeros(len(ends) + 1, np.int32)
    offsets[1:] = ends + 1
    width, count = len(ends) // len(raws), len(raws)
    # The first field of each record, then the second one of each, and so on.
    chosen = np.add.outer(np.asarray(places, np.int32), np.arange(0, len(ends), width, dtype=np.int32))
    taken = _array(text, offsets).take(pa.array(chosen.ravel()))
    _, ends_buffer, data = taken.buffers()
    found = np.frombuffer(ends_buffer, np.int32)[: len(taken) + 1]
    plain = data.to_pybytes()[: int(found[-1])] if data is not None else b""
    wider = (len(_GLUE) - 1) * np.arange(len(found), dtype=np.int32)
    return Cut(plain.replace(_SEPARATOR, _GLUE), found + wider, count)


def _array(data: bytes, offsets: NDArray[np.int32]) -> pa.BinaryArray:
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


def _taken(values: pa.BinaryArray, places: Sequence[int], records: NDArray[np.int32], count: int) -> Cut:
    chosen = np.add.outer(np.asarray(places, np.int32) * count, records).ravel()
    taken = values.take(pa.array(chosen, pa.int32()))
    _, ends, data = taken.buffers()
    offsets = np.frombuffer(ends, np.int32)[: len(taken) + 1]
    return Cut(b"" if data is None else data.to_pybytes()[: int(offsets[-1])], offsets, len(records))


# ---- blocks --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """Records in the server's order, all of one key set (None for no records)."""

    fields: dict[str, int]
    recnums: list[int]
    keys: tuple[list[object], ...]  #: of each record, by the columns of the layout's order
    cut: Cut | None

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return 200 + (0 if self.cut is None else len(self.cut.data) + self.cut.offsets.nbytes + 100 * len(self.recnums))

    def raw(self, record: int) -> str:
        """All fields of one record, as they lie in the index."""
        assert self.cut is not None
        return SEPARATOR.join(str(piece, "latin-1") for piece in self.cut.pieces(record, record + 1))


def block_of(
    rows: Sequence[tuple[int, int, str]], keys: tuple[list[object], ...], keysets: dict[int, dict[str, int]]
) -> Block | None:
    """The block of rows ``(recnum, _keyset, _raw)`` in order; None if it cannot be cut in one way."""
    if not rows:
        return Block({}, [], tuple([] for _ in keys), None)
    kinds = {row[1] for row in rows}
    if len(kinds) > 1:
        return None
    fields = keysets[kinds.pop()]
    try:
        made = cut([row[2] for row in rows], range(len(fields)))
    except UnicodeEncodeError:
        return None
    return Block(fields, [row[0] for row in rows], keys, made)


@dataclass(frozen=True, slots=True)
class Part:
    """Records of one block: a stretch, or those that are named."""

    block: Block
    start: int
    stop: int
    named: NDArray[np.int32] | None = None

    def __len__(self) -> int:
        return self.stop - self.start if self.named is None else len(self.named)

    def record(self, index: int) -> int:
        """Which of the block's records is the one at ``index``."""
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

    def pieces(self, places: Sequence[int]) -> list[memoryview]:
        """The values of each place."""
        whole = self.block.cut
        assert whole is not None
        if self.named is not None:
            return whole.chosen(places, self.named).pieces(0, len(self.named))
        if len(places) * 4 < len(self.block.fields):
            return [whole.piece(place, self.start, self.stop) for place in places]
        everything = whole.pieces(self.start, self.stop)
        return [everything[place] for place in places]


class BlockRows(Sequence[Row]):
    """Rows that lie in blocks, one after the other; whoever wants columns gets them without any row."""

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
        """The first ``n`` rows, the last ones for a negative ``n``."""
        parts: list[Part] = []
        left = abs(n)
        for part in self._parts if n > 0 else reversed(self._parts):
            if not left:
                break
            parts.append(part.first(left) if n > 0 else part.last(left))
            left -= len(parts[-1])
        return BlockRows(parts if n > 0 else reversed(parts))

    def have(self, name: str) -> bool:
        """Whether each of the records has a field of that name."""
        return all(name in part.block.fields for part in self._parts)

    def columns(self, names: Sequence[str]) -> list[Joined]:
        """These fields of all records, of which there must be one at least, and which must have them."""
        found = [part.pieces([part.block.fields[name] for name in names]) for part in self._parts]
        return [Joined(pieces, self._count) for pieces in zip(*found, strict=True)]


# ---- the memory ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Remembered:
    block: Block
    version: int


@dataclass
class Blocks:
    """Blocks by series (in lower case) and number; what was used longest ago is forgotten first."""

    most: int = MOST_BYTES
    bytes: int = 0
    _blocks: OrderedDict[tuple[str, int], _Remembered] = field(default_factory=OrderedDict)
    _looks: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _unfit: deque[tuple[str, int]] = field(default_factory=lambda: deque(maxlen=RECENT))
    _slots: dict[str, int] = field(default_factory=dict)

    def slots(self, series: str) -> int:
        """Axis values of one block of a series."""
        return self._slots.get(series, SLOTS)

    def find(self, series: str, number: int, current: PlacedVersion) -> Block | None:
        """A block as the series is now; None if it is not remembered."""
        found = self._blocks.get((series, number))
        if found is None:
            return None
        slots = self.slots(series)
        if not current.same_since(found.version, number * slots, number * slots + slots - 1):
            self._forget((series, number))
            return None
        found.version = current.number
        self._blocks.move_to_end((series, number))
        return found.block

    def wanted(self, series: str, number: int) -> bool:
        """Somebody looked into a block that is not remembered; True if it is time to read it whole."""
        self._looks.append((series, number))
        return self._looks.count((series, number)) >= LOOKS and (series, number) not in self._unfit

    def put(self, series: str, number: int, block: Block | None, version: int) -> None:
        """Remember a block, as the series was at a version; None for one that cannot be cut: it is not read again."""
        if block is None or block.size > self.most // 4:
            self._unfit.append((series, number))
            return
        if len(block.recnums) > MOST_IN_BLOCK and self.slots(series) > 1:
            self._shorten(series, len(block.recnums))
            return
        self._forget((series, number))
        self._blocks[series, number] = _Remembered(block, version)
        self.bytes += block.size
        while self.bytes > self.most:
            self._forget(next(iter(self._blocks)))

    def _shorten(self, series: str, records: int) -> None:
        """Have shorter blocks of a series: one of this length had so many records."""
        while records > MOST_IN_BLOCK and self.slots(series) > 1:
            self._slots[series] = self.slots(series) // 2
            records //= 2
        for key in [key for key in self._blocks if key[0] == series]:
            self._forget(key)

    def _forget(self, key: tuple[str, int]) -> None:
        gone = self._blocks.pop(key, None)
        if gone is not None:
            self.bytes -= gone.block.size
