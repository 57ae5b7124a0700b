"""The kinds of prime keys except strings: how each writes its values, and which terms they give.

Rule for editors: one class for each kind, a ``terms.KeyReader``. Quirks of the server are named where they
are imitated.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mirror.drms.recordset import Extreme, FloatRange, IntRange, RecnumRange, Term
from mirror.drms.scanner import Scanner, single
from mirror.drms.series import INTEGER_TYPES
from mirror.drms.slots import SlotAxis
from mirror.drms.terms import Written
from mirror.drms.times import MISSING_TIME, scan_time
from mirror.errors import Refused

_TIME = "a time such as 2014.01.01_00:00:00_TAI or 2014-01-01T00:00:00Z"
_MAX_TIME = 255  # characters; the server looks at no more
_MAX_GRID = 10_000  # ranges into which the steps on an unslotted key may fall
_MISSING_INTEGERS = {"char": -128, "short": -(1 << 15), "int": -(1 << 31), "longlong": -(1 << 63)}


# ---- how values are written ------------------------------------------------------------------------------


def _number(scanner: Scanner, type_: str) -> float:
    """A value of a numeric DRMS type; integers come as ints."""
    if scanner.missing_word():
        return _MISSING_INTEGERS.get(type_, math.nan)
    if type_ in INTEGER_TYPES:
        return scanner.integer(type_, f"a value of type {type_}")
    start = scanner.position
    value = scanner.float_(f"a value of type {type_}")
    if type_ != "float":
        return value
    if math.isinf(single(value)) and not math.isinf(value):
        scanner.fail("a value of type float", "a number out of range", at=start)
    return single(value)


def _start_time(scanner: Scanner) -> float:
    """A time, read as far as it goes; if what follows is invalid, up to the first "-" instead.

    The server first reads a range's ``-2014`` as a zone, and tries this when that fails. In
    ``2014-01-01T00:00:00-2014-...`` it does not fail, and takes the zone.
    """
    text = scanner.ahead(_MAX_TIME)
    scan = scan_time(text)
    used = scan.consumed if scan else 0
    used += len(text[used:]) - len(text[used:].lstrip(" "))
    dash = scanner.text.find("-", scanner.position) - scanner.position
    if text[used : used + 1] not in ("", "-", "/") and dash >= 0:
        scan = scan_time(text[:dash])
        used = scan.consumed if scan else 0
    if scan is None:
        scanner.fail(_TIME, f"{text[:30]!r} is not a time")
    scanner.position += used
    return scan.seconds


def _end_time(scanner: Scanner) -> float:
    if scanner.missing_word():
        return MISSING_TIME
    scan = scan_time(scanner.ahead(_MAX_TIME))
    if scan is None:
        scanner.fail(_TIME)
    scanner.position += scan.consumed
    return scan.seconds


def _numbers(range_: RecnumRange) -> tuple[int | None, int | None]:
    """The ends of a range that is not ``#^`` or ``#$``."""
    first, last = range_.first, range_.last
    return (first if isinstance(first, int) else None, last if isinstance(last, int) else None)


# ---- slotted keys ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SlottedKey:
    """A slotted key by its own name: values snap to slots."""

    axis: SlotAxis

    def start(self, scanner: Scanner) -> float:
        """A value, or a duration after the epoch (``[7670d]``)."""
        axis = self.axis
        if axis.type not in INTEGER_TYPES and scanner.at_duration():
            value = axis.epoch + scanner.duration(axis.written_step)
            return single(value) if axis.type == "float" else value
        return _start_time(scanner) if axis.timed else _number(scanner, axis.type)

    def end(self, scanner: Scanner) -> float:
        """A value."""
        return _end_time(scanner) if self.axis.timed else _number(scanner, self.axis.type)

    def length(self, scanner: Scanner) -> float:
        """A duration; for other keys than times also a plain number, and ``3u`` for three slots."""
        axis = self.axis
        if axis.timed or (axis.scope == "slot" and scanner.at_duration()):
            return scanner.duration(axis.written_step)
        return _number(scanner, axis.type)

    def step(self, scanner: Scanner) -> float:
        """A duration, as slots from one record to the next. Plain numbers are an error at the server too."""
        axis = self.axis
        if not axis.timed and not (axis.scope == "slot" and scanner.at_duration()):
            scanner.fail("no step here" if axis.scope == "carr" else "a step in slots, such as @2u")
        return axis.stride(scanner.duration(axis.written_step))

    def terms(self, values: Sequence[Written | Extreme]) -> Iterator[Term]:
        """Ranges of slots. After a leading ``^`` or ``$`` the server does not snap the other values to slots."""
        as_range = self._unsnapped if isinstance(values[0], Extreme) else self._snapped
        return (value if isinstance(value, Extreme) else as_range(value) for value in values)

    def numbered(self, range_: RecnumRange) -> Term:
        """The slots themselves."""
        return IntRange(*_numbers(range_), range_.step)

    def _snapped(self, value: Written) -> IntRange:
        first = last = self.axis.slot(value.start)
        if value.end is not None:
            last = self.axis.slot(value.end)
        elif value.length is not None:
            last = first + self.axis.count(value.length) - 1
        return IntRange(first, last, 1 if value.step is None else int(value.step))

    def _unsnapped(self, value: Written) -> IntRange:
        """The slots given by the bits of the values, taken as 64-bit integers."""
        first = last = self._bits(value.start)
        if value.end is not None:
            last = self._bits(value.end)
        elif value.length is not None:
            last = first + self._bits(value.length) - 1
            if last >= (1 << 63) - 1:
                raise Refused("a range with a length after '^' or '$' is not served; name it before them")
        return IntRange(first, last, 1 if value.step is None else int(value.step))

    def _bits(self, value: float) -> int:
        if self.axis.type in INTEGER_TYPES:
            return int(value)
        packed = (
            struct.pack("<f", value) + bytes(4) if self.axis.type == "float" else struct.pack("<d", value)
        )
        return int(struct.unpack("<q", packed)[0])


