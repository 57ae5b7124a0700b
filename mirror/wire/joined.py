"""A column of wire text in one piece, as an answer shows it between its outer quotes.

The index can make a column so at a fraction of the cost of its values one by one, and encoding it is
no work at all. Whoever wants the values reads it like any sequence.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import overload

#: What stands between two values of a column in JSON.
GLUE = '","'
_VALUE = re.compile(r'((?:[^"\\]|\\.)*)(?:","|\Z)', re.DOTALL)


class Joined(Sequence[str]):
    """``count`` values, at least one, which ``text`` holds with ``GLUE`` between them.

    In wire text a quote never stands without its backslash, so the values can always be told apart.
    """

    __hash__ = None  # type: ignore[assignment] # equal to lists, which have no hash

    def __init__(self, text: str, count: int) -> None:
        self.text = text
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._values[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Joined):
            return self._values == other._values
        return isinstance(other, Sequence) and self._values == list(other)

    def __repr__(self) -> str:
        return f"Joined({self.text!r}, {self._count})"

    @cached_property
    def _values(self) -> list[str]:
        if '\\"' not in self.text:
            return self.text.split(GLUE)
        return [found[1] for found in _VALUE.finditer(self.text)][: self._count]
