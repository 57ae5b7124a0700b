"""What commands print: tables in three forms, progress, remarks and estimates, and the options for them.

Data go to stdout, everything else to stderr: the progress of a long task as one line that changes, how an answer came
about, and what a command would fetch from JSOC, before it begins (``--dry-run`` prints only that, to stdout).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPMessage
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

import click
import msgspec

from mirror.api.contract import UNSET, Asked, Endpoint, plain
from mirror.api.fills import ESTIMATE, Estimate, EstimateQuery
from mirror.cli.support.daemon import Daemon
from mirror.humanize import counted, in_words

if TYPE_CHECKING:
    from mirror.api.transfer import Progress

Form = Literal["table", "json", "csv"]
F = TypeVar("F", bound=Callable[..., Any])
Q = TypeVar("Q", bound=Asked)
A = TypeVar("A")

#: The key under which --wide and --pager are kept for the table.
_TABLE = "mirror.table"


class Table(NamedTuple):
    """Rows of plain values below names; every row has as many values as there are names."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def form_options(command: F) -> F:
    """``--json`` and ``--csv``; the function gets ``form``."""
    as_csv = one_of("--csv", "form", "csv", "table", help="Print CSV with a header line.")
    as_json = one_of("--json", "form", "json", "table", help="Print JSON.")
    as_table = one_of("--table", "form", "table", "table", hidden=True)
    return as_table(as_json(as_csv(table_options(command))))


def one_of(flag: str, name: str, value: str, default: str | None = None, **options: Any) -> Callable[[F], F]:
    """A flag that gives the function's ``name`` this value; of several for one name only one may be given.

    click takes the last one, and says nothing about the others.
    """

    def choose(context: click.Context, option: click.Parameter, given: bool) -> None:
        if not given:
            context.params.setdefault(name, default)
            return
        before = context.meta.setdefault(f"mirror.one_of.{name}", (flag, value))
        if before[1] != value:
            raise click.UsageError(f"{flag} cannot be combined with {before[0]}", context)
        context.params[name] = value

    return click.option(flag, f"{name}_{value.replace('-', '_')}", is_flag=True, expose_value=False, callback=choose, **options)


def limit_option(command: F) -> F:
    """``-n``, how many of the records; the function gets ``limit``, None for all."""

    def check(context: click.Context, option: click.Parameter, count: int | None) -> int | None:
        if count == 0:
            raise click.BadParameter("expected how many records, such as 10 for the first ten, or -10 for the last ten.", context, option)
        return count

    words = "Only the first N records; the last N if negative."
    return click.option("-n", "limit", type=int, callback=check, help=words)(command)


def table_options(command: F) -> F:
    """``--wide`` and ``--pager``, which ``show`` applies to tables."""

    def note(context: click.Context, option: click.Parameter, wanted: bool) -> None:
        if wanted:
            context.meta.setdefault(_TABLE, set()).add(option.name)

    wide = click.option("--wide", is_flag=True, expose_value=False, callback=note, help="Do not cut the table to the screen.")
    pager = click.option("--pager", is_flag=True, expose_value=False, callback=note, help="Show the whole table in a pager.")
    return wide(pager(command))


