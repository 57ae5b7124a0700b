"""Tables ``[[subscription]]`` of config.toml: added, changed and removed, by command and on the page.

The file stays the user's: comments, order and layout are kept, and it is replaced as a whole, only after the new one
was checked as a mirror would check it.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.items import AoT

from mirror.config.editing import ConfigFile
from mirror.config.loading import Config, Subscription
from mirror.config.readers import Misread, duration
from mirror.config.schedule import parse_moment
from mirror.coverage.axis import coverage_axis
from mirror.drms.recordset import Bracket, RecordSet, Where
from mirror.drms.selection import bind
from mirror.drms.where import bind_where, may_hold, parse_where, where_columns
from mirror.errors import (
    BadRequest,
    ConfigError,
    MirrorError,
    SyntaxProblem,
    UnknownName,
    UnknownSeries,
    UpstreamRefused,
    WrongFields,
)
from mirror.humanize import duration as in_words
from mirror.services.search.names import unknown_segment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from mirror.config.schedule import Moment
    from mirror.config.watching import ConfigWatcher
    from mirror.drms.series import Series
    from mirror.services.search.validation import QueryCheck

TABLE = "subscription"


class Subscribing:
    """Edits the subscriptions of one file; ``environ`` is what overrides it. Calls may block for a moment."""

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        self._file = ConfigFile(file, environ)

    def tables(self) -> dict[str, dict[str, Any]]:
        """The file's table of each subscription, by its name, as plain values."""
        document, config = self._file.read()
        tables = document.unwrap().get(TABLE, [])
        return {s.identity: dict(table) for s, table in zip(config.subscription, tables, strict=True)}

    def add(self, subscription: Mapping[str, Any]) -> Subscription:
        """Append a table, under a free name if it has none; WrongFields if it is wrong."""
        document, before = self._file.read()
        names = {s.identity.lower() for s in before.subscription}
        subscription = (
            {"name": _free(subscription["series"], names), **subscription}
            if "series" in subscription and "name" not in subscription
            else subscription
        )
        _check(subscription)
        _check_free(subscription, names)
        tables = document.get(TABLE)
        if not isinstance(tables, AoT):
            tables = tomlkit.aot()
            document.add(TABLE, tables)
        tables.append(_table(subscription))
        tables[-1].trivia.indent = "\n"  # a blank line before it
        return self._file.write(document).subscription[-1]

    def change(self, name: str, subscription: Mapping[str, Any]) -> Subscription:
        """Replace the table of the subscription ``name`` by exactly this; keys that stay keep their comments."""
        document, before = self._file.read()
        place = self._place(before, name)
        others = {s.identity.lower() for n, s in enumerate(before.subscription) if n != place}
        _check(subscription)
        _check_free(subscription, others)
        table = _tables(document)[place]
        for key in [key for key in table if key not in subscription]:
            del table[key]
        for key, value in subscription.items():
            if key not in table or table[key] != value:
                table[key] = _inline(value) if isinstance(value, dict) else value
        return self._file.write(document).subscription[place]

    def remove(self, name: str) -> None:
        """Remove the table; UnknownName if there is none of that name."""
        document, before = self._file.read()
        place = self._place(before, name)
        tables = _tables(document)
        del tables[place]
        if not len(tables):
            del document[TABLE]
        self._file.write(document)

    def _place(self, config: Config, name: str) -> int:
        for place, subscription in enumerate(config.subscription):
            if subscription.identity.lower() == name.lower():
                return place
        known = ", ".join(s.identity for s in config.subscription)
        hint = f"expected one of: {known}" if known else "it has none"
        raise UnknownName(f"{self._file.path} has no subscription {name!r}; {hint}")


def subscription_of(subscription: Mapping[str, Any]) -> Subscription:
    """The subscription of such a table; WrongFields if it is wrong."""
    _check(subscription)
    known = {f.name: f.metadata["read"] for f in fields(Subscription)}
    return Subscription(**{name: known[name](value) for name, value in subscription.items()})


def _check(subscription: Mapping[str, Any]) -> None:
    if wrong := wrong_keys(subscription):
        raise WrongFields(wrong, subscription)


