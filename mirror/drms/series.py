"""The structure of a series, as ``jsoc_info?op=series_struct`` tells it.

Pure values; names and members are the server's own. Decoding and encoding is ``mirror.wire``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

#: recscope values of slotted keywords; "index" marks the integer companion ``X_index``.
SLOTTED_SCOPES = frozenset({"ts_eq", "ts_slot", "slot", "enum", "carr"})
#: recscope of a keyword that each segment of a record has.
OF_SEGMENT = "segment"
#: Such a keyword of the segment with a number: DATAMIN[1].
_NUMBERED = re.compile(r"(.+)\[([0-9]{1,9})\]")
INTEGER_TYPES = frozenset({"char", "short", "int", "longlong"})
FLOAT_TYPES = frozenset({"float", "double"})


@dataclass(frozen=True, slots=True)
class Keyword:
    """One keyword: ``type`` is char, short, int, longlong, float, double, time or string."""

    name: str
    type: str
    recscope: str
    defval: str
    units: str
    note: str
    linkinfo: str | None = None  #: set for a keyword that lives in the record at the end of a link

    @property
    def constant(self) -> bool:
        return self.recscope == "constant"


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment; a linked one has ``type`` "link" and its target in ``protocol``."""

    name: str
    type: str
    units: str
    protocol: str
    dims: str
    note: str


@dataclass(frozen=True, slots=True)
class Link:
    """One link to a record of ``target``; ``kind`` is STATIC or DYNAMIC."""

    name: str
    target: str
    kind: str
    note: str


@dataclass(frozen=True, slots=True)
class PrimeKey:
    """A prime key; for slotted ones ``step`` is the slot width as the server prints it."""

    name: str
    slotted: bool
    step: str | None = None


@dataclass(frozen=True, slots=True)
class Extent:
    """The member ``Interval``: first and last record by prime key, and the highest recnum."""

    first_record: str = ""
    first_recnum: int = -1
    last_record: str = ""
    last_recnum: int = -1
    max_recnum: int = -1


@dataclass(frozen=True)
class Series:
    """A series' structure. ``name`` is in the series' own case if that is known.

    ``keywords`` has every row of the answer in its order: implicit ones first, and the alias
    ``DATE-OBS`` where the server shows it.
    """

    name: str
    note: str
    retention: int
    unitsize: int
    archive: int
    tapegroup: int
    primekeys: tuple[PrimeKey, ...]
    dbindex: tuple[str, ...]
    keywords: tuple[Keyword, ...]
    segments: tuple[Segment, ...]
    links: tuple[Link, ...]
    extent: Extent = Extent()
    stagingretention: int | None = None
    owner: str | None = None

    @cached_property
    def record_keywords(self) -> tuple[Keyword, ...]:
        """The keywords that a record has: ``X_000``, ``X_001``, ... for an ``X`` that each segment has.

        The structure shows such a keyword once, without a number.
        """
        return tuple(held for k in self.keywords for held in self.held(k))

    def held(self, keyword: Keyword) -> Iterator[Keyword]:
        """The keywords that a record has for one of the structure: the same, or one for each segment."""
        if keyword.recscope != OF_SEGMENT:
            yield keyword
            return
        for place in range(len(self.segments)):
            yield replace(keyword, name=f"{keyword.name}_{place:03d}")

    @cached_property
    def _keywords_by_name(self) -> dict[str, Keyword]:
        return {k.name.lower(): k for k in reversed((*self.record_keywords, *self.keywords))}

    def keyword(self, name: str) -> Keyword | None:
        """The keyword of the structure or of a record with that name in any case, or None. ``X[1]`` is ``X_001``."""
        if numbered := name.endswith("]") and _NUMBERED.fullmatch(name):
            name = f"{numbered[1]}_{int(numbered[2]):03d}"
        return self._keywords_by_name.get(name.lower())

    def segment(self, name: str) -> Segment | None:
        """The segment of that name in any case, or None."""
        return next((s for s in self.segments if s.name.lower() == name.lower()), None)

    def link(self, name: str) -> Link | None:
        """The link of that name in any case, or None."""
        return next((x for x in self.links if x.name.lower() == name.lower()), None)

    @cached_property
    def implicit(self) -> frozenset[str]:
        """Names that ``**ALL**`` leaves out: cparms_sgNNN, <segment>_bzero, <segment>_bscale, X_index."""
        scaled = {f"{s.name}_{part}".lower() for s in self.segments for part in ("bzero", "bscale")}
        return frozenset(
            k.name
            for k in self.keywords
            if k.recscope == "index" or k.name.lower() in scaled or k.name.lower().startswith("cparms_sg")
        )

    @cached_property
    def all_keywords(self) -> tuple[str, ...]:
        """The names that ``**ALL**`` stands for, in order."""
        return tuple(k.name for k in self.record_keywords if k.name not in self.implicit)

    @cached_property
    def _derived(self) -> dict[object, object]:
        return {}

    def derived(self, name: object, make: Callable[[], T]) -> T:
        """The result of ``make``, called once per ``name``; it must depend on this structure alone.

        There must be no more names than the structure has parts: results are kept as long as the structure.
        """
        known = self._derived
        if name not in known:
            known[name] = make()
        return known[name]  # type: ignore[return-value]  # made under that name


# ---- plots ---------------------------------------------------------------------------------------
# Which keyword is the error of another.

#: The errors of SHARP's parameters, whose names follow no rule.
_ERRORS = {
    "USFLUX": "ERRVF", "MEANGAM": "ERRGAM", "MEANGBT": "ERRBT", "MEANGBH": "ERRBH", "MEANGBZ": "ERRBZ", "MEANJZD": "ERRJZ",
    "TOTUSJZ": "ERRUSI", "MEANALP": "ERRALP", "MEANJZH": "ERRMIH", "TOTUSJH": "ERRTUI", "ABSNJZH": "ERRTAI",
    "SAVNCPP": "ERRJHT", "MEANPOT": "ERRMPOT", "TOTPOT": "ERRTPOT", "MEANSHR": "ERRMSHA",
}  # fmt: skip


def error_of(name: str, known: Iterable[str]) -> str | None:
    """The one of the known keywords that is the error of a keyword; None if there is none."""
    there = {each.upper(): each for each in known}
    upper = name.upper()
    likely = (_ERRORS.get(upper, ""), f"ERR{upper}", f"ERR_{upper}", f"{upper}ERR", f"{upper}_ERR", f"{upper}_ERROR")
    return next((there[each] for each in likely if each in there and each != upper), None)
