"""The API of subscriptions: how they are doing, "look for what is new now", and edits of config.toml."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from mirror.errors import Refused
from mirror.server.bodies import json_object
from mirror.services.subscriptions.editing import subscription_of

if TYPE_CHECKING:
    from mirror.server.bodies import Kinds
    from mirror.services.estimates.estimates import Estimates
    from mirror.services.subscriptions.editing import Subscribing, SubscriptionValidation
    from mirror.services.subscriptions.manager import Sync

_TEXT, _LIST, _NUMBER = str, list, (int, float, str)
#: The keys of a subscription, as config.toml has them.
KEYS: dict[str, Kinds] = {
    "series": _TEXT, "start": _TEXT, "end": _TEXT, "name": _TEXT, "keys": dict, "where": _TEXT, "step": _NUMBER,
    "segments": _LIST, "protocol": _TEXT, "every": _NUMBER, "keep": _NUMBER, "priority": _TEXT, "hours": _TEXT,
    "budget": _TEXT,
}  # fmt: skip


class SyncApi:
    """The handlers of /api that are about subscriptions; ``subscribing`` is None where there is no config.toml."""

    def __init__(
        self, sync: Sync, subscribing: Subscribing | None, check: SubscriptionValidation, estimates: Estimates
    ) -> None:
        self._estimates = estimates
        self._sync = sync
        self._subscribing = subscribing
        self._check = check
        self._editing = asyncio.Lock()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_get("/api/subscriptions", self.subscriptions)
        router.add_post("/api/subscriptions", self.add)
        router.add_post("/api/subscriptions/estimate", self.estimate)
        router.add_put("/api/subscriptions/{name}", self.change)
        router.add_delete("/api/subscriptions/{name}", self.remove)
        router.add_post("/api/sync", self.sync)

    async def subscriptions(self, _: web.Request) -> web.Response:
        """All subscriptions, each with its progress and estimate."""
        return web.json_response(await self._sync.report())

    async def add(self, request: web.Request) -> web.Response:
        """The keys of a [[subscription]]: write one more into config.toml."""
        subscription = await json_object(request, KEYS)
        await self._check.check(subscription)
        async with self._editing:
            added = await asyncio.to_thread(self._file().add, subscription)
            await self._check.apply()
        return web.json_response({"name": added.identity}, status=201)

    async def estimate(self, request: web.Request) -> web.Response:
        """The same keys: what is wrong with them, else what that would fetch by now. Nothing is written."""
        subscription = await json_object(request, KEYS)
        await self._check.check(subscription)
        found = await self._estimates.of_subscription(subscription_of(subscription))
        return web.json_response(found.plain())

    async def change(self, request: web.Request) -> web.Response:
        """The same, in the place of the subscription of that name."""
        subscription = await json_object(request, KEYS)
        await self._check.check(subscription)
        async with self._editing:
            changed = await asyncio.to_thread(self._file().change, request.match_info["name"], subscription)
            await self._check.apply()
        return web.json_response({"name": changed.identity})

    async def remove(self, request: web.Request) -> web.Response:
        """Take a subscription out of config.toml; what it has fetched stays."""
        name = request.match_info["name"]
        async with self._editing:
            await asyncio.to_thread(self._file().remove, name)
            await self._check.apply()
        return web.json_response({"name": name})

    async def sync(self, request: web.Request) -> web.Response:
        """``name``: one subscription; without it all look for what is new now.

        The answer says how often each has rested so far: when it has once more, it is done.
        """
        name = (await json_object(request, {"name": str})).get("name")
        return web.json_response(await self._sync.once(name), status=202)

    def _file(self) -> Subscribing:
        if self._subscribing is None:
            raise Refused(
                "the mirror runs without a config.toml; expected one, by `mirror serve --config FILE`"
            )
        return self._subscribing
