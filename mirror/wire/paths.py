"""Request paths as JSOC's web server (Apache httpd) reads them: one spelling for each, and which of them run programs.

Whatever is decided by a path (role, route, turn) is decided by its ``normal_path``, and the same text goes on to JSOC:

1. Escapes are read once. ``%5f`` is ``_``, and whatever must be escaped is escaped in upper case.
2. Repeated slashes count as one, ``.`` is dropped, ``..`` removes the segment before it.
3. What follows the name of a program of ours (``/cgi-bin/ajax/jsoc_info/more``, ``/cgi-bin/jsocextinfo/more``) is
   dropped: Apache runs the program.
4. What servers and gateways interpret differently is refused: an escaped slash, a backslash, a semicolon, a control
   character, an escape within an escape; ``..`` after an empty segment, above the root, or back to it.

``normal_path(normal_path(x)) == normal_path(x)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote, unquote_to_bytes

from mirror.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

#: The host names of JSOC's server; all of them lead to the same archive.
JSOC_HOSTS = frozenset({"jsoc.stanford.edu", "jsoc1.stanford.edu", "jsoc2.stanford.edu"})
#: The folder of the programs that the mirror answers itself, and their names.
CGI = "/cgi-bin/ajax/"
PROGRAMS = frozenset(
    {"jsoc_info", "jsoc_fetch", "show_series", "showextseries", "checkAddress.sh", "show_info"}
)
#: Other names of programs: wrappers that take ``dbhost`` as well, and answer as the program does.
EXTERNAL = {"jsocextinfo": "jsoc_info", "jsocextfetch": "jsoc_fetch", "showextinfo": "show_info"}
#: Every path of such a program, with the program's name.
PROGRAM_PATHS = {
    folder + name: program
    for folder in (CGI, "/cgi-bin/")
    for name, program in {**{name: name for name in sorted(PROGRAMS)}, **EXTERNAL}.items()
}

#: Characters that need no escape in a path, besides letters and digits. The semicolon is refused.
_LITERAL = "-._~!$&'()*+,=:@"
#: A path that is obviously its own normal form, as most are.
_PLAIN = re.compile(r"(?:/(?!\.{0,2}(?:/|$))[A-Za-z0-9._~!$&'()*+,=:@-]+)+")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: Most characters of a path, far more than any has, and of one repeated in an error.
LONGEST, _SHOWN = 8000, 100
#: Parts of the names of programs that make exports, in any folder.
_EXPORTERS = ("jsoc_fetch", "jsocextfetch", "jsoc_export", "drms_export", "showextinfo", "export_request")


def normal_path(path: str, ours: AbstractSet[str] = frozenset()) -> str:
    """The one spelling of a path, which starts with ``/`` and has no query; BadRequest for an ambiguous one.

    Below a first segment of ``ours``, where JSOC is never asked, a name may have any character, escaped.
    """
    if len(path) > LONGEST:
        raise _refused(path, f"is longer than {LONGEST} characters")
    if _PLAIN.fullmatch(path) is None:
        path = _spelled_once(path, ours)
    return _of_program(path) if path.startswith("/cgi-bin/") else path


def _of_program(path: str) -> str:
    """The path, cut after the name of a program of ours."""
    segments = path.split("/")
    starts = ("/".join(segments[:length]) for length in (3, 4))
    return next((start for start in starts if start in PROGRAM_PATHS), path)


def is_program(path: str) -> bool:
    """Whether a path in its normal form may run a program at JSOC, which may make an export."""
    return any(_is_of_program(unquote(segment).lower()) for segment in path.split("/"))


def _is_of_program(segment: str) -> bool:
    return segment.startswith("cgi") or ".cgi" in segment or any(name in segment for name in _EXPORTERS)


def _spelled_once(path: str, ours: AbstractSet[str]) -> str:
    if not path.startswith("/"):
        raise _refused(path, "does not start with a slash")
    if _BROKEN_ESCAPE.search(path):
        raise _refused(path, "has a percent sign without two hexadecimal digits")
    data = [unquote_to_bytes(text.encode("utf-8", "surrogateescape")) for text in path[1:].split("/")]
    segments = [quote_from_bytes(each, safe=_LITERAL) for each in data]
    found = _resolved(path, segments, merge=True)
    if ".." in segments and found != [s for s in _resolved(path, segments, merge=False) if s]:
        raise _refused(path, "goes up from an empty segment")
    if not found and {".", ".."} & set(segments):
        raise _refused(path, "goes back to the root")
    if not found or found[0] not in ours:
        _check(path, data)
    folder = "/" if found and segments[-1] in ("", ".", "..") else ""
    return "/" + "/".join(found) + folder


def _check(path: str, segments: Iterable[bytes]) -> None:
    """Refuse what is interpreted differently."""
    for segment in segments:
        if (odd := _ODD.search(segment)) is not None:
            raise _refused(path, f"has {_ODDITIES.get(odd[0], 'a control character')}")


_ODD = re.compile(rb"[/\\;\x00-\x1f\x7f]|%(?=[0-9A-Fa-f]{2})")
_ODDITIES = {
    b"/": "an escaped slash", b"\\": "a backslash", b";": "a semicolon", b"%": "an escape within an escape",
}  # fmt: skip


def _resolved(path: str, segments: Iterable[str], *, merge: bool) -> list[str]:
    """The segments without dots; with ``merge`` empty ones are dropped, else ``..`` removes them like any other."""
    found: list[str] = []
    for segment in segments:
        if segment == "..":
            if not found:
                raise _refused(path, "goes above the root")
            found.pop()
        elif segment != "." and not (merge and segment == ""):
            found.append(segment)
    return found


def _refused(path: str, reason: str) -> BadRequest:
    shown = path if len(path) <= _SHOWN else path[:_SHOWN] + "..."
    return BadRequest(
        f"the path {shown!a} {reason}; expected one such as {CGI}jsoc_info, with each escape and slash written once"
    )


# ---- files of storage units ----------------------------------------------------------------------
# ``/SUM12/D123456789/S00000/image.fits``.
#
# The unit's number, the slot and the file's name identify the content for good. ``SUM12`` is the disk on which
# the unit lies at the moment; it changes when a unit comes back from tape, so it identifies nothing.

_PATH = re.compile(r"/(SUM\d{0,9})/D(\d{1,18})/S(\d{1,9})/([^\0]+)", re.ASCII)
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True, order=True)
class UnitFile:
    """A file of a storage unit; ``file`` may lie in folders below the slot's."""

    sunum: int
    slot: int
    file: str

    def path(self, disk: str = "SUM0") -> str:
        """Its path on a disk."""
        return f"/{disk}/D{self.sunum}/S{self.slot:05d}/{self.file}"

    def __str__(self) -> str:
        """Its path without the disk."""
        return f"/D{self.sunum}/S{self.slot:05d}/{self.file}"


def unit_file(path: str) -> UnitFile | None:
    """The file that a path names, whatever the disk; None if it is no path of a unit's file.

    Paths with ``..``, empty parts or control characters are not.
    """
    found = _PATH.fullmatch(path)
    if found is None or not all(is_plain(part) for part in found[4].split("/")):
        return None
    return UnitFile(int(found[2]), int(found[3]), found[4])


def disk_of(path: str) -> str:
    """The disk in a path of a storage unit, such as ``SUM12``; empty if it is no such path."""
    found = _PATH.fullmatch(path)
    return found[1] if found else ""


def is_plain(name: str) -> bool:
    """True for the name of one file or folder that stays where it is put."""
    safe = name.isprintable() and not any(c in name for c in "/\\") and name not in {"", ".", ".."}
    return safe and len(name.encode(errors="replace")) <= _LONGEST_NAME
