"""Assembles the exported FITS file of a segment from the archived file and the record's keywords.

Pure, and cheap for large files, since the data are not read. The result is a plan: new bytes for the beginning,
and the range of the archived file that follows them unchanged. Rule for editors: this is protocol ``fits`` of
JSOC's exporter of 2022, card for card.

Checksums are 32-bit ones-complement sums in their 16-character form (FITS standard 4.0, section 4.4.2.7 and appendix
J). Sums of parts that are multiples of four bytes add up, so a header can change while the sum of its data stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np

from mirror.drms.series import Series
from mirror.errors import Refused
from mirror.fits.header import ArchivedImage, Header, make_card, name_of, quoted, split_card, unquoted
from mirror.fits.keyword import (
    FitsKeyword,
    Kind,
    Written,
    is_structural,
    put,
    read,
    update,
    value_text,
    write,
    written,
)
from mirror.fits.record import RecordValues, SegmentKeywords

_ALL_ONES = 0xFFFFFFFF
_PUNCTUATION = frozenset((*range(0x3A, 0x41), *range(0x5B, 0x61)))  # between digits and letters


def add_sums(*sums: int) -> int:
    """The ones-complement sum of ones-complement sums."""
    total = sum(sums)
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total


def ones_complement(data: bytes | memoryview, start: int = 0) -> int:
    """The sum over ``data``, whose length is a multiple of four, added to ``start``."""
    words = np.frombuffer(data, dtype=">u4")
    return add_sums(start, int(words.sum(dtype=np.uint64)))


def encoded(value: int) -> str:
    """The 16 letters and digits whose bytes sum up to the complement of ``value``, as CHECKSUM holds them.

    They start in column 12 of a card, one byte after the start of a word; hence the rotation.
    """
    letters = [""] * 16
    for place, byte in enumerate((~value & _ALL_ONES).to_bytes(4)):
        for part, code in enumerate(_four_codes(byte)):
            letters[(4 * part + place + 1) % 16] = chr(code)
    return "".join(letters)


def _four_codes(byte: int) -> list[int]:
    """Four codes of letters or digits whose sum is ``byte`` plus four times the code of "0"."""
    quarter, rest = divmod(byte, 4)
    codes = [quarter + 0x30 + rest, *[quarter + 0x30] * 3]
    while not _PUNCTUATION.isdisjoint(codes):
        for pair in (0, 2):
            if not _PUNCTUATION.isdisjoint(codes[pair : pair + 2]):
                codes[pair] += 1
                codes[pair + 1] -= 1
    return codes


_VALID_SUMS = (0, 0xFFFFFFFF)
_NO_CHECKSUM = "0" * 16
_BOILERPLATE = (
    make_card("SIMPLE", "T", "file does conform to FITS standard"),
    make_card("BITPIX", "8", "number of bits per data pixel"),
    make_card("NAXIS", "0", "number of data axes"),
    make_card("EXTEND", "T", "FITS dataset may contain extensions"),
    "COMMENT   FITS (Flexible Image Transport System) format is defined in 'Astronomy",
    "COMMENT   and Astrophysics', volume 376, page 359; bibcode: 2001A&A...376..359H",
)
_LONG_STRINGS = (
    make_card("LONGSTRN", "'OGIP 1.0'", "The HEASARC Long String Convention may be used."),
    "COMMENT   This FITS file may contain long string keyword values that are",
    "COMMENT   continued over multiple keywords.  The HEASARC convention uses the &",
    "COMMENT   character at the end of each substring which is then continued",
    "COMMENT   on the next keyword which has the name CONTINUE.",
)
_DUMMY = Header(_BOILERPLATE).to_bytes()
#: Keywords whose cards are remembered: those of a few records of any series.
_REMEMBERED = 2048


@dataclass(frozen=True, slots=True)
class FitsPatch:
    """An exported file: ``head``, then bytes ``copy_start`` to ``copy_start + copy_size`` of the archived one.

    ``exact`` is False if the values came from printed texts with fewer digits than JSOC would write.
    """

    head: bytes
    copy_start: int
    copy_size: int
    exact: bool

    @property
    def size(self) -> int:
        """Bytes of the exported file."""
        return len(self.head) + self.copy_size

    def apply(self, archived: bytes) -> bytes:
        """The exported file, from the whole archived one."""
        return self.head + archived[self.copy_start : self.copy_start + self.copy_size]


class Exporter:
    """Assembles the exported files of one segment, under its name in the record's own series.

    Pure but for a memory, since most keywords of most records have the same value as in the record before.
    """

    def __init__(self, series: Series, segment: str) -> None:
        """UnknownName if the series has no such segment."""
        self._keywords = SegmentKeywords(series, segment)
        self._written = lru_cache(maxsize=_REMEMBERED)(written)

    def assemble(
        self, archive: ArchivedImage, record: RecordValues, *, now: datetime, data_sum: int | None = None
    ) -> FitsPatch:
        """The file of protocol ``fits``.

        ``now`` (UTC) is the time in the comment of CHECKSUM. ``data_sum`` is the ones-complement sum over the
        data unit; without it the archived DATASUM is trusted. Refused if a keyword cannot be exported or
        would break the file, or if there is no sum at all.
        """
        data_sum = archive.stated_sum if data_sum is None else data_sum
        if data_sum is None:
            raise Refused("the archived file states no DATASUM; expected the sum over its data to be given")
        header = self._header(archive.cards, self._keywords.of(record))
        write_checksums(header, data_sum, now)
        dummy = b"" if archive.in_primary else _DUMMY
        return FitsPatch(dummy + header.to_bytes(), archive.data_start, archive.data_size, record.exact)

    def _header(self, archived: Sequence[str], keywords: Sequence[FitsKeyword]) -> Header:
        """The archived cards with the keywords, HEADSUM and the note about long strings; CHECKSUM is not updated."""
        scratch, alone = self._scratch(keywords)
        header = Header(archived)
        kinds: dict[str, FitsKeyword] = {}
        for keyword in keywords:
            if (done := alone.get(keyword.name)) is not None:
                put(header, done)
                continue
            first = kinds.setdefault(keyword.name.lower(), keyword)
            found = read(scratch, first.name, first.kind)
            if found is not None:
                update(header, found)
        _check_structure(archived, header)
        update(header, _head_sum(scratch))
        if header.find("LONGSTRN") is None:
            header.append(*_LONG_STRINGS)
        return header

    def _scratch(self, keywords: Sequence[FitsKeyword]) -> tuple[Header, dict[str, Written]]:
        """The header without data into which the keywords are first written.

        Also, by name, the final cards of keywords that do not depend on others.
        """
        scratch = Header(_BOILERPLATE)
        uses = Counter(keyword.name.upper() for keyword in keywords)
        alone: dict[str, Written] = {}
        for keyword in keywords:
            if is_structural(keyword.name):
                continue
            if uses[keyword.name.upper()] > 1 or keyword.commentary or not 0 < len(keyword.name) <= 8:
                write(scratch, keyword)
                continue
            done = alone[keyword.name] = self._written(keyword, value_text(keyword))
            scratch.append_finished(done.scratch)
        return scratch, alone


def assemble(
    archive: ArchivedImage,
    record: RecordValues,
    series: Series,
    segment: str,
    *,
    now: datetime,
    data_sum: int | None = None,
) -> FitsPatch:
    """Assemble one file; for several, ``Exporter`` is quicker."""
    return Exporter(series, segment).assemble(archive, record, now=now, data_sum=data_sum)


def _head_sum(scratch: Header) -> FitsKeyword:
    text = encoded(ones_complement(scratch.to_bytes()))
    return FitsKeyword("HEADSUM", Kind.STRING, text, "Keyword checksum")


def _check_structure(archived: Sequence[str], header: Header) -> None:
    """Refuse what would break the file, though JSOC writes it: a note may map a keyword to NAXIS or BITPIX."""
    for card in archived:
        name = name_of(card)
        if not is_structural(name) or name == "EXTEND":
            continue
        position = header.find(name)
        if position is None or split_card(header.cards[position])[0] != split_card(card)[0]:
            raise Refused(f"a keyword is mapped to {name}, which would break the file")


# ---- checksums -----------------------------------------------------------------------------------


def write_checksums(header: Header, data_sum: int, now: datetime) -> None:
    """Correct DATASUM and CHECKSUM; what is right already stays, including its time."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S")
    comment = f"HDU checksum updated {stamp}"
    if header.find("CHECKSUM") is None:
        header.append(make_card("CHECKSUM", quoted(_NO_CHECKSUM), comment))
    _write_data_sum(header, data_sum, f"data unit checksum updated {stamp}")
    if add_sums(ones_complement(header.to_bytes()), data_sum) in _VALID_SUMS:
        return
    position = header.find("CHECKSUM")
    assert position is not None
    header.replace(position, make_card("CHECKSUM", quoted(_NO_CHECKSUM), comment))
    text = encoded(add_sums(ones_complement(header.to_bytes()), data_sum))
    header.replace(position, make_card("CHECKSUM", quoted(text), comment))


def _write_data_sum(header: Header, data_sum: int, comment: str) -> None:
    card = make_card("DATASUM", quoted(str(data_sum)), comment)
    position = header.find("DATASUM")
    if position is None:
        header.append(card)
    elif unquoted(split_card(header.cards[position])[0]).strip() != str(data_sum):
        header.replace(position, card)
