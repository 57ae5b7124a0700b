"""The keywords of a record as FITS cards, the way an export with protocol ``fits`` adds them to a file."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES, OF_SEGMENT
from mirror.drms.times import format_time, parse_time
from mirror.simulator.exports.hdus import Hdu, card, data_sum, resealed, units
from mirror.simulator.exports.loading import fits
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mirror.drms.series import Keyword, Series
    from mirror.simulator.base import Rows

Value = int | float | str | None

_MAPPED = re.compile(r"\s*\[([A-Z0-9_-]{1,8})(?::[a-z]+)?\](?:\s+|$)")
_FITS_NAME = re.compile(r"[A-Z0-9_-]{1,8}")
_RESERVED = re.compile(
    r"SIMPLE|EXTEND|BZERO|BSCALE|BLANK|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|XTENSION|TFIELDS|T(TYPE|FORM)\d+"
    r"|Z(IMAGE|BITPIX|CMPTYPE|NAXIS\d*|TILE\d+|NAME\d+|VAL\d+)|THEAP|CHECKSUM|DATASUM|END"
)
_COMMENTARY = ("HISTORY", "COMMENT")
_ABSENT = frozenset({"MISSING", "Invalid KeyLink"})
_NO_UNIT = frozenset({"", "none", "na", "n/a"})
_TEXT_WIDTH = 72
_LONG_STRINGS = (
    "This FITS file may contain long string keyword values that are",
    "continued over multiple keywords.  The HEASARC convention uses the &",
    "character at the end of each substring which is then continued",
    "on the next keyword which has the name CONTINUE.",
)


def with_keywords(file: bytes, added: Sequence[str]) -> bytes:
    """The file with these cards after those of its image; its data are unchanged, the checksums are renewed."""
    *before, image = units(file)
    cards = resealed((*image.cards, *added), data_sum(image.cards))
    return b"".join(map(bytes, (*before, Hdu(cards, image.data))))


def record_cards(series: Series, row: Rows, segment: str, instead: Mapping[str, float]) -> list[str]:
    """The cards of a record, as the only row; ``instead`` has values by FITS name that processing has changed."""
    cards: list[str] = []
    seen: set[str] = set()
    for keyword in _exported(series, segment):
        name, note = fits_name(keyword)
        if name in seen or _RESERVED.fullmatch(name):
            continue
        seen.add(name)
        value = instead.get(name, _value(keyword, row))
        cards += _cards(name, value, _comment(keyword, name, note))
    return cards + _identity(series, row, segment)


def _exported(series: Series, segment: str) -> Iterator[Keyword]:
    """The keywords of a header; of those of which each segment has its own, the segment's."""
    place = next((at for at, each in enumerate(series.segments) if each.name == segment), 0)
    for keyword in series.keywords:
        if keyword.name not in series.implicit and keyword.name != "DATE-OBS":
            yield keyword if keyword.recscope != OF_SEGMENT else list(series.held(keyword))[place]


def _identity(series: Series, row: Rows, segment: str) -> list[str]:
    recnum = int(row.stored("recnum").values[0])
    return [
        card("RECNUM", recnum, "Recnum"),
        *_lines(f"{series.name}:{recnum}:{segment}", "DRMS_ID", "DRMS ID"),
        *_lines(", ".join(key.name for key in series.primekeys), "PRIMARYK", "DRMS primary key"),
        card("LICENSE", "LICENSE", "CC0 1.0"),
        card("LONGSTRN", "OGIP 1.0", "The HEASARC Long String Convention may be used."),
        *(f"COMMENT   {line}" for line in _LONG_STRINGS),
    ]


# ---- names and comments -------------------------------------------------------------------------


def fits_name(keyword: Keyword) -> tuple[str, str]:
    """The FITS name of a keyword, and its note without the part that gives the name."""
    found = _MAPPED.match(keyword.note)
    if found:
        return found[1], keyword.note[found.end() :]
    upper = own_name(keyword).upper()
    return upper if _FITS_NAME.fullmatch(upper) else re.sub("[^A-Z0-9]", "", upper)[:8], keyword.note


def own_name(keyword: Keyword) -> str:
    """The name without the number of the segment: ``DATAMIN`` of ``DATAMIN_001``."""
    return keyword.name[:-4] if keyword.recscope == OF_SEGMENT else keyword.name


def _comment(keyword: Keyword, name: str, note: str) -> str:
    other = "" if name == keyword.name.upper() else f"{{{keyword.name}}} "
    unit = "" if keyword.units.strip().lower() in _NO_UNIT else f"[{keyword.units}] "
    return _plain(f"{unit}{other}{note}").rstrip()


def _plain(text: str) -> str:
    """Text that a header may hold."""
    return "".join(c if " " <= c <= "~" else " " for c in text)


# ---- values ---------------------------------------------------------------------------------------


def _value(keyword: Keyword, row: Rows) -> Value:
    """The value at full precision, None for a missing one."""
    text = from_wire(row.printed(keyword.name, True)[0])
    if text in _ABSENT:
        return None
    if keyword.type in INTEGER_TYPES:
        return int(text, 0)
    if keyword.type in FLOAT_TYPES:
        number = float(text)
        return number if math.isfinite(number) else None
    return _time(text, keyword.units) if keyword.type == "time" else text


def _time(text: str, zone: str) -> str:
    """A time with three decimals, without the Z."""
    try:
        return format_time(parse_time(text), zone or "UTC", 3).removesuffix("Z")
    except (ValueError, LookupError):
        return text


def _cards(name: str, value: Value, comment: str) -> list[str]:
    if name in _COMMENTARY:
        text = _plain(str(value or ""))
        return [f"{name:<8}{text[at : at + _TEXT_WIDTH]}" for at in range(0, len(text), _TEXT_WIDTH)]
    if isinstance(value, str):
        return _lines(value, name, comment)
    if value is None:
        return [_cut(f"{name:<8}= {'':20} / {f'(MISSING) {comment}'.rstrip()}")]
    return [_cut(card(name, value) + (f" / {comment}" if comment else ""))]


def _cut(text: str) -> str:
    return text.rstrip()[:80].rstrip()


def _lines(text: str, name: str, comment: str) -> list[str]:
    """A string's card, or its cards if it is long; a comment that does not fit is cut."""
    value = _plain(text)
    if len(value.replace("'", "''")) <= 68:
        image: str = fits().Card(name, value).image
        return [_cut(f"{image.rstrip()} / {comment}" if comment else image)]
    image = fits().Card(name, value, comment[:47]).image
    return [image[at : at + 80].rstrip() for at in range(0, len(image), 80)]
