"""Does a file agree with a record? Its keywords with the record's values, its image with the segment. Pure.

A file that somebody has worked on (rotated, rebinned, calibrated further) often keeps the header that it
had, DRMS_ID and all; what gives it away is a keyword or a shape that is no longer the record's.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES, Keyword, Series
from mirror.drms.times import scan_time, time_text_resolution
from mirror.errors import MirrorError
from mirror.fits.keyword import MISSING, is_interval, read_value
from mirror.fits.naming import COMMENTARY, NEVER_EXPORTED, WCS_DEFAULTS, is_structural, stem_of
from mirror.fits.record import own_keywords
from mirror.services.adoption.header import HeaderEvidence, card_of
from mirror.services.adoption.names import is_linked

#: Cards that an export makes by itself, whatever keyword has their name.
_MADE = frozenset({"RECNUM", "DRMS_ID", "PRIMARYK", "LICENSE", "HEADSUM", "CHECKSUM", "DATASUM", "BLANK"})
#: BITPIX by type. FITS knows no signed bytes: exports of 2015 made 16 bits of them.
_BITS = {"char": (8, 16), "short": (16,), "int": (32,), "longlong": (64,), "float": (-32,), "double": (-64,)}
_NUMBER = re.compile(r"[-+]?(\d*)\.?(\d*)(?:[eEdD]([-+]?\d+))?")
#: Longer strings go on in CONTINUE cards.
_ONE_CARD = 66
#: Single precision, printed with as many digits as anybody likes.
_SINGLE = 2e-7


def value_disagreement(series: Series, texts: Mapping[str, str], header: HeaderEvidence) -> str | None:
    """The first keyword of the header that is not the record's, in words; None if they agree as far as they go.

    ``texts`` are the record's values as the series prints them. What is missing on either side says nothing.
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
    """How the image is not that of the segment; None if it may be.

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
    """True for keywords that exports write in ways of their own."""
    stem = stem_of(keyword.name)
    return is_structural(name) or stem in NEVER_EXPORTED or stem in COMMENTARY


def _same(keyword: Keyword, told: str, printed: str) -> bool:
    if (
        told == printed
        or not told
        or told.lower() == "nan"
        or printed.strip() in ("", MISSING, "nan", "Invalid KeyLink")
    ):
        return True
    if keyword.type in FLOAT_TYPES:
        return _close(told, printed)
    if keyword.type in INTEGER_TYPES:
        return _same_integer(keyword, told, printed)
    if keyword.type == "time" and not is_interval(keyword.units):
        return _same_time(told, printed)
    return keyword.type == "time" or _same_text(told, printed)


def _same_integer(keyword: Keyword, told: str, printed: str) -> bool:
    try:
        value = read_value(keyword, printed)
        return value is None or int(float(told)) == value or read_value(keyword, told) in (value, None)
    except (MirrorError, ValueError):
        return stem_of(keyword.name) in WCS_DEFAULTS


def _same_time(told: str, printed: str) -> bool:
    ours, theirs = scan_time(told), scan_time(printed)
    if ours is None or theirs is None:
        return True
    try:
        allowed = max(time_text_resolution(told), time_text_resolution(printed), 1e-3)
    except MirrorError:
        return True
    return abs(ours.seconds - theirs.seconds) <= allowed


def _same_text(told: str, printed: str) -> bool:
    plain = re.sub(r"[\t\n\v\f\r]", "", printed).strip()
    whole = len(plain) <= _ONE_CARD and plain.isascii() and "'" not in plain and not told.endswith("&")
    return not whole or told.strip() == plain


def _close(told: str, printed: str) -> bool:
    """True if a header's text may be the number that a record prints, which is rounded to its last digit.

    Headers have all digits (and leave out zeros at the end), or are printed as the record is.
    """
    try:
        ours, theirs = float(told.replace("D", "E")), float(printed)
    except ValueError:
        return True
    allowed = 0.5 * _last_digit(printed) + _SINGLE * max(abs(ours), abs(theirs))
    return not abs(ours - theirs) > allowed * (1 + 1e-9)


def _equal(told: str | None, printed: str, default: float) -> bool:
    """True for one number, but for the digits that printing loses."""
    try:
        return math.isclose(float(told or default), float(printed), rel_tol=1e-5)
    except ValueError:
        return True


def _last_digit(text: str) -> float:
    """What one unit of the last digit stands for."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        return 0.0
    exponent = int(found[3] or 0) - len(found[2])
    return float(f"1e{exponent}") if -300 < exponent < 300 else 0.0


def names_of(series: Series) -> Iterator[str]:
    """The FITS names under which exports write the keywords of a series."""
    yield from (card_of(keyword) for keyword in own_keywords(series))
