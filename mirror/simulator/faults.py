"""Faults on command: what goes wrong, with which requests, how often.

A rule is a JSON object:

    match      optional object: program, op (exact), ds, path (regular expressions, searched, any case);
               the program of a download is "file", and path is what it asks for
    fault      refuse        the connection is cut without an answer
               timeout       no answer for ``seconds`` (default an hour), then the connection is cut
               http500       an HTML page with code 500
               broken_json   the answer with its structure damaged, code 200
               truncate      the headers announce all bytes, half of them come, the connection is cut
               cut           the same after ``at`` bytes (default 0)
               wrong_length  Content-Length is wrong by ``delta``: too small, and the rest does not come; too
                             large, and the connection is cut after all bytes
               gateway       a page of HTML with code 200
               gone          a page of HTML with code 404, as for a file whose unit has left its disk
               slow          the bytes of the answer spread over ``seconds`` (default 10)
               wrong_count   the answer with ``delta`` (default 1) added to its count
               other_answer  the answer to the record set ``instead`` (default: to the last question of the program that
                             got its own answer), as of a confused gateway or cache
               half          the answer with the first half of its records, and their count
               doubled       the answer with its first record in place of its last
               gzip_bomb     the answer and ``bytes`` blanks (default 256 MB), compressed
               endless       the answer, and then blanks until the client hangs up
               redirect      code 302 and the Location ``instead`` (default "/")
               status        {"status": ``status``, "error": ``message``} with code 200
               staging       an export request is accepted, and stays pending for ``polls`` questions or
                             ``seconds``, whichever ends first (default: for ever); then it has ``status``
                             (default 0, done) and ``message``
               outage        from the first match on every request of any program is cut, for ``seconds``
                             (default: until the faults are replaced)
               and, as people met them at the real JSOC, in its own words:
               out_of_memory  status 1: a query whose result is too large
               hash_not_saved  status 4: an export request that JSOC could not keep
               too_long       status 4: the record set of an export request is too long
               one_pending    status 7: the address has an export request that is still pending
               too_large      status 3: an export of more than 100,000 MB, with requestid VOID, count and size
               joined_sets    an export of several record sets is accepted, and fails with status 4 later; others
                              are served
               uri_too_long   code 414, for a GET; a POST is served
    times      optional: how many requests it hits before it is used up
    skip       optional: how many matching requests pass before the first is hit

The first rule that matches a request and is not used up decides. Downloads pass over broken_json, wrong_count,
other_answer, half, doubled and gzip_bomb, everything but a request for an export passes over staging.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mirror.errors import ConfigError, MirrorError
from mirror.wire.rs_list import SEGMENT_LISTS, RsList, SegmentColumn, decode_rs_list, encode_rs_list
from mirror.wire.text import to_wire

KINDS = (
    *("refuse", "timeout", "http500", "broken_json", "truncate", "cut", "wrong_length", "gateway", "gone", "slow"),
    *("wrong_count", "status", "staging", "outage"),
    *("other_answer", "half", "doubled", "gzip_bomb", "endless", "redirect"),
    *("out_of_memory", "hash_not_saved", "too_long", "one_pending", "too_large", "joined_sets", "uri_too_long"),
)
#: Status and error of failures met at the real JSOC; {notify} is the address in the request.
_MET = {
    "out_of_memory": (1, "query failed: out of memory for query result"),
    "hash_not_saved": (4, "Cant save new export-request hash."),
    "too_long": (4, "Record-set specification is too long."),
    "one_pending": (7, "User {notify} has 1 pending export requests ..."),
}
_TOO_LARGE = (
    '{{"requestid":"VOID","method":"{method}","protocol":"{protocol}","wait":0,"status":3,"count":12850,'
    '"size":194300,"error":"Request exceeds max byte limit of 100000MB"}}\n'
)
_FOREVER = float("inf")
_JOINED = re.compile(r"[\]}]\s*[,;]")  #: the end of a record set before another one
_DEFAULT_SECONDS = {"timeout": 3600.0, "slow": 10.0, "staging": _FOREVER, "outage": _FOREVER}
_NUMBERS = {
    "seconds": (int, float),
    **dict.fromkeys(("delta", "status", "times", "skip", "at", "polls", "bytes"), (int,)),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One rule; see the top of the file for its members."""

    kind: str
    program: str | None = None
    op: str | None = None
    ds: str | None = None
    path: str | None = None
    times: int | None = None
    skip: int = 0
    seconds: float = 0.0
    delta: int = 1
    at: int = 0
    polls: int | None = None
    status: int = 1
    message: str = "a fault on command"
    bytes: int = 256 << 20
    instead: str = ""

    def matches(self, program: str, params: Mapping[str, str]) -> bool:
        """True if the rule applies to this request, however often it was used."""
        return (
            self.program in (None, program)
            and self.op in (None, params.get("op"))
            and _found(self.ds, params.get("ds", ""))
            and _found(self.path, params.get("path", ""))
        )


def _found(pattern: str | None, text: str) -> bool:
    return pattern is None or re.search(pattern, text, re.IGNORECASE) is not None


def as_met(fault: Fault, params: Mapping[str, str]) -> Fault | None:
    """A fault named after a real failure, as one of the general kinds; None if the request is served."""
    if fault.kind in _MET:
        status, error = _MET[fault.kind]
        return replace(fault, kind="status", status=status, message=error.format(notify=params.get("notify", "")))
    if fault.kind == "too_large":
        told = {name: to_wire(params.get(name, "")) for name in ("method", "protocol")}
        return replace(fault, kind="answer", message=_TOO_LARGE.format(**told))
    if fault.kind == "joined_sets":
        if not _JOINED.search(params.get("ds", "")):
            return None
        return replace(fault, kind="staging", polls=1, seconds=_FOREVER, status=4, message="export processing failed")
    return fault


