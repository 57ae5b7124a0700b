"""The pages of the SQL console and of subscriptions."""

from __future__ import annotations

import asyncio
import importlib.resources
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.server.requests import parameters
from mirror.server.roles import SQL_PAGE, SUBSCRIPTIONS_PAGE

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.config.watching import ConfigWatcher
    from mirror.server.pages.site import Site
    from mirror.services.sql.service import SavedQueries
    from mirror.services.subscriptions.editing import Subscribing
    from mirror.services.subscriptions.manager import Sync

_EXAMPLE = re.compile(r"^-- (?P<name>.+)\n(?P<sql>(?:(?!-- ).*\n)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Example:
    """A statement to start with."""

    name: str
    sql: str


def examples() -> list[Example]:
    """The statements of ``examples.sql``, each below a comment that names it."""
    text = (importlib.resources.files("mirror") / "web" / "examples.sql").read_text(encoding="utf-8")
    return [Example(found["name"], found["sql"].strip()) for found in _EXAMPLE.finditer(text)]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the editor: a key of [[subscription]], its label, and its default."""

    name: str
    label: str
    hint: str
    usual: str = ""
    needed: bool = False
    choices: tuple[str, ...] = ()


FIELDS = (
    Field("series", "Series", "Type part of its name or description.", "hmi.M_720s", needed=True),
    Field("name", "Name", "Default: the name of the series.", "the series"),
    Field("start", "From", "2024.01.01_TAI, or -30d for thirty days before now.", "-30d", needed=True),
    Field("end", "Until", "A time, now, or -1d.", "now"),
    Field(
        "segments", "Files of segments", "Comma-separated, or ALL. Default: keywords only.", "keywords only"
    ),
    Field("keys", "Other prime keys", "WAVELNTH=171,193; HARPNUM=4000-4100", "all values"),
    Field("where", "Files only where", "A condition on keywords: QUALITY = 0", "all records"),
    Field("step", "One record each", "1h, 1d", "every record"),
    Field(
        "protocol",
        "Files",
        "fits: also cache what FITS exports need.",
        "as-is",
        choices=("as-is", "fits"),
    ),
    Field("every", "Look for new data every", "10m, 1h, 1d", "1h"),
    Field("keep", "Keep files", "forever, window, or a time such as 30d.", "forever"),
    Field("priority", "Priority", "Priority among subscriptions.", "normal", choices=("high", "normal", "low")),
    Field("hours", "At these hours", "20:00-06:00 in the mirror's time zone, or 20:00-06:00 UTC", "always"),
    Field("budget", "No more than", "50GB/day, 2GB/hour", "no limit"),
    Field("pictures", "Pictures ahead", "Make quick-look pictures of new files.", "false", choices=("true",)),
)


class ConsolePages:
    """The handlers of ``/sql`` and ``/subscriptions``; ``subscribing`` is None where there is no config.toml."""

    def __init__(
        self,
        site: Site,
        queries: SavedQueries,
        sync: Sync,
        watch: ConfigWatcher,
        subscribing: Subscribing | None,
    ) -> None:
        self._site = site
        self._queries = queries
        self._sync = sync
        self._watch = watch
        self._subscribing = subscribing
        self._examples = examples()

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the pages."""
        SQL_PAGE.add(router, self._site.own(self.sql))
        SUBSCRIPTIONS_PAGE.add(router, self._site.own(self.subscriptions))

    async def sql(self, request: web.Request) -> web.Response:
        """The console, with the statement ``query`` in it."""
        query = (await parameters(request)).get("query", "") or self._examples[0].sql
        saved = await self._queries.all()
        return self._site.page(request, "sql.html", query=query, queries=saved, examples=self._examples)

    async def subscriptions(self, request: web.Request) -> web.Response:
        """The state of the subscriptions, with their editor."""
        config = self._watch.status()
        tables = {}
        if self._subscribing is not None and not config.problem:
            tables = await asyncio.to_thread(self._subscribing.tables)
        return self._site.page(
            request, "subscriptions.html", subscriptions=await self._sync.report(), fields=FIELDS,
            tables=tables, file=config.file, problem=config.problem,
        )  # fmt: skip
