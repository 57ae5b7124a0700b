"""News for people and programs that do not want to poll: a list of items, kept in ``news.json`` in the store.

1. An item is new data of a subscribed series, if its newest record is newer than at the last look; or records of any
   series that JSOC has reprocessed or withdrawn. Records that fill earlier gaps are not news.
2. The mirror looks every half minute. What came while it was stopped is found at the next start; a series that is
   looked at for the first time has no news yet.
3. Every webhook gets each item that it subscribes to, in order, at least once: the next one is sent when the last was
   accepted (a code of 2xx). Until then it is retried, after pauses that grow to an hour, also after a restart. Items
   that are dropped from the list are not sent any more.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple, Protocol

import aiohttp
import msgspec

from mirror import __version__
from mirror.api.contract import encoded
from mirror.api.news import NewsItem
from mirror.concurrency import cancel
from mirror.coverage.axis import coverage_axis
from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import Steps
from mirror.coverage.plan import other_keys
from mirror.errors import MirrorError
from mirror.humanize import counted, stamp

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from mirror.config.loading import Subscription
    from mirror.config.sections import Webhook
    from mirror.drms.series import Series
    from mirror.storage.disk import Disk
    from mirror.storage.index.changes import Change, Changes
    from mirror.storage.index.index import Index

log = logging.getLogger(__name__)

#: Items that are kept, and the most names of records in one.
MOST, NAMED = 500, 20
#: Seconds between two looks, of the first pause and the longest, and in which a webhook must answer.
LOOK, FIRST_PAUSE, LONGEST_PAUSE, PATIENCE = 30.0, 30.0, 3600.0, 20.0
#: Changes that are read at a look: more than those of a whole series that JSOC has reprocessed.
_CHANGES = 1_000_000
FILE = "news.json"


class Kept(msgspec.Struct):
    """The content of the file: items oldest first, the newest place of each series, which changes are known, what was sent where."""

    feed: str  #: names this feed, whatever the address of the mirror
    next: int = 1
    items: list[NewsItem] = []
    newest: dict[str, int] = {}
    changes_at: float = 0.0  #: when the last reported change was found
    changes: list[str] = []  #: those of that moment
    sent: dict[str, int] = {}  #: by a hash of the address


class _Failures(NamedTuple):
    pause: float
    until: float


class Send(Protocol):
    """Sends something: the code of the answer; aiohttp.ClientError or TimeoutError if there is none."""

    async def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> int: ...


class News:
    """The news of a mirror; ``now`` gives Unix seconds."""

    def __init__(
        self,
        root: Path,
        disk: Disk,
        index: Index,
        changes: Changes,
        subscriptions: Callable[[], Sequence[Subscription]],
        webhooks: Sequence[Webhook],
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        send: Send | None = None,
    ) -> None:
        self.webhooks = webhooks
        self._place, self._disk = root / FILE, disk
        self._index, self._changes, self._subscriptions = index, changes, subscriptions
        self._now, self._sleep, self._send = now, sleep, send or posted
        self._failures: dict[str, _Failures] = {}
        self._task: asyncio.Task[None] | None = None
        self._kept = self._read()
        self._written = self._kept.next  #: the next number in the file

    def start(self) -> None:
        """Look from now on."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            await cancel(self._task)

    @property
    def feed(self) -> str:
        """The name of the feed of these items."""
        return self._kept.feed

    def latest(self, n: int, series: str | None = None) -> list[NewsItem]:
        """The last items, newest first."""
        found = [i for i in reversed(self._kept.items) if series is None or i.series.lower() == series.lower()]
        return found[:n]

    async def look(self) -> None:
        """Record what is new, and send it to the webhooks."""
        await self._new_data()
        await self._reprocessed()
        if self._written != self._kept.next or not self._place.exists():
            await self._write()
        for webhook in self.webhooks:
            await self._deliver(webhook)

    # ---- what is new -----------------------------------------------------------------------------

    async def _new_data(self) -> None:
        for name in dict.fromkeys(s.series.lower() for s in self._subscriptions()):
            held = self._index.series(name)
            axis = None if held is None else coverage_axis(held[0])
            newest = None if held is None or axis is None else await self._index.last_place(held[0])
            if held is None or axis is None or newest is None:
                continue
            before = self._kept.newest.get(name)
            if before is not None and newest > before:
                records = await self._between(held[0], before, newest)
                text = f"{held[0].name}: {counted(records, 'new record')}, up to {axis.text(newest)}"
                self._add("new", held[0].name, records, text, newest=axis.text(newest))
            if before is None or newest > before:
                self._kept.newest[name] = newest

    async def _between(self, series: Series, place: int, newest: int) -> int:
        """How many records there are after a place, up to the newest: what came since then is for the next look."""
        everywhere = Region((None,) * len(other_keys(series)))
        return await self._index.count_in(series, [Box(everywhere, (Steps(place + 1, newest),))])

    async def _reprocessed(self) -> None:
        since, known = self._kept.changes_at, set(self._kept.changes)
        changes = [c for c in await self._changes.found(None, since, _CHANGES) if _key(c) not in known]
        if not changes:
            return
        last = max(c.found_at for c in changes)
        self._kept.changes = [_key(c) for c in changes if c.found_at == last] + (self._kept.changes if last == since else [])
        self._kept.changes_at = last
        for name in dict.fromkeys(c.series for c in reversed(changes)):
            self._changed(name, [c for c in changes if c.series == name])

    def _changed(self, name: str, changes: list[Change]) -> None:
        held = self._index.series(name)
        series = name if held is None else held[0].name
        gone = sum(c.new is None for c in changes)
        text = f"{series}: {counted(len(changes), 'record')} reprocessed" + (f", {gone:,} of them withdrawn" if gone else "")
        self._add("reprocessed", series, len(changes), text, withdrawn=gone, names=[c.name for c in changes[:NAMED]])

    def _add(self, kind: str, series: str, records: int, text: str, **more: object) -> None:
        """Add an item to the list, at once: what was looked at is not looked at again, even if the next look fails."""
        given = {"newest": None, "withdrawn": 0, "names": [], **more, "kind": kind, "series": series, "records": records, "text": text}
        item = msgspec.convert({**given, "id": self._kept.next, "at": stamp(self._now())}, NewsItem)
        self._kept.next += 1
        self._kept.items = [*self._kept.items, item][-MOST:]

    # ---- webhooks --------------------------------------------------------------------------------

    async def _deliver(self, webhook: Webhook) -> None:
        """Send what a webhook has not accepted yet, until it does not accept one."""
        key = hashlib.sha256(webhook.url.encode()).hexdigest()[:16]
        if key not in self._kept.sent:  # a new one gets items from now on
            self._kept.sent[key] = self._kept.next - 1
            await self._write()
        failed = self._failures.get(key)
        if failed is not None and self._now() < failed.until:
            return
        for item in [i for i in self._kept.items if i.id > self._kept.sent[key]]:
            if _wants(webhook, item) and not await self._taken(webhook, item):
                pause = min(LONGEST_PAUSE, FIRST_PAUSE if failed is None else failed.pause * 2)
                self._failures[key] = _Failures(pause, self._now() + pause)
                return
            self._failures.pop(key, None)
            self._kept.sent[key] = item.id
            await self._write()

    async def _taken(self, webhook: Webhook, item: NewsItem) -> bool:
        body = encoded(item)
        headers = {"Content-Type": "application/json", "User-Agent": f"jsoc-mirror/{__version__}"}
        if webhook.secret is not None:
            headers["X-Mirror-Signature"] = "sha256=" + hmac.new(webhook.secret.encode(), body, "sha256").hexdigest()
        try:
            code = await self._send(webhook.url, body, headers)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
            log.warning("webhook does not answer host=%s problem=%s", _host(webhook.url), type(problem).__name__)
            return False
        if not 200 <= code < 300:
            log.warning("webhook refuses host=%s code=%d", _host(webhook.url), code)
            return False
        return True

    # ---- the file --------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except MirrorError as problem:
                log.warning("news cannot be looked for problem=%s", problem)
            except Exception:
                log.exception("news failed")
            await self._sleep(LOOK)

    def _read(self) -> Kept:
        with suppress(OSError, msgspec.MsgspecError):  # an unreadable file is begun again
            return msgspec.json.decode(self._place.read_bytes(), type=Kept)
        return Kept(feed=os.urandom(16).hex(), items=[], newest={}, changes=[], sent={}, changes_at=self._now())

    async def _write(self) -> None:
        following = self._kept.next
        await asyncio.to_thread(self._replace, msgspec.json.encode(self._kept))
        self._written = following

    def _replace(self, data: bytes) -> None:
        part = self._place.with_name(f"{FILE}.part")
        fd = self._disk.create(part)
        try:
            self._disk.write(part, fd, data, 0)
            self._disk.sync(part, fd)
        finally:
            os.close(fd)
        self._disk.move(part, self._place)


async def posted(url: str, body: bytes, headers: dict[str, str]) -> int:
    """The code with which a POST is answered. Redirects and proxies of the environment are not followed."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status


def _wants(webhook: Webhook, item: NewsItem) -> bool:
    return item.kind in webhook.events and any(fnmatchcase(item.series.lower(), p.lower()) for p in webhook.series)


def _key(change: Change) -> str:
    return f"{change.series} {change.old}"


def _host(url: str) -> str:
    """The part of an address that is not secret."""
    return url.split("/")[2].rpartition("@")[2] if url.count("/") > 1 else "?"
