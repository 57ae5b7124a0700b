"""A table for people, as lines of text that fit a terminal.

A search may have thousands of rows of a hundred columns, so each value is converted to text once, and measured only if
it is not plain ASCII. If the table does not fit, wide columns are cut, then whole columns left out, and the caller can
say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Between two columns, and before the first.
GAP, EDGE = "   ", " "
#: A column is not cut to fewer characters than this to make room for another.
NARROW = 24
CUT = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, and the text of each row; numbers are right-aligned."""

    name: str
    values: Sequence[str]
    numeric: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """Lines of text, and how many columns there was no room for."""

    lines: list[str]
    hidden: int


def drawn(columns: Sequence[Column], room: int | None) -> Drawn:
    """The columns side by side in ``room`` characters; all of each where that is None."""
    texts = [[_one_line(text) for text in (c.name, *c.values)] for c in columns]
    widths = [max(map(_width, column)) for column in texts]
    shown = fitted(widths, room)
    cells = [
        [_padded(text, width, right=column.numeric) for text in column_texts]
        for column, column_texts, width in zip(columns, texts, shown, strict=False)
    ]
    rule = EDGE + "─" * (sum(shown) + len(GAP) * (len(shown) - 1))
    head, *rows = ((EDGE + GAP.join(row)).rstrip() for row in zip(*cells, strict=True))
    return Drawn([head, rule, *rows], len(columns) - len(shown))


def fitted(widths: Sequence[int], room: int | None) -> list[int]:
    """The widths of the first columns that fit into ``room``, at least one; wide ones are cut first."""
    if room is None:
        return list(widths)
    kept, taken = 0, len(EDGE) - len(GAP)
    for width in widths:
        taken += len(GAP) + min(width, NARROW)
        if taken > room and kept:
            break
        kept += 1
    return _levelled(widths[:kept], max(room - len(EDGE) - len(GAP) * (kept - 1), kept))


def _levelled(widths: Sequence[int], free: int) -> list[int]:
    """The widths, the widest cut to one level, so that together they are at most ``free``."""
    low, high = 1, max(widths)
    while low < high:  # the highest level that fits
        level = (low + high + 1) // 2
        low, high = (level, high) if sum(min(w, level) for w in widths) <= free else (low, level - 1)
    left = free - sum(min(w, low) for w in widths)
    shown = []
    for width in widths:
        more = int(width > low and left > 0)
        shown.append(min(width, low) + more)
        left -= more
    return shown


def _one_line(text: str) -> str:
    """A text without line ends and terminal control characters."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415  (few values need it)

    return cell_len(text)


def _padded(text: str, width: int, *, right: bool) -> str:
    if text.isascii():
        cut = text if len(text) <= width else text[: width - 1] + CUT
        return cut.rjust(width) if right else cut.ljust(width)
    from rich.cells import set_cell_size  # noqa: PLC0415  (the same)

    length = _width(text)
    if length > width:
        return set_cell_size(text, width - 1) + CUT
    return " " * (width - length) + text if right else text + " " * (width - length)
