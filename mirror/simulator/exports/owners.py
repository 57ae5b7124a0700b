"""The owner of a file: the record in whose storage unit it lies, for a linked segment the link's target."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mirror.errors import BadRequest
from mirror.simulator.evaluate import select
from mirror.simulator.exports.shelf import LINKED
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from mirror.drms.series import Segment, Series
    from mirror.simulator.archive import Archive
    from mirror.simulator.base import Rows

_DEEPEST = 4  #: links that are followed one after the other


class Owner(NamedTuple):
    """A record, as the only row, and its own segment."""

    series: Series
    row: Rows
    segment: Segment


def owner(archive: Archive, series: Series, row: Rows, segment: Segment) -> Owner | None:
    """The owner of a record's file; None if a link does not lead to a record."""
    found: Owner | None = Owner(series, row, segment)
    for _ in range(_DEEPEST):
        if found is None or not found.segment.protocol.startswith(LINKED):
            return found
        found = _target(archive, found)
    return None


def _target(archive: Archive, source: Owner) -> Owner | None:
    (text,) = source.row.link(source.segment.protocol.removeprefix(LINKED))
    try:
        (wanted,) = archive.wanted(from_wire(text))
        row = select(wanted.selection, wanted.data, 1)
    except (BadRequest, ValueError):
        return None
    segment = target_segment(wanted.structure, source.segment)
    return Owner(wanted.structure, row, segment) if len(row) and segment else None


def target_segment(series: Series, source: Segment) -> Segment | None:
    """The target's segment for a link's segment: of the same name, else one whose name begins with it."""
    named = [s for s in series.segments if s.name.lower().startswith(source.name.lower())]
    return series.segment(source.name) or next(iter([*named, *series.segments]), None)
