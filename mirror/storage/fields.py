"""From the ``_raw`` of many records to columns, by Arrow. Pure.

A large answer is a few hundred thousand values; as Python strings they cost several times what it takes
to move them as one block of bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mirror.storage.layout import SEPARATOR
from mirror.wire.joined import GLUE, Joined

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bytes of strings that Arrow joins at once.
_ARROW_LIMIT = 2**31 - 1


class Fields:
    """The fields of records, at least one, that all have the same key set."""

    def __init__(self, raws: Sequence[str]) -> None:
        self._count = len(raws)
        # The values of the first record, then those of the second, and so on.
        self._values = pc.split_pattern(pa.array(raws, pa.large_string()), SEPARATOR).values

    def columns(self, positions: Sequence[int]) -> list[Joined]:
        """The fields at these positions of the key set, each of all records; many at once cost little more."""
        if self._values.nbytes > _ARROW_LIMIT and len(positions) > 1:
            return [self.columns([position])[0] for position in positions]
        firsts = np.arange(0, len(self._values), len(self._values) // self._count)
        picked = self._values.take(pa.array((np.array(positions)[:, np.newaxis] + firsts).ravel()))
        ends = pa.array(np.arange(0, len(picked) + 1, self._count), pa.int32())
        lists = pa.ListArray.from_arrays(ends, picked.cast(pa.string()))
        return [Joined(text, self._count) for text in pc.binary_join(lists, GLUE).to_pylist()]