def wrong_keys(subscription: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the keys of a [[subscription]], each by itself."""
    known = {f.name: f for f in fields(Subscription)}
    wrong = {name: "is not a key of a subscription" for name in subscription if name not in known}
    for name, field in known.items():
        if name not in subscription:
            if field.default is field.default_factory:  # neither is given
                wrong[name] = "is missing"
            continue
        try:
            field.metadata["read"](subscription[name])
        except Misread as problem:
            wrong[name] = f"expected {problem}\n{problem.marked}"
        except ValueError as problem:
            wrong[name] = f"expected {problem}"
    if not wrong and {"start", "end"} <= subscription.keys() and _ends_before(*map(parse_moment, (subscription["start"], subscription["end"]))):
        wrong["end"] = f"expected a time after its start, {subscription['start']}"
    return wrong


def _ends_before(start: Moment, end: Moment) -> bool:
    """True for a window that is empty at any time."""
    if start.time is None or end.time is None:
        return start.time is end.time and end.before >= start.before
    return end.time < start.time


def _check_free(subscription: Mapping[str, Any], names: set[str]) -> None:
    if str(subscription.get("name", "")).lower() in names:
        raise WrongFields({"name": "this name is taken; expected another"}, subscription)


def _tables(document: tomlkit.TOMLDocument) -> AoT:
    tables = document[TABLE]
    if not isinstance(tables, AoT):
        raise ConfigError(
            "the subscriptions stand in one line; expected each under a heading [[subscription]]"
        )
    return tables


def _table(subscription: Mapping[str, Any]) -> Any:
    table = tomlkit.table()
    for key, value in subscription.items():
        table.add(key, _inline(value) if isinstance(value, dict) else value)
    return table


def _inline(values: dict[str, Any]) -> Any:
    table = tomlkit.inline_table()
    table.update(values)
    return table


def _free(series: str, names: set[str]) -> str:
    """The series' name, numbered if it is taken."""
    numbered = (series if n == 1 else f"{series}-{n}" for n in range(1, len(names) + 2))
    return next(name for name in numbered if name.lower() not in names)


class SubscriptionValidation:
    """Checks subscriptions before they are written, and makes the mirror use them afterwards.

    ``count`` asks JSOC how many records a record set has.
    """

    def __init__(self, queries: QueryCheck, watch: ConfigWatcher, count: Callable[[str], Awaitable[int]]) -> None:
        self._queries = queries
        self._watch = watch
        self._count = count

    async def check(self, subscription: Mapping[str, Any]) -> None:
        """WrongFields for what cannot be read, and for a series, prime key, segment or keyword that does not exist."""
        wrong = {**await self._against_series(subscription), **wrong_keys(subscription)}
        if wrong:
            raise WrongFields(wrong, subscription)

    async def _against_series(self, subscription: Mapping[str, Any]) -> dict[str, str]:
        if not subscription.get("series"):
            return {}
        try:
            series = await self._queries.structure(str(subscription["series"]))
        except UnknownSeries:
            near = await self._queries.near(str(subscription["series"]))
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            return {"series": f"no such series{hint}"}
        except MirrorError:
            return {}  # shows as the subscription's problem, once JSOC is back
        wrong = dict(_wrong(series, subscription))
        if "where" not in wrong and isinstance(condition := subscription.get("where"), str) and condition.strip():
            wrong |= await self._refusal(series, condition)
        return wrong

    async def _refusal(self, series: Series, condition: str) -> dict[str, str]:
        """What JSOC says against a condition that the mirror cannot read or evaluate; it is asked about one record."""
        if may_hold(bind_where(parse_where(condition), columns := where_columns(series)), columns):
            return {}
        try:
            await self._count(str(RecordSet(series.name, (Bracket(":#1"), Where(condition)))))
        except UpstreamRefused as problem:
            return {"where": f"JSOC refuses it: {problem.message.partition(chr(10))[0]}"}
        except (MirrorError, TimeoutError):
            pass  # as for the structure
        return {}

    async def apply(self) -> None:
        """Put what was just written into force at once."""
        await self._watch.reload()


def _wrong(series: Series, subscription: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in subscription.get("segments", ()):
        if str(name).upper() != "ALL" and series.segment(str(name)) is None:
            yield "segments", str(unknown_segment(series, str(name)))
    for key, value in (subscription.get("keys") or {}).items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        if problem := _problem(RecordSet(series.name, (Bracket(text, key),)), series):
            yield "keys", problem
    if problem := _short_step(series, subscription.get("step", "all")):
        yield "step", problem
    condition = subscription.get("where")
    if condition and (problem := _problem(RecordSet(series.name, (Where(str(condition)),)), series)):
        yield "where", problem


def _short_step(series: Series, step: Any) -> str:
    """What is wrong with a step that comes to no slot; as in a record set, it is an error."""
    axis = coverage_axis(series)
    try:
        seconds = duration(step)
    except ValueError:
        return ""  # "all", or what is wrong by itself
    if axis is None or axis.slots is None or axis.slots.stride(seconds) >= 1:
        return ""
    return f'expected at least half of the {in_words(axis.slots.step)} between the records of {series.name}, or "all"'


def _problem(record_set: RecordSet, series: Series) -> str:
    try:
        bind(record_set, series)
    except SyntaxProblem as problem:
        return f"{problem.message}; expected {problem.expected}\n{problem.marked()}"
    except UnknownName as problem:
        return str(problem)
    except BadRequest as problem:
        return str(problem)
    return ""
