"""The pages of running work: jobs, upkeep, and the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from mirror.api.exports import JobsQuery
from mirror.config.access import Role
from mirror.server.requests import PRINCIPAL, parameters
from mirror.server.roles import CLUSTER_PAGE, JOB_PAGE, JOBS_PAGE, UPKEEP_PAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mirror.api.cluster import Cluster
    from mirror.server.pages.site import Site
    from mirror.server.peers import Peers
    from mirror.services.access.usage import Accounting
    from mirror.services.maintenance.checker import Checker
    from mirror.services.monitoring.overview import AllJobs, Overview

#: Jobs and files that a page lists.
_JOBS, _FILES = 200, 1000


class WorkPages:
    """The handlers of ``/jobs``, ``/upkeep`` and ``/cluster``; ``cluster`` is None without a cluster."""

    def __init__(
        self,
        web: Site,
        jobs: AllJobs,
        checker: Checker,
        accounting: Accounting,
        overview: Overview,
        cluster: Callable[[], Awaitable[Cluster]] | None,
        peers: Peers | None = None,
    ) -> None:
        self._peers = peers
        self._cluster = cluster
        self._web = web
        self._jobs = jobs
        self._checker = checker
        self._accounting = accounting
        self._overview = overview

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve the pages."""
        JOBS_PAGE.add(router, self._web.own(self.jobs))
        JOB_PAGE.add(router, self._web.own(self.job))
        UPKEEP_PAGE.add(router, self._web.own(self.upkeep))
        CLUSTER_PAGE.add(router, self._web.own(self.cluster))

    async def jobs(self, request: web.Request) -> web.Response:
        """The last exports and fills, and the subscriptions; in a cluster those of all mirrors."""
        own = await self._jobs.latest(_JOBS)
        jobs = own if self._peers is None else await self._peers.jobs(request, own, JobsQuery(n=_JOBS))
        return self._web.page(request, "jobs.html", jobs=jobs)

    async def job(self, request: web.Request) -> web.Response:
        """One job; an export with its files."""
        job = await self._jobs.one(request.match_info["id"])
        files = job.files or []
        return self._web.page(
            request, "job.html", job=job, files=files[:_FILES], more=max(0, len(files) - _FILES)
        )

    async def upkeep(self, request: web.Request) -> web.Response:
        """Checks and space; for administrators also eviction, backups, and usage since the day ``since``."""
        admin = _role(request) >= Role.ADMIN
        since = (await parameters(request)).get("since") or None
        usage = await self._accounting.usage(since) if admin else []
        answer: dict[str, Any] = {
            "state": await self._overview.state(request.headers),
            "check": await self._checker.progress(),
            "admin": admin,
            "usage": usage,
            "since": since or "",
        }
        return self._web.page(request, "upkeep.html", **answer)

    async def cluster(self, request: web.Request) -> web.Response:
        """The other mirrors, and what they share; without a cluster there is no such page."""
        if self._cluster is None:
            raise web.HTTPNotFound(text="this mirror is alone: there is no [cluster] in its configuration\n")
        return self._web.page(request, "cluster.html", cluster=await self._cluster())


def _role(request: web.Request) -> Role:
    """The user's role; someone who was admitted without a check may do everything."""
    principal = request.get(PRINCIPAL)
    return Role.ADMIN if principal is None else principal.role
