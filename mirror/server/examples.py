"""What to copy to ask for a series: a small record set of it, and the same in each client's words. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mirror.drms.axis import Kind, coverage_axis
from mirror.storage.layout import column_name, quoted

if TYPE_CHECKING:
    from mirror.drms.series import Series

_TIME = re.compile(r"\d{4}\.\d\d\.\d\d")
_SOME_DAY = "2014.01.01"
#: Keywords that an example shows beside the prime keys, where a series has them.
_LIKED = ("QUALITY", "CRLN_OBS", "CRLT_OBS", "EXPTIME", "USFLUX", "DATAMEAN")


def usual_set(series: Series) -> str:
    """A small record set: an hour of the series' first day, or the first value of its first key."""
    axis = coverage_axis(series)
    names = [k.name for k in series.primekeys]
    if axis is None or axis.key not in names:
        return f"{series.name}[$]" if names else f"{series.name}[:#$]"
    brackets = "[]" * names.index(axis.key)
    if axis.kind is Kind.NUMBERS or axis.place(0.0) is None:
        return f"{series.name}{brackets}[$]"
    found = _TIME.search(series.extent.last_record)
    length = "1h" if axis.slots is None or axis.slots.step < 1800 else "1d"
    return f"{series.name}{brackets}[{found[0] if found else _SOME_DAY}_TAI/{length}]"


def examples(series: Series, address: str) -> list[tuple[str, str, str]]:
    """Id, title and text of each example; ``address`` is that of the mirror."""
    ds, keys = usual_set(series), _keys(series)
    return [
        ("drms", "Python, drms", _drms(ds, keys, address)),
        ("sunpy", "Python, sunpy", _sunpy(series, keys, address)),
        (
            "curl",
            "curl",
            f"curl -g '{address}/cgi-bin/ajax/jsoc_info?op=rs_list&ds={ds}&key={','.join(keys)}'",
        ),
        ("cli", "Command line", f"mirror search '{ds}' --key {','.join(keys)}"),
        ("sql", "SQL", _sql(series, keys)),
    ]


def _keys(series: Series) -> list[str]:
    primes = [k.name for k in series.primekeys]
    return [*primes, *(n for n in _LIKED if series.keyword(n) and n not in primes)][:5] or ["*recnum*"]


def _drms(ds: str, keys: list[str], address: str) -> str:
    return (
        f'import drms, mirror\n\nclient = drms.Client(server=mirror.server_config("{address}"))\n'
        f'records = client.query("{ds}", key="{", ".join(keys)}")'
    )


def _sunpy(series: Series, keys: list[str], address: str) -> str:
    day = _TIME.search(series.extent.last_record)
    iso = (day[0] if day else _SOME_DAY).replace(".", "-")
    segment = f',\n    a.jsoc.Segment("{series.segments[0].name}")' if series.segments else ""
    return (
        f'import mirror\nfrom sunpy.net import Fido, attrs as a\n\nmirror.use("{address}")\n'
        f'found = Fido.search(\n    a.Time("{iso} 00:00", "{iso} 01:00"),\n    a.jsoc.Series("{series.name}"){segment},\n)\n'
        f"found.show({', '.join(repr(k) for k in keys)})"
    )


def _sql(series: Series, keys: list[str]) -> str:
    namespace, _, name = series.name.lower().partition(".")
    columns = ", ".join(column_name(k) if k.isidentifier() else quoted(column_name(k)) for k in keys)
    columns = "*" if keys == ["*recnum*"] else columns
    return f"SELECT {columns}\nFROM {namespace}.{name}\nLIMIT 100"
