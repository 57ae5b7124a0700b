"""A small series in memory, for tests that need to know every value."""

from __future__ import annotations

import numpy as np

from mirror.drms.series import Keyword, PrimeKey, Segment, Series
from mirror.simulator.base import Column, SegmentCells


def keyword(name, type_, recscope="variable", **more):
    return Keyword(name, type_, recscope, more.pop("defval", ""), more.pop("units", "none"), "", **more)


def series(name="lab.small", keys=("K",), keywords=(), segments=("image",)):
    """A structure with these prime keys; keywords as (name, type) or (name, type, recscope)."""
    return Series(
        name=name,
        note="made for a test",
        retention=1,
        unitsize=1,
        archive=0,
        tapegroup=0,
        primekeys=tuple(PrimeKey(key, slotted=False) for key in keys),
        dbindex=tuple(keys),
        keywords=tuple(keyword(*each) for each in keywords),
        segments=tuple(Segment(segment, "int", "DN", "fits", "4x4", "") for segment in segments),
        links=(),
    )


class Memory:
    """A series with its stored columns in memory; ``null`` names rows of columns that are NULL."""

    def __init__(self, structure, columns, null=None, positions=None):
        self.structure = structure
        self._columns = {k: v if isinstance(v, np.ndarray) else _array(v) for k, v in columns.items()}
        self._null = null or {}
        size = len(next(iter(self._columns.values())))
        self._positions = np.arange(size) if positions is None else positions

    def candidates(self, selection, n=None):
        return self

    def print_format(self, keyword):
        return None

    def count(self, selection):
        return None

    def __len__(self):
        return len(self._positions)

    def take(self, positions):
        return Memory(self.structure, self._columns, self._null, self._positions[positions])

    def stored(self, column):
        values = self._columns[column][self._positions]
        rows = self._null.get(column)
        return Column(values, None if rows is None else np.isin(self._positions, rows))

    def printed(self, keyword, precise):
        return [str(value) for value in self.stored(keyword.lower()).values.tolist()]

    def pseudo(self, name):
        return ["NA"] * len(self)

    def segment(self, name):
        return SegmentCells([f"\\/SUM1\\/D{n}\\/{name}" for n in self._positions.tolist()], ["4x4"] * len(self))

    def link(self, name):
        return ["Invalid_Link"] * len(self)


def _array(values):
    if any(isinstance(value, str) for value in values):
        column = np.empty(len(values), dtype=object)
        column[:] = values
        return column
    return np.array(values)
