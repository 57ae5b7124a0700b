"""The state of the cluster as one server sees it: for people, for pages, and for Prometheus."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from mirror.api import cluster as api
from mirror.cluster.compaction import FOLDER
from mirror.cluster.database import PLACES, PRESENCE, other_versions
from mirror.cluster.objects import MARK
from mirror.cluster.places import number_of
from mirror.cluster.shared import PUBLISHER
from mirror.errors import ClusterAway, ObjectStoreError
from mirror.humanize import stamp
from mirror.metrics import counter, gauge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mirror.cluster.database import Cursor
    from mirror.cluster.objects import Objects
    from mirror.cluster.shared import ClusterShared
    from mirror.metrics import Metric

#: Most unusable chunks, and flights, that are listed.
NAMED = 20
_TOTALS = (
    "SELECT count(*), count(object), coalesce(sum(rows), 0)::BIGINT, coalesce(sum(size), 0)::BIGINT, "
    "(SELECT count(*) FROM flights) FROM journal"
)
_FLIGHTS = (
    "SELECT f.series, s.name, extract(epoch FROM f.since)::FLOAT8 FROM flights f JOIN servers s ON s.id = f.server "
    "ORDER BY f.since LIMIT %s"
)
#: SQL: the servers that hold locks for what one does for good; the session of a lock tells the server.
_OWNERS = (
    "SELECT held.classid::BIGINT, held.objid::BIGINT, s.name FROM pg_locks held "
    "JOIN pg_locks there ON there.pid = held.pid AND there.locktype = 'advisory' AND there.objsubid = 2 "
    f"AND there.classid = {PRESENCE} AND there.database = held.database JOIN servers s ON s.id = there.objid::BIGINT "
    "WHERE held.locktype = 'advisory' AND held.granted AND held.objsubid = 2 "
    f"AND held.classid IN ({PLACES}, {PUBLISHER}, {FOLDER}) "
    "AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def metrics(cluster: ClusterShared) -> list[Metric]:
    """The cluster's metrics for Prometheus."""
    counts = {kind: float(cluster.counts[kind]) for kind in ("published", "absorbed", "moved", "waited", "fenced")}
    return [
        gauge("mirror_cluster_up", "1 if the cluster's PostgreSQL is there.", int(cluster.database.connected)),
        gauge(
            "mirror_cluster_objects_fit",
            "0 if the object store lets objects be overwritten, which ends all puts; looked at every minute.",
            int(not cluster.objects.unfit),
        ),
        counter("mirror_cluster_losses_total", "How often the session with it ended.", cluster.database.losses),
        counter("mirror_cluster_journal_total", "Rows written and taken over, and what became of flights.", counts, "what"),
        counter("mirror_cluster_folded_rows_total", "Rows of the journal that were folded into others.", cluster.compaction.went),
        counter("mirror_cluster_adopted_rows_total", "Rows written again for chunks that had none.", cluster.orphans.adopted),
        counter("mirror_cluster_published_bytes_total", "Bytes of chunks put.", cluster.counts["published_bytes"]),
        gauge("mirror_cluster_unpublished", "Commits that the others do not know of yet.", cluster.writer.waiting),
        gauge("mirror_cluster_broken_chunks", "Chunks that could not be used.", len(cluster.reader.broken)),
        gauge("mirror_cluster_places", "Places towards JSOC that this server has.", cluster.places.taken),
        *(() if cluster.files is None else cluster.files.metrics()),
    ]


async def status(cluster: ClusterShared, subscriptions: Iterable[str]) -> api.Cluster:
    """The state; ``subscriptions`` are the names of those configured here."""
    database, files = cluster.database, cluster.files
    totals, members, flights, owners, contents = (0, 0, 0, 0, 0), [], [], [], (0, 0)
    with suppress(ClusterAway):
        members = await database.members()
        async with database.transaction() as cursor:
            totals = await (await cursor.execute(_TOTALS)).fetchone() or totals
            rows = await (await cursor.execute(_FLIGHTS, (NAMED,))).fetchall()
            flights = [api.Flight(series=series, server=name, since=stamp(since)) for series, name, since in rows]
            owners = await _owners(cursor, {number_of(f"subscription {name.lower()}"): name for name in subscriptions})
        if files is not None:
            contents = await files.units.totals()
    return api.Cluster(
        alone=False,
        name=database.name,
        id=database.identity,
        connected=database.connected,
        problem=database.why or database.problem,
        objects=str(cluster.objects.place),
        objects_problem=cluster.objects.unfit or await _objects_problem(cluster.objects) or cluster.writer.problem,
        servers=[
            api.Server(name=m.name, version=m.version, address=m.address, since=stamp(m.since), here=m.id == database.id)
            for m in members
        ],
        rows=totals[0],
        chunks=totals[1],
        records=totals[2],
        bytes=totals[3],
        flights=totals[4],
        fetching=flights,
        owners=owners,
        unpublished=cluster.writer.waiting,
        files=contents[0],
        file_bytes=contents[1],
        files_problem="" if files is None else files.problem,
        versions=other_versions(members),
        broken=cluster.reader.broken[:NAMED],
    )


async def _objects_problem(objects: Objects) -> str:
    """What is wrong with the objects; a problem is checked again, since nobody may have used them meanwhile."""
    if objects.problem:
        with suppress(ObjectStoreError):
            if await objects.exists(MARK) is None:
                return f"{MARK} is not among them: is their folder mounted?"
    return objects.problem


async def _owners(cursor: Cursor, subscriptions: Mapping[int, str]) -> list[api.Owner]:
    """What one server does for all, and which."""
    found = []
    await cursor.execute(_OWNERS.encode())
    for kind, number, server in await cursor.fetchall():
        if kind == PUBLISHER:
            found.append(api.Owner(what="the tables of Iceberg", server=server))
        elif kind == FOLDER:
            found.append(api.Owner(what="the compaction of the journal", server=server))
        elif number in subscriptions:
            found.append(api.Owner(what=f"the subscription {subscriptions[number]}", server=server))
    return sorted(found, key=lambda owner: owner.what)
