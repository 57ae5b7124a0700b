"""Checks whether a file came completely: FITS by its structure, that is headers and the lengths that they state.

Pure except for ``file_problem``, which reads: a check gets a function that returns bytes at an offset, and reads
only headers, so that 12 MB take a millisecond. Problems are texts that read well after the file's name; None means
that nothing is wrong.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mirror.errors import explained

#: Gives up to ``count`` bytes from ``offset``: Read(offset, count).
Read = Callable[[int, int], bytes]

BLOCK = 2880
CARD = 80
#: More header blocks than any telescope's file has; a broken one must not be read for ever.
_MOST_BLOCKS = 4096
_MOST_PADDING = 100 * BLOCK
_FITS_NAMES = (".fits", ".fit", ".fts")
_PAGE_NAMES = (".html", ".htm", ".xhtml")
_DATA_NAMES = frozenset(
    {*_FITS_NAMES, ".jpg", ".jpeg", ".png", ".gif", ".tif", ".tiff", ".mp4", ".mpg", ".mov", ".txt", ".dat", ".csv", ".gz", ".tar", ".pdf"}
)
_NO_PAGE = "it is a web page (HTML), perhaps an error message of a gateway"
_PAGE = re.compile(rb"\s*(<!doctype|<html|<head|<body|<\?xml[^>]*>\s*<!doctype html)", re.IGNORECASE)
_TEXT = re.compile(rb"= *'((?:[^']|'')*)'")
_WORD = re.compile(rb"= *([^ /]+)")
_INTEGER = re.compile(rb"= +([-+]?\d{1,18}) *(/.*)?")


def file_problem(path: Path, name: str) -> str | None:
    """What is wrong with the file at ``path``, which should be ``name``: FITS if that ends so, or anything else."""
    check = fits_problem if PurePosixPath(name.lower()).suffix in _FITS_NAMES else plain_problem
    return _read_file(path, lambda read, size: check(read, size, name))


def page_problem(path: Path, name: str) -> str | None:
    """What is wrong with a web server's file: a page in place of what its name says is data."""
    data = PurePosixPath(name.lower()).suffix in _DATA_NAMES
    return _read_file(path, lambda read, _: _NO_PAGE if data and _PAGE.match(read(0, 512)) else None)


def plain_problem(read: Read, size: int, name: str = "") -> str | None:
    """What is wrong with a file that may be anything: it is empty, or a web page where none was asked for."""
    if size == 0:
        return "it is empty"
    if not name.lower().endswith(_PAGE_NAMES) and _PAGE.match(read(0, 512)):
        return _NO_PAGE
    return None


def fits_problem(read: Read, size: int, name: str = "") -> str | None:
    """What is wrong with ``size`` bytes that should be a FITS file: with a header, or with the data that it states."""
    problem = plain_problem(read, size)
    if problem is not None:
        return problem
    if read(0, 9) != b"SIMPLE  =":
        return f"it is not FITS: it begins with {_shown(read(0, 24))} instead of SIMPLE"
    try:
        return None if sum(unit.length for unit in units(read, size)) else "it has headers only, and no data; was it cut short?"
    except NotWhole as found:
        return str(found)


class NotWhole(Exception):
    """The problem found while going through the units of a file."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A header with its data: the cards by keyword (the first of each name), and where its data lie in the file."""

    number: int
    cards: Mapping[bytes, bytes]
    start: int
    length: int

    @property
    def where(self) -> str:
        """How to name it in a message."""
        return f"HDU {self.number}"

    def integer(self, keyword: str, default: int | None = None) -> int:
        """An integer; NotWhole if it is not one, or is missing and has no default."""
        return _integer(self.cards, keyword.encode(), self.where, default)

    def text(self, keyword: str) -> str | None:
        """A text, or any other value as written; None if it is missing."""
        card = self.cards.get(keyword.encode())
        if card is None:
            return None
        found = _TEXT.match(card) or _WORD.match(card)
        return None if found is None else found[1].decode("ascii", "replace").rstrip()


