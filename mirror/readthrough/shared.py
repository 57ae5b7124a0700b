"""What several mirrors share: what the read-through needs of the others, and what holds for a mirror that is alone.

The read-through plans as always. Before it asks JSOC for a box it says so here: what another mirror has of it is
taken over, what another one is fetching is waited for, and only the rest is asked for. ``mirror.cluster`` is one that
shares; without ``[cluster]`` in the configuration there is ``Alone``, which costs nothing.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from mirror.coverage.coverage import Box, Freshness
    from mirror.drms.series import Series
    from mirror.upstream.pacing import Priority

    #: Fetches a box and keeps it; how many records came, None if it was not fetched to its end.
    Ask = Callable[[Box], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a token with a quota has taken at one mirror.

    Bytes are those of the ``day``; ``requests`` since the mirror began; ``remaining`` may still come at once, as of ``at``.
    """

    day: str
    bytes: int
    upstream_bytes: int
    requests: int
    remaining: float
    at: float


class Peer(NamedTuple):
    """Another mirror of the cluster, and where it answers."""

    name: str
    address: str


class Shared(Protocol):
    """The other mirrors. What needs them raises UpstreamUnreachable while they cannot be reached."""

    async def catch_up(self, series: Series, boxes: Iterable[Box]) -> bool:
        """Take over what the others have of these boxes and this mirror has not; True if there was something.

        False, and no error, while they cannot be reached.
        """
        ...

    async def fetch(self, series: Series, box: Box, ask: Ask) -> int | None:
        """Return when a box is held; ``ask`` is called for what of it nobody has, and nobody fetches.

        How many records ``ask`` brought; None as soon as it gave None.
        """
        ...

    async def check(self, series: Series, box: Box, freshness: Freshness, check: Ask) -> None:
        """Return when a box, which is held, was checked as recently as ``freshness`` demands; as for ``fetch``."""
        ...

    async def refresh(self) -> None:
        """Take over structures of series and other small answers that the others have; nothing while they are away."""
        ...

    async def forget(self, series: Series, boxes: tuple[Box, ...] | None) -> None:
        """These boxes, or the whole series, are given up by all mirrors; it was done here."""
        ...

    def slot(self, kind: str, priority: Priority) -> AbstractAsyncContextManager[None]:
        """One of the places towards JSOC, of which all mirrors have as many together as JSOC allows of a kind."""
        ...

    def job_number(self, number: int) -> int:
        """The number of an export of which this mirror made so many: no other mirror has it."""
        ...

    async def address_of(self, request_id: str, number: int) -> str | None:
        """Where the mirror answers that works on the export with an id and a number; None: here.

        The export of one that is gone is worked on here from now on, unless another does so already.
        """
        ...

    async def others(self) -> Sequence[Peer]:
        """The other mirrors that are there and say where they answer."""
        ...

    async def name_of(self, number: int) -> str | None:
        """What the mirror is called that gave this number to an export, a fill or a film; None: this one, or nobody knows."""
        ...


class Alone:
    """No other mirrors."""

    async def catch_up(self, series: Series, boxes: Iterable[Box]) -> bool:  # noqa: ARG002
        """Nobody has anything."""
        return False

    async def fetch(self, series: Series, box: Box, ask: Ask) -> int | None:  # noqa: ARG002
        """All of it is asked for."""
        return await ask(box)

    async def check(self, series: Series, box: Box, freshness: Freshness, check: Ask) -> None:  # noqa: ARG002
        """All of it is checked."""
        await check(box)

    async def refresh(self) -> None:
        """There is nothing to take over."""

    async def forget(self, series: Series, boxes: tuple[Box, ...] | None) -> None:
        """Nobody else has it."""

    @asynccontextmanager
    async def slot(self, kind: str, priority: Priority) -> AsyncIterator[None]:  # noqa: ARG002
        """There is always one: this mirror counts its own."""
        yield

    def job_number(self, number: int) -> int:
        """The number itself."""
        return number

    async def address_of(self, request_id: str, number: int) -> str | None:  # noqa: ARG002
        """All exports were made here."""
        return None

    async def others(self) -> Sequence[Peer]:
        """There are none."""
        return ()

    async def name_of(self, number: int) -> str | None:  # noqa: ARG002
        """All exports were made here."""
        return None
