"""Mirrors that share: what one has fetched no other asks for, whoever asks, and whatever ends in between."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys

import psycopg
import pytest
from aiohttp.test_utils import TestServer

from mirror.cluster import database as sessions
from mirror.cluster import objects as objects_module
from mirror.cluster import reader as reader_module
from mirror.cluster import writer as writer_module
from mirror.cluster.check import examine
from mirror.config.sections import Cluster
from tests.cluster.test_database import fill_up, make_room
from tests.clusterlab import cluster
from tests.liar import Liar
from tests.servers import KEYS, postgres
from tests.waiting import PATIENCE, until

DAY = "hmi.v_45s[2014.01.01_TAI/6h]"


async def test_what_one_has_fetched_the_other_takes_over(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        found = await one.recnums(DAY)
        asked = await lab.fetched()
        assert asked == len(found) > 0
        answer = await other.ask(DAY)
        assert answer.json["keywords"][0]["values"] == found
        assert await lab.fetched() == asked
        assert answer.plan is not None and "FORWARDED" not in answer.plan.upper()
        again = await other.ask(DAY)
        assert again.body.split(b'"runtime"')[0] == answer.body.split(b'"runtime"')[0]


async def test_all_columns_are_the_same_at_every_mirror(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        for ds in ("hmi.v_45s[2014.01.01_TAI/1h]", "aia.lev1_euv_12s[2014.01.01_TAI/10m][171]", "hmi.sharp_720s[3563][2014.01.01_TAI/2h]"):
            first = (await one.ask(ds, "**ALL**")).told
            before = await lab.fetched()
            assert (await other.ask(ds, "**ALL**")).told == first
            assert await lab.fetched() == before
            assert first["count"] > 0


def queries(seed, count, dense):
    chance = random.Random(seed)
    for _ in range(count):
        if chance.random() < 0.3:
            waves = chance.choice(["", "[171]", "[94,131]", "[171-211]"])
            first = chance.randrange(0, 40 if dense else 300)
            yield f"aia.lev1_euv_12s[2014.01.01_00:{first * 12 // 60:02}:{first * 12 % 60:02}_TAI/{chance.randrange(1, 15)}m]{waves}"
        else:
            first = chance.randrange(0, 60 if dense else 900) * 45
            clock = f"{first // 3600:02}:{first // 60 % 60:02}:{first % 60:02}"
            yield f"hmi.v_45s[2014.01.01_{clock}_TAI/{chance.randrange(10, 200)}m]"


async def test_dense_overlaps_at_three_mirrors_are_asked_for_once(tmp_path):
    async with cluster(tmp_path, 3, latency=5, MIRROR_FILL__CHUNK_RECORDS="60") as lab:
        asked = list(queries(3, 48, dense=True))

        async def client(number):
            answers = []
            for i, ds in enumerate(asked):
                if i % 8 == number:
                    answers.append((ds, (await lab.mirrors[number % 3].ask(ds)).json))
            return answers

        answers = [a for each in await asyncio.gather(*map(client, range(8))) for a in each]
        numbers = set()
        for ds, answer in answers:
            assert answer["status"] == 0, answer
            assert answer["keywords"][0]["values"] == await lab.mirrors[0].upstream(ds), ds
            numbers |= {(ds.split("[")[0], n) for n in answer["keywords"][0]["values"]}
        assert await lab.fetched() == len(numbers)


async def test_a_mirror_without_a_cluster_imports_nothing_of_it_and_none_imports_pandas(tmp_path):
    code = (
        "import asyncio, sys\n"
        "from mirror.config.loading import load_config\n"
        "from mirror.daemon import build\n"
        "async def main():\n"
        f"    mirror = await build(load_config(None, {{'MIRROR_STORAGE__PATH': {str(tmp_path / 's')!r}}}))\n"
        "    await mirror.close()\n"
        "asyncio.run(main())\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('pandas', 'psycopg', 'psycopg_pool', 'obstore', 'pyiceberg')"
        " or m.startswith('mirror.cluster')])\n"
    )
    program = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await program.communicate()
    assert out.decode().strip() == "[]"


# ---- what ends in between -------------------------------------------------------------------------

HOUR = "hmi.v_45s[2014.01.01_TAI/1h]"


def flights(address):
    with psycopg.connect(address) as connection:
        return connection.execute("SELECT count(*) FROM mirror.flights").fetchone()[0]


def vanish(shared):
    """What the others see of a server that is killed: its connections end, and it does not come back."""
    database = shared.database
    database._url = "postgresql://nobody@127.0.0.1:1/nowhere"
    database._session.close()
    database._lose("killed by a test")
    database._session, database._pool = None, None


@pytest.mark.parametrize("step", ["claimed", "committed", "put", "written"])
async def test_a_server_that_is_killed_in_a_fetch_loses_nothing_and_holds_up_nobody(tmp_path, step):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        await one.recnums("hmi.v_45s[2014.01.01_TAI/1m]")
        await lab.published()
        before = await lab.fetched()

        def kill(at):
            if at.name == step:
                lab.shared(0).writer.step = lambda _: None
                vanish(lab.shared(0))

        lab.shared(0).writer.step = kill
        doomed = asyncio.ensure_future(one.ask(HOUR))
        await until(lambda: not lab.shared(0).database.connected)
        async with asyncio.timeout(PATIENCE):
            found = await other.recnums(HOUR)
        assert found == await other.upstream(HOUR)
        await asyncio.gather(doomed, return_exceptions=True)
        # What was in the air is asked for twice at most.
        assert await lab.fetched() - before <= 2 * len(found)
        await one.restart()
        await lab.published()
        asked = await lab.fetched()
        assert await one.recnums(HOUR) == await other.recnums(HOUR) == found
        assert await lab.fetched() == asked
        assert flights(lab.address) == 0


async def test_what_a_server_committed_and_did_not_publish_is_published_when_it_comes_again(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors

        def kill(at):
            if at.name == "committed":
                vanish(lab.shared(0))

        lab.shared(0).writer.step = kill
        await one.ask(HOUR)
        await one.restart()
        await lab.published()
        asked = await lab.fetched()
        assert await other.recnums(HOUR) == await other.upstream(HOUR)
        assert await lab.fetched() == asked


async def test_a_session_that_is_ended_is_opened_again_and_fences_what_was_in_the_air(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        database = lab.shared(0).database

        def terminate(at):
            if at.name == "committed":
                lab.shared(0).writer.step = lambda _: None
                with psycopg.connect(lab.address) as connection:
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jsoc-mirror m0' "
                        "AND datname = current_database()"
                    )

        lab.shared(0).writer.step = terminate
        before = database.id
        await one.ask(HOUR)
        assert await other.recnums(HOUR) == await other.upstream(HOUR)
        await until(lambda: database.id > before and database.connected)
        await lab.published()
        asked = await lab.fetched()
        assert await one.recnums(HOUR) == await other.recnums(HOUR)
        assert await one.recnums(DAY) == await other.recnums(DAY)
        assert flights(lab.address) == 0
        assert await lab.fetched() - asked == len(await other.upstream(DAY)) - len(await other.upstream(HOUR))


async def test_without_postgresql_warm_searches_go_on_and_nobody_asks_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "RETURN", 0.1)
    server = postgres()
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        found = await one.recnums(HOUR)
        await lab.published()
        server.stop(signal.SIGINT)
        try:
            assert await one.recnums(HOUR) == found
            asked = len(await one.log())
            for mirror in (one, other):
                answer = await mirror.ask(DAY)
                assert answer.json["status"] != 0
                assert b"cluster is away" in answer.body
            assert len(await one.log()) == asked
        finally:
            server.start()
            server.wait()
        await until(lambda: lab.shared(0).database.connected and lab.shared(1).database.connected)
        assert await other.recnums(DAY) == await one.upstream(DAY)
        assert await one.recnums(DAY) == await one.upstream(DAY)
        assert await lab.fetched() == len(await one.upstream(DAY))


async def test_without_its_object_nothing_is_said_to_be_held(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        aside = lab.objects.with_name("aside")
        lab.objects.rename(aside)
        lab.objects.write_text("a disk that is not mounted")
        found = await one.recnums(HOUR)
        with psycopg.connect(lab.address) as connection:
            assert connection.execute("SELECT count(*) FROM mirror.journal").fetchone()[0] == 0
        assert flights(lab.address) == 0
        lab.objects.unlink()
        aside.rename(lab.objects)
        await lab.published()
        asked = await lab.fetched()
        assert await other.recnums(HOUR) == found
        assert await lab.fetched() == asked


@pytest.mark.parametrize("harm", ["gone", "other bytes"])
async def test_an_object_that_cannot_be_used_is_asked_for_again_and_named(tmp_path, harm):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        found = await one.recnums(HOUR)
        await lab.published()
        for chunk in lab.objects.rglob("*.parquet"):
            chunk.chmod(0o644)
            chunk.unlink() if harm == "gone" else chunk.write_bytes(b"PAR1" + bytes(500) + b"PAR1")
        assert await other.recnums(HOUR) == found
        assert lab.shared(1).reader.broken
        third = await lab.join("m2")
        await lab.published()
        asked = await lab.fetched()
        assert await third.recnums(HOUR) == found
        assert await lab.fetched() == asked


async def test_rows_that_a_newer_server_wrote_and_this_one_cannot_read_keep_nobody_from_anything(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        found = await one.recnums(HOUR)
        await lab.published()
        with psycopg.connect(lab.address) as connection:
            for claims in ("{}", "null", '[["x", [[1]]]]'):
                connection.execute(
                    "INSERT INTO mirror.journal (series, space, kind, claims, lo, hi, since, object, sha256, size, rows, server, format) "
                    "SELECT series, space, kind, %s::JSONB, lo, hi, since, %s, sha256, size, rows, server, format FROM mirror.journal "
                    "ORDER BY id LIMIT 1",
                    (claims, f"chunks/hmi.v_45s/{len(claims)}.parquet"),
                )
                connection.execute(
                    "INSERT INTO mirror.flights (series, boxes, server) SELECT 'hmi.v_45s', %s::JSONB, max(id) FROM mirror.servers", (claims,)
                )
        assert await other.recnums(HOUR) == found
        assert await other.recnums(DAY) == await one.upstream(DAY)
        assert await one.recnums(DAY) == await one.upstream(DAY)
        told = await examine(Cluster(database=lab.address, objects=f"file://{lab.objects}", name="new"))
        assert all(finding.ok for finding in told)


async def test_a_folder_that_is_not_mounted_is_not_taken_for_one_that_lost_everything(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        found = await one.recnums(HOUR)
        await lab.published()
        aside = lab.objects.with_name("aside")
        lab.objects.rename(aside)
        lab.objects.mkdir()
        asked = len(await one.log())
        answer = await other.ask(HOUR)
        assert answer.json["status"] != 0 and b"mounted" in answer.body
        assert len(await one.log()) == asked
        # What is fetched meanwhile is not put below the place where it will be mounted.
        assert await one.recnums(LATER) == await one.upstream(LATER)
        assert list(lab.objects.iterdir()) == []
        assert "is their folder mounted?" in (await one.get("/api/cluster")).json["objects_problem"]
        lab.objects.rmdir()
        aside.rename(lab.objects)
        assert await other.recnums(HOUR) == found
        await lab.published()
        assert (await one.get("/api/cluster")).json["objects_problem"] == ""
        asked = await lab.fetched()
        assert await other.recnums(LATER) == await one.upstream(LATER)
        assert await lab.fetched() == asked
        assert len(await one.log(op="rs_list")) == len([e for e in await one.log() if e["params"].get("op") == "rs_list"])


LATER = "hmi.v_45s[2014.01.02_TAI/1h]"
LIES = {
    "page": "what comes is not what a store says",
    "short": "chunks/hmi.v_45s/",
    "other": "has other bytes than its sha256",
    "silent": "it says nothing",
}


@pytest.mark.parametrize("habit", LIES)
async def test_an_object_store_that_begins_to_lie_does_no_harm_and_is_named_while_it_does(tmp_path, habit, monkeypatch):
    liar = Liar()
    monkeypatch.setattr(objects_module, "SHUNNED", 0.2)
    monkeypatch.setattr(writer_module, "AGAIN", 0.1)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    async with TestServer(liar.application()) as server:
        there = {"MIRROR_CLUSTER__OBJECTS": "s3://bucket/v1", "MIRROR_CLUSTER__ENDPOINT": f"http://127.0.0.1:{server.port}"}
        async with cluster(tmp_path, **there) as lab:
            one, other = lab.mirrors
            found = await one.recnums(HOUR)
            await lab.published()
            liar.habit = habit
            with monkeypatch.context() as soon:
                if habit == "silent":
                    soon.setattr(objects_module, "FIRST", 0.5)
                    soon.setattr(writer_module, "PATIENCE", 0.5)
                answer = await other.ask(HOUR)
                if habit == "silent":
                    assert b"is not available now" in answer.body
                else:
                    assert answer.json["keywords"][0]["values"] == found
                assert await one.recnums(HOUR) == found  # warm
                assert await one.recnums(LATER) == await one.upstream(LATER)
                told = (await other.get("/api/cluster")).json
                assert LIES[habit] in f"{told['objects_problem']} {told['broken']}"
                assert told["connected"]
                liar.habit = "none"
            monkeypatch.setattr(lab.shared(1).objects, "_silent_until", 0.0)
            async with asyncio.timeout(PATIENCE):
                await lab.published()
            assert await other.recnums(HOUR) == found
            monkeypatch.setattr(reader_module, "AGAIN", 0.0)
            told = (await other.get("/api/cluster")).json
            assert told["objects_problem"] == "" and told["broken"] == []
            third = await lab.join("m2")
            asked = await lab.fetched()
            assert await third.recnums(HOUR) == found
            assert await third.recnums(LATER) == await one.upstream(LATER)
            assert await lab.fetched() == asked
            section = Cluster(database=lab.address, objects=there["MIRROR_CLUSTER__OBJECTS"], endpoint=there["MIRROR_CLUSTER__ENDPOINT"], name="m0")
            assert all(each.ok for each in await examine(section))


async def test_a_postgresql_that_is_full_leaves_what_is_cached_and_takes_the_rest_later(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        found = await one.recnums(HOUR)
        await lab.published()
        fill_up(lab.address)
        assert await one.recnums(HOUR) == found
        asked = await lab.fetched()
        answer = await other.ask(LATER)
        assert answer.json["status"] != 0 and b"No space left on device" in answer.body
        assert await lab.fetched() == asked
        assert await other.recnums(HOUR) == found  # which only has to be read
        told = (await other.get("/api/cluster")).json
        assert told["connected"] and "No space left on device" in told["problem"]
        make_room(lab.address)
        assert await other.recnums(LATER) == await other.upstream(LATER)
        assert (await other.get("/api/cluster")).json["problem"] == ""
        assert flights(lab.address) == 0


# ---- what changes ---------------------------------------------------------------------------------


async def test_what_one_finds_changed_the_others_have_without_asking(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        before = await one.recnums(HOUR)
        await lab.published()
        assert await other.recnums(HOUR) == before
        await one.reprocess("hmi.v_45s[2014.01.01_TAI/10m]")
        for mirror in lab.mirrors:
            mirror.clock.forward(days=100)
        after = await one.recnums(HOUR)
        assert after == await one.upstream(HOUR) != before
        await lab.published()
        asked = len(await one.log(op="rs_list"))
        assert await other.recnums(HOUR) == after
        assert len(await one.log(op="rs_list")) == asked


async def test_what_one_finds_unchanged_counts_as_checked_everywhere(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        found = await one.recnums(HOUR)
        await lab.published()
        assert await other.recnums(HOUR) == found
        for mirror in lab.mirrors:
            mirror.clock.forward(days=100)
        assert await one.recnums(HOUR) == found
        await lab.published()
        asked = len(await one.log())
        assert await other.recnums(HOUR) == found
        assert len(await one.log()) == asked


async def test_what_is_forgotten_is_forgotten_by_all_and_can_be_fetched_again(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        found = await one.recnums(HOUR)
        await lab.published()
        assert await other.recnums(HOUR) == found
        half = "hmi.v_45s[2014.01.01_TAI/30m]"
        answer = await one.request("POST", "/api/forget", data=json.dumps({"ds": half, "records": True}), headers={"Content-Type": "application/json"})
        assert answer.code == 200, answer.body
        series = other.running.search._catalogue._index.series("hmi.v_45s")[0]
        index = other.running.search._catalogue._index
        async with asyncio.timeout(PATIENCE):
            while await index.count(series) != len(found) - len(await one.upstream(half)):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        asked = await lab.fetched()
        assert await other.recnums(HOUR) == found
        assert await one.recnums(HOUR) == found
        assert await lab.fetched() - asked == len(await one.upstream(half))


async def test_a_structure_is_asked_for_once(tmp_path):
    async with cluster(tmp_path) as lab:
        one, other = lab.mirrors
        await one.ask("hmi.v_45s", None, op="series_struct")
        await lab.published()
        await other.ask("hmi.v_45s", None, op="series_struct")
        await one.ask("hmi.v_45s", None, op="series_struct")
        assert len(await one.log(op="series_struct")) == 1
