"""The columns of a series' table at the server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mirror.drms.series import Segment, Series

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What the server stores for every record in addition to its keywords.
_OF_RECORD = {
    "recnum": "longlong",
    "sunum": "longlong",
    "slotnum": "int",
    "sessionid": "longlong",
    "sessionns": "string",
}


def table_columns(series: Series) -> dict[str, str]:
    """Lower-case name to keyword type.

    Constant and linked keywords have no column, nor has an alias such as DATE-OBS. A keyword of which each segment has
    its own has one per segment, ``datamin_000`` and so on, and none under its bare name.
    """
    keywords = {
        keyword.name.lower(): keyword.type
        for keyword in series.record_keywords
        if not keyword.constant and keyword.linkinfo is None and _NAME.fullmatch(keyword.name)
    }
    return {**keywords, **_OF_RECORD, **_of_links(series), **_of_segments(series)}


def _of_links(series: Series) -> dict[str, str]:
    """A static link has a column with the target's number, a dynamic one with whether it is set."""
    static = {f"ln_{x.name}_recnum".lower(): "longlong" for x in series.links if x.kind.upper() == "STATIC"}
    return static | {
        f"ln_{x.name}_isset".lower(): "short" for x in series.links if x.kind.upper() != "STATIC"
    }


def _of_segments(series: Series) -> dict[str, str]:
    """The file of each of the series' own segments and, if its size varies, its axes."""
    columns: dict[str, str] = {}
    for number, segment in enumerate(s for s in series.segments if not _linked(s)):
        columns[f"sg_{number:03d}_file"] = "string"
        axes = segment.dims.count("x") + 1 if segment.dims.upper().startswith("VAR") else 0
        columns |= {f"sg_{number:03d}_axis{axis:03d}": "int" for axis in range(axes)}
    return columns


def _linked(segment: Segment) -> bool:
    return segment.type == "link" or segment.protocol.lower().startswith("link via")
