"""The demonstration's client: the beginning of the tutorials, with unmodified drms and sunpy.

Run as a separate program with HTTP_PROXY set, so that nothing of the mirror is imported here. Prints
one JSON object per step: {"step", "result", "seconds"}.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any


def counted(records: int) -> str:
    """So many records, in words."""
    return f"{records:,} record{'' if records == 1 else 's'}"


def steps() -> list[tuple[str, Callable[[], str]]]:
    """Each step's name, and a function that runs it and describes the result in a few words."""
    import drms  # noqa: PLC0415  (loading is not what is measured)
    from sunpy.net import Fido  # noqa: PLC0415
    from sunpy.net import attrs as a  # noqa: PLC0415

    client = drms.Client()
    hour = a.Time("2014-01-01T00:00:00", "2014-01-01T01:00:00")
    doppler, euv = a.jsoc.Series("hmi.v_45s"), a.jsoc.Series("aia.lev1_euv_12s")

    def query(ds: str, **names: str) -> str:
        answer = client.query(ds, **names)
        table = answer[0] if isinstance(answer, tuple) else answer
        return f"{counted(len(table))} x {len(table.columns)} keywords"

    def fido(*what: Any) -> str:
        blocks = Fido.search(*what)
        return " + ".join(counted(len(block)) for block in blocks)

    return [
        ("drms: series", lambda: f"{len(client.series('hmi'))} series"),
        ("drms: info", lambda: f"{len(client.info('hmi.v_sht_2drls').segments)} segments"),
        (
            "drms: four Dopplergrams",
            lambda: query("hmi.v_45s[2016.04.01_TAI/1d@6h]", key="T_REC,DATAMEAN,OBS_VR", seg="Dopplergram"),
        ),
        ("drms: one SHARP", lambda: query("hmi.sharp_720s[7451][2020.09.27_00:00:00_TAI]", key="**ALL**")),
        (
            "drms: a day of magnetograms",
            lambda: query("hmi.M_720s[2014.01.01_TAI/1d]", key="T_REC,QUALITY,DATAMEAN"),
        ),
        ("sunpy: an hour of HMI", lambda: fido(hour, doppler)),
        ("sunpy: every 10 minutes", lambda: fido(hour, doppler, a.Sample(600 * _second()))),
        ("sunpy: HMI or AIA", lambda: fido(hour, doppler | euv)),
        ("sunpy: AIA in 304", lambda: fido(hour, euv, a.Wavelength(304 * _angstrom()))),
    ]


def _second() -> Any:
    import astropy.units as u  # noqa: PLC0415

    return u.s


def _angstrom() -> Any:
    import astropy.units as u  # noqa: PLC0415

    return u.AA


def main() -> None:
    """Run every step once; each line on stdin starts the next."""
    warnings.simplefilter("ignore")
    for name, take in steps():
        print(json.dumps({"step": name}), flush=True)
        sys.stdin.readline()
        started = time.perf_counter()
        result = take()
        print(json.dumps({"result": result, "seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
