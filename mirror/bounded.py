"""A dictionary of bounded size: the least recently used entries are dropped first."""

from __future__ import annotations

from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(dict[K, V]):
    """At most ``most`` entries. Setting an entry, or ``recall``, counts as use; other methods do not."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: K, value: V) -> None:
        self.pop(key, None)
        super().__setitem__(key, value)
        while len(self) > self._most:
            del self[next(iter(self))]

    def recall(self, key: K) -> V | None:
        """The value of a key, which counts as used; None if there is none."""
        value = self.get(key)
        if value is not None:
            self[key] = value
        return value
