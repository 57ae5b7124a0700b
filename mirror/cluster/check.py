"""Checks whether what a cluster shares is fit for it: PostgreSQL, the clock, the objects, and both together.

``examine`` is what ``mirror cluster check`` tells; ``Mark`` looks at the objects while a mirror runs.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror import __version__
from mirror.cluster.chunks import CHUNKS
from mirror.cluster.database import ClusterDatabase, Member, name_of_machine, other_versions
from mirror.cluster.journal import add_entry, rows_of, series_rows
from mirror.cluster.objects import MARK, open_objects, probe
from mirror.coverage.coverage import Coverage
from mirror.errors import (
    ClusterAway,
    ConfigError,
    MirrorError,
    ObjectMissing,
    ObjectStoreError,
    ObjectStoreRefused,
)
from mirror.humanize import counted

if TYPE_CHECKING:
    from mirror.cluster.objects import Objects
    from mirror.config.sections import Cluster

log = logging.getLogger(__name__)

#: Most objects that a finding names, and that are looked up one by one if a listing does not show them.
NAMED, DOUBTED = 5, 1000
#: The prefix of the server names of such checks.
PREFIX = "check-of-"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was checked, and its state."""

    ok: bool
    subject: str
    text: str


async def examine(section: Cluster) -> list[Finding]:
    """Check everything; only our own probes are written."""
    found: list[Finding] = []
    # A name that no server has, since one with the configured name may be running.
    name = f"{PREFIX}{section.name or name_of_machine()}"[:63]
    database = ClusterDatabase(section.database or "", name, __version__)
    try:
        try:
            await database.start()
            if database.connected:
                async with database.transaction() as cursor:
                    await cursor.execute("SELECT current_setting('server_version'), (SELECT max(version) FROM schema_version)")
                    row = await cursor.fetchone() or ("?", 0)
                found.append(Finding(True, "PostgreSQL", f"{row[0]}, schema version {row[1]}, can be written to"))
                found.append(Finding(True, "clock", "as that of PostgreSQL"))
                found += _servers(await database.members(), section.name or name_of_machine(), database.id)
            else:
                found.append(Finding(False, "PostgreSQL", database.why))
        except (ConfigError, ClusterAway) as problem:
            found.append(Finding(False, "PostgreSQL", str(problem).removeprefix("[cluster] ")))
        try:
            objects = open_objects(section.objects or "", section.endpoint)
            await probe(objects)
            found.append(Finding(True, "objects", f"{objects.place}: create-only puts, ranges and listing work"))
        except MirrorError as problem:
            found.append(Finding(False, "objects", str(problem).removeprefix("[cluster] objects: ")))
            return found
        if database.connected:
            try:
                found += await _together(database, objects)
            except MirrorError as problem:
                found.append(Finding(False, "journal", str(problem)))
    finally:
        await database.stop()
    return found


def _servers(members: list[Member], name: str, mine: int) -> list[Finding]:
    """The running servers, and whether they have one version; ``mine`` is the number of this check."""
    others = [member for member in members if member.id != mine and not member.name.startswith(PREFIX)]
    found = []
    if others:
        differ = other_versions([*others, Member(0, "this program", __version__, "", 0.0, 0)])
        found.append(Finding(not differ, "servers", differ or f"{', '.join(member.name for member in others)}, all of version {__version__}"))
    same = next((member for member in others if member.name == name), None)
    if same is not None:
        where = same.address or "an address that it has not told"
        found.append(Finding(True, "name", f"{name} is there already, at {where}: the mirror of this configuration, or another that needs a name of its own"))
    return found


async def _together(database: ClusterDatabase, objects: Objects) -> list[Finding]:
    """Whether the objects are those of the journal."""
    try:
        mark = (await objects.get(MARK)).decode(errors="replace").strip()
    except ObjectMissing:
        return [Finding(True, "cluster", "new: no server has joined it yet")]
    if mark != database.identity:
        return [Finding(False, "cluster", f"the objects are of {mark[:60]!r}, PostgreSQL is of {database.identity!r}")]
    async with database.transaction() as cursor:
        await cursor.execute("SELECT object, size FROM journal WHERE object IS NOT NULL")
        wanted = dict(await cursor.fetchall())
    there = {key: size async for key, size in objects.list(CHUNKS)}
    # A listing may be stale: objects that it does not show are looked up.
    doubted = sorted(key for key, size in wanted.items() if there.get(key) != size)
    there |= {key: size for key in doubted[:DOUBTED] if (size := await objects.exists(key)) is not None}
    doubted = [key for key in doubted if there.get(key) != wanted[key]]
    if doubted:
        needed = await _needed(database, doubted)
        doubted = [key for key in doubted if key in needed]
    gone = [key for key in doubted if key not in there]
    other = [key for key in doubted if key in there]
    found = [Finding(True, "journal", f"{counted(len(wanted), 'chunk')}, {counted(len(there), 'object')}")]
    if gone:
        found.append(Finding(False, "journal", f"{counted(len(gone), 'object')} gone, whose records are asked for again: {_named(gone)}"))
    if other:
        found.append(Finding(False, "journal", f"{counted(len(other), 'object')} of another size, whose records are asked for again: {_named(other)}"))
    return found


async def _needed(database: ClusterDatabase, keys: list[str]) -> set[str]:
    """The chunks whose records are in no other row."""
    bad, found = set(keys), set()
    async with database.transaction() as cursor:
        sql = "SELECT DISTINCT series FROM journal WHERE object = ANY(%s)"
        for (name,) in await (await cursor.execute(sql, (keys,))).fetchall():
            rows = rows_of(await series_rows(cursor, name))
            told: dict[str, Coverage] = defaultdict(Coverage)
            for row, space, _ in rows:
                for each in (space,) if row.kind != "drop" else tuple(told):
                    if row.object not in bad:
                        told[each] = add_entry(told[each], row)
            found |= {row.object for row, space, _ in rows if row.object in bad and row.tells(told[space], row.boxes)}
    return found


def _named(keys: list[str]) -> str:
    return ", ".join(keys[:NAMED]) + (f" and {len(keys) - NAMED:,} more" if len(keys) > NAMED else "")


# ---- the mark of a cluster -----------------------------------------------------------------------
# Whether the objects are this cluster's, by a mark among them, and whether their store is fit for it.

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
