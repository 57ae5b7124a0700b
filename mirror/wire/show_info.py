"""show_info: records as tab-separated text, for scripts and IDL.

The layout is that of the real program, the values are those of rs_list: ``show_info_query`` says what to ask for,
``encode_show_info`` lays out the answer. Only missing numbers differ: rs_list says ``MISSING``, this program prints the
type's missing value in the keyword's format. The flag ``t`` gives the formats (``decode_formats``); if they are not
known, the values beside a missing one show what they can: hexadecimal, a width, decimals of seconds. A missing text
(``has_missing_texts``) prints as nothing, or as ``MISSING`` if that was stored: only JSOC knows which.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mirror.drms.series import FLOAT_TYPES, Keyword
from mirror.drms.times import MISSING_TIME, format_time
from mirror.errors import BadRequest, Refused, UpstreamBroken
from mirror.wire.info import ALL, RsListRequest, c_int, expand_names, not_understood
from mirror.wire.rs_list import RsList, SegmentColumn
from mirror.wire.text import from_wire

#: Finds a keyword by its name in any case, or None.
FindKeyword = Callable[[str], Keyword | None]
#: By lower-case keyword name, the C format by which it prints; for a time, the decimals of its seconds.
Formats = Mapping[str, str]
#: Flags of the real program that are not served here, with what they print.
_NOT_SERVED = {
    "d": "dimensions of segments",
    "I": "sessions",
    "j": "the definition of the series",
    "K": "links",
    "l": "the keywords of the series",
    "o": "whether the data are online",
    "R": "retention",
    "s": "statistics",
    "sunum": "records by storage unit",
    "t": "types and formats",
    "T": "tapes",
    "x": "the state of archiving",
    "z": "sizes",
}
#: Parameters and flags that are served here.
_SERVED = frozenset({"ds", "key", "seg", "n", *"aAcikpPqrS", "dbhost", "JSOC_DBHOST"})
#: Parameters with which it prints something else than records, or other records than those of ``ds``.
_NOT_OF_RECORDS = frozenset({*"cehjlsb", "sunum"})
_MISSING = "MISSING"
_BITS = {"char": 8, "short": 16, "int": 32, "longlong": 64}
_DECIMALS = re.compile(r":[0-9]{2}\.([0-9]+)")
#: One conversion of C's printf, with the text around it.
_CONVERSION = re.compile(
    r"(?P<before>[^%]*)%(?P<flags>[-+ #0]*)(?P<width>[0-9]*(?:\.[0-9]+)?)(?:hh|h|ll|l)?(?P<kind>[dioxXueEfFgG])(?P<after>[^%]*)"
)
_NO_RECORDS = b"** No records"
_OF_TYPES = 3  #: lines before the records: names, types, formats
_NO_PATH = "**_NO_sudir_**"
_INVALID_KEY = {"Invalid KeyLink": "InvalidKeyname"}


@dataclass(frozen=True, slots=True)
class ShowInfoRequest:
    """What to print, and how; a name in parentheses is the program's own parameter.

    ``count`` (c) prints only how many there are, ``quiet`` (q) no header, ``listed`` (k) one value per line
    instead of a table. ``recnum`` (r), ``sunum`` (S) and ``query`` (i) are columns before the keywords;
    ``path`` (P or p) puts the directory before the names of files, or stands alone.
    """

    ds: str
    keys: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    n: int | None = None
    count: bool = False
    quiet: bool = False
    listed: bool = False
    recnum: bool = False
    sunum: bool = False
    query: bool = False
    path: bool = False

    def without_all_segments(self) -> ShowInfoRequest:
        """The request for a series without segments: ``A`` then asks for nothing, and P stands alone."""
        return replace(self, segments=()) if self.segments == (ALL,) else self


def decode_show_info(params: Mapping[str, str]) -> ShowInfoRequest:
    """The request in ``params``.

    BadRequest without ``ds``, or if neither it nor ``n`` limits the records; Refused for flags not served.
    """
    given = {name for name, value in params.items() if value not in ("", "0")}
    _refuse_unserved(given)
    ds, n = params.get("ds", ""), c_int(params.get("n", "")) or None
    if not ds:
        raise BadRequest("the parameter ds is missing; expected a record set, as in ds=hmi.v_45s[$]")
    if "[" not in ds and n is None and "c" not in given:
        raise BadRequest("a whole series was asked for; expected n=records, or a record set in brackets")
    return ShowInfoRequest(
        ds,
        keys=(ALL,) if "a" in given else _names(params, "key"),
        segments=(ALL,) if "A" in given else _names(params, "seg"),
        n=n,
        count="c" in given,
        quiet="q" in given,
        listed="k" in given,
        recnum="r" in given,
        sunum="S" in given,
        query="i" in given,
        path=bool(given & {"p", "P"}),
    )


def only_jsoc_prints(params: Mapping[str, str]) -> bool:
    """True for parameters whose output is not served here; a flag "0" is not set.

    Names with a mark, such as ``**ALL**``, mean nothing to this program, and of repeated ones it prints one.
    """
    given = {name: value for name, value in params.items() if not (name in _NOT_SERVED and value == "0")}
    names = [[part.lower() for part in _names(params, listed)] for listed in ("key", "seg")]
    odd = any(len(set(group)) < len(group) or "*" in "".join(group) for group in names)
    return odd or not_understood(given, _SERVED)


def may_print_nothing(params: Mapping[str, str]) -> bool:
    """True if the program prints nothing when the record set has no record."""
    given = {name for name, value in params.items() if value not in ("", "0")}
    return {"q", "ds"} <= given and "[" in params["ds"] and not given & _NOT_OF_RECORDS


def show_info_query(request: ShowInfoRequest, *, segments: Sequence[str] = (ALL,)) -> RsListRequest:
    """The rs_list request whose answer ``encode_show_info`` can print.

    ``segments`` are those of the series, for which all segments (A) stands. Without them rs_list is asked for
    ``**ALL**``, and omits linked ones that do not resolve, without saying for which record.
    """
    return RsListRequest(
        request.ds,
        keys=(*_leading(request), *request.keys),
        segments=tuple(expand_names(request.segments, segments)),
        recinfo=request.query or request.listed,
        n=request.n,
    )


def encode_show_count(request: ShowInfoRequest, count: int) -> bytes:
    """The output for ``count`` (c)."""
    return (f"{count}\n" if request.quiet else f"{count} records match the query\n").encode("ascii")


def encode_show_info(
    request: ShowInfoRequest, answer: RsList, *, keyword: FindKeyword = lambda _: None, formats: Formats | None = None
) -> bytes:
    """The table or, for ``listed``, the list; ``answer`` is that to ``show_info_query``.

    ``keyword`` finds the keywords of the series: their types, and ``formats``, decide how missing values print, and the
    types which texts are quoted. Refused if a segment has fewer values than records, which cannot be assigned.
    """
    printed = _Printer(keyword, formats or {})
    if answer.count == 0:
        lines = [] if request.quiet else [f"** No records in selected data set, query was {request.ds} **"]
    elif request.listed:
        lines = list(_list(request, answer, printed))
    else:
        lines = list(_table(request, answer, printed))
    return "".join(f"{line}\n" for line in lines).encode("latin-1", "replace")


def has_missing_numbers(answer: RsList, keyword: FindKeyword) -> bool:
    """True if there is a missing number, which prints by its keyword's format."""
    named = ((keyword(name), values) for name, values in answer.keywords or ())
    return any(found is not None and found.type != "string" and _MISSING in values for found, values in named)


