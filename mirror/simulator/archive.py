"""The series that the simulator serves, and record sets bound to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.parser import parse_query
from mirror.drms.selection import bind
from mirror.errors import ConfigError, UnknownSeries

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.drms.recordset import RecordSet, Selection
    from mirror.drms.series import Series
    from mirror.simulator.base import SeriesData


@dataclass(frozen=True, slots=True)
class Wanted:
    """One record set of a query: the series' data and what is selected of it."""

    data: SeriesData
    selection: Selection

    @property
    def structure(self) -> Series:
        return self.data.structure


class Archive:
    """Series by name, found in any case."""

    def __init__(self, series: Iterable[SeriesData]) -> None:
        self._series: dict[str, SeriesData] = {}
        for each in series:
            if self._series.setdefault(each.structure.name.lower(), each) is not each:
                raise ConfigError(f"series {each.structure.name!r} is there twice; expected each name once")

    @property
    def names(self) -> list[str]:
        """Own-case names in the order of the series list: by bytes, upper case before lower."""
        return sorted(each.structure.name for each in self._series.values())

    def find(self, name: str) -> SeriesData:
        """The series of that name; UnknownSeries if there is none."""
        found = self._series.get(name.lower())
        if found is None:
            raise UnknownSeries(name)
        return found

    def structures(self) -> list[Series]:
        """Every structure, in the order of ``names``."""
        return [self.find(name).structure for name in self.names]

    def wanted(self, ds: str) -> list[Wanted]:
        """The record sets of a query, in its order; SyntaxProblem, UnknownSeries or UnknownName."""
        return [self.bind(each, ds) for each in parse_query(ds).sets]

    def bind(self, record_set: RecordSet, ds: str) -> Wanted:
        """One set of the query ``ds``, bound to its series."""
        data = self.find(record_set.series)
        return Wanted(data, bind(record_set, data.structure, text=ds, zero_steps=True))