# ---- integers, and the slots of a slotted key that is named X_index ----------------------------------------


@dataclass(frozen=True, slots=True)
class IntegerKey:
    """A key of an integer type."""

    type: str

    def start(self, scanner: Scanner) -> float:
        """An integer; ``1.0`` is not one."""
        return _number(scanner, self.type)

    end = length = step = start

    def terms(self, values: Sequence[Written | Extreme]) -> Iterator[Term]:
        """Ranges of integers; ``a/n`` is n of them from a on."""
        return (value if isinstance(value, Extreme) else self._range(value) for value in values)

    def numbered(self, range_: RecnumRange) -> Term:
        """``#5`` is 5."""
        return IntRange(*_numbers(range_), range_.step)

    def _range(self, value: Written) -> IntRange:
        first = last = int(value.start)
        if value.end is not None:
            last = int(value.end)
        elif value.length is not None:
            last = first + int(value.length) - 1
        return IntRange(first, last, 1 if value.step is None else abs(int(value.step)))


# ---- floats and times without slots ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FloatKey:
    """An unslotted key of type float, double or time."""

    type: str

    def start(self, scanner: Scanner) -> float:
        """A number or a time."""
        return self._finite(scanner, _start_time if self.type == "time" else None)

    def end(self, scanner: Scanner) -> float:
        """A number or a time."""
        return self._finite(scanner, _end_time if self.type == "time" else None)

    def length(self, scanner: Scanner) -> float:
        """A number, or for times a duration."""
        return self._finite(scanner, _seconds if self.type == "time" else None)

    def step(self, scanner: Scanner) -> float:
        """A number, or for times a duration; not 0."""
        start = scanner.position
        step = self.length(scanner)
        if not float(f"{step:g}"):
            scanner.fail("a step above 0", "a step of 0", at=start)
        return step

    def terms(self, values: Sequence[Written | Extreme]) -> Iterator[Term]:
        """Ranges of values; a step makes many short ones."""
        left = _MAX_GRID
        for value in values:
            if isinstance(value, Extreme):
                yield value
            elif value.step is None:
                yield self._range(value)
            else:
                parts = _grid(self._range(value), value.step, left)
                left -= len(parts)
                yield from parts

    def numbered(self, range_: RecnumRange) -> Term:
        """``#5`` is the value 5."""
        if range_.step != 1:
            raise Refused("a step between numbers (#) of a key that has no slots is not served")
        return FloatRange(*_numbers(range_))

    def _finite(self, scanner: Scanner, read: Callable[[Scanner], float] | None) -> float:
        """A value with the digits that the server writes into its SQL."""
        start = scanner.position
        value = read(scanner) if read else _number(scanner, self.type)
        if not math.isfinite(value):
            scanner.fail(
                "a finite number", f"{scanner.text[start : scanner.position]} cannot be compared", at=start
            )
        return float(format(value, {"time": ".6f", "float": ".9g"}.get(self.type, ".17g")))

    def _range(self, value: Written) -> FloatRange:
        if value.length is not None:
            return FloatRange(value.start, value.start + value.length, open_end=True)
        return FloatRange(value.start, value.start if value.end is None else value.end)


def _seconds(scanner: Scanner) -> float:
    return scanner.duration(1.0)


def _grid(span: FloatRange, step: float, most: int) -> list[FloatRange]:
    """The parts of ``span`` near multiples of ``step`` from its start; if there are none, one without values.

    Refused if there may be more than ``most``.

    The server calculates with six digits of both, and counts 2e-11 times the start, in steps, as near.
    """
    first, last = span.first or 0.0, span.last or 0.0
    origin, width = float(f"{first:g}"), abs(float(f"{step:g}"))
    near = float(f"{2e-11 * first:g}") * width
    low, high = math.ceil((first - origin - near) / width), math.floor((last - origin + near) / width)
    if high - low > most:
        raise Refused(
            f"{high - low + _MAX_GRID - most} steps of a key that has no slots are not served; at most {_MAX_GRID} are"
        )
    middles = [origin + n * width for n in range(low, high + 1)] if near > 0 else []
    parts = [part for part in (_around(span, middle, near) for middle in middles) if part is not None]
    return parts or [FloatRange(first, first, open_end=True)]


def _around(span: FloatRange, middle: float, near: float) -> FloatRange | None:
    """The part of ``span`` less than ``near`` from ``middle``, or None."""
    low, high = math.nextafter(middle - near, math.inf), math.nextafter(middle + near, -math.inf)
    first, last = max(low, span.first or 0.0), min(high, span.last or 0.0)
    return FloatRange(first, last, span.open_end and last == span.last) if first <= last else None
