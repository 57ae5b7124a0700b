"""A memory of what is dear to make, up to a number of bytes; the least recently used goes first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sized
from typing import Generic, TypeVar

T = TypeVar("T", bound=Sized)


class Kept(Generic[T]):
    """Values by key; ``len()`` of a value is what it counts for. One thread at a time."""

    def __init__(self, most: int) -> None:
        self._most, self._total = most, 0
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value, made if it is not there."""
        if key in self._values:
            self._values.move_to_end(key)
            return self._values[key]
        value = make()
        self._values[key] = value
        self._total += len(value)
        while self._total > self._most and len(self._values) > 1:
            self._total -= len(self._values.popitem(last=False)[1])
        return value
