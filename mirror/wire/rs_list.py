"""The answer of ``jsoc_info?op=rs_list``: one list of values for each keyword, segment and link.

All values are wire text (see ``mirror.wire.text``) except those of ``*recnum*`` and ``*sunum*``, which are
numbers. Encoding is a few joins per column; keep it so, since that is what a warm search costs.

A ``Joined`` column is wire text in one piece, as an answer shows it between its outer quotes. The index makes
one at a fraction of the cost of separate values, and encoding it is no work at all. It reads like any sequence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar, overload

from mirror.errors import UpstreamBroken
from mirror.wire.answer import Members, load_answer, member, objects, strings
from mirror.wire.text import from_wire, name_to_wire

#: What stands between two values of a column in JSON.
GLUE = '","'
_VALUE = re.compile(r'((?:[^"\\]|\\.)*)(?:","|\Z)', re.DOTALL)


class Joined(Sequence[str]):
    """``count`` values, at least one, in Latin-1: ``pieces`` are parts of their text, in which ``GLUE`` joins them.

    Each piece has whole values, and all but the last end with ``GLUE``. Wire text never has a quote without a backslash, so values can always be
    separated.
    """

    __hash__ = None  # type: ignore[assignment] # equal to lists, which have no hash

    def __init__(self, pieces: Sequence[bytes | memoryview], count: int) -> None:
        self.pieces = pieces
        self._count = count

    @property
    def text(self) -> str:
        """All values, joined by ``GLUE``."""
        return b"".join(self.pieces).decode("latin-1")

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, str):
            return False
        sought = value.encode("latin-1", "replace")
        return any(sought in bytes(piece) for piece in self.pieces) and value in self._values

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._values[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Joined):
            return self._values == other._values
        return isinstance(other, Sequence) and self._values == list(other)

    def __repr__(self) -> str:
        return f"Joined([{self.text.encode('latin-1')!r}], {self._count})"

    @cached_property
    def _values(self) -> list[str]:
        text = self.text
        if '\\"' not in text:
            return text.split(GLUE)
        return [found[1] for found in _VALUE.finditer(text)][: self._count]


T = TypeVar("T")
_Piece = bytes | memoryview
SEGMENT_LISTS = ("values", "dims", "cparms", "bzeros", "bscales")  #: lists of a segment, in the server's order
Column = tuple[str, Sequence[str | int]]  #: a name as typed, and one value per record


@dataclass(frozen=True, slots=True)
class SegmentColumn:
    """One segment: paths, dimensions and parameters of its file, at best one per record.

    The server omits what a record lacks, without saying for which record: ``cparms``, ``bzeros`` and ``bscales``
    if the file has no such parameter, and with ``seg=**ALL**`` also ``values`` and ``dims`` if a linked segment
    does not resolve. So only a list of ``count`` values can be assigned to records.
    """

    name: str
    values: Sequence[str]
    dims: Sequence[str]
    cparms: Sequence[str] = ()
    bzeros: Sequence[str] = ()
    bscales: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class RsList:
    """Records as columns. None means that the member is not in the answer.

    The real server always writes keywords, segments and links, as empty lists if none were asked for, but
    ``recinfo`` (name and online, 0 or 1, of each record) only if it was. If ``count`` is 0 it writes none of
    them, whatever was asked for. Names are as typed; the values of a column are either all numbers or all wire
    text. ``age``, which the server does not send, is the answer's age in seconds: 0 unless another mirror held it.
    """

    count: int
    keywords: Sequence[Column] | None = ()
    segments: Sequence[SegmentColumn] | None = ()
    links: Sequence[tuple[str, Sequence[str]]] | None = ()
    recinfo: Sequence[tuple[str, int]] | None = None
    age: float = 0.0


# ---- encoding -----------------------------------------------------------------------------------


def encode_rs_list(answer: RsList, *, runtime: float) -> bytes:
    """The bytes of the real server for this answer; ``runtime`` is in seconds.

    The names in ``recinfo`` are wire text like any value.
    """
    # Pieces, joined once: every further copy of a large answer adds a tenth to the cost.
    pieces: list[_Piece] = [b"{"]
    if answer.count:
        _add_lists(pieces, answer)
    pieces.append(f'"count":{answer.count},"runtime":{runtime:.3f},"status":0}}\n'.encode())
    return b"".join(pieces)


def _add_lists(pieces: list[_Piece], answer: RsList) -> None:
    """Add the members that hold lists, in the server's order, each with the comma that follows it."""
    if answer.recinfo is not None:
        infos = (f'{{"name":"{name}","online":{online}}}' for name, online in answer.recinfo)
        pieces.append(f'"recinfo":[{",".join(infos)}],'.encode("latin-1"))
    if answer.keywords is not None:
        _add_list(pieces, "keywords", answer.keywords, _add_column)
    if answer.segments is not None:
        _add_list(pieces, "segments", answer.segments, _add_segment)
    if answer.links is not None:
        _add_list(pieces, "links", answer.links, _add_column)


