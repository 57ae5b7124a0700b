"""A gateway between a mirror and a simulator, which a test may confuse: it answers with something else."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from mirror.wire.params import decode_body, decode_params
from tests.lab import RUNNER, Lab, lab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    import aiohttp

    from mirror.simulator.base import SeriesData

    #: Gets the gateway and the parameters of a question; gives what is sent instead, or None for the right answer.
    Confusion = Callable[["Gateway", dict[str, str]], Awaitable[bytes | web.StreamResponse | None]]


@dataclass
class Gateway:
    """Passes every question on; ``confusion`` changes the answers. ``asked`` are the parameters of the questions."""

    simulator: str
    session: aiohttp.ClientSession
    confusion: Confusion | None = None
    asked: list[dict[str, str]] = field(default_factory=list)
    request: web.Request | None = None  #: the one that is being answered
    _answers: dict[str, bytes] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        params = decode_params(request.rel_url.raw_query_string)
        params |= decode_body(body, request.headers.get("Content-Type", "")) if body else {}
        params["path"] = request.path
        self.asked.append(params)
        self.request = request
        other = None if self.confusion is None else await self.confusion(self, params)
        if isinstance(other, web.StreamResponse):
            return other
        answer = await self.right(params) if other is None else other
        return web.Response(body=answer, content_type="application/json")

    async def right(self, params: dict[str, str]) -> bytes:
        """What the simulator says; it is asked once."""
        key = json.dumps(params)
        if key not in self._answers:
            form = {k: v for k, v in params.items() if k != "path"}
            async with self.session.post(self.simulator + params["path"], data=form) as answer:
                self._answers[key] = await answer.read()
        return self._answers[key]

    def about(self, op: str) -> list[dict[str, Any]]:
        """The questions of one operation."""
        return [params for params in self.asked if params.get("op") == op]


@asynccontextmanager
async def confused_lab(
    path: Path, series: Sequence[SeriesData] | None = None, **environ: str
) -> AsyncIterator[tuple[Lab, Gateway]]:
    """A lab whose mirror asks the simulator through a gateway."""
    async with lab(path, series, **environ) as made:
        gateway = Gateway(made.environ["MIRROR_UPSTREAM__URL"], made.session)
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", gateway.handle)
        server = TestServer(app)
        await server.start_server(**RUNNER)
        try:
            await made.restart(MIRROR_UPSTREAM__URL=f"http://127.0.0.1:{server.port}")
            yield made, gateway
        finally:
            await made.stop()
            await server.close()
