"""Errors for names that a series does not have: they suggest similar names, or list those that exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.drms.exportrules import ALL_SEGMENTS
from mirror.errors import UnknownName
from mirror.humanize import near

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mirror.drms.series import Series

#: Names that are listed if none is similar.
_MOST = 12


def unknown_keyword(series: Series, name: str) -> UnknownName:
    """The error for a keyword that the series does not have."""
    return _unknown(series, "keyword", name, [k.name for k in series.record_keywords], series.all_keywords)


def unknown_segment(series: Series, name: str) -> UnknownName:
    """The error for a segment that the series does not have."""
    return _unknown(series, "segment", name, [s.name for s in series.segments])


def check_segments(series: Series, names: Sequence[str] | None) -> None:
    """UnknownName for a segment in the braces of a record set that the series does not have."""
    for name in names or ():
        if name.strip().upper() != ALL_SEGMENTS and series.segment(name.strip()) is None:
            raise unknown_segment(series, name)


def unknown_link(series: Series, name: str) -> UnknownName:
    """The error for a link that the series does not have."""
    return _unknown(series, "link", name, [x.name for x in series.links])


def _unknown(series: Series, kind: str, name: str, known: Sequence[str], usual: Sequence[str] = ()) -> UnknownName:
    """``usual`` are those that an error lists, if not all."""
    found, listed = near(name, known), usual or known
    if not known:
        hint = f"the series has no {kind}s"
    elif found:
        hint = f"did you mean {' or '.join(found)}?"
    else:
        hint = f"expected some of {', '.join(listed[:_MOST])}{', ...' if len(listed) > _MOST else ''}"
    return UnknownName(f"{series.name} has no {kind} {name!r}; {hint}")
