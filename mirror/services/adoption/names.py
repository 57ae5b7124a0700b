"""What the name and the header of a FITS file say about the record that it belongs to. Pure.

The names that people have come in few forms: JSOC's default (``series.recnum.segment``), the format that drms and sunpy
ask for (``series.key.key.segment``), and what the VSO makes of it (``hmi_m_45s_2014_...``). Rule for editors: a name is
a claim and not a proof; nothing is read from it that it does not plainly say.

The header of an exported file says it plainly: DRMS_ID, RECNUM, and every keyword under its FITS name. That of an
archived ("as-is") file has hardly more than the shape of its image. Both have the checksums that distinguish a modified
file from one that JSOC wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES, Keyword, PrimeKey, Segment, Series
from mirror.drms.times import scan_time, time_text_resolution
from mirror.fits.header import BLOCK, name_of, read_archive, split_card, unquoted
from mirror.fits.keyword import fits_name, read_note

_SERIES = re.compile(r"([A-Za-z]\w*\.[A-Za-z]\w*)\.", re.ASCII)
_VSO = re.compile(
    r"(?P<space>[a-z]+)_(?P<rest>[a-z0-9_]+?)_(?P<time>\d{4}_\d\d_\d\d[_t]\d\d_\d\d_\d\d.*)", re.ASCII
)
_VSO_TIME = re.compile(r"(\d{4})_(\d\d)_(\d\d)[_t](\d\d)_(\d\d)_(\d\d)(?:_\d\d)?_?(tai|z)_(.+)", re.ASCII)
_VSO_WAVE = re.compile(r"_\d+a$")
#: What browsers and download programs append to a name that is taken: "x (1).fits", "x.fits.2".
_COPIES = re.compile(r" ?\(\d+\)|(?<=\.fits)\.\d+$", re.IGNORECASE)
_ENDING = re.compile(r"\.(fits|fit|fts)$", re.IGNORECASE)
_TIME = re.compile(
    r"(?P<date>\d{4}[.-]?\d\d[.-]?\d\d)(?:[_T](?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)"
    r"(?:\.?(?P<fraction>\d{1,6}))?)?)?(?P<zone>_[A-Za-z]{1,5}|Z)?",
    re.ASCII,
)
_PATTERNS = {"time": _TIME.pattern, "integer": r"-?\d{1,18}", "float": r"-?\d+(?:\.\d+)?", "string": r".+?"}


@dataclass(frozen=True, slots=True)
class KeyValue:
    """The value of a prime key as a file gives it: a number, a text, or a time in seconds.

    ``resolution`` is by how much the true value may differ: 0.5 for a time in whole seconds, 0 for a number.
    """

    value: float | str
    resolution: float = 0.0

    def agrees(self, other: KeyValue) -> bool:
        """True if both may be the same value."""
        if isinstance(self.value, str) or isinstance(other.value, str):
            return str(self.value).strip() == str(other.value).strip()
        rounding = 1e-6 * abs(self.value) if self.value % 1 and not self.resolution else 0.0
        return abs(self.value - other.value) <= self.resolution + other.resolution + rounding


@dataclass(frozen=True, slots=True)
class NameReading:
    """One way to read a name: the segment or its file, and the record by number or prime keys.

    The segment is as the series writes it; for a linked one it may be the target's file, which only the
    record can tell.
    """

    segment: str
    recnum: int | None = None
    keys: Mapping[str, KeyValue] = field(default_factory=dict)


def plain_name(name: str) -> str:
    """The name without ``.fits`` and without what copies and second downloads append."""
    return _ENDING.sub("", _COPIES.sub("", name).strip())


def series_in_name(name: str) -> str | None:
    """The series that a file's name begins with, if it looks like one; whether it exists is not checked."""
    stem = plain_name(name)
    found = _SERIES.match(stem)
    if found is not None:
        return found[1]
    vso = _VSO.fullmatch(stem.lower())
    return None if vso is None else f"{vso['space']}.{_VSO_WAVE.sub('', vso['rest'])}"


def read_name(name: str, series: Series) -> tuple[NameReading, ...]:
    """Every way to read ``name`` as that of a file of ``series``; usually one, none if it says nothing."""
    stem = plain_name(name)
    if not stem.lower().startswith(f"{series.name.lower()}."):
        return tuple(_read_vso(stem.lower(), series))
    rest = stem[len(series.name) + 1 :]
    return (*_read_keys(rest, series), *_read_recnum(rest, series))


def time_in_name(text: str, zone: str) -> KeyValue | None:
    """The time in ``text``, with or without punctuation; ``zone`` is the key's own, used where none is named."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    digits = re.sub(r"\D", "", found["date"])
    clock = [found[part] or "00" for part in ("hour", "minute", "second")]
    fraction = f".{found['fraction']}" if found["fraction"] else ""
    named = found["zone"] or ("Z" if zone.upper() in ("ISO", "UTC", "Z", "") else f"_{zone}")
    scan = scan_time(f"{digits[:4]}.{digits[4:6]}.{digits[6:]}_{':'.join(clock)}{fraction}{named}")
    if scan is None:
        return None
    unit = 86400.0 if not found["hour"] else 60.0 if not found["second"] else 0.5
    return KeyValue(scan.seconds, unit if not fraction else 10.0 ** -len(found["fraction"]))


# ---- the forms ----------------------------------------------------------------------------------


def is_linked(segment: Segment) -> bool:
    """True for a segment whose file is that of another series' record: its structure tells no type of its own."""
    return segment.type == "link" or segment.protocol.startswith("link")


