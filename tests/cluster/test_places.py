"""The manners of a cluster: all servers together ask JSOC no more than one alone would, and people come first."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager

import psycopg
import pytest

from mirror.cluster.database import PLACES
from mirror.cluster.units import UNITS
from mirror.coverage.coverage import Box, Region
from mirror.coverage.intervals import Steps
from mirror.errors import ClusterAway
from mirror.upstream.budget import Need
from mirror.upstream.pacing import Claim, Priority, unattended
from mirror.wire.paths import UnitFile
from tests.clusterlab import cluster
from tests.waiting import PATIENCE, until


class Counter:
    """How many are inside at a time, over all mirrors."""

    def __init__(self):
        self.now = self.most = 0

    @asynccontextmanager
    async def counted(self):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield
        finally:
            self.now -= 1

    def watch(self, transport):
        fetch, stream = transport.fetch, transport.stream

        async def counted_fetch(*arguments):
            async with self.counted():
                return await fetch(*arguments)

        @asynccontextmanager
        async def counted_stream(*arguments):
            async with self.counted(), stream(*arguments) as answer:
                yield answer

        transport.fetch, transport.stream = counted_fetch, counted_stream


async def test_three_mirrors_ask_two_things_at_a_time(tmp_path):
    async with cluster(tmp_path, 3, latency=10) as lab:
        counter = Counter()
        for mirror in lab.mirrors:
            counter.watch(mirror.running.upstream._transport)
        days = [f"hmi.v_45s[2014.01.01_{hour:02}:00_TAI/30m]" for hour in range(12)]
        await asyncio.gather(*(lab.mirrors[i % 3].ask(ds) for i, ds in enumerate(days)))
        assert counter.most == 2


async def test_one_file_is_downloaded_at_a_time(tmp_path):
    async with cluster(tmp_path, 2, latency=5) as lab:
        answer = await lab.mirrors[0].ask("hmi.v_45s[2014.01.01_TAI/3m]", seg="Dopplergram")
        paths = answer.json["segments"][0]["values"]
        counter = Counter()
        for mirror in lab.mirrors:
            counter.watch(mirror.running.upstream._transport)
        got = await asyncio.gather(*(lab.mirrors[i % 2].get(path) for i, path in enumerate(paths)))
        assert {each.code for each in got} == {200}
        assert counter.most == 1


async def test_one_export_of_an_address_is_pending_at_a_time(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = (lab.shared(number) for number in (0, 1))
        async with one.slot("export a@b.c", Priority.PEOPLE):
            async with other.slot("export d@e.f", Priority.PEOPLE):
                pass
            waiting = asyncio.ensure_future(_through(other, "export a@b.c", Priority.PEOPLE))
            await asyncio.sleep(0.05)
            assert not waiting.done()
        async with asyncio.timeout(PATIENCE):
            await waiting


async def _through(shared, kind, priority):
    async with shared.slot(kind, priority):
        pass


async def test_what_nobody_waits_for_leaves_a_place_to_people_of_any_server(tmp_path):
    async with cluster(tmp_path, 3) as lab:
        shared = [lab.shared(number) for number in range(3)]
        async with shared[0].slot("query", Priority.SUBSCRIPTION):
            second = asyncio.ensure_future(_through(shared[1], "query", Priority.SUBSCRIPTION))
            async with asyncio.timeout(PATIENCE):
                await _through(shared[2], "query", Priority.PEOPLE)
            assert not second.done()
        async with asyncio.timeout(PATIENCE):
            await second


async def test_a_place_that_comes_when_nobody_waits_for_it_any_more_is_given_back(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = (lab.shared(number) for number in (0, 1))
        with _late_answers(one.database, "pg_try_advisory_lock") as (came, go_on):
            waiting = asyncio.ensure_future(_through(one, "download", Priority.PEOPLE))
            await came.wait()
            waiting.cancel()
            go_on.set()
            await asyncio.wait([waiting])
        assert (waiting.cancelled(), one.places.taken, _locks(lab.address, PLACES)) == (True, 0, 0)
        await _through(other, "download", Priority.PEOPLE)


async def test_the_lock_of_a_file_that_comes_when_nobody_waits_for_it_any_more_is_given_back(tmp_path):
    async with cluster(tmp_path, 1) as lab:
        units = lab.mirrors[0].running.shared_files.units
        with _late_answers(lab.shared(0).database, "pg_try_advisory_lock") as (came, go_on):
            waiting = asyncio.ensure_future(units.lock(UnitFile(1, 0, "image.fits")))
            await came.wait()
            waiting.cancel()
            go_on.set()
            await asyncio.wait([waiting])
        assert (waiting.cancelled(), _locks(lab.address, UNITS)) == (True, 0)


async def test_a_flight_that_is_noted_when_nobody_waits_for_it_any_more_ends(tmp_path, monkeypatch):
    async with cluster(tmp_path, 1) as lab:
        series, shared = await lab.mirrors[0].running.search.structure("hmi.v_45s"), lab.shared(0)
        noted, go_on = asyncio.Event(), asyncio.Event()
        transaction = shared.database.transaction

        @asynccontextmanager
        async def late():
            async with transaction() as cursor:
                yield cursor
            if _flights(lab.address) and not noted.is_set():
                noted.set()
                await go_on.wait()

        monkeypatch.setattr(shared.database, "transaction", late)
        waiting = asyncio.ensure_future(shared.fetch(series, Box(Region(()), (Steps(0, 99),)), pytest.fail))
        await noted.wait()
        waiting.cancel()
        go_on.set()
        await asyncio.wait([waiting])
        assert (waiting.cancelled(), _flights(lab.address)) == (True, 0)


def _flights(address):
    with psycopg.connect(address) as connection:
        return connection.execute("SELECT count(*) FROM mirror.flights").fetchone()[0]


@contextmanager
def _late_answers(database, words):
    """Answers to statements with these words come late: the first event is set once PostgreSQL has answered, the second lets it through."""
    on_session, came, go_on = database.on_session, asyncio.Event(), asyncio.Event()

    async def late(sql, values=()):
        row = await on_session(sql, values)
        if words in sql:
            came.set()
            await go_on.wait()
        return row

    database.on_session = late
    try:
        yield came, go_on
    finally:
        database.on_session = on_session


def _locks(address, kind):
    with psycopg.connect(address) as connection:
        sql = (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        return connection.execute(sql, (kind,)).fetchone()[0]


async def test_a_server_that_is_gone_has_no_place(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = (lab.shared(number) for number in (0, 1))
        ended = asyncio.ensure_future(_hold(one))
        await until(lambda: one.places.taken)
        with psycopg.connect(lab.address) as connection:
            sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jsoc-mirror m0' AND datname = current_database()"
            connection.execute(sql)
        async with asyncio.timeout(PATIENCE):
            await _through(other, "download", Priority.PEOPLE)
            # What was done on its behalf has ended, so that JSOC is not asked for two things.
            assert "cluster is away" in str(await ended)


async def _hold(shared):
    try:
        async with shared.slot("download", Priority.PEOPLE):
            await asyncio.Event().wait()
    except ClusterAway as problem:
        return problem
    return None


async def test_what_one_server_has_used_of_the_budget_counts_at_the_others(tmp_path):
    async with cluster(tmp_path, MIRROR_UPSTREAM__RECORDS_PER_HOUR="200") as lab:
        one, other = lab.mirrors
        found = await one.recnums("hmi.v_45s[2014.01.01_TAI/2h]")
        await until(lambda: other.running.budget.used().records >= len(found))
        assert other.running.budget.used().records == one.running.budget.used().records
        with unattended():
            waiting = asyncio.ensure_future(_budget(other.running.budget, 100))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        waiting.cancel()


async def _budget(budget, records):
    async with budget.turn(Claim(Priority.SUBSCRIPTION), Need(records)):
        pass
