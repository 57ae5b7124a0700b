"""From the answers of upstream to what a write takes: rows, and how exact their columns are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pyarrow as pa

from mirror.storage.batch import batch
from mirror.storage.precision import Tolerance, tolerance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mirror.storage.layout import Layout
    from mirror.wire.rs_list import RsList

#: Records from which on the conversion of an answer takes long enough to be noticed: some 50 ms.
LARGE = 1_000


async def rows_of(layout: Layout, answers: Sequence[RsList], keyset: int) -> pa.Table | None:
    """The rows of answers, None if they have none; of large ones made in a thread, so that searches go on."""
    some = [answer for answer in answers if answer.count]
    if sum(answer.count for answer in some) < LARGE:
        return _converted(layout, some, keyset)
    return await asyncio.to_thread(_converted, layout, some, keyset)


def widened_by(
    layout: Layout, answers: Sequence[RsList], tolerances: Mapping[str, Tolerance]
) -> dict[str, Tolerance]:
    """The tolerances that the values of answers make wider than ``tolerances``, by column."""
    widened: dict[str, Tolerance] = {}
    for texts in (dict(answer.keywords or ()) for answer in answers):
        for column in layout.columns:
            if column.inexact and column.keyword in texts:
                before = widened.get(column.name) or tolerances.get(column.name)
                after = tolerance(column, texts[column.keyword]) | (before or Tolerance())  # type: ignore[arg-type]
                if after != before:
                    widened[column.name] = after
    return widened


def _converted(layout: Layout, answers: Sequence[RsList], keyset: int) -> pa.Table | None:
    tables = [batch(layout, answer, keyset) for answer in answers]
    return pa.concat_tables(tables) if tables else None
