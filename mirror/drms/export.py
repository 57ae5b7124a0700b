"""Exports as values: what is asked of ``jsoc_fetch``, and what it answers.

    requests   ExportRequest | StatusRequest | RepeatRequest | UnitsRequest
    answers    Immediate | Pending | Finished | Failed, and StorageUnits to a UnitsRequest

What the server only echoes is kept as typed. Decisions about exports are in ``mirror.drms.exportrules``, their
texts and bytes in ``mirror.wire.export``, ``mirror.wire.export_answer`` and ``mirror.wire.export_index``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from mirror.errors import BadRequest

#: How files are delivered. Only the first can be answered at once.
METHODS = ("url_quick", "url", "url-tar")
#: The forms of exported files; ``su`` and ``su-as-is`` are storage units unchanged.
PROTOCOLS = ("as-is", "fits", "jpg", "png", "mpg", "mp4", "su", "su-as-is")
DEFAULT_FILENAME_FORMAT = "{seriesname}.{recnum:%d}.{segment}"
NO_DATA_FILE = "NoDataFile"  #: the file name of a row whose segment has no file
IN_FITS_FILES = "**IN FITS FILES**"  #: where the keywords are, if not in a file of their own

#: The contact in answers about failed requests.
CONTACT = "jsoc_help@jsoc.stanford.edu"
#: The default errors of accepted requests that failed, by status.
ERRORS = {
    3: "Request too large",
    4: "RecordSet specified does not exist",
    5: "Request was completed but is now deleted, 7 day limit exceeded",
}

#: All formats that are not json are answered as text.
Format = Literal["json", "txt"]

# ---- requests -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Protocol:
    """``text`` as typed, such as ``as-is``, ``FITS,compress Rice`` or ``jpg,CT=grey.sao,size=1``."""

    text: str = "as-is"

    @property
    def name(self) -> str:
        """The text before the first comma, in lower case."""
        return self.text.partition(",")[0].strip().lower()

    @property
    def options(self) -> str:
        """The text after the first comma: compression, or how to draw images."""
        return self.text.partition(",")[2]

    @property
    def as_is(self) -> bool:
        return self.name in ("as-is", "su-as-is")

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class ProcessStep:
    """One processing step: ``im_patch,t=0,locunits=arcsec``; an argument without ``=`` has the value None."""

    name: str
    arguments: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Process:
    """The parameter ``process``: ``n=LIMIT|STEP|STEP``; ``text`` as typed, "" if it was not given.

    ``limit`` takes the first or, if negative, the last records; 0 takes all. ``steps`` leaves out ``no_op``.
    """

    text: str = ""
    limit: int = 0
    steps: tuple[ProcessStep, ...] = ()


def parse_process(text: str) -> Process:
    """``process = [ "n=" limit "|" ] step { "|" step }``; ``step = name { "," argument }``. Never refuses."""
    limited = re.match(r"n=\s*([+-]?[0-9]{1,9})?[^|]*", text)
    steps = text[limited.end() :] if limited else text
    read = (_step(step) for step in steps.split("|") if step.strip())
    limit = int(limited[1]) if limited and limited[1] else 0
    return Process(text, limit, tuple(step for step in read if step.name != "no_op"))


def _step(text: str) -> ProcessStep:
    name, *arguments = text.split(",")
    pairs = (argument.partition("=") for argument in arguments if argument.strip())
    return ProcessStep(
        name.strip(), tuple((key.strip(), value if equals else None) for key, equals, value in pairs)
    )


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """op=exp_request. None means that the parameter was not given.

    ``sizeratio`` is the fraction of the pixels that processing leaves. ``notify`` is the address that must be
    registered with JSOC; ``requester`` only names a person.
    """

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
    allow_staging: bool = False  #: the flag ``o``: units that are offline may be brought back
    format: Format = "json"

    @property
    def limit(self) -> int:
        """How many records to take: the first, or the last if negative; 0 takes all."""
        return self.process.limit or self.max_recs or 0

    @property
    def alters_data(self) -> bool:
        """True if the files are processed or drawn, not the archive's with at most keywords added."""
        return bool(self.process.steps) or not (self.protocol.as_is or self.protocol.name in ("fits", "su"))


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """op=exp_status; ``request_id`` has the form of one."""

    request_id: str
    format: Format = "json"


