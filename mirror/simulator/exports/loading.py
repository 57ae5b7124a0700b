"""astropy and Pillow, loaded when the first file is made: a simulator that is only searched does not need them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mirror.errors import BadRequest


def fits() -> Any:
    """The module ``astropy.io.fits``."""
    return import_module("astropy.io.fits")


def pillow() -> Any:
    """The module ``PIL.Image``; BadRequest where Pillow is not installed."""
    try:
        return import_module("PIL.Image")
    except ImportError as problem:
        raise BadRequest(
            "pictures are not simulated without Pillow; expected it installed (extra quicklook)"
        ) from problem
