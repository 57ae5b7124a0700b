"""The same search as code for other clients, to copy: drms, sunpy, a shell, IDL, SQL. Pure.

The code runs without changes; where a client cannot express a record set, the code says so.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from urllib.parse import quote

from mirror.drms.recordset import Bracket, RecordSet, Where
from mirror.drms.series import Series

_COMPARISON = re.compile(r"\s*(\w+)\s*(<=|>=|!=|<>|=|<|>)\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*")
#: The prime keys of time that sunpy takes as text.
_SUNPY_TIMES = {"T_REC", "T_START", "T_OBS"}
_OPERATORS = {"=": "==", "<>": "!="}


@dataclass(frozen=True, slots=True)
class Snippet:
    """``code`` for the client ``name``; ``id`` names it in pages."""

    id: str
    name: str
    code: str


@dataclass(frozen=True, slots=True)
class SnippetQuery:
    """A search: the query as written, its sets, the series of the first, which columns, and how many records."""

    ds: str
    sets: tuple[RecordSet, ...]
    series: Series
    keys: tuple[str, ...]
    segments: tuple[str, ...] = ()
    n: int | None = None


def snippets(query: SnippetQuery, address: str) -> list[Snippet]:
    """The code of every client; ``address`` is where the mirror answers, such as http://localhost:8040."""
    return [
        Snippet("shell", "Command line", command(query)),
        Snippet("drms", "drms", drms_code(query, address)),
        Snippet("sunpy", "sunpy", sunpy_code(query, address)),
        Snippet("curl", "curl", curl_code(query, address)),
        Snippet("idl", "IDL", idl_code(query, address)),
        Snippet("sql", "SQL", sql_code(query)),
    ]


def command(query: SnippetQuery) -> str:
    """``mirror search``, and ``mirror fetch`` for the files."""
    segments = f" --seg {shlex.quote(','.join(query.segments))}" if query.segments else ""
    n = f" -n {query.n}" if query.n else ""
    search = f"mirror search {shlex.quote(query.ds)} --key {shlex.quote(','.join(query.keys))}{segments}{n}\n"
    return search + (
        f"mirror fetch {shlex.quote(query.ds)}{segments}{n} --to .\n" if query.series.segments else ""
    )


def drms_code(query: SnippetQuery, address: str) -> str:
    """Python with drms, which goes through the mirror by HTTP_PROXY."""
    more = f", seg={_python(', '.join(query.segments))}" if query.segments else ""
    more += f", n={query.n}" if query.n else ""
    given = f"{_python(query.ds)}, key={_python(', '.join(query.keys))}{more}"
    names = "records, files" if query.segments else "records"
    return f"{_environment(address)}import drms\n\n{names} = drms.Client().query({given})\n"


def sunpy_code(query: SnippetQuery, address: str) -> str:
    """Python with Fido, as far as its attributes can express the record set."""
    attributes = _attributes(query)
    if attributes is None:
        return "# Fido's attributes cannot say this record set. drms, which sunpy uses, can.\n"
    lines = "".join(f"    {attribute},\n" for attribute in attributes)
    return (
        f"{_environment(address)}from sunpy.net import Fido, attrs as a\n\n"
        f"result = Fido.search(\n{lines})\nrecords = result[0].show({', '.join(map(_python, query.keys))})\n"
    )


def curl_code(query: SnippetQuery, address: str) -> str:
    """The request that any program can make."""
    given = {"op": "rs_list", "ds": query.ds, "key": ",".join(query.keys), "seg": ",".join(query.segments)}
    given["n"] = str(query.n or "")
    lines = [f"--data-urlencode {shlex.quote(f'{k}={v}')}" for k, v in given.items() if v]
    return " \\\n  ".join([f"curl -G {shlex.quote(address + '/cgi-bin/ajax/jsoc_info')}", *lines]) + "\n"


