"""The mirrors that share with this one."""

from __future__ import annotations

from typing import Any

from mirror.api.contract import Answer, Endpoint, Nothing, Stamp


class Server(Answer, frozen=True, kw_only=True):
    """A running server; ``here``: the one that answers."""

    name: str
    version: str
    address: str
    since: Stamp
    here: bool


class Flight(Answer, frozen=True, kw_only=True):
    """Records of a series that a server is fetching for all, and since when."""

    series: str
    server: str
    since: Stamp


class Owner(Answer, frozen=True, kw_only=True):
    """What one server does for all, until another takes it over."""

    what: str
    server: str


class Cluster(Answer, frozen=True, kw_only=True):
    """The state of the cluster, as this server sees it.

    ``alone``: there is no cluster, and nothing else applies. ``problem``: why its PostgreSQL is away, in which case
    the counts are 0; or, while ``connected``, what keeps it from working; "" if nothing does. ``rows`` of the journal,
    ``chunks`` with their ``records`` and ``bytes``, ``flights`` under way, the oldest of them in ``fetching``.
    ``owners``: what one server does for all. ``unpublished``: commits of this server that the others do not know yet.
    ``versions``: which server has which, if they differ, else "". ``broken``: chunks that this server could not use,
    and has not tried again yet. ``files`` among the objects have ``file_bytes``; ``files_problem``: why this server's
    files do not go there now.
    """

    alone: bool
    name: str
    id: str
    connected: bool
    problem: str
    objects: str
    objects_problem: str
    servers: list[Server]
    rows: int
    chunks: int
    records: int
    bytes: int
    flights: int
    fetching: list[Flight]
    owners: list[Owner]
    unpublished: int
    versions: str
    broken: list[str]
    files: int
    file_bytes: int
    files_problem: str


ALONE = Cluster(
    alone=True, name="", id="", connected=False, problem="there is no [cluster] in the configuration", objects="",
    objects_problem="", servers=[], rows=0, chunks=0, records=0, bytes=0, flights=0, fetching=[], owners=[],
    unpublished=0, versions="", broken=[], files=0, file_bytes=0, files_problem="",
)  # fmt: skip
CLUSTER = Endpoint(
    method="GET", path="/api/cluster", role="read", asked=Nothing, answer=Cluster,
    text="The mirrors that share with this one, and what they share; `alone`: none do.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (CLUSTER,)
