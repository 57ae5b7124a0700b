"""Functions for statements that know DRMS: times, slots, the bits of QUALITY.

jsoc_seconds(x)              TAI seconds since 1977.01.01_TAI of a time: a DRMS text, or a TIMESTAMP in UTC
jsoc_time(x)                 the TIMESTAMP in UTC of a DRMS text, or of such seconds
jsoc_text(x, zone, digits)   the DRMS text of a TIMESTAMP or of such seconds
slot(series, x, key)         the slot of a value of a series' slotted prime key
quality_bit(q, n)            whether bit n is set
quality_bits(q)              the numbers of the bits that are set

All but the reading and printing of texts are macros, which cost as much as their expansions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from duckdb.func import ARROW, SPECIAL

from mirror.drms.calendar import LEAP_CLOCKS, leap_seconds
from mirror.drms.slots import slot_axis
from mirror.drms.timecolumn import MISSING, parse_printed_times
from mirror.drms.times import format_time, is_missing_time, parse_time
from mirror.drms.where.exact import quote
from mirror.services.sql.messages import View
from mirror.storage.lake.columns import EPOCH, utc

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

    from mirror.drms.series import Series
    from mirror.drms.slots import SlotAxis

#: Unix seconds of the years 1 and 10000.
_FIRST, _LAST = -62_135_596_800, 253_402_300_800
#: How many bits a value has: 32 for the integers of DRMS, such as QUALITY.
_WIDTH = "CASE WHEN typeof(quality) IN ('BIGINT', 'HUGEINT', 'UBIGINT') THEN 64 ELSE 32 END"


def tai(moment: str) -> str:
    """The expression for a TIMESTAMP in UTC as a DRMS time: the inverse of ``storage.lake.columns.utc``."""
    before = sum(clock < 0 for clock in LEAP_CLOCKS)
    whens = " ".join(
        f"WHEN {moment} >= make_timestamp({(clock + EPOCH) * 1_000_000:.0f}) THEN {count}"
        for count, clock in reversed(list(enumerate(LEAP_CLOCKS, 1)))
        if clock >= 0
    )
    return f"(epoch_us({moment}) / 1e6 - {EPOCH} + CASE {whens} ELSE {before} END)"


_BIT = (
    f"CASE WHEN n IS NULL THEN NULL WHEN n >= 0 AND n < {_WIDTH} THEN (quality::BIGINT >> n) & 1 = 1 "
    "ELSE error('bit ' || n || ' of a quality; expected 0 to 31, or to 63 of a BIGINT') END"
)
_BIT_LIST = (
    f"CASE WHEN quality IS NOT NULL THEN list_filter(range(0, {_WIDTH}), "
    "lambda i: (quality::BIGINT >> i) & 1 = 1) END"
)
MACROS: dict[str, tuple[str, ...]] = {
    "jsoc_seconds": (
        "(x VARCHAR) AS jsoc_read_(x)",
        f"(x TIMESTAMP) AS {tai('x')}",
    ),
    "jsoc_time": (
        "(x VARCHAR) AS jsoc_moment_(x)",
        f"(x DOUBLE) AS {utc('x')}",
    ),
    "jsoc_text": (
        "(x DOUBLE, zone := 'TAI', digits := 0) AS jsoc_print_(x, zone, digits)",
        f"(x TIMESTAMP, zone := 'TAI', digits := 0) AS jsoc_print_({tai('x')}, zone, digits)",
    ),
    "quality_bit": (f"(quality, n) AS {_BIT}",),
    "quality_bits": (f"(quality) AS {_BIT_LIST}",),
}


def install(connection: duckdb.DuckDBPyConnection) -> None:
    """Install the functions on a connection and its cursors; ``slot`` comes with a statement that calls it."""
    for reader, (function, kinds, gives) in _READERS.items():
        connection.create_function(reader, function, kinds, gives, type=ARROW, null_handling=SPECIAL)
    for macro, bodies in MACROS.items():
        connection.execute(f"CREATE MACRO {macro}{', '.join(bodies)}")


def read_times(texts: pa.Array) -> pa.Array:
    """DRMS texts as TAI seconds since 1977, MISSING as NULL; SyntaxProblem for a text that is not a time."""
    given = texts.to_pylist()
    distinct = list({text for text in given if text is not None})
    seconds = dict(zip(distinct, map(_read, distinct, parse_printed_times(distinct)), strict=True))
    return pa.array([None if text is None else seconds[text] for text in given], pa.float64())


def read_moments(texts: pa.Array) -> pa.Array:
    """DRMS texts as times in UTC, as in ``storage.lake.columns.utc``; NULL outside the years 1 to 9999."""
    return pa.array(
        [None if s is None else _moment(s) for s in read_times(texts).to_pylist()], pa.timestamp("us")
    )


def _moment(seconds: float) -> int | None:
    """Unix microseconds; a leap second reads as the second before it."""
    clock = seconds + EPOCH - leap_seconds(seconds)[0]
    return int(clock * 1e6 + math.copysign(0.5, clock)) if _FIRST <= clock < _LAST else None  # as SQL rounds


def _read(text: str, seconds: float | None) -> float | None:
    """The result of the quick parser, or the error for a text that it could not read."""
    if seconds is None and text != MISSING:
        seconds = parse_time(text)
    return None if seconds is None or is_missing_time(seconds) else seconds


def print_times(seconds: pa.Array, zones: pa.Array, digits: pa.Array) -> pa.Array:
    """TAI seconds since 1977 as DRMS texts; NULL as NULL."""
    columns = (seconds.to_pylist(), zones.to_pylist(), digits.to_pylist())
    return pa.array(
        [None if None in row else format_time(*row) for row in zip(*columns, strict=True)], pa.string()
    )


#: The functions that are not SQL: the Python function, its argument types, and its result type.
_READERS: dict[str, tuple[Any, list[Any], Any]] = {
    "jsoc_read_": (read_times, ["VARCHAR"], "DOUBLE"),
    "jsoc_moment_": (read_moments, ["VARCHAR"], "TIMESTAMP"),
    "jsoc_print_": (print_times, ["DOUBLE", "VARCHAR", "INTEGER"], "VARCHAR"),
}


# ---- slots ----------------------------------------------------------------------------------------


def slot_view(series: Iterable[Series]) -> View:
    """The macro ``slot`` for the axes of ``series``."""
    return View("main.slot", slot_macro(list(series)), macro=True)


def slot_macro(series: Sequence[Series]) -> str:
    """``slot(series, x, key)`` for these series; without a key it uses the first slotted prime key."""
    axes = [(names, axis) for s in series for names, axis in slot_axes(s)]
    known = ", ".join(s.name.lower() for s in series if slot_axes(s)) or "a series with a slotted key"
    otherwise = (
        "ELSE error('no slots are known of ' || series || ' ' || key || '; expected the name of a series as a "
        f"text, of {quote(known)[1:-1]}, and if need be that of a slotted key') END"
    )

    def body(value: str, *, timed: bool) -> str:
        whens = " ".join(
            f"WHEN lower(series || ' ' || key) IN ({', '.join(map(quote, names))}) THEN {_slot(axis, value)}"
            for names, axis in axes
            if axis.timed or not timed
        )
        return f"CASE WHEN series IS NULL OR key IS NULL OR {value} IS NULL THEN NULL {whens} {otherwise}"

    # A text is read as a time; only the parameter's type shows which of these is meant.
    return (
        f"(series, x DOUBLE, key := '') AS {body('x', timed=False)}, "
        f"(series, x TIMESTAMP, key := '') AS {body(tai('x'), timed=True)}, "
        f"(series, x VARCHAR, key := '') AS {body('jsoc_read_(x)', timed=True)}"
    )


def slot_axes(series: Series) -> list[tuple[list[str], SlotAxis]]:
    """The axes of a series, each with "series key", in lower case, of its key; the first also without its key."""
    keys = [prime.name for prime in series.primekeys if prime.slotted]
    keys += [k.name for k in series.keywords if k.name not in keys]
    found = [(key, axis) for key in keys if (axis := slot_axis(series, key)) is not None]
    name = series.name.lower()
    return [
        ([f"{name} {key.lower()}", *([] if i else [f"{name} "])], axis) for i, (key, axis) in enumerate(found)
    ]


def _slot(axis: SlotAxis, value: str) -> str:
    """``SlotAxis.slot`` as an expression, operation by operation."""
    return f"CAST(floor(({value} - {axis.epoch!r}::DOUBLE + {axis.rounding / 2.0!r}::DOUBLE) / {axis.step!r}::DOUBLE) AS BIGINT)"
