"""Decisions about exports: which records, whether at once, how much is too much, what is identical.

Pure: the caller, who knows the archive, says what a request would touch (``Survey``), and obeys the ``verdict``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from mirror.drms.export import (
    IN_FITS_FILES,
    NO_DATA_FILE,
    AppliedStep,
    ExportFile,
    ExportRequest,
    Failed,
    Finished,
)
from mirror.drms.parser import parse_query
from mirror.drms.recordset import RecordSet, RecordSetQuery, Where
from mirror.drms.series import Series
from mirror.drms.where import needs, parse_where
from mirror.errors import BadRequest, MirrorError, TooLarge, UpstreamRefused

#: Most MB of stored files in one request: if they are sent as stored, or if the answer will be larger or smaller.
STRAIGHT_LIMIT, UNCOMPRESSING_LIMIT, COMPRESSING_LIMIT = 100_000, 10_000, 1_000_000
#: Hours in which an identical request gets the same id, and days for which results are kept.
IDENTICAL_WINDOW, RETENTION = 24, 7
#: JSOC's ``drms.image_exists(quality)``: bit 31 is clear.
IMAGE_EXISTS = "quality >= 0"
ALL_SEGMENTS = "**ALL**"
#: The only row of an export as FITS that produced no file.
NO_FITS_FILES = ExportFile(
    "warning=No FITS files were exported. The requested FITS files no longer exist.", ""
)
_MEGABYTE = 1 << 20

# ---- which records ------------------------------------------------------------------------------


def record_sets(request: ExportRequest) -> RecordSetQuery:
    """The record sets that ``ds`` and ``seg`` ask for together, all of one series; else BadRequest."""
    query = parse_query(request.ds)
    if len({part.series.lower() for part in query.sets}) > 1:
        raise BadRequest("Cannot specify subsets of records from different series; expected one series")
    if request.segments is not None and any(part.segments is not None for part in query.sets):
        raise BadRequest("cannot provide both the `seg` argument, and a segment filter in the `ds` argument")
    return RecordSetQuery(tuple(_with_segments(part, request.segments) for part in query.sets))


def _with_segments(part: RecordSet, named: tuple[str, ...] | None) -> RecordSet:
    chosen = part.segments if named is None else named
    return replace(part, segments=None if chosen and ALL_SEGMENTS in chosen else chosen)


def with_quality_filter(query: RecordSetQuery, series: Series) -> RecordSetQuery:
    """``query`` restricted to records that have an image, as exports silently are, and searches are not.

    A query that mentions QUALITY in a condition is unchanged, as is one of a series without that keyword.
    SyntaxProblem if a condition does not parse.
    """
    if series.keyword("quality") is None or any(mentions_quality(part) for part in query.sets):
        return query
    return RecordSetQuery(
        tuple(replace(part, filters=(*part.filters, Where(IMAGE_EXISTS))) for part in query.sets)
    )


def mentions_quality(part: RecordSet) -> bool:
    """True if a condition uses the column QUALITY, not just the word in a text or a longer name."""
    conditions = (condition.text for condition in part.filters if isinstance(condition, Where))
    return any("quality" in needs(parse_where(text)) for text in conditions)


# ---- what becomes of a request ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Survey:
    """What a request would touch: records, files that exist, their bytes, and the state they are in."""

    records: int
    files: int
    size: int
    online: bool = True
    compressed: bool = True


class Verdict(Enum):
    """How to serve a request that may be served."""

    AT_ONCE = "answer with the paths of the archive"
    LATER = "give it an id, and make the files"


def verdict(request: ExportRequest, survey: Survey) -> Verdict | Failed:
    """What JSOC would do with ``request``, were its address registered."""
    quick = wants_paths(request)
    if quick and survey.files == 0:
        return Failed(4, "There are no files in this RecordSet")
    if megabytes(survey.size) > size_limit(request, compressed=survey.compressed):
        return too_large(request, survey)
    if not survey.online and not request.allow_staging:
        return Failed(25, "One or more data files are offline; expected o=1, which brings them back first")
    return Verdict.AT_ONCE if quick and survey.online else Verdict.LATER


def wants_paths(request: ExportRequest) -> bool:
    """True if the answer consists of paths of the archive, so that the export needs none of its own."""
    return (request.method == "url_quick" and request.protocol.as_is) or request.protocol.name == "su"


def megabytes(size: int) -> int:
    """``size`` bytes as answers state them: whole MB, 1 for anything smaller, 0 for nothing."""
    return max(1, size // _MEGABYTE) if size > 0 else 0


def size_limit(request: ExportRequest, *, compressed: bool) -> int:
    """The MB of stored files that one request may touch; ``compressed`` tells how they are stored."""
    compresses = "**NONE**" not in request.protocol.text
    if compressed == compresses:
        limit = STRAIGHT_LIMIT
    else:
        limit = UNCOMPRESSING_LIMIT if compressed else COMPRESSING_LIMIT
    return int(limit / request.sizeratio)


def too_large(request: ExportRequest, survey: Survey) -> Failed:
    """Status 3, whose request id is VOID, for a request beyond its size limit."""
    limit = size_limit(request, compressed=survey.compressed)
    error = f"Request exceeds max byte limit of {limit}MB"
    return Failed(
        3,
        error,
        request_id="VOID",
        method=request.method,
        protocol=request.protocol.text,
        wait=0,
        rcount=survey.records,
        size=megabytes(survey.size),
    )


def failure(problem: MirrorError, request: ExportRequest | None = None) -> Failed:
    """``problem`` in the statuses of jsoc_fetch: upstream's own if it gave one, 3 for too much, else 4."""
    too_large = isinstance(problem, TooLarge) or (
        isinstance(problem, UpstreamRefused) and problem.status == 3
    )
    if too_large:
        error = _refusal(problem) if isinstance(problem, UpstreamRefused) else str(problem)
        fields = ("", "") if request is None else (request.method, request.protocol.text)
        return Failed(3, error, "VOID", *fields, wait=0)
    if isinstance(problem, UpstreamRefused) and problem.status not in (0, 1, 2):
        return Failed(problem.status, _refusal(problem))
    return Failed(4, str(problem))


