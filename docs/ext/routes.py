"""The references of the HTTP interface and of the metrics: of a mirror that is built, and never asked anything."""

from __future__ import annotations

import asyncio
import inspect
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirror.api.endpoints import ENDPOINTS
from mirror.config.loading import Config, Storage, Upstream
from mirror.daemon import build
from mirror.metrics import exposition
from mirror.server.roles import role_of

if TYPE_CHECKING:
    from aiohttp import web

#: Headings of the page, and what the paths below each begin with; the first that fits counts.
GROUPS = (
    ("JSOC's own paths", ("/cgi-bin/", "/SUM", "/{disk", "/exports", "/jsoc")),
    ("The mirror's API", ("/api/",)),
    ("Watching it", ("/metrics", "/healthz")),
    ("Pages", ("/",)),
)


@dataclass(frozen=True)
class Route:
    """What one path answers; ``methods`` with "*" for all."""

    path: str
    methods: tuple[str, ...]
    text: str
    roles: tuple[str, ...]  #: those that the methods need, from the least


@dataclass(frozen=True)
class Metric:
    """One metric of /metrics."""

    name: str
    kind: str
    text: str


def specimen() -> tuple[list[Route], list[Metric]]:
    """The routes and metrics of a mirror with the default configuration, on a store that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_look(Config(storage=replace(Storage(), path=Path(folder)), upstream=_NOBODY)))


_NOBODY = Upstream(url="http://127.0.0.1:9", policy="offline")


async def _look(config: Config) -> tuple[list[Route], list[Metric]]:
    mirror = await build(config)
    try:
        text, _ = exposition(await mirror.measures.metrics())
        return routes(mirror.app), metrics(text.decode())
    finally:
        await mirror.close()


def routes(app: web.Application) -> list[Route]:
    """Each path once for each handler; HEAD goes without saying."""
    found: dict[tuple[str, Any], list[str]] = {}
    for route in app.router.routes():
        resource = route.resource
        if resource is not None and route.method != "HEAD":
            found.setdefault((resource.canonical, route.handler), []).append(route.method)
    told = {(e.method, e.path): e.text for e in ENDPOINTS}
    return [
        Route(_SHOWN.get(path, path), tuple(methods), told.get((methods[0], path)) or _doc(handler), _roles(path, methods))
        for (path, handler), methods in found.items()
    ]


#: Paths whose pattern says more than their names.
_SHOWN = {"/{disk}/{rest}": "/SUM{n}/D{sunum}/S{slot}/{file}", "/{path}": "/... (any other path)"}


def _roles(path: str, methods: list[str]) -> tuple[str, ...]:
    return tuple(str(role) for role in sorted({role_of(method, path, path) for method in methods}))


def _doc(handler: Callable[..., Any]) -> str:
    return inspect.cleandoc(getattr(handler, "func", handler).__doc__ or "")


def metrics(text: str) -> list[Metric]:
    """The metrics of an answer of /metrics."""
    told = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE))
    return [
        Metric(name, kind, told[name])
        for name, kind in re.findall(r"^# TYPE (\S+) (.*)$", text, re.MULTILINE)
    ]


def pages() -> tuple[str, str]:
    """The pages of the HTTP interface and of the metrics, in Markdown."""
    paths, measured = specimen()
    return _http(paths), _metrics(measured)


def _http(paths: list[Route]) -> str:
    grouped: dict[str, list[Route]] = {heading: [] for heading, _ in GROUPS}
    for route in paths:
        grouped[_group(route.path)].append(route)
    return "\n".join([_HTTP_HEAD, *(_section(*each) for each in grouped.items())])


def _group(path: str) -> str:
    return next(heading for heading, starts in GROUPS if path.startswith(starts))


def _section(heading: str, held: list[Route]) -> str:
    return "\n".join([f"## {heading}\n", *_entries(held)])


def _entries(held: list[Route]) -> Iterator[str]:
    for route in sorted(held, key=lambda r: r.path):
        methods = " ".join(m for m in route.methods) if "*" not in route.methods else "any method"
        yield f"`{methods}` `{route.path}`"
        first, *rest = route.text.replace("``", "`").split("\n\n")
        yield ": " + _plain(first)
        yield from (f"\n  {_plain(paragraph)}" for paragraph in rest)
        yield f"\n  Role: {' or '.join(route.roles)}."
        yield ""


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;") if "`" not in text else " ".join(text.split())


def _metrics(measured: list[Metric]) -> str:
    rows = [f"| `{m.name}` | {m.kind} | {m.text} |" for m in measured]
    return "\n".join([_METRICS_HEAD, "| metric | kind | what it says |", "|---|---|---|", *rows, ""])


_HTTP_HEAD = """# HTTP interface

<!-- Made by docs/ext/routes.py of the handlers of a mirror. -->

A mirror answers at JSOC's own paths as JSOC does, to whoever asks it as a server and to whoever has it as a proxy
for `jsoc.stanford.edu`. Paths of JSOC that are not in this list are passed on to JSOC; what is below `/data/` and
`/doc/data/` is kept as well ([plain files](../freshness.md#plain-files)). Its own API gives JSON,
whose members are in [the API](api.md). What goes wrong there is
`{"error": "..."}` with a code of HTTP; at JSOC's paths it is `{"status": 1, "error": "..."}` with code 200, as
there. How an answer came about is in the header `X-Mirror`: see [freshness](../freshness.md). The role that a path
needs is told with it; who has which is told under [access](../access.md).
"""

_METRICS_HEAD = """# Metrics

<!-- Made by docs/ext/routes.py of the answer of /metrics. -->

`GET /metrics` is for Prometheus. `scripts/service/grafana-dashboard.json` is a dashboard of these metrics to import
into Grafana. Counters begin at zero when the mirror starts.

```yaml
scrape_configs:
  - job_name: jsoc-mirror
    static_configs:
      - targets: ["mirror.example.org:8040"]
```
"""
