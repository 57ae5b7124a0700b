"""The answer of ``jsoc_info?op=rs_list`` with the flag ``f``: one object a record, names and values as in FITS.

All values are wire text. A keyword or link that cannot be followed is ``"invalid":true``; a segment then
has a path that says why, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from mirror.errors import UpstreamBroken
from mirror.wire.answer import Members, load_answer, member, objects
from mirror.wire.text import from_wire, name_to_wire

T = TypeVar("T")
Named = tuple[tuple[str, str | None], ...]  #: names, each with its value, None if it is invalid


@dataclass(frozen=True, slots=True)
class RecsetSegment:
    """A segment of one record; None means that the member is not there."""

    name: str
    path: str
    online: int | None = None
    dims: str | None = None
    cparms: str | None = None
    bzero: str | None = None
    bscale: str | None = None


@dataclass(frozen=True, slots=True)
class RecsetRecord:
    """One record; ``online`` is there if the request had R=1."""

    specification: str
    keywords: Named = ()
    segments: tuple[RecsetSegment, ...] = ()
    links: Named = ()
    online: int | None = None


# ---- encoding -----------------------------------------------------------------------------------


def encode_recset(records: Iterable[RecsetRecord], *, runtime: float) -> bytes:
    """The bytes of the real server for these records; without any it is the empty answer of rs_list."""
    encoded = [_record(record) for record in records]
    recset = f'"recset":[{",".join(encoded)}],' if encoded else ""
    return f'{{{recset}"count":{len(encoded)},"runtime":{runtime:.3f},"status":0}}\n'.encode("latin-1")


def _record(record: RecsetRecord) -> str:
    keywords = ",".join(_named(name, "value", value) for name, value in record.keywords)
    links = ",".join(_named(name, "linkedrec", value) for name, value in record.links)
    online = "" if record.online is None else f',"online":{record.online}'
    return (
        f'{{"specification":"{record.specification}","keywords":[{keywords}],'
        f'"segments":[{",".join(map(_segment, record.segments))}],"links":[{links}]{online}}}'
    )


def _named(name: str, what: str, value: str | None) -> str:
    fields = '"invalid":true' if value is None else f'"{what}":"{value}"'
    return f'{{"name":"{name_to_wire(name)}",{fields}}}'


def _segment(segment: RecsetSegment) -> str:
    online = "" if segment.online is None else f',"online":{segment.online}'
    fields = [(part, getattr(segment, part)) for part in ("path", "dims", "cparms", "bzero", "bscale")]
    texts = "".join(f',"{part}":"{text}"' for part, text in fields if text is not None)
    return f'{{"name":"{name_to_wire(segment.name)}"{online}{texts}}}'


# ---- decoding -----------------------------------------------------------------------------------


def decode_recset(data: bytes) -> tuple[RecsetRecord, ...]:
    """The records that ``data`` tells; UpstreamBroken or UpstreamRefused as for any answer."""
    members = load_answer(data, wire=True)
    count = member(members, "count", int)
    records = tuple(_read_record(item) for item in objects(members, "recset")) if count else ()
    if len(records) != count:
        raise UpstreamBroken(f"recset: {len(records)} records, but {count} announced")
    return records


def _read_record(item: Members) -> RecsetRecord:
    return RecsetRecord(
        member(item, "specification", str),
        tuple(_read_named(keyword, "value") for keyword in objects(item, "keywords")),
        tuple(_read_segment(segment) for segment in objects(item, "segments")),
        tuple(_read_named(link, "linkedrec") for link in objects(item, "links")),
        _optional(item, "online", int),
    )


def _read_named(item: Members, what: str) -> tuple[str, str | None]:
    value = None if item.get("invalid") is True else member(item, what, str)
    return from_wire(member(item, "name", str)), value


def _read_segment(item: Members) -> RecsetSegment:
    return RecsetSegment(
        from_wire(member(item, "name", str)),
        member(item, "path", str),
        _optional(item, "online", int),
        *(_optional(item, part, str) for part in ("dims", "cparms", "bzero", "bscale")),
    )


def _optional(item: Members, name: str, kind: type[T]) -> T | None:
    return None if name not in item else member(item, name, kind)
