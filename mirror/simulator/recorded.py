"""From printed values back to database values: pure functions, a column at a time.

A recorded world has what the server printed. Numbers and times are restored exactly from the answer with the flag M=1
if that was recorded, else as exactly as they were printed. ``MISSING`` becomes DRMS's own missing value, or SQL NULL
where the world says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES
from mirror.drms.timecolumn import parse_printed_times
from mirror.drms.times import MISSING_TIME
from mirror.simulator.base import Column

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mirror.drms.series import Keyword

MISSING = "MISSING"
_BITS = {"char": 8, "short": 16, "int": 32, "longlong": 64}


def stored_column(keyword: Keyword, texts: Sequence[str], null: NDArray[np.bool_] | None) -> Column:
    """The database column behind printed values; ``texts`` are plain, precise where known."""
    if keyword.type in INTEGER_TYPES:
        values = integers(texts, _BITS[keyword.type])
    elif keyword.type in FLOAT_TYPES:
        values = floats(texts, single=keyword.type == "float")
    elif keyword.type == "time":
        values = times(texts)
    else:
        values = strings(texts, padded=keyword.defval != "" and keyword.defval.isspace())
    return Column(values, null if null is not None and null.any() else None)


def integers(texts: Sequence[str], bits: int) -> NDArray[Any]:
    """Decimal or ``0x`` texts as signed integers of that width; MISSING is the lowest one."""
    lowest = -(1 << (bits - 1))

    def one(text: str) -> int:
        if text == MISSING:
            return lowest
        value = int(text, 16) if text.startswith("0x") else int(text)
        return value - (1 << bits) if value >= -lowest else value

    return _each_distinct(texts, one, np.int64)


def floats(texts: Sequence[str], single: bool) -> NDArray[Any]:
    """Texts as doubles, rounded to single precision for a float column; MISSING is NaN."""

    def one(text: str) -> float:
        value = float("nan") if text == MISSING else float(text)
        return _single(value) if single else value

    return _each_distinct(texts, one, np.float64)


def times(texts: Sequence[str]) -> NDArray[Any]:
    """Texts as seconds after 1977.01.01_TAI; MISSING is the DRMS missing time."""
    parsed = parse_printed_times(texts)
    return np.array([MISSING_TIME if value is None else value for value in parsed], dtype=np.float64)


def strings(texts: Sequence[str], padded: bool) -> NDArray[Any]:
    """Texts as an object array; leading blanks are removed where the series' format pads; MISSING is empty."""

    def one(text: str) -> str:
        return "" if text == MISSING else text.lstrip(" ") if padded else text

    values = np.empty(len(texts), dtype=object)
    values[:] = [one(text) for text in texts]
    return values


def _single(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _each_distinct(texts: Sequence[str], one: Callable[[str], float], dtype: type) -> NDArray[Any]:
    """``one`` of every text, called once per distinct text: most columns have few."""
    known = {text: one(text) for text in set(texts)}
    return np.array([known[text] for text in texts], dtype=dtype)
