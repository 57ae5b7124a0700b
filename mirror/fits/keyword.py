"""One FITS keyword: its name and comment, its value, and how it gets into a header.

Rule for editors: all of this follows JSOC's exporter, even where it is odd.

Name and comment come from the keyword's DRMS name and note. The note may begin with ``[X]`` or ``[X:type]``, which
names the FITS keyword; a single ``-`` in a note ends its short form.

The value is a number, a string or None for "missing", read from a text of ``jsoc_info`` after unescaping: best with
the flag M=1 (``%.9G``, ``%.17G``, times with six decimals), else as the series prints it, by the same rules.

The exporter writes keywords twice: first into a scratch header, and from there, card by card, into the file. Several
quirks of exported headers come from the reading in between, so both steps are separate here: ``write`` makes the
first cards, ``read`` and ``update`` the final ones.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from enum import Enum

from mirror.drms.series import INTEGER_TYPES, Keyword
from mirror.drms.times import MISSING_TIME, format_time, is_missing_time, scan_time
from mirror.errors import UpstreamBroken
from mirror.fits.header import Header, commentary_cards, make_card, split_card, string_cards, unquoted

_VALID = re.compile(r"[A-Z0-9_-]{0,8}")
_CASTS = frozenset({"integer", "float", "string", "logical"})
_STRUCTURAL = re.compile(
    r"(SIMPLE|BITPIX|NAXIS\d*|EXTEND|BLOCKED|GROUPS|PCOUNT|GCOUNT|END|XTENSION|TFIELDS|THEAP|T(TYPE|FORM|BCOL)\d+"
    r"|Z(IMAGE|CMPTYPE|NAME\d+|VAL\d+|TILE\d+|BITPIX|NAXIS\d*|SCALE|ZERO|BLANK)"
    r"|Z(EXTEND|SIMPLE|TENSION|BLOCKED|PCOUNT|GCOUNT)|CONTINUE)"
)
_NAXIS_N = re.compile(r"NAXIS\d{1,3}", re.IGNORECASE)
_INDEXED = re.compile(r"([A-Za-z]+)[0-9]+")
#: Stems that the exporter treats specially, or not at all.
WCS_DEFAULTS = {"crpix": 0.0, "crval": 0.0, "crota": 0.0, "crder": 0.0, "csyer": 0.0, "cdelt": 1.0}
NEVER_EXPORTED = frozenset(
    {"simple", "extend", "bzero", "bscale", "blank", "bitpix", "naxis", "end", "primekeystring"}
)
DATES = frozenset({"date", "date__obs"})
COMMENTARY = frozenset({"comment", "history"})
_RESERVED = frozenset(WCS_DEFAULTS) | NEVER_EXPORTED | DATES | COMMENTARY
_UNITLESS = frozenset({"", "none", "na", "n/a"})


@dataclass(frozen=True, slots=True)
class Note:
    """A keyword's note: the FITS name it asks for, the type after the colon, and the words after that."""

    name: str | None
    cast: str
    words: str


def read_note(note: str) -> Note:
    """The parts of a note; if its first word is no closed ``[X]``, all of it is words."""
    first, _, rest = note.lstrip(" ").partition(" ")
    if len(first) <= 2 or not (first[0] == "[" and first[-1] == "]"):
        return Note(None, "", note)
    name, _, cast = first[1:-1].partition(":")
    return Note(name, cast, rest)


def fits_name(name: str, note: Note, *, per_segment: bool) -> str:
    """The FITS name of DRMS keyword ``name``: from its note, else its own, reduced to letters and digits if need be."""
    if note.name and (not note.cast or note.cast.lower() in _CASTS) and _usable(note.name):
        return note.name
    if _usable(name.upper()):
        return name.upper()
    stem = name[:-4] if per_segment else name
    short = re.sub(r"[^A-Za-z0-9]", "", stem)[:8].upper()
    return f"_{short}"[:8] if _reserved(short) else short


def _usable(name: str) -> bool:
    if len(name) > 8:
        return False
    return _reserved(name) or name.upper() == "RECNUM" or _VALID.fullmatch(name) is not None


def _reserved(name: str) -> bool:
    return name.lower() in _RESERVED or _NAXIS_N.fullmatch(name) is not None


def comment_text(name: str, fits: str, note: str, words: str) -> str:
    """The comment of a card: the note's words up to a single dash, then the DRMS name if it differs."""
    if not note.strip(" "):
        return note
    other = name if name.upper() != fits.upper() else ""
    return _short(f"{words} {{{other}}}" if other else words, other)


def _short(text: str, other: str) -> str:
    """``text`` up to its first single dash, with ``--`` read as a dash; a dash at the end is dropped."""
    if "-" not in text:
        return text
    kept, position = "", 0
    while position < len(text):
        if text[position] != "-":
            kept += text[position]
        elif text[position + 1 : position + 2] == "-":
            kept += "-"
            position += 1
        elif position + 1 < len(text):
            kept = kept.rstrip(" \t\n\v\f\r")
            fits = other and len(kept) + len(other) + 3 <= len(text)
            return f"{kept} {{{other}}}" if fits else kept
        position += 1
    return kept


