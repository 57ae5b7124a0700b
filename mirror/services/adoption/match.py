"""Which record and segment a file belongs to: its claims combined, and compared with the known records. Pure.

Evidence comes from the header, from the file's name, and from a path below ``/SUM``. The rule: a file is placed only
if everything that it says agrees with one record, and with no other. A file that contradicts itself, or leaves a
choice, is not placed; the reason is a text that reads well after the file's name.

A file agrees with a record if its keywords have the record's values and its image has the segment's shape. A file that
was modified (rotated, rebinned, calibrated further) often keeps its old header, DRMS_ID and all; a keyword or a shape
that is no longer the record's gives it away.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES, Keyword, Series
from mirror.drms.times import format_time, scan_time, time_text_resolution
from mirror.errors import MirrorError
from mirror.fits.keyword import (
    COMMENTARY,
    MISSING,
    NEVER_EXPORTED,
    WCS_DEFAULTS,
    is_interval,
    is_structural,
    read_value,
    stem_of,
)
from mirror.fits.record import own_keywords
from mirror.services.adoption.names import (
    HeaderEvidence,
    KeyValue,
    NameReading,
    card_of,
    header_keys,
    is_linked,
    key_value,
    read_name,
)

#: Cards that an export always makes itself, even if a keyword has their name.
_MADE = frozenset({"RECNUM", "DRMS_ID", "PRIMARYK", "LICENSE", "HEADSUM", "CHECKSUM", "DATASUM", "BLANK"})
#: BITPIX by type. FITS knows no signed bytes: exports of 2015 made 16 bits of them.
_BITS = {"char": (8, 16), "short": (16,), "int": (32,), "longlong": (64,), "float": (-32,), "double": (-64,)}
_NUMBER = re.compile(r"[-+]?(\d*)\.?(\d*)(?:[eEdD]([-+]?\d+))?")
#: Longer strings continue in CONTINUE cards.
_ONE_CARD = 66
#: Single precision, printed with as many digits as anybody likes.
_SINGLE = 2e-7


def value_disagreement(series: Series, texts: Mapping[str, str], header: HeaderEvidence) -> str | None:
    """The first keyword of the header that is not the record's, in words; None if all that both have agree.

    ``texts`` are the record's values as the series prints them. A value that is missing on either side is ignored.
    """
    seen = set(_MADE)
    for keyword in own_keywords(series):
        name = card_of(keyword)
        if name in seen or name not in header.values or keyword.name not in texts or _is_apart(keyword, name):
            continue
        seen.add(name)
        if not _same(keyword, header.values[name], texts[keyword.name]):
            return f"its {name} is {header.values[name]}, that of the record is {texts[keyword.name].strip()}"
    return None


def shape_disagreement(
    series: Series, segment: str, dims: str, scaling: tuple[str, str], header: HeaderEvidence
) -> str | None:
    """How the image differs from the segment; None if it may be the segment's.

    ``dims`` are the record's own ("4096x4096"), "" if they are not known; ``scaling`` its BZERO and BSCALE.
    """
    found = series.segment(segment)
    shape = "x".join(map(str, header.dims))
    expected = dims or (found.dims if found is not None else "")
    if re.fullmatch(r"\d+(x\d+)*", expected) and shape != expected:
        return f"its image is {shape}, that of the record is {expected}"
    bits = _BITS.get(found.type) if found is not None and not is_linked(found) else None
    if bits is not None and header.bitpix not in bits:
        return f"its image has BITPIX {header.bitpix}, that of the segment has {bits[0]}"
    for name, text, default in zip(("BZERO", "BSCALE"), scaling, (0.0, 1.0), strict=True):
        if text and bits != _BITS["char"] and not _equal(header.values.get(name), text, default):
            return f"its {name} is {header.values.get(name, default)}, that of the record is {text.strip()}"
    return None


def _is_apart(keyword: Keyword, name: str) -> bool:
    """True for keywords that exports write in a form of their own."""
    stem = stem_of(keyword.name)
    return is_structural(name) or stem in NEVER_EXPORTED or stem in COMMENTARY


def _same(keyword: Keyword, claimed: str, printed: str) -> bool:
    if (
        claimed == printed
        or not claimed
        or claimed.lower() == "nan"
        or printed.strip() in ("", MISSING, "nan", "Invalid KeyLink")
    ):
        return True
    if keyword.type in FLOAT_TYPES:
        return _close(claimed, printed)
    if keyword.type in INTEGER_TYPES:
        return _same_integer(keyword, claimed, printed)
    if keyword.type == "time" and not is_interval(keyword.units):
        return _same_time(claimed, printed)
    return keyword.type == "time" or _same_text(claimed, printed)


def _same_integer(keyword: Keyword, claimed: str, printed: str) -> bool:
    try:
        value = read_value(keyword, printed)
        return value is None or int(float(claimed)) == value or read_value(keyword, claimed) in (value, None)
    except (MirrorError, ValueError):
        return stem_of(keyword.name) in WCS_DEFAULTS


def _same_time(claimed: str, printed: str) -> bool:
    ours, theirs = scan_time(claimed), scan_time(printed)
    if ours is None or theirs is None:
        return True
    try:
        allowed = max(time_text_resolution(claimed), time_text_resolution(printed), 1e-3)
    except MirrorError:
        return True
    return abs(ours.seconds - theirs.seconds) <= allowed


def _same_text(claimed: str, printed: str) -> bool:
    plain = re.sub(r"[\t\n\v\f\r]", "", printed).strip()
    whole = len(plain) <= _ONE_CARD and plain.isascii() and "'" not in plain and not claimed.endswith("&")
    return not whole or claimed.strip() == plain


def _close(claimed: str, printed: str) -> bool:
    """True if a header's text may be the number that a record prints, which is rounded to its last digit.

    Headers have all digits (without trailing zeros), or are printed as the record is.
    """
    try:
        ours, theirs = float(claimed.replace("D", "E")), float(printed)
    except ValueError:
        return True
    allowed = 0.5 * _last_digit(printed) + _SINGLE * max(abs(ours), abs(theirs))
    return not abs(ours - theirs) > allowed * (1 + 1e-9)


def _equal(claimed: str | None, printed: str, default: float) -> bool:
    """True for equal numbers, except for digits lost in printing."""
    try:
        return math.isclose(float(claimed or default), float(printed), rel_tol=1e-5)
    except ValueError:
        return True


def _last_digit(text: str) -> float:
    """The value of one unit of the last digit."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        return 0.0
    exponent = int(found[3] or 0) - len(found[2])
    return float(f"1e{exponent}") if -300 < exponent < 300 else 0.0