def has_missing_texts(answer: RsList, keyword: FindKeyword) -> bool:
    """True if a text is ``MISSING``: that is what rs_list prints for an empty one, or what was stored."""
    named = ((keyword(name), values) for name, values in answer.keywords or ())
    return any(found is not None and found.type == "string" and _MISSING in values for found, values in named)


def formats_query(series: str) -> dict[str, str]:
    """The parameters of a request for the formats of all keywords of a series, with its last record."""
    return {"ds": f"{series}[:#$]", "a": "1", "t": "1"}


def decode_formats(data: bytes) -> dict[str, str]:
    """The formats in an answer to ``formats_query``, none if there is no record; UpstreamBroken for other answers.

    The program gives ``%s`` for every time; its decimals are taken from the record in the answer.
    """
    if data.startswith(_NO_RECORDS):
        return {}
    lines = [line.split("\t") for line in data.decode("latin-1").splitlines()]
    if len(lines) < _OF_TYPES or not len(lines[0]) == len(lines[1]) == len(lines[2]):
        raise UpstreamBroken(f"show_info tells no formats: {data[:100]!r}")
    names, types, formats = lines[:_OF_TYPES]
    values = lines[_OF_TYPES] if len(lines) > _OF_TYPES else []
    told = dict(zip((name.lower() for name in names), formats, strict=True))
    for at, (name, kind) in enumerate(zip(names, types, strict=True)):
        if kind == "time":
            found = _DECIMALS.search(values[at]) if len(values) == len(names) else None
            told[name.lower()] = str(len(found[1])) if found else "0"
    return told


