"""Columns of values: what a keyword has for some records, computed on request.

A column function takes a ``Frame`` and returns an array with one stored value per record, or a single
value for all. It may use other columns of the frame by name. The functions of one instrument are in a dict
from keyword names to functions, in the module of that instrument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES, Keyword
from mirror.drms.times import parse_time
from mirror.simulator.synthetic.ephemeris import Ephemeris, View
from mirror.simulator.synthetic.noise import Floats, Ints, Mask, Values, around, below, uniform
from mirror.simulator.synthetic.printing import missing_value
from mirror.simulator.synthetic.structure import Blueprint, Typical, load_facts

ColumnFunction = Callable[["Frame"], Any]


#: A column that is not a keyword: which records are blank, as for an exposure that was never taken.
BLANK = "*blank*"
_IN_BLANK = frozenset({"DATE", "QUALITY", "T_REC_index", "BLD_VERS", "CALVER64", "HISTORY"})
_ALIASES = {"DATE-OBS": "DATE__OBS"}


class Frame:
    """Some records of one series, and the columns of them computed so far.

    ``slot``, ``strand`` and ``newer`` (is a newer version) are derived from each record's number.
    ``time``: the nominal time of the record. ``ident``: the number of each record's observation, on which chance
    depends; versions of one record, and other series of one instrument, share it.
    ``quiet``: where chance never strikes (see ``Facts.quiet``).
    """

    def __init__(
        self,
        blueprint: Blueprint,
        functions: Mapping[str, ColumnFunction],
        sky: Ephemeris,
        *,
        recnums: Ints,
        strand: Ints,
        slot: Ints,
        newer: Mask,
        time: Floats,
        ident: Ints,
        quiet: Mask,
        pins: Pins,
    ) -> None:
        self.blueprint, self.sky, self._functions, self._pins = blueprint, sky, functions, pins
        self.recnums, self.strand, self.slot, self.newer = recnums, strand, slot, newer
        self.time, self.ident, self.quiet = time, ident, quiet
        self._known: dict[str, Values] = {}
        self._views: dict[str, View] = {}

    def __len__(self) -> int:
        return len(self.recnums)

    @property
    def series_name(self) -> str:
        return self.blueprint.series.name

    def __getitem__(self, name: str) -> Values:
        """A column by the keyword's own-case name, in the keyword's type; computed once."""
        if name not in self._known:
            keyword = self.blueprint.series.keyword(name)
            if keyword is None:
                self._known[name] = np.broadcast_to(np.asarray(self._functions[name](self)), (len(self),))
            else:
                self._known[name] = self._column(keyword)
        return self._known[name]

    def __contains__(self, name: str) -> bool:
        """Whether a function computes this column."""
        return name in self._functions

    def _column(self, keyword: Keyword) -> Values:
        with np.errstate(invalid="ignore"):  # integers from values that blank records do not have
            values = typed(self._made(keyword), keyword, len(self))
        if BLANK in self._functions and not self._stays(keyword):
            values[self[BLANK]] = missing_value(keyword.type)
        self._pins.apply(keyword.name, self.slot, values)
        return values

    def _stays(self, keyword: Keyword) -> bool:
        """Whether a blank record has this keyword all the same."""
        primary = any(key.name == keyword.name for key in self.blueprint.series.primekeys)
        return primary or keyword.name in _IN_BLANK or _has_default(self.blueprint, keyword)

    def _made(self, keyword: Keyword) -> Any:
        """From a function, else the typical value, else the default of a constant, else missing."""
        name = _ALIASES.get(keyword.name, keyword.name)
        if name in self._functions:
            return self._functions[name](self)
        typical = self.blueprint.typical.get(name)
        if typical is not None:
            return self._typical(name, typical, keyword.type)
        return (
            default_value(keyword) if _has_default(self.blueprint, keyword) else missing_value(keyword.type)
        )

    def _typical(self, name: str, typical: Typical, kind: str) -> Any:
        if typical.value is None:
            return missing_value(kind)
        if not typical.spread or isinstance(typical.value, str):
            return typical.value
        drawn = around(self.ident, name, typical.value, typical.spread)
        return np.rint(drawn) if kind in INTEGER_TYPES else drawn

    def view(self, place: str) -> View:
        """The Sun seen from "sdo", "earth" or "l1" at the nominal times; computed once."""
        if place not in self._views:
            look = {"sdo": self.sky.from_sdo, "earth": self.sky.from_earth, "l1": self.sky.from_l1}[place]
            self._views[place] = look(self.time)
        return self._views[place]

    # ---- chance ----------------------------------------------------------------------------------

    def chance(self, stream: str, share: float) -> Mask:
        """True for that share of the records, never for quiet ones."""
        return (uniform(self.ident, stream) < share) & ~self.quiet

    def around(self, stream: str, mean: float, spread: float) -> Floats:
        """A number within ``spread`` of ``mean`` for each record."""
        return around(self.ident, stream, mean, spread)

    def below(self, stream: str, limit: int) -> Ints:
        """An integer in 0 <= x < ``limit`` for each record."""
        return below(self.ident, stream, limit)


def typed(made: Any, keyword: Keyword, length: int) -> Values:
    """A function's result as a column of the keyword's type: int64, float64 or str objects."""
    if keyword.type in INTEGER_TYPES:
        return _filled(made, length, np.int64)
    if keyword.type == "float":
        return _filled(made, length, np.float32).astype(np.float64)
    return _filled(made, length, object if keyword.type == "string" else np.float64)


def _filled(made: Any, length: int, dtype: Any) -> Values:
    return np.array(np.broadcast_to(np.asarray(made, dtype=dtype), (length,)))


def _has_default(blueprint: Blueprint, keyword: Keyword) -> bool:
    return keyword.constant or (keyword.name in blueprint.series.implicit and keyword.recscope != "index")


def default_value(keyword: Keyword) -> int | float | str:
    """The stored value that a keyword's ``defval`` stands for."""
    if keyword.type in INTEGER_TYPES:
        return int(keyword.defval, 0)
    if keyword.type in FLOAT_TYPES:
        return float(keyword.defval)
    return parse_time(keyword.defval) if keyword.type == "time" else keyword.defval


