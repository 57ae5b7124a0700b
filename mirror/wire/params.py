"""Parameters of a CGI program: query strings and form bodies, both directions.

Everything is Latin-1, one character per byte: UTF-8 from a client arrives as the bytes that the database holds.
A name that is given twice has its last value. The programs read C strings, which end at a NUL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote_plus, unquote_to_bytes

import numpy as np

from mirror.errors import BadRequest

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
#: Most parameters of a query string or a form.
MOST_PARAMETERS = 1000
#: Most parts of a multipart body, bytes of the headers of each part, and of the boundary between them.
_MOST_PARTS, _LONGEST_HEAD, _LONGEST_BOUNDARY = 200, 512, 100
_NOT_ENCODED = ("", "7bit", "8bit", "binary")
_PARAMETER = re.compile(
    r'[; \t]*(?P<name>[^=;" \t]+)=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^;"]*))[ \t]*(?:;|$)'
)
_ESCAPED = re.compile(r"\\(.)")
#: Texts from this length on are unescaped all at once.
_LONG = 4096
_HEX = np.full(256, 255, dtype=np.uint8)
_HEX[np.frombuffer(b"0123456789abcdefABCDEF", dtype=np.uint8)] = [*range(16), *range(10, 16)]


def decode_params(query: str | bytes) -> dict[str, str]:
    """The parameters of a query string (without ``?``) or of a form body, by name.

    A percent sign that two hex digits do not follow is itself; a name without ``=`` has the value "".
    BadRequest if ``query`` has a character outside Latin-1, or more parameters than anybody needs.
    """
    text = _latin1(query)
    _refuse_many(text.count("&") + 1)
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return {_cut(_unquoted(name)): _cut(_unquoted(value)) for name, _, value in pairs}


def decode_body(body: bytes, content_type: str = FORM) -> dict[str, str]:
    """The parameters of a POST, as a form or as multipart/form-data (``curl -F``); else BadRequest."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in ("", FORM):
        return decode_params(body.rstrip(b"\r\n"))
    if kind == MULTIPART:
        return {_cut(name): _cut(value) for name, value in _parts(body, content_type)}
    raise BadRequest(f"a POST of type {kind!r} is not read; expected {FORM} or {MULTIPART}")


def encode_params(params: Mapping[str, str]) -> str:
    """A query string or form body, in the order of ``params``; BadRequest outside Latin-1."""
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in params.items())


def unescape_again(value: str) -> str:
    """A value of ``key``, ``seg`` or ``link``, which the server decodes once more: ``%2C`` is a comma."""
    return _unescaped(value.encode("latin-1")).decode("latin-1") if "%" in value else value


def _latin1(query: str | bytes) -> str:
    if isinstance(query, bytes):
        return query.decode("latin-1")
    _refuse_beyond_latin1(query)
    return query


def _refuse_beyond_latin1(text: str) -> None:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError as problem:
        found = text[problem.start]
        raise BadRequest(
            f"character {found!a} at {problem.start} is not Latin-1; expected text of U+0000 to U+00FF"
        ) from problem


def _unquoted(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    return _unescaped(text.replace("+", " ").encode("latin-1")).decode("latin-1")


def _unescaped(text: bytes) -> bytes:
    """As ``unquote_to_bytes``, which takes half a second for a megabyte of percent signs."""
    if len(text) < _LONG:
        return unquote_to_bytes(text)
    given = np.frombuffer(text, dtype=np.uint8)
    high, low = _HEX[given[1:-1]], _HEX[given[2:]]
    (escapes,) = np.nonzero((given[:-2] == ord("%")) & (high < 16) & (low < 16))
    made, kept = given.copy(), np.ones(len(given), dtype=bool)
    made[escapes] = high[escapes] << 4 | low[escapes]
    kept[escapes + 1] = kept[escapes + 2] = False
    return made[kept].tobytes()


def _quoted(text: str) -> str:
    _refuse_beyond_latin1(text)
    return quote_plus(text, safe="", encoding="latin-1")


def _cut(text: str) -> str:
    """What a C program sees of a text: the part before the first NUL."""
    return text.partition("\0")[0]


def _refuse_many(count: int) -> None:
    if count > MOST_PARAMETERS:
        raise BadRequest(f"there are {count:,} parameters; expected at most {MOST_PARAMETERS:,}")


def _parts(body: bytes, content_type: str) -> Iterator[tuple[str, str]]:
    """Name and value of each part (RFC 7578), in time linear in the body, unlike the parsers for e-mail."""
    _refuse_beyond_latin1(content_type)
    boundary = _parameters(content_type.partition(";")[2]).get("boundary", "")
    if not boundary or len(boundary) > _LONGEST_BOUNDARY:
        raise BadRequest("a multipart body without its boundary; expected one in the header Content-Type")
    delimiter = b"\r\n--" + boundary.encode("latin-1")
    if body.count(delimiter) > _MOST_PARTS:
        raise BadRequest(f"there are {body.count(delimiter):,} parts; expected at most {_MOST_PARTS}")
    _, *pieces = (b"\r\n" + body).split(delimiter)
    for piece in pieces:
        if piece.startswith(b"--"):
            return
        line, _, part = piece.partition(b"\r\n")
        if line.strip(b" \t"):
            raise BadRequest(f"a part of the multipart body begins with {line[:40]!r}; expected the end of a line")
        yield _part(part)
    raise BadRequest("a multipart body without its end; expected the parts that its header announces")


def _part(part: bytes) -> tuple[str, str]:
    # A part without headers begins with the empty line that ends them.
    head, end, content = (b"\r\n" + part).partition(b"\r\n\r\n")
    if not end or len(head) > _LONGEST_HEAD:
        raise BadRequest(f"a part without the end of its headers; expected at most {_LONGEST_HEAD:,} bytes of them")
    name = ""
    for line in head.decode("latin-1").split("\r\n"):
        header, _, value = line.partition(":")
        if header.strip().lower() == "content-disposition":
            name = _parameters(value.partition(";")[2]).get("name", "")
        elif header.strip().lower() == "content-transfer-encoding" and value.strip().lower() not in _NOT_ENCODED:
            raise BadRequest(f"a part is encoded as {value.strip()[:40]!r}; expected it as it is")
    return name, content.decode("latin-1")


def _parameters(text: str) -> dict[str, str]:
    """The parameters of a header, ``a=b; c="d"``, by lower-case name, up to the first invalid one."""
    found: dict[str, str] = {}
    position = 0
    while match := _PARAMETER.match(text, position):
        plain, quoted = match["plain"], match["quoted"]
        found.setdefault(match["name"].lower(), plain if quoted is None else _ESCAPED.sub(r"\1", quoted))
        position = match.end()
    return found
