"""Few rows say what many said: to whoever reads all of them, and to whoever had read a part before."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from mirror.cluster import compaction
from mirror.cluster.compaction import fold_of, needless, parts_of, standing, told_of
from mirror.cluster.journal import Entry, bounds, coverage_of, dropped, lacking
from mirror.coverage.claims import held_parts
from mirror.coverage.coverage import Box, Coverage, Region
from mirror.coverage.intervals import GRAIN, MAX, MIN, Steps
from tests.clusterlab import cluster

# ---- the algebra ---------------------------------------------------------------------------------

steps = st.tuples(st.integers(0, 60), st.integers(0, 20), st.sampled_from([1, 1, 3])).map(lambda t: Steps(t[0], t[0] + t[1], t[2]))
regions = st.sampled_from([Region((None,)), Region((None,)), Region(("a",)), Region(("b",))])
boxes = st.tuples(regions, st.lists(steps, min_size=1, max_size=2)).map(lambda t: Box(t[0], tuple(t[1])))
kinds = st.sampled_from(["content", "content", "content", "same", "drop"])
entries = st.lists(st.tuples(kinds, boxes), max_size=14)
#: All of one region: what is given up can be cut out of what is the same, and out of all else.
plain = st.lists(st.tuples(kinds, boxes.map(lambda box: Box(Region((None,)), box.steps))), max_size=14)


def history(found):
    """Rows as servers write them, far enough apart that no two moments count as one."""
    made = []
    for number, (kind, box) in enumerate(found, start=1):
        at = 1e9 + 3 * GRAIN * number
        since = 1e9 if kind == "same" else None
        made.append(Entry(number, kind, ((box, 0.0 if kind == "drop" else at),), since, rows=10))
    return made


class Reader:
    """A server that takes over a row when it is asked to."""

    def __init__(self):
        self.known, self.waiting = Coverage(), []

    def read(self, rows):
        for row in rows:
            if row.kind == "drop":
                self.known = coverage_of([*_as_rows(self.known), row])
                self.waiting = [left for each in self.waiting if (left := dropped(each, row)) is not None]
            else:
                self.waiting.append(row)

    def take_over(self, which=lambda _: True):
        for row in [row for row in self.waiting if which(row)]:
            self.waiting.remove(row)
            for part, at in row.news(self.known, row.boxes):
                self.known.add(part, at)


def _as_rows(coverage):
    claims = [(Box(region, (Steps(s.lo, s.hi),)), s.checked_at) for region, spans in coverage for s in spans]
    return [Entry(0, "content", tuple(claims))] if claims else []


def says_as_much(one, other):
    """True if all that ``other`` says is said by ``one`` too, as of no earlier moment that counts."""
    return not any(
        lacking(one, Box(region, (Steps(s.lo, s.hi),)), s.checked_at - GRAIN) for region, spans in other for s in spans
    )


def equal(one, other):
    return says_as_much(one, other) and says_as_much(other, one)


def folded(rows, broken=(), worth=1):
    """The journal after all of its parts were folded by a server that cannot use the rows in ``broken``."""
    journal, last = {row.id: row for row in rows}, max((row.id for row in rows), default=0)
    for lo, hi in parts_of((row for row in standing(rows) if row.kind == "content"), records=40, together=4):
        here = [row for row in standing(journal.values()) if bounds(row.boxes)[0] <= hi and bounds(row.boxes)[1] >= lo]
        told = told_of(here, lo, hi)
        if len(here) < worth or not told:
            continue
        folder = Reader()
        folder.read(journal.values())
        folder.take_over(lambda row: row.id not in broken)
        new = Entry(0, "content", tuple(held_parts(folder.known, told)), rows=40)
        if not new.claims:
            continue
        fold = fold_of(last, here, new, lo, hi)
        if fold is None:
            continue
        for row in fold.gone:
            del journal[row.id]
        for row in fold.left:
            assert journal[row.id] != row
            journal[row.id] = row
        last += 1
        journal[last] = replace(new, id=last)
    for row in needless(list(journal.values())):
        del journal[row.id]
    return list(journal.values())


@given(plain)
def test_the_rows_say_what_they_said_before(found):
    rows = history(found)
    assert equal(coverage_of(folded(rows)), coverage_of(rows))


@given(entries)
def test_a_new_server_takes_over_what_it_would_have_before(found):
    rows = history(found)
    before, after = Reader(), Reader()
    before.read(rows)
    before.take_over()
    after.read(folded(rows))
    after.take_over()
    assert equal(after.known, before.known)


@given(entries, st.integers(0, 14), st.sets(st.integers(1, 14)))
def test_a_server_that_had_read_a_part_comes_to_the_same(found, position, taken):
    rows = history(found)
    position = min(position, len(rows))
    before, between = Reader(), Reader()
    for reader in (before, between):
        reader.read(row for row in rows if row.id <= position)
        reader.take_over(lambda row: row.id in taken)
    before.read(row for row in rows if row.id > position)
    before.take_over()
    after = folded(rows)
    between.read(row for row in after if row.id > position)
    there = {row.id for row in after}
    between.take_over(lambda row: row.id in there)  # the objects of others are gone by now
    between.waiting = []
    assert equal(between.known, before.known)


@given(plain, st.sets(st.integers(1, 14)))
def test_a_row_that_the_folding_server_cannot_use_stays_with_what_only_it_says(found, broken):
    rows = history(found)
    assert says_as_much(coverage_of(folded(rows, broken)), coverage_of(rows))


@given(entries)
def test_to_fold_again_changes_nothing_that_is_said(found):
    once = folded(history(found))
    assert equal(coverage_of(folded(once)), coverage_of(once))


def test_thousands_of_rows_become_few():
    line = Region((None,))
    rows = [Entry(n, "content", ((Box(line, (Steps(n, n),)), 1e9 + n),), rows=1) for n in range(1, 3001)]
    rows += [Entry(3000 + n, "same", ((Box(line, (Steps(1, 3000),)), 2e9 + 3 * GRAIN * n),), 1e9) for n in range(1, 500)]
    left = folded(rows[:120] + rows[3000:3200])
    assert len(left) == 30
    assert parts_of([]) == [(MIN, MAX)]
    parts = parts_of(rows[:3000])
    assert parts[0][0] == MIN and parts[-1][1] == MAX
    assert all(one[1] + 1 == other[0] for one, other in pairwise(parts))
    assert len(parts) == 3000 / compaction.TOGETHER


def test_what_was_given_up_by_a_later_row_too_needs_no_row():
    line = Region((None,))
    small, large = ((Box(line, (Steps(3, 5),)), 0.0),), ((Box(line, (Steps(0, 10),)), 0.0),)
    first, second = Entry(1, "drop", small), Entry(2, "drop", large)
    assert needless([first, second]) == [first]
    assert needless([replace(second, id=1), replace(first, id=2)]) == []
    assert needless([second, Entry(3, "drop", ())]) == [second]


# ---- with PostgreSQL -----------------------------------------------------------------------------

HOURS = "hmi.v_45s[2014.01.01_TAI/3h]"


def told(address):
    with psycopg.connect(address) as connection:
        return connection.execute(
            "SELECT count(*), (SELECT count(*) FROM mirror.spent) FROM mirror.journal WHERE series = 'hmi.v_45s'"
        ).fetchone()


async def test_the_journal_of_a_series_is_folded_and_all_servers_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "MANY", 10)
    monkeypatch.setattr(compaction, "LOOK", 0.0)
    async with cluster(tmp_path, 3) as lab:
        one, other, third = lab.mirrors
        for minute in range(0, 180, 12):
            await one.recnums(f"hmi.v_45s[2014.01.01_{minute // 60:02}:{minute % 60:02}_TAI/12m]")
            await lab.published()
        # One has read a part of the rows, and holds less of them; one remembers rows that it never took over.
        await other.recnums("hmi.v_45s[2014.01.01_TAI/30m]")
        await third.recnums("hmi.v_45s[2014.01.01_02:48_TAI/12m]")
        rows, spent = told(lab.address)
        asked = await lab.fetched()
        assert rows >= 15 and spent == 0

        await lab.shared(0).compaction.go_on(lambda: False)
        assert told(lab.address) == (rows, 0)
        await lab.shared(0).compaction.go_on(lambda: True)
        after, spent = told(lab.address)
        assert after == 1 and spent == rows
        await lab.shared(1).compaction.go_on(lambda: True)  # the first one does it
        assert told(lab.address) == (after, spent)

        # The old objects stay at first, and go after the grace, whoever still remembers their rows.
        files = len(list(lab.objects.rglob("*.parquet")))
        await lab.shared(0).compaction.go_on(lambda: True)
        assert len(list(lab.objects.rglob("*.parquet"))) == files
        with psycopg.connect(lab.address) as connection:
            connection.execute("UPDATE mirror.spent SET since = since - INTERVAL '30 days'")
        await lab.shared(0).compaction.go_on(lambda: True)
        assert told(lab.address) == (1, 0)
        assert len(list(lab.objects.rglob("*.parquet"))) == files - spent

        found = await one.recnums(HOURS)
        fourth = await lab.join("m3")
        for mirror in (other, third, fourth):
            assert await mirror.recnums(HOURS) == found == await one.upstream(HOURS)
        assert await lab.fetched() == asked
        assert not any(lab.shared(n).reader.broken for n in range(4))


async def test_what_moves_while_it_is_folded_is_left_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "MANY", 10)
    monkeypatch.setattr(compaction, "LOOK", 0.0)
    async with cluster(tmp_path, 2) as lab:
        one, other = lab.mirrors
        for minute in range(0, 60, 5):
            await one.recnums(f"hmi.v_45s[2014.01.01_00:{minute:02}_TAI/5m]")
            await lab.published()
        rows, _ = told(lab.address)
        folding = lab.shared(0).compaction
        put = lab.shared(0).objects.put_new
        files = len(list(lab.objects.rglob("*.parquet")))

        async def forgotten_meanwhile(key, data):
            series = one.running.search._catalogue._index.series("hmi.v_45s")[0]
            await lab.shared(1).forget(series, None)
            return await put(key, data)

        monkeypatch.setattr(lab.shared(0).objects, "put_new", forgotten_meanwhile)
        await folding.go_on(lambda: True)
        monkeypatch.undo()
        monkeypatch.setattr(compaction, "MANY", 10)
        monkeypatch.setattr(compaction, "LOOK", 0.0)
        assert told(lab.address) == (rows + 1, 1)  # what was put for nothing goes later
        assert len(list(lab.objects.rglob("*.parquet"))) == files + 1
        hour = "hmi.v_45s[2014.01.01_TAI/1h]"
        assert await other.recnums(hour) == await one.recnums(hour) == await one.upstream(hour)
