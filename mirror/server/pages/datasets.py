"""The pages of data sets: all of them, and one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.server.roles import DATASET_PAGE, DATASETS_PAGE

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.server.pages.site import Site
    from mirror.services.datasets.datasets import Datasets

#: Records that a page shows.
SHOWN = 500


class DatasetPages:
    """The handlers of /datasets and /datasets/{name}."""

    def __init__(self, site: Site, datasets: Datasets) -> None:
        self._site = site
        self._datasets = datasets

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the pages."""
        DATASETS_PAGE.add(router, self._site.own(self.all))
        DATASET_PAGE.add(router, self._site.own(self.one))

    async def all(self, request: web.Request) -> web.Response:
        """All of them."""
        return self._site.page(request, "datasets.html", datasets=await self._datasets.all())

    async def one(self, request: web.Request) -> web.Response:
        """One, with its records and how it is cited."""
        name = request.match_info["name"]
        found, records = await self._datasets.show(name), await self._datasets.records(name)
        return self._site.page(request, "dataset.html", found=found, records=records[:SHOWN], count=len(records))
