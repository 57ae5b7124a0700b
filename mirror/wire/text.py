r"""Wire text: a value as the characters between the quotes of a JSON answer.

Values travel through the mirror in this form, so that an answer is made by joining and not by escaping.
The rules are those of the real server: a slash is written ``\/``, a control character ``\b \f \n \r \t``
or ``\u00xx``, and everything from 0x20 up unchanged, including DEL and the upper half of Latin-1.

``tabbed`` lays out JSON like the real server's formatted answers: a tab per level, a new line after every comma.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from mirror.errors import UpstreamBroken

_TWO_CHARACTERS = {
    '"': '\\"',
    "\\": "\\\\",
    "/": "\\/",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
}
# An answer is Latin-1: characters above it are escaped too. The real server never has any.
_IN_VALUE = re.compile(r'["\\/\x00-\x1f]|[^\x00-\xff]')
_IN_NAME = re.compile(r'["\\\x00-\x1f]|[^\x00-\xff]')


def to_wire(value: str) -> str:
    """The wire text of ``value``; the result can always be encoded as Latin-1."""
    return value if _IN_VALUE.search(value) is None else _IN_VALUE.sub(_escaped, value)


def name_to_wire(name: str) -> str:
    """The wire text of a name, which the server echoes as typed: a slash stays a slash.

    The real server escapes nothing here, and its answer cannot be parsed if the name has a quote;
    we escape what JSON requires.
    """
    return name if _IN_NAME.search(name) is None else _IN_NAME.sub(_escaped, name)


def from_wire(text: str) -> str:
    """The value that ``text`` stands for; UpstreamBroken if it is not wire text."""
    if "\\" not in text and '"' not in text:
        return text
    try:
        # strict=False: a control character that was not escaped is itself.
        value: str = json.loads(f'"{text}"', strict=False)
    except ValueError as problem:
        raise UpstreamBroken(f"not the inside of a JSON string: {text!r}") from problem
    return value


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    return _TWO_CHARACTERS.get(character) or "".join(f"\\u{unit:04x}" for unit in _utf16(character))


def _utf16(character: str) -> list[int]:
    """The UTF-16 code units of one character: two above U+FFFF."""
    pairs = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(pairs[i : i + 2]) for i in range(0, len(pairs), 2)]


# ---- JSON answers whose strings stay wire text --------------------------------------------------

_DOUBLED = {ord('"'): b'\\"', ord("\\"): b"\\\\"}
_ESCAPE = re.compile(rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})')


def keep_escapes(data: bytes) -> bytes:
    """``data`` with every escape escaped, so that a JSON parser yields strings as wire text.

    What is not a JSON escape is left alone, for the parser to refuse.
    """
    # Nearly all answers escape nothing but slashes, and one character is the fastest to replace.
    if data.count(b"\\/") == data.count(b"\\"):
        return data.replace(b"\\", b"\\\\")
    return _ESCAPE.sub(_escape_again, data)


def _escape_again(found: re.Match[bytes]) -> bytes:
    return b"".join(_DOUBLED.get(byte, bytes([byte])) for byte in found[0])


#: Finished JSON text, or a list or object of such.
Node = str | Sequence["Node"] | Mapping[str, "Node"]


def tabbed(node: Node, level: int = 0) -> str:
    """The JSON text of ``node``; its first line continues the caller's."""
    outer, inner = "\n" + "\t" * level, "\n" + "\t" * (level + 1)
    if isinstance(node, str):
        return node
    if isinstance(node, Mapping):
        return "{" + ",".join(f'{inner}"{k}": {tabbed(v, level + 1)}' for k, v in node.items()) + outer + "}"
    # A list adds no level: its items are indented like the member that has it.
    return "[" + ("," + outer).join(tabbed(item, level) for item in node) + "]"
