"""The Sun as the mirror has it: full-disk images that are held, by channel, where the disk is in their pictures, and the
active regions of held SHARP records on it. Nothing is asked of JSOC.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from mirror.api.exports import SunChannel, SunFrame, SunRegion
from mirror.drms.times import parse_time
from mirror.errors import SyntaxProblem
from mirror.services.quicklook.quicklook import image_segments, is_turned
from mirror.storage.files.holdings import fingerprint
from mirror.storage.index.layout import NAME_FIELD, segment_field
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from mirror.drms.series import Series
    from mirror.storage.database.database import Cursor, Database
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Layout, Row

#: Held records of a series that are looked at, those with the highest numbers.
MOST_LOOKED_AT = 2000
#: Where regions come from, the first that has some; seconds by which their records may be off.
REGIONS, NEAR = ("hmi.sharp_cea_720s", "hmi.sharp_720s", "hmi.sharp_cea_720s_nrt", "hmi.sharp_720s_nrt"), 720.0
_NEEDED = ("CRPIX1", "CRPIX2", "CDELT1", "RSUN_OBS")
_CORNERS = ("lat_min", "lon_min", "lat_max", "lon_max")
_HELD = f"""
    SELECT series, segment, max(recnum, {MOST_LOOKED_AT}) FROM mirror.holdings WHERE series IS NOT NULL AND recnum IS NOT NULL
    GROUP BY series, segment
