"""The FITS keywords of a record: which of its keywords an export writes, and as what.

Pure: a record's texts and its series' structure in, a list of ``FitsKeyword`` out, in the order of the
series. A keyword that cannot be written stops the whole file, as it does at JSOC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mirror.drms.errors import Refused, UnknownName
from mirror.drms.fits.keyword import FitsKeyword, Kind
from mirror.drms.fits.naming import (
    COMMENTARY,
    DATES,
    NEVER_EXPORTED,
    WCS_DEFAULTS,
    Note,
    comment_text,
    fits_name,
    read_note,
    stem_of,
)
from mirror.drms.fits.values import BROKEN_LINK, Value, read_value, time_text
from mirror.drms.series import INTEGER_TYPES, Keyword, Series

_LATIN_1 = re.compile(r"[^\x00-\xff]")
_NOT_IN_COMMENTS = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class RecordValues:
    """One record: its number and, by keyword name, the texts of its values, unescaped.

    ``exact`` says that the texts were printed with full precision (``jsoc_info`` with M=1); a file made
    of other texts has the digits that the series prints, and its maker should say so.
    """

    recnum: int
    texts: Mapping[str, str]
    exact: bool = True


def fits_keywords(record: RecordValues, series: Series, segment: str) -> list[FitsKeyword]:
    """Everything that an export of that segment writes: the record's keywords, then four about the record.

    Refused if a keyword cannot be written, UnknownName if the series has no such segment or the record
    lacks a value, UpstreamBroken if a text is not a value of its keyword's type.
    """
    found = series.segment(segment)
    if found is None:
        raise UnknownName(f"series {series.name} has no segment {segment!r}")
    place = series.segments.index(found)
    keys: list[FitsKeyword] = []
    for keyword in own_keywords(series):
        keys.extend(_fits_keyword(keyword, record, place))
    return keys + list(_about(record, series, found.name))


def own_keywords(series: Series) -> Iterator[Keyword]:
    """The keywords that are stored or linked, in order: no implicit ones, and no second names.

    The server shows a keyword once more behind itself, under the name that its note gives it.
    """
    last: Keyword | None = None
    for keyword in series.keywords:
        if keyword.name in series.implicit:
            continue
        if last is not None and is_second_name(keyword, last):
            continue
        last = keyword
        yield keyword


def is_second_name(keyword: Keyword, before: Keyword) -> bool:
    """True if the structure shows ``before`` once more as ``keyword``, under the name that its note gives."""
    return (
        keyword.name != before.name
        and read_note(before.note).name == keyword.name
        and (replace(keyword, name=before.name) == before)
    )


def _about(record: RecordValues, series: Series, segment: str) -> Iterator[FitsKeyword]:
    keys = ", ".join(key.name for key in series.primekeys) or None
    yield FitsKeyword("RECNUM", Kind.INTEGER, record.recnum, "Recnum")
    yield FitsKeyword("DRMS_ID", Kind.STRING, f"{series.name}:{record.recnum}:{segment}", "DRMS ID")
    yield FitsKeyword("PRIMARYK", Kind.STRING, keys, "DRMS primary key")
    # The value is the word itself: JSOC hands over the keyword's name in its place.
    yield FitsKeyword("LICENSE", Kind.STRING, "LICENSE", "CC0 1.0")


# ---- one keyword ---------------------------------------------------------------------------------


def _fits_keyword(shown: Keyword, record: RecordValues, place: int) -> Iterator[FitsKeyword]:
    keyword = _held(shown, record, place)
    text = record.texts[keyword.name]
    if keyword.linkinfo is not None and text == BROKEN_LINK:
        raise Refused(f"keyword {keyword.name} is linked by {keyword.linkinfo}, which leads to no record")
    stem = stem_of(keyword.name)
    if stem in NEVER_EXPORTED:
        return
    note = read_note(as_bytes(keyword.note))
    name = fits_name(keyword.name, note, per_segment=keyword is not shown)
    value = read_value(keyword, as_bytes(text))
    if stem in COMMENTARY:
        yield from _commentary(keyword, name, value)
    elif stem in DATES:
        yield from _date(keyword, name, value, note)
    elif stem in WCS_DEFAULTS:
        yield _with_default(keyword, name, value, note, WCS_DEFAULTS[stem])
    else:
        yield _plain(keyword, name, value, note)


def _held(shown: Keyword, record: RecordValues, place: int) -> Keyword:
    """The keyword under the name that the record has it by: ``NAME_003`` for one of segment 3 alone.

    The structure of a series shows keywords that every segment has its own of once, without the number.
    """
    if shown.name in record.texts:
        return shown
    name = f"{shown.name}_{place:03d}"
    if name in record.texts:
        return replace(shown, name=name)
    raise UnknownName(f"record {record.recnum} was given without keyword {shown.name}")


def as_bytes(text: str) -> str:
    """The text as one character a byte: Latin-1 as it is, anything else as the bytes of UTF-8."""
    return text if _LATIN_1.search(text) is None else text.encode().decode("latin-1")


def _plain(keyword: Keyword, name: str, value: Value, note: Note) -> FitsKeyword:
    comment = comment_text(keyword.name, name, as_bytes(keyword.note), note.words)
    if keyword.type in INTEGER_TYPES:
        return FitsKeyword(name, Kind.INTEGER, value, comment, keyword.units)
    if keyword.type in ("float", "double"):
        digits = 9 if keyword.type == "float" else 17
        return FitsKeyword(name, Kind.REAL, value, comment, keyword.units, digits)
    if isinstance(value, float):
        value = time_text(value, keyword.units)
    return FitsKeyword(name, Kind.STRING, value, comment, keyword.units)


def _commentary(keyword: Keyword, name: str, value: Value) -> Iterator[FitsKeyword]:
    """COMMENT or HISTORY: nothing unless it is a string, and only its printable ASCII."""
    if keyword.type != "string":
        return
    text = _NOT_IN_COMMENTS.sub("", str(value or ""))
    if text or not value:
        yield FitsKeyword(name, Kind.STRING, text, as_bytes(keyword.note), keyword.units)


def _date(keyword: Keyword, name: str, value: Value, note: Note) -> Iterator[FitsKeyword]:
    """DATE or DATE__OBS, which must be times of unit ISO; DATE is left out if it is missing."""
    if keyword.type != "time":
        raise Refused(f"keyword {keyword.name} is of type {keyword.type}; expected a time")
    if value is None and _held_name(keyword).lower() == "date":
        return
    if keyword.units.upper() != "ISO" or isinstance(value, str):
        raise Refused(f"keyword {keyword.name} is a time of unit {keyword.units!r}; expected ISO")
    comment = comment_text(keyword.name, name, as_bytes(keyword.note), note.words)
    text = time_text(value, keyword.units)
    yield FitsKeyword(name, Kind.STRING, text, comment, keyword.units.upper())


def _with_default(keyword: Keyword, name: str, value: Value, note: Note, default: float) -> FitsKeyword:
    """A keyword of the world coordinates, which has a default; it goes by its DRMS name."""
    if value is None and keyword.type not in ("float", "double"):
        raise Refused(f"keyword {keyword.name} is missing and of type {keyword.type}; expected a real")
    plain = _plain(keyword, name, default if value is None else value, note)
    return FitsKeyword(_held_name(keyword), plain.kind, plain.value, plain.comment, plain.unit, plain.digits)


def _held_name(keyword: Keyword) -> str:
    """The keyword's name in the record that holds its value: at the end of the link for a linked one."""
    return keyword.name if keyword.linkinfo is None else keyword.linkinfo.partition("->")[2] or keyword.name
