"""What the mirror holds and how it is doing, for people, the API and Prometheus."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mirror.drms.axis import coverage_axis
from mirror.drms.coverage import Between
from mirror.drms.intervals import MAX, MIN, Span
from mirror.drms.plan import RECNUMS, other_keys

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from mirror.drms.coverage import Region
    from mirror.drms.series import Series
    from mirror.engine.filler import Filler
    from mirror.engine.policy import Rules
    from mirror.storage.blobs import Blobs
    from mirror.storage.index import Index
    from mirror.upstream.client import Exchange, UpstreamClient


@dataclass
class Tallies:
    """Counts since the start."""

    searches: Counter[str]
    requests: Counter[tuple[str, str]]
    records: Counter[str]
    upstream_bytes: int = 0
    started_at: float = field(default=0.0)

    def count_exchange(self, exchange: Exchange) -> None:
        """Count one attempt at a request upstream."""
        self.requests[exchange.program, exchange.outcome] += 1
        self.upstream_bytes += exchange.bytes
        if exchange.records:
            self.records[exchange.series] += exchange.records


class Status:
    """Describes the mirror; everything it gives is plain JSON."""

    def __init__(
        self,
        index: Index,
        filler: Filler,
        upstream: UpstreamClient,
        rules: Rules,
        tallies: Tallies,
        blobs: Blobs,
    ) -> None:
        self._index = index
        self._filler = filler
        self._upstream = upstream
        self._rules = rules
        self._tallies = tallies
        self._blobs = blobs

    async def series(self) -> list[dict[str, Any]]:
        """The series that are known, each with its prime keys and how many records are held."""
        return [
            {
                "series": s.name,
                "records": await self._index.count(s),
                "primekeys": [k.name for k in s.primekeys],
                "keywords": len(s.all_keywords),
                "segments": [x.name for x in s.segments],
                "note": s.note,
            }
            for s in self._index.all_series()
        ]

    def coverage(self, name: str | None) -> list[dict[str, Any]]:
        """The spans that are held completely, of one series or of all."""
        chosen = [s for s in self._index.all_series() if name is None or s.name.lower() == name.lower()]
        return [line for s in chosen for line in self._lines(s)]

    async def status(self) -> dict[str, Any]:
        """How the mirror is doing."""
        pace = self._upstream.pace()
        fills = self._filler.progress()
        return {
            "policy": self._rules.policy,
            "uptime_seconds": round(self._rules.timestamp() - self._tallies.started_at),
            "series": len(self._index.all_series()),
            "records": sum([await self._index.count(s) for s in self._index.all_series()]),
            "searches": dict(self._tallies.searches),
            "upstream": {
                "state": self.upstream_state(),
                "running": pace.running,
                "waiting": pace.waiting,
                "requests": sum(self._tallies.requests.values()),
                "failed": sum(n for (_, outcome), n in self._tallies.requests.items() if outcome != "ok"),
                "bytes": self._tallies.upstream_bytes,
            },
            "fills": [{"series": name, "done": p.done, "total": p.total} for name, p in fills.items()],
        }

    def upstream_state(self) -> str:
        """"ok", "failing" (of late), "away" (left alone for a while) or "offline" (not to be asked)."""
        if not self._rules.may_ask:
            return "offline"
        pace = self._upstream.pace()
        return "away" if pace.open_for else "failing" if pace.failures else "ok"

    async def metrics(self) -> str:
        """The counters as Prometheus reads them."""
        t = self._tallies
        lines = [
            *_metric("mirror_upstream_requests_total", "counter", "Requests to JSOC.", (
                (f'program="{program}",outcome="{outcome}"', n) for (program, outcome), n in t.requests.items())),
            *_metric("mirror_upstream_records_total", "counter", "Records that JSOC sent.", (
                (f'series="{name}"', n) for name, n in t.records.items())),
            *_metric("mirror_upstream_bytes_total", "counter", "Bytes that JSOC sent.", [("", t.upstream_bytes)]),
            *_metric("mirror_searches_total", "counter", "Searches by how they were answered.", (
                (f'plan="{plan}"', n) for plan, n in t.searches.items())),
            *_metric("mirror_blob_bytes", "gauge", "Bytes of files held.", [("", self._blobs.usage().held)]),
            *_metric("mirror_records", "gauge", "Records held.", [
                (f'series="{s.name}"', await self._index.count(s)) for s in self._index.all_series()]),
        ]  # fmt: skip
        return "\n".join(lines) + "\n"

    def _lines(self, series: Series) -> Iterator[dict[str, Any]]:
        for region, spans in self._index.coverage(series):
            for span in spans:
                first, last = _ends(series, region, span)
                yield {
                    "series": series.name,
                    "restriction": _restriction(series, region),
                    "first": first,
                    "last": last,
                    "slots": None if span.lo <= MIN or span.hi >= MAX else span.hi - span.lo + 1,
                    "checked_at": span.checked_at,
                }


def _metric(name: str, kind: str, text: str, samples: Any) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def _restriction(series: Series, region: Region) -> str:
    """As in a record set: ``WAVELNTH=171``; "" for all records."""
    if region == RECNUMS:
        return "by record number"
    parts = [
        f"{key}={f'{r.lo}-{r.hi}' if r.lo != r.hi else r.lo}" if isinstance(r, Between) else f"{key}={r}"
        for key, r in zip(other_keys(series), region.others, strict=True)
        if r is not None
    ]
    return " ".join([*parts, *(["all versions"] if region.all_versions else [])])


def _ends(series: Series, region: Region, span: Span) -> tuple[str | None, str | None]:
    """First and last value of a span as the key prints; None for an open end."""
    axis = None if region == RECNUMS else coverage_axis(series)
    text = str if axis is None else axis.text
    return None if span.lo <= MIN else text(span.lo), None if span.hi >= MAX else text(span.hi)
