"""What a run says about its failures: each at its very end, by name and in short.

Whoever sees only the last lines of a long output, as on a server that tests for others, sees which test failed, and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from _pytest._code.code import ExceptionChainRepr, ReprEntry
from _pytest._io.saferepr import saferepr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pytest

#: Characters of a line in a failure's report, and lines of each of its steps.
WIDTH, HEIGHT = 300, 80
#: Characters of a test's name, and of the reason, in the list at the end.
NAME, REASON = 200, 200
#: Characters of two values that are compared, beyond which their differences are not looked for: that takes minutes.
LARGE = 100_000
#: Characters of a parameter that are part of a test's name.
PARAMETER = 60


def cut(text: str, most: int) -> str:
    """A text of at most so many characters, then how many there were."""
    return printable(text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)")


def printable(text: str) -> str:
    """The text, with escapes where it is none, as in names of files: a worker's report must be text."""
    return text.encode("utf-8", "backslashreplace").decode()


def shorten(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Leave out of a failure's report what makes it longer than a screen or two: bytes of files, differences of such."""
    told = report.longrepr
    if not isinstance(told, ExceptionChainRepr):
        return
    for traceback, place, _ in told.chain:
        if place is not None:
            place.message = "\n".join(_lines(place.message.splitlines()))
        for entry in traceback.reprentries:
            if isinstance(entry, ReprEntry):
                entry.lines[:] = _lines(entry.lines)


def _lines(lines: Sequence[str]) -> list[str]:
    kept = [cut(line, WIDTH) for line in lines]
    if len(kept) > HEIGHT:
        half = HEIGHT // 2
        kept[half:-half] = [f"... ({len(kept) - HEIGHT} lines)"]
    return kept


def in_short(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> Iterator[str]:
    """A line for each report of a failure: which test, and the first line of the reason."""
    for report in reports:
        told = report.longrepr
        place = told.reprcrash if isinstance(told, ExceptionChainRepr) else None
        reason = str(told) if place is None else place.message
        where = "" if getattr(report, "when", "call") == "call" else f" ({getattr(report, 'when', None) or 'collecting'})"
        first = next((line for line in reason.splitlines() if line.strip()), "no reason given")
        yield f"FAILED {cut(report.nodeid, NAME)}{where}: {cut(first.strip(), REASON)}"


def briefly(compare: Callable[[str, object, object], str | None]) -> Callable[[str, object, object], str | None]:
    """``compare`` for values whose differences can be read; others are only told as they begin and end."""

    def told(op: str, left: object, right: object) -> str | None:
        if _size(left) + _size(right) <= LARGE:
            return compare(op, left, right)
        return f"{saferepr(left, REASON)} {op} {saferepr(right, REASON)}"

    return told


def _size(value: object, depth: int = 20) -> int:
    """How many characters a value has, about; no more than LARGE are counted."""
    if isinstance(value, str | bytes | bytearray):
        return len(value)
    parts = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    if not depth or not isinstance(parts, list | tuple | set | frozenset):
        return 1
    size = len(parts)
    for part in parts:
        if size > LARGE:
            break
        size += _size(part, depth - 1)
    return size


def parameter_id(value: object) -> str | None:
    """How a long parameter is named: by how it begins, and its length; None for others."""
    if not isinstance(value, str | bytes) or len(value) <= PARAMETER:
        return None
    start = value[:PARAMETER]
    return f"{start if isinstance(start, str) else start.decode('latin-1')}...{len(value)}"
