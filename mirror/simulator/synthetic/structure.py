"""The files of ``mirror/simulator/data``: a series' structure, and what its values are like.

A file is one JSON object: the members of a ``series_struct`` answer, and beside them

- of a keyword: ``format`` (a printf format; for times the decimals of the second), ``value`` (what it
  typically holds; null for always missing) and ``spread`` (how far it strays from that). A keyword
  without ``value`` is computed (see ``mirror.simulator.synthetic.columns``) or constant.
- of a segment: ``file``, the name of its file; of the series: ``first_unit``, its first storage unit.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from typing import Any

from mirror.drms.series import Keyword, Link, PrimeKey, Segment, Series
from mirror.drms.slots import SlotAxis, slot_axis
from mirror.errors import UnknownName, UnknownSeries

_DATA = files("mirror.simulator") / "data"


@dataclass(frozen=True, slots=True)
class Typical:
    """What a keyword holds where nothing computes it: ``value``, within ``spread``; None is missing."""

    value: int | float | str | None
    spread: float = 0.0


@dataclass(frozen=True)
class Blueprint:
    """A series as its file tells it; ``formats`` and ``typical`` by the keyword's own-case name.

    ``first_unit`` is the number of its first storage unit, None if its files are another's or it has none.
    """

    series: Series
    formats: Mapping[str, str]
    typical: Mapping[str, Typical]
    file_names: Mapping[str, str]
    first_unit: int | None

    def named(self, name: str, note: str) -> Blueprint:
        """The same under another name."""
        return replace(self, series=replace(self.series, name=name, note=note))

    @cached_property
    def axis(self) -> SlotAxis:
        """The slots of the slotted prime key; UnknownName for a series that has none."""
        found = (slot_axis(self.series, key.name) for key in self.series.primekeys if key.slotted)
        axis = next(found, None)
        if axis is None:
            raise UnknownName(f"series {self.series.name} has no slotted prime key")
        return axis


def load(name: str) -> Blueprint:
    """The blueprint of a series by its own-case name; UnknownSeries if there is no such file."""
    entry = _DATA / f"{name}.json"
    if not entry.is_file():
        raise UnknownSeries(name)
    return _blueprint(json.loads(entry.read_text(encoding="utf-8")))


def load_facts(name: str) -> Any:
    """A file of facts that is not a series, parsed: ``suites`` or ``names``."""
    return json.loads((_DATA / f"_{name}.json").read_text(encoding="utf-8"))


def _blueprint(told: dict[str, Any]) -> Blueprint:
    rows, segments = told["keywords"], told["segments"]
    return Blueprint(
        _series(told, rows, segments),
        {row["name"]: row["format"] for row in rows},
        {row["name"]: Typical(row["value"], row.get("spread", 0.0)) for row in rows if "value" in row},
        {row["name"]: row["file"] for row in segments},
        told["first_unit"],
    )


def _series(told: dict[str, Any], rows: list[dict[str, Any]], segments: list[dict[str, Any]]) -> Series:
    return Series(
        **{name: told[name] for name in ("name", "note", "retention", "unitsize", "archive", "tapegroup")},
        primekeys=tuple(PrimeKey(**key) for key in told["primekeys"]),
        dbindex=tuple(told["dbindex"]),
        keywords=tuple(Keyword(**_without(row, "format", "value", "spread")) for row in rows),
        segments=tuple(Segment(**_without(row, "file")) for row in segments),
        links=tuple(Link(**link) for link in told["links"]),
    )


def _without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}
