"""Checks whether the objects are this cluster's, by a mark among them, and whether their store is fit for it."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from mirror.cluster.objects import MARK, probe
from mirror.errors import ClusterAway, ConfigError, ObjectMissing, ObjectStoreError, ObjectStoreRefused

if TYPE_CHECKING:
    from mirror.cluster.database import ClusterDatabase
    from mirror.cluster.objects import Objects

log = logging.getLogger(__name__)

#: Seconds between two checks that the store still refuses to overwrite objects; and while it does not.
LOOKED, AGAIN = 60.0, 15.0
_LOST = (
    "lets objects be overwritten: it ignores If-None-Match, which it did not when this mirror began. Nothing is put there until it "
    "keeps create-only puts again"
)


class Mark:
    """The mark of a cluster among its objects."""

    def __init__(self, database: ClusterDatabase, objects: Objects) -> None:
        self._database = database
        self._objects = objects
        self._probed = False

    async def join(self) -> None:
        """Try once what a store must be able to do, and set the mark if there is none.

        ConfigError for objects of another cluster, or a store unfit for one. An unreachable store is no problem yet.
        """
        try:
            if not self._probed:
                await probe(self._objects)
                self._probed = True
            try:
                found = await self._objects.get(MARK)
            except ObjectMissing:
                await self._objects.put_new(MARK, self._database.identity.encode())
                found = await self._objects.get(MARK)
        except ObjectStoreRefused as problem:
            raise ConfigError(f"[cluster] objects: {problem}") from problem
        except ObjectStoreError as problem:
            log.warning("the objects of the cluster are not available now problem=%r", str(problem))
            return
        self._compare(found)

    async def insist(self) -> None:
        """Raise unless the objects are there and this cluster's: in an unmounted folder all would seem lost."""
        try:
            found = await self._objects.get(MARK)
        except ObjectMissing as problem:
            raise ClusterAway(f"{MARK} is not among the objects any more: is their folder mounted?") from problem
        self._compare(found)

    async def look(self) -> float:
        """Check, by putting the same mark again, that no put overwrites an object; seconds to the next check.

        Other problems are reported by those who meet them.
        """
        mine = self._database.identity.encode()
        with suppress(ObjectStoreError):
            if (await self._objects.get(MARK)).strip() == mine:
                # Twice: if the mark was removed meanwhile, the first puts it.
                lost = await self._objects.put_new(MARK, mine) and await self._objects.put_new(MARK, mine)
                if lost != bool(self._objects.unfit):
                    log.log(logging.ERROR if lost else logging.INFO, "create-only puts place=%s lost=%s", self._objects.place, lost)
                self._objects.unfit = _LOST if lost else ""
        return AGAIN if self._objects.unfit else LOOKED

    def _compare(self, found: bytes) -> None:
        mine = self._database.identity
        if found.strip() != mine.encode():
            raise ConfigError(
                f"[cluster] objects: these are of the cluster {found[:60].decode(errors='replace')!r}, and `database` is of "
                f"{mine!r}; expected both of one cluster"
            )
        self._objects.is_marked = True
