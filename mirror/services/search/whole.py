"""Answers of JSOC's programs that only JSOC can give, kept whole: flags change values and layout.

They are kept under the canonical form of their question, checked by the same rules as the data that they are about, and
served however old while JSOC is away. Errors and the like are not kept.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mirror.coverage.claims import whole
from mirror.coverage.conditions import answer_boxes, answer_key, is_volatile
from mirror.coverage.plan import extreme_position
from mirror.errors import MirrorError
from mirror.readthrough.policy import CacheDemand
from mirror.readthrough.records import CacheStatus
from mirror.storage.index.answers import LARGEST_BODY, AnswerKind, NewAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mirror.coverage.coverage import Box
    from mirror.drms.series import Series
    from mirror.readthrough.policy import Rules
    from mirror.services.search.search import Search
    from mirror.storage.index.index import Index

#: Parameters that do not change an answer.
_IDLE = frozenset({"userhandle"})
#: How the programs that print text begin an error.
_ERRORS = (b"###", b"error", b"Error", b"ERROR", b"status=", b"show_info:", b"show_info -", b"<")
_JSON = frozenset({"jsoc_info"})
#: Seconds for which a question is not sent again while another asks it: its reader may be slow.
LONGEST_WAIT = 20.0


@dataclass(frozen=True, slots=True)
class WholeQuestion:
    """A question to a program: the series that it is about, its canonical form, and what it needs of the series."""

    series: Series
    program: str
    key: str
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer as JSOC gave it, how it came about now, and when it was given (Unix seconds)."""

    body: bytes
    origin: CacheStatus
    checked_at: float | None


class WholeAnswers:
    """Keeps and finds them."""

    def __init__(self, search: Search, index: Index, rules: Rules) -> None:
        self._search = search
        self._index = index
        self._rules = rules
        self._under_way: dict[tuple[str, CacheDemand], asyncio.Event] = {}

    async def question(
        self, program: str, params: Mapping[str, str], demand: CacheDemand
    ) -> WholeQuestion | None:
        """The question of these parameters; None if it is about no known series."""
        answer = CacheDemand.ONLY_IF_CACHED if demand is CacheDemand.ONLY_IF_CACHED else CacheDemand.DEFAULT
        ds = params.get("ds", "")
        try:
            selections = await self._search.selections(ds, answer)
        except MirrorError:
            return None
        if not selections:
            return None
        series = selections[0].series
        sets = ", ".join(f"{s.series.name.lower()} {answer_key(s)} {s.source.segments}" for s in selections)
        rest = {name: value for name, value in params.items() if name not in _IDLE | {"ds"}}
        single = len(selections) == 1 and extreme_position(selections[0]) is None
        boxes = answer_boxes(selections[0]) if single else (whole(series),)
        return WholeQuestion(series, program, f"{program} {sets} {json.dumps(rest, sort_keys=True)}", boxes)

    async def find(
        self, question: WholeQuestion, demand: CacheDemand, *, any_age: bool = False
    ) -> WholeAnswer | None:
        """The kept answer; None if there is none, or (unless ``any_age``) it is due."""
        kept = self._index.answers.find(question.series.name, AnswerKind.BODY, question.key)
        if kept is None or not kept.holds(question.boxes):
            return None
        freshness = self._rules.freshness(question.series, demand)
        fresh = kept.is_fresh(question.boxes, freshness) and not is_volatile(question.key)
        if not fresh and not any_age:
            return None
        body = await self._index.body(kept)
        origin = CacheStatus.LOCAL if fresh else CacheStatus.STALE
        return None if body is None else WholeAnswer(body, origin, kept.checked_at(question.boxes))

    async def awaited(self, question: WholeQuestion, demand: CacheDemand) -> WholeAnswer | None:
        """The answer of the same question under way; None if there is none, or it is not kept."""
        under_way = self._under_way.get((question.key, demand))
        if under_way is None:
            return None
        with suppress(TimeoutError):
            await asyncio.wait_for(under_way.wait(), LONGEST_WAIT)
        return await self.find(question, demand)

    @contextmanager
    def asking(self, question: WholeQuestion, demand: CacheDemand) -> Iterator[None]:
        """While this is open, others with the same question wait for its answer, as long as it may be a short one."""
        key, answered = (question.key, demand), asyncio.Event()
        first = self._under_way.setdefault(key, answered) is answered
        try:
            yield
        finally:
            answered.set()
            if first:
                del self._under_way[key]

    def may_be_stale(self, demand: CacheDemand) -> bool:
        """True if an answer that is due may be given when JSOC does not answer, or is not asked."""
        return self._rules.stale_on_failure or not self._rules.asks(demand)

    async def keep(self, question: WholeQuestion, body: bytes, encoding: str, asked_at: float) -> None:
        """Keep an answer of JSOC's, unless it is an error; ``encoding`` is the body's Content-Encoding."""
        plain = _plain(body, encoding.strip().lower())
        if plain is not None and _is_answer(plain, question.program):
            answer = NewAnswer(AnswerKind.BODY, question.key, question.boxes, body=plain)
            await self._index.keep_answer(question.series, answer, asked_at)


def _plain(body: bytes, encoding: str) -> bytes | None:
    """The body without its compression; None if that is unknown, or the body would be too large."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return None
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = unpacker.decompress(body, LARGEST_BODY + 1)
    except zlib.error:
        return None
    return plain if unpacker.eof and len(plain) <= LARGEST_BODY else None


def _is_answer(body: bytes, program: str) -> bool:
    if program not in _JSON:
        return bool(body.strip()) and not body.lstrip().startswith(_ERRORS)
    try:
        answer = json.loads(body.decode("latin-1"))
    except ValueError:
        return False
    return isinstance(answer, dict) and str(answer.get("status")) == "0"
