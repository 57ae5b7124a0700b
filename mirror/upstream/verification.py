"""Checks whether an answer of rs_list belongs to its question. Pure.

A confused gateway or cache gives the answer to another question: another day, series, wavelength or HARP, half
of a range, or the same record twice. ``Question.check`` finds what the answer itself shows, and refuses it whole.
Omissions do not show, unless the answer fills all that was asked for: ``Question.unproven`` says whether to compare
its length with rs_summary. If both say that there is nothing, one record near the span is requested, and if there is
none the last of the series (``Question.neighbours``).

Rules:
1. Every record has a number from 1 to 2**63 - 1, none twice; within one set no prime keys come twice either, unless
   all versions were asked for.
2. Every record's name begins with the series; every prime key that came is within what was asked, and can be read.
3. At most ``n`` records come. A condition ``[? ?]`` is not decided here.
4. Printed times and floats are rounded: they lie in a range if the value that they stand for may.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from mirror.coverage.axis import Kind, coverage_axis
from mirror.coverage.intervals import Steps
from mirror.coverage.plan import RECNUMS, Forward, box_query, need
from mirror.drms.parser import parse_query
from mirror.drms.recordset import (
    Bracket,
    Extreme,
    FloatRange,
    IntRange,
    KeyFilter,
    RecnumFilter,
    RecordSet,
    Selection,
    Text,
    Where,
    WhereFilter,
)
from mirror.drms.selection import bind, prime_columns
from mirror.drms.series import FLOAT_TYPES, INTEGER_TYPES
from mirror.drms.slots import slot_axis
from mirror.drms.timecolumn import parse_printed_times
from mirror.drms.times import time_text_resolution
from mirror.errors import MirrorError, SyntaxProblem, UpstreamBroken
from mirror.wire.info import RsListRequest
from mirror.wire.text import from_wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from mirror.drms.recordset import Term
    from mirror.drms.series import Keyword, PrimeKey, Series
    from mirror.drms.slots import SlotAxis
    from mirror.wire.rs_list import RsList

    Mask = npt.NDArray[np.bool_]
    Columns = Mapping[str, Sequence[str | int]]

_BRACKET = re.compile(r"\[([^\]]*)\]")
RECNUM, SPEC = "*recnum*", "*spec*"
#: Record numbers have 64 bits.
MOST_RECNUM = 2**63 - 1
_MISSING = "MISSING"
#: How far from an empty span a record is looked for, at least: axis values, or milliseconds.
_NEAR, _DAY = 2000, 86_400_000
_BITS = {"char": 8, "short": 16, "int": 32, "longlong": 64}
#: The condition of a set that asks for all versions of its records.
_ANY = "1=1"
#: Relative errors of printed floats: %g has six digits.
_FLOAT_DIGITS = 1e-5
#: Seconds by which the question for a time may reach beyond it.
_MARGIN = 0.002
_LONGEST_QUERY = 200
#: Several times JSOC's largest answer, and as much as another mirror gives.
MOST_RECORDS = 250_000
#: Bytes per value, averaged over a record: long values are few. The other two bound the allowed size of answers.
_BYTES_PER_VALUE = 100
_LEAST_BYTES, _MOST_BYTES = 4 << 20, 256 << 20


@dataclass(frozen=True)
class Question:
    """A request of rs_list, bound to its series; ``selection`` is None if that is impossible.

    Then, for several sets, only the record numbers are checked; for an unknown series nothing is.
    """

    request: RsListRequest
    selection: Selection | None = None
    sets: int = 1

    @classmethod
    def of(cls, request: RsListRequest, structure: Callable[[str], Series | None]) -> Question:
        """The question of a request; ``structure`` gives the structure of a known series."""
        try:
            query = parse_query(request.ds)
            series = structure(query.sets[0].series)
            if len(query.sets) > 1 or series is None:
                return cls(request, None, len(query.sets))
            return cls(request, bind(query.sets[0], series))
        except MirrorError:  # JSOC may understand it all the same
            return cls(request, None, 2)

    # ---- what came -------------------------------------------------------------------------------

    def check(self, answer: RsList) -> None:
        """Raise UpstreamBroken, with what was asked and what came, if a record does not belong to the answer."""
        if not answer.count or (self.selection is None and self.sets == 1):
            return
        n = self.request.n
        if self.sets == 1 and n and answer.count > abs(n):
            self._refuse(f"{answer.count} records; at most {abs(n)} were asked for")
        columns = {name.lower(): values for name, values in answer.keywords or ()}
        if RECNUM in columns:
            self._check_numbers(columns[RECNUM])
        if self.selection is None:
            return
        self._check_names(answer, self.selection.series)
        for bound in self.selection.filters:
            self._check_filter(bound, columns)
        for prime in self.selection.series.primekeys:
            self._check_readable(prime, columns)
        self._check_doubles(columns)

    def _check_numbers(self, numbers: Sequence[str | int]) -> None:
        if set(map(type, numbers)) != {int}:
            self._refuse(f"the record number {str(numbers[0])[:40]!r}; numbers are whole and without quotes")
        lowest, highest = min(numbers), max(numbers)
        for number in (lowest, highest):
            if not 1 <= int(number) <= MOST_RECNUM:
                self._refuse(f"the record number {str(number)[:40]}; expected 1 to {MOST_RECNUM}")
        if self.sets == 1 and len(set(numbers)) < len(numbers):
            self._refuse("a record twice")

    def _check_names(self, answer: RsList, series: Series) -> None:
        """Check that names begin with the series; without prime keys they may begin with the bracket."""
        names = [name for name, _ in answer.recinfo or ()]
        names += [str(name) for column, values in answer.keywords or () if column == SPEC for name in values]
        if not names:
            return
        own = names[0].partition("[")[0]
        if own.lower() != series.name.lower() and (own or series.primekeys):
            self._refuse(f"the record {from_wire(names[0])[:80]}")
        odd = next((name for name in names if not name.startswith(own + "[")), None)
        if odd is not None:
            self._refuse(f"the record {from_wire(odd)[:80]}")

    def _check_filter(self, bound: object, columns: Columns) -> None:
        assert self.selection is not None
        if isinstance(bound, RecnumFilter) and RECNUM in columns:
            numbers = np.array(columns[RECNUM], dtype=np.int64)
            ranges = [IntRange(_number(r.first), _number(r.last), max(r.step, 1)) for r in bound.ranges]
            if any(isinstance(end, str) for r in bound.ranges for end in (r.first, r.last)):
                return
            self._insist(_within(numbers, ranges), RECNUM, columns)
        elif isinstance(bound, KeyFilter) and not any(isinstance(t, Extreme) for t in bound.terms):
            found = _Values.of(self.selection.series, bound, columns)
            if found is not None:
                self._insist(found.within(bound.terms), found.name, columns)

    def _check_readable(self, prime: PrimeKey, columns: Columns) -> None:
        """Check that values of a prime key have its type, and lie in the slots that came with them if it is slotted."""
        assert self.selection is not None
        series, name = self.selection.series, prime.name.lower()
        axis = slot_axis(series, prime.name) if prime.slotted else None
        index = columns.get(f"{name}_index")
        slots = None
        if axis is not None and index is not None:
            slots = _integers([str(text) for text in index], "longlong")
            if slots is None:
                self._refuse(f"a value of {axis.index} that is no integer of 64 bits")
        keyword = series.keyword(prime.name)
        if keyword is None or name not in columns or keyword.type == "string":
            return
        texts = [str(text) for text in columns[name]]
        values = _floats(texts, keyword.type)
        if values is None:
            odd = next((text for text in texts if _floats([text], keyword.type) is None), "")
            self._refuse(f"{prime.name} = {odd[:60]!r}, which is no {keyword.type}")
        if axis is not None and slots is not None:
            self._insist(_in_slots(axis, values, slots, texts), prime.name, columns)

    def _check_doubles(self, columns: Columns) -> None:
        """Check that no two newest versions have the same name, if printed values distinguish names."""
        assert self.selection is not None
        selection = self.selection
        keys = [name.lower() for name in prime_columns(selection.series)]
        exact = all(p.slotted or _is_exact(selection.series.keyword(p.name)) for p in selection.series.primekeys)
        if not keys or not exact or selection.all_versions or not all(name in columns for name in keys):
            return
        names = set(zip(*(columns[name] for name in keys), strict=True))
        if len(names) < len(columns[keys[0]]):
            self._refuse("a record of the same prime keys twice")

    def _insist(self, right: Mask, name: str, columns: Columns) -> None:
        if not right.all():
            place = int(np.argmin(right))
            values = columns[name.lower()]
            self._refuse(f"{name} = {str(values[place])[:60]} in record {place + 1} of {len(values)}")

    def _refuse(self, came: str) -> NoReturn:
        raise UpstreamBroken(f"the answer belongs to another question: {self._asked} was asked for, and {came} came")

    @property
    def _asked(self) -> str:
        ds = self.request.ds
        return ds if len(ds) <= _LONGEST_QUERY else ds[:_LONGEST_QUERY] + "..."

    # ---- what may be lacking ---------------------------------------------------------------------

    def unproven(self, answer: RsList, per_slot: Mapping[object, int]) -> bool:
        """True if records may be lacking, judging from the question and the answer.

        ``per_slot`` has, by ``unrestricted``, the most records that a place is known to have.
        """
        if self.selection is None or self._is_cut() or self._conditions():
            return False
        if self.request.n and answer.count >= abs(self.request.n):  # as many as were asked for
            return False
        places = self.places()
        if places is None:
            return True
        known = 1 if not self.unrestricted[1] else per_slot.get(self.unrestricted)
        return answer.count < places * known if known is not None else not self._is_usual(answer, places)

    def _is_usual(self, answer: RsList, places: int) -> bool:
        """True if each place has a record whose other keys are those of the series' first and last record.

        If the camera is always the same, nothing needs counting; one alone of several wavelengths would be suspicious.
        """
        assert self.selection is not None
        series, columns = self.selection.series, {name.lower(): values for name, values in answer.keywords or ()}
        ends = [_BRACKET.findall(r) for r in (series.extent.first_record, series.extent.last_record)]
        if answer.count != places or any(len(values) != len(series.primekeys) for values in ends):
            return False
        for at, prime in enumerate(series.primekeys):
            if prime.name in self.unrestricted[1]:
                found = {str(value).strip() for value in columns.get(prime.name.lower(), ())}
                if found != {values[at].strip() for values in ends}:
                    return False
        return True

    def most_bytes(self) -> int:
        """A size that no answer to this question exceeds, from the possible records and values."""
        request = self.request
        names = len(request.keys or ()) + 5 * len(request.segments or ()) + len(request.links or ())
        places = None if self.unrestricted[1] else self.places()  # any other key may have any number of values
        records = min(places or MOST_RECORDS, MOST_RECORDS, abs(request.n) if request.n else MOST_RECORDS)
        return min(_LEAST_BYTES + records * (names + request.recinfo) * _BYTES_PER_VALUE, _MOST_BYTES)

    def neighbours(self) -> Iterator[RsListRequest]:
        """Requests for one record beside an empty span: shortly before it, shortly after it, and the series' last.

        A server that mixes up answers gives a record that does not belong to one of them, or none. The server may
        scan everything in a range to find its first record, so no range is open.
        """
        if self.selection is None or (axis := coverage_axis(self.selection.series)) is None:
            return
        series, boxes = self.selection.series, need(self.selection)
        if isinstance(boxes, Forward) or not boxes or boxes[0].region == RECNUMS:
            return
        keys = (*identifying(series), SPEC)
        box = boxes[0]
        first, last = min(s.lo for s in box.steps), max(s.hi for s in box.steps)
        if box.bounded:
            reach = max(last - first, _DAY if axis.kind is Kind.MILLISECONDS else _NEAR)
            for n, steps in ((-1, Steps(first - reach, last)), (1, Steps(first, last + reach))):
                yield RsListRequest(str(box_query(series, replace(box, steps=(steps,)))), keys=keys, n=n)
        if series.extent.first_record:
            yield RsListRequest(str(RecordSet(series.name, (Bracket("$", axis.key),))), keys=keys, n=1)

    def check_neighbour(self, answer: RsList) -> None:
        """Raise UpstreamBroken if the record beside an empty span lies in it, as far as printed values show."""
        axis = None if self.selection is None else coverage_axis(self.selection.series)
        if axis is None or axis.kind is Kind.MILLISECONDS:
            return
        try:
            self.check(answer)
        except UpstreamBroken:
            return
        raise UpstreamBroken(f"incomplete answer: {self._asked} was asked for, and nothing but one of them later came")

    @property
    def has_neighbours(self) -> bool:
        """True if the series has records according to its structure, so that one is beside every empty span."""
        return self.selection is not None and bool(self.selection.series.extent.first_record)

    def most(self, answer_count: int) -> int:
        """How many records an answer must have if rs_summary counts ``answer_count``."""
        n = self.request.n
        return min(answer_count, abs(n)) if n else answer_count

    @property
    def unrestricted(self) -> tuple[str, tuple[str, ...]]:
        """The series, and its prime keys that may have any value."""
        if self.selection is None:
            return "", ()
        keys = {f.key for f in self.selection.filters if isinstance(f, KeyFilter)}
        by_number = any(isinstance(f, RecnumFilter) for f in self.selection.filters)
        names = () if by_number else tuple(p.name for p in self.selection.series.primekeys if p.name not in keys)
        return self.selection.series.name.lower(), names

    def places(self) -> int | None:
        """How many names the restricted prime keys, or record numbers, can make; None if unknown."""
        if self.selection is None:
            return None
        if any(isinstance(f, WhereFilter) for f in self.selection.filters):
            return None
        numbers = [f for f in self.selection.filters if isinstance(f, RecnumFilter)]
        if numbers:
            return _count(
                IntRange(_number(r.first), _number(r.last), max(r.step, 1)) for f in numbers for r in f.ranges
            )
        places = 1
        for bound in self.selection.filters:
            count = _count(bound.terms) if isinstance(bound, KeyFilter) else None
            if count is None:
                return None
            places *= count
        return places if self.selection.filters else None

    def density(self, answer: RsList) -> int | None:
        """The most records at one place in a complete answer; None if that cannot be known."""
        if self.selection is None or not answer.count or not self.unrestricted[1] or not self.places():
            return None
        columns = {name.lower(): values for name, values in answer.keywords or ()}
        keys = [f.column.lower() for f in self.selection.filters if isinstance(f, KeyFilter)]
        if not keys or not all(name in columns for name in keys):
            return None
        return max(Counter(zip(*(columns[name] for name in keys), strict=True)).values())

    def _is_cut(self) -> bool:
        """True for questions that ask only for some of the records, as with ``n``, or with ``^`` and ``$`` for one."""
        assert self.selection is not None
        return any(isinstance(t, Extreme) for f in self.selection.filters if isinstance(f, KeyFilter) for t in f.terms)

    def _conditions(self) -> bool:
        assert self.selection is not None
        return any(isinstance(f, Where) and f.text != _ANY for f in self.selection.source.filters)


def identifying(series: Series) -> tuple[str, ...]:
    """The keywords that identify a record: its prime keys, and the slots of slotted ones."""
    names = (*prime_columns(series), *(p.name for p in series.primekeys))
    return tuple(dict.fromkeys(name for name in names if series.keyword(name) is not None))


def _is_exact(keyword: Keyword | None) -> bool:
    """True if printed values of a keyword distinguish the stored ones."""
    return keyword is not None and keyword.type not in FLOAT_TYPES | {"time"}


# ---- values -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Values:
    """The values of a prime key that came: integers, numbers with their errors, or texts."""

    name: str
    integers: npt.NDArray[np.int64] | None = None
    floats: npt.NDArray[np.float64] | None = None
    errors: npt.NDArray[np.float64] | None = None
    texts: Sequence[str] = ()

    @classmethod
    def of(cls, series: Series, bound: KeyFilter, columns: Columns) -> _Values | None:
        """None if the column did not come; UpstreamBroken if a value cannot be read."""
        name = bound.column.lower()
        if name not in columns:
            return None
        texts = [str(text) for text in columns[name]]
        keyword = series.keyword(bound.column)
        kind = "longlong" if keyword is None else keyword.type
        if kind == "string":
            return cls(bound.column, texts=[_text(text) for text in texts])
        if kind in INTEGER_TYPES:
            integers = _integers(texts, kind)
            if integers is None:
                raise UpstreamBroken(f"a value of {bound.column} is no {kind}")
            return cls(bound.column, integers=integers)
        floats = _floats(texts, kind)
        if floats is None:
            raise UpstreamBroken(f"a value of {bound.column} is no {kind}")
        return cls(bound.column, floats=floats, errors=_errors(texts, floats, kind))

    def within(self, terms: Sequence[Term]) -> Mask:
        """Which values lie in one of the terms."""
        if self.integers is not None:
            return _within(self.integers, [t for t in terms if isinstance(t, IntRange)])
        if self.floats is not None and self.errors is not None:
            return _near(self.floats, self.errors, [t for t in terms if isinstance(t, FloatRange)])
        wanted = {t.value.rstrip() for t in terms if isinstance(t, Text)}
        return np.array([text in wanted for text in self.texts], dtype=np.bool_)


def _within(values: npt.NDArray[np.int64], terms: Iterable[IntRange]) -> Mask:
    right = np.zeros(len(values), dtype=np.bool_)
    for term in terms:
        lo = -MOST_RECNUM - 1 if term.first is None else max(term.first, -MOST_RECNUM - 1)
        hi = MOST_RECNUM if term.last is None else min(term.last, MOST_RECNUM)
        if lo > hi:
            continue
        found = (values >= lo) & (values <= hi)
        if term.step > 1 and term.first is not None:
            found &= (values - lo) % term.step == 0
        right |= found
    return right


def _near(
    values: npt.NDArray[np.float64], errors: npt.NDArray[np.float64], terms: Iterable[FloatRange]
) -> Mask:
    right = np.zeros(len(values), dtype=np.bool_)
    for term in terms:
        lo = -math.inf if term.first is None else term.first
        hi = math.inf if term.last is None else term.last
        unbounded = term.first is None and term.last is None
        right |= (values + errors >= lo) & (values - errors <= hi) | (np.isnan(values) & unbounded)
        if term.last is None or term.first is None:  # at the server a missing value is above all others
            right |= np.isnan(values)
    return right


def _in_slots(
    axis: SlotAxis, values: npt.NDArray[np.float64], slots: npt.NDArray[np.int64], texts: Sequence[str]
) -> Mask:
    """Which values lie within a slot of the one given beside them, or are missing."""
    reach = abs(axis.step) * 1.01 + _errors(texts, values, axis.type)
    starts = axis.epoch + slots.astype(np.float64) * axis.step
    return np.isnan(values) | (np.abs(values - starts) <= reach)


def _integers(texts: Sequence[str], kind: str) -> npt.NDArray[np.int64] | None:
    """Integers of a type, with missing ones as the server stores them; None if a text is no such number."""
    try:
        return np.array(list(map(int, texts)), dtype=np.int64)
    except (ValueError, OverflowError):
        pass
    missing, half = -(1 << (_BITS[kind] - 1)), 1 << (_BITS[kind] - 1)
    try:
        numbers = [missing if text == _MISSING else int(text, 0) if "x" in text.lower() else int(text) for text in texts]
        return np.array([(n + half) % (2 * half) - half if n >= half else n for n in numbers], dtype=np.int64)
    except (ValueError, OverflowError):
        return None


def _floats(texts: Sequence[str], kind: str) -> npt.NDArray[np.float64] | None:
    """Numbers, or times in seconds, with NaN for missing ones; None if a text is neither."""
    if kind == "time":
        times = parse_printed_times(texts)
        if any(t is None and text != _MISSING for t, text in zip(times, texts, strict=True)):
            return None
        return np.array([math.nan if t is None else t for t in times], dtype=np.float64)
    if kind in INTEGER_TYPES:
        integers = _integers(texts, kind)
        return None if integers is None else integers.astype(np.float64)
    try:
        return np.array([math.nan if text == _MISSING else float(text) for text in texts], dtype=np.float64)
    except ValueError:
        return None


def _errors(
    texts: Sequence[str], values: npt.NDArray[np.float64], kind: str
) -> npt.NDArray[np.float64]:
    """How far printed values may be from the stored ones."""
    if kind == "time":
        sample = next((text for text in texts if text != _MISSING), _MISSING)
        try:
            resolution = time_text_resolution(sample)
        except SyntaxProblem:
            resolution = 1.0
        return np.full(len(values), resolution + _MARGIN)
    if kind in INTEGER_TYPES:
        return np.zeros(len(values))
    decimals = min((len(text.partition(".")[2]) for text in texts if "e" not in text.lower()), default=0)
    return np.abs(values) * _FLOAT_DIGITS + 10.0**-decimals


def _text(text: str) -> str:
    """The value of a printed text, without padding; "" for a missing one."""
    return "" if text == _MISSING else from_wire(text).rstrip()


def _count(terms: Iterable[object]) -> int | None:
    """The most values that terms can have; None if unbounded."""
    total = 0
    for term in dict.fromkeys(terms):
        if isinstance(term, Text):
            total += 1
        elif isinstance(term, IntRange) and term.first is not None and term.last is not None:
            total += max(0, (term.last - term.first) // max(term.step, 1) + 1)
        else:
            return None
    return total


def _number(end: object) -> int | None:
    return end if isinstance(end, int) else None
