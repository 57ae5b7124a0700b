"""Answers that are given again from memory: never one that a process would not give that has just been started."""

from __future__ import annotations

import asyncio
import re
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock
from urllib.parse import urlencode

from aiohttp.test_utils import make_mocked_request
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mirror.config.sections import Fill, FreshnessRule
from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import Steps
from mirror.errors import MirrorError
from mirror.readthrough.filler import Filler
from mirror.readthrough.first_last import FirstLast
from mirror.readthrough.policy import Rules
from mirror.readthrough.records import Records
from mirror.readthrough.structures import Catalogue
from mirror.server.jsoc.programs import Programs
from mirror.server.jsoc.remembered import Answer, Answers
from mirror.server.requests import Chain
from mirror.services.search.search import Search
from mirror.storage.index import blocks
from mirror.storage.index.affected import affected_by_recnums, delete_records
from mirror.storage.index.block_file import BlockFile
from mirror.storage.index.index import Index
from mirror.upstream.transport import Route
from tests.emptystore import open_empty
from tests.readthrough.test_answers_model import AGE, TRUTHS, Archive
from tests.storage.archive import SERIES, Record

_RUNTIME = re.compile(rb'"runtime":[0-9.]+')


def programs(database, index, archive, rules):
    """JSOC's programs on an index, with nothing in memory but the index's own."""
    fill = Fill()
    filler = Filler(index, archive, rules, fill)
    records = Records(index, archive, filler, FirstLast(index, archive, rules), rules, fill)
    search = Search(index, Catalogue(database, index, archive, rules), records)
    return Programs(search, None, None, None, None, Chain(Route("test"), None), rules.timestamp)


class Mirror:
    """An archive, a mirror of it that remembers what it answered, and changes to both."""

    def __init__(self, path):
        self.path = path
        self.archive = Archive()
        self.seconds = 1_000_000.0
        self.given = self.from_memory = 0
        for k in range(6):
            for w in (0, 1):
                self.put(k, w, "1.5")

    async def start(self, policy="fallback"):
        self.database = open_empty(self.path)
        self.index = await Index.load(self.database)
        if self.index.series(SERIES.name) is None:
            await self.index.keep_series(SERIES, self.seconds)
        self.rules = Rules(
            policy, lambda _: FreshnessRule("*", AGE, None, AGE), lambda: datetime.fromtimestamp(self.seconds, UTC)
        )
        self.programs = programs(self.database, self.index, self.archive, self.rules)

    async def restart(self):
        self.database.close()
        await self.start(self.rules.policy)

    def put(self, k, w, value):
        number = max((r.recnum for r in self.archive.records), default=0) + 1
        self.archive.records = [*self.archive.records, Record(number, k, w, "a", value)]

    async def cut(self):
        """What a mirror does while nobody asks."""
        self.index._ahead._next_look.clear()
        await self.index.cut_ahead(lambda: True)

    async def structure(self, note):
        await self.index.keep_series(replace(SERIES, note=note), self.seconds)

    async def forget(self, first, last):
        if not self.index.has_records(SERIES):
            return
        layout = self.index.layout(SERIES)
        gone = await self.index.recnums(SERIES, f"k BETWEEN {first} AND {last}", all_versions=True)
        places = await self.database.read(lambda cursor: affected_by_recnums(cursor, layout, gone))
        box = Box(Region((None, None)), (Steps(first, last),))
        await self.index.drop(
            SERIES,
            lambda coverage: type(places)((*places.boxes, box)).uncover(coverage),
            lambda cursor: delete_records(cursor, layout, gone),
        )

    async def ask(self, ds, keys, n, demand="", packed=False):
        """Ask; what comes from what is held must be what a mirror says that was started just now, and asks nobody."""
        headers = {"Cache-Control": demand} | ({"Accept-Encoding": "gzip"} if packed else {})
        kept = self.programs._answers.find(query(ds, keys, n))
        try:
            response = await self.programs.jsoc_info(request(ds, keys, n, headers))
        except MirrorError:
            return
        self.given += 1
        self.from_memory += kept is not None and self.programs._answers.find(query(ds, keys, n)) is kept
        if response.headers["X-Mirror"] != "local":
            return
        told, asked = plain(response), self.archive.asked
        index = await Index.load(self.database)
        index._file = BlockFile(None)  # nor has it anything but the index
        fresh = programs(self.database, index, self.archive, self.rules)
        expected = await fresh.jsoc_info(request(ds, keys, n, {"Cache-Control": demand}))
        assert (plain(expected), expected.headers["X-Mirror"]) == (told, "local"), (ds, keys, n, demand)
        assert self.archive.asked == asked, (ds, n, demand, "a new process would have asked")


def query(ds, keys, n):
    return urlencode({"op": "rs_list", "ds": ds, "key": keys, **({} if n is None else {"n": n})})


def request(ds, keys, n, headers):
    return make_mocked_request("GET", f"/cgi-bin/ajax/jsoc_info?{query(ds, keys, n)}", headers=headers)


