"""The names of exported files: ``filenamefmt`` filled in, such as ``hmi.v_45s.{T_REC:A}.{CAMERA}.{segment}``.

Braces contain: ``seriesname``, ``recnum`` and ``#`` (a counter) with a printf format, ``segment`` (the
name of the segment's file), or a keyword in any case, times with a layout as in ``{T_REC:A}``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.drms.series import Series

_BRACES = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_C_FORMAT = re.compile(r"%[-+ 0#]*[0-9]*(?:\.[0-9]+)?(?:hh|h|ll|l|q)?([diuxXofeEgGs])")
_LONGEST = 127
_DAYLIKE = 10  #: characters of a date


@dataclass(frozen=True, slots=True)
class Named:
    """What a name is made from: a record, and the name of the segment's file."""

    series: Series
    recnum: int
    printed: Callable[[str], str]  #: the printed value of a keyword, by its own-case name
    file: str
    number: int  #: counts the files of the request from 0


def product_name(template: str, named: Named, series_name: str | None = None) -> str:
    """The name of one file; BadRequest if the template uses an unknown name, or the result is too long."""
    filled = _BRACES.sub(lambda found: _fill(found[1], found[2], named, series_name), template)
    name = filled.replace("/", "_").replace("\0", "")
    if not name.strip(".") or len(name) > _LONGEST:
        raise BadRequest(f"filenamefmt {template!r} gives {name[:60]!r}; expected 1 to {_LONGEST} characters")
    return name


def _fill(name: str, layout: str | None, named: Named, series_name: str | None) -> str:
    if name == "seriesname":
        return series_name or named.series.name
    if name == "segment":
        return named.file
    if name == "recnum":
        return c_format(layout or "%lld", named.recnum)
    if name == "#":
        return c_format(layout or "%05d", named.number)
    if not name:
        return ""
    keyword = named.series.keyword(name)
    if keyword is None:
        raise BadRequest(f"filenamefmt names {name!r}, which is no keyword of {named.series.name}")
    text = named.printed(keyword.name)
    if layout is None:
        return text
    return time_text(text, layout) if keyword.type == "time" else c_format(layout, text)


def time_text(text: str, layout: str) -> str:
    """A printed time without the punctuation that a layout drops: A drops all of it, D colons only."""
    kind = layout.rpartition(":")[2][:1].upper()
    if kind == "A":
        return text.replace(".", "").replace(":", "").replace("-", "")
    if kind == "D":
        marked = "@" + text.replace(":", "").replace(".", "@")
        return marked[: _DAYLIKE + 1] + "@" + marked[_DAYLIKE + 2 :]
    return text


def c_format(layout: str, value: int | str) -> str:
    """A value as C's printf prints it; blanks are dropped, and an unsuitable layout is ignored."""
    found = _C_FORMAT.search(layout)
    if found is None:
        return str(value)
    number: float | str = value
    if found[1] in "diuxXo":
        number = int(float(value))
    elif found[1] in "feEgG":
        number = float(value)
    return re.sub(r"\s", "", re.sub(r"(hh|h|ll|l|q)(?=[a-zA-Z])", "", layout) % number)
