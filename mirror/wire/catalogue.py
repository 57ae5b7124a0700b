"""The lists of series: show_series, and showextseries, which the drms client prefers.

Both take a filter: an extended regular expression that may match anywhere in a name, in any case.
``NOT `` before it selects the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import re2

from mirror.errors import Refused, SyntaxProblem, UpstreamBroken, UpstreamRefused
from mirror.wire.answer import load_answer, load_object, member, objects
from mirror.wire.text import name_to_wire, to_wire


@dataclass(frozen=True, slots=True)
class SeriesEntry:
    """A series in its own case, its prime keys, and its note."""

    name: str
    primekeys: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class CatalogueRequest:
    """``info`` asks showextseries for notes; ``dbhost`` names a database, of which we have one."""

    filter: str | None = None
    info: bool = False
    dbhost: str | None = None


def decode_catalogue(params: Mapping[str, str]) -> CatalogueRequest:
    """Decode a request to either program."""
    return CatalogueRequest(
        params.get("filter"), params.get("info", "0") not in ("", "0"), params.get("dbhost")
    )


def encode_catalogue(request: CatalogueRequest) -> dict[str, str]:
    """The parameters of this request, in the order in which the drms client writes them."""
    wanted = {"dbhost": request.dbhost, "filter": request.filter, "info": "1" if request.info else None}
    return {name: value for name, value in wanted.items() if value is not None}


# ---- show_series --------------------------------------------------------------------------------


def encode_show_series(entries: Iterable[SeriesEntry]) -> bytes:
    """The bytes of the real server, in the order of ``entries``; it sorts names as bytes."""
    lines = [_line(entry) for entry in entries]
    text = '{"status":0,\n "names":[\n' + ",\n".join(lines) + f'],\n"n":{len(lines)}}}\n'
    return text.encode("latin-1")


def _line(entry: SeriesEntry) -> str:
    keys = name_to_wire(", ".join(entry.primekeys))
    return f'  {{"name":"{name_to_wire(entry.name)}","primekeys":"{keys}","note":"{to_wire(entry.note)}"}}'


def decode_show_series(data: bytes) -> tuple[SeriesEntry, ...]:
    """The entries in ``data``; UpstreamBroken if their number is not the one it states."""
    members = load_answer(data)
    entries = tuple(
        SeriesEntry(
            member(item, "name", str),
            tuple(re.findall(r"[^,\s]+", member(item, "primekeys", str))),
            member(item, "note", str),
        )
        for item in objects(members, "names")
    )
    if member(members, "n", int) != len(entries):
        raise UpstreamBroken(f"show_series: {len(entries)} series, but {members['n']} announced")
    return entries


# ---- showextseries ------------------------------------------------------------------------------


def encode_showextseries(entries: Iterable[SeriesEntry], *, info: bool) -> bytes:
    """Names or, with ``info``, objects {name: {"description": note}}, as the real script prints them."""
    fields = [{entry.name: {"description": entry.note}} if info else entry.name for entry in entries]
    return (json.dumps({"errMsg": "", "seriesList": fields}) + "\n").encode("ascii")


def decode_showextseries(data: bytes) -> tuple[SeriesEntry, ...]:
    """The entries in ``data``, in either form; UpstreamRefused if it has an ``errMsg``."""
    members = load_object(data)
    if complaint := members.get("errMsg"):
        raise UpstreamRefused(1, str(complaint))
    return tuple(_read_entry(item) for item in member(members, "seriesList", list))


def _read_entry(item: object) -> SeriesEntry:
    if isinstance(item, str):
        return SeriesEntry(item)
    if isinstance(item, dict) and len(item) == 1:
        ((name, fields),) = item.items()
        if isinstance(fields, dict):
            return SeriesEntry(name, note=member(fields, "description", str))
    raise UpstreamBroken("member 'seriesList': expected names, or objects of one name and its description")


# ---- the filter ---------------------------------------------------------------------------------

_EXCLUDING = "NOT "
#: Most characters of a pattern, and bytes of it compiled: a{1000}{1000} would be a million states.
_LONGEST, _MOST_MEMORY = 200, 1 << 20


def select_series(entries: Iterable[SeriesEntry], pattern: str | None) -> list[SeriesEntry]:
    """The entries that pass the filter (None or "": all), in the real server's order.

    SyntaxProblem if it is not a regular expression; Refused if it is too large.
    """
    chosen = filter(_matcher(pattern), entries) if pattern else entries
    return sorted(chosen, key=lambda entry: entry.name)


def _matcher(pattern: str) -> Callable[[SeriesEntry], bool]:
    excluding = pattern.startswith(_EXCLUDING)
    start = len(_EXCLUDING) if excluding else 0
    if "[" in pattern:  # recorded: the real program crashes
        raise SyntaxProblem(
            "bracket expressions are not accepted in a filter, nor by JSOC",
            text=pattern,
            position=pattern.index("["),
            expected="alternatives, as in hmi.m_|hmi.v_",
        )
    if len(pattern) > _LONGEST:
        raise Refused(f"the filter is too large; expected at most {_LONGEST} characters")
    options = re2.Options()
    options.case_sensitive, options.max_mem, options.log_errors = False, _MOST_MEMORY, False
    try:
        # RE2 matches in time linear in the name, whatever the pattern, unlike Python's own.
        expression = re2.compile(pattern[start:], options)
    except (re2.error, UnicodeError) as problem:
        raise SyntaxProblem(
            f"the filter is not a regular expression: {_said(problem)}",
            text=pattern,
            position=start,
            expected=r"something like hmi\.v_ or sharp",
        ) from problem
    return lambda entry: (expression.search(entry.name) is None) == excluding


def _said(problem: Exception) -> str:
    said = problem.args[0] if problem.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(problem)
