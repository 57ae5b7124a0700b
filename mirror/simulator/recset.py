"""The answer of ``jsoc_info?op=rs_list`` with the flag ``f``: one object a record, names and values as in FITS.

All values are wire text. A keyword or link that cannot be followed is ``"invalid":true``; a segment then
has a path that says why, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mirror.wire.text import name_to_wire

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
