"""Histories of a small archive that changes: whatever the mirror answers, JSOC could have answered lately.

The conditions are of a column that the mirror does not hold, so that JSOC alone can evaluate them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.config.sections import Fill, FreshnessRule
from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import Steps
from mirror.drms.parser import parse_query
from mirror.drms.recordset import IntRange, KeyFilter, RecnumFilter, Text, WhereFilter
from mirror.drms.selection import bind
from mirror.errors import MirrorError, UpstreamUnreachable
from mirror.readthrough.filler import Filler
from mirror.readthrough.first_last import FirstLast
from mirror.readthrough.policy import CacheDemand, Rules
from mirror.readthrough.records import CacheStatus, Records
from mirror.storage.index.affected import affected_by_recnums, delete_records
from mirror.storage.index.index import Index
from mirror.wire.rs_list import RsList
from tests.emptystore import open_empty
from tests.storage.archive import SERIES, Record, answer, newest

AGE = 1000.0
#: Conditions, and what they come to in this archive.
CONDITIONS = {
    "sg_000_file = 'a'": lambda r: r.recnum % 3 != 0,
    "sg_000_file LIKE 'c%'": lambda r: (r.recnum + r.k) % 4 != 0,
    "recnum > 0 AND sg_000_file = ''": lambda r: r.k < 3,
}


def canonical(expr):
    return " ".join(str(expr).split()).lower()


TRUTHS = {text.lower(): truth for text, truth in CONDITIONS.items()}


def chosen(record, bound):
    if isinstance(bound, WhereFilter):
        text = canonical(bound.expr)
        return text == "1 = 1" or TRUTHS[text](record)
    if isinstance(bound, RecnumFilter):
        return any(r.first <= record.recnum <= r.last for r in bound.ranges)
    assert isinstance(bound, KeyFilter)
    value = {"K": record.k, "W": record.w, "NAME": record.name}[bound.key]
    return any(_meets(term, value) for term in bound.terms)


def _meets(term, value):
    if isinstance(term, Text):
        return term.value == value
    assert isinstance(term, IntRange)
    return (term.first is None or term.first <= value) and (term.last is None or value <= term.last)


def picked(records, ds):
    """The records of a query, in the server's order."""
    selection = bind(parse_query(ds).sets[0], SERIES)
    eligible = records if selection.all_versions else newest(records)
    found = [r for r in eligible if all(chosen(r, f) for f in selection.filters)]
    return sorted(found, key=lambda r: (r.key, r.recnum))


@dataclass
class Archive:
    """JSOC, as far as the engine asks it."""

    records: list[Record] = field(default_factory=list)
    asked: int = 0
    away: bool = False

    async def rs_list(self, request, priority=None):
        del priority
        found = self._found(request.ds)
        if request.n:
            found = found[: request.n] if request.n > 0 else found[request.n :]
        if request.keys == ("*recnum*",) and found:
            return RsList(len(found), keywords=[("*recnum*", [r.recnum for r in found])])
        return answer(found)

    async def rs_summary(self, ds, priority=None):
        del priority
        return len(self._found(ds))

    async def series_struct(self, ds):
        del ds
        return SERIES

    def _found(self, ds):
        self.asked += 1
        if self.away:
            raise UpstreamUnreachable("away")
        return picked(self.records, ds)


