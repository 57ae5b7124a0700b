"""From a keyword's DRMS name and note to its FITS name and comment.

Rule for editors: this follows the exporter of JSOC, also where it is odd. The note may begin with
``[X]`` or ``[X:type]``, which names the FITS keyword; a single ``-`` in a note ends its short form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_VALID = re.compile(r"[A-Z0-9_-]{0,8}")
_CASTS = frozenset({"integer", "float", "string", "logical"})
_STRUCTURAL = re.compile(
    r"(SIMPLE|BITPIX|NAXIS\d*|EXTEND|BLOCKED|GROUPS|PCOUNT|GCOUNT|END|XTENSION|TFIELDS|THEAP|T(TYPE|FORM|BCOL)\d+"
    r"|Z(IMAGE|CMPTYPE|NAME\d+|VAL\d+|TILE\d+|BITPIX|NAXIS\d*|SCALE|ZERO|BLANK)"
    r"|Z(EXTEND|SIMPLE|TENSION|BLOCKED|PCOUNT|GCOUNT)|CONTINUE)"
)
_NAXIS_N = re.compile(r"NAXIS\d{1,3}", re.IGNORECASE)
_INDEXED = re.compile(r"([A-Za-z]+)[0-9]+")
#: Stems that the exporter treats in ways of their own, or not at all.
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
    """A keyword's note: the FITS name it asks for, the type after the colon, and the words behind."""

    name: str | None
    cast: str
    words: str


def read_note(note: str) -> Note:
    """The parts of a note; without a closed ``[X]`` as its first word, all of it is words."""
    first, _, rest = note.lstrip(" ").partition(" ")
    if len(first) <= 2 or not (first[0] == "[" and first[-1] == "]"):
        return Note(None, "", note)
    name, _, cast = first[1:-1].partition(":")
    return Note(name, cast, rest)


def fits_name(name: str, note: Note, *, per_segment: bool) -> str:
    """The FITS name of DRMS keyword ``name``: its note's, else its own, else its own cut to letters and digits."""
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
    """The comment of a card: the note's words up to a single dash, then the DRMS name if it is another."""
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
    """The name by which a treatment is chosen: lower case, and without the digits behind its letters."""
    found = _INDEXED.fullmatch(name)
    return (found[1] if found else name).lower()


def is_structural(name: str) -> bool:
    """True for names that describe the file itself; CFITSIO does not let a keyword list write them."""
    return _STRUCTURAL.fullmatch(name.upper()) is not None


def has_unit(unit: str | None) -> bool:
    """True unless the unit is one of the ways to say that there is none."""
    return unit is not None and unit.strip().lower() not in _UNITLESS