def stem_of(name: str) -> str:
    """The name by which a treatment is chosen: in lower case, without the digits after its letters."""
    found = _INDEXED.fullmatch(name)
    return (found[1] if found else name).lower()


def is_structural(name: str) -> bool:
    """True for names that describe the file itself; CFITSIO does not let a keyword list write them."""
    return _STRUCTURAL.fullmatch(name.upper()) is not None


def has_unit(unit: str | None) -> bool:
    """True unless the unit is one of the texts for "none"."""
    return unit is not None and unit.strip().lower() not in _UNITLESS


MISSING = "MISSING"
BROKEN_LINK = "Invalid KeyLink"
BITS = {"char": 8, "short": 16, "int": 32, "longlong": 64}
#: The missing time as series store it: their default says "-4712.01.01_11:59:28", without the fraction.
STORED_MISSING_TIME = float(math.ceil(MISSING_TIME))
Value = float | str | None  # an int where the keyword's type is one
#: Units of time keywords that hold an interval; their texts are numbers of that unit.
_INTERVAL = re.compile(
    r"(hz|hertz|rots?|rotations?|deg(ree)?s?|wks?|weeks?|w|d|days?|hr?s?|hours?|m|mins?|minutes?|secs|seconds?|s)",
    re.IGNORECASE,
)


def read_value(keyword: Keyword, text: str) -> Value:
    """The value of a printed text, None if it is missing; a time is given in seconds, an interval as its text.

    UpstreamBroken if the text is not a value of the keyword's type.
    """
    try:
        if keyword.type in INTEGER_TYPES:
            return _integer(text, BITS[keyword.type])
        if keyword.type in ("float", "double"):
            return _real(text, single=keyword.type == "float")
    except ValueError as problem:
        message = f"keyword {keyword.name}: expected a {keyword.type}, found {text!r}"
        raise UpstreamBroken(message) from problem
    if keyword.type == "time":
        return _time(keyword, text)
    return None if text in ("", MISSING) else text


def _integer(text: str, bits: int) -> int | None:
    if text == MISSING:
        return None
    digits = text.strip().lower()
    value = int(digits, 16) if digits.startswith("0x") else int(digits)
    lowest = -(1 << (bits - 1))
    value = value - (1 << bits) if value >= -lowest else value
    return None if value == lowest else value


def _real(text: str, *, single: bool) -> float | None:
    value = math.nan if text == MISSING else float(text)
    if single and math.isfinite(value):
        value = to_single(value)
    return None if math.isnan(value) else value


def to_single(value: float) -> float:
    """The nearest number of single precision, infinite if it is too large."""
    try:
        single: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return single


def _time(keyword: Keyword, text: str) -> float | str | None:
    if text == MISSING:
        return None
    if is_interval(keyword.units):
        return f"{float(text):.17G}"
    scan = scan_time(text)
    if scan is None:
        raise UpstreamBroken(f"keyword {keyword.name}: expected a time, found {text!r}")
    return None if is_missing_time(scan.seconds) else scan.seconds


def is_interval(unit: str) -> bool:
    """True if a time keyword of this unit holds a length of time, not a date."""
    return _INTERVAL.fullmatch(unit) is not None


def time_text(seconds: float | None, unit: str) -> str:
    """A time as exports write it: on the unit's clock, with milliseconds, and never a ``Z`` at the end."""
    return format_time(STORED_MISSING_TIME if seconds is None else seconds, unit, 3).removesuffix("Z")


def real_text(value: float, digits: int) -> str | None:
    """A real number as a FITS value of at most ``digits`` digits, with a point or an exponent; None if infinite."""
    if not math.isfinite(value):
        return None
    text = f"{value:.{digits}G}"
    if "." in text:
        return text
    return f"{value:.1E}" if "E" in text else f"{text}."


_COMMENT_FIELD = 72  #: most characters of a comment that are read or put together
_SMALLEST = 2.2250738585072014e-308  #: smaller numbers have fewer digits, and are not read
_MARKED = re.compile(r" *(?:\[([ -~]+)\] +)?(?:\(([ -~]+)\) +)?([ -~]*)")


class Kind(Enum):
    """How a value is written."""

    INTEGER = "I"
    REAL = "F"
    STRING = "C"


@dataclass(frozen=True, slots=True)
class FitsKeyword:
    """A keyword on its way into a header; ``value`` None is written as an empty value field.

    ``digits`` is the most that a real value has: 9 for a DRMS float, 17 for a double.
    """

    name: str
    kind: Kind
    value: float | str | None
    comment: str = ""
    unit: str | None = None
    digits: int = 17

    @property
    def commentary(self) -> bool:
        return self.name.lower() in COMMENTARY


# ---- the first step: into the scratch header ----------------------------------------------------


