"""What the read-through needs of other mirrors that share with this one, and what a mirror alone does instead.

The read-through plans as always, but goes through ``Shared`` before it asks JSOC for a box: what another mirror has
of it is taken over, what another one is fetching is waited for, and only the rest is requested. ``mirror.cluster``
implements it; without ``[cluster]`` in the configuration there is ``Alone``, which costs nothing.
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

    #: Fetches a box and keeps it; how many records came, None if it was not fetched completely.
    Ask = Callable[[Box], Awaitable[int | None]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a token with a quota has used at one mirror.

    Bytes are those of the ``day``; ``requests`` count from the mirror's start; as of ``at``, ``remaining`` more may
    come at once.
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
    """The other mirrors. Methods that need them raise UpstreamUnreachable while they cannot be reached."""

    async def catch_up(self, series: Series, boxes: Iterable[Box]) -> bool:
        """Take over what the others have of these boxes and this mirror lacks; True if there was anything.

        While they cannot be reached, False, and no error.
        """
        ...

    async def fetch(self, series: Series, box: Box, ask: Ask) -> int | None:
        """Return when a box is held; ``ask`` is called for parts of it that nobody has and nobody is fetching.

        How many records ``ask`` brought; None as soon as it returns None.
        """
        ...

    async def check(self, series: Series, box: Box, freshness: Freshness, check: Ask) -> None:
        """Return when a held box was checked as recently as ``freshness`` demands; otherwise as ``fetch``."""
        ...

    async def refresh(self) -> None:
        """Take over structures of series and other small answers of the others; does nothing while they are away."""
        ...

    async def forget(self, series: Series, boxes: tuple[Box, ...] | None) -> None:
        """Make the other mirrors give up these boxes, or the whole series, as this one has done."""
        ...

    def slot(self, kind: str, priority: Priority) -> AbstractAsyncContextManager[None]:
        """One of the places towards JSOC: all mirrors together have as many of each kind as JSOC allows."""
        ...

    def job_number(self, number: int) -> int:
        """The number of this mirror's export ``number``, which no other mirror uses."""
        ...

    async def same_export(self, identity: str, since: float) -> str | None:
        """The id of the newest export of that identity, created ``since`` then; None if there is none elsewhere."""
        ...

    async def address_of(self, request_id: str, number: int) -> str | None:
        """The address of the mirror that works on the export with this id and number; None: this one.

        If that mirror is gone, this one takes the export over, unless another already has.
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

    async def same_export(self, identity: str, since: float) -> str | None:  # noqa: ARG002
        """Nobody else makes exports."""
        return None

    async def address_of(self, request_id: str, number: int) -> str | None:  # noqa: ARG002
        """All exports were made here."""
        return None

    async def others(self) -> Sequence[Peer]:
        """There are none."""
        return ()

    async def name_of(self, number: int) -> str | None:  # noqa: ARG002
        """All exports were made here."""
        return None
