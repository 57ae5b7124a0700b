"""A subscription as it is filled in, held against its series: what config.toml alone cannot tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mirror.drms.errors import BadRequest, MirrorError, SyntaxProblem, UnknownName, UnknownSeries, WrongFields
from mirror.drms.recordset import Bracket, RecordSet, Where
from mirror.drms.selection import bind
from mirror.services.subscribing import wrong_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mirror.drms.series import Series
    from mirror.services.configwatch import ConfigWatch
    from mirror.services.querycheck import QueryCheck


class StandingCheck:
    """Looks at wishes before they are written down, and has the mirror follow what was."""

    def __init__(self, queries: QueryCheck, watch: ConfigWatch) -> None:
        self._queries = queries
        self._watch = watch

    async def check(self, wish: Mapping[str, Any]) -> None:
        """WrongFields for what cannot be read, and for a series, prime key, segment or keyword that there is not."""
        wrong = {**await self._against_series(wish), **wrong_keys(wish)}
        if wrong:
            raise WrongFields(wrong, wish)

    async def _against_series(self, wish: Mapping[str, Any]) -> dict[str, str]:
        if not wish.get("series"):
            return {}
        try:
            return dict(_wrong(await self._queries.structure(str(wish["series"])), wish))
        except UnknownSeries:
            near = await self._queries.near(str(wish["series"]))
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            return {"series": f"there is no such series{hint}"}
        except MirrorError:
            return {}  # shows as the subscription's problem, once JSOC is back

    async def apply(self) -> None:
        """Let what was just written hold at once."""
        await self._watch.reload()


def _wrong(series: Series, wish: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in wish.get("segments", ()):
        if str(name).upper() != "ALL" and series.segment(str(name)) is None:
            known = ", ".join(s.name for s in series.segments) or "none"
            yield "segments", f"{series.name} has no segment {name!r}; expected some of {known}, or ALL"
    for key, value in (wish.get("keys") or {}).items():
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        if problem := _problem(RecordSet(series.name, (Bracket(text, key),)), series):
            yield "keys", problem
    condition = wish.get("where")
    if condition and (problem := _problem(RecordSet(series.name, (Where(str(condition)),)), series)):
        yield "where", problem


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