def names_of(series: Series) -> Iterator[str]:
    """The FITS names under which exports write the keywords of a series."""
    yield from (card_of(keyword) for keyword in own_keywords(series))


Kind = Literal["as-is", "fits"]


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Why a file has no place; ``for_now`` if that may change later."""

    reason: str
    for_now: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """What a file claims to be. ``segment`` is the segment's name, or for a linked one that of its file;
    ``named`` is what the file's own name says. ``path`` is that below ``/SUM``.

    ``fits`` is an export with the keywords in its header, ``as-is`` the archived file itself.
    """

    kind: Kind
    segment: str | None
    recnum: int | None
    keys: Mapping[str, KeyValue] = field(default_factory=dict)
    path: str | None = None
    named: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record that a file may belong to: its prime keys, printed values by keyword, and its segments by name."""

    recnum: int
    name: str
    keys: Mapping[str, KeyValue]
    texts: Mapping[str, str]
    segments: Mapping[str, SegmentFacts]


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """The archived file of a record: its path ("" if it has none), its shape and its scaling, as printed."""

    path: str
    dims: str
    bzero: str = ""
    bscale: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A file's place."""

    record: Candidate
    segment: str
    kind: Kind


# ---- what a file says ---------------------------------------------------------------------------


def claim_of(header: HeaderEvidence, name: str, path: str | None, series: Series) -> Match | Unplaced:
    """What a file says about itself, if it does not contradict itself. ``path`` is its ``/SUM`` path, if it has one."""
    if header.rewritten:
        return Unplaced("it was rewritten by a program and is not the original file")
    recnums, claimed = header.recnums, header_keys(header, series)
    if len(recnums) > 1:
        return Unplaced(
            f"its DRMS_ID and its RECNUM name two records: {', '.join(map(str, sorted(recnums)))}"
        )
    recnum = next(iter(recnums), None)
    segment = _own_segment(header, series)
    if isinstance(segment, Unplaced):
        return segment
    reading = _reading(read_name(name, series), Match("fits", segment, recnum, claimed), series)
    if isinstance(reading, Unplaced):
        return reading
    kind = _kind(header, series, path)
    if isinstance(kind, Unplaced):
        return kind
    segment = segment or reading.segment or _only_segment(series)
    known = recnum if recnum is not None else reading.recnum
    return Match(kind, segment or None, known, {**reading.keys, **claimed}, path, reading.segment or None)