# ---- columns ------------------------------------------------------------------------------------

Column = tuple[str, Sequence[str]]  #: a heading, and one printed value per record


@dataclass(frozen=True, slots=True)
class _Printer:
    """How values are printed."""

    keyword: FindKeyword
    formats: Formats

    def column(self, name: str, values: list[str]) -> list[str]:
        """The values of a keyword, with missing numbers as this program prints them."""
        keyword = self.keyword(name)
        if keyword is None or _MISSING not in values:
            return values
        others = [value for value in values if value not in (_MISSING, *_INVALID_KEY.values())]
        missing = _by_format(keyword, self.formats.get(keyword.name.lower()))
        if missing is None:
            missing = _as_others(keyword, others)
        return values if missing is None else [missing if value == _MISSING else value for value in values]


def _table(request: ShowInfoRequest, answer: RsList, printed: _Printer) -> Iterator[str]:
    numbers, keys = _keywords(request, answer, printed)
    padded = [(name, [f"{value:>6}" for value in values]) for name, values in numbers.items()]
    queries = [("query", _queries(answer))] if request.query else []
    columns = [*padded, *queries, *keys, *_files(request, answer)]
    if not request.quiet:
        yield "\t".join(name for name, _ in columns)
    if columns:
        yield from map("\t".join, zip(*(values for _, values in columns), strict=True))
    else:
        yield f"{answer.count} records found, no other information requested"


def _list(request: ShowInfoRequest, answer: RsList, printed: _Printer) -> Iterator[str]:
    numbers, keys = _keywords(request, answer, printed)
    quoted = {name for name, _ in keys if (found := printed.keyword(name)) is not None and found.type == "string"}
    files = _files(request, answer)
    for i, query in enumerate(_queries(answer)):
        yield from ("", f"# {query}") if i else (f"# {query}",)
        yield from (f"## {name}={values[i]}" for name, values in numbers.items())
        for name, values in keys:
            if values[i] not in _INVALID_KEY.values():
                yield f'{name}="{values[i]}"' if name in quoted else f"{name}={values[i]}"
        yield from (f"{name}={values[i]}" for name, values in files)


def _leading(request: ShowInfoRequest) -> dict[str, str]:
    """The pseudo keywords to request before the keywords, each with its heading."""
    directory = request.path and not request.segments
    wanted = {"*recnum*": request.recnum, "*sunum*": request.sunum, "*recdir*": directory}
    return {name: name.strip("*") for name, asked in wanted.items() if asked}


