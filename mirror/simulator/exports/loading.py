"""astropy, loaded when the first FITS file is made: a simulator that is only searched does without it."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def fits() -> Any:
    """The module ``astropy.io.fits``."""
    return import_module("astropy.io.fits")