def plain(response):
    """The body, without how long it took."""
    packed = response.headers.get("Content-Encoding") == "gzip"
    return _RUNTIME.sub(b"", zlib.decompress(response.body, 31) if packed else response.body)


SPANS = st.sampled_from(["[0-2]", "[0-5]", "[1]", "[3-4]", "[2-3][1]", "[0-5][0]", "[0-5][][a]", "[][1]"])
WHERE = st.sampled_from(["", "", "", "", "[? value > 2 ?]"])
ASKED = st.tuples(
    st.just("ask"),
    st.builds(lambda span, where: f"lab.small{span}{where}", SPANS, WHERE),
    st.sampled_from(["**ALL**", "K,VALUE", "VALUE"]),
    st.sampled_from([None, None, None, 2, -2]),
    st.sampled_from(["", "", "", "only-if-cached", "no-cache"]),
    st.booleans(),
)
PLACES = st.integers(0, 5)
CHANGED = st.one_of(
    st.tuples(st.just("put"), PLACES, st.integers(0, 1), st.sampled_from(["1.5", "2.5", "3.5"])),
    st.tuples(st.just("later"), st.sampled_from([0.1, 0.6, 2.0, 100.0])),
    st.tuples(st.just("policy"), st.sampled_from(["strict", "fallback", "offline"])),
    st.tuples(st.just("away"), st.booleans()),
    st.tuples(st.just("forget"), PLACES, PLACES),
    st.tuples(st.just("structure"), st.sampled_from(["one", "two"])),
    st.tuples(st.just("both"), ASKED, ASKED),
    st.tuples(st.just("restart")),
    st.tuples(st.just("cut")),
    st.tuples(st.just("cut")),
)
STEPS = st.one_of(ASKED, ASKED, ASKED, CHANGED)


@mock.patch.dict(TRUTHS, {"value > 2": lambda record: float(record.value) > 2})
async def lived(history, path):
    mirror = Mirror(path)
    await mirror.start()
    try:
        for step, *details in history:
            match step:
                case "ask":
                    await mirror.ask(*details)
                    await mirror.ask(*details)
                case "both":
                    await asyncio.gather(*(mirror.programs.jsoc_info(request(*d[1:4], {"Cache-Control": d[4]})) for d in details), return_exceptions=True)  # fmt: skip
                case "put":
                    mirror.put(*details)
                case "later":
                    mirror.seconds += details[0] * AGE
                case "policy":
                    mirror.rules.policy = details[0]
                case "away":
                    mirror.archive.away = details[0]
                case "forget":
                    await mirror.forget(min(details), max(details))
                case "structure":
                    await mirror.structure(details[0])
                case "cut":
                    await mirror.cut()
                case "restart":
                    await mirror.restart()
    finally:
        mirror.database.close()
    return mirror


@settings(max_examples=5, phases=[Phase.explicit, Phase.generate])
@given(st.lists(STEPS, min_size=10, max_size=25))
def test_an_answer_from_memory_is_one_that_a_new_process_would_give(tmp_path_factory, history):
    with (
        TemporaryDirectory(dir=tmp_path_factory.getbasetemp()) as folder,
        mock.patch.object(blocks, "SLOTS", 2),
        mock.patch.object(blocks, "LOOKS", 1),
    ):
        asyncio.run(lived(history, Path(folder)))


def test_the_same_question_is_answered_from_memory_until_something_changes(tmp_path):
    ask = ("ask", "lab.small[0-2]", "K,VALUE", None)
    mirror = asyncio.run(lived([ask, ask, ("forget", 5, 5), ask, ("forget", 1, 1), ask], tmp_path))
    # Filled, then kept, then four times the same; what is forgotten elsewhere counts too; then filled anew, and kept.
    assert mirror.given == 8
    assert 3 <= mirror.from_memory < mirror.given


def test_a_change_that_another_question_has_found_is_in_the_answer(tmp_path):
    ask, check = ("ask", "lab.small[0-2]", "K,VALUE", None), ("ask", "lab.small[1]", "K,VALUE", None, "no-cache")
    mirror = asyncio.run(lived([ask, ask, ("put", 1, 0, "9.5"), check, ask, ("put", 5, 0, "8.5"), ask], tmp_path))
    assert mirror.given == 10
    assert mirror.from_memory >= 4  # also after it has changed


def test_what_was_asked_for_longest_ago_is_forgotten_first():
    answers = Answers(most=10_000)
    for name in "abcd":
        answers.keep(name, Answer("x", bytes(1000), 1, ()))
        answers.find("a")
    assert [answers.find(name) is not None for name in "abcd"] == [True, False, True, True]


def test_an_answer_that_is_packed_counts_with_both_its_bodies():
    answers = Answers(most=5_000)
    answers.keep("a", Answer("x", bytes(range(256)) * 11, 1, ()))
    found = answers.find("a")
    assert found is not None
    assert zlib.decompress(found.pack(), 31) == found.body
    answers.grown("a")
    assert answers.find("a") is None
