"""Completes a slotted prime key whose constants and index a recorded world left out.

A world that was not recorded from a server (published tables of values, for example) has ``T_REC`` but neither the
constants that say where its slots begin, nor ``T_REC_index``. Every real series has them, and slots cannot be counted
without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mirror.drms.series import Keyword, Series
from mirror.drms.slots import SlotAxis, slot_axis
from mirror.drms.timecolumn import parse_printed_times

#: Where slots begin: in all series of HMI and MDI, and in those of AIA.
_EPOCHS = ("1993.01.01_00:00:00_TAI", "1977.01.01_00:00:00_TAI")
_NEAR = 1e-3  # seconds between a printed time and the slot that it names

Answer = Mapping[str, Any]


def with_slots(series: Series, answer: Answer) -> tuple[Series, Answer]:
    """The series and its records with the missing parts of slotted time keys added, else unchanged."""
    for key in series.primekeys:
        keyword = series.keyword(key.name)
        if key.slotted and key.step and keyword is not None and slot_axis(series, key.name) is None:
            series, answer = _add(series, answer, keyword, key.step)
    return series, answer


def _add(series: Series, answer: Answer, keyword: Keyword, step: str) -> tuple[Series, Answer]:
    columns = {column["name"]: column["values"] for column in answer["keywords"]}
    times = [time for time in parse_printed_times(columns[keyword.name]) if time is not None]
    completed, axis = _first_fitting(series, keyword, step, times)
    index = [str(axis.slot(time)) for time in times]
    constants = {f"{keyword.name}_{part}": value for part, value in _values(completed, keyword)}
    added = {name: [value] * len(index) for name, value in constants.items()} | {axis.index: index}
    keywords = [*answer["keywords"], *({"name": name, "values": values} for name, values in added.items())]
    return completed, {**answer, "keywords": keywords}


def _first_fitting(
    series: Series, keyword: Keyword, step: str, times: Sequence[float]
) -> tuple[Series, SlotAxis]:
    """The series with the first epoch whose slots match the records."""
    for epoch in _EPOCHS:
        completed = _with_keywords(series, keyword, epoch, step)
        axis = slot_axis(completed, keyword.name)
        if axis is not None and all(abs(axis.start(axis.slot(time)) - time) < _NEAR for time in times):
            return completed, axis
    raise ValueError(f"{keyword.name}: the records are on no slots of {step} s that begin at {_EPOCHS}")


def _with_keywords(series: Series, keyword: Keyword, epoch: str, step: str) -> Series:
    name = keyword.name
    constants = (
        Keyword(f"{name}_epoch", "time", "constant", epoch, "TAI", "Time of slot 0"),
        Keyword(f"{name}_step", "float", "constant", step, "seconds", "Width of a slot"),
        Keyword(f"{name}_unit", "string", "constant", "secs", "none", "Unit of the step"),
    )
    index = Keyword(f"{name}_index", "longlong", "index", "0", "none", f"Slot of {name}")
    at = series.keywords.index(keyword) + 1
    return replace(series, keywords=(*series.keywords[:at], *constants, *series.keywords[at:], index))


def _values(series: Series, keyword: Keyword) -> list[tuple[str, str]]:
    """The constants as they are printed in every record."""
    found = [(part, series.keyword(f"{keyword.name}_{part}")) for part in ("epoch", "step", "unit")]
    return [(part, constant.defval) for part, constant in found if constant is not None]