def decode_faults(data: Any) -> tuple[Fault, ...]:
    """Rules from JSON: a list of them; ConfigError names the wrong rule and member."""
    if not isinstance(data, list):
        raise ConfigError("faults: expected a list of rules")
    return tuple(_decode(rule, f"fault {number}") for number, rule in enumerate(data, start=1))


def _decode(rule: Any, where: str) -> Fault:
    members = dict(_object(rule, where))
    match = dict(_object(members.pop("match", {}), f"{where}, match"))
    kind = members.pop("fault", None)
    if kind not in KINDS:
        raise ConfigError(f"{where}: fault is {kind!r}; expected one of {', '.join(KINDS)}")
    _known(match, ("program", "op", "ds", "path"), f"{where}, match")
    _known(members, (*_NUMBERS, "message", "instead"), where)
    for name, types in _NUMBERS.items():
        if name in members and (type(members[name]) not in types or (members[name] < 0 and name != "delta")):
            raise ConfigError(f"{where}: {name} is {members[name]!r}; expected a number that is not negative")
    for name in ("ds", "path"):
        _compilable(match.get(name), name, where)
    return Fault(kind, **match, **{"seconds": _DEFAULT_SECONDS.get(kind, 0.0), **members})


def _object(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected an object, found {value!r}")
    return value


def _known(members: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in members:
        if name not in names:
            raise ConfigError(f"{where}: unknown member {name!r}; expected {', '.join(names)}")


def _compilable(pattern: Any, name: str, where: str) -> None:
    try:
        re.compile(pattern or "")
    except (re.error, TypeError) as problem:
        message = f"{where}: {name} is {pattern!r}; expected a regular expression: {problem}"
        raise ConfigError(message) from problem


@dataclass
class FaultPlan:
    """The rules in force and what is left of them; replacing the rules ends an outage."""

    rules: Sequence[Fault] = ()
    _outage_ends: float | None = field(default=None, init=False)

    def replace(self, rules: Sequence[Fault]) -> None:
        """Use these rules instead, all unused."""
        self.rules = tuple(rules)
        self._outage_ends = None

    def take(self, program: str, params: Mapping[str, str], now: float) -> Fault | None:
        """The fault that applies to this request, if any; ``now`` is in seconds of any steady clock."""
        if self._outage_ends is not None and now < self._outage_ends:
            return Fault("refuse")
        self._outage_ends = None
        hit = self._use(program, params)
        if hit is not None and hit.kind == "outage":
            self._outage_ends = now + hit.seconds
            return Fault("refuse")
        return hit

    def _use(self, program: str, params: Mapping[str, str]) -> Fault | None:
        for at, rule in enumerate(self.rules):
            if rule.times == 0 or not rule.matches(program, params):
                continue
            self.rules = (*self.rules[:at], _used(rule), *self.rules[at + 1 :])
            if rule.skip == 0:
                return rule
        return None


def _used(rule: Fault) -> Fault:
    """What is left of a rule after one more matching request."""
    if rule.skip:
        return replace(rule, skip=rule.skip - 1)
    return rule if rule.times is None else replace(rule, times=rule.times - 1)


# ---- damage to the bytes of an answer --------------------------------------------------------------


def damaged(body: bytes, fault: Fault) -> bytes:
    """The body of an answer after ``broken_json``, ``wrong_count``, ``half`` or ``doubled``; unchanged for the others."""
    if fault.kind == "broken_json":
        return body.replace(b"]", b"}", 1).replace(b'":', b'"', 1) if b'":' in body else body + b"<"
    if fault.kind == "wrong_count":
        return re.sub(rb'("(?:count|n)": ?)(\d+)', lambda m: m[1] + b"%d" % (int(m[2]) + fault.delta), body)
    if fault.kind in ("half", "doubled"):
        return _rearranged(body, fault.kind)
    return body


def _rearranged(body: bytes, kind: str) -> bytes:
    """An answer of rs_list with its records rearranged; any other is unchanged."""
    try:
        answer = decode_rs_list(body)
    except MirrorError:
        return body
    count = answer.count
    places = [*range(count // 2)] if kind == "half" else [*range(count - 1), 0] if count > 1 else [*range(count)]

    def pick(values: Sequence[Any]) -> list[Any]:
        return [values[place] for place in places] if len(values) == count else list(values)[: len(places)]

    def picked(columns: Sequence[tuple[str, Sequence[Any]]] | None) -> list[tuple[str, list[Any]]] | None:
        return None if columns is None else [(name, pick(values)) for name, values in columns]

    segments = [
        SegmentColumn(s.name, *(pick(getattr(s, part)) for part in SEGMENT_LISTS)) for s in answer.segments or ()
    ]
    info = None if answer.recinfo is None else pick(answer.recinfo)
    fewer = RsList(len(places), picked(answer.keywords), segments, picked(answer.links), info)
    return encode_rs_list(fewer, runtime=0.0)


def bomb(body: bytes, size: int) -> bytes:
    """``body`` and ``size`` blanks, as gzip."""
    packed = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    blanks = b" " * (1 << 20)
    parts = [packed.compress(body)]
    parts += [packed.compress(blanks) for _ in range(size >> 20)]
    return b"".join([*parts, packed.flush()])
