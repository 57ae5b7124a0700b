"""How requests upstream are cut to a size that JSOC accepts, and when a failed job is tried again. Pure.

JSOC refuses requests that are too large (status 3, or too many records), and requests while another one of the same
address is pending (status 7). The former are divided by their records, the latter wait.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from mirror.drms.export import ExportRequest, Process, Protocol, parse_process
from mirror.drms.exportrules import mentions_quality
from mirror.drms.recordset import RecordSetQuery
from mirror.errors import (
    MirrorError,
    NotHeld,
    OverBudget,
    UpstreamBroken,
    UpstreamRefused,
    UpstreamUnreachable,
)
from mirror.services.exports.jobs import Trouble

T = TypeVar("T")

TOO_LARGE, BAD_REQUEST, TOO_MANY_PENDING = 3, 4, 7
#: JSOC's messages under another status than these two: for refusals that pass, and for requests that are too large.
_PASSING = ("save new export-request hash", "pending export request")
_TOO_MUCH = ("too many records", "record-set specification is too long")
#: Characters of a record set that JSOC's export system is known to work on; one of 4,080 it accepted, failed on, and
#: then counted as pending for an hour.
LONGEST_DS = 1389
#: The most of one request that brings files back from tape: far below JSOC's limits, and small enough that the
#: first files arrive before all are there, and that a tar file of them has room.
MOST_FILES, MOST_BYTES = 200, 4 << 30
#: From so many files on, one tar file is requested.
TAR_FROM = 20
#: Names in a staging request, by which its files are told apart.
STAGED_NAME = "{recnum:%d}.{segment}"
MOVIES = frozenset({"mpg", "mp4"})
#: True for every record that has a quality: naming it switches off JSOC's own silent filter.
_ANY_QUALITY = "[? quality >= 0 or quality < 0 ?]"

#: Seconds before a job is tried again, doubled up to the longest; after so many in all without progress it
#: is given up. A download has made five attempts of its own by then.
FIRST_PAUSE, LONGEST_PAUSE, PATIENCE = 15.0, 600.0, 86_400.0

# ---- what to do about a failure -----------------------------------------------------------------


def passes(problem: Exception) -> bool:
    """True for a problem that may pass: upstream is away or overloaded, or may not be asked now."""
    if isinstance(problem, UpstreamRefused):
        said = problem.message.lower()
        return problem.status == TOO_MANY_PENDING or any(words in said for words in _PASSING)
    return isinstance(problem, UpstreamUnreachable | UpstreamBroken | NotHeld)


def is_too_large(problem: UpstreamRefused) -> bool:
    """True if JSOC would accept fewer records."""
    said = problem.message.lower()
    return problem.status == TOO_LARGE or any(words in said for words in _TOO_MUCH)


def next_try(before: Trouble | None, problem: MirrorError, now: float) -> Trouble | None:
    """When a job that failed again is tried next; None if it has waited long enough without progress.

    Waiting for the budget towards JSOC is not failing: the job is tried when there is more, however often.
    """
    tries, waited = (before.tries, before.waited) if before else (0, 0.0)
    why = str(problem)
    if isinstance(problem, OverBudget):
        return Trouble(tries + 1, waited, max(problem.until, now + FIRST_PAUSE), why)
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries, 30))
    if waited + pause > PATIENCE:
        return None
    return Trouble(tries + 1, waited + pause, now + pause, why)


def given_up(before: Trouble | None, why: str) -> str:
    """The error of a job that is not tried again."""
    tries, waited = (before.tries, before.waited) if before else (0, 0.0)
    return f"gave up after {tries + 1} attempts in {waited / 3600:.0f} hours: {why}"


# ---- cutting ------------------------------------------------------------------------------------


def cut(
    items: Iterable[T], most: int, size: Callable[[T], int] = lambda _: 0, most_bytes: int = MOST_BYTES
) -> list[list[T]]:
    """The items in runs of at most ``most`` of them, and ``most_bytes`` unless one alone has more."""
    pieces: list[list[T]] = []
    total = 0
    for item in items:
        total += size(item)
        if not pieces or len(pieces[-1]) == most or total > most_bytes:
            pieces.append([])
            total = size(item)
        pieces[-1].append(item)
    return pieces


def smaller(refused: Sequence[int], rest: Sequence[Sequence[int]]) -> list[list[int]]:
    """The refused records, and all that were to follow, in runs of half as many."""
    most = max(1, len(refused) // 2)
    return [piece for part in (refused, *rest) for piece in cut(part, most)]


def most_numbers(recnums: Iterable[int], beside: str) -> int:
    """How many of these record numbers fit, with ``beside``, into a record set that JSOC can process; at least 1."""
    longest = max(map(len, map(str, recnums)), default=1)
    return max(1, (LONGEST_DS - len(beside) - len("[:]")) // (longest + len("#,")))


# ---- requests -----------------------------------------------------------------------------------


def staging_request(
    series: str, recnums: Sequence[int], segments: Sequence[str], address: str | None, *, tar: bool
) -> ExportRequest:
    """The request that brings files of these records back from tape."""
    return ExportRequest(
        f"{series}[:{_numbers(recnums)}]{{{','.join(segments)}}}",
        method="url-tar" if tar else "url",
        protocol=Protocol("as-is"),
        filenamefmt=STAGED_NAME,
        notify=address,
        allow_staging=True,
    )


def as_asked_upstream(request: ExportRequest) -> ExportRequest:
    """The request for single files: JSOC has those of a tar file only in it, and the mirror makes its own tar file."""
    return replace(request, method=request.method.removesuffix("-tar"))


def why_indivisible(request: ExportRequest, query: RecordSetQuery) -> str | None:
    """Why a request cannot be made in parts; None if it can."""
    if len({part.segments for part in query.sets}) > 1:
        return "its record sets choose different segments"
    if request.protocol.name in MOVIES:
        return f"a movie ({request.protocol.name}) is made of all its records at once, and cannot be split"
    if re.search(r"\{#", request.filenamefmt):
        return "its filenamefmt counts the files ({#}), and cannot be split"
    return None


def is_too_much_at_once(request: ExportRequest, query: RecordSetQuery) -> bool:
    """True for a request that JSOC would accept and then fail on: several record sets, or a long one."""
    return len(query.sets) > 1 or len(request.ds) > LONGEST_DS


def part_request(request: ExportRequest, query: RecordSetQuery, recnums: Sequence[int]) -> ExportRequest:
    """The request for some records of another one, whose record sets are ``query``."""
    before, after = _around_numbers(query)
    return replace(
        as_asked_upstream(request),
        ds=f"{before}[:{_numbers(recnums)}]{after}",
        segments=None,
        max_recs=None,
        process=_unlimited(request.process),
    )


def pieces_of(query: RecordSetQuery, pieces: Iterable[Sequence[int]]) -> list[list[int]]:
    """The runs of records, cut further where a request would name more records than JSOC can process."""
    beside = "".join(_around_numbers(query))
    return [part for piece in pieces for part in cut(piece, most_numbers(piece, beside))]


def _around_numbers(query: RecordSetQuery) -> tuple[str, str]:
    """What stands before and after the record numbers in the request for a part."""
    first = query.sets[0]
    segments = f"{{{','.join(first.segments)}}}" if first.segments else ""
    return first.series, (_ANY_QUALITY if any(map(mentions_quality, query.sets)) else "") + segments


def check_divisible(request: ExportRequest, query: RecordSetQuery, message: str) -> None:
    """UpstreamRefused for a request that cannot be made in parts; ``message`` is upstream's answer to the whole."""
    why = why_indivisible(request, query)
    if why is not None:
        raise UpstreamRefused(TOO_LARGE, f"{message.strip()}; {why}: expected a smaller request")


def _numbers(recnums: Sequence[int]) -> str:
    return ",".join(f"#{n}" for n in recnums)


def _unlimited(process: Process) -> Process:
    """The same steps without a limit on the records, which has been applied already."""
    if not process.text.startswith("n="):
        return process
    return parse_process("n=0" + process.text[len(process.text.partition("|")[0]) :])
