"""PostgreSQL functions that conditions may call: what they take, and the type of their result.

Other functions may exist at JSOC: a call of one is bound to the type "any", and evaluated by JSOC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirror.drms.series import INTEGER_TYPES
from mirror.drms.where import types


@dataclass(frozen=True, slots=True)
class Signature:
    """``takes`` are the groups of the arguments, of which the first ``least`` are required; see ``result``."""

    takes: tuple[str, ...]
    least: int
    gives: str


def _of(takes: str, gives: str, least: int | None = None) -> Signature:
    groups = tuple({"n": "number", "s": "string", "i": "integer", "x": "exact"}[c] for c in takes)
    return Signature(groups, len(groups) if least is None else least, gives)


#: ``gives`` is a type, or "inexact" (numeric for a numeric argument, else double), "same" (that of the argument),
#: "wider" (of both), "digits" (numeric with a second argument, else as inexact).
SIGNATURES: Mapping[str, Signature] = {
    "abs": _of("n", "same"),
    **dict.fromkeys(("ceil", "ceiling", "floor", "sign", "sqrt", "exp", "ln"), _of("n", "inexact")),
    **dict.fromkeys(
        ("cbrt", "radians", "degrees", "sin", "cos", "tan", "cot", "asin", "acos", "atan"), _of("n", "double")
    ),
    **dict.fromkeys(("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"), _of("n", "double")),
    **dict.fromkeys(("sind", "cosd", "tand", "cotd", "asind", "acosd", "atand"), _of("n", "double")),
    **dict.fromkeys(("atan2", "atan2d"), _of("nn", "double")),
    "pi": _of("", "double"),
    **dict.fromkeys(("round", "trunc", "log"), _of("nn", "digits", 1)),
    **dict.fromkeys(("power", "pow"), _of("nn", "inexact")),
    "mod": _of("xx", "wider"),
    "div": _of("xx", "numeric"),
    **dict.fromkeys(("lower", "upper", "initcap", "reverse", "md5"), _of("s", "string")),
    **dict.fromkeys(
        ("length", "char_length", "character_length", "octet_length", "bit_length", "ascii"), _of("s", "int")
    ),
    **dict.fromkeys(("btrim", "ltrim", "rtrim"), _of("ss", "string", 1)),
    "substr": _of("sii", "string", 2),
    "strpos": _of("ss", "int"),
    **dict.fromkeys(("left", "right", "repeat"), _of("si", "string")),
    "replace": _of("sss", "string"),
    "translate": _of("sss", "string"),
    "split_part": _of("ssi", "string"),
}
#: Functions whose value may differ with each call, so that an answer of JSOC cannot be used again.
VOLATILE = frozenset(
    {"random", "now", "clock_timestamp", "statement_timestamp", "transaction_timestamp", "timeofday", "age",
     "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "gen_random_uuid"}
)  # fmt: skip


def fits(group: str, type_: str) -> bool:
    """Whether an argument of a type is accepted where one of a group is expected."""
    if type_ == "any":
        return True
    if group == "integer":
        return type_ in INTEGER_TYPES - {"longlong"}
    if group == "exact":
        return type_ in INTEGER_TYPES or type_ == "numeric"
    return types.group(type_) == group


def result(name: str, args: Sequence[str]) -> str:
    """The type that a function of ``SIGNATURES`` returns for arguments of these types."""
    gives = SIGNATURES[name].gives
    if gives == "same":
        return "double" if args[0] == "time" else args[0]
    if gives == "wider":
        return types.wider(args[0], args[1])
    if gives == "digits" and len(args) > 1:
        return "numeric"
    if gives in ("inexact", "digits"):
        exact = all(type_ in INTEGER_TYPES or type_ == "numeric" for type_ in args)
        return "numeric" if exact and "numeric" in args else "double"
    return gives