def _add_list(pieces: list[_Piece], name: str, items: Sequence[T], add: Callable[[list[_Piece], T], None]) -> None:
    pieces.append(f'"{name}":['.encode())
    for i, item in enumerate(items):
        if i:
            pieces.append(b",")
        add(pieces, item)
    pieces.append(b"],")


def _add_column(pieces: list[_Piece], column: tuple[str, Sequence[str] | Sequence[str | int]]) -> None:
    name, values = column
    _add_values(pieces, f'{{"name":"{name_to_wire(name)}","values":[', values)
    pieces.append(b"}")


def _add_segment(pieces: list[_Piece], segment: SegmentColumn) -> None:
    pieces.append(f'{{"name":"{name_to_wire(segment.name)}"'.encode("latin-1"))
    for part in SEGMENT_LISTS:
        _add_values(pieces, f',"{part}":[', getattr(segment, part))
    pieces.append(b"}")


def _add_values(pieces: list[_Piece], before: str, values: Sequence[str] | Sequence[str | int]) -> None:
    """Add the values of a list, after its opening ``before``."""
    if isinstance(values, Joined):
        pieces += (f'{before}"'.encode("latin-1"), *values.pieces, b'"]')
    elif not values:
        pieces.append(f"{before}]".encode("latin-1"))
    elif isinstance(values[0], str):
        pieces.append(f'{before}"{GLUE.join(values)}"]'.encode("latin-1"))  # type: ignore[arg-type] # a column is of one kind
    else:
        pieces.append(f"{before}{','.join(map(str, values))}]".encode("latin-1"))


# ---- decoding -----------------------------------------------------------------------------------


def decode_rs_list(data: bytes) -> RsList:
    """Decode an answer, complete and of one shape; sequences become lists, pairs tuples.

    UpstreamBroken if it is not JSON, lacks ``count``, or a column does not have ``count`` values of one kind;
    UpstreamRefused if its status is not 0.
    """
    members = load_answer(data, wire=True)
    count = member(members, "count", int)
    if count == 0:
        _check_empty(members)
        return RsList(0)
    return RsList(
        count,
        keywords=_each(members, "keywords", lambda m: _read_keyword(m, count)),
        segments=_each(members, "segments", lambda m: _read_segment(m, count)),
        links=_each(members, "links", lambda m: _read_link(m, count)),
        recinfo=_read_recinfo(members, count),
    )


def _check_empty(members: Members) -> None:
    """Refuse an answer that says 0 but has records, which would be lost if it were taken as empty."""
    fields = [name for name in ("recinfo", "keywords", "segments", "links") if members.get(name)]
    if fields:
        raise UpstreamBroken(f"0 records announced, but the answer holds {', '.join(fields)}")


def _each(members: Members, name: str, read: Callable[[Members], T]) -> list[T] | None:
    return None if name not in members else [read(item) for item in objects(members, name)]


def _read_keyword(item: Members, count: int) -> Column:
    name, values = _read_name(item), member(item, "values", list)
    # One pass in C over the values: a column is all text or all numbers; a boolean is neither.
    if set(map(type, values)) not in ({str}, {int}):
        raise UpstreamBroken(f"{name!r}: expected values of one kind, text or whole numbers")
    return name, _counted(name, values, count)


def _read_link(item: Members, count: int) -> tuple[str, list[str]]:
    name = _read_name(item)
    return name, _counted(name, strings(item, "values"), count)


def _read_segment(item: Members, count: int) -> SegmentColumn:
    name = _read_name(item)
    values, dims, *parameters = (strings(item, part) for part in SEGMENT_LISTS)
    if len(values) != len(dims):
        raise UpstreamBroken(f"segment {name!r}: {len(values)} values, but {len(dims)} dims")
    if any(len(fields) > count for fields in (values, *parameters)):
        raise UpstreamBroken(f"segment {name!r}: more values than the {count} records announced")
    return SegmentColumn(name, values, dims, *parameters)


def _read_recinfo(members: Members, count: int) -> list[tuple[str, int]] | None:
    infos = _each(members, "recinfo", lambda m: (member(m, "name", str), member(m, "online", int)))
    return None if infos is None else _counted("recinfo", infos, count)


def _read_name(item: Members) -> str:
    return from_wire(member(item, "name", str))


def _counted(name: str, values: list[T], count: int) -> list[T]:
    if len(values) != count:
        raise UpstreamBroken(f"{name!r}: {len(values)} values, but {count} records announced")
    return values
