"""What the engine needs of JSOC; ``mirror.upstream.client.UpstreamClient`` is it.

A protocol of its own keeps the engine testable without a server and free of HTTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mirror.upstream.pacing import Claim, Priority

if TYPE_CHECKING:
    from mirror.drms.series import Series
    from mirror.wire.info import RsListRequest
    from mirror.wire.rs_list import RsList


class Upstream(Protocol):
    """JSOC's jsoc_info; every method raises UpstreamError."""

    async def rs_list(self, request: RsListRequest, priority: Priority | Claim = Priority.PEOPLE) -> RsList:
        """The records of a request."""
        ...

    async def rs_summary(self, ds: str, priority: Priority | Claim = Priority.PEOPLE) -> int:
        """How many records a record set has."""
        ...

    async def series_struct(self, ds: str, priority: Priority | Claim = Priority.PEOPLE) -> Series:
        """The structure of the series that ``ds`` begins with."""
        ...
