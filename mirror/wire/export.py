"""jsoc_fetch: its requests, and checkAddress.sh, both directions. The answers of jsoc_fetch are in ``mirror.wire.export_answer``.

Clients write ``process`` and its first argument as one name, ``process=n``, which JSOC's CGI wrapper puts
back together. Both spellings are read, and the clients' is written; likewise ``requester``, which the program
itself calls ``requestor``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus, unquote_plus

from mirror.drms.export import (
    DEFAULT_FILENAME_FORMAT,
    METHODS,
    PROTOCOLS,
    ExportRequest,
    FetchRequest,
    Format,
    Process,
    Protocol,
    RepeatRequest,
    StatusRequest,
    UnitsRequest,
    parse_process,
    parse_request_id,
)
from mirror.errors import BadRequest
from mirror.wire.answer import load_object, member
from mirror.wire.export_answer import content_type, decode_answer, decode_units, encode_answer
from mirror.wire.info import c_int

__all__ = [
    "content_type",
    "decode_answer",
    "decode_fetch",
    "decode_units",
    "encode_answer",
    "encode_fetch",
    "wanted_format",
]

Params = Mapping[str, str]

_ONLINE_ONLY = "NOASYNCREQUEST"  # in place of a request id
_UPLOADED = "*file*"  # in place of a record set
_NUMBERS = re.compile(r"\s*[0-9]{1,18}\s*(,\s*[0-9]{1,18}\s*)*")

# ---- decoding -----------------------------------------------------------------------------------


def decode_fetch(params: Params) -> FetchRequest:
    """The request in ``params``; BadRequest if it is invalid."""
    op = params.get("op", "")
    if op not in _DECODERS:
        found = f"operation {op!r} is unknown" if op else "the parameter op is missing"
        raise BadRequest(f"{found}; expected one of {', '.join(_DECODERS)}")
    return _DECODERS[op](params)


def wanted_format(params: Params) -> Format:
    """The format to answer in, even for an invalid request: json unless another one is named."""
    return "json" if params.get("format", "json") == "json" else "txt"


def _export(params: Params) -> ExportRequest:
    return ExportRequest(
        _record_sets(params),
        method=_method(params),
        protocol=_protocol(params),
        filenamefmt=params.get("filenamefmt") or DEFAULT_FILENAME_FORMAT,
        notify=params.get("notify") or None,
        requester=_requester(params),
        process=_process(params),
        segments=_segments(params),
        sizeratio=_sizeratio(params),
        max_recs=c_int(params.get("max_recs", "")) or None,
        allow_staging=params.get("o", "0") not in ("", "0"),
        format=wanted_format(params),
    )


def _status(params: Params) -> StatusRequest:
    return StatusRequest(_request_id(params), wanted_format(params))


def _repeat(params: Params) -> RepeatRequest:
    return RepeatRequest(_request_id(params), wanted_format(params))


def _units(params: Params) -> UnitsRequest:
    return UnitsRequest(
        _sunums(params),
        method=_method(params),
        protocol=_protocol(params),
        notify=params.get("notify") or None,
        requester=_requester(params),
        online_only=params.get("requestid") == _ONLINE_ONLY,
        by_number=params.get("formatvar") == "dataobj",
        format=wanted_format(params),
    )


_DECODERS: dict[str, Callable[[Params], FetchRequest]] = {
    "exp_request": _export,
    "exp_status": _status,
    "exp_repeat": _repeat,
    "exp_su": _units,
}


def _record_sets(params: Params) -> str:
    """``ds``, or the lines of an uploaded file: one record set per line, comments after ``#``."""
    ds = params.get("ds", "")
    if ds.startswith(_UPLOADED):
        lines = (line.strip("\r") for line in params.get("file", "").split("\n"))
        ds = ",".join(line for line in lines if line and not line.startswith("#"))
    if not ds:
        raise BadRequest("the parameter ds is missing; expected a record set, as in ds=hmi.v_45s[$]")
    return ds


def _request_id(params: Params) -> str:
    if not params.get("requestid"):
        raise BadRequest("RequestID must be provided")
    parse_request_id(params["requestid"])
    return params["requestid"]


def _method(params: Params) -> str:
    method = params.get("method") or "url"
    if method not in METHODS:
        raise BadRequest(f"method {method!r} is not served; expected one of {', '.join(METHODS)}")
    return method


def _protocol(params: Params) -> Protocol:
    protocol = Protocol(params.get("protocol") or "as-is")
    if protocol.name not in PROTOCOLS:
        raise BadRequest(f"protocol {protocol.name!r} is unknown; expected one of {', '.join(PROTOCOLS)}")
    return protocol


