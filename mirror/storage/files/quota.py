"""How many bytes the store may have, has, and has promised to downloads that run.

Plain arithmetic without files: a download reserves its size before it starts, so that no two of them
can together run over the quota. Used from the event loop only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mirror.errors import StorageError
from mirror.humanize import in_words

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self




class Quota:
    """``limit`` bytes (None: no limit), of which blobs have ``held``, parked parts ``parked``."""

    def __init__(self, limit: int | None, *, held: int = 0, parked: int = 0) -> None:
        self.limit = limit
        self.held = held
        self.parked = parked
        self.promises: set[Reservation] = set()

    @property
    def reserved(self) -> int:
        """Bytes promised to downloads that run."""
        return sum(r.size for r in self.promises)

    @property
    def pending(self) -> int:
        """Bytes promised and not yet on the disk."""
        return sum(max(0, r.size - r.written) for r in self.promises)

    def shortage(self, size: int) -> int:
        """Bytes that must go before ``size`` more have room."""
        if self.limit is None:
            return 0
        return max(0, self.held + self.parked + self.reserved + size - self.limit)

    def reserve(self, size: int) -> Reservation:
        """Promise ``size`` bytes; StorageError if they have no room."""
        if size < 0:
            raise StorageError(f"cannot reserve {size} bytes; expected a size of 0 or more")
        self.check(size)
        reservation = Reservation(self, size)
        self.promises.add(reservation)
        return reservation

    def check(self, size: int) -> None:
        """Raise StorageError if ``size`` more bytes have no room."""
        if self.shortage(size):
            raise StorageError(self.refusal(size))

    def refusal(self, size: int) -> str:
        """Why ``size`` more bytes have no room, and what helps."""
        assert self.limit is not None
        if size > self.limit:
            return f"{in_words(size)} do not fit into the store's whole quota of {in_words(self.limit)}; raise [storage] quota"
        return (
            f"no room for {in_words(size)}: of the store's quota of {in_words(self.limit)}, "
            f"{in_words(self.held)} are held and {in_words(self.reserved + self.parked)} promised to downloads, "
            f"and too little of it may be evicted; take pins away, or raise [storage] quota"
        )


class Reservation:
    """Room promised to one download; give it back by ``release``, or say by ``settle`` what became of it.

    ``written`` says how much of it lies on the disk by now, ``evicted`` how much was evicted for it. ``announced``: how
    much will come is known.
    """

    def __init__(self, quota: Quota, size: int) -> None:
        self._quota = quota
        self.size = size
        self.written = 0
        self.evicted = 0
        self.announced = False

    def grow(self, by: int) -> None:
        """Promise more bytes; StorageError if they have no room."""
        self._quota.check(by)
        self.size += by

    def settle(self, *, held: int) -> None:
        """The download ended: ``held`` bytes of it count as held, the rest of the promise is free."""
        self.release()
        self._quota.held += held

    def release(self) -> None:
        """The download left nothing. May be called again, and after ``settle``."""
        self._quota.promises.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
