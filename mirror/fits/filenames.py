"""File names of exports, made by the rules of ``filenamefmt``.

    template = { literal | "{" [ name [ ":" ... ":" layout ] ] "}" }
    name     = "seriesname" | "recnum" | "segment" | "#" | keyword, in any case

A layout is a printf format, or for a time ``[letter][digits][,zone]``. Rule for editors: names are those of JSOC's
exporter. They may have blanks and slashes, so check a name before making it a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES, Keyword, Series
from mirror.drms.times import format_time
from mirror.errors import Refused, SyntaxProblem, UnknownName
from mirror.fits.keyword import BITS, MISSING, STORED_MISSING_TIME, is_interval, read_value
from mirror.fits.record import as_bytes, is_second_name

DEFAULT_TEMPLATE = "{seriesname}.{recnum:%lld}.{segment}"
MOST_CHARACTERS = 127
_TIME_LAYOUT = re.compile(r"(?P<letter>[A-Za-z])?(?P<precision>-?\d{1,2})?-?(?:,(?P<zone>.+))?")
_DIRECTIVE = re.compile(
    r"%(?P<flags>[-+ #0]*\d*(?:\.\d+)?)(?:hh|h|ll|l|L|q|j|z|t)?(?P<kind>[diouxXeEfFgGaAcs%])"
)
_DECIMALS = re.compile(r":\d+\.(\d+)")
_LARGE = re.compile(r"[1-9]\d{2}")
_FIELD = re.compile(r"\{([^}:]*)(:?)[^}]*\}")
_NO_KEYWORDS = frozenset({"", "#", "recnum", "seriesname", "segment"})
_SPACE = re.compile(r"[ \t\n\v\f\r]")


@dataclass(frozen=True, slots=True)
class NamedFile:
    """What a file name may contain about a segment's file.

    ``file`` is the archived file's own name, the target's for a linked segment, and the segment's name if
    there is no file. ``printed`` are the texts as the series prints them, ``exact`` those with full precision.
    ``target``, for a linked segment, has the printed texts of the record that the link leads to.
    """

    series: Series
    recnum: int
    file: str
    printed: Mapping[str, str]
    exact: Mapping[str, str] = field(default_factory=dict)
    target: Mapping[str, str] | None = None


def file_name(template: str | None, source: NamedFile, counter: Iterator[int]) -> str:
    """The name that ``template`` gives to the file; None stands for the default template.

    ``counter`` gives the numbers of ``{#}``, one per use; one counter serves all files of an export.
    SyntaxProblem for a brace that is not closed, UnknownName for a keyword that does not exist, Refused for a
    layout that does not suit its value and for a name of more than 127 characters.
    """
    template = DEFAULT_TEMPLATE if template is None else template
    parts: list[str] = []
    position = 0
    while position < len(template):
        if template[position] != "{":
            parts.append(template[position])
            position += 1
            _check_length("".join(parts) + template[position:])
            continue
        end = template.find("}", position)
        if end < 0:
            raise SyntaxProblem("a brace is not closed", text=template, position=position, expected="}")
        parts.append(_field(template[position + 1 : end], source, counter))
        position = end + 1
    name = "".join(parts)
    _check_length(name)
    return name


def laid_out_keywords(template: str | None) -> list[str]:
    """The names, as typed, of keywords that a template prints by a layout of its own."""
    fields = _FIELD.findall(template or "")
    return [name for name, layout in fields if layout and name not in _NO_KEYWORDS]


def _check_length(name: str) -> None:
    if len(name) > MOST_CHARACTERS:
        raise Refused(f"a file name of {len(name)} characters; expected at most {MOST_CHARACTERS}")


def _field(text: str, source: NamedFile, counter: Iterator[int]) -> str:
    name, *layouts = text.split(":")
    layout = layouts[-1] if layouts else None
    if name == "#":
        return printf("%05d" if layout is None else layout, next(counter))
    if name == "recnum":
        return printf("%lld" if layout is None else layout, source.recnum)
    fixed = {"": "", "seriesname": source.series.name, "segment": source.file}
    return fixed[name] if name in fixed else _keyword_text(name, layout, source)


def _keyword_text(name: str, layout: str | None, source: NamedFile) -> str:
    keyword = _keyword(name, source)
    printed = source.printed[keyword.name]
    if layout is None:
        return printed if printed != MISSING else _missing_text(keyword)
    is_time = keyword.type == "time" and not is_interval(keyword.units)
    if source.target is not None and keyword.linkinfo is None:
        text = _target_text(keyword.name, source.target)
        return _lettered(text, layout[:1]) if is_time else _SPACE.sub("", text)
    exact = source.exact.get(keyword.name, printed)
    if is_time:
        return _time_field(keyword, exact, layout)
    value = read_value(keyword, as_bytes(exact))
    value = _missing_value(keyword) if value is None else value
    return _SPACE.sub("", printf(layout, value))


def _keyword(name: str, source: NamedFile) -> Keyword:
    """The keyword that the record has under that name, in any case; a second name gives the first keyword."""
    shown = source.series.keyword(name)
    candidates = (name, _first_name(shown, source.series)) if shown else ()
    for held in source.printed:
        if shown is not None and held.lower() in [candidate.lower() for candidate in candidates]:
            return replace(shown, name=held)
    raise UnknownName(f"a record of {source.series.name} has no keyword {name!r}, which a file name asks for")


def _first_name(shown: Keyword, series: Series) -> str:
    """The preceding name in the structure if that is the same keyword, as for DATE-OBS; else its own."""
    pairs = zip(series.keywords, series.keywords[1:], strict=False)
    before = next((first for first, second in pairs if second is shown), shown)
    return before.name if is_second_name(shown, before) else shown.name


def _target_text(name: str, target: Mapping[str, str]) -> str:
    """The text in the record that a linked segment leads to, where JSOC looks when a layout is given."""
    for held, text in target.items():
        if held.lower() == name.lower():
            return text
    raise UnknownName(f"the record of the linked file has no keyword {name!r}, which a file name asks for")


# ---- missing values, which names show as they are stored ------------------------------------------


def _missing_value(keyword: Keyword) -> int | float | str:
    if keyword.type in INTEGER_TYPES:
        return -(1 << (BITS[keyword.type] - 1))
    return float("nan") if keyword.type in FLOAT_TYPES else ""


def _missing_text(keyword: Keyword) -> str:
    if keyword.type == "time" and not is_interval(keyword.units):
        decimals = _DECIMALS.search(keyword.defval)  # the default has the keyword's own precision
        precision = len(decimals[1]) if decimals else 0
        return format_time(STORED_MISSING_TIME, keyword.units, precision)
    return str(_missing_value(keyword))


# ---- layouts ---------------------------------------------------------------------------------------


def _time_field(keyword: Keyword, text: str, layout: str) -> str:
    found = _TIME_LAYOUT.match(layout)
    assert found is not None  # every part of it is optional
    value = read_value(keyword, text)
    seconds = value if isinstance(value, float) else STORED_MISSING_TIME
    printed = format_time(seconds, found["zone"] or keyword.units, int(found["precision"] or 0))
    return _lettered(printed, found["letter"])


def _lettered(printed: str, letter: str | None) -> str:
    if letter == "A":
        return printed.replace(".", "").replace(":", "")
    return _as_folders(printed) if letter == "D" else printed


def _as_folders(printed: str) -> str:
    """The form of layout D, ``@2014@01@01@000000_TAI``, from which scripts make folders."""
    made = "@"
    for character in printed.replace(":", ""):
        made += "@" if character == "." or len(made) == 11 else character
    return made


def printf(layout: str, value: float | str) -> str:
    """``value`` printed by a printf format with at most one directive; Refused if it does not suit the value."""
    found = _DIRECTIVE.search(layout)
    if found is None and "%" not in layout:
        return layout
    kind = found["kind"] if found else "%"
    if found is None or "%" in layout[found.end() :] or kind == "%" or _LARGE.search(found["flags"]):
        raise Refused(
            f"layout {layout!r}: expected one directive such as %d or %.3f, of at most 99 characters"
        )
    try:
        text = f"%{found['flags']}{kind}" % _fitted(kind, value)
    except (TypeError, ValueError) as problem:
        raise Refused(f"layout {layout!r} does not suit the value {value!r}") from problem
    return layout[: found.start()] + text + layout[found.end() :]


def _fitted(kind: str, value: float | str) -> float | str:
    """The argument that the C library would see: a real number printed as an integer counts as 0."""
    if kind in "diouxXc" and isinstance(value, float):
        return 0
    if kind in "ouxX" and isinstance(value, int) and value < 0:
        return value + (1 << (32 if value >= -(1 << 31) else 64))
    if kind == "s" and not isinstance(value, str):
        raise TypeError(kind)
    return value
