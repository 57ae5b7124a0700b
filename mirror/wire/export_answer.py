"""jsoc_fetch: its answers, both directions as JSON, and for writing also as text.

Each kind of answer has its own members in its own order. A finished export is answered with a file of its
directory: see ``mirror.wire.export_index``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mirror.drms.export import (
    ExportAnswer,
    ExportFile,
    Failed,
    Finished,
    Format,
    Immediate,
    Pending,
    StorageUnit,
    StorageUnits,
    parse_request_id,
)
from mirror.errors import BadRequest, UpstreamBroken, UpstreamRefused
from mirror.wire.answer import Members, load_object, member, objects
from mirror.wire.export_index import (
    check_path,
    decode_index_json,
    encode_index_json,
    encode_index_txt,
    read_files,
    read_number,
)
from mirror.wire.text import to_wire

Json = str | int | Mapping[str, "Json"] | Sequence["Json"]

_VOID = "VOID"
_QUICK = '# JSOC Quick Data Export of as-is files.\nstatus=0\nrequestid="Not Specified"\n'

# ---- encoding -----------------------------------------------------------------------------------


def encode_answer(answer: ExportAnswer | StorageUnits, format: Format = "json") -> bytes:  # noqa: A002
    """The bytes of the real server, without a header."""
    if isinstance(answer, Finished):
        return encode_index_json(answer) if format == "json" else encode_index_txt(answer)
    text = _json(_members(answer)) if format == "json" else _text(answer)
    return (text + "\n").encode("latin-1", "replace")


def content_type(format: Format = "json") -> str:  # noqa: A002
    """The Content-Type of an answer."""
    return "application/json" if format == "json" else "text/plain"


def _members(answer: Immediate | Pending | Failed | StorageUnits) -> Mapping[str, Json]:
    if isinstance(answer, Immediate):
        return _immediate(answer)
    if isinstance(answer, StorageUnits):
        return _units(answer)
    if isinstance(answer, Failed) and answer.request_id in (None, _VOID):
        return _refused(answer)
    fields: dict[str, Json] = {
        "status": answer.status,
        "requestid": answer.request_id or "",
        "method": answer.method,
        "protocol": answer.protocol,
        "wait": answer.wait,
        "rcount": answer.rcount,
        "size": answer.size,
    }
    if isinstance(answer, Failed):
        fields |= {"error": answer.error} | ({"contact": answer.contact} if answer.contact else {})
    return fields


def _immediate(answer: Immediate) -> Mapping[str, Json]:
    return {
        "rcount": answer.rcount,
        "count": len(answer.files),
        "size": answer.size,
        "dir": "",
        "data": [{"record": file.record, "filename": file.filename} for file in answer.files],
        "requestid": "",
        "method": answer.method,
        "protocol": answer.protocol,
        "wait": 0,
        "status": 0,
    }


def _refused(answer: Failed) -> Mapping[str, Json]:
    if answer.request_id is None:
        return {"status": answer.status, "error": answer.error}
    return {
        "requestid": answer.request_id,
        "method": answer.method,
        "protocol": answer.protocol,
        "wait": answer.wait,
        "status": answer.status,
        "count": answer.rcount,
        "size": answer.size,
        "error": answer.error,
    }


def _units(answer: StorageUnits) -> Mapping[str, Json]:
    units = {str(unit.sunum): _unit(unit) for unit in answer.units}
    return {
        "count": len(answer.units),
        "size": answer.size,
        "dir": "",
        "data": units if answer.by_number else [_unit(unit) for unit in answer.units],
        "requestid": "",
        "method": answer.method,
        "protocol": answer.protocol,
        "wait": 0,
        "status": 0,
    }


def _unit(unit: StorageUnit) -> Mapping[str, Json]:
    return {
        "sunum": str(unit.sunum),
        "series": unit.series,
        "path": unit.path,
        "sustatus": unit.status,
        "susize": str(unit.size),
    }


def _json(value: Json) -> str:
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{to_wire(value)}"'
    if isinstance(value, Mapping):
        return "{" + ",".join(f'"{name}":{_json(item)}' for name, item in value.items()) + "}"
    return "[" + ",".join(map(_json, value)) + "]"


def _text(answer: Immediate | Pending | Failed | StorageUnits) -> str:
    if isinstance(answer, Immediate):
        rows = "".join(f"\n{file.record}\t{file.filename}" for file in answer.files)
        return _quick(answer, f"rcount={answer.rcount}\ncount={len(answer.files)}", answer.size) + rows
    if isinstance(answer, StorageUnits):
        rows = "".join(f"\n{u.sunum}\t{u.series}\t{u.path}\t{u.status}\t{u.size}" for u in answer.units)
        return _quick(answer, f"count={len(answer.units)}", answer.size) + rows
    if isinstance(answer, Failed) and answer.request_id is None:
        return f"status={answer.status}\nerror={answer.error}"
    if answer.request_id == _VOID:
        sizes = f"size={answer.size}\ncount={answer.rcount}"
        return f"# JSOC Data Export Failure.\nstatus={answer.status}\n{sizes}\nrequestid=VOID\nwait=0"
    return _not_ready(answer)


def _quick(answer: Immediate | StorageUnits, counts: str, size: int) -> str:
    fields = f"method={answer.method}\nprotocol={answer.protocol}\nwait=0\n{counts}\nsize={size}\ndir=/\n# DATA"
    return _QUICK + fields


def _not_ready(answer: Pending | Failed) -> str:
    lines = [
        "# JSOC Data Export Not Ready.",
        f"status={answer.status}",
        f"requestid={answer.request_id}",
        f"method={answer.method}",
        f"protocol={answer.protocol}",
        f"wait={answer.wait:f}",
        f"size={answer.size}",
    ]
    if isinstance(answer, Failed):
        lines += [f'error="{answer.error}"'] + ([f"contact={answer.contact}"] if answer.contact else [])
    return "\n".join(lines)


# ---- decoding -----------------------------------------------------------------------------------


def decode_answer(data: bytes) -> ExportAnswer:
    """A JSON answer of exp_request or exp_status; UpstreamBroken if it is neither.

    An error status gives a ``Failed``, and is not raised.
    """
    members = load_object(data)
    status = read_number(members, "status")
    if status == 0:
        return _read_immediate(members) if _without_id(members) else decode_index_json(data)
    return _read_pending(members, status) if status in (1, 2) else _read_failed(members, status)


def decode_units(data: bytes) -> StorageUnits | Pending:
    """The answer of exp_su; UpstreamRefused for an error status, Pending if units must be staged."""
    members = load_object(data)
    status = read_number(members, "status")
    if status in (1, 2):
        return _read_pending(members, status)
    if status != 0:
        raise UpstreamRefused(status, member(members, "error", str, default=""))
    by_number = isinstance(members.get("data"), dict)
    rows = list(member(members, "data", dict).values()) if by_number else objects(members, "data")
    units = tuple(_read_unit(row) for row in rows)
    if len(units) != read_number(members, "count"):
        raise UpstreamBroken(f"exp_su: {len(units)} units, but {members['count']} announced")
    method, protocol = (member(members, name, str) for name in ("method", "protocol"))
    return StorageUnits(units, method, protocol, by_number)


def _without_id(members: Members) -> bool:
    return not members.get("requestid", members.get("reqid"))


def _read_immediate(members: Members) -> Immediate:
    files = read_files(members)
    for file in files:
        check_path(file.filename, absolute=True)
    if len(files) != read_number(members, "count"):
        raise UpstreamBroken(f"exp_request: {len(files)} files, but {members['count']} announced")
    return Immediate(
        read_number(members, "rcount", len(files)),
        read_number(members, "size", 0),
        tuple(ExportFile(file.record, file.filename) for file in files),
        member(members, "method", str, default="url_quick"),
        member(members, "protocol", str, default="as-is"),
    )


def _read_pending(members: Members, status: int) -> Pending:
    return Pending(
        read_request_id(members),
        member(members, "method", str, default=""),
        member(members, "protocol", str, default=""),
        wait=read_number(members, "wait", 5),
        rcount=read_number(members, "rcount", 0),
        size=read_number(members, "size", 0),
        status=status,
    )


def _read_failed(members: Members, status: int) -> Failed:
    request_id = member(members, "requestid", str, default="") or None
    return Failed(
        status,
        member(members, "error", str, default="the request failed, and no reason was given"),
        request_id,
        member(members, "method", str, default=""),
        member(members, "protocol", str, default=""),
        wait=read_number(members, "wait", 999999),
        rcount=read_number(members, "count" if request_id == _VOID else "rcount", 0),
        size=read_number(members, "size", 0),
        contact=member(members, "contact", str, default="") or None,
    )


def read_request_id(members: Members) -> str:
    """The request id, which movies call ``reqid``; UpstreamBroken if it is not one."""
    found = member(members, "requestid" if "requestid" in members else "reqid", str)
    try:
        parse_request_id(found)
    except BadRequest as problem:
        raise UpstreamBroken(f"not a request id: {found!r}") from problem
    return found


def _read_unit(row: Members) -> StorageUnit:
    if not isinstance(row, Mapping):
        raise UpstreamBroken(f"exp_su: expected an object for each unit, found {row!r}")
    return StorageUnit(
        read_number(row, "sunum"),
        member(row, "series", str),
        member(row, "path", str),
        member(row, "sustatus", str),
        read_number(row, "susize", 0),
    )
