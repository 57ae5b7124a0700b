"""Pictures of record sets and coverage, drawn of what the parser, the slots and the intervals themselves say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from docs.ext.axes import Axis, row
from docs.ext.diagrams import diagrams
from docs.ext.drawing import BLACK, BLUE, GREY, LIGHT, MARGIN, ORANGE, WIDTH, rect, svg, text
from mirror.coverage.intervals import SpanMap

_DAY, _MINUTES = (
    "A day of hmi.M_720s: a slot every 12 minutes",
    "Six minutes of hmi.V_45s: a slot every 45 seconds",
)


@dataclass(frozen=True)
class Row:
    """A record set, drawn as one line of slots; ``note`` says in words what it picks."""

    query: str
    note: str
    moment: str | None = None  #: a time that snaps to its slot, marked on the axis


def pictures() -> dict[str, str]:
    """The text of each picture, by its name."""
    return {
        "recordset-day": _strips(_day(), _DAY_ROWS, 15, _DAY),
        "recordset-slots": _strips(row("hmi.V_45s", "2014.01.01_TAI", 9), _SLOT_ROWS, 1, _MINUTES),
        "recordset-keys": _grids(),
        "coverage": _coverage(),
        **diagrams(),
    }


def _day() -> Axis:
    return row("hmi.M_720s", "2014.01.01_TAI", 121)


_DAY_ROWS = (
    Row("hmi.M_720s[2014.01.01_TAI/1d]", "a day: its start belongs to it, its end does not"),
    Row("hmi.M_720s[2014.01.01_TAI/1d@6h]", "of this day one each six hours, from its first"),
    Row("hmi.M_720s[2014.01.01_06:00_TAI-2014.01.01_12:00_TAI]", "from one time to another, both included"),
    Row("hmi.M_720s[2014.01.01_03:00_TAI,2014.01.01_15:00_TAI/3h]", "a list: one record, and three hours"),
)
_SLOT_ROWS = (
    Row("hmi.V_45s[2014.01.01_00:01_TAI]", "the slot nearest to the time", "2014.01.01_00:01_TAI"),
    Row(
        "hmi.V_45s[2014.01.01_00:01:10_TAI]",
        "ten seconds later another one is nearer",
        "2014.01.01_00:01:10_TAI",
    ),
    Row("hmi.V_45s[2014.01.01_00:01_TAI/3m]", "three minutes from the nearest slot", "2014.01.01_00:01_TAI"),
    Row("hmi.V_45s[2014.01.01_TAI/6m@90s]", "every second slot"),
    Row("hmi.V_45s[2014.01.01_TAI/6m@50s]", "50 s is nearer to one slot than to two: every slot"),
)


# ---- one line of slots for each record set ---------------------------------------------------------------


def _strips(axis: Axis, rows: Iterable[Row], tick: int, title: str) -> str:
    scale = (WIDTH - 2 * MARGIN) / len(axis.slots)
    parts, y = [], 50.0
    for each in rows:
        parts += _strip(axis, each, y, scale)
        y += 72
    parts += _scale(axis, tick, y - 14, scale)
    told = "; ".join(f"{r.query}: {_note(axis, r)}" for r in rows)
    return svg(title, told, int(y + 6), parts)


def _strip(axis: Axis, each: Row, y: float, scale: float) -> Iterator[str]:
    yield text(MARGIN, y, each.query, mono=True)
    yield text(MARGIN, y + 16, _note(axis, each), size=12)
    yield from _slots(axis, axis.picked(each.query), y + 26, scale)
    if each.moment is not None:
        x = MARGIN + (axis.place(each.moment) + 0.5) * scale
        yield f"<path d='M{x:.1f} {y + 28:.1f} l-5 -9 h10 z' fill='{ORANGE}'/>"


def _note(axis: Axis, each: Row) -> str:
    return f"{each.note}: {_count(len(axis.picked(each.query)))}"


def _slots(axis: Axis, picked: set[int], y: float, scale: float, colour: str = BLUE) -> Iterator[str]:
    gap = 1.0 if scale < 20 else 4.0
    for number, slot in enumerate(axis.slots):
        fill = colour if slot in picked else LIGHT
        yield rect(MARGIN + number * scale + gap / 2, y, scale - gap, 18, fill=fill)


def _scale(axis: Axis, tick: int, y: float, scale: float) -> Iterator[str]:
    for number in range(0, len(axis.slots), tick):
        x = MARGIN + (number + 0.5) * scale
        yield f"<line x1='{x:.1f}' y1='{y - 8:.1f}' x2='{x:.1f}' y2='{y - 2:.1f}' stroke='{BLACK}'/>"
        yield text(x, y + 12, axis.clock(axis.slots[number]), size=11, anchor="middle")


def _count(slots: int) -> str:
    return f"{slots} slot{'s' if slots != 1 else ''}"


# ---- two prime keys --------------------------------------------------------------------------------------

_GRIDS = (
    ("aia.lev1_euv_12s[2014.01.01_TAI/1m][171]", "a minute in one wavelength"),
    ("aia.lev1_euv_12s[2014.01.01_TAI/1m][171,193]", "in two of them"),
    ("aia.lev1_euv_12s[2014.01.01_TAI/1m@24s]", "in all, at every second time"),
)
_WAVES = (94, 131, 171, 193, 211, 304, 335)
_CELL = 38


def _grids() -> str:
    axis = row("aia.lev1_euv_12s", "2014.01.01_TAI", 5)
    width = (WIDTH - 2 * MARGIN) / len(_GRIDS)
    parts = [
        part
        for n, (query, note) in enumerate(_GRIDS)
        for part in _grid(axis, query, note, MARGIN + n * width)
    ]
    title = "A minute of aia.lev1_euv_12s, whose prime keys are T_REC and WAVELNTH"
    return svg(title, "; ".join(f"{q}: {n}" for q, n in _GRIDS), 236, parts)


def _grid(axis: Axis, query: str, note: str, x: float) -> Iterator[str]:
    picked = axis.cells(query, _WAVES)
    yield text(x, 46, query, size=9.5, mono=True)
    yield text(x, 62, f"{note}: {len(picked)} records", size=12)
    for line, wave in enumerate(_WAVES):
        yield text(x + 26, 84 + line * 20, str(wave), size=11, anchor="end")
        for column, slot in enumerate(axis.slots):
            fill = BLUE if (slot, wave) in picked else LIGHT
            yield rect(x + 32 + column * _CELL, 71 + line * 20, _CELL - 4, 16, fill=fill)
    for column, slot in enumerate(axis.slots):
        yield text(x + 30 + (column + 0.5) * _CELL, 224, axis.clock(slot)[3:], size=10, anchor="middle")


# ---- what is held, what is missing -----------------------------------------------------------------------


def _coverage() -> str:
    """A search over a day of which two parts are held: what JSOC is asked for."""
    axis, held = _day(), SpanMap()
    for query in ("hmi.M_720s[2014.01.01_02:00_TAI/7h]", "hmi.M_720s[2014.01.01_15:00_TAI/4h]"):
        held.add(min(axis.picked(query)), max(axis.picked(query)), 0.0)
    asked = axis.picked("hmi.M_720s[2014.01.01_TAI/1d]")
    missing = {n for lo, hi in held.gaps(min(asked), max(asked)) for n in range(lo, hi + 1)}
    lines = (
        ("What is held, and known to be complete", asked - missing, BLUE),
        ("A search: hmi.M_720s[2014.01.01_TAI/1d]", asked, GREY),
        (
            f"What JSOC is asked for: {len(missing)} of {len(asked)} records, once, whoever waits for them",
            missing,
            ORANGE,
        ),
    )
    scale, parts, y = (WIDTH - 2 * MARGIN) / len(axis.slots), [], 50.0
    for note, slots, colour in lines:
        parts += [text(MARGIN, y, note), *_slots(axis, slots, y + 8, scale, colour)]
        y += 50
    parts += _scale(axis, 15, y - 12, scale)
    return svg(
        "A search of which a part is held", "; ".join(note for note, _, _ in lines), int(y + 10), parts
    )
