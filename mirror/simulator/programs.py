"""The CGI programs: from parameters to the bytes of an answer. No socket, no fault, no clock.

Answers are those of the real server, byte for byte except for ``runtime``; its error texts are replaced by
ones that say what was wrong, and so are its crashes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.drms.parser import parse_query
from mirror.errors import BadRequest, MirrorError, Refused, UnknownSeries
from mirror.simulator.addresses import check
from mirror.simulator.answer import read_parts, rs_list
from mirror.simulator.evaluate import count
from mirror.simulator.fitslike import encode_recset, fits_records
from mirror.simulator.show_info import run_show_info
from mirror.simulator.structure import structure_answer
from mirror.wire.catalogue import (
    SeriesEntry,
    decode_catalogue,
    encode_show_series,
    encode_showextseries,
    select_series,
)
from mirror.wire.export import content_type, decode_address, encode_address_answer, encode_answer
from mirror.wire.info import SeriesStructRequest, SummaryRequest, decode_info, encode_summary
from mirror.wire.rs_list import encode_rs_list

if TYPE_CHECKING:
    from mirror.simulator.archive import Archive
    from mirror.simulator.exports.desk import Desk
    from mirror.simulator.exports.ledger import Pace

Params = Mapping[str, str]
_JSON, _TEXT = "application/json", "text/plain"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; ``records`` is how many records (or series) it is about.

    ``status`` is not 0 where the program itself answers with another one, as jsoc_fetch does.
    """

    body: bytes
    records: int = 0
    content_type: str = _JSON
    status: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a program, and what answers it: the archive, and the desk for exports if there is one."""

    params: Params
    archive: Archive
    runtime: Callable[[], float]  #: seconds since the request arrived
    desk: Desk | None = None
    pace: Pace | None = None  #: of an export, if it is not the usual one


def jsoc_info(asked: Asked) -> Reply:
    """series_struct, rs_summary, rs_list."""
    request = decode_info(asked.params)
    if isinstance(request, SeriesStructRequest):
        return Reply(structure_answer(request, asked.archive, runtime=asked.runtime()))
    if isinstance(request, SummaryRequest):
        total = summary(request, asked.archive)
        return Reply(encode_summary(total, runtime=asked.runtime()), total)
    if "f" in request.flags:
        records = fits_records(request, read_parts(request, asked.archive))
        return Reply(encode_recset(records, runtime=asked.runtime()), len(records))
    answer = rs_list(request, asked.archive)
    return Reply(encode_rs_list(answer, runtime=asked.runtime()), answer.count)


def summary(request: SummaryRequest, archive: Archive) -> int:
    """The number of records of all sets. With ``n`` an unknown series has none."""
    n = request.n or 0
    total = 0
    for record_set in parse_query(request.ds).sets:
        try:
            wanted = archive.bind(record_set, request.ds)
        except UnknownSeries:
            if n == 0:
                raise
        else:
            total += count(wanted.selection, wanted.data, n)
    return total


def show_series(asked: Asked) -> Reply:
    """The series list with prime keys and notes."""
    pattern = decode_catalogue(asked.params).filter
    if pattern and "[" in pattern:
        raise Refused("the filter may not hold a bracket; expected a regular expression without sets")
    entries = select_series(_entries(asked.archive), pattern)
    return Reply(encode_show_series(entries), len(entries))


def showextseries(asked: Asked) -> Reply:
    """The series list that the drms client prefers."""
    request = decode_catalogue(asked.params)
    entries = select_series(_entries(asked.archive), request.filter)
    return Reply(encode_showextseries(entries, info=request.info), len(entries))


def _entries(archive: Archive) -> list[SeriesEntry]:
    return [SeriesEntry(s.name, tuple(k.name for k in s.primekeys), s.note) for s in archive.structures()]


def check_address(asked: Asked) -> Reply:
    """Whether an e-mail address is registered."""
    return Reply(encode_address_answer(check(decode_address(asked.params).address)))


def show_info(asked: Asked) -> Reply:
    """Records as tab-separated text; errors are text as well."""
    try:
        text, records = run_show_info(asked.params, asked.archive)
    except UnknownSeries as problem:
        return _text(f"### show_info: series {problem.name} not found.\n", status=1)
    except MirrorError as problem:
        said = str(problem)
        return _text(f"{said if said.startswith('###') else f'### show_info: {said}'}\n", status=1)
    return _text(text, records)


def showextinfo(asked: Asked) -> Reply:
    """show_info through the script that selects the database; its errors have a status of their own."""
    if not asked.params.get("ds"):
        return _text("Error status: 1\nError message: Missing required argument 'ds'.\n", status=1)
    reply = show_info(asked)
    if reply.status:
        said = reply.body.decode("latin-1").rstrip("\n")
        return _text(f"Error status: 6\nError message: {said}\n", status=1)
    return reply


def _text(text: str, records: int = 0, *, status: int = 0) -> Reply:
    return Reply(text.encode("latin-1", "replace"), records, _TEXT, status)


def jsoc_fetch(asked: Asked) -> Reply:
    """Exports; an error is an answer of its own kind."""
    if asked.desk is None:
        raise Refused("exports are not simulated here")
    told = asked.desk.answer(asked.params, asked.pace)
    body = encode_answer(told.answer, told.format)
    return Reply(body, told.records, content_type(told.format), told.status)


#: By the last part of the path.
PROGRAMS: Mapping[str, Callable[[Asked], Reply]] = {
    "jsoc_info": jsoc_info,
    "show_series": show_series,
    "showextseries": showextseries,
    "checkAddress.sh": check_address,
    "show_info": show_info,
    "jsoc_fetch": jsoc_fetch,
    # The same through scripts that select one of JSOC's databases by the parameter dbhost: here there is only one.
    "jsocextinfo": jsoc_info,
    "jsocextfetch": jsoc_fetch,
    "showextinfo": showextinfo,
}


def run_program(name: str, asked: Asked) -> Reply:
    """The answer of a program; a kind of BadRequest if there is none."""
    program = PROGRAMS.get(name)
    if program is None:
        raise BadRequest(f"program {name!r} is not simulated; expected one of {', '.join(PROGRAMS)}")
    return program(asked)