def idl_code(answer: SnippetQuery, address: str) -> str:
    """IDL, without SolarSoft."""
    host, _, port = address.removeprefix("http://").partition(":")
    given = {"op": "rs_list", "ds": answer.ds, "key": ",".join(answer.keys), "seg": ",".join(answer.segments)}
    given["n"] = str(answer.n or "")
    query = "&".join(f"{k}={quote(v, safe=',')}" for k, v in given.items() if v)
    pieces = " + $\n  ".join(f"'{query[i : i + 80]}'" for i in range(0, len(query), 80))
    return (
        f"query = {pieces}\n"
        f"url = IDLnetUrl(URL_HOSTNAME='{host}', URL_PORT='{port or 80}', $\n"
        "  URL_PATH='cgi-bin/ajax/jsoc_info', URL_QUERY=query)\n"
        "answer = JSON_PARSE(STRJOIN(url.Get(/STRING_ARRAY)))\n"
        "foreach column, answer['keywords'] do print, column['name'], (column['values'])[0]\n"
    )


def sql_code(query: SnippetQuery) -> str:
    """SQL, for the console and ``mirror sql``."""
    plain = [
        name
        for name in (*query.keys, *query.segments)
        if query.series.keyword(name) or query.series.segment(name)
    ]
    columns = ", ".join(_identifier(name) for name in plain) or "*"
    first = next((k.name for k in query.series.primekeys if k.name.lower() in map(str.lower, plain)), None)
    order = f"\nORDER BY {_identifier(first)}" if first else ""
    limit = f"\nLIMIT {query.n}" if query.n and query.n > 0 else ""
    text = query.ds.replace("'", "''")
    return f"SELECT {columns}\nFROM jsoc('{text}', fill := true){order}{limit}\n"


def _environment(address: str) -> str:
    return f'import os\n\nos.environ["HTTP_PROXY"] = {_python(address)}  # through the mirror\n\n'


def _attributes(query: SnippetQuery) -> list[str] | None:
    if len(query.sets) != 1 or query.n:
        return None
    record_set, series = query.sets[0], query.series
    found = [f"a.jsoc.Series({_python(record_set.series)})"]
    place = 0
    for part in record_set.filters:
        if isinstance(part, Bracket):
            key = part.key or series.primekeys[place].name
            place += part.key is None
            if part.text and not _takes(series, key):
                return None
            found += [f"a.jsoc.PrimeKey({_python(key)}, {_python(part.text)})"] if part.text else []
        elif isinstance(part, Where) and not part.all_versions and (keywords := _keywords(series, part.text)):
            found += keywords
        else:
            return None
    keyed = any("PrimeKey" in attribute for attribute in found)
    segments = query.segments or record_set.segments or ()
    found += [" & ".join(f"a.jsoc.Segment({_python(name)})" for name in segments)] if segments else []
    return found if keyed else None  # sunpy requires one


def _takes(series: Series, key: str) -> bool:
    """True for a prime key whose values sunpy passes on unchanged."""
    keyword = series.keyword(key)
    prime = any(p.name == key for p in series.primekeys)
    return prime and keyword is not None and (keyword.type != "time" or key in _SUNPY_TIMES)


def _keywords(series: Series, condition: str) -> list[str] | None:
    """Comparisons with numbers, each of another keyword: sunpy keeps one per keyword, and knows its case."""
    parts = [_COMPARISON.fullmatch(part) for part in re.split(r"\bAND\b", condition, flags=re.IGNORECASE)]
    known = [series.keyword(p[1]) if p else None for p in parts]
    names = [k.name for k in known if k]
    if len(set(names)) < len(parts):
        return None
    found = zip(names, parts, strict=True)
    return [f"a.jsoc.Keyword({_python(name)}) {_OPERATORS.get(p[2], p[2])} {p[3]}" for name, p in found if p]


def _identifier(name: str) -> str:
    return name.lower() if re.fullmatch(r"[A-Za-z_]\w*", name) else '"' + name.replace('"', '""') + '"'


def _python(text: str) -> str:
    """A text as a Python and JSON literal."""
    return json.dumps(text, ensure_ascii=False)
