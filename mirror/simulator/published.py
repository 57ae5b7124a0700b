"""JSOC's web server apart from its programs: plain files below /data and /doc/data, and lists of directories.

Every byte follows from the path, except for the list of HARPs, which grows: it has those of the synthetic series that
have begun and contain a NOAA region. Images and maps are invented.
"""

from __future__ import annotations

import html
import io
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from mirror.drms.times import format_time
from mirror.errors import BadRequest
from mirror.simulator.exports.loading import fits, pillow
from mirror.simulator.synthetic.columns import load_suite_facts
from mirror.simulator.synthetic.ephemeris import Ephemeris
from mirror.simulator.synthetic.harps import make_harps
from mirror.simulator.synthetic.maps import FIRST_ROTATION, middle
from mirror.simulator.synthetic.structure import load
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mirror.drms.slots import SlotAxis
    from mirror.simulator.archive import Archive
    from mirror.simulator.synthetic.harps import Harps

#: The shape of a synoptic map, small or not: rows in the sine of latitude, columns in longitude.
_SMALL, _LARGE = (360, 720), (1440, 3600)
_LAST_ROTATION = 2300
_SIZES = {
    "256": 256,
    "512": 512,
    "1k": 1024,
    "1024x1024": 1024,
    "4k": 1024,
}  #: the largest is left out for its size
_UNIT = re.compile(r"/SUM[0-9]+/D([0-9]+)(?:/S[0-9]+)?")


def published(path: str, now: float) -> bytes | None:
    """The bytes of a plain file at a time (seconds after 1977.01.01_TAI), None if there is no such path."""
    made = _FILES.get(path)
    if made is not None:
        return made(now)
    for pattern, make in _PATTERNS:
        found = pattern.fullmatch(path)
        if found is not None:
            try:
                return make(found)
            except BadRequest:  # the drawing library is not installed
                return None
    return None


def listing(path: str, archive: Archive) -> bytes | None:
    """The page that lists a directory, by its path without a final slash; None if it is not one."""
    names = _of_unit(path, archive) if path.startswith("/SUM") else _of_files(path)
    if not names:
        return None
    parent = html.escape(path.rpartition("/")[0] or "") + "/"
    shown = [f'<li><a href="{html.escape(name)}"> {html.escape(name)}</a></li>' for name in sorted(names)]
    title = f"Index of {html.escape(path)}"
    page = (
        '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n'
        f"<html>\n <head>\n  <title>{title}</title>\n </head>\n <body>\n<h1>{title}</h1>\n"
        f'<ul><li><a href="{parent}"> Parent Directory</a></li>\n'
        + "\n".join(shown)
        + "\n</ul>\n</body></html>\n"
    )
    return page.encode("latin-1", "replace")


def _of_unit(path: str, archive: Archive) -> set[str]:
    """The slots of a storage unit, or the files of a slot."""
    found = _UNIT.fullmatch(path)
    if found is None:
        return set()
    for name in archive.names:
        data = archive.find(name)
        rows = data.unit(int(found[1]))
        if len(rows):
            texts = (text for segment in data.structure.segments for text in rows.segment(segment.name).paths)
            return _below(path, map(from_wire, texts))
    return set()


def _of_files(path: str) -> set[str]:
    return _below(path, [*_FILES, *_EXAMPLES])


def _below(directory: str, paths: Iterable[str]) -> set[str]:
    """The names in a directory; those of directories end in a slash."""
    inner = (path.removeprefix(directory + "/") for path in paths if path.startswith(directory + "/"))
    return {name + ("/" if rest else "") for name, rest, _ in (path.partition("/") for path in inner)}


# ---- the files ----------------------------------------------------------------------------------------


def _list_of_harps(now: float) -> bytes:
    harps, axis = _harps()
    begun = (harps.region > 0) & (harps.first <= axis.slot(now))
    lines = [f"{number} {harps.listed[number - 1]}" for number in harps.numbers[begun].tolist()]
    return ("\n".join(["HARPNUM NOAA_ARS", *lines]) + "\n").encode("ascii")


@cache
def _harps() -> tuple[Harps, SlotAxis]:
    axis = load("hmi.sharp_720s").axis
    return make_harps(load_suite_facts(), axis), axis