def _keywords(
    request: ShowInfoRequest, answer: RsList, printed: _Printer
) -> tuple[dict[str, list[str]], list[Column]]:
    """The numbers that come before the keywords, and the keywords."""
    columns = [
        (name, printed.column(name, [_printed(value) for value in values])) for name, values in answer.keywords or ()
    ]
    leading = _leading(request)
    numbers = {leading[name]: values for name, values in columns[: len(leading)] if name != "*recdir*"}
    return numbers, [*columns[len(leading) :]]


def _files(request: ShowInfoRequest, answer: RsList) -> list[Column]:
    if request.segments or not request.path:
        return [(x.name, _file_names(x, answer.count, path=request.path)) for x in answer.segments or ()]
    directories = next(values for name, values in answer.keywords or () if name == "*recdir*")
    return [("SUDIR", [path if path.startswith("/") else _NO_PATH for path in map(_printed, directories)])]


def _file_names(segment: SegmentColumn, count: int, *, path: bool) -> list[str]:
    """Paths or file names; rs_list gives neither for a record that is offline."""
    if len(segment.values) != count:
        raise Refused(
            f"segment {segment.name!r} of some records does not resolve; expected seg={segment.name}"
        )
    fields = [from_wire(value) for value in segment.values]
    names = fields if path else [value.rpartition("/")[2] for value in fields]
    return [_NO_PATH if name == "NoDataDirectory" else name for name in names]


def _queries(answer: RsList) -> list[str]:
    return [from_wire(name) for name, _ in answer.recinfo or ()]


def _printed(value: str | int) -> str:
    text = from_wire(str(value))
    return _INVALID_KEY.get(text, text)


def _by_format(keyword: Keyword, form: str | None) -> str | None:
    """The missing value of a number or a time in its keyword's format; None if the format is not enough."""
    if form is None:
        return None
    if keyword.type == "time":
        return _missing_time(keyword, int(form)) if form.isdigit() else None
    found = _CONVERSION.fullmatch(form)
    is_float = found is not None and found["kind"] in "eEfFgG"
    if found is None or is_float is not (keyword.type in FLOAT_TYPES):
        return None
    flags, width, kind = found["flags"], found["width"], found["kind"]
    if is_float:
        text = f"%{flags.replace('0', '')}{width}{kind}" % math.nan  # only numbers are padded with zeros
    else:
        bits = _BITS[keyword.type]
        lowest = -(1 << bits - 1) if kind in "di" else 1 << bits - 1
        text = f"%{flags}{width}{kind}" % lowest
    return f"{found['before']}{text}{found['after']}"


def _as_others(keyword: Keyword, others: Sequence[str]) -> str | None:
    """The missing value of a number, written like the other values; None if its type does not determine it."""
    # A blank before a value shows that its format has a width.
    width = max((len(value) for value in others if value.startswith(" ")), default=0)
    if keyword.type in FLOAT_TYPES:
        return "nan".rjust(width)
    if keyword.type in _BITS:
        bits = _BITS[keyword.type]
        hexadecimal = next((value for value in others if value.lower().startswith("0x")), None)
        if hexadecimal is None:
            return str(-(1 << bits - 1)).rjust(width)
        digits = f"{1 << bits - 1:x}"
        return hexadecimal[:2] + (digits.upper() if hexadecimal[2:] == hexadecimal[2:].upper() else digits)
    if keyword.type != "time" or any(":" not in value for value in others):
        return None
    return _missing_time(keyword, next((len(found[1]) for value in others if (found := _DECIMALS.search(value))), 0))


def _missing_time(keyword: Keyword, decimals: int) -> str | None:
    """The time that means "missing"; None for a unit that is not a zone."""
    try:
        return format_time(MISSING_TIME, keyword.units, decimals)
    except (BadRequest, LookupError, ValueError):
        return None


def _names(params: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(name for part in params.get(name, "").split(",") if (name := part.strip()))


def _refuse_unserved(given: Collection[str]) -> None:
    for flag in sorted(_NOT_SERVED.keys() & given):
        raise Refused(
            f"show_info with {flag} ({_NOT_SERVED[flag]}) is not served; expected a c i k n p P q r S"
        )
