"""The series that the simulator serves, and record sets bound to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mirror.drms.parser import parse_query
from mirror.drms.recordset import Where, WhereFilter
from mirror.drms.selection import bind
from mirror.errors import ConfigError, Refused, UnknownSeries
from mirror.simulator.evaluate import OwnCondition
from mirror.simulator.sql import closes_early, read_condition
from mirror.simulator.sql.columns import table_columns

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
        return Wanted(data, bind_selection(record_set, data.structure, text=ds, zero_steps=True))


def bind_selection(
    record_set: RecordSet, series: Series, *, text: str | None = None, zero_steps: bool = False
) -> Selection:
    """A record set bound to its series: keys as the mirror binds them, conditions by the simulator's own parser."""
    _check_escape(record_set)
    always = tuple(replace(f, text="true") if isinstance(f, Where) else f for f in record_set.filters)
    bound = bind(replace(record_set, filters=always), series, text=text, zero_steps=zero_steps)
    columns, query = table_columns(series), text
    wheres = iter(f for f in record_set.filters if isinstance(f, Where))

    def own(bound: WhereFilter) -> OwnCondition:
        where = next(wheres)
        place = (where.text, 0) if query is None else (query, where.position)
        condition = read_condition(where.text, columns, series=series.name, query=place[0], offset=place[1])
        return OwnCondition(bound.expr, bound.all_versions, condition)

    filters = tuple(own(f) if isinstance(f, WhereFilter) else f for f in bound.filters)
    return replace(bound, source=record_set, filters=filters)


def _check_escape(record_set: RecordSet) -> None:
    """Refuse ``[2014][? 1=1) or (1=1 ?]``: at the server its OR would also cancel the other filters."""
    if len(record_set.filters) > 1 and any(
        isinstance(f, Where) and closes_early(f.text) for f in record_set.filters
    ):
        raise Refused("a condition that closes a parenthesis it did not open is served only by itself")