def stepped(times: Floats, steps: Mapping[str, Any]) -> Values:
    """For each time the value of the last step at or before it; ``steps`` maps time texts to values."""
    starts = np.array([parse_time(text) for text in steps])
    values = np.array(list(steps.values()), dtype=object)
    return values[np.clip(np.searchsorted(starts, times, side="right") - 1, 0, len(starts) - 1)]


def texts(form: str, *columns: Values) -> Values:
    """A column of strings: ``form`` with ``%`` and one value of each column in each row."""
    made = np.empty(len(columns[0]), dtype=object)
    made[:] = [form % row for row in zip(*(column.tolist() for column in columns), strict=True)]
    return made


def observer_columns(place: str) -> Mapping[str, ColumnFunction]:
    """The keywords of an observer at ``place`` (see ``Frame.view``)."""

    def seen(frame: Frame) -> View:
        return frame.view(place)

    return {
        "DSUN_OBS": lambda frame: seen(frame).distance,
        "RSUN_OBS": lambda frame: seen(frame).radius,
        "CRLT_OBS": lambda frame: seen(frame).latitude,
        "HGLT_OBS": lambda frame: seen(frame).latitude,
        "CRLN_OBS": lambda frame: seen(frame).longitude,
        "CAR_ROT": lambda frame: seen(frame).rotation,
        "OBS_VR": lambda frame: seen(frame).vr,
        "OBS_VW": lambda frame: seen(frame).vw,
        "OBS_VN": lambda frame: seen(frame).vn,
    }


@dataclass(frozen=True)
class Pins:
    """Known values of some records: ``members`` by slot."""

    slots: Ints  #: ascending
    members: tuple[dict[str, Any], ...]

    def apply(self, name: str, slot: Ints, values: NDArray[Any]) -> None:
        """Puts known values of a column into ``values``."""
        for at, members in zip(self.slots.tolist(), self.members, strict=True):
            if name in members:
                values[slot == at] = members[name]


@dataclass(frozen=True)
class Facts:
    """The whole file; times are seconds after 1977.01.01_TAI."""

    quiet: tuple[tuple[float, float], ...]
    records: dict[str, dict[str, dict[str, Any]]]
    harps: dict[int, tuple[float, int]]
    shapes: dict[int, dict[str, float]]  #: what is known of where some HARPs are, by number
    crowd_first: float
    crowd_slots: int
    crowd_records: tuple[int, ...]

    def quiet_slots(self, epoch: float, step: float) -> list[tuple[int, int]]:
        """The quiet spans as first and last slots of a grid."""
        return [(int((a - epoch) // step), int((b - epoch) // step) + 1) for a, b in self.quiet]

    def is_quiet(self, times: Floats) -> Mask:
        """Whether each time lies in a quiet span."""
        starts, stops = (np.array(ends) for ends in zip(*self.quiet, strict=True))
        span = np.searchsorted(starts, times, side="right") - 1
        return (span >= 0) & (times <= stops[np.maximum(span, 0)])

    def pins(self, blueprint: Blueprint) -> Pins:
        """The known values of records of a series, which has slots if there are any."""
        known = self.records.get(blueprint.series.name, {})
        slots = np.array([blueprint.axis.slot(parse_time(text)) for text in known], dtype=np.int64)
        return Pins(slots, tuple(known.values()))


def load_suite_facts() -> Facts:
    """The facts of the file that is shipped."""
    told = load_facts("suites")
    crowd = told["crowd"]
    return Facts(
        tuple(sorted((parse_time(a), parse_time(b)) for a, b in told["quiet"])),
        told["records"],
        {int(number): (parse_time(first), length) for number, (first, length) in told["harps"].items()},
        {int(number): shape for number, shape in told["shapes"].items()},
        parse_time(crowd["first"]),
        crowd["slots"],
        tuple(crowd["records"]),
    )