def _segment_pattern(series: Series) -> str:
    names = [re.escape(s.name) for s in sorted(series.segments, key=lambda s: -len(s.name))]
    names += [r"\w+"] if any(map(is_linked, series.segments)) else []
    return f"(?P<segment>{'|'.join(names) or '(?!)'})"


def _segment(series: Series, text: str) -> str:
    found = series.segment(text)
    return text if found is None else found.name


def _read_recnum(rest: str, series: Series) -> Iterator[NameReading]:
    found = re.fullmatch(
        rf"(?P<recnum>\d{{1,18}})\.{_segment_pattern(series)}", rest, re.IGNORECASE | re.ASCII
    )
    if found is not None:
        yield NameReading(_segment(series, found["segment"]), int(found["recnum"]))


def _read_keys(rest: str, series: Series) -> Iterator[NameReading]:
    if not series.primekeys:
        return
    parts = [f"(?P<key{i}>{_unnamed(_pattern(series, key))})" for i, key in enumerate(series.primekeys)]
    found = re.fullmatch(rf"{r'[.]'.join(parts)}\.{_segment_pattern(series)}", rest, re.IGNORECASE | re.ASCII)
    if found is None:
        return
    values = {k.name: _value(series, k, found[f"key{i}"]) for i, k in enumerate(series.primekeys)}
    answer = {name: value for name, value in values.items() if value is not None}
    if len(answer) == len(values):
        yield NameReading(_segment(series, found["segment"]), None, answer)


def _read_vso(stem: str, series: Series) -> Iterator[NameReading]:
    """``hmi_m_45s_2014_01_01_00_01_30_tai_magnetogram``; AIA's names give T_OBS, which is not a prime key."""
    vso = _VSO.fullmatch(stem)
    if vso is None or series_in_name(stem) != series.name.lower():
        return
    found = _VSO_TIME.fullmatch(vso["time"])
    if found is None or not re.fullmatch(_segment_pattern(series), found[8], re.IGNORECASE | re.ASCII):
        return
    keys: dict[str, KeyValue] = {}
    if found[7] == "tai" and "T_REC" in [k.name for k in series.primekeys]:
        time = time_in_name(f"{found[1]}{found[2]}{found[3]}_{found[4]}{found[5]}{found[6]}_TAI", "TAI")
        keys = {} if time is None else {"T_REC": time}
    yield NameReading(_segment(series, found[8]), None, keys)


# ---- values -------------------------------------------------------------------------------------


def _kind(series: Series, key: PrimeKey) -> str:
    keyword = series.keyword(key.name)
    if keyword is None or keyword.type == "string":
        return "string"
    if keyword.type in INTEGER_TYPES:
        return "integer"
    return "float" if keyword.type in FLOAT_TYPES else "time"


def _pattern(series: Series, key: PrimeKey) -> str:
    return _PATTERNS[_kind(series, key)]


def _unnamed(pattern: str) -> str:
    return re.sub(r"\?P<\w+>", "?:", pattern)


def _value(series: Series, key: PrimeKey, text: str) -> KeyValue | None:
    keyword, kind = series.keyword(key.name), _kind(series, key)
    if kind == "time":
        return time_in_name(text, keyword.units if keyword else "")
    if kind == "integer":
        return KeyValue(int(text))
    return KeyValue(float(text)) if kind == "float" else KeyValue(text)


_DRMS_ID = re.compile(r"([A-Za-z]\w*\.\w+):(\d{1,18})(?::(\w+))?", re.ASCII)
#: Cards of which every export, of any year, has at least one.
_OF_EXPORTS = ("RECNUM", "DRMS_ID", "HEADSUM")
#: How astropy begins a header: whoever wrote the file, it was not JSOC.
_ASTROPY = "conforms to FITS standard"


@dataclass(frozen=True, slots=True)
class HeaderEvidence:
    """The header of a file's image. ``values`` are texts without quotes, by FITS name; the first of each counts.

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
        """True for a file that an export made: it names its record."""
        return any(name in self.values for name in _OF_EXPORTS)

    @property
    def rewritten(self) -> bool:
        """True for a file that was written by a Python program (astropy)."""
        return self.values.get(_REWRITTEN, "") == _ASTROPY

    @property
    def series(self) -> str | None:
        """The series, if DRMS_ID gives it."""
        found = self._id()
        return None if found is None else found[1]

    @property
    def segment(self) -> str | None:
        """The segment, if DRMS_ID gives it."""
        found = self._id()
        return None if found is None else found[3]

    @property
    def recnums(self) -> frozenset[int]:
        """The record numbers in it: one, or none, or two that contradict each other."""
        found, plain = self._id(), self.values.get("RECNUM", "")
        answer = [found[2]] if found is not None else []
        return frozenset(int(text) for text in (*answer, plain) if text.isdecimal())

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
    """The prime keys in the header, by their DRMS names."""
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
