"""Composes record sets from what people fill in, for those who do not know the grammar. Pure.

People choose a series, values or a span of times for each prime key, a condition, and segments. ``apart`` is the
inverse, as far as there is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mirror.drms.parser import parse_query
from mirror.drms.recordset import Bracket, Filter, RecordSet, Where
from mirror.drms.series import PrimeKey, Series
from mirror.errors import BadRequest, MirrorError

_DATE = re.compile(r"(-?\d{1,4})-(\d{1,2})-(\d{1,2})(?:[T _](\d.*))?")
_ZONED = re.compile(r"[_ ]?(?:TAI|UTC|UT|TDT|TT|[A-Z]{1,4}T?|Z)$", re.IGNORECASE)
_SPAN = re.compile(
    r"(?P<start>[^-/@,^$]+)(?:-(?P<end>[^-/@,^$]+)|/(?P<length>[^-/@,]+))?(?:@(?P<step>[^-/@,]+))?"
)
_ZONES = {"TAI", "UTC", "TDT"}


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start`` to ``end``, or for ``length``; one record per ``step``. "" for what is not given.

    With neither end nor length it is the one slot of ``start``.
    """

    start: str = ""
    end: str = ""
    length: str = ""
    step: str = ""


KeyChoice = Span | str


def is_time(series: Series, prime: PrimeKey) -> bool:
    """True for a prime key whose values are times in slots, which people choose by spans."""
    keyword = series.keyword(prime.name)
    return prime.slotted and keyword is not None and keyword.type == "time"


def zone_of(series: Series, prime: PrimeKey) -> str:
    """The zone of times that name none: the key's."""
    keyword = series.keyword(prime.name)
    units = "" if keyword is None else keyword.units.upper()
    return units if units in _ZONES else "UTC"


def compose(
    series: Series, keys: Mapping[str, KeyChoice], *, where: str = "", segments: Sequence[str] = ()
) -> RecordSet:
    """The record set of these choices, by prime-key name; BadRequest for a text that is impossible in its place.

    Whether values are valid is checked by ``bind``, which shows where.
    """
    texts = [_bracket(series, prime, keys.get(prime.name, "")) for prime in series.primekeys]
    while texts and not texts[-1]:
        texts.pop()
    filters: list[Filter] = [Bracket(text) for text in texts]
    if where.strip():
        filters.append(Where(where.strip()))
    made = RecordSet(series.name, tuple(filters), tuple(segments) or None)
    _check(made)
    return made


def apart(series: Series, record_set: RecordSet) -> tuple[dict[str, KeyChoice], str] | None:
    """The choices, and the condition, from which ``compose`` makes this record set; None if there are none."""
    keys: dict[str, KeyChoice] = {}
    where = ""
    place = 0
    for part in record_set.filters:
        if isinstance(part, Where) and not part.all_versions and not where:
            where = part.text
        elif isinstance(part, Bracket) and not where and place < len(series.primekeys) and part.key is None:
            prime = series.primekeys[place]
            choice = _span(part.text) if is_time(series, prime) and part.text else part.text
            if choice is None:
                return None
            keys[prime.name] = choice
            place += 1
        else:
            return None
    return keys, where


def _bracket(series: Series, prime: PrimeKey, choice: KeyChoice) -> str:
    if isinstance(choice, str):
        return choice.strip()
    zone = zone_of(series, prime)
    start, end = (_time(text, zone) for text in (choice.start, choice.end))
    if not start:
        if end or choice.length.strip() or choice.step.strip():
            raise BadRequest(f"{prime.name} has no start; expected a time such as 2014.01.01")
        return ""
    if end and choice.length.strip():
        raise BadRequest(f"{prime.name} has an end and a length; expected one of them")
    if choice.step.strip() and not end and not choice.length.strip():
        raise BadRequest(f"{prime.name} has a step but no end; expected an end or a length")
    length = f"/{choice.length.strip()}" if choice.length.strip() else ""
    step = f"@{choice.step.strip()}" if choice.step.strip() else ""
    return f"{start}{f'-{end}' if end else ''}{length}{step}"


def _time(text: str, zone: str) -> str:
    """A time as DRMS writes it: hyphens of ISO dates would mean a range; a date without a zone gets the key's."""
    text = text.strip()
    if found := _DATE.fullmatch(text):
        clock = f"_{found[4]}" if found[4] else ""
        text = f"{found[1]}.{found[2]}.{found[3]}{clock}"
    text = re.sub(r"(?<=\d)Z$", "_UTC", text).replace(" ", "_")
    return text if not text[:1].isdigit() or _ZONED.search(text) else f"{text}_{zone}"


def _span(text: str) -> Span | None:
    found = _SPAN.fullmatch(text)
    return None if found is None else Span(**{k: v or "" for k, v in found.groupdict().items()})


def _check(made: RecordSet) -> None:
    """Raise BadRequest if a filled-in text breaks out of its brackets."""
    try:
        sets = parse_query(str(made)).sets
    except MirrorError as problem:
        raise BadRequest(f"these fields do not form a record set: {problem}") from problem
    if sets != (made,):
        raise BadRequest(f"these fields form another record set: {made}; expected no brackets")
