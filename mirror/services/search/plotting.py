"""What plots need to know about keywords: which one is the error of another. Pure."""

from __future__ import annotations

from collections.abc import Iterable

#: The errors of SHARP's parameters, whose names follow no rule.
_ERRORS = {
    "USFLUX": "ERRVF", "MEANGAM": "ERRGAM", "MEANGBT": "ERRBT", "MEANGBH": "ERRBH", "MEANGBZ": "ERRBZ", "MEANJZD": "ERRJZ",
    "TOTUSJZ": "ERRUSI", "MEANALP": "ERRALP", "MEANJZH": "ERRMIH", "TOTUSJH": "ERRTUI", "ABSNJZH": "ERRTAI",
    "SAVNCPP": "ERRJHT", "MEANPOT": "ERRMPOT", "TOTPOT": "ERRTPOT", "MEANSHR": "ERRMSHA",
}  # fmt: skip


def error_of(name: str, known: Iterable[str]) -> str | None:
    """The one of the known keywords that is the error of a keyword; None if there is none."""
    there = {each.upper(): each for each in known}
    upper = name.upper()
    likely = (_ERRORS.get(upper, ""), f"ERR{upper}", f"ERR_{upper}", f"{upper}ERR", f"{upper}_ERR", f"{upper}_ERROR")
    return next((there[each] for each in likely if each in there and each != upper), None)
