"""Whether what the mirrors of a cluster share is fit for it: PostgreSQL, the clock, the objects, and both together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror import __version__
from mirror.cluster.chunks import CHUNKS
from mirror.cluster.database import ClusterDatabase, name_of_machine
from mirror.cluster.objects import MARK, open_objects, probe
from mirror.errors import ClusterAway, ConfigError, MirrorError, ObjectMissing
from mirror.humanize import counted

if TYPE_CHECKING:
    from mirror.cluster.objects import Objects
    from mirror.config.sections import Cluster

#: Objects that a finding names.
NAMED = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, and how it is."""

    ok: bool
    subject: str
    text: str


async def examine(section: Cluster) -> list[Finding]:
    """Look at everything; nothing but probes of our own is written."""
    found: list[Finding] = []
    # A name that no server has: one of the configured name may be running.
    name = f"check-of-{section.name or name_of_machine()}"[:63]
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
            found += await _together(database, objects)
    finally:
        await database.stop()
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
    gone = sorted(key for key in wanted if key not in there)
    other = sorted(key for key, size in wanted.items() if there.get(key, size) != size)
    found = [Finding(True, "journal", f"{counted(len(wanted), 'chunk')}, {counted(len(there), 'object')}")]
    if gone:
        found.append(Finding(False, "journal", f"{counted(len(gone), 'object')} gone, whose records are asked for again: {_named(gone)}"))
    if other:
        found.append(Finding(False, "journal", f"{counted(len(other), 'object')} of another size, whose records are asked for again: {_named(other)}"))
    return found


def _named(keys: list[str]) -> str:
    return ", ".join(keys[:NAMED]) + (f" and {len(keys) - NAMED:,} more" if len(keys) > NAMED else "")
