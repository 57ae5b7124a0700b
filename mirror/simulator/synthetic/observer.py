"""Columns that any telescope has: where it was, and what the Sun looked like from there."""

from __future__ import annotations

from collections.abc import Mapping

from mirror.simulator.synthetic.columns import ColumnFunction, Frame
from mirror.simulator.synthetic.ephemeris import View


def observer_columns(place: str) -> Mapping[str, ColumnFunction]:
    """The keywords of an observer at ``place`` (see ``Frame.view``)."""

    def seen(frame: Frame) -> View:
        return frame.view(place)

    return {
        "DSUN_OBS": lambda frame: seen(frame).distance,
        "RSUN_OBS": lambda frame: seen(frame).radius,
        "CRLT_OBS": lambda frame: seen(frame).latitude,
        "HGLT_OBS": lambda frame: seen(frame).latitude,
        "CRLN_OBS": lambda frame: seen(frame).longitude,
        "CAR_ROT": lambda frame: seen(frame).rotation,
        "OBS_VR": lambda frame: seen(frame).vr,
        "OBS_VW": lambda frame: seen(frame).vw,
        "OBS_VN": lambda frame: seen(frame).vn,
    }
