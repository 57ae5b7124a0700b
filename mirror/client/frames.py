"""Answers as tables of the libraries that people use. Imported when one is wanted: pandas alone takes half a second.

Columns have the types that drms gives them: integers (also hexadecimal), floats, else text; NaN for missing numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from mirror.api.search import Found
from mirror.errors import BadRequest

Kind = Literal["pandas", "polars", "arrow", "astropy"]
KINDS: tuple[Kind, ...] = ("pandas", "polars", "arrow", "astropy")
_INTEGERS, _FLOATS = frozenset({"char", "short", "int", "longlong"}), frozenset({"float", "double"})
_TIME = re.compile(r"(-?\d+)\.(\d\d)\.(\d\d)_(\d\d):(\d\d)(?::(\d\d(?:\.\d+)?))?(?:_?([A-Z]+))?")
#: Zones of DRMS whose clocks astropy has.
_SCALES = {"TAI": "tai", "UTC": "utc", "UT": "utc", "Z": "utc", "TT": "tt", "TDT": "tt", None: "utc"}
#: JSOC's names of units that astropy names differently.
_UNITS = {
    "gauss": "G", "g": "G", "degree": "deg", "degrees": "deg", "second": "s", "seconds": "s", "sec": "s", "secs": "s",
    "maxwell": "Mx", "maxwells": "Mx", "pixels": "pix", "pixel": "pix", "dn": "DN", "counts": "ct", "count": "ct",
    "kelvin": "K", "angstroms": "Angstrom", "meters": "m", "meter": "m", "percent": "%",
}  # fmt: skip


class Frame(pd.DataFrame):  # type: ignore[misc]
    """A data frame whose columns are found in any case, since SQL does not distinguish ``t_rec`` from ``T_REC``."""

    @property
    def _constructor(self) -> type[Frame]:
        return Frame

    def __getitem__(self, key: Any) -> Any:
        """As in pandas, with column names in any case."""
        return super().__getitem__(self._as_named(key))

    def __getattr__(self, name: str) -> Any:
        """A column as an attribute, in any case."""
        if not name.startswith("_") and (known := self._as_named(name)) != name:
            return super().__getitem__(known)
        return super().__getattr__(name)

    def _as_named(self, key: Any) -> Any:
        """A name, or a list of names, in the columns' case; anything else, and unknown names, unchanged."""
        if isinstance(key, list):
            return [self._as_named(each) for each in key] if all(isinstance(each, str) for each in key) else key
        if not isinstance(key, str) or key in self.columns:
            return key
        alike = [name for name in self.columns if isinstance(name, str) and name.lower() == key.lower()]
        return alike[0] if len(alike) == 1 else key


def table(found: Found, kind: Kind, *, times: bool, typed: bool = True) -> Any:
    """A search as a table. ``times``: times are timestamps, not text. Without ``typed`` all is text, as it prints.

    An astropy QTable has the units of the structure, and Time.
    """
    check(kind)
    if kind == "astropy":
        return _qtable(found)
    frame = Frame(list(map(list, found.rows)), columns=found.columns)
    for place, name in enumerate(found.kinds if typed else ()):
        if name in _INTEGERS or name in _FLOATS:
            frame.isetitem(place, _numbers(frame.iloc[:, place], name))
        elif name == "time" and times:
            frame.isetitem(place, _stamps(frame.iloc[:, place]))
    return _as(frame, kind)


def from_arrow(rows: Any, kind: Kind) -> Any:
    """An Arrow table as a table of another library."""
    check(kind)
    if kind == "arrow":
        return rows
    if kind == "polars":
        return needed("polars", "polars").from_arrow(rows)
    if kind == "astropy":
        from astropy.table import QTable  # noqa: PLC0415  (like all of astropy, slow to import)

        return QTable.from_pandas(rows.to_pandas())
    return Frame(rows.to_pandas())