def json_option(command: F) -> F:
    """``--json`` for commands whose other output is not a table; the function gets ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def table_of(payload: Any) -> Table:
    """An answer of the mirror as a table.

    {"columns", "rows"} already is one; a list of objects has a row for each, and a column for every member that
    any has; any other object has a row per member, with nested members as ``outer.inner``.
    """
    if isinstance(payload, Mapping) and {"columns", "rows"} <= payload.keys():
        return Table(payload["columns"], payload["rows"])
    if isinstance(payload, Mapping):
        return Table(("name", "value"), list(_flat(payload)))
    items = [item if isinstance(item, Mapping) else {"name": item} for item in payload]
    columns = list(dict.fromkeys(name for item in items for name in item))
    return Table(columns, [[item.get(name) for name in columns] for item in items])


def show(payload: Any, form: Form) -> None:
    """Prints an answer: as JSON unchanged, otherwise in the form of ``table_of``."""
    payload = plain(payload)
    if form == "json":
        import json  # noqa: PLC0415  (as all that only some answers need)

        click.echo(json.dumps(payload, indent=2, ensure_ascii=False))
    elif form == "csv":
        _show_csv(table_of(payload))
    else:
        _show_table(table_of(payload), whole=isinstance(payload, Mapping) and "columns" not in payload)


def remark(text: str) -> None:
    """Prints a line about the data to stderr, so that it never ends up in a file of data."""
    click.echo(readable(text), err=True)


def readable(text: str) -> str:
    """A text without characters that a terminal obeys, such as names of records may have; its lines stay."""
    return "\n".join(map(_one_line, text.split("\n")))


def _show_csv(table: Table) -> None:
    import csv  # noqa: PLC0415

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([[_plain(value) for value in row] for row in table.rows])


def _show_table(table: Table, *, whole: bool) -> None:
    """Prints a table; in a terminal as much of it as fits, unless ``whole`` or an option asks for everything."""
    if not table.columns:  # nothing was found; the caller says so in words
        return
    options = _table_options()
    terminal = sys.stdout.isatty()
    room = None if whole or options or not terminal else _terminal_width()
    texts = [[_plain(row[n]) for row in table.rows] for n in range(len(table.columns))]
    columns = [
        Column(name, values, bool(values) and all(map(_is_number, values)))
        for name, values in zip(table.columns, texts, strict=True)
    ]
    shown = drawn(columns, room)
    text = "\n".join(shown.lines)
    if terminal and "pager" in options:
        os.environ.setdefault("LESS", "-SFRX")  # lines are not folded, and a short table is just printed
        click.echo_via_pager(text)
    else:
        click.echo(text)
    if shown.hidden:
        remark(f"{counted(shown.hidden, 'more column')}; use --wide or --pager to see all")


def _table_options() -> frozenset[str]:
    context = click.get_current_context(silent=True)
    return frozenset() if context is None else frozenset(context.meta.get(_TABLE, ()))


def _terminal_width() -> int:
    import shutil  # noqa: PLC0415

    return shutil.get_terminal_size().columns


def _flat(members: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    lines: list[tuple[str, Any]] = []
    for name, value in members.items():
        nested = isinstance(value, Mapping) and bool(value)
        lines += _flat(value, f"{prefix}{name}.") if nested else [(prefix + name, value)]
    return lines


def _plain(value: Any) -> str:
    """As text: nothing for None, lists with commas."""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_plain, value))
    return msgspec.json.encode(value).decode() if isinstance(value, (bool, Mapping)) else str(value)


def _is_number(text: str) -> bool:
    """True for what is right-aligned in a column: numbers, and words for missing ones."""
    try:
        float(text)
    except ValueError:
        return text in ("MISSING", "")
    return True


def size_option(name: str, **options: Any) -> Callable[[F], F]:
    """An option such as ``--need 20GB``; the function gets bytes, or None."""
    return click.option(name, metavar="SIZE", callback=_bytes, **options)


def _bytes(_context: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    from mirror.config.readers import size  # noqa: PLC0415  (it knows all that a configuration may say)

    try:
        return None if text is None else size(text)
    except ValueError as problem:
        raise click.BadParameter(f"{text!r}; expected {problem}") from problem


def watched(daemon: Daemon, endpoint: Endpoint[Q, A], asked: Q, steps: Mapping[str, str], **names: str) -> A:
    """The result of a long task; ``steps`` gives the words for each of its steps."""
    from mirror.api.transfer import Progress  # noqa: PLC0415

    with _line() as say:
        return daemon.follow(endpoint, asked, Progress, lambda word: say(in_a_line(word, steps)), **names)


def in_a_line(word: Progress, steps: Mapping[str, str]) -> str:
    """A task's progress for people: "copying files: 20 of 300, 1.2 GB"."""
    figures = [] if word.total is UNSET or word.done is UNSET else [f"{word.done:,} of {word.total:,}"]
    figures += [in_words(word.bytes)] if word.bytes else []
    figures += [] if word.series is UNSET else [word.series]
    figures += [] if word.records is UNSET else [counted(word.records, "record")]
    figures += word.spans or []
    return f"{steps.get(word.step, word.step)}{': ' if figures else ''}{', '.join(figures)}"


@contextmanager
def _line() -> Iterator[Any]:
    from rich.console import Console  # noqa: PLC0415  (as above)

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _text: None
        return
    with console.status("") as status:
        yield status.update


_PLANS = {
    "local": "from the cache",
    "filled": "missing records were fetched from JSOC and cached",
    "forwarded": "passed on to JSOC",
    "stale": "from the cache, not checked with JSOC; may be out of date",
}


def origin_in_words(plan: str, age: int | None) -> str:
    """How an answer came about; ``age`` is the seconds since the last check of a stale one."""
    checked = "" if age is None else f" (last checked {span_in_words(age)} ago)"
    return f"{_PLANS.get(plan, plan)}{checked}"


def warn_if_stale(headers: HTTPMessage) -> None:
    """Print to stderr that records should have been checked with JSOC, which could not be asked."""
    if headers.get("X-Mirror", "") == "stale":
        age = headers.get("Age", "")
        remark(f"records: {origin_in_words('stale', int(age) if age.isdigit() else None)}")


