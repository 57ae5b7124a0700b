"""The servers that tests of a cluster use are real, one of each for a process, and can be stopped and started again."""

import signal

import psycopg
import pytest

from tests.servers import database, postgres


def test_each_test_has_a_database_of_its_own():
    first, second = database(), database()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS x")
    with psycopg.connect(second) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("SELECT * FROM t")


def test_a_database_is_a_copy_of_its_template():
    template = database()
    with psycopg.connect(template) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS x")
    with psycopg.connect(database(template.partition("?")[0].rpartition("/")[2])) as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]


def test_what_was_committed_is_there_after_a_crash():
    address = database()
    with psycopg.connect(address) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS x")
    postgres().stop(signal.SIGQUIT)
    postgres().start()
    postgres().wait()
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]
