"""Parameters of a CGI program: query strings and form bodies, both directions.

Everything is Latin-1, one character a byte: UTF-8 that a client sends arrives as the bytes that the
database holds. A name that is given twice has its last value. The programs read C strings: what follows
a NUL is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from urllib.parse import quote_plus, unquote_to_bytes

from mirror.drms.errors import BadRequest

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


def decode_params(query: str | bytes) -> dict[str, str]:
    """The parameters of a query string (without ``?``) or of a form body, by name.

    A percent sign that two hex digits do not follow is itself; a name without ``=`` has the value "".
    BadRequest if ``query`` has a character outside Latin-1.
    """
    pairs = (pair.partition("=") for pair in _latin1(query).split("&") if pair)
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
    """What the server makes of ``key``, ``seg`` and ``link``, which it decodes once more: ``%2C`` is a comma."""
    return unquote_to_bytes(value.encode("latin-1")).decode("latin-1") if "%" in value else value


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
    return unquote_to_bytes(text.replace("+", " ").encode("latin-1")).decode("latin-1")


def _quoted(text: str) -> str:
    _refuse_beyond_latin1(text)
    return quote_plus(text, safe="", encoding="latin-1")


def _cut(text: str) -> str:
    """What a C program sees of a text: nothing from its first NUL on."""
    return text.partition("\0")[0]


def _parts(body: bytes, content_type: str) -> Iterator[tuple[str, str]]:
    """Name and value of each part; the e-mail parser of the standard library knows the format."""
    _refuse_beyond_latin1(content_type)
    head = f"Content-Type: {content_type}\r\n\r\n".encode("latin-1")
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    if not message.is_multipart():
        raise BadRequest(
            "a multipart body without its boundary; expected the parts that its header announces"
        )
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        yield (name if isinstance(name, str) else ""), _content(part)


def _content(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode("latin-1") if isinstance(payload, bytes) else ""
