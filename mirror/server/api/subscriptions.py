"""The API of subscriptions: their state, syncing now, and edits of config.toml."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mirror.api import subscriptions as api
from mirror.api.contract import Nothing, plain
from mirror.errors import Refused
from mirror.server.endpoints import serve
from mirror.services.subscriptions.editing import subscription_of

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.api.fills import Estimate
    from mirror.services.estimates import Estimates
    from mirror.services.subscriptions.editing import Subscribing, SubscriptionValidation
    from mirror.services.subscriptions.manager import Sync


class SubscriptionsApi:
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
        serve(router, api.SUBSCRIPTIONS, self.subscriptions)
        serve(router, api.ADD, self.add)
        serve(router, api.ESTIMATE_SUBSCRIPTION, self.estimate)
        serve(router, api.CHANGE, self.change)
        serve(router, api.REMOVE, self.remove)
        serve(router, api.SYNC, self.sync)

    async def subscriptions(self, _: web.Request, __: Nothing) -> list[api.Subscription]:
        """All subscriptions."""
        return await self._sync.report()

    async def add(self, _: web.Request, asked: api.SubscriptionTable) -> api.Named:
        """Add one to config.toml."""
        subscription = plain(asked)
        await self._check.check(subscription)
        async with self._editing:
            added = await asyncio.to_thread(self._file().add, subscription)
            await self._check.apply()
        return api.Named(name=added.identity)

    async def estimate(self, _: web.Request, asked: api.SubscriptionTable) -> Estimate:
        """What is wrong with it, else what it would fetch now."""
        subscription = plain(asked)
        await self._check.check(subscription)
        return (await self._estimates.of_subscription(subscription_of(subscription))).summary()

    async def change(self, request: web.Request, asked: api.SubscriptionTable) -> api.Named:
        """Replace the subscription of that name."""
        subscription = plain(asked)
        await self._check.check(subscription)
        async with self._editing:
            changed = await asyncio.to_thread(self._file().change, request.match_info["name"], subscription)
            await self._check.apply()
        return api.Named(name=changed.identity)

    async def remove(self, request: web.Request, _: Nothing) -> api.Named:
        """Remove a subscription from config.toml; its data stay cached."""
        name = request.match_info["name"]
        async with self._editing:
            await asyncio.to_thread(self._file().remove, name)
            await self._check.apply()
        return api.Named(name=name)

    async def sync(self, _: web.Request, asked: api.SyncBody) -> dict[str, int]:
        """Make one subscription, or all, look for new data now: those in the file at this moment."""
        await self._check.apply()
        return await self._sync.once(asked.name)

    def _file(self) -> Subscribing:
        if self._subscribing is None:
            raise Refused(
                "the mirror runs without a config.toml; start it with `mirror serve --config FILE`"
            )
        return self._subscribing
