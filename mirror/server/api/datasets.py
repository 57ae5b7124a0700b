"""The API of data sets. Crates are folders on the mirror's own machine, so only that machine may ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.api import datasets as api
from mirror.server.api.transfer import check_near, folder_of, told
from mirror.server.endpoints import serve

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.api.contract import Nothing
    from mirror.services.datasets.datasets import Datasets


class DatasetsApi:
    """The handlers of /api/datasets and /api/crates."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        serve(router, api.DATASETS, self.all)
        serve(router, api.CREATE, self.create)
        serve(router, api.DATASET, self.show)
        serve(router, api.RECORDS, self.records)
        serve(router, api.VERIFY, self.verify)
        serve(router, api.DIFF, self.diff)
        serve(router, api.EXPORT, self.export)
        serve(router, api.FETCH, self.take)
        serve(router, api.DELETE, self.delete)

    async def all(self, _: web.Request, __: Nothing) -> list[api.DatasetLine]:
        """The data sets."""
        return await self._datasets.all()

    async def create(self, request: web.Request, asked: api.CreateBody) -> web.StreamResponse:
        """Make one."""
        return await told(request, lambda report: self._datasets.create(asked, request.remote or "", report))

    async def show(self, request: web.Request, _: Nothing) -> api.Dataset:
        """One of them."""
        return await self._datasets.show(request.match_info["name"])

    async def records(self, request: web.Request, _: Nothing) -> list[api.DatasetRecord]:
        """Its records."""
        return await self._datasets.records(request.match_info["name"])

    async def verify(self, request: web.Request, _: Nothing) -> web.StreamResponse:
        """Compare the store with it."""
        return await told(request, lambda report: self._datasets.verify(request.match_info["name"], report))

    async def diff(self, request: web.Request, _: Nothing) -> web.StreamResponse:
        """Compare it with JSOC."""
        return await told(request, lambda report: self._datasets.diff(request.match_info["name"], report))

    async def export(self, request: web.Request, asked: api.CrateBody) -> web.StreamResponse:
        """Write its crate."""
        check_near(request)
        name, to = request.match_info["name"], folder_of(asked.crate, "crate")
        return await told(request, lambda report: self._datasets.export(name, to, report, files=asked.files))

    async def take(self, request: web.Request, asked: api.CrateBody) -> web.StreamResponse:
        """Make the data set of a crate."""
        check_near(request)
        folder = folder_of(asked.crate, "crate")
        return await told(request, lambda report: self._datasets.take(folder, report))

    async def delete(self, request: web.Request, _: Nothing) -> api.DatasetLine:
        """Remove one."""
        return await self._datasets.delete(request.match_info["name"])
