"""What is wrong with a cluster is said once, clearly, and stops the start where waiting does not mend it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from mirror.cli.main import main
from mirror.cluster import database as module
from mirror.cluster.check import examine
from mirror.cluster.database import ClusterDatabase, cluster_schema_files
from mirror.cluster.journal import lock_series
from mirror.config.sections import Cluster
from mirror.errors import ClusterAway, ConfigError
from tests.clusterlab import cluster
from tests.servers import database


@pytest.fixture
def address():
    return database()


def run(address, *statements):
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


async def started(address, name="m", **options):
    made = ClusterDatabase(address, name, "1", **options)
    try:
        await made.start()
    except BaseException:
        await made.stop()
        raise
    return made


async def refused(address, **options):
    with pytest.raises(ConfigError) as caught:
        await started(address, **options)
    return str(caught.value)


async def test_a_database_that_is_not_there_stops_the_start(address):
    told = await refused(address.replace("@/", "@/nothing_like_"))
    assert told.startswith("[cluster] the PostgreSQL of `database` says") and "does not exist" in told


async def test_a_user_that_is_not_there_stops_the_start(address):
    assert 'role "nobody-at-all" does not exist' in await refused(address.replace("mirror@", "nobody-at-all@"))


async def test_a_user_without_rights_is_told_what_is_lacking(address):
    run(address, "DO $$ BEGIN CREATE ROLE poor LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    told = await refused(address.replace("mirror@", "poor@"))
    assert "permission denied" in told and "expected a user who may create the schema" in told


async def test_nobody_listening_is_no_reason_not_to_start():
    made = await started("postgresql://mirror@127.0.0.1:1/mirror")
    assert not made.connected and "refused" in made.why
    with pytest.raises(ClusterAway, match="no mirror of it asks JSOC alone"):
        async with made.transaction():
            pass
    await made.stop()


async def test_two_servers_of_one_name_are_refused(address, monkeypatch):
    monkeypatch.setattr(module, "TAKEOVER", 0.5)
    first = await started(address, "same")
    assert "name = 'same': a server of that name is in the cluster already" in await refused(address, name="same")
    await first.stop()
    again = await started(address, "same")
    assert again.connected
    await again.stop()


async def test_a_clock_that_is_off_by_an_hour_is_refused(address):
    told = await refused(address, clock=lambda: time.time() - 3600)
    assert "3,600 s behind" in told or "3,599 s behind" in told
    assert "NTP" in told


async def test_a_database_of_a_newer_program_is_refused(address):
    await (await started(address)).stop()
    newest = cluster_schema_files()[-1][0]
    run(address, f"INSERT INTO mirror.schema_version (version) VALUES ({newest + 1})")
    assert f"schema version {newest + 1}, this program knows {newest}; use a newer jsoc-mirror" in await refused(address)


async def test_a_read_only_database_is_away_until_it_can_be_written_to(address):
    name = address.partition("@/")[2].partition("?")[0]
    run(address, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    made = await started(address)
    assert not made.connected and "read-only" in made.why
    run(address, "SET default_transaction_read_only = off", f'ALTER DATABASE "{name}" SET default_transaction_read_only = off')
    async with asyncio.timeout(10):
        while not made.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await made.stop()


async def test_a_session_that_says_nothing_is_ended_by_postgresql(address, monkeypatch):
    """A paused server is gone, although its connections are there: nothing of it is left for others to wait for."""
    monkeypatch.setattr(module, "SILENCE", 0.3)
    monkeypatch.setattr(module, "WORD", 3600.0)
    made = await started(address)
    before = made.id
    async with asyncio.timeout(10):
        while made.losses == 0 or not made.connected:
            with suppress(ClusterAway):
                await made.on_session("SELECT 1")
            await asyncio.sleep(0.6)
    assert made.id > before
    await made.stop()


async def test_objects_of_another_cluster_are_refused(tmp_path):
    async with cluster(tmp_path, 1) as lab:
        with pytest.raises(ConfigError, match="expected both of one cluster"):
            await lab.join("m1", MIRROR_CLUSTER__DATABASE=database())


async def test_a_store_that_lies_about_create_only_puts_is_refused(tmp_path, monkeypatch):
    from mirror.cluster import mark
    from mirror.cluster.objects import Objects, probe

    async def put(self, key, data):
        await self.delete(key)
        await real(self, key, data)
        return True

    real = Objects.put_new
    async with cluster(tmp_path, 1) as lab:
        with monkeypatch.context() as patched:
            patched.setattr(Objects, "put_new", put)
            patched.setattr(mark, "probe", probe)
            with pytest.raises(ConfigError, match="create-only puts"):
                await lab.join("m1")


# ---- mirror cluster -------------------------------------------------------------------------------


async def test_the_check_finds_objects_that_are_gone_and_says_when_all_is_well(tmp_path):
    async with cluster(tmp_path, 1) as lab:
        section = Cluster(database=lab.address, objects=f"file://{lab.objects}", name="m0")
        await lab.mirrors[0].recnums("hmi.v_45s[2014.01.01_TAI/1h]")
        await lab.published()
        found = await examine(section)
        assert all(each.ok for each in found), found
        assert [each.subject for each in found] == ["PostgreSQL", "clock", "objects", "journal"]
        next(lab.objects.rglob("*.parquet")).unlink()
        found = await examine(section)
        assert [each.text for each in found if not each.ok][0].startswith("1 object gone")


async def test_the_status_names_the_servers_and_what_they_share(tmp_path):
    async with cluster(tmp_path) as lab:
        found = await lab.mirrors[0].recnums("hmi.v_45s[2014.01.01_TAI/1h]")
        await lab.published()
        told = (await lab.mirrors[1].get("/api/cluster")).json
        assert [server["name"] for server in told["servers"]] == ["m0", "m1"]
        assert [server["here"] for server in told["servers"]] == [False, True]
        assert told["connected"] and told["records"] == len(found) and told["flights"] == 0
        metrics = (await lab.mirrors[1].get("/metrics")).body.decode()
        assert "mirror_cluster_up 1.0" in metrics


def test_the_check_of_a_mirror_that_is_alone_says_so(tmp_path, capsys):
    empty = Path(tmp_path / "config.toml")
    empty.write_text("")
    with pytest.raises(SystemExit) as ended:
        main(["cluster", "check", "--config", str(empty)])
    assert ended.value.code == 1
    assert "there is no [cluster]" in capsys.readouterr().err


async def test_a_server_that_is_paused_in_a_transaction_keeps_no_lock_from_the_others(address, monkeypatch):
    monkeypatch.setattr(module, "SILENCE", 0.5)
    one, other = await started(address, "one"), await started(address, "other")
    async with asyncio.timeout(20):
        paused = asyncio.ensure_future(_pause_in_a_transaction(one, waiting := asyncio.Event()))
        await asyncio.sleep(0.1)
        async with other.transaction() as cursor:
            await lock_series(cursor, "hmi.v_45s")
        waiting.set()
        with pytest.raises(ClusterAway):
            await paused
    await one.stop()
    await other.stop()


async def _pause_in_a_transaction(server, go_on):
    async with server.transaction() as cursor:
        await lock_series(cursor, "hmi.v_45s")
        await go_on.wait()
        await lock_series(cursor, "hmi.v_45s")