def _own_segment(header: HeaderEvidence, series: Series) -> str | Unplaced | None:
    if header.segment is None:
        return None
    found = series.segment(header.segment)
    return (
        found.name
        if found is not None
        else Unplaced(f"{series.name} has no segment {header.segment!r}, which its DRMS_ID names")
    )


def _reading(readings: Sequence[NameReading], claim: Match, series: Series) -> NameReading | Unplaced:
    """The reading of the name that agrees with the header; an empty one if the name has no reading at all."""
    if not readings:
        return NameReading("")
    fitting = [r for r in readings if _fits(r, claim, series)]
    if not fitting:
        return Unplaced("its name and its header name different files")
    if len(fitting) > 1 and claim.recnum is None and not claim.keys:
        return Unplaced("its name can be read in two ways, as a record number or as a prime key")
    return fitting[0]


def _fits(reading: NameReading, claim: Match, series: Series) -> bool:
    keys = [name for name in reading.keys if name in claim.keys]
    return (
        (claim.segment in (None, reading.segment) or series.segment(reading.segment) is None)
        and (None in (claim.recnum, reading.recnum) or claim.recnum == reading.recnum)
        and all(reading.keys[name].agrees(claim.keys[name]) for name in keys)
    )


def _kind(header: HeaderEvidence, series: Series, path: str | None) -> Kind | Unplaced:
    if header.exported:
        return "fits"
    if path is None and any(name in header.values for name in names_of(series) if name not in _IN_ARCHIVES):
        return Unplaced("it has keywords, but none that says which record they are of (RECNUM, DRMS_ID)")
    return "as-is"


#: Names that the header of any archived image may have, and that series also use for keywords.
_IN_ARCHIVES = frozenset({"BZERO", "BSCALE", "BLANK", "CHECKSUM", "DATASUM", "COMMENT", "HISTORY", "DATE"})


def _only_segment(series: Series) -> str | None:
    return series.segments[0].name if len(series.segments) == 1 else None


# ---- the record ---------------------------------------------------------------------------------


def place(
    claim: Match, header: HeaderEvidence, series: Series, candidates: Sequence[Candidate], *, complete: bool
) -> Placed | Unplaced:
    """The one record among ``candidates`` that the file belongs to.

    ``complete`` says that these are all records, in all versions, that could be meant; otherwise only a file that
    gives its record number, or lies at its record's own path, can be placed.
    """
    agreeing: dict[int, Placed] = {}
    reasons: list[str] = []
    for candidate in candidates:
        found = _compared(claim, header, series, candidate)
        if isinstance(found, Placed):
            agreeing[candidate.recnum] = found
        else:
            reasons.append(found.reason)
    if len(agreeing) > 1:
        numbers = ", ".join(f"#{n}" for n in sorted(agreeing))
        return Unplaced(f"it may be of any of {len(agreeing)} versions of the record: {numbers}")
    if not agreeing:
        return Unplaced(reasons[0] if reasons else f"no such record: {described(claim, series)}")
    if claim.recnum is None and claim.path is None and not complete:
        return Unplaced("whether its record has other versions is not known here", for_now=True)
    return next(iter(agreeing.values()))