def _refusal(problem: UpstreamRefused) -> str:
    """JSOC's message, with the fact that it is JSOC's."""
    said = problem.message.strip()
    return said if said.startswith("JSOC refused") else f"JSOC refused: {said}"


# ---- identical requests -------------------------------------------------------------------------


def identity(request: ExportRequest, query: RecordSetQuery, recnums: Sequence[int] | None = None) -> str:
    """A hexadecimal name that two requests share if their files are the same.

    Neither the requester nor the answer's format matters. With ``recnums`` the records count, however they were
    asked for; without, ``query`` itself. ``recnums`` are in the order of the answer.
    """
    process = request.process
    records = str(query).lower() if recnums is None else list(recnums)
    limit = request.limit if recnums is None else 0
    parts = [
        [part.series.lower() for part in query.sets[:1]],
        records,
        _chosen_segments(query),
        request.filenamefmt,
        [[step.name, step.arguments] for step in process.steps],
        request.protocol.text.lower(),
        request.method.lower(),
        limit,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _chosen_segments(query: RecordSetQuery) -> list[list[str] | None]:
    """The segments that each set chooses; once if all choose the same, since the division into sets does not count."""
    chosen = [sorted(map(str.lower, part.segments)) if part.segments else None for part in query.sets]
    return chosen[:1] if all(segments == chosen[0] for segments in chosen) else chosen


# ---- the index of a finished export -------------------------------------------------------------


def index_of(
    request_id: str,
    request: ExportRequest,
    files: Sequence[ExportFile],
    *,
    directory: str,
    size: int,
    made: datetime,
    processing: Sequence[AppliedStep] = (),
) -> Finished:
    """The index of an export whose files lie in ``directory``: ``size`` bytes, made at ``made`` (UTC).

    Without rows an as-is index has no directory, and one of FITS files has a warning in their place.
    """
    protocol, as_is = request.protocol.name, request.protocol.as_is
    if as_is and not files:
        return Finished(request_id, request.method, protocol, count=0, size=0, dir="")
    rows = (NO_FITS_FILES,) if protocol == "fits" and not files else tuple(files)
    return Finished(
        request_id,
        request.method,
        protocol,
        count=sum(file.filename not in ("", NO_DATA_FILE) for file in rows),
        size=megabytes(size),
        dir=directory,
        files=rows,
        keywords=keywords_of(directory, request_id, protocol),
        tarfile=tarfile_of(directory, request_id, request.method),
        exptime=None if as_is else f"{made:%Y.%m.%d_%H:%M:%S}_UT",
        processing=tuple(processing),
    )


def keywords_of(directory: str, request_id: str, protocol: str) -> str:
    """The place of the keywords according to an index."""
    return IN_FITS_FILES if protocol == "fits" else f"{directory}/{request_id}.keywords.txt"


def tarfile_of(directory: str, request_id: str, method: str) -> str | None:
    """The path of the tar file with the whole directory; None if there is none."""
    return f"{directory}/{request_id}.tar" if method.endswith("-tar") else None
