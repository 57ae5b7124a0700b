"""The protocol of a series for the simulator's core: its structure, and rows by columns.

Two kinds of series implement it: recorded ones (a list of rows) and synthetic ones (millions of
slots, where only the requested rows and columns are ever computed). The core does everything else: key
filters, first and last, where clauses, versions, order, limits, n, and all encoding.

The one rule of ``candidates``: running the core's evaluation on the rows it returns gives the same
records as running it on every row of the series. It may return more rows than are selected, in any
order. In particular: of a prime-key tuple all versions are returned or none, unless the selection
cannot see an old version; for ``^`` and ``$`` the rows that hold the extreme are among them; and for
a range with an open start and a step the first row there is, as steps are counted from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mirror.drms.recordset import Selection
    from mirror.drms.series import Series

Value = int | float | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """One database column of some rows, as PostgreSQL holds it.

    ``values`` is int64 (char, short, int, longlong), float64 (float, double, and times in seconds
    after 1977.01.01_TAI) or an object array of str. A ``float`` column holds the single-precision
    value. Missing values are DRMS's own: NaN, -2147483648 (and its like), "", the time of JD 0;
    ``null`` marks the rows that are SQL NULL instead (None: there are none).
    """

    values: NDArray[Any]
    null: NDArray[np.bool_] | None = None

    def tolist(self) -> list[Value]:
        """Python values, None for NULL."""
        values: list[Value] = self.values.tolist()
        if self.null is None:
            return values
        return [None if gone else value for value, gone in zip(values, self.null.tolist(), strict=True)]


@dataclass(frozen=True, slots=True)
class SegmentCells:
    r"""One segment of some rows, each member as many entries as there are rows; texts are wire text.

    ``paths``: ``\/SUM1\/D1\/S00000\/image.fits``, ``NoDataDirectory`` for a unit that is offline, or
    ``BadSegLink`` (with dims ``NA``) where a linked segment does not resolve. ``dims``: ``4096x4096``.
    ``cparms``, ``bzeros``, ``bscales``: None in place of a text where the record has none, None as a
    whole where no record has one (generic segments have none of the three, linked ones only cparms).
    """

    paths: Sequence[str]
    dims: Sequence[str]
    cparms: Sequence[str | None] | None = None
    bzeros: Sequence[str | None] | None = None
    bscales: Sequence[str | None] | None = None


class Rows(Protocol):
    """Some records of one series; everything is computed on request.

    "Wire text" is the text between the quotes in the JSON answer (``mirror.wire.text.to_wire``).
    """

    def __len__(self) -> int: ...

    def take(self, positions: NDArray[np.intp]) -> Rows:
        """These rows, in this order."""
        ...

    def stored(self, column: str) -> Column:
        """A database column by its lower-case name: keyword, ``x_index``, ``recnum``, ``sunum``.

        Of a series whose files are served also ``slotnum``, and ``sg_000_file`` and its like: the names of
        the files of segments, by their position in the structure.


        Every keyword that is neither constant nor linked has one. KeyError for a column that is not held
        (``sessionid``, ``sg_000_file`` and their like may be missing; where clauses on it are then refused).
        """
        ...

    def printed(self, keyword: str, precise: bool) -> Sequence[str]:
        """Wire text of a keyword (any keyword of the structure, in the structure's own case).

        Missing values are ``MISSING``. With ``precise`` as the flag M=1 prints it: floats %.9G,
        doubles %.17G, times with 6 decimals; anything else as without.
        """
        ...

    def pseudo(self, name: str) -> Sequence[str]:
        """Wire text of ``*size* *online* *retain* *archive* *recdir* *logdir* *dirmtime*``.

        ``*recnum*`` and ``*sunum*`` are made from the stored columns, ``*spec*`` from the record's name.
        """
        ...

    def segment(self, name: str) -> SegmentCells:
        """A segment of the structure, by its own-case name."""
        ...

    def link(self, name: str) -> Sequence[str]:
        """Wire text of a link of the structure: the target's record query."""
        ...


class SeriesData(Protocol):
    """One series that the simulator serves."""

    @property
    def structure(self) -> Series:
        """The structure, ``extent`` included; ``name`` is in the series' own case."""
        ...

    def candidates(self, selection: Selection, n: int | None = None) -> Rows:
        """A superset of the selected rows (see the rule at the top of the file).

        ``n`` is the limit that will be applied at the end: the first ``n`` records in prime-key order,
        the last ``-n``. Without a where clause, rows that cannot be among them may be left out.
        """
        ...

    def print_format(self, keyword: str) -> str | None:
        """The format in which a keyword of the structure is printed, None if it is unknown.

        For a time it is the number of decimals of the second.
        """
        ...

    def count(self, selection: Selection) -> int | None:
        """How many records the selection has, if that is known without making rows, else None."""
        ...

    def unit(self, sunum: int) -> Rows:
        """The records, of any version, whose own files lie in a storage unit; no rows if there is none."""
        ...
