"""What is wrong with a cluster is said once, clearly, and stops the start where waiting does not mend it."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from mirror.cli.main import main
from mirror.cluster import database as module
from mirror.cluster.check import examine
from mirror.cluster.database import ClusterDatabase, other_versions
from mirror.cluster.journal import lock_series
from mirror.config.sections import Cluster
from mirror.errors import ClusterAway, ConfigError
from mirror.storage.database.migrations import schema_files
from tests.clusterlab import BUSY, cluster, patient
from tests.servers import database, postgres
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True)
def _patient():
    with patient():
        yield


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
    assert re.search(r"3,(600|5\d\d) s behind", told)
    assert "NTP" in told


async def test_a_database_of_a_newer_program_is_refused(address):
    await (await started(address)).stop()
    newest = schema_files("cluster")[-1][0]
    run(address, f"INSERT INTO mirror.schema_version (version) VALUES ({newest + 1})")
    assert f"schema version {newest + 1}, this program knows {newest}; use a newer jsoc-mirror" in await refused(address)


async def test_a_read_only_database_is_away_until_it_can_be_written_to(address):
    name = address.partition("@/")[2].partition("?")[0]
    run(address, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    made = await started(address)
    assert not made.connected and "read-only" in made.why
    run(address, "SET default_transaction_read_only = off", f'ALTER DATABASE "{name}" SET default_transaction_read_only = off')
    async with asyncio.timeout(PATIENCE):
        while not made.connected:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await made.stop()


async def test_a_session_that_says_nothing_is_ended_by_postgresql(address, monkeypatch):
    """A paused server is gone, although its connections are there: nothing of it is left for others to wait for."""
    monkeypatch.setattr(module, "SILENCE", 0.3)
    monkeypatch.setattr(module, "WORD", 3600.0)
    made = await started(address)
    before = made.id
    async with asyncio.timeout(PATIENCE):
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
    from mirror.cluster import check as mark
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
        assert [each.subject for each in found] == ["PostgreSQL", "clock", "servers", "name", "objects", "journal"]
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
    other = await started(address, "other")
    monkeypatch.setattr(module, "SILENCE", 1.0)
    monkeypatch.setattr(module, "WORD", 0.05)
    one = await started(address, "one")
    async with asyncio.timeout(PATIENCE):
        held, waiting = asyncio.Event(), asyncio.Event()
        paused = asyncio.ensure_future(_pause_in_a_transaction(one, held, waiting))
        await asyncio.wait([asyncio.ensure_future(held.wait()), paused], return_when=asyncio.FIRST_COMPLETED)
        async with other.transaction() as cursor:
            await lock_series(cursor, "hmi.v_45s")
        waiting.set()
        with pytest.raises(ClusterAway):
            await paused
    await one.stop()
    await other.stop()


async def _pause_in_a_transaction(server, held, go_on):
    async with server.transaction() as cursor:
        await lock_series(cursor, "hmi.v_45s")
        held.set()
        await go_on.wait()
        await lock_series(cursor, "hmi.v_45s")


# ---- faults of a PostgreSQL that was well ----------------------------------------------------------


async def until(what):
    async with asyncio.timeout(PATIENCE):
        while not what():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def write(server):
    async with server.transaction() as cursor:
        await cursor.execute("INSERT INTO flights (series, boxes, server) VALUES ('a', '[]', %s)", (server.id,))


def ended(address):
    """All sessions of mirrors with a database are ended."""
    run(address, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")


@pytest.fixture
def quick(monkeypatch):
    """What is done every half second is done often, and PostgreSQL must answer soon."""
    monkeypatch.setattr(module, "WORD", 0.05)
    monkeypatch.setattr(module, "RETURN", 0.2)


async def test_a_postgresql_that_says_nothing_is_away_though_its_connections_stand(address, quick, monkeypatch):
    monkeypatch.setattr(module, "ANSWER", 0.5)
    made = await started(address)
    server = postgres()
    async with asyncio.timeout(PATIENCE):
        server.pause()
        try:
            with pytest.raises(ClusterAway):
                await write(made)
            await until(lambda: not made.connected)
            assert "has said nothing for" in made.why
            with pytest.raises(ClusterAway, match="no mirror of it asks JSOC alone"):
                await write(made)
        finally:
            server.resume()
            monkeypatch.setattr(module, "ANSWER", BUSY)
        await until(lambda: made.connected)
        await write(made)
    await made.stop()


async def test_a_standby_is_away_until_it_is_promoted(address, quick):
    """A real one: the same PostgreSQL comes up in recovery, and leaves it."""
    made = await started(address)
    server = postgres()
    server.stop(signal.SIGINT)
    (server.folder / "data" / "standby.signal").touch()
    server.start()
    server.wait()
    try:
        await until(lambda: "standby" in made.why)
        assert not made.connected
        found = await examine(Cluster(database=address, objects=f"file://{server.folder}/none", name="m"))
        assert [each.text for each in found if not each.ok][0].startswith("the cluster's PostgreSQL is a standby")
    finally:
        run(address, "SELECT pg_promote()")
        (server.folder / "data" / "standby.signal").unlink(missing_ok=True)
    await until(lambda: made.connected)
    await write(made)
    await made.stop()


async def test_a_postgresql_that_becomes_read_only_is_away_until_it_can_be_written_to(address, quick):
    made = await started(address)
    run(address, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    try:
        async with asyncio.timeout(PATIENCE):
            while made.connected:
                with suppress(ClusterAway):
                    await write(made)
                await asyncio.sleep(0)
        assert "read-only" in made.why
    finally:
        run(address, "SET default_transaction_read_only = off", "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
    await until(lambda: made.connected)
    await write(made)
    await made.stop()


FULL = "could not extend file: No space left on device"


def fill_up(address):
    """From now on nothing can be inserted, as on a disk that is full."""
    run(
        address,
        f"CREATE FUNCTION mirror.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{FULL}' USING ERRCODE = '53100'; END $$",
        *(f"CREATE TRIGGER full_up BEFORE INSERT OR UPDATE ON mirror.{t} EXECUTE FUNCTION mirror.full()" for t in ("flights", "journal", "servers")),
    )


def make_room(address):
    run(address, "DROP FUNCTION mirror.full() CASCADE")


async def test_a_postgresql_that_is_full_stays_there_and_says_so_until_it_has_room(address, quick, caplog):
    made = await started(address)
    fill_up(address)
    for _ in range(3):
        with pytest.raises(ClusterAway, match="No space left"):
            await write(made)
    assert made.connected and "No space left on device" in made.problem
    assert sum("cannot do its work" in record.getMessage() for record in caplog.records) == 1
    await made.look_again()
    assert made.problem  # still
    async with made.transaction() as cursor:
        await cursor.execute("SELECT 1")
    assert made.problem  # reading is no proof
    make_room(address)
    await made.look_again()
    assert made.problem == ""
    await write(made)
    await made.stop()


@pytest.fixture
def poor(address):
    """The address for a role of its own that may use the database, and nothing else."""
    name = address.partition("@/")[2].partition("?")[0]
    run(address, f'CREATE ROLE "of_{name}" LOGIN', f'GRANT ALL ON DATABASE "{name}" TO "of_{name}"')
    return address.replace("mirror@", f"of_{name}@"), f"of_{name}"


async def test_too_many_connections_pass(address, poor, quick):
    mine, role = poor
    run(address, f'ALTER ROLE "{role}" CONNECTION LIMIT 1')
    made = await started(mine)
    assert not made.connected and "too many connections" in made.why
    run(address, f'ALTER ROLE "{role}" CONNECTION LIMIT 3')
    await until(lambda: made.connected)
    await asyncio.gather(*(write(made) for _ in range(5)))  # one after the other
    run(address, f'ALTER ROLE "{role}" CONNECTION LIMIT 20')
    await asyncio.gather(*(write(made) for _ in range(5)))
    await made.stop()


async def test_a_password_that_is_changed_is_told_until_it_is_right_again(address, poor, quick, monkeypatch):
    mine, role = poor
    server = postgres()
    rules = server.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all {role} scram-sha-256\n{before}")
    run(address, f"ALTER ROLE \"{role}\" PASSWORD 'first'", "SELECT pg_reload_conf()")
    try:
        monkeypatch.setenv("PGPASSWORD", "first")
        made = await started(mine)
        assert made.connected
        run(address, f"ALTER ROLE \"{role}\" PASSWORD 'second'")
        await write(made)  # who is in stays in
        ended(address)
        await until(lambda: "password authentication failed" in made.why)
        assert "PGPASSFILE" in made.why and "second" not in made.why
        monkeypatch.setenv("PGPASSWORD", "second")
        await until(lambda: made.connected)
        await write(made)
        await made.stop()
    finally:
        rules.write_text(before)
        run(address, "SELECT pg_reload_conf()")


async def test_a_clock_that_goes_wrong_in_a_mirror_that_runs_takes_it_out_until_it_is_right(address, quick):
    off = [0.0]
    made = await started(address, clock=lambda: time.time() + off[0])
    off[0] = 3600.0
    await until(lambda: not made.connected)
    assert re.search(r"the clock of this machine is 3,(600|5\d\d) s ahead of", made.why) and "NTP" in made.why
    off[0] = 0.0
    await until(lambda: made.connected)
    await made.stop()


async def test_one_connection_that_ends_is_noticed_by_nobody(address):
    made = await started(address)
    await write(made)
    ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%flights%'"
    run(address, f"{ends} AND pid <> pg_backend_pid()")
    await write(made)
    await made.stop()


async def test_servers_of_other_versions_are_named(address):
    one = await started(address, "one")
    other = ClusterDatabase(address, "other", "2")
    await other.start()
    assert other_versions(await one.members()) == "the servers differ: one 1, other 2; expected one version of all within a day"
    await other.stop()
    async with asyncio.timeout(PATIENCE):
        while other_versions(await one.members()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await one.stop()