def units(read: Read, size: int) -> Iterator[Unit]:
    """The headers of a file of ``size`` bytes, one after the other; NotWhole if one or its data are incomplete."""
    at = number = 0
    while at < size and not (number and _is_padding(read, at, size)):
        where = f"HDU {number}"
        cards, start = _header(read, at, size, where)
        length = _data_length(cards, where)
        at = start + -(-length // BLOCK) * BLOCK
        if at > size:
            raise NotWhole(f"it is cut short: {where} ends at byte {at}, the file at byte {size}")
        yield Unit(number, cards, start, length)
        number += 1


def _header(read: Read, at: int, size: int, where: str) -> tuple[dict[bytes, bytes], int]:
    """The cards of a header by keyword (the first of each name), and the offset of its data."""
    cards: dict[bytes, bytes] = {}
    for n in range(_MOST_BLOCKS):
        block = read(at + n * BLOCK, BLOCK)
        if len(block) < BLOCK:
            raise NotWhole(f"it is cut short: the header of {where} has no end before byte {size}")
        for i in range(0, BLOCK, CARD):
            card = block[i : i + CARD]
            if not all(32 <= byte < 127 for byte in card[:8]):
                raise NotWhole(f"card {n * 36 + i // CARD + 1} of {where} is not text: {_shown(card[:24])}")
            keyword = card[:8].rstrip()
            if keyword == b"END":
                return cards, at + (n + 1) * BLOCK
            cards.setdefault(keyword, card[8:])
    raise NotWhole(f"the header of {where} has no END in {_MOST_BLOCKS} blocks")


def _data_length(cards: Mapping[bytes, bytes], where: str) -> int:
    """Bytes of data that a header states, without padding."""
    bits = _integer(cards, b"BITPIX", where)
    if bits not in {8, 16, 32, 64, -32, -64}:
        raise NotWhole(f"{where} has BITPIX {bits}")
    axes = _integer(cards, b"NAXIS", where)
    if not 0 <= axes <= 999:
        raise NotWhole(f"{where} has NAXIS {axes}")
    lengths = [_integer(cards, b"NAXIS%d" % n, where) for n in range(1, axes + 1)]
    if min(lengths, default=0) < 0:
        raise NotWhole(f"{where} has a negative axis: {lengths}")
    if not lengths:
        return 0
    groups = lengths[0] == 0 and cards.get(b"GROUPS", b"").strip(b"= ")[:1] == b"T"
    values = 1
    for length in lengths[1:] if groups else lengths:
        values *= length
    more, times = _integer(cards, b"PCOUNT", where, 0), _integer(cards, b"GCOUNT", where, 1)
    if more < 0 or times < 0:
        raise NotWhole(f"{where} has PCOUNT {more}, GCOUNT {times}")
    return abs(bits) // 8 * times * (more + values)


def _integer(cards: Mapping[bytes, bytes], keyword: bytes, where: str, default: int | None = None) -> int:
    card = cards.get(keyword)
    if card is None and default is not None:
        return default
    found = None if card is None else _INTEGER.fullmatch(card.rstrip())
    if found is None:
        what = "no" if card is None else "an unreadable"
        raise NotWhole(f"{where} has {what} {keyword.decode()}")
    return int(found[1])


def _is_padding(read: Read, at: int, size: int) -> bool:
    """False if an extension begins at ``at``, True if nothing but padding is left."""
    if read(at, 9) == b"XTENSION=":
        return False
    rest = read(at, min(size - at, _MOST_PADDING))
    if len(rest) == size - at and not rest.strip(b"\0 "):
        return True
    what = f"{size - at} bytes follow its last HDU at byte {at}"
    raise NotWhole(f"{what}, which are no extension: {_shown(rest[:24])}")


def _read_file(path: Path, check: Callable[[Read, int], str | None]) -> str | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return check(lambda offset, count: os.pread(fd, count, offset), os.fstat(fd).st_size)
        finally:
            os.close(fd)
    except OSError as error:
        return f"it cannot be read: {explained(error)}"


def _shown(data: bytes) -> str:
    return repr(data.decode("ascii", "replace"))
