"""Columns of stored values as JSOC prints them: the series' own printf formats, a column at a time.

The result is wire text (see ``mirror.wire.text``): the text between the quotes of a JSON answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from mirror.drms.calendar import LEAP_TIMES
from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES
from mirror.drms.times import MISSING_TIME, format_time
from mirror.simulator.synthetic.noise import Mask, Values
from mirror.wire.text import to_wire

MISSING = "MISSING"
#: DRMS's missing value, by the bits of an integer type.
_BITS = {"char": 8, "short": 16, "int": 32, "longlong": 64}
_C_LENGTH = re.compile(r"(?:hh|h|ll|l)(?=[a-zA-Z])")
_EPOCH = np.datetime64("1977-01-01T00:00:00", "s")
_LEAP_TIMES = np.array(LEAP_TIMES)
_BEYOND_LEAP = 3.0  # seconds: near a leap second times are printed one by one, too
_EARLIEST, _LATEST = -189388800.0, 2272060800.0  # 1971 to 2049: beyond, times are printed one by one


def missing_value(kind: str) -> int | float | str:
    """DRMS's own missing value of a keyword type."""
    if kind in INTEGER_TYPES:
        return int(-(1 << (_BITS[kind] - 1)))
    if kind in FLOAT_TYPES:
        return float("nan")
    return MISSING_TIME if kind == "time" else ""


def print_column(values: Values, kind: str, form: str, unit: str, *, precise: bool) -> list[str]:
    """The wire text of each value of a keyword of type ``kind``; ``form`` is its format.

    For a time ``form`` is the number of decimals of the second, and ``unit`` its zone. ``precise`` prints
    as jsoc_info does with M=1: %.9G floats, %.17G doubles, times with six decimals.
    """
    if len(values) > 1 and _all_equal(values):
        return print_column(values[:1], kind, form, unit, precise=precise) * len(values)
    if kind == "time":
        return print_times(values, unit, 6 if precise else int(form))
    if kind in INTEGER_TYPES:
        return _print_integers(values, kind, form)
    if kind in FLOAT_TYPES:
        c_form = {"float": "%.9G", "double": "%.17G"}[kind] if precise else form
        return _with_missing(_print_all(c_form, values), np.isnan(values))
    return _each_distinct(values.tolist(), lambda text: to_wire(text) if text else MISSING)


def _all_equal(values: Values) -> bool:
    return bool((values == values[0]).all())


def _print_integers(values: Values, kind: str, form: str) -> list[str]:
    numbers: Values = values.astype(np.int64)
    gone = numbers == missing_value(kind)
    if form[-1] in "xXo":
        numbers = numbers.view(np.uint64) & np.uint64((1 << _BITS[kind]) - 1)
    return _with_missing(_print_all(form, numbers), gone)


def _print_all(form: str, values: Values) -> list[str]:
    """One ``%`` for the whole column: three times as fast as one per value."""
    if not len(values):
        return []
    one = _C_LENGTH.sub("", form)
    return ("\n".join([one] * len(values)) % tuple(values.tolist())).split("\n")


def _with_missing(texts: list[str], gone: Mask) -> list[str]:
    for i in np.flatnonzero(gone).tolist():
        texts[i] = MISSING
    return texts


def _each_distinct(values: list[str], one: Callable[[str], str]) -> list[str]:
    known = {value: one(value) for value in set(values)}
    return [known[value] for value in values]


# ---- times --------------------------------------------------------------------------------------


def print_times(seconds: Values, zone: str, decimals: int) -> list[str]:
    """Times as ``mirror.drms.times.format_time`` prints them, ten times as fast; MISSING for missing ones."""
    fast = _plain(seconds, zone)
    if fast.all():
        return _print_plain(seconds, zone, decimals) if len(seconds) else []
    texts = np.empty(len(seconds), dtype=object)
    if fast.any():
        texts[fast] = _print_plain(seconds[fast], zone, decimals)
    texts[~fast] = [_print_time(value, zone, decimals) for value in seconds[~fast].tolist()]
    printed: list[str] = texts.tolist()
    return printed


def _plain(seconds: Values, zone: str) -> Mask:
    """The times for which the fast way is right: no missing time, no leap second, and a known zone."""
    if zone not in ("TAI", "UTC", "ISO"):
        return np.zeros(len(seconds), dtype=bool)
    near = np.asarray((seconds > _EARLIEST) & (seconds < _LATEST))
    if zone == "TAI":
        return near
    leap = _LEAP_TIMES[np.minimum(np.searchsorted(_LEAP_TIMES, seconds - _BEYOND_LEAP), len(_LEAP_TIMES) - 1)]
    return np.asarray(near & (np.abs(seconds - leap) > _BEYOND_LEAP))


def _print_plain(seconds: Values, zone: str, decimals: int) -> list[str]:
    # Halves round to the even second of the displayed clock, which an odd number of leap seconds shifts.
    ticks = np.rint((seconds - _leap_seconds(seconds, zone)) * 10.0**decimals)
    whole = np.floor_divide(ticks, 10.0**decimals)
    texts = _clock_texts(whole, zone)
    tail = "Z" if zone == "ISO" else f"_{zone}"
    if not decimals:
        return [text + tail for text in texts]
    fraction = (ticks - whole * 10.0**decimals).astype(np.int64)
    pairs = zip(texts, _print_all(f".%0{decimals}d{tail}", fraction), strict=True)
    return [text + end for text, end in pairs]


def _leap_seconds(seconds: Values, zone: str) -> Values:
    return np.searchsorted(_LEAP_TIMES, seconds, side="right") if zone != "TAI" else np.zeros(len(seconds))


def _clock_texts(clock: Values, zone: str) -> list[str]:
    """``2014-01-01T00:00:00``, or with dots and an underscore for zones other than ISO."""
    moments = _EPOCH + clock.astype(np.int64).astype("timedelta64[s]")
    texts = np.datetime_as_string(moments, unit="s")
    if zone != "ISO":
        letters = texts.view("U1").reshape(len(texts), -1)
        letters[:, [4, 7]], letters[:, 10] = ".", "_"
    found: list[str] = texts.tolist()
    return found


def _print_time(value: float, zone: str, decimals: int) -> str:
    return (
        MISSING if np.isnan(value) or value == MISSING_TIME else to_wire(format_time(value, zone, decimals))
    )
