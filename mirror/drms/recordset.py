"""Record sets as values: first as written (syntax), then as bound to a series (selection).

Grammar, one line per rule, as the server reads it (``drms_names.c``):

    query     = set { ("," | ";") set }
    set       = series { filter } [ "{" segment { "," segment } "}" ]
    filter    = "[" [ key "=" ] values "]"         a prime key, by position or by name
              | "[?" where "?]" | "[!" where "!]"  a condition; with "!" on all versions
              | "[:" recnum-ranges "]"             records by number

The text inside the brackets of a prime key can only be read with the key's type, so the syntax
tree keeps it (``Bracket.text``), and ``mirror.drms.selection.bind`` turns it into terms.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from mirror.drms.series import Series
    from mirror.drms.where import Expr

# ---- syntax ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bracket:
    """``[text]`` or ``[key=text]``; ``text`` is "" for an empty bracket. Blanks are kept: they are significant."""

    text: str
    key: str | None = None
    position: int = field(default=0, compare=False)  #: offset of ``text`` in the query

    def __str__(self) -> str:
        return f"[{self.text}]" if self.key is None else f"[{self.key}={self.text}]"


@dataclass(frozen=True, slots=True)
class Where:
    """``[? text ?]``, or ``[! text !]`` when ``all_versions``."""

    text: str
    all_versions: bool = False
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        mark = "!" if self.all_versions else "?"
        return f"[{mark} {self.text} {mark}]"


@dataclass(frozen=True, slots=True)
class RecnumRange:
    """``#first``, ``#first-#last``, ``#first/count``, each with ``@step``; None is an open end.

    ``first`` may be "^" and ``last`` "$" (``[:#^]``, ``[:#$]`` are first == last == "^" or "$").
    """

    first: int | Literal["^", "$"] | None
    last: int | Literal["^", "$"] | None
    step: int = 1


@dataclass(frozen=True, slots=True)
class Recnums:
    """``[:#1,#5-#9]``."""

    ranges: tuple[RecnumRange, ...]
    position: int = field(default=0, compare=False)

    def __str__(self) -> str:
        return "[:" + ",".join(map(_recnum_text, self.ranges)) + "]"


def _recnum_text(r: RecnumRange) -> str:
    first, last = ("" if x is None else x for x in (r.first, r.last))
    text = f"#{first}" if r.first == r.last and r.first is not None and r.step == 1 else f"#{first}-#{last}"
    return text if r.step == 1 else f"{text}@{r.step}"


Filter = Bracket | Where | Recnums


@dataclass(frozen=True, slots=True)
class RecordSet:
    """One set: a series, its filters in order, and the segments named in braces (None: no braces)."""

    series: str
    filters: tuple[Filter, ...] = ()
    segments: tuple[str, ...] | None = None

    def __str__(self) -> str:
        braces = "" if self.segments is None else "{" + ",".join(self.segments) + "}"
        return self.series + "".join(map(str, self.filters)) + braces


@dataclass(frozen=True, slots=True)
class RecordSetQuery:
    """Sets in the order they were written; ``str()`` of it parses to an equal query."""

    sets: tuple[RecordSet, ...]

    def __str__(self) -> str:
        return ",".join(map(str, self.sets))


# ---- bound to a series ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IntRange:
    """Slots or integers first..last, both included, every ``step``-th from ``first``; None is open.

    With an open ``first`` and a step other than 1, counting starts at the first existing record.
    """

    first: int | None
    last: int | None
    step: int = 1


@dataclass(frozen=True, slots=True)
class FloatRange:
    """Values of an unslotted float, double or time prime key; ``open_end`` excludes ``last``."""

    first: float | None
    last: float | None
    open_end: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A string prime key equal to ``value``."""

    value: str


@dataclass(frozen=True, slots=True)
class Extreme:
    """``^`` (first) or ``$`` (last) of the key, among the rows that the earlier filters leave.

    In the first filter of a set it is the extreme of the whole series.
    """

    last: bool


Term = IntRange | FloatRange | Text | Extreme


@dataclass(frozen=True, slots=True)
class KeyFilter:
    """A prime key and the union of its terms, of which there is at least one (an empty bracket is no filter).

    ``column`` is the database column that is compared: ``X_index`` for a slotted key, else the key.
    """

    key: str
    column: str
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class WhereFilter:
    """A parsed condition, checked against the columns of the series."""

    expr: Expr
    all_versions: bool


@dataclass(frozen=True, slots=True)
class RecnumFilter:
    """Record numbers; every version is eligible."""

    ranges: tuple[RecnumRange, ...]


BoundFilter = KeyFilter | WhereFilter | RecnumFilter


@dataclass(frozen=True)
class Selection:
    """One record set bound to its series: typed filters in the order they were written."""

    series: Series
    source: RecordSet
    filters: tuple[BoundFilter, ...]

    @property
    def all_versions(self) -> bool:
        """True if records that a newer version has replaced are eligible too."""
        return any(
            isinstance(f, RecnumFilter) or (isinstance(f, WhereFilter) and f.all_versions)
            for f in self.filters
        )
