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
               status        {"status": ``status``, "error": ``message``} with code 200
               staging       an export request is accepted, and stays pending for ``polls`` questions or
                             ``seconds``, whichever ends first (default: for ever); then it has ``status``
                             (default 0, done) and ``message``
               outage        from the first match on every request of any program is cut, for ``seconds``
                             (default: until the faults are replaced)
    times      optional: how many requests it hits before it is used up
    skip       optional: how many matching requests pass before the first is hit

The first rule that matches a request and is not used up decides. Downloads pass over broken_json and
wrong_count, everything but a request for an export passes over staging.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mirror.drms.errors import ConfigError

KINDS = (
    *("refuse", "timeout", "http500", "broken_json", "truncate", "cut", "wrong_length", "gateway", "gone", "slow"),
    *("wrong_count", "status", "staging", "outage"),
)
_FOREVER = float("inf")
_DEFAULT_SECONDS = {"timeout": 3600.0, "slow": 10.0, "staging": _FOREVER, "outage": _FOREVER}
_NUMBERS = {
    "seconds": (int, float),
    **dict.fromkeys(("delta", "status", "times", "skip", "at", "polls"), (int,)),
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

    def matches(self, program: str, params: Mapping[str, str]) -> bool:
        """True if the rule is about this request, however often it was used."""
        return (
            self.program in (None, program)
            and self.op in (None, params.get("op"))
            and _found(self.ds, params.get("ds", ""))
            and _found(self.path, params.get("path", ""))
        )


def _found(pattern: str | None, text: str) -> bool:
    return pattern is None or re.search(pattern, text, re.IGNORECASE) is not None


def decode_faults(data: Any) -> tuple[Fault, ...]:
    """Rules from JSON: a list of them; ConfigError names the rule and member that is wrong."""
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
    _known(members, (*_NUMBERS, "message"), where)
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
        """These rules instead, each unused."""
        self.rules = tuple(rules)
        self._outage_ends = None

    def take(self, program: str, params: Mapping[str, str], now: float) -> Fault | None:
        """The fault that hits this request, if any; ``now`` is in seconds of any steady clock."""
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
    """The body of an answer after ``broken_json`` or ``wrong_count``; unchanged for the others."""
    if fault.kind == "broken_json":
        return body.replace(b"]", b"}", 1).replace(b'":', b'"', 1) if b'":' in body else body + b"<"
    if fault.kind == "wrong_count":
        return re.sub(rb'("(?:count|n)": ?)(\d+)', lambda m: m[1] + b"%d" % (int(m[2]) + fault.delta), body)
    return body