def _field(seed: str, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Something like a magnetic field in gauss: a few patches of either sign on noise."""
    random = np.random.default_rng(zlib.crc32(seed.encode()))
    rows, columns = np.indices(shape, dtype=np.float32)
    field = random.normal(0.0, 3.0, shape).astype(np.float32)
    for _ in range(8):
        row, column = random.uniform(0.3, 0.7) * shape[0], random.uniform(0.0, 1.0) * shape[1]
        width = shape[0] / random.uniform(30.0, 60.0)
        for sign, shift in ((1.0, -width), (-1.0, width)):
            distance = ((rows - row) ** 2 + (columns - column - shift) ** 2) / (2 * width**2)
            field += np.float32(sign * 200.0) * np.exp(-distance)
    return field


def _synoptic_map(found: re.Match[str]) -> bytes | None:
    rotation = int(found["rotation"])
    return _chart(found[0], rotation) if FIRST_ROTATION <= rotation <= _LAST_ROTATION else None


@lru_cache(maxsize=2)
def _chart(path: str, rotation: int) -> bytes:
    """A synoptic map, with the cards by which programs recognize one; large ones take a second."""
    shape = _SMALL if "_small" in path else _LARGE
    unit = fits().PrimaryHDU(np.round(_field(path, shape), 2))
    seen = middle(Ephemeris(), np.array([rotation]))[0]
    cards = {
        "TELESCOP": "SDO/HMI", "INSTRUME": "HMI_SIDE1", "WAVELNTH": 6173.0, "BUNIT": "Mx/cm^2",
        "CONTENT": "Carrington Synoptic Chart Of Br Field",
        "CTYPE1": "CRLN-CEA", "CTYPE2": "CRLT-CEA", "CUNIT1": "Degree", "CUNIT2": "Sine Latitude",
        "CRPIX1": shape[1] / 2 + 0.4, "CRPIX2": shape[0] / 2 + 0.5,
        "CRVAL1": rotation * 360.0 - 180.0, "CRVAL2": 0.0,
        "CDELT1": -360.0 / shape[1], "CDELT2": 2.0 / shape[0], "WCSNAME": "Carrington Heliographic",
        "T_OBS": format_time(seen, "TAI"), "T_ROT": format_time(seen, "TAI"),
        "CAR_ROT": rotation, "CARRTIME": rotation * 360.0 - 180.0,
    }  # fmt: skip
    unit.header.update(cards)
    target = io.BytesIO()
    unit.writeto(target)
    return target.getvalue()


def _picture(found: re.Match[str]) -> bytes:
    """The disk in grey, in the size that the name gives."""
    size = _SIZES[found["size"]]
    field = _field(found[0], (size, size))
    rows, columns = np.indices((size, size)) - (size - 1) / 2
    gray = np.clip(128 + field, 0, 255)
    gray[np.hypot(rows, columns) > 0.47 * size] = 0
    target = io.BytesIO()
    pillow().fromarray(gray.astype(np.uint8)).save(target, "PNG" if found[0].endswith("png") else "JPEG")
    return target.getvalue()


_FILES: Mapping[str, Callable[[float], bytes]] = {
    "/doc/data/hmi/harpnum_to_noaa/all_harps_with_noaa_ars.txt": _list_of_harps,
}
_PICTURE = r"(?P<size>" + "|".join(_SIZES) + r")\.(?:jpg|png)"
_PATTERNS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], bytes | None]], ...] = (
    (
        re.compile(
            r"/data/hmi/synoptic/hmi\.Synoptic_M[rl](?:_polfil)?(?:_small)?\.(?P<rotation>[0-9]{4})\.fits"
        ),
        _synoptic_map,
    ),
    (
        re.compile(r"/data/hmi/images/[0-9]{4}/[0-9]{2}/[0-9]{2}/[0-9]{8}_[0-9]{6}_[A-Za-z]+_" + _PICTURE),
        _picture,
    ),
    (re.compile(r"/data/hmi/images/latest/HMI_latest_[A-Za-z_]+_" + _PICTURE), _picture),
)
#: What directories list: a few of the files that the patterns match.
_EXAMPLES = (
    *(
        f"/data/hmi/synoptic/hmi.Synoptic_Mr_small.{rotation}.fits"
        for rotation in range(FIRST_ROTATION, 2106)
    ),
    "/data/hmi/images/latest/HMI_latest_Mag_1024x1024.jpg",
    "/data/hmi/images/2011/02/15/20110215_000000_M_1k.jpg",
)
