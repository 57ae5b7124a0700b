"""The index files of an export's directory, index.txt, index.json and index.html, and its table of keywords.

index.json is the answer of exp_status to a finished export, index.txt the same with format=txt, byte for byte. An
as-is export has a title and an order of lines of its own.

``<request id>.keywords.txt``, of an as-is export, is a tab-separated table of all keywords: three header lines (names,
types, printf formats), then one line per record. The column ``query`` comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from mirror.drms.export import AppliedStep, ExportFile, Finished, parse_request_id
from mirror.errors import BadRequest, UpstreamBroken
from mirror.wire.answer import Members, load_object, member, objects
from mirror.wire.text import Node, tabbed, to_wire

Pairs = list[tuple[str, str]]

_INTRO = (
    '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN" "http://www.w3.org/TR/html4/loose.dtd">'
    '<html><head title="JSOC Data Export Request Results Index">\n</head><body>\n'
    "<h2>JSOC Data Request Summary</h2>\n<table>\n"
)
_DATA_TITLE = "<h2><b>Selected Data</b></h2><p>"

# ---- encoding -----------------------------------------------------------------------------------


def encode_index_json(index: Finished) -> bytes:
    """index.json: all values are strings."""
    fields = _header(index)
    fields += [(name, value) for name in ("keywords", "tarfile") if (value := getattr(index, name)) is not None]
    files: list[Node] = [
        {"record": _quoted(file.record), "filename": _quoted(file.filename)} for file in index.files
    ]
    root: dict[str, Node] = {name: _quoted(value) for name, value in fields}
    root["data"] = files or ["null"]
    return (tabbed(root) + "\n").encode("latin-1")


def encode_index_txt(index: Finished) -> bytes:
    """index.txt; without any record it ends after its header."""
    as_is = index.exptime is None
    lines = ["# JSOC Export File List" if as_is else "# JSOC "]
    lines += [f"{name}={value}" for name, value in _header(index)]
    if index.processing:
        lines += ["# PROCESSING ", *_processing_lines(index.processing)]
    if index.dir:
        lines += ["# DATA" if as_is else "# DATA ", *map(_row, index.files)]
    return ("\n".join(lines) + "\n").encode("latin-1", "replace")


def encode_index_html(index: Finished, *, base: str = "https://jsoc1.stanford.edu") -> bytes:
    """index.html, whose links begin with ``base``."""
    head = [(escape(name), escape(value)) for name, value in _header(index)]
    if index.keywords is not None:
        head.append(("keywords", escape(index.keywords)))
    parts = [_INTRO, *(f"<tr><td><b>{name}</b></td><td>{value}</td></tr>\n" for name, value in head)]
    if index.tarfile is not None:
        link = _link("a href", base, index.tarfile, index.tarfile)
        parts.append(f"<tr><td>tarfile</td><td>{link}</a></td></tr>\n")
    parts.append(_processing_html(index.processing) if index.processing else _plain_title(index))
    parts += [_html_row(index, file, base) for file in index.files]
    return ("".join(parts) + "</table></body></html>\n").encode("latin-1", "xmlcharrefreplace")


def _header(index: Finished) -> Pairs:
    """The lines before the data, in the order of the exporter that made the files."""
    fields = [("requestid", index.request_id), ("method", index.method), ("protocol", index.protocol)]
    sizes = [("count", str(index.count)), ("size", str(index.size))]
    place = [("dir", index.dir)] if index.dir else []
    if index.exptime is None:
        return [("version", "1"), *fields, ("wait", "0"), *sizes, ("status", "0"), *place]
    return [("version", "0.5"), *fields, *sizes, ("exptime", index.exptime), *place, ("status", "0")]


def _quoted(value: str) -> str:
    return f'"{to_wire(value)}"'


def _row(file: ExportFile) -> str:
    return f"{file.record}\t{file.filename}" if file.filename else file.record


def _processing_lines(steps: Iterable[AppliedStep]) -> Iterator[str]:
    for step in steps:
        yield from ("", f"Processing-step applied: {step.name}", "  argument\t\tvalue", "  --------\t\t-----")
        yield from (f"  {name}\t\t{value}" for name, value in step.arguments)


def _plain_title(index: Finished) -> str:
    return f"</table><p>{_DATA_TITLE}<table>\n" if index.dir else ""


def _processing_html(steps: Iterable[AppliedStep]) -> str:
    parts = ["</table>\n<p><h2><b>Processing Steps</b></h2><p>\n<table>\n"]
    for step in steps:
        parts.append(f"<tr><td><b>{escape(step.name)}</b></td></tr>\n")
        parts.append("<tr><td><b>argument</b></td><td><b>value</b></td></tr>\n")
        parts += [f"<tr><td><b>{escape(k)}</b></td><td>{escape(v)}</td></tr>\n" for k, v in step.arguments]
    return "".join(parts) + f"</table>\n<p>{_DATA_TITLE}\n<table>\n"


def _html_row(index: Finished, file: ExportFile, base: str) -> str:
    shown = escape(file.filename)
    if index.tarfile is None:
        shown = _link("A HREF", base, f"{index.dir}/{file.filename}", file.filename) + "</A>"
    return f"<tr><td>{escape(file.record)}</td><td>{shown}</td></tr>\n"


def _link(tag: str, base: str, path: str, shown: str) -> str:
    return f'<{tag}="{escape(base)}{quote(path, encoding="latin-1", errors="replace")}">{escape(shown)}'


# ---- decoding -----------------------------------------------------------------------------------


def decode_index_json(data: bytes) -> Finished:
    """The index in index.json; UpstreamBroken if it is not one. It says nothing about processing."""
    members = load_object(data)
    fields = {name: str(value) for name, value in members.items() if isinstance(value, (str, int, float))}
    files, request_id = read_files(members), fields.get("requestid", fields.get("reqid", ""))
    _check_id(request_id)
    directory = fields.get("dir", "").rstrip("/")
    for path in (directory, fields.get("tarfile", "")):
        check_path(path, absolute=True)
    for file in files:
        check_path(file.filename, absolute=False)
    index = Finished(
        request_id,
        fields.get("method", ""),
        fields.get("protocol", ""),
        count=read_number(fields, "count", len(files)),
        size=read_number(fields, "size", 0),
        dir=directory,
        files=files,
        keywords=fields.get("keywords"),
        tarfile=fields.get("tarfile"),
        exptime=fields.get("exptime"),
    )
    if index.count > len(files) and index.protocol in ("as-is", "fits"):
        raise UpstreamBroken(f"export {request_id}: {len(files)} rows, but {index.count} files announced")
    return index


def _check_id(text: str) -> None:
    try:
        parse_request_id(text)
    except BadRequest as problem:
        raise UpstreamBroken(f"not a request id: {text!r}") from problem


def check_path(path: str, *, absolute: bool) -> None:
    """Raise UpstreamBroken if ``path`` could lead out of where it belongs, or is relative and must be absolute.

    A bare name, or "", is allowed where there is no file.
    """
    climbs = ".." in path.split("/") or re.search(r"[\x00-\x1f\\]", path) is not None
    if climbs or ("/" in path and path.startswith("/") is not absolute):
        raise UpstreamBroken(f"not a path that an export may name: {path!r}")


def read_files(members: Members) -> tuple[ExportFile, ...]:
    """The rows of ``data``."""
    rows = objects(members, "data")
    return tuple(ExportFile(member(row, "record", str), member(row, "filename", str)) for row in rows)


#: Numbers have fewer digits than one of 64 bits.
_LARGEST = 10**18


def read_number(members: Members, name: str, default: int | None = None) -> int:
    """A number, perhaps written as a string, as all in index.json are; UpstreamBroken if it is not a number."""
    value = members.get(name, default)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGEST:
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,18}(\.[0-9]*)?\s*", value):
        return int(float(value)) if "." in value else int(value)
    raise UpstreamBroken(f"member {name!r}: expected a number, found {value!r}")


@dataclass(frozen=True, slots=True)
class KeywordColumn:
    """A keyword: ``type`` as in series_struct, TBD if it is linked; ``format`` as the series prints it."""

    name: str
    type: str = "string"
    format: str = "%s"


QUERY = KeywordColumn("query")
_UNPRINTABLE = str.maketrans("\t\n\r", "   ")


@dataclass(frozen=True, slots=True)
class KeywordTable:
    """``columns`` without ``query``; ``records`` are record queries, ``rows`` their printed values."""

    columns: tuple[KeywordColumn, ...]
    records: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def encode_keywords(table: KeywordTable) -> bytes:
    """The file, in Latin-1; a tab or new line inside a value becomes a blank."""
    columns = (QUERY, *table.columns)
    head = [[getattr(column, part) for column in columns] for part in ("name", "type", "format")]
    body = [[record, *values] for record, values in zip(table.records, table.rows, strict=True)]
    lines = ["\t".join(cell.translate(_UNPRINTABLE) for cell in line) for line in (*head, *body)]
    return ("\n".join(lines) + "\n").encode("latin-1", "replace")
