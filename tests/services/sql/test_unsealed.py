"""Records that are in no file of the lake yet: a statement reads them all the same, and waits for no file."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from mirror.storage.lake import unsealed
from mirror.storage.lake.lake import Lake
from tests.lab import Lab, lab, rows, sql
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")
DAY = "hmi.v_45s[2014.01.01_TAI/14h]"
#: Everything that a plan may do with columns: leave them out, filter, join and sort by them, know them beforehand.
STATEMENTS = [
    "SELECT count(*) FROM hmi.v_45s",
    "SELECT count(*) FROM hmi.v_45s WHERE quality = 0 AND datamean < 0",
    "SELECT min(t_rec), max(t_rec_tai), min(datamean), count(datamean), count(DISTINCT camera) FROM hmi.v_45s",
    "SELECT t_rec, datamean FROM hmi.v_45s ORDER BY datamean DESC NULLS LAST, t_rec LIMIT 5",
    "SELECT * FROM hmi.v_45s ORDER BY t_rec LIMIT 3",
    "SELECT * FROM hmi.v_45s WHERE false",
    "SELECT * FROM hmi.v_45s LIMIT 0",
    "SELECT a.recnum, b.crlt_obs FROM hmi.v_45s a JOIN hmi.v_45s b USING (t_rec) WHERE a.recnum % 97 = 0 ORDER BY ALL",
    "SELECT recnum FROM hmi.v_45s WHERE t_rec IN (SELECT max(t_rec) FROM hmi.v_45s WHERE camera = 2) ORDER BY 1",
    "SELECT camera, count(*) FROM hmi.v_45s WHERE telescop IS NOT NULL GROUP BY ALL ORDER BY ALL",
    "WITH d AS (SELECT t_rec::DATE AS day, avg(obs_vr) AS v FROM hmi.v_45s GROUP BY 1) SELECT * FROM d ORDER BY day",
    'SELECT "Dopplergram" FROM hmi.v_45s ORDER BY t_rec LIMIT 2',
    "SELECT recnum, lag(datamin) OVER (ORDER BY t_rec) FROM hmi.v_45s ORDER BY 1 LIMIT 4",
    "SELECT count(*) FROM hmi.v_45s__old",
    "SELECT count(*), sum(datamax) FROM (FROM hmi.v_45s UNION ALL FROM hmi.v_45s__old)",
    "SELECT count(*) FROM hmi.v_45s v SEMI JOIN (SELECT recnum FROM hmi.v_45s WHERE quality <> 0) b ON v.recnum = b.recnum",
    "SELECT v.t_rec FROM hmi.v_45s v WHERE NOT EXISTS (SELECT 1 FROM hmi.v_45s w WHERE w.recnum = v.recnum + 1) ORDER BY 1",
    "PIVOT (SELECT quality, camera FROM hmi.v_45s) ON camera USING count(*) GROUP BY quality ORDER BY quality",
    "SELECT column_name, min, max, count FROM (SUMMARIZE SELECT datamean, camera FROM hmi.v_45s)",
    "DESCRIBE hmi.v_45s",
    "SELECT count(*), min(datamean) FROM jsoc('hmi.v_45s[2014.01.01_TAI/6h]')",
    "SELECT count(*) FROM jsoc('hmi.v_45s[2014.01.01_TAI/12h][? QUALITY = 0 ?]') j JOIN hmi.v_45s v USING (recnum)",
    "SELECT table_name FROM information_schema.tables WHERE table_name = 'v_45s' AND EXISTS (FROM hmi.v_45s)",
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    """One whose records are in no file, and whose lake is left so."""
    async with lab(tmp_path_factory.mktemp("store")) as made:
        await made.ask(DAY)
        made.running.analytics._lake.seal_soon = lambda _: None
        yield made


def files(mirror: Lab) -> list[str]:
    """All files of the lake."""
    return sorted(path.name for path in (mirror.path / "lake").glob("*/*"))


async def left(mirror: Lab, *names: str) -> None:
    """Return once these are all files: what was copied for a statement goes when its answer has gone out."""
    await until(lambda: files(mirror) == list(names), 60)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def answers(mirror, tmp_path_factory):
    """What a mirror says to each statement, all of whose records are in files: no statement waits for little."""
    patched = pytest.MonkeyPatch()
    patched.setattr("mirror.storage.lake.lake.FEW", 1 << 60)
    async with lab(tmp_path_factory.mktemp("sealed")) as made:
        await made.ask(DAY)
        found = {statement: await rows(made, statement) for statement in STATEMENTS}
        assert files(made)
    patched.undo()
    return found


@pytest.mark.parametrize("number", range(len(STATEMENTS)))
async def test_a_statement_is_answered_as_if_all_were_sealed(mirror, answers, number):
    statement = STATEMENTS[number]
    assert await rows(mirror, statement) == answers[statement]
    await left(mirror)


async def test_values_are_given_as_parameters_too(mirror):
    statement = "SELECT count(*) FROM hmi.v_45s WHERE datamean > ? AND quality = ?"
    [[some]] = await rows(mirror, statement, params=[0.0, 0])
    [[none]] = await rows(mirror, statement, params=[1e9, 0])
    assert some > none == 0


async def test_what_is_explained_is_the_plan_for_what_there_is(mirror):
    [[_, plan]] = await rows(mirror, "EXPLAIN SELECT avg(datamean) FROM hmi.v_45s")
    assert "SEQ_SCAN" not in plan


async def test_a_column_that_the_plan_did_not_show_is_copied_after_all(mirror, answers, monkeypatch):
    asked = []

    async def blind(self, series, wanted, copied=Lake.copied):
        asked.append(wanted)
        return await copied(self, series, wanted if asked[1:] else dict.fromkeys(wanted, ()))

    monkeypatch.setattr(Lake, "copied", blind)
    assert await rows(mirror, STATEMENTS[3]) == answers[STATEMENTS[3]]
    assert list(asked[1].values()) == [None]
    await left(mirror)


async def test_what_would_take_longer_to_copy_is_sealed(tmp_path, monkeypatch):
    monkeypatch.setattr("mirror.storage.lake.lake.MOST_VALUES", 5_000)
    async with lab(tmp_path) as made:
        await made.ask(DAY)
        await rows(made, "SELECT count(*) FROM hmi.v_45s")
        assert not [name for name in files(made) if not name.startswith("unsealed")]
        [[count]] = await rows(made, "SELECT count(*) FROM (SELECT * FROM hmi.v_45s ORDER BY t_rec)")
        first = await rows(made, "SELECT * FROM hmi.v_45s ORDER BY t_rec LIMIT 1")
        assert count > 1000
        assert len(first) == 1
        assert "2014-01.1.parquet" in files(made)


async def test_what_a_statement_did_not_wait_for_is_sealed_for_the_next_one(tmp_path):
    async with lab(tmp_path) as made:
        await made.ask(DAY)
        before = await rows(made, "SELECT sum(datamean) FROM hmi.v_45s")
        await left(made, "2014-01.1.parquet")
        assert await rows(made, "SELECT sum(datamean) FROM hmi.v_45s") == before
        assert files(made) == ["2014-01.1.parquet"]


async def test_records_that_change_while_they_are_copied_are_copied_again(mirror, monkeypatch):
    copies = []
    copy = unsealed.copy

    def slow(*given, **more):
        copies.append(given)
        if len(copies) == 1:  # as another chunk that is kept meanwhile does
            mirror.running.search._index._held["hmi.v_45s"].version.advance()
        copy(*given, **more)

    before = await rows(mirror, "SELECT count(*) FROM hmi.v_45s")
    monkeypatch.setattr("mirror.storage.lake.lake.copy", slow)
    assert await rows(mirror, "SELECT count(*) FROM hmi.v_45s") == before
    assert len(copies) == 2


async def test_an_error_of_a_statement_leaves_no_copy(mirror):
    answer = await sql(mirror, "SELECT error('no') FROM hmi.v_45s WHERE datamean > 0")
    assert answer.code == 400
    await left(mirror)


async def test_who_leaves_while_records_are_copied_leaves_no_copy(mirror, monkeypatch):
    lake = mirror.running.analytics._lake
    series, _ = mirror.running.search._catalogue._index.series("hmi.v_45s")
    copied, go_on, copy = asyncio.Event(), asyncio.Event(), lake._copy_unsealed

    async def late(*arguments):
        made = await copy(*arguments)
        copied.set()
        await go_on.wait()
        return made

    monkeypatch.setattr(lake, "_copy_unsealed", late)
    leaving = asyncio.ensure_future(lake.copied(series, {"hmi.v_45s": None}))
    await copied.wait()
    assert list(lake.root.rglob("unsealed.*"))
    leaving.cancel()
    go_on.set()
    await asyncio.wait([leaving])
    assert (leaving.cancelled(), list(lake.root.rglob("unsealed.*"))) == (True, [])
