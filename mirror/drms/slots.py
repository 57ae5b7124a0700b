"""Slots: how the values of a slotted prime key map to the integers of its column ``X_index``.

Rule for editors: the arithmetic is the server's, operation by operation, because the last bit of a double
decides at a slot's edge. The constants ``X_epoch`` or ``X_base``, ``X_step``, ``X_unit`` and ``X_round``
of the series describe the axis.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mirror.drms.scanner import Scanner
from mirror.drms.series import SLOTTED_SCOPES, Keyword, Series
from mirror.drms.times import is_missing_time, scan_time
from mirror.errors import SyntaxProblem

TIME_SCOPES = frozenset({"ts_eq", "ts_slot"})

#: Size of the units that ``X_unit`` names, in seconds for times and in degrees for Carrington time.
_UNITS = {
    "tenthsecs": 0.1,
    "secs": 1.0,
    "mins": 60.0,
    "hours": 3600.0,
    "days": 86400.0,
    "d": 86400.0,
    "degrees": 1.0,
    "arcmins": 1 / 60.0,
    "arcsecs": 1 / 3600.0,
    "milliarcsecs": 1 / 3600000.0,
    "rads": 180.0 / math.pi,
    "microrads": 180.0 / math.pi / 1e6,
}
#: A step of type time is printed as a number of its keyword's units.
_INTERVALS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
#: Epochs that a string may name.
_EPOCHS = {
    "DRMS_EPOCH": 0.0,
    "MDI_EPOCH": 504921600.0,
    "WSO_EPOCH": -11865398400.0,
    "TAI_EPOCH": -599616000.0,
    "MJD_EPOCH": -3727641600.0,
}
_INT_MIN, _LONG_MIN = -(1 << 31), -(1 << 63)


@dataclass(frozen=True, slots=True)
class SlotAxis:
    """One slotted key. ``slot(start(n)) == n`` for every slot near the epoch.

    Values are DRMS times in seconds for the scopes ts_eq and ts_slot, degrees for carr, and in the
    key's own unit for slot.
    """

    key: str
    index: str  #: the column of the slots, "T_REC_index"
    scope: str
    type: str  #: of the key: time, float, double or an integer type
    epoch: float  #: the value of slot 0
    step: float  #: width of a slot, in the unit of the values
    written_step: float  #: ``X_step`` as written, before ``X_unit`` is applied
    rounding: float  #: a value less than half of this below a slot's edge counts as past it

    @property
    def timed(self) -> bool:
        """True if the values are times."""
        return self.scope in TIME_SCOPES

    def slot(self, value: float) -> int:
        """The slot of ``value``: the nearest, ties up; for ts_slot the one that has begun, within ``rounding``."""
        return _as_long(_floor((value - self.epoch + self.rounding / 2.0) / self.step))

    def start(self, slot: int) -> float:
        """The value that stands for ``slot``."""
        return self.epoch + slot * self.step

    def count(self, length: float) -> int:
        """How many slots a range of this length holds: whole ones only, but at least one.

        Lengths above 2**31 slots overflow the server's counter: the range is empty.
        """
        whole = 1 if length < self.step else _as_int(length / self.step)
        return _as_long(_floor((whole * self.step + self.rounding / 2.0) / self.step))

    def stride(self, step: float) -> int:
        """Slots from one record to the next for ``@step``: the nearest number, halves away from zero.

        0 means that the server divides by zero. Negative steps lose one slot in the server's conversion to
        integers (``@-90s`` of 45 s is 1). As in ``u``, ``X_unit`` is ignored: minutes count as seconds.
        """
        exact = step / self.written_step
        if not math.isfinite(exact):
            return 0
        slots = math.trunc(abs(exact) + 0.5)
        return slots if exact >= 0 else max(slots - 1, 0)


def slot_axis(series: Series, key: str) -> SlotAxis | None:
    """The axis of a slotted keyword (any case), or None if it is not one or its constants are missing."""
    keyword = series.keyword(key)
    if keyword is None or keyword.recscope not in SLOTTED_SCOPES or keyword.recscope == "enum":
        return None
    return series.derived(("slots", keyword.name), lambda: _axis(series, keyword))


def _axis(series: Series, keyword: Keyword) -> SlotAxis | None:
    written, epoch = _written_step(series, keyword), _epoch(series, keyword)
    if not written or epoch is None or not math.isfinite(written):
        return None
    width = _unit(series, keyword) * written
    rounding = width if keyword.recscope != "ts_slot" else _constant(series, keyword, "round") or 0.0
    return SlotAxis(
        keyword.name, f"{keyword.name}_index", keyword.recscope, keyword.type, epoch, width, written, rounding
    )


def _ancillary(series: Series, keyword: Keyword, part: str) -> Keyword | None:
    return series.keyword(f"{keyword.name}_{part}")


def _constant(series: Series, keyword: Keyword, part: str) -> float | None:
    """The number that the constant ``X_part`` holds."""
    constant = _ancillary(series, keyword, part)
    return None if constant is None else _number(constant.defval)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _written_step(series: Series, keyword: Keyword) -> float | None:
    """``X_step``: a number, or a duration such as ``60s``; else the step in the prime key's entry."""
    constant = _ancillary(series, keyword, "step")
    if constant is None:
        return next((_number(p.step) for p in series.primekeys if p.name == keyword.name), None)
    if constant.type == "string":
        try:
            return Scanner(constant.defval).duration(0.0)
        except SyntaxProblem:
            return None
    scale = _INTERVALS.get(constant.units[:1].lower(), 1.0) if constant.type == "time" else 1.0
    number = _number(constant.defval)
    return None if number is None else number * scale


def _unit(series: Series, keyword: Keyword) -> float:
    """The factor of ``X_unit`` for the step; 1 for a step that names its own unit."""
    step, unit = _ancillary(series, keyword, "step"), _ancillary(series, keyword, "unit")
    if unit is None or keyword.recscope == "slot" or (step is not None and step.type == "string"):
        return 1.0
    return _UNITS.get(unit.defval.strip().lower(), 1.0)


def _epoch(series: Series, keyword: Keyword) -> float | None:
    if keyword.recscope == "carr":
        return 0.0
    if keyword.recscope == "slot":
        return _constant(series, keyword, "base")
    constant = _ancillary(series, keyword, "epoch")
    if constant is None:
        return None
    named = _EPOCHS.get(constant.defval.strip().upper())
    scan = scan_time(constant.defval) if named is None else None
    seconds = scan.seconds if scan is not None else named
    if seconds is None or is_missing_time(seconds):
        return None
    return seconds


# ---- C's conversions: what does not fit becomes the lowest number of the type ------------------------


def _floor(value: float) -> float:
    return float(math.floor(value)) if math.isfinite(value) else value


def _as_long(value: float) -> int:
    return int(value) if -(2.0**63) <= value < 2.0**63 else _LONG_MIN


def _as_int(value: float) -> int:
    return int(value) if -(2.0**31) - 1 < value < 2.0**31 else _INT_MIN
