"""Every path of our own API, in one table."""

from __future__ import annotations

from typing import Any

from mirror.api import (
    access,
    adoption,
    cluster,
    coverage,
    datasets,
    exports,
    fills,
    freshness,
    images,
    maintenance,
    monitoring,
    news,
    search,
    sql,
    subscriptions,
    transfer,
)
from mirror.api.contract import Endpoint, Nothing

DOCUMENT = Endpoint(
    method="GET", path="/api/openapi.json", role="read", asked=Nothing, answer=dict[str, Any],
    text="This interface as OpenAPI 3.1.",
)  # fmt: skip

#: By capability, in the order of the OpenAPI document.
CAPABILITIES: dict[str, tuple[Endpoint[Any, Any], ...]] = {
    "search": search.ENDPOINTS,
    "coverage": coverage.ENDPOINTS,
    "sql": sql.ENDPOINTS,
    "exports": exports.ENDPOINTS,
    "cutouts": images.CUTOUT_ENDPOINTS,
    "datasets": datasets.ENDPOINTS,
    "fills": fills.ENDPOINTS,
    "films": images.FILM_ENDPOINTS,
    "subscriptions": subscriptions.ENDPOINTS,
    "freshness": freshness.ENDPOINTS,
    "news": news.ENDPOINTS,
    "maintenance": maintenance.ENDPOINTS,
    "transfer": transfer.ENDPOINTS,
    "adoption": adoption.ENDPOINTS,
    "access": access.ENDPOINTS,
    "cluster": cluster.ENDPOINTS,
    "monitoring": (*monitoring.ENDPOINTS, DOCUMENT),
}
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = tuple(e for each in CAPABILITIES.values() for e in each)
