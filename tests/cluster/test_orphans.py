"""A PostgreSQL that comes back from an older backup: what it does not know any more is taken up again."""

from __future__ import annotations

import asyncio
import shutil

import psycopg

from mirror.cluster.journal import Entry
from mirror.cluster.orphans import _left
from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import Steps
from tests.clusterlab import cluster

HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"


def restore(address, row):
    """What a backup knows that was made when the journal ended at a row."""
    with psycopg.connect(address) as connection:
        connection.execute("DELETE FROM mirror.journal WHERE id > %s", (row,))
        connection.execute("SELECT setval('mirror.journal_id_seq', %s)", (row,))


def last(address):
    with psycopg.connect(address) as connection:
        return connection.execute("SELECT max(id), count(*) FROM mirror.journal").fetchone()


async def older_backup(lab, *, keeps):
    """Stop all, put an older backup in place, wipe the first server unless it keeps its store, and start all again."""
    one, other = lab.mirrors
    await one.recnums("hmi.v_45s[2014.01.01_TAI/1m]")
    await lab.published()
    before, _ = last(lab.address)
    found = await one.recnums(HOUR)
    await lab.published()
    for number in (0, 1):
        await lab.shared(number)._note_newest()
    for mirror in (one, other):
        await mirror.stop()
    restore(lab.address, before)
    if not keeps:
        shutil.rmtree(one.path)
        one.path.mkdir()
    await asyncio.gather(one.start(), other.start())
    await lab.published()
    return found


async def test_chunks_without_a_row_get_it_again(tmp_path):
    async with cluster(tmp_path) as lab:
        found = await older_backup(lab, keeps=False)
        assert lab.shared(1).orphans.adopted == 1
        asked = await lab.fetched()
        for mirror in lab.mirrors:
            assert await mirror.recnums(HOUR) == found
        assert await lab.fetched() == asked
        _, rows = last(lab.address)
        # Once more changes nothing.
        assert await lab.shared(0).orphans.adopt() == 0
        assert last(lab.address)[1] == rows
        told = (await lab.mirrors[1].get("/metrics")).body.decode()
        assert "mirror_cluster_adopted_rows_total 1" in told


async def test_what_a_server_still_holds_is_told_once_whoever_takes_it_up(tmp_path):
    async with cluster(tmp_path) as lab:
        found = await older_backup(lab, keeps=True)
        asked = await lab.fetched()
        third = await lab.join("m2")
        assert await third.recnums(HOUR) == found
        assert await lab.fetched() == asked
        with psycopg.connect(lab.address) as connection:
            assert connection.execute("SELECT sum(rows) FROM mirror.journal").fetchone()[0] <= 2 * len(found) + 2


async def test_a_chunk_that_cannot_be_read_is_left_alone(tmp_path):
    async with cluster(tmp_path) as lab:
        await lab.mirrors[0].recnums("hmi.v_45s[2014.01.01_TAI/1m]")
        await lab.published()
        rows = last(lab.address)
        odd = lab.objects / "chunks" / "hmi.v_45s" / ("0" * 32 + ".parquet")
        odd.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
        assert await lab.shared(0).orphans.adopt() == 0
        assert last(lab.address) == rows
        assert odd.exists()


def test_what_was_given_up_after_it_was_checked_is_not_taken_up():
    def box(lo, hi):
        return Box(Region((None,)), (Steps(lo, hi),))

    row = Entry(0, "content", ((box(0, 9), 100.0), (box(20, 29), 300.0)))
    gone = Entry(1, "drop", ((box(5, 25), 0.0),))
    left = _left(row, [(gone, 200.0)])
    assert left is not None
    assert [(c[0].steps, c[1]) for c in left.claims] == [((Steps(0, 4),), 100.0), ((Steps(20, 29),), 300.0)]
    assert _left(row, [(Entry(1, "drop", ()), 400.0)]) is None
    assert _left(row, [(gone, 50.0)]) == row
