"""Metrics for Prometheus, made on request from counts that the mirror keeps anyway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

__all__ = ["Metric", "Timings", "counter", "exposition", "gauge"]

#: A number, or numbers by the values of one or several labels.
Samples = float | Mapping[str, float] | Mapping[tuple[str, str], float] | Mapping[tuple[str, ...], float]


def counter(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    """A metric that only grows, from 0 at the mirror's start; its name ends in ``_total``."""
    return _filled(CounterMetricFamily(name.removesuffix("_total"), text, labels=labels), samples)


def gauge(name: str, text: str, samples: Samples, *labels: str) -> Metric:
    """A metric that goes up and down."""
    return _filled(GaugeMetricFamily(name, text, labels=labels), samples)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, samples: Samples) -> Metric:
    values = samples if isinstance(samples, Mapping) else {(): samples}
    for labels, value in values.items():
        family.add_metric([labels] if isinstance(labels, str) else list(labels), value)
    return family


#: Bounds of the histogram in seconds: from answers of the cache to requests that wait for JSOC.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Timings:
    """How long something takes, by the values of one label, as a histogram."""

    def __init__(self, name: str, text: str, label: str, known: str) -> None:
        self._histogram = Histogram(name, text, [label], registry=None, buckets=_SECONDS)
        self._histogram.labels(known)  # present from the start

    def __call__(self, value: str, seconds: float) -> None:
        """Record one duration."""
        self._histogram.labels(value).observe(seconds)

    def metrics(self) -> list[Metric]:
        """What was measured since the start."""
        found = list(self._histogram.collect())
        for metric in found:
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
        return found


class _Collected(Collector):
    """Metrics that were collected already, for a registry."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = tuple(metrics)

    def collect(self) -> Iterable[Metric]:
        """The metrics."""
        return self._metrics


def exposition(metrics: Iterable[Metric], accept: str = "") -> tuple[bytes, str]:
    """Metrics in Prometheus' text format, or OpenMetrics if the request accepts it; and the content type."""
    registry = CollectorRegistry()
    registry.register(_Collected(metrics))
    try:
        encode, kind = choose_encoder(accept)
    except ValueError:  # a version that is not a number
        encode, kind = choose_encoder("")
    return encode(registry), kind