@dataclass(frozen=True, slots=True)
class RepeatRequest:
    """op=exp_repeat; ``request_id`` has the form of one."""

    request_id: str
    format: Format = "json"


@dataclass(frozen=True, slots=True)
class UnitsRequest:
    """op=exp_su: storage units by number.

    ``online_only`` refuses the export of units that would have to be staged; ``by_number`` asks for an object with
    one member per unit instead of a list.
    """

    sunums: tuple[int, ...]
    method: str = "url"
    protocol: Protocol = Protocol()
    notify: str | None = None
    requester: str | None = None
    online_only: bool = False
    by_number: bool = False
    format: Format = "json"


FetchRequest = ExportRequest | StatusRequest | RepeatRequest | UnitsRequest

# ---- answers ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One row of data: a record query, for as-is followed by ``{segment}``, and its file.

    ``filename`` is a path below the server for an Immediate, else a name in the export's directory;
    NO_DATA_FILE if there is no file.
    """

    record: str
    filename: str


@dataclass(frozen=True, slots=True)
class Immediate:
    """Status 0 at once: all files are online, and can be fetched unchanged. ``size`` is in MB, at least 1."""

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
    wait: int = 10
    rcount: int = 0
    size: int = 0
    status: int = 2


@dataclass(frozen=True, slots=True)
class Failed:
    """A status that is an error: 3 too large, 4 bad request, 5 expired, 6 not found, 7 too many, 25 staff.

    A refused request has only the error, and if it was too large the ``request_id`` VOID. One that was accepted and
    then failed has an id, and in ``contact`` an address to turn to.
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
class AppliedStep:
    """A processing step as the index states it."""

    name: str
    arguments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """Status 0: the index of an export's directory ``dir`` ("" if there was no record at all).

    ``count`` is the number of files, ``size`` their MB. ``keywords`` and ``tarfile`` are whole paths;
    ``exptime`` is when the files were made, None for as-is. ``mirror.drms.exportrules.index_of`` makes one.
    """

    request_id: str
    method: str
    protocol: str
    count: int
    size: int
    dir: str
    files: tuple[ExportFile, ...] = ()
    keywords: str | None = None
    tarfile: str | None = None
    exptime: str | None = None
    processing: tuple[AppliedStep, ...] = ()


@dataclass(frozen=True, slots=True)
class StorageUnit:
    """A unit: ``status`` Y online, N offline, X offline for good, I no such unit; ``size`` in bytes."""

    sunum: int
    series: str = "NA"
    path: str = "NA"
    status: str = "I"
    size: int = 0


@dataclass(frozen=True, slots=True)
class StorageUnits:
    """The answer to a UnitsRequest, if it can be given at once."""

    units: tuple[StorageUnit, ...]
    method: str = "url_quick"
    protocol: str = "as-is"
    by_number: bool = False

    @property
    def size(self) -> int:
        """The bytes of all units."""
        return sum(unit.size for unit in self.units)


ExportAnswer = Immediate | Pending | Finished | Failed


# ---- request ids --------------------------------------------------------------------------------

_REQUEST_ID = re.compile(r"JSOC_(?P<day>[0-9]{8})_(?P<number>[0-9]{1,18})(?P<suffix>(?:_X)?(?:_IN|_SU)?)")


@dataclass(frozen=True, slots=True)
class RequestId:
    """``JSOC_YYYYMMDD_NNN[_X][_IN|_SU]``: the day, a running number, and where it was handled."""

    day: str
    number: int
    suffix: str = ""

    def __str__(self) -> str:
        return f"JSOC_{self.day}_{self.number:03d}{self.suffix}"


def parse_request_id(text: str) -> RequestId:
    """The parts of ``text``; BadRequest if it is not a request id. Valid ids are safe as parts of a path."""
    found = _REQUEST_ID.fullmatch(text)
    if found is None:
        raise BadRequest(f"Bad RequestID '{text}' provided; expected one such as JSOC_20140101_123")
    return RequestId(found["day"], int(found["number"]), found["suffix"])