"""


@dataclass(frozen=True, slots=True)
class _Image:
    """A held image with its time in seconds of DRMS."""

    at: float
    frame: SunFrame


_Channel = tuple["Series", str, list[_Image]]


class SunPictures:
    """Finds them; ``now`` gives Unix seconds."""

    def __init__(self, database: Database, index: Index, now: Callable[[], float]) -> None:
        self._database = database
        self._index = index
        self._now = now
        self._known: tuple[object, Mapping[str, _Channel]] | None = None

    async def channels(self, wanted: str | None, n: int) -> list[SunChannel]:
        """Every channel with its newest frame; or the one that is wanted with its last ``n``, oldest first."""
        return [
            await self._shown(name, series, segment, images[-(n if wanted else 1) :])
            for name, (series, segment, images) in sorted((await self._images()).items())
            if wanted in (None, name)
        ]

    async def _images(self) -> Mapping[str, _Channel]:
        """Every channel with its series, its segment and its images, oldest first; looked up once, until anything changes."""
        versions = tuple((series.name, self._index.version(series)) for series in self._index.all_series())
        state = versions, await self._database.read(fingerprint)
        if self._known is None or self._known[0] != state:
            self._known = state, await self._looked_up()
        return self._known[1]

    async def _looked_up(self) -> Mapping[str, _Channel]:
        found: dict[str, _Channel] = {}
        for name, segment, numbers in await self._database.read(lambda cursor: cursor.execute(_HELD).fetchall()):
            known = self._index.series(name)
            if known is None or not _is_full_disk(known[0]):
                continue
            shown = next((s for s in image_segments(known[0]) if s.lower() == segment), None)
            if shown is None:
                continue
            for row in await self._index.rows(known[0], pa.array(sorted(set(numbers)), pa.int64())):
                image = _image(known[0], shown, row)
                if image is not None:
                    found.setdefault(_channel(known[0], shown, row), (known[0], shown, []))[2].append(image)
        for _, _, images in found.values():
            images.sort(key=lambda image: image.at)
        return found

    async def _shown(self, name: str, series: Series, segment: str, images: Sequence[_Image]) -> SunChannel:
        regions = await self._regions([image.at for image in images])
        frames = [
            SunFrame(**{f: getattr(i.frame, f) for f in SunFrame.__struct_fields__ if f != "regions"}, regions=near)
            for i, near in zip(images, regions, strict=True)
        ]
        age = max(0.0, self._now() - images[-1].at - _EPOCH)
        return SunChannel(name=name, series=series.name, segment=segment, frames=frames, age_seconds=age)

    async def _regions(self, times: Sequence[float]) -> list[list[SunRegion]]:
        """The regions at each of these times, from held records."""
        for name in REGIONS:
            known = self._index.series(name)
            if known is None or not self._index.has_records(known[0]):
                continue
            layout, between = self._index.layout(known[0]), (min(times) - NEAR, max(times) + NEAR)
            if not {*_CORNERS, "t_rec", "harpnum", "noaa_ar"} <= layout.columns_by_name.keys():
                continue
            rows = await self._database.read(partial(_boxes, layout=layout, between=between))
            if rows:
                return [_near(known[0].name, rows, at) for at in times]
        return [[] for _ in times]


#: 1977.01.01_TAI in Unix seconds, but for leap seconds, which no age shows.
_EPOCH = 220_924_800.0
_Box = tuple[int, int | None, float, float, float, float, float]


def _boxes(cursor: Cursor, layout: Layout, between: tuple[float, float]) -> list[_Box]:
    sql = f"SELECT harpnum, noaa_ar, t_rec, {', '.join(_CORNERS)} FROM {layout.table} WHERE t_rec BETWEEN ? AND ?"
    return [row for row in cursor.execute(sql, list(between)).fetchall() if None not in (row[0], *row[2:])]


def _near(series: str, rows: Iterable[_Box], at: float) -> list[SunRegion]:
    """Of each region the record that is nearest in time."""
    nearest: dict[int, _Box] = {}
    for row in rows:
        off = abs(row[2] - at)
        if off <= NEAR and (row[0] not in nearest or off < abs(nearest[row[0]][2] - at)):
            nearest[row[0]] = row
    return [
        SunRegion(harp=harp, noaa=noaa or None, south=south, east=east, north=north, west=west, ds=f"{series}[{harp}]")
        for harp, noaa, _, south, east, north, west in nearest.values()
    ]


def _is_full_disk(series: Series) -> bool:
    return all(map(series.keyword, _NEEDED)) and not any(key.name == "HARPNUM" for key in series.primekeys)


def _channel(series: Series, segment: str, row: Row) -> str:
    wavelength = _number(series, row, "WAVELNTH")
    if series.name.lower().startswith("aia.") and wavelength is not None:
        return f"AIA {wavelength:g}"
    return f"{series.name.partition('.')[0].upper()} {segment}"


def _image(series: Series, segment: str, row: Row) -> _Image | None:
    """An image, with the centre and radius of the disk as parts of its picture's side; None without what that needs."""
    values = [_number(series, row, name) for name in _NEEDED]
    at, shape = _time(series, row), row.fields.get(segment_field(segment, "dims"))
    size = "" if shape is None else from_wire(row[segment_field(segment, "dims")])
    pixels = [int(part) for part in size.split("x") if part.isdigit()]
    if None in values or at is None or len(pixels) != 2 or pixels[0] != pixels[1]:
        return None
    x, y, step, radius = (float(v or 0) for v in values)
    if step <= 0 or radius <= 0:
        return None
    across, up = (x - 0.5) / pixels[0], (y - 0.5) / pixels[1]
    if is_turned(_number(series, row, "CROTA2")):
        across, up = 1 - across, 1 - up
    frame = SunFrame(
        recnum=row.recnum, record=from_wire(row[NAME_FIELD]), time=at[0], x=across, y=1 - up, radius=radius / step / pixels[0],
        b0=_number(series, row, "CRLT_OBS") or 0.0, regions=[],
    )  # fmt: skip
    return _Image(at[1], frame)


def _time(series: Series, row: Row) -> tuple[str, float] | None:
    """When an image was taken: as it prints, and in seconds."""
    for name in ("T_OBS", "DATE__OBS", "T_REC"):
        keyword = series.keyword(name)
        if keyword is not None and keyword.name in row.fields:
            try:
                text = from_wire(row[keyword.name])
                return text, parse_time(text)
            except SyntaxProblem:
                continue  # missing
    return None


def _number(series: Series, row: Row, name: str) -> float | None:
    keyword = series.keyword(name)
    if keyword is None or keyword.name not in row.fields:
        return None
    try:
        found = float(from_wire(row[keyword.name]))
    except ValueError:
        return None
    return found if found == found else None  # noqa: PLR0124  (NaN)
