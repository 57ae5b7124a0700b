"""How precisely a column of printed numbers tells the stored ones.

A condition on a keyword compares stored values upstream, printed ones here; the tolerance says when
the two might disagree, so that the mirror asks instead of guessing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.times import time_text_resolution

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.storage.index.layout import TypedColumn

#: The printf format of a series is one for all its records: a sample of distinct values tells it.
SAMPLE = 64
_NUMBER = re.compile(r"\s*[-+]?\d+(?:\.(\d*))?(?:[eE][-+]?\d+)?\s*")
_SHORTEST = 5e-6  #: relative error of %g with its six digits
_SINGLE = 2.0**-24  #: relative error of single precision, in which a float is stored and compared


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A printed value v stands for stored ones within ``absolute + relative * |v|``."""

    absolute: float = 0.0
    relative: float = 0.0

    def __or__(self, other: Tolerance) -> Tolerance:
        """The tolerance that holds for both."""
        return Tolerance(max(self.absolute, other.absolute), max(self.relative, other.relative))


def tolerance(column: TypedColumn, texts: Iterable[str]) -> Tolerance:
    """The tolerance of a column of which these are printed values; exact for integers and strings."""
    if not column.inexact:
        return Tolerance()
    sample = list(dict.fromkeys(texts))[:SAMPLE]
    if column.type == "time":
        marks = [time_text_resolution(text) / 2 for text in sample if text[:1].isdigit()]
        return Tolerance(max(marks, default=0.0))
    implicit = column.name.endswith(("_bzero", "_bscale"))
    single = Tolerance(relative=_SINGLE if column.type == "float" else 0.0)
    return single | _of_numbers([text for text in sample if _NUMBER.fullmatch(text)], shortest=implicit)


def _of_numbers(texts: list[str], *, shortest: bool) -> Tolerance:
    if not texts:
        return Tolerance()
    decimals = {len(m[1] or "") for text in texts if (m := _NUMBER.fullmatch(text))}
    exponents = [("e" in text or "E" in text) for text in texts]
    if shortest or len(decimals) > 1 or (any(exponents) and not all(exponents)):
        return Tolerance(relative=_SHORTEST)
    half = 0.5 * 10.0 ** -decimals.pop()
    return Tolerance(relative=half) if all(exponents) else Tolerance(absolute=half)