def _compared(claim: Match, header: HeaderEvidence, series: Series, record: Candidate) -> Placed | Unplaced:
    if claim.recnum not in (None, record.recnum):
        return Unplaced(f"it is of record #{claim.recnum}; what its prime keys name is #{record.recnum}")
    other = other_key(claim, record)
    if other is not None:
        return Unplaced(f"its {other} is not that of {record.name}, record #{record.recnum}")
    told_names = [name for name in (claim.segment, claim.named) if name is not None]
    segments = {_segment_called(name, record) for name in told_names}
    segments |= {_segment_by_path(claim.path, record)} if claim.path else set()
    segment = next(iter(segments), None)
    if len(segments) > 1:
        return Unplaced("its header, name and path name different segments")
    if segment is None:
        return Unplaced(f"its segment of {series.name} cannot be identified")
    facts = record.segments[segment]
    problem = _no_file(claim, facts) or shape_disagreement(
        series, segment, facts.dims, (facts.bzero, facts.bscale), header
    )
    problem = problem or value_disagreement(series, record.texts, header)
    return Placed(record, segment, claim.kind) if problem is None else Unplaced(problem)


def other_key(claim: Match, record: Candidate) -> str | None:
    """The first prime key in which a record differs from the claim; None if all agree."""
    for name, value in claim.keys.items():
        if name not in record.keys or not value.agrees(record.keys[name]):
            return name
    return None


def printed_keys(series: Series, texts: Mapping[str, str]) -> dict[str, KeyValue]:
    """The prime keys of a record, from its printed values."""
    found: dict[str, KeyValue] = {}
    for key in series.primekeys:
        keyword = series.keyword(key.name)
        value = None if keyword is None else key_value(keyword, texts.get(keyword.name, "").strip())
        if value is not None:
            found[key.name] = value
    return found


def _segment_called(name: str, record: Candidate) -> str | None:
    """The segment of that name, or whose file has that name, as linked ones do."""
    if name in record.segments:
        return name
    called = [s for s, facts in record.segments.items() if _stem(facts.path).lower() == name.lower()]
    return called[0] if len(called) == 1 else None


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".fits")


def _segment_by_path(path: str, record: Candidate) -> str | None:
    """The segment whose file lies at a path; the disk in the path is ignored."""
    tail = path.split("/", 2)[2:]
    own = [s for s, facts in record.segments.items() if facts.path and facts.path.split("/", 2)[2:] == tail]
    return own[0] if own else None


def _no_file(claim: Match, facts: SegmentFacts) -> str | None:
    if claim.kind == "as-is" and not facts.path:
        return "its path in the archive is not known, so it cannot be adopted as the archived file"
    return None


def described(claim: Match, series: Series) -> str:
    """A claim as a record set that people can read."""
    if claim.recnum is not None:
        return f"{series.name}[:#{claim.recnum}]"
    keys = ", ".join(f"{name}={_shown(series, name, value)}" for name, value in claim.keys.items())
    return f"{series.name} with {keys}" if keys else f"{series.name}, of which it tells no record"


def _shown(series: Series, name: str, value: KeyValue) -> str:
    keyword = series.keyword(name)
    if isinstance(value.value, str):
        return value.value
    if keyword is not None and keyword.type == "time":
        return format_time(value.value, keyword.units, 0)
    return f"{value.value:.15g}"
