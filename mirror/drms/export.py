"""Exports as values: what a request asks for, what is answered, and the decisions that need no I/O.

    request    ExportRequest (ds, Method, Protocol, Process, ...), and its identity
    answers    Immediate | Pending | Finished | Failed, and StorageUnits for exp_su
    rules      the silent quality filter, the record limit, size limits, request ids

Everything is as typed by the asker: what the server only echoes is kept verbatim. The texts and bytes are
``mirror.wire.export`` and ``mirror.wire.export_index``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: The methods that a request may name.
METHODS = ("url_quick", "url", "url-tar", "url_direct", "ftp", "ftp-tar")
DEFAULT_FILENAME_FORMAT = "{seriesname}.{recnum:%d}.{segment}"
#: The file name of a row whose segment has no file.
NO_DATA_FILE = "NoDataFile"

Format = Literal["json", "txt", "html"]


@dataclass(frozen=True, slots=True)
class Protocol:
    """``text`` as typed, such as ``as-is``, ``FITS,compress Rice`` or ``jpg,CT=grey.sao,size=1``."""

    text: str = "as-is"

    @property
    def name(self) -> str:
        """What stands before the first comma, in lower case."""
        return self.text.partition(",")[0].strip().lower()

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ProcessStep:
    """One processing step: ``im_patch,t_start=...,t=0``; a flag has the value None."""

    name: str
    arguments: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Process:
    """The parameter ``process``: ``n=LIMIT|STEP|STEP``; ``text`` as typed ("" if it was not given).

    ``limit`` takes the first or, if negative, the last records; 0 takes all.
    ``no_op`` steps are left out of ``steps``.
    """

    text: str = ""
    limit: int = 0
    steps: tuple[ProcessStep, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """op=exp_request. None means that the parameter was not given."""

    ds: str
    method: str = "url"
    protocol: Protocol = Protocol()
    filenamefmt: str = DEFAULT_FILENAME_FORMAT
    notify: str | None = None
    requester: str | None = None
    process: Process = Process()
    segments: tuple[str, ...] | None = None  #: the parameter seg
    sizeratio: float = 1.0
    max_recs: int | None = None
    allow_staging: bool = False  #: the flag ``o``: offline files may be brought online
    format: Format = "json"


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """op=exp_status, and every op that does not exist; ``request_id`` as typed, None if not given."""

    request_id: str | None
    format: Format = "json"


@dataclass(frozen=True, slots=True)
class RepeatRequest:
    """op=exp_repeat."""

    request_id: str | None
    format: Format = "json"


@dataclass(frozen=True, slots=True)
class UnitsRequest:
    """op=exp_su: storage units by number."""

    sunums: tuple[int, ...]
    method: str = "url"
    protocol: Protocol = Protocol()
    notify: str | None = None
    requester: str | None = None
    request_id: str | None = None  #: "NOASYNCREQUEST" forbids an export of units that are offline
    format: Format = "json"


FetchRequest = ExportRequest | StatusRequest | RepeatRequest | UnitsRequest


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One row of the data: a record query, with ``{segment}`` for as-is, and a path or file name."""

    record: str
    filename: str


@dataclass(frozen=True, slots=True)
class Immediate:
    """Status 0 at once: ``url_quick`` + ``as-is`` with all files online. ``size`` is in MB, at least 1."""

    rcount: int
    size: int
    files: tuple[ExportFile, ...]
    method: str = "url_quick"
    protocol: str = "as-is"


@dataclass(frozen=True, slots=True)
class Pending:
    """Status 2 (accepted) or 1 (running): ask again after ``wait`` seconds. ``size`` is in MB."""

    request_id: str
    method: str
    protocol: str
    wait: int
    rcount: int = 0
    size: int = 0
    status: int = 2


@dataclass(frozen=True, slots=True)
class Failed:
    """A status that is an error: 3 too large, 4 bad request, 5 expired, 6 not found, 7 too many, 25 staff.

    A request that exists and failed tells ``request_id`` and the rest; one that was refused only the error.
    """

    status: int
    error: str
    request_id: str | None = None
    method: str = ""
    protocol: str = ""
    wait: int = 999999
    rcount: int = 0
    size: int = 0
    contact: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessingTold:
    """A processing step as index.txt tells it."""

    name: str
    arguments: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Finished:
    """Status 0: the index of an export directory, ``dir``.

    ``keywords`` and ``tarfile`` are whole paths; ``exptime`` is there for protocols other than as-is,
    ``wait`` for as-is only.
    """

    request_id: str
    method: str
    protocol: str
    count: int
    size: int
    dir: str
    files: tuple[ExportFile, ...]
    keywords: str | None = None
    tarfile: str | None = None
    exptime: str | None = None
    processing: tuple[ProcessingTold, ...] = ()


@dataclass(frozen=True, slots=True)
class StorageUnit:
    """One unit of exp_su; ``status`` Y online, N offline, X gone, I no such unit; ``size`` in bytes."""

    sunum: int
    series: str
    path: str
    status: str
    size: int


@dataclass(frozen=True, slots=True)
class StorageUnits:
    """The answer to exp_su; ``size`` in bytes is the sum of the units."""

    units: tuple[StorageUnit, ...]
    method: str = "url_quick"
    protocol: str = "as-is"


ExportAnswer = Immediate | Pending | Finished | Failed