def span_in_words(seconds: int) -> str:
    """A length of time, such as "40 minutes" or "3 days"."""
    for length, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * length:
            return counted(seconds // length, noun)
    return counted(seconds, "second")


def dry_run_option(command: F) -> F:
    """``--dry-run``; the function gets ``dry_run``."""
    words = "Show how many records and files are missing, their size and the time to fetch them."
    return click.option("--dry-run", is_flag=True, help=words)(command)


def estimate_of_export(daemon: Daemon, ds: str, seg: str | None, n: int | None) -> Estimate:
    """The estimate of the files of a record set; raises as ``Daemon.ask`` does."""
    return daemon.ask(ESTIMATE, EstimateQuery(ds=ds, seg=seg or "", n=n, export=True))


def announce_estimate(estimate: Callable[[], Estimate]) -> None:
    """Print to stderr what is about to be fetched from JSOC, if anything.

    If there is no estimate the command continues, and reports itself what is wrong with the request.
    """
    try:
        answer = estimate()
    except click.ClickException:
        return
    if answer.records != 0 or answer.files != 0:
        _notes(answer)
        remark(answer.text)


def show_estimate(answer: Estimate, *, as_json: bool) -> None:
    """The output of a dry run: its line on stdout, notes on stderr; or all of it as JSON."""
    if as_json:
        show(answer, "json")
        return
    _notes(answer)
    click.echo(answer.text)


def _notes(answer: Estimate) -> None:
    for note in answer.notes:
        remark(f"note: {note}")


# ---- tables --------------------------------------------------------------------------------------
# A table for people, as lines of text that fit a terminal.
#
# A search may have thousands of rows of a hundred columns, so each value is converted to text once, and measured only if
# it is not plain ASCII. If the table does not fit, wide columns are cut, then whole columns left out, and the caller can
# say so.

#: Between two columns, and before the first.
GAP, EDGE = "   ", " "
#: A column is not cut to fewer characters than this to make room for another.
NARROW = 24
CUT = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, and the text of each row; numbers are right-aligned."""

    name: str
    values: Sequence[str]
    numeric: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """Lines of text, and how many columns there was no room for."""

    lines: list[str]
    hidden: int


def drawn(columns: Sequence[Column], room: int | None) -> Drawn:
    """The columns side by side in ``room`` characters; all of each where that is None."""
    texts = [[_one_line(text) for text in (c.name, *c.values)] for c in columns]
    widths = [max(map(_width, column)) for column in texts]
    shown = fitted(widths, room)
    cells = [
        [_padded(text, width, right=column.numeric) for text in column_texts]
        for column, column_texts, width in zip(columns, texts, shown, strict=False)
    ]
    rule = EDGE + "─" * (sum(shown) + len(GAP) * (len(shown) - 1))
    head, *rows = ((EDGE + GAP.join(row)).rstrip() for row in zip(*cells, strict=True))
    return Drawn([head, rule, *rows], len(columns) - len(shown))


def fitted(widths: Sequence[int], room: int | None) -> list[int]:
    """The widths of the first columns that fit into ``room``, at least one; wide ones are cut first."""
    if room is None:
        return list(widths)
    kept, taken = 0, len(EDGE) - len(GAP)
    for width in widths:
        taken += len(GAP) + min(width, NARROW)
        if taken > room and kept:
            break
        kept += 1
    return _levelled(widths[:kept], max(room - len(EDGE) - len(GAP) * (kept - 1), kept))


def _levelled(widths: Sequence[int], free: int) -> list[int]:
    """The widths, the widest cut to one level, so that together they are at most ``free``."""
    low, high = 1, max(widths)
    while low < high:  # the highest level that fits
        level = (low + high + 1) // 2
        low, high = (level, high) if sum(min(w, level) for w in widths) <= free else (low, level - 1)
    left = free - sum(min(w, low) for w in widths)
    shown = []
    for width in widths:
        more = int(width > low and left > 0)
        shown.append(min(width, low) + more)
        left -= more
    return shown


def _one_line(text: str) -> str:
    """A text without line ends and terminal control characters."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415  (few values need it)

    return cell_len(text)


def _padded(text: str, width: int, *, right: bool) -> str:
    if text.isascii():
        cut = text if len(text) <= width else text[: width - 1] + CUT
        return cut.rjust(width) if right else cut.ljust(width)
    from rich.cells import set_cell_size  # noqa: PLC0415  (the same)

    length = _width(text)
    if length > width:
        return set_cell_size(text, width - 1) + CUT
    return " " * (width - length) + text if right else text + " " * (width - length)