def check(kind: str) -> None:
    """Raise BadRequest for an unknown kind of table."""
    if kind not in KINDS:
        raise BadRequest(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")


def needed(module: str, extra: str) -> Any:
    """An optional module; ImportError says how to install it."""
    import importlib  # noqa: PLC0415

    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise ImportError(f"this needs {module.partition('.')[0]} ({problem}): pip install 'jsoc-mirror[{extra}]'") from problem


def _as(frame: Frame, kind: Kind) -> Any:
    if kind == "pandas":
        return frame
    if kind == "polars":
        return needed("polars", "polars").from_pandas(pd.DataFrame(frame))
    found = pa.Table.from_pandas(pd.DataFrame(frame), preserve_index=False)
    if len(frame):
        return found
    texts = [field.with_type(pa.string()) if pa.types.is_null(field.type) else field for field in found.schema]
    return found.cast(pa.schema(texts))  # without a text there is nothing that says what it is


def _numbers(column: pd.Series, kind: str) -> pd.Series:
    """Texts as numbers, as drms reads them."""
    texts = [int(v, 16) if kind in _INTEGERS and isinstance(v, str) and v.startswith("0x") else v for v in column]
    numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce")
    return numbers if len(numbers) else numbers.astype(np.int64 if kind in _INTEGERS else np.float64)


def _stamps(column: pd.Series) -> pd.Series:
    """Times as drms reads them: by their own clock, without a zone; NaT where missing."""
    import drms  # noqa: PLC0415  (only needed for times)

    return drms.to_datetime(column, force=True) if len(column) else column.astype("datetime64[ns]")


def times_of(records: Sequence[str], types: Sequence[str]) -> Any:
    """The times of records, from their names: the first prime key that is a time by ``types``; NaT without one."""
    place = next((at for at, kind in enumerate(types) if kind == "time"), None)
    keys = [re.findall(r"\[([^\]]*)\]", record) for record in records]
    texts = ["" if place is None or place >= len(each) else each[place] for each in keys]
    return _stamps(pd.Series(texts, dtype=object)).to_numpy()


# ---- astropy -----------------------------------------------------------------------------------------


def _qtable(found: Found) -> Any:
    from astropy.table import QTable  # noqa: PLC0415  (see above)

    made = QTable()
    columns = list(zip(*found.rows, strict=True)) if found.rows else [()] * len(found.columns)
    for name, kind, unit, values in zip(found.columns, found.kinds, found.units_of, columns, strict=True):
        made[name] = _astropy_column(list(values), kind, unit)
    return made


def _astropy_column(values: list[Any], kind: str, unit: str) -> Any:
    from astropy.table import Column  # noqa: PLC0415  (see above)

    if kind == "time":
        return _times(values)
    if kind not in _INTEGERS and kind not in _FLOATS:
        return _texts(values)
    numbers = _numbers(pd.Series(values, dtype=object), kind).to_numpy()
    known = _unit(unit)
    if known is None:
        return Column(numbers, description=unit or None)
    return numbers.astype(float) * known


def _unit(text: str) -> Any:
    """A unit of astropy; None for no unit, or an unknown one."""
    from astropy import units as u  # noqa: PLC0415  (see above)

    name = _UNITS.get(text.strip().lower(), text.strip())
    if not name or name.lower() in ("dimensionless", "tai", "utc"):
        return None
    try:
        return u.Unit(name)
    except ValueError:
        try:
            return u.Unit(name, format="cds")
        except ValueError:
            return None


def _texts(values: Sequence[Any]) -> Any:
    return np.array([str(value) for value in values], dtype=None if values else "U1")


def _times(values: Sequence[Any]) -> Any:
    """A Time, masked where a value is missing; text if a value is on a clock that astropy does not have."""
    from astropy.time import Time  # noqa: PLC0415

    found = [_TIME.fullmatch(str(value)) for value in values]
    zones = {each[7] for each in found if each}
    if len(zones) != 1 or not zones <= _SCALES.keys():
        return _texts(values)
    texts = [f"{m[1]}-{m[2]}-{m[3]}T{m[4]}:{m[5]}:{m[6] or '00'}" if m else "2000-01-01T00:00:00" for m in found]
    made = Time(texts, format="isot", scale=_SCALES[zones.pop()])
    if not all(found):
        made[[not each for each in found]] = np.ma.masked
    return made
