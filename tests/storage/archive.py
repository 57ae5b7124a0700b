"""A small archive in memory: records with versions, and answers of rs_list made of them by hand."""

from __future__ import annotations

from dataclasses import dataclass

from mirror.coverage.coverage import Between
from mirror.coverage.plan import RECNUMS
from mirror.drms.series import Keyword, PrimeKey, Segment, Series
from mirror.storage.index.layout import PSEUDO_KEYS
from mirror.wire.rs_list import RsList, SegmentColumn

NAME = "lab.small"


def keyword(name, kind, recscope="variable"):
    return Keyword(name, kind, recscope, "", "none", "")


SERIES = Series(
    name="lab.Small", note="made for a test", retention=1, unitsize=1, archive=0, tapegroup=0,
    primekeys=(PrimeKey("K", slotted=False), PrimeKey("W", slotted=False), PrimeKey("NAME", slotted=False)),
    dbindex=("K",),
    keywords=(keyword("K", "int"), keyword("W", "int"), keyword("NAME", "string"), keyword("VALUE", "float")),
    segments=(Segment("image", "int", "DN", "fits", "4x4", ""),), links=(),
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One version of one record."""

    recnum: int
    k: int
    w: int = 0
    name: str = "a"
    value: str = "1.5"

    @property
    def key(self):
        return (self.k, self.w, self.name)


def answer(records):
    """The answer to the request that fills these records, in the server's order."""
    ordered = sorted(records, key=lambda r: (r.key, r.recnum))
    if not ordered:
        return RsList(0)
    pseudo = {
        "*recnum*": [r.recnum for r in ordered],
        "*sunum*": [r.recnum * 10 for r in ordered],
    }
    keywords = [
        ("K", [str(r.k) for r in ordered]),
        ("W", [str(r.w) for r in ordered]),
        ("NAME", [r.name for r in ordered]),
        ("VALUE", [r.value for r in ordered]),
        *((name, pseudo.get(name, ["NA"] * len(ordered))) for name in PSEUDO_KEYS),
    ]
    paths = [f"\\/SUM1\\/D{r.recnum}\\/S00000\\/image.fits" for r in ordered]
    segments = [SegmentColumn("image", paths, ["4x4"] * len(ordered))]
    recinfo = [(f"lab.Small[{r.k}][{r.w}][{r.name}]", 1) for r in ordered]
    return RsList(len(ordered), keywords=keywords, segments=segments, links=[], recinfo=recinfo)


def newest(records):
    """Of each name the version with the highest record number."""
    best = {}
    for r in records:
        best[r.key] = max(r, best.get(r.key, r), key=lambda x: x.recnum)
    return list(best.values())


def within(box, records):
    """The records that a box holds."""
    if box.region == RECNUMS:
        return [r for r in records if along(box, r.recnum)]
    eligible = records if box.region.all_versions else newest(records)
    return [r for r in eligible if along(box, r.k) and all(map(admits, box.region.others, (r.w, r.name)))]


def along(box, x):
    return any(s.lo <= x <= s.hi and (s.step == 1 or (x - s.lo) % s.step == 0) for s in box.steps)


def admits(restriction, value):
    if isinstance(restriction, Between):
        return restriction.lo <= value <= restriction.hi
    return restriction in (None, value)
