"""What people in front of a browser are helped by: quick looks, checks of what they type, the pages for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.server.consolepages import ConsolePages
from mirror.server.queriesapi import QueriesApi
from mirror.server.searchpage import SearchPage
from mirror.server.syncapi import SyncApi
from mirror.services.querycheck import QueryCheck
from mirror.services.quicklook import QuickLooks
from mirror.services.standingcheck import StandingCheck
from mirror.services.studio import Studio
from mirror.services.subscribing import Subscribing
from mirror.storage.disk import Disk
from mirror.storage.pictures import Pictures
from mirror.storage.queries import SavedQueries

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mirror.composition import Core, Exporting, Keeping
    from mirror.server.api import Api
    from mirror.server.app import Part
    from mirror.server.web import Web

PICTURES = "pictures"


@dataclass(frozen=True)
class Facing:
    """Its parts; ``subscribing`` is None where there is no config.toml to write to."""

    studio: Studio
    pictures: QuickLooks
    queries: QueryCheck
    saved: SavedQueries
    standing: StandingCheck
    subscribing: Subscribing | None

    def parts(self, core: Core, kept: Keeping, site: Web, api: Api) -> tuple[Part, ...]:
        """The pages of search, SQL and subscriptions, and what their scripts ask."""
        return (
            SearchPage(site, api, self.queries, self.pictures),
            ConsolePages(site, self.saved, kept.sync, kept.watch, self.subscribing),
            QueriesApi(self.saved, core.rules.timestamp),
            SyncApi(kept.sync, self.subscribing, self.standing, core.estimates),
        )


def facing(
    core: Core, exporting: Exporting, kept: Keeping, *, path: Path | None, environ: Mapping[str, str]
) -> Facing:
    """The parts over a core; ``path`` is the file of its configuration, ``environ`` what overrides it."""
    c, storage, studio = core, core.config.storage, Studio()
    made = Pictures(storage.path / PICTURES, storage.pictures or 0, Disk())
    queries = QueryCheck(c.index, c.catalogue, c.extremes, c.listing, c.rules)
    return Facing(
        studio=studio,
        pictures=QuickLooks(exporting.planner, c.files, c.holdings, c.adopted, c.blobs, made, studio),
        queries=queries,
        saved=SavedQueries(c.database),
        standing=StandingCheck(queries, kept.watch),
        subscribing=None if path is None else Subscribing(path, environ),
    )
