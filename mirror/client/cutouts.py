"""What the command and ``mirror.Client`` both need for cutouts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from mirror.errors import BadRequest


def name_format(series: str, primekeys: Sequence[str]) -> str:
    """The names that drms gives the files of an export: series, prime keys and segment."""
    times = ("T_REC", "T_OBS", "T_START", "T_STOP", "DATE__OBS", "DATE_OBS")
    keys = [f"{{{key}:A}}" if key.upper() in times else f"{{{key}}}" for key in primekeys]
    return ".".join((series.lower(), *(keys or ["{recnum:%lld}"]), "{segment}"))


def tracking_start(times: Sequence[str]) -> str:
    """The time of the first record, from which on its centre is followed."""
    if not times or times[0] in ("MISSING", "Invalid KeyLink"):
        raise BadRequest("the records have no T_REC to begin with; give t_ref, the time at which the centre is there")
    return times[0]
