"""What the header of a FITS file tells of the record it is of. Pure.

An exported file says it plainly: DRMS_ID, RECNUM, and every keyword under its FITS name. An archived
("as-is") one has hardly more than the shape of its image. Both have the checksums by which a file that
somebody has worked on is told from one that JSOC wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mirror.drms.series import Keyword, Series
from mirror.drms.times import scan_time, time_text_resolution
from mirror.fits.cards import name_of, split_card, unquoted
from mirror.fits.header import BLOCK, read_archive
from mirror.fits.naming import fits_name, read_note
from mirror.services.adoption.names import KeyValue

_DRMS_ID = re.compile(r"([A-Za-z]\w*\.\w+):(\d{1,18})(?::(\w+))?", re.ASCII)
#: Cards that every export has had one of, in all the years.
_OF_EXPORTS = ("RECNUM", "DRMS_ID", "HEADSUM")
#: How astropy begins a header: whoever wrote the file, it was not JSOC.
_ASTROPY = "conforms to FITS standard"


@dataclass(frozen=True, slots=True)
class HeaderEvidence:
    """The header of a file's image. ``values`` are texts, quotes taken off, by FITS name; the first of each counts.

    ``dims`` and ``bitpix`` are the image's, also of a compressed one. ``header_start``, ``data_start`` and
    ``data_size`` are where header and data lie; ``data_sum`` is the stated DATASUM.
    """

    values: Mapping[str, str]
    bitpix: int | None
    dims: tuple[int, ...]
    header_start: int
    data_start: int
    data_size: int
    data_sum: int | None

    @property
    def exported(self) -> bool:
        """True for a file that an export made: it says which record it is of."""
        return any(name in self.values for name in _OF_EXPORTS)

    @property
    def rewritten(self) -> bool:
        """True for a file that was written by somebody's Python."""
        return self.values.get(_REWRITTEN, "") == _ASTROPY

    @property
    def series(self) -> str | None:
        """The series, if DRMS_ID tells it."""
        found = self._id()
        return None if found is None else found[1]

    @property
    def segment(self) -> str | None:
        """The segment, if DRMS_ID tells it."""
        found = self._id()
        return None if found is None else found[3]

    @property
    def recnums(self) -> frozenset[int]:
        """The record numbers that it tells: one, or none, or two that contradict each other."""
        found, plain = self._id(), self.values.get("RECNUM", "")
        told = [found[2]] if found is not None else []
        return frozenset(int(text) for text in (*told, plain) if text.isdecimal())

    def _id(self) -> re.Match[str] | None:
        return _DRMS_ID.fullmatch(self.values.get("DRMS_ID", ""))


#: Not the name of any card: the comment of the very first one.
_REWRITTEN = "(first comment)"


def read_header(head: bytes) -> HeaderEvidence | None:
    """The evidence of the file that begins with ``head``; None if more of it is needed.

    UpstreamBroken if it is not FITS, or has no data.
    """
    image = read_archive(head)
    if image is None:
        return None
    values = {_REWRITTEN: split_card(head[:80].decode("latin-1"))[1].strip()}
    for card in image.cards:
        name, (value, _) = name_of(card), split_card(card)
        if name not in values and card[8:10] == "= ":
            values[name] = unquoted(value).strip()
    length = -(-(len(image.cards) + 1) * 80 // BLOCK) * BLOCK
    z = "Z" if values.get("ZIMAGE") == "T" else ""
    return HeaderEvidence(
        values,
        _integer(values, f"{z}BITPIX"),
        tuple(_integer(values, f"{z}NAXIS{i + 1}") or 0 for i in range(_integer(values, f"{z}NAXIS") or 0)),
        image.data_start - length,
        image.data_start,
        image.data_size,
        image.stated_sum,
    )


def _integer(values: Mapping[str, str], name: str) -> int | None:
    text = values.get(name, "")
    return int(text) if re.fullmatch(r"-?\d{1,9}", text) else None


def card_of(keyword: Keyword) -> str:
    """The FITS name under which exports write a keyword."""
    return fits_name(keyword.name, read_note(keyword.note), per_segment=False)


def header_keys(header: HeaderEvidence, series: Series) -> dict[str, KeyValue]:
    """The prime keys that the header tells, by their DRMS names."""
    found: dict[str, KeyValue] = {}
    for key in series.primekeys:
        keyword = series.keyword(key.name)
        value = None if keyword is None else key_value(keyword, header.values.get(card_of(keyword), ""))
        if value is not None:
            found[key.name] = value
    return found


def key_value(keyword: Keyword, text: str) -> KeyValue | None:
    """What a text of a header or an answer says about a prime key; None if it says nothing."""
    if not text:
        return None
    if keyword.type == "time":
        scan = scan_time(text)
        return None if scan is None else KeyValue(scan.seconds, 0.5 * min(1.0, time_text_resolution(text)))
    if keyword.type == "string":
        return KeyValue(text)
    try:
        return KeyValue(float(text))
    except ValueError:
        return None
