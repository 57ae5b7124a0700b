"""The FITS keywords of a record: which of its keywords an export writes, and how.

Pure: a record's texts and its series' structure in, a list of ``FitsKeyword`` out, in the order of the
series. A keyword that cannot be written fails the whole file, as at JSOC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mirror.drms.series import INTEGER_TYPES, Keyword, Series
from mirror.errors import Refused, UnknownName
from mirror.fits.keyword import (
    BROKEN_LINK,
    COMMENTARY,
    DATES,
    NEVER_EXPORTED,
    WCS_DEFAULTS,
    FitsKeyword,
    Kind,
    Value,
    comment_text,
    fits_name,
    read_note,
    read_value,
    stem_of,
    time_text,
)

_LATIN_1 = re.compile(r"[^\x00-\xff]")
_NOT_IN_COMMENTS = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True)
class RecordValues:
    """One record: its number and, by keyword name, the texts of its values, unescaped.

    ``exact``: the texts were printed with full precision (``jsoc_info`` with M=1). A file made of other texts has
    the digits that the series prints, which should be stated.
    """

    recnum: int
    texts: Mapping[str, str]
    exact: bool = True


class SegmentKeywords:
    """The keywords in exports of one segment; what does not depend on the record is computed once."""

    def __init__(self, series: Series, segment: str) -> None:
        """UnknownName if the series has no such segment."""
        found = series.segment(segment)
        if found is None:
            raise UnknownName(f"series {series.name} has no segment {segment!r}")
        self._series = series
        self._segment = found.name
        self._place = series.segments.index(found)
        self._own = tuple(own_keywords(series))
        self._treated: dict[tuple[int, str], Treated] = {}

    def of(self, record: RecordValues) -> list[FitsKeyword]:
        """The record's keywords, followed by four about the record.

        Refused if a keyword cannot be written, UnknownName if the record lacks a value, UpstreamBroken if a
        text is not a value of its keyword's type.
        """
        keys: list[FitsKeyword] = []
        for position, shown in enumerate(self._own):
            name = _held(shown, record, self._place)
            treated = self._treated.get((position, name))
            if treated is None:
                treated = self._treated[position, name] = _treated(shown, name)
            _check_link(treated.keyword, record.texts[name])
            if not treated.never:
                keys.extend(_fits_keyword(treated, record.texts[name]))
        return keys + list(_about(record, self._series, self._segment))


def own_keywords(series: Series) -> Iterator[Keyword]:
    """The stored and linked keywords, in order: no implicit ones, and no second names.

    The server repeats a keyword directly after itself, under the name that its note gives.
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
    """True if ``keyword`` repeats ``before`` in the structure, under the name that its note gives."""
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
    # The value is the word itself: JSOC passes the keyword's name instead of a value.
    yield FitsKeyword("LICENSE", Kind.STRING, "LICENSE", "CC0 1.0")


# ---- one keyword ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Treated:
    """How a keyword is written, whatever its value: its name and comment, and the rule.

    ``keyword`` has the name that it has in the record.
    """

    keyword: Keyword
    stem: str
    name: str
    comment: str

    @property
    def never(self) -> bool:
        return self.stem in NEVER_EXPORTED


def _treated(shown: Keyword, held: str) -> Treated:
    keyword = shown if held == shown.name else replace(shown, name=held)
    bytes_of_note = as_bytes(keyword.note)
    note = read_note(bytes_of_note)
    name = fits_name(keyword.name, note, per_segment=keyword is not shown)
    comment = comment_text(keyword.name, name, bytes_of_note, note.words)
    return Treated(keyword, stem_of(keyword.name), name, comment)


def _fits_keyword(treated: Treated, text: str) -> Iterator[FitsKeyword]:
    value = read_value(treated.keyword, as_bytes(text))
    if treated.stem in COMMENTARY:
        yield from _commentary(treated, value)
    elif treated.stem in DATES:
        yield from _date(treated, value)
    elif treated.stem in WCS_DEFAULTS:
        yield _with_default(treated, value, WCS_DEFAULTS[treated.stem])
    else:
        yield _plain(treated, value)


def _check_link(keyword: Keyword, text: str) -> None:
    if keyword.linkinfo is not None and text == BROKEN_LINK:
        raise Refused(f"keyword {keyword.name} is linked by {keyword.linkinfo}, which leads to no record")


def _held(shown: Keyword, record: RecordValues, place: int) -> str:
    """The keyword's name in the record: ``NAME_003`` for one of segment 3 alone.

    The structure of a series shows keywords that each segment has only once, without the number.
    """
    if shown.name in record.texts:
        return shown.name
    name = f"{shown.name}_{place:03d}"
    if name in record.texts:
        return name
    raise UnknownName(f"record {record.recnum} was given without keyword {shown.name}")


def as_bytes(text: str) -> str:
    """The text with one character per byte: Latin-1 unchanged, anything else as the bytes of UTF-8."""
    return text if _LATIN_1.search(text) is None else text.encode().decode("latin-1")


def _plain(treated: Treated, value: Value) -> FitsKeyword:
    keyword, name, comment = treated.keyword, treated.name, treated.comment
    if keyword.type in INTEGER_TYPES:
        return FitsKeyword(name, Kind.INTEGER, value, comment, keyword.units)
    if keyword.type in ("float", "double"):
        digits = 9 if keyword.type == "float" else 17
        return FitsKeyword(name, Kind.REAL, value, comment, keyword.units, digits)
    if isinstance(value, float):
        value = time_text(value, keyword.units)
    return FitsKeyword(name, Kind.STRING, value, comment, keyword.units)


def _commentary(treated: Treated, value: Value) -> Iterator[FitsKeyword]:
    """COMMENT or HISTORY: nothing unless it is a string, and only its printable ASCII."""
    keyword = treated.keyword
    if keyword.type != "string":
        return
    text = _NOT_IN_COMMENTS.sub("", str(value or ""))
    if text or not value:
        yield FitsKeyword(treated.name, Kind.STRING, text, as_bytes(keyword.note), keyword.units)


def _date(treated: Treated, value: Value) -> Iterator[FitsKeyword]:
    """DATE or DATE__OBS, which must be times of unit ISO; DATE is left out if it is missing."""
    keyword = treated.keyword
    if keyword.type != "time":
        raise Refused(f"keyword {keyword.name} is of type {keyword.type}; expected a time")
    if value is None and _held_name(keyword).lower() == "date":
        return
    if keyword.units.upper() != "ISO" or isinstance(value, str):
        raise Refused(f"keyword {keyword.name} is a time of unit {keyword.units!r}; expected ISO")
    text = time_text(value, keyword.units)
    yield FitsKeyword(treated.name, Kind.STRING, text, treated.comment, keyword.units.upper())


def _with_default(treated: Treated, value: Value, default: float) -> FitsKeyword:
    """A keyword of the world coordinates, which has a default; its DRMS name is used."""
    keyword = treated.keyword
    if value is None and keyword.type not in ("float", "double"):
        raise Refused(f"keyword {keyword.name} is missing and of type {keyword.type}; expected a real")
    plain = _plain(treated, default if value is None else value)
    return FitsKeyword(_held_name(keyword), plain.kind, plain.value, plain.comment, plain.unit, plain.digits)


def _held_name(keyword: Keyword) -> str:
    """The keyword's name in the record that has its value: for a linked one, at the end of the link."""
    return keyword.name if keyword.linkinfo is None else keyword.linkinfo.partition("->")[2] or keyword.name