def write(header: Header, keyword: FitsKeyword) -> None:
    """Append the keyword's cards to ``header``; no card for an empty COMMENT or HISTORY."""
    value = value_text(keyword)
    if value is None:
        header.append(make_card(keyword.name, "", _missing_comment(keyword)))
        return
    if keyword.kind is not Kind.STRING:
        header.append(make_card(keyword.name, value, keyword.comment))
    elif keyword.commentary:
        _append_commentary(header, keyword.name, value)
        return
    else:
        header.append(*string_cards(keyword.name, value, keyword.comment))
    if not keyword.commentary:
        _write_unit(header, keyword)


def value_text(keyword: FitsKeyword) -> str | None:
    """The value as written; None if it is missing."""
    if isinstance(keyword.value, float):
        return real_text(keyword.value, keyword.digits)
    return None if keyword.value is None else str(keyword.value)


def _missing_comment(keyword: FitsKeyword) -> str:
    unit = f"[{keyword.unit}] " if has_unit(keyword.unit) else ""
    return f"{unit}(MISSING) {keyword.comment}" if keyword.comment else f"{unit}(MISSING)"


def _append_commentary(header: Header, name: str, text: str) -> None:
    for line in text.split("\n"):
        header.append(*commentary_cards(name, line))


def _write_unit(header: Header, keyword: FitsKeyword) -> None:
    """Put ``[unit]`` before the comment of the first card of that name, in place of a ``[...]`` there."""
    position = header.find(keyword.name)
    if position is None or not has_unit(keyword.unit):
        return
    value, comment = split_card(header.cards[position])
    if comment.startswith("[") and "]" in comment:
        comment = comment.partition("]")[2].lstrip(" ")
    card = make_card(keyword.name, value, f"[{keyword.unit}] {comment}"[:_COMMENT_FIELD])
    header.replace(position, card)


# ---- the second step: out of the scratch header, into the file's ---------------------------------


def read(header: Header, name: str, kind: Kind) -> FitsKeyword | None:
    """The keyword according to its first card; None if that is missing or unreadable.

    A ``[unit]`` and a ``(word)`` at the start of the comment are removed, each only if more follows;
    ``(MISSING)`` makes the value missing, any other word is lost.
    """
    if name.lower() in COMMENTARY:
        lines = header.commentary(name.upper())
        return FitsKeyword(name, kind, "\n".join(lines)) if lines else None
    position = header.find(name)
    if position is None:
        return None
    if kind is Kind.STRING:
        value: float | str | None
        value, comment = header.string(position)
    else:
        text, comment = split_card(header.cards[position])
        value = _number(text, kind)
        if isinstance(value, float) and 0.0 < abs(value) < _SMALLEST:
            return None
    return _unmarked(name, kind, value, comment)


def _number(text: str, kind: Kind) -> float | None:
    if not text:
        return None
    if text in ("T", "F"):
        return int(text == "T") if kind is Kind.INTEGER else float(text == "T")
    plain = unquoted(text)
    return int(plain) if kind is Kind.INTEGER else float(plain)


def _unmarked(name: str, kind: Kind, value: float | str | None, comment: str) -> FitsKeyword:
    found = _MARKED.fullmatch(comment)
    assert found is not None  # a card has printable characters only, and the last group takes them all
    unit, word, rest = found.groups()
    missing = word is not None and word.upper() == "MISSING"
    return FitsKeyword(name, kind, None if missing else value, rest, unit)


def update(header: Header, keyword: FitsKeyword) -> None:
    """Replace the card of the keyword's name, or add one at the end; COMMENT and HISTORY go to the end."""
    if keyword.commentary:
        header.remove_all(keyword.name.upper())
        _append_commentary(header, keyword.name.upper(), str(keyword.value))
        return
    position = header.find(keyword.name)
    if position is None:
        write(header, keyword)
        return
    value = value_text(keyword)
    if value is None:
        header.replace(position, make_card(keyword.name, "", _missing_comment(keyword)))
        return
    if keyword.kind is Kind.STRING:
        header.replace_string(position, string_cards(keyword.name, value, keyword.comment))
    else:
        header.replace(position, make_card(keyword.name, value, keyword.comment))
    _write_unit(header, keyword)


# ---- both steps for a keyword that is alone ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """Both steps of a keyword: its cards in the scratch header, how it is read there, its final cards."""

    scratch: tuple[str, ...]
    found: FitsKeyword | None
    final: tuple[str, ...]


def written(keyword: FitsKeyword, text: str | None) -> Written:
    """Both steps for a keyword that shares its name with no other, and is no COMMENT or HISTORY.

    ``text`` is ``value_text(keyword)``: equal keywords may be written differently, such as 0. and -0.
    """
    scratch, final = Header(), Header()
    write(scratch, keyword)
    found = read(scratch, keyword.name, keyword.kind)
    if found is not None:
        write(final, found)
    return Written(tuple(scratch.cards), found, tuple(final.cards))


def put(header: Header, done: Written) -> None:
    """``update`` the header with what was read."""
    if done.found is None:
        return
    position = header.find(done.found.name)
    if position is None:
        header.append_finished(done.final)
    elif done.found.kind is Kind.STRING and done.found.value is not None:
        header.replace_string(position, done.final)
    else:
        header.replace(position, done.final[0])
