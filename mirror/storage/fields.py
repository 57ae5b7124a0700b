"""From the ``_raw`` of many records to columns, by Arrow. Pure.

A large answer is a few hundred thousand values; as Python strings they cost several times what it takes
to move them as blocks of bytes.
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

#: Records at a time: some 10 MB, so that a large answer is never in memory twice.
BLOCK = 8192


def field_columns(raws: Sequence[str], positions: Sequence[int]) -> list[Joined]:
    """The fields at ``positions`` of their key set, each of all records, of which there is at least one.

    All at once they cost little more than one of them.
    """
    blocks = [_texts(raws[i : i + BLOCK], positions) for i in range(0, len(raws), BLOCK)]
    return [Joined(GLUE.join(texts), len(raws)) for texts in zip(*blocks, strict=True)]


def _texts(raws: Sequence[str], positions: Sequence[int]) -> list[str]:
    """The values of each field, joined."""
    # The values of the first record, then those of the second, and so on.
    values = pc.split_pattern(pa.array(raws, pa.string()), SEPARATOR).values
    firsts = np.arange(0, len(values), len(values) // len(raws))
    picked = values.take(pa.array((np.array(positions)[:, np.newaxis] + firsts).ravel()))
    ends = pa.array(np.arange(0, len(picked) + 1, len(raws)), pa.int32())
    texts: list[str] = pc.binary_join(pa.ListArray.from_arrays(ends, picked), GLUE).to_pylist()
    return texts