@dataclass
class World:
    """An archive, a mirror of it, and the states that the archive had since all that is held became due."""

    path: Path
    archive: Archive = field(default_factory=Archive)
    seconds: float = 1_000_000.0
    states: list[list[Record]] = field(default_factory=list)
    ever: list[list[Record]] = field(default_factory=list)

    async def start(self):
        self.database = open_empty(self.path)
        self.index = await Index.load(self.database)
        if self.index.series(SERIES.name) is None:
            await self.index.keep_series(SERIES, 0.0)
        rules = Rules(
            "fallback", lambda _: FreshnessRule("*", AGE, None, AGE), lambda: datetime.fromtimestamp(self.seconds, UTC)
        )
        fill = Fill()
        filler = Filler(self.index, self.archive, rules, fill)
        first_last = FirstLast(self.index, self.archive, rules)
        self.reader = Records(self.index, self.archive, filler, first_last, rules, fill)

    async def restart(self):
        self.database.close()
        await self.start()

    def now_is(self, records):
        self.archive.records = records
        self.states.append(records)
        self.ever.append(records)

    def put(self, k, w, value):
        number = max((r.recnum for r in self.archive.records), default=0) + 1
        self.now_is([*self.archive.records, Record(number, k, w, "a", value)])

    def later(self):
        self.seconds += 2 * AGE
        self.states = [self.archive.records]

    async def ask(self, ds, n):
        """Ask; what comes must be what JSOC said lately, place by place; asked again, it costs nothing."""
        selection = bind(parse_query(ds).sets[0], SERIES)
        try:
            read = await self.reader.read(selection, n)
        except MirrorError:
            assert self.archive.away
            return
        numbers = [row.recnum for row in read.rows]
        states = self.ever if read.origin is CacheStatus.STALE or self.archive.away else self.states
        if n:
            whole = [[r.recnum for r in picked(state, ds)] for state in states]
            cut = [numbers_[:n] if n > 0 else numbers_[n:] for numbers_ in whole]
            assert len(states) > 1 or numbers in cut, (ds, n, numbers, cut, read.origin)
        else:
            self._judge(ds, numbers, states, read.origin)
        if self.archive.away:
            return
        asked = self.archive.asked
        again = await self.reader.read(selection, n)
        assert [row.recnum for row in again.rows] == numbers, (ds, n)
        assert self.archive.asked == asked, (ds, n, read.origin, "asked again")

    def _judge(self, ds, numbers, states, origin):
        known = {r.recnum: r for state in self.ever for r in state}
        places = {r.key for r in known.values()}
        said = [picked(state, ds) for state in states]
        for place in places:
            mine = [n for n in numbers if known[n].key == place]
            theirs = [[r.recnum for r in found if r.key == place] for found in said]
            assert mine in theirs, (ds, place, mine, theirs, origin)
        assert [known[n].key for n in numbers] == sorted(known[n].key for n in numbers)

    async def count(self, ds):
        selection = bind(parse_query(ds).sets[0], SERIES)
        try:
            found = await self.reader.count(selection)
        except MirrorError:
            assert self.archive.away
            return
        states = self.ever if found.origin is CacheStatus.STALE or self.archive.away else self.states
        totals = [len(picked(state, ds)) for state in states]
        assert len(states) > 1 or found.total in totals, (ds, found, totals)
        if not self.archive.away:
            asked = self.archive.asked
            assert (await self.reader.count(selection)).total == found.total
            assert self.archive.asked == asked, (ds, found)

    async def refresh(self, span):
        """Have plain records checked: the mirror comes to know what was replaced there."""
        ds = f"lab.Small[{span}][]"
        try:
            read = await self.reader.read(bind(parse_query(ds).sets[0], SERIES), None, CacheDemand.REVALIDATE)
        except MirrorError:
            assert self.archive.away
            return
        if read.origin is not CacheStatus.STALE:
            assert [row.recnum for row in read.rows] == [r.recnum for r in picked(self.archive.records, ds)]

    async def replaced(self, ds, k, w):
        """A record that a question was about gets a newer version, and the mirror learns of it by another question."""
        await self.ask(ds, None)
        self.put(k, w, "1.5")
        await self.refresh("")
        await self.ask(ds, None)

    async def forget(self, first, last):
        layout = self.index.layout(SERIES)
        if not self.index.has_records(SERIES):
            return
        gone = await self.index.recnums(SERIES, f"k BETWEEN {first} AND {last}", all_versions=True)
        places = await self.database.read(lambda cursor: affected_by_recnums(cursor, layout, gone))
        box = Box(Region((None, None)), (Steps(first, last),))
        await self.index.drop(
            SERIES,
            lambda coverage: type(places)((*places.boxes, box)).uncover(coverage),
            lambda cursor: delete_records(cursor, layout, gone),
        )

    async def check(self):
        assert await self.index.drop_broken_answers(SERIES) == 0


KS = st.sampled_from([0, 1, 2, 4])
SPANS = st.sampled_from(["", "", "0-2", "1", "2-4"])
WIDTHS = st.sampled_from(["", "", "", "0", "0-1"])
TEXTS = st.sampled_from(sorted(CONDITIONS))
WHERE = st.one_of(
    TEXTS.map(lambda c: f"[? {c} ?]"),
    TEXTS.map(lambda c: f"[? {c} ?]"),
    TEXTS.map(lambda c: f"[?{c.replace(' = ', '=')}  ?]"),
    TEXTS.map(lambda c: f"[! {c} !]"),
    st.tuples(TEXTS, TEXTS).map(lambda c: f"[? {c[0]} ?][? {c[1]} ?]"),
    st.just(""),
)
QUERIES = st.builds(lambda k, w, where: f"lab.Small[{k}][{w}]{where}", SPANS, WIDTHS, WHERE)
LIMITS = st.sampled_from([None, None, None, None, 1, 2, -2, 50])
ASKED = st.one_of(
    st.tuples(st.just("ask"), QUERIES, LIMITS),
    st.tuples(st.just("ask"), QUERIES, LIMITS),
    st.tuples(st.just("count"), QUERIES),
    st.tuples(st.just("refresh"), SPANS),
)
REPLACED = st.tuples(st.just("replaced"), QUERIES, st.sampled_from([1, 0, 2, 4]), st.integers(0, 1))
CHANGED = st.one_of(
    st.tuples(st.just("put"), KS, st.integers(0, 1), st.sampled_from(["1.5", "2.5"])),
    st.tuples(st.just("put"), st.integers(0, 5), st.just(0), st.just("1.5")),
    st.tuples(st.just("later")),
    st.tuples(st.just("away"), QUERIES),
    st.tuples(st.just("forget"), KS, KS),
    st.tuples(st.just("restart")),
)
KINDS = st.sampled_from([ASKED, REPLACED, CHANGED, ASKED, CHANGED, ASKED])
STEPS = KINDS.flatmap(lambda kind: kind)


async def lived(history, path):
    world = World(path)
    for k in (0, 1, 2, 4):
        for w in (0, 1):
            world.put(k, w, "1.5")
    world.states = world.states[-1:]
    world.ever = world.ever[-1:]
    await world.start()
    try:
        for step, *details in history:
            match step:
                case "ask":
                    await world.ask(*details)
                case "count":
                    await world.count(*details)
                case "put":
                    world.put(*details)
                case "refresh":
                    await world.refresh(*details)
                case "replaced":
                    await world.replaced(*details)
                case "later":
                    world.later()
                case "away":
                    world.archive.away = True
                    await world.ask(*details, None)
                    world.archive.away = False
                case "forget":
                    await world.forget(min(details), max(details))
                case "restart":
                    await world.restart()
            await world.check()
    finally:
        world.database.close()


@settings(max_examples=15)
@given(st.lists(STEPS, min_size=5, max_size=16))
def test_every_answer_is_one_that_jsoc_gave_lately(tmp_path_factory, history):
    with TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder:
        asyncio.run(lived(history, Path(folder)))


