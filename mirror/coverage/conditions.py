"""Conditions as one more restriction of coverage: their canonical form, and the boxes that they are about. Pure.

JSOC's answer to ``[? c ?]`` over some boxes is a fact about those boxes: these of their records satisfy c. It serves
every question about c over a part of them. A bracket that compares inexact values, such as a time without slots, is
a condition too, since printed values do not decide it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.claims import whole
from mirror.coverage.plan import Forward, need
from mirror.drms.recordset import (
    FloatRange,
    IntRange,
    KeyFilter,
    RecnumFilter,
    Recnums,
    Text,
    Where,
    WhereFilter,
)

if TYPE_CHECKING:
    from mirror.coverage.coverage import Box
    from mirror.drms.recordset import BoundFilter, RecordSet, Selection
    from mirror.drms.series import Series

#: Quoted text in a condition; DRMS takes a double quote for a single one.
_QUOTED = re.compile(r"""('[^']*'|"[^"]*")""")
#: Other ways to quote, anywhere and outside quotes; a text with any of them is its own canonical form.
_ESCAPED, _INTRICATE = re.compile(r"\\['\"]"), re.compile(r"\$(?!\()|--|/\*|['\"]")
#: Functions whose value differs with each call.
_VOLATILE = re.compile(
    r"\b(now|random\w*|setseed|timeofday|age|nextval|currval|current_\w+|localtime\w*|\w+_timestamp|gen_random\w*|pg_\w+)\b"
)
#: Marks whose meaning depends on which records exist.
_MARKS = re.compile(r"[$^]")


@dataclass(frozen=True, slots=True)
class Condition:
    """The conditions of a selection as one, in canonical form, and the boxes to whose records they apply."""

    key: str
    boxes: tuple[Box, ...]


def condition_of(selection: Selection) -> Condition | None:
    """The condition of a selection without ``^`` and ``$``, with its boxes; None if it has none.

    None also if the boxes may hold other records than those that satisfy the rest of the selection, or if the
    conditions cannot be separated from it.
    """
    conditions = [f for f in selection.filters if is_condition(f)]
    rest = tuple(f for f in selection.filters if not is_condition(f))
    if not conditions or has_marks(selection.source) or any(_escapes(f) for f in selection.source.filters):
        return None
    if any(isinstance(f, RecnumFilter) for f in rest):
        if len(rest) > 1:
            return None
    else:
        filters = [f for f in rest if isinstance(f, KeyFilter)]
        each_once = len({f.key for f in filters}) == len(filters)
        if not each_once or not all(isinstance(t, IntRange | Text) for f in filters for t in f.terms):
            return None
    # The mark of a condition (? or !) says which versions are eligible.
    boxes = need(selection, implied=False)
    if isinstance(boxes, Forward):
        return None
    return Condition(" AND ".join(sorted(map(_text, conditions))), boxes)


def is_condition(f: BoundFilter) -> bool:
    """True if printed values may not decide which records pass the filter."""
    return isinstance(f, WhereFilter) or (
        isinstance(f, KeyFilter) and any(isinstance(term, FloatRange) for term in f.terms)
    )


def answer_key(selection: Selection, n: int | None = None) -> str:
    """The canonical form of a whole question: the same for all its spellings."""
    filters = " ".join(sorted(map(_text, selection.filters)))
    marks = f" of {selection.source}" if has_marks(selection.source) else ""
    return filters + marks + (f" n={n}" if n else "")


def answer_boxes(selection: Selection) -> tuple[Box, ...]:
    """Boxes that hold the records that an answer to a whole question is about, and perhaps others."""
    boxes = need(selection, implied=False)
    return (whole(selection.series),) if isinstance(boxes, Forward) or not boxes else boxes


def has_marks(source: RecordSet) -> bool:
    """True if a bracket may hold ``^`` or ``$``."""
    return any(_MARKS.search(str(f)) for f in source.filters if not isinstance(f, Where))


def is_volatile(key: str) -> bool:
    """True if a question depends on the moment when it is asked, so that no answer can be used again."""
    return _VOLATILE.search(_QUOTED.sub("", key)) is not None


def canonical_text(text: str) -> str:
    """A condition with single blanks and in lower case outside quotes, the same for equivalent spellings."""
    if _is_intricate(text):
        return text.strip()
    parts = _QUOTED.split(text)
    plain = (re.sub(r"\s+", " ", part).lower() if i % 2 == 0 else part for i, part in enumerate(parts))
    return "".join(plain).strip()


def can_be_cut(series: Series) -> bool:
    """True if parts of a region can be requested exactly; not along plain times, which are rounded."""
    axis = coverage_axis(series)
    return axis is None or axis.kind is not Kind.MILLISECONDS


def with_conditions(query: RecordSet, source: RecordSet) -> RecordSet:
    """The record set of a box under the conditions of ``source``."""
    boxes = tuple(f for f in query.filters if not isinstance(f, Where))
    return replace(query, filters=(*boxes, *(f for f in source.filters if isinstance(f, Where))))


def _text(f: BoundFilter) -> str:
    if isinstance(f, WhereFilter):
        mark = "!" if f.all_versions else "?"
        return f"[{mark} {canonical_text(str(f.expr))} {mark}]"
    if isinstance(f, RecnumFilter):
        return str(Recnums(f.ranges))
    return f"[{f.column.lower()}={', '.join(map(repr, f.terms))}]"


def _is_intricate(text: str) -> bool:
    """True if only an SQL parser can tell what is quoted."""
    return _ESCAPED.search(text) is not None or _INTRICATE.search(_QUOTED.sub("", text)) is not None


def _escapes(f: object) -> bool:
    """True for a condition that may close a parenthesis it did not open: at JSOC it then affects the other filters."""
    if not isinstance(f, Where):
        return False
    depth = 0
    for mark in re.findall(r"[()]", _QUOTED.sub("", f.text)):
        depth += 1 if mark == "(" else -1
        if depth < 0:
            return True
    return depth != 0 or _is_intricate(f.text)
