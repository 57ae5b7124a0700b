"""The files of ``mirror/simulator/data``: a series' structure, and what its values are like.

A file is one JSON object: the members of a ``series_struct`` answer, and beside them

- of a keyword: ``format`` (a printf format; for times the decimals of the second), ``value`` (what it
  typically holds; null for always missing) and ``spread`` (how far it strays from that). A keyword
  without ``value`` is computed (see ``mirror.simulator.synthetic.columns``) or constant.
- of a segment: ``file``, the name of its file; of the series: ``first_unit``, its first storage unit.

Two members spare rows. A segment with ``cparms`` (and ``bzero``, ``bscale``) brings its implicit keywords along.
A series with ``like`` is told by what it differs from another in: its own members stand instead of the other's,
and of its keywords ``drop`` names those that it lacks, ``set`` changes members of some, ``add`` has further ones.

The files lie in a folder for each kind of series. Where a structure comes from, or that it is made up, is said by
the module that computes its values.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from mirror.drms.series import Keyword, Link, PrimeKey, Segment, Series
from mirror.drms.slots import SlotAxis, slot_axis
from mirror.errors import UnknownName, UnknownSeries

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_DATA = files("mirror.simulator") / "data"
_MEMBERS = ("name", "type", "recscope", "defval", "units", "note", "linkinfo")


@dataclass(frozen=True, slots=True)
class Typical:
    """What a keyword has if nothing computes it: ``value``, within ``spread``; None is missing."""

    value: int | float | str | None
    spread: float = 0.0


@dataclass(frozen=True)
class Blueprint:
    """A series as its file describes it; ``formats`` and ``typical`` by the keyword's own-case name.

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
    return _blueprint(_told(name))


def series_names() -> list[str]:
    """The own-case names of all series that have a file."""
    return sorted(file.name.removesuffix(".json") for folder in _folders() for file in folder.iterdir())


def _folders() -> list[Traversable]:
    return [entry for entry in _DATA.iterdir() if entry.is_dir()]


def _told(name: str) -> dict[str, Any]:
    """The content of a series' file, with what it takes from another one."""
    entry = next((f for folder in _folders() if (f := folder / f"{name}.json").is_file()), None)
    if entry is None:
        raise UnknownSeries(name)
    told: dict[str, Any] = json.loads(entry.read_text(encoding="utf-8"))
    return told if "like" not in told else _completed(told, _told(told["like"]))


def _completed(told: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The full description of a series given by its differences."""
    changes, dropped = told.get("set", {}), frozenset(told.get("drop", ()))
    rows = [
        {**row, **changes.get(row["name"], {})} for row in other["keywords"] if row["name"] not in dropped
    ]
    if "segments" in told:
        scaled = {
            f"{segment['name']}_{part}" for segment in other["segments"] for part in ("bzero", "bscale")
        }
        rows = [row for row in rows if row["name"] not in scaled and not row["name"].startswith("cparms_sg")]
    return {**other, **told, "keywords": [*rows, *told.get("add", ())]}


def load_facts(name: str) -> Any:
    """A file of facts that is not a series, parsed: ``suites`` or ``names``."""
    return json.loads((_DATA / f"_{name}.json").read_text(encoding="utf-8"))


def _blueprint(told: dict[str, Any]) -> Blueprint:
    segments = told["segments"]
    rows = [*_implied(segments), *told["keywords"]]
    series = _series(told, rows, segments)
    formats = {row["name"]: row["format"] for row in rows}
    of_segments = {held.name: formats[k.name] for k in series.keywords for held in series.held(k)}
    return Blueprint(
        series,
        {**formats, **of_segments},
        {row["name"]: Typical(row["value"], row.get("spread", 0.0)) for row in rows if "value" in row},
        {row["name"]: row["file"] for row in segments},
        told["first_unit"],
    )


def _implied(segments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the keywords that segments imply."""
    rows: list[dict[str, Any]] = []
    for number, segment in enumerate(segments):
        if "cparms" in segment:
            rows.append(_implied_row(f"cparms_sg{number:03d}", "string", "%s", segment["cparms"]))
        rows += [
            _implied_row(f"{segment['name']}_{part}", "double", "%g", f"{segment[part]:g}")
            for part in ("bzero", "bscale")
            if part in segment
        ]
    return rows


def _implied_row(name: str, kind: str, form: str, default: str) -> dict[str, Any]:
    told = {"name": name, "type": kind, "format": form, "defval": default}
    return {**told, "recscope": "variable", "units": "none", "note": ""}


def _series(told: dict[str, Any], rows: list[dict[str, Any]], segments: list[dict[str, Any]]) -> Series:
    return Series(
        **{name: told[name] for name in ("name", "note", "retention", "unitsize", "archive", "tapegroup")},
        primekeys=tuple(PrimeKey(**key) for key in told["primekeys"]),
        dbindex=tuple(told["dbindex"]),
        keywords=tuple(_keyword(row) for row in rows),
        segments=tuple(_segment(row) for row in segments),
        links=tuple(Link(**link) for link in told["links"]),
    )


def _keyword(row: dict[str, Any]) -> Keyword:
    return _shared(*(row.get(name) for name in _MEMBERS))


@cache
def _shared(*members: str | None) -> Keyword:
    """A keyword; those that several series share are made once."""
    return Keyword(**dict(zip(_MEMBERS, members, strict=True)))  # type: ignore[arg-type]


def _segment(row: dict[str, Any]) -> Segment:
    return Segment(**{name: row[name] for name in ("name", "type", "units", "protocol", "dims", "note")})