def _requester(params: Params) -> str | None:
    return params.get("requester") or params.get("requestor") or None


def _process(params: Params) -> Process:
    joined = params.get("process=n")
    return parse_process(params.get("process", "") if joined is None else f"n={joined}")


def _segments(params: Params) -> tuple[str, ...] | None:
    names = (name.strip() for name in params.get("seg", "").split(","))
    return tuple(name for name in names if name) or None


def _sizeratio(params: Params) -> float:
    text = params.get("sizeratio") or "1"
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if not 1e-6 <= ratio <= 1e6:
        raise BadRequest(f"sizeratio {text!r} is not a ratio; expected a positive number such as 0.25")
    return ratio


def _sunums(params: Params) -> tuple[int, ...]:
    text = params.get("sunum") or params.get("ds", "")
    if _NUMBERS.fullmatch(text) is None:
        raise BadRequest("There are no SUs in sunum or ds params; expected numbers with commas between them")
    return tuple(map(int, text.split(",")))


# ---- encoding -----------------------------------------------------------------------------------


def encode_fetch(request: FetchRequest) -> dict[str, str]:
    """The parameters of this request, as clients write them."""
    if isinstance(request, ExportRequest):
        return _export_params(request)
    if isinstance(request, UnitsRequest):
        return _units_params(request)
    op = "exp_status" if isinstance(request, StatusRequest) else "exp_repeat"
    return {"op": op, "requestid": request.request_id, "format": request.format}


def _export_params(request: ExportRequest) -> dict[str, str]:
    fields = {
        "op": "exp_request",
        "format": request.format,
        "ds": request.ds,
        "notify": request.notify,
        "method": request.method,
        "protocol": request.protocol.text,
        "filenamefmt": request.filenamefmt,
        **_process_params(request.process),
        "requester": request.requester,
        "seg": ",".join(request.segments) if request.segments else None,
        "sizeratio": None if request.sizeratio == 1 else repr(request.sizeratio),
        "max_recs": None if request.max_recs is None else str(request.max_recs),
        "o": "1" if request.allow_staging else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _process_params(process: Process) -> dict[str, str]:
    if not process.text:
        return {}
    limited = process.text.startswith("n=")
    return {"process=n": process.text[2:]} if limited else {"process": process.text}


def _units_params(request: UnitsRequest) -> dict[str, str]:
    fields = {
        "op": "exp_su",
        "format": request.format,
        "sunum": ",".join(map(str, request.sunums)),
        "method": request.method,
        "protocol": request.protocol.text,
        "notify": request.notify,
        "requester": request.requester,
        "requestid": _ONLINE_ONLY if request.online_only else None,
        "formatvar": "dataobj" if request.by_number else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


# ---- checkAddress.sh -----------------------------------------------------------------------------
# Is an e-mail address registered for exports? The address is quoted twice: clients quote it, as UTF-8, and then the
# query string that contains it.

#: Statuses: what the program says about an address. A negative one means that it is not an address.
INITIATED, REGISTERED, PENDING, UNKNOWN, NOT_AN_ADDRESS = 1, 2, 3, 4, -2


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """``check_only``: answer without starting a registration."""

    address: str
    check_only: bool = True


@dataclass(frozen=True, slots=True)
class AddressAnswer:
    """``status`` as above, ``msg`` for people."""

    status: int
    msg: str


def decode_address(params: Mapping[str, str]) -> AddressRequest:
    """The request in ``params``, which are decoded once already; BadRequest without ``address``."""
    if "address" not in params:
        raise BadRequest("the parameter address is missing; expected an e-mail address")
    address = unquote_plus(params["address"])
    return AddressRequest(address, params.get("checkonly", "0") not in ("", "0"))


def encode_address(request: AddressRequest) -> dict[str, str]:
    """The parameters of this request; encoding them as a query string quotes the second time."""
    return {"address": quote_plus(request.address), **({"checkonly": "1"} if request.check_only else {})}


def encode_address_answer(answer: AddressAnswer) -> bytes:
    """One line of JSON as the real script prints it."""
    return (json.dumps({"status": answer.status, "msg": answer.msg}) + "\n").encode("ascii")


def decode_address_answer(data: bytes) -> AddressAnswer:
    """Decode an answer. Its statuses are not those of the other programs: none is an error."""
    members = load_object(data)
    return AddressAnswer(member(members, "status", int), member(members, "msg", str, default=""))
