"""Files, exports and jobs of every kind, and pictures of files."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from mirror.api.contract import (
    UNSET,
    Answer,
    Asked,
    Endpoint,
    Names,
    Nothing,
    RecordSets,
    Stamp,
    UnsetType,
    Whole,
)

Kind = Literal["export", "fill", "film", "subscription"]
#: Final states; ``unreadable`` is a job whose row is damaged, or from a newer version.
ENDED_STATES = ("done", "failed", "cancelled", "unreadable")
#: Cached here; at JSOC on disk; there on tape; not available anywhere.
FileState = Literal["held", "online", "offline", "nowhere"]


class FilesQuery(Asked, frozen=True, kw_only=True):
    """``name``: the format of names, JSOC's filenamefmt; ``places``: also the files' paths on the mirror's machine."""

    ds: RecordSets
    seg: Names = ""
    n: Whole | None = None
    name: str | None = None
    places: bool = False


class ListedFile(Answer, frozen=True, kw_only=True):
    """A file of a record: ``name`` is its name by filenamefmt, ``path`` where this mirror serves it.

    ``path`` is "" unless it is cached, or online at JSOC. ``size`` and ``sha256`` are known for cached files;
    ``place`` is the path on the mirror's machine, if that was asked for.
    """

    record: str
    segment: str
    name: str
    state: FileState
    path: str
    size: int | None = None
    sha256: str | None = None
    place: str | None = None


class JobsQuery(Asked, frozen=True, kw_only=True):
    """The last ``n`` exports, fills and films; of one ``kind`` if it is given."""

    n: Whole = 100
    kind: Kind | None = None


class JobQuery(Asked, frozen=True, kw_only=True):
    """``places``: also the files' paths on the mirror's machine."""

    places: bool = False


class ExportBody(Asked, frozen=True, kw_only=True):
    """An export: ``method`` url or url-tar, ``protocol`` and ``process`` as JSOC has them, ``name`` as filenamefmt."""

    ds: RecordSets
    seg: str = ""
    n: Whole | None = None
    method: str | None = None
    protocol: str | None = None
    process: str = ""
    name: str | None = None
    email: str | None = None


class Waits(Answer, frozen=True, kw_only=True):
    """Why a job pauses, and until when; ``tries`` of an export."""

    why: str | None
    next_try: Stamp
    tries: int | UnsetType = UNSET


class JobFile(Answer, frozen=True, kw_only=True):
    """A file of an export; ``values`` of its keywords: exact, or as printed. ``path`` is "" until the file exists."""

    record: str
    name: str
    size: int | None
    sha256: str | None
    values: Literal["printed", "exact"]
    path: str
    place: str | UnsetType | None = UNSET


class Job(Answer, frozen=True, kw_only=True):
    """An export, a fill, a film or a subscription. ``ready`` of ``total`` files, records or frames (``counted``) are done.

    An export also has ``method``, ``protocol``, ``process``, ``upstream_id`` (JSOC's own id), ``directory`` and
    ``tar`` (where its files are). ``files`` is omitted in lists of jobs. In a cluster ``server`` is the job's mirror,
    omitted if that is the mirror that is asked.
    """

    id: str
    kind: Kind
    by: str | None
    state: str
    ready: int
    total: int
    counted: Literal["files", "records", "frames"]
    seconds_left: int | None
    bytes: int
    ds: str
    method: str | UnsetType = UNSET
    protocol: str | UnsetType = UNSET
    process: str | UnsetType = UNSET
    created: Stamp | None
    updated: Stamp | None
    upstream_id: str | UnsetType | None = UNSET
    directory: str | UnsetType = UNSET
    tar: str | UnsetType | None = UNSET
    error: str | None
    waits: Waits | None
    notes: list[str]
    files: list[JobFile] | UnsetType = UNSET
    server: str | UnsetType = UNSET


class QuicklookQuery(Asked, frozen=True, kw_only=True):
    """The ``number``-th record, no side above ``size`` pixels; only from a cached file, unless ``fetch``."""

    ds: RecordSets
    seg: Names = ""
    n: Whole | None = None
    number: Whole = 1
    size: Annotated[int | None, Meta(description="pixels")] = None
    fetch: bool = False


class SunQuery(Asked, frozen=True, kw_only=True):
    """The last ``n`` frames of a ``channel``; by default the newest of each."""

    channel: str | None = None
    n: Annotated[int, Meta(ge=1, le=500)] = 48


class SunRegion(Answer, frozen=True, kw_only=True):
    """An active region: its box in degrees of Stonyhurst longitude and latitude, and the record set of its life."""

    harp: int
    noaa: int | None
    south: float
    east: float
    north: float
    west: float
    ds: str


class SunFrame(Answer, frozen=True, kw_only=True):
    """A cached image. The disk's centre (from the left and the top) and radius are fractions of the picture's side.

    ``b0``: the latitude of the disk's centre in degrees.
    """

    recnum: int
    record: str
    time: str
    x: float
    y: float
    radius: float
    b0: float
    regions: list[SunRegion]


class SunChannel(Answer, frozen=True, kw_only=True):
    """A series of full-disk images, with the cached ones, oldest first; ``age_seconds`` since the newest was taken."""

    name: str
    series: str
    segment: str
    frames: list[SunFrame]
    age_seconds: float


FILES = Endpoint(
    method="GET", path="/api/files", role="read", asked=FilesQuery, answer=list[ListedFile],
    text="The archived files of a record set; with `places=1` also their paths on the mirror's machine.",
)  # fmt: skip
JOBS = Endpoint(
    method="GET", path="/api/jobs", role="read", asked=JobsQuery, answer=list[Job],
    text="The last exports, fills and films, newest first, and then the subscriptions; `kind` is one of these.",
)  # fmt: skip
SUBMIT = Endpoint(
    method="POST", path="/api/jobs", role="export", asked=ExportBody, answer=Job, status=202,
    text="Start an export, or return the one of an identical request.",
)  # fmt: skip
JOB = Endpoint(
    method="GET", path="/api/jobs/{id}", role="read", asked=JobQuery, answer=Job,
    text="One job, an export with its files.",
)  # fmt: skip
CANCEL = Endpoint(
    method="DELETE", path="/api/jobs/{id}", role="export", asked=Nothing, answer=Job,
    text="Cancel a fill, an export or a film; fetched data stay cached.",
)  # fmt: skip
QUICKLOOK = Endpoint(
    method="GET", path="/api/quicklook", role="read", asked=QuicklookQuery, answer=bytes, media=("image/png",),
    text="The PNG of a record's first image, no side above `size` pixels. Cached files only, unless `fetch=1`. "
    "`X-Mirror-Record` and `X-Mirror-Segment` name its record and segment.",
)  # fmt: skip
SUN = Endpoint(
    method="GET", path="/api/sun", role="read", asked=SunQuery, answer=list[SunChannel],
    text="Full-disk images that are cached, by channel, with the active regions of cached SHARP records. Their pictures are at "
    "`/api/quicklook`. JSOC is not asked.",
)  # fmt: skip
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (FILES, JOBS, SUBMIT, JOB, CANCEL, QUICKLOOK, SUN)
