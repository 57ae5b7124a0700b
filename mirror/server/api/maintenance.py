"""The API of upkeep: pins, eviction, checks, forgetting data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.api import maintenance as api
from mirror.server.api.exports import export_of
from mirror.server.endpoints import serve

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.services.maintenance.checker import Checker
    from mirror.services.maintenance.retention import Forgetter, Store


class MaintenanceApi:
    """The handlers of /api/pins, /api/evict, /api/check and /api/forget."""

    def __init__(self, store: Store, checker: Checker, forgetter: Forgetter) -> None:
        self._store = store
        self._checker = checker
        self._forgetter = forgetter

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, api.PINS, self.pins)
        serve(router, api.PIN, self.pin)
        serve(router, api.UNPIN, self.unpin)
        serve(router, api.EVICT, self.evict)
        serve(router, api.CHECK, self.progress)
        serve(router, api.BEGIN_CHECK, self.check)
        serve(router, api.FORGET, self.forget)

    async def pins(self, _: web.Request, __: object) -> list[api.PinGroup]:
        """The active pins."""
        return await self._store.pins()

    async def pin(self, _: web.Request, asked: api.PinBody) -> api.Pinned:
        """Pin the cached files."""
        request = export_of(asked.ds, asked.seg, asked.n)
        return await self._store.pin(request, asked.owner, asked.reason or asked.ds, asked.seconds)

    async def unpin(self, _: web.Request, asked: api.PinBody) -> api.Unpinned:
        """Remove pins."""
        return await self._store.unpin(export_of(asked.ds, asked.seg, asked.n), asked.owner)

    async def evict(self, _: web.Request, asked: api.EvictBody) -> api.Evicted:
        """Evict the least recently used files, or list what would be evicted."""
        return await self._store.evict(asked.need, dry_run=asked.dry_run)

    async def check(self, _: web.Request, asked: api.CheckBody) -> api.CheckProgress:
        """Begin a check, resume one, or join the one that runs."""
        return await self._checker.start(asked.scope, asked.budget, restart=asked.restart)

    async def progress(self, _: web.Request, __: object) -> api.CheckProgress:
        """The progress of the check that was asked for last."""
        return await self._checker.progress()

    async def forget(self, _: web.Request, asked: api.ForgetBody) -> api.Forgotten:
        """Forget files and records of a record set: both, if neither is named."""
        both = asked.files is None and asked.records is None
        return await self._forgetter.forget(
            asked.ds,
            files=both or bool(asked.files),
            records=both or bool(asked.records),
            force=asked.force,
            dry_run=asked.dry_run,
        )
