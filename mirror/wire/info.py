"""The requests of jsoc_info, both directions, and the answer of rs_summary.

``decode_info`` reads parameters as the program does: names of keywords are not trimmed, ``n`` is read by
``atoi``. ``encode_info`` is the inverse. ``not_understood`` recognizes parameters that only JSOC can answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from mirror.errors import BadRequest
from mirror.wire.answer import load_answer, member
from mirror.wire.params import unescape_again
from mirror.wire.text import tabbed

OPERATIONS = ("series_struct", "rs_summary", "rs_list")
#: Flags that change an answer: f FITS names and values, l follow links, M full precision, o the owner of the series,
#: and B, r, s of segments and sums. A flag is set if it is given with any value but "0".
FLAGS = ("f", "l", "M", "B", "r", "s", "o")
ALL, NONE = "**ALL**", "**NONE**"
#: The program's other parameters; the last two name the database, of which JSOC has one.
_PARAMETERS = frozenset({"op", "ds", "key", "seg", "link", "n", "R", "userhandle", "dbhost", "JSOC_DBHOST"})

Flags = Mapping[str, str]
_NUMBER = re.compile(r"[ \t-\r]*([+-]?[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class SeriesStructRequest:
    """op=series_struct: the structure of the series that ``ds`` begins with."""

    ds: str
    flags: Flags = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """op=rs_summary: how many records, at most ``abs(n)`` (None: all)."""

    ds: str
    n: int | None = None
    flags: Flags = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class RsListRequest:
    """op=rs_list: values of records. A list of names is None if it was not asked for.

    Names are as typed, including blanks and ``**ALL**`` (``expand_names`` resolves these). ``n`` takes the first or,
    if negative, the last records of each set. ``userhandle`` would allow the user to end the program.
    """

    ds: str
    keys: tuple[str, ...] | None = None
    segments: tuple[str, ...] | None = None
    links: tuple[str, ...] | None = None
    recinfo: bool = False
    n: int | None = None
    flags: Flags = field(default_factory=dict, hash=False)
    userhandle: str | None = None


InfoRequest = SeriesStructRequest | SummaryRequest | RsListRequest


def expand_names(names: Sequence[str] | None, everything: Sequence[str]) -> list[str]:
    """The names that are meant: ``**NONE**`` anywhere empties the list, ``**ALL**`` stands for ``everything``.

    Names may repeat, and are then answered repeatedly.
    """
    if names is None or NONE in names:
        return []
    return [name for given in names for name in (everything if given == ALL else (given,))]


# ---- requests -----------------------------------------------------------------------------------


def decode_info(params: Mapping[str, str]) -> InfoRequest:
    """The request in ``params``; BadRequest if ``op`` or ``ds`` is missing, or ``op`` unknown."""
    op, flags = params.get("op", ""), {flag: params[flag] for flag in FLAGS if flag in params and _given(params, flag)}
    if op not in OPERATIONS:
        found = f"operation {op!r} is unknown" if op else "the parameter op is missing"
        raise BadRequest(f"{found}; expected one of {', '.join(OPERATIONS)}")
    if not params.get("ds"):
        raise BadRequest(
            "the parameter ds is missing; expected a series or a record set, as in ds=hmi.v_45s[$]"
        )
    if op == "series_struct":
        return SeriesStructRequest(params["ds"], flags)
    n = c_int(params.get("n", "")) or None
    return SummaryRequest(params["ds"], n, flags) if op == "rs_summary" else _rs_list(params, n, flags)


def _rs_list(params: Mapping[str, str], n: int | None, flags: Flags) -> RsListRequest:
    return RsListRequest(
        params["ds"],
        keys=_names(params, "key"),
        segments=_names(params, "seg"),
        links=_names(params, "link"),
        recinfo=_given(params, "R"),
        n=n,
        flags=flags,
        userhandle=params.get("userhandle"),
    )


def encode_info(request: InfoRequest) -> dict[str, str]:
    """The parameters of this request, in the order in which clients write them."""
    if isinstance(request, SeriesStructRequest):
        return {"op": "series_struct", "ds": request.ds, **request.flags}
    limit = {} if request.n is None else {"n": str(request.n)}
    if isinstance(request, SummaryRequest):
        return {"op": "rs_summary", "ds": request.ds, **limit, **request.flags}
    lists = {"key": request.keys, "seg": request.segments, "link": request.links}
    return {
        "op": "rs_list",
        "ds": request.ds,
        **{name: _joined(names) for name, names in lists.items() if names is not None},
        **({"R": "1"} if request.recinfo else {}),
        **limit,
        **request.flags,
        **({} if request.userhandle is None else {"userhandle": request.userhandle}),
    }


def c_int(text: str) -> int:
    """The number that C's ``atoi`` reads: digits at the start, after blanks and a sign; else 0."""
    found = _NUMBER.match(text)
    return int(found[1]) if found else 0


def not_understood(params: Mapping[str, str], known: Collection[str] = _PARAMETERS | {*FLAGS}) -> bool:
    """True for parameters that only the program itself can interpret.

    That is a name not in ``known``, a flag without a value, or an ``n`` that is not a number.
    """
    strange = any(name not in known or (name in FLAGS and not value) for name, value in params.items())
    return strange or ("n" in params and _NUMBER.match(params["n"]) is None)


def _given(params: Mapping[str, str], flag: str) -> bool:
    return params.get(flag, "0") not in ("", "0")


def _names(params: Mapping[str, str], name: str) -> tuple[str, ...] | None:
    if name not in params:
        return None
    # Like strtok: names between commas, without empty ones.
    return tuple(part for part in unescape_again(params[name]).split(",") if part)


def _joined(names: Sequence[str]) -> str:
    return ",".join(names).replace("%", "%25")


# ---- the answer of rs_summary -----------------------------------------------------------------


def encode_summary(count: int, *, runtime: float) -> bytes:
    """The bytes of the real server; ``runtime`` is in seconds."""
    root = {"count": str(count), "runtime": f"{runtime:.3f}", "status": "0"}
    return (tabbed(root) + "\n").encode("latin-1")


def decode_summary(data: bytes) -> int:
    """The number of records; UpstreamBroken or UpstreamRefused if it is not there."""
    return member(load_answer(data), "count", int)
