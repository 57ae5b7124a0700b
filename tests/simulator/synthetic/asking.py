"""The synthetic series at some time, and a way to ask them."""

from dataclasses import dataclass

from mirror.drms.parser import parse_query
from mirror.drms.times import parse_time
from mirror.simulator import evaluate
from mirror.simulator.archive import bind_selection
from mirror.simulator.base import Rows, SeriesData
from mirror.simulator.synthetic import synthetic_series


@dataclass(frozen=True)
class Archive:
    series: dict[str, SeriesData]

    def find(self, name) -> SeriesData:
        return self.series[name.lower()]

    def bound(self, ds):
        record_set = parse_query(ds).sets[0]
        data = self.find(record_set.series)
        return bind_selection(record_set, data.structure, text=ds), data

    def select(self, ds, n=0) -> Rows:
        return evaluate.select(*self.bound(ds), n)

    def count(self, ds) -> int:
        return evaluate.count(*self.bound(ds))

    def printed(self, ds, key) -> list[str]:
        return list(self.select(ds).printed(key, precise=False))


def archive_at(text) -> Archive:
    now = parse_time(text)
    return Archive({data.structure.name.lower(): data for data in synthetic_series(lambda: now)})
