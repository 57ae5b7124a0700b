"""The connection to the cluster's PostgreSQL: which servers are there, and what happens while it is away.

1. A server is there as long as a session of it holds the advisory lock of its number. PostgreSQL releases that with
   the connection, and ends a session that is silent for SILENCE seconds, so that a paused server counts as gone. No
   clock of ours is involved.
2. Everything done on behalf of that session ends with it: its places towards JSOC, its flights.
3. A PostgreSQL that is silent for ANSWER seconds is away too, even if its connections stand: all of them are cut, so
   that nobody waits for what may never come.
4. Without a session, whatever needs one raises ClusterAway at once, with the reason; connecting is tried again for
   ever.
5. What waiting cannot mend (a wrong password, another server with this name, a clock that is off) raises ConfigError at
   the start. In a running mirror it is the reason why the cluster is away.
6. A PostgreSQL that is there but cannot do its work (its disk is full) is not left: ``problem`` says so until a
   statement that writes has succeeded.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from mirror.concurrency import end, taken
from mirror.errors import ClusterAway, ConfigError, MirrorError
from mirror.redaction import redacted
from mirror.storage.database.migrations import schema_files

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

log = logging.getLogger(__name__)

#: The oldest PostgreSQL, as its ``server_version``.
OLDEST = 130000
#: Seconds of silence after which a session is ended, and between two statements that keep it alive.
SILENCE, WORD = 3.0, 0.5
#: Seconds for which such a statement may go unanswered.
ANSWER = 4.0
#: Seconds after the end of a session for which those who need one wait for the next.
RETURN = 4.0
#: Seconds that a statement may take, and by which clocks may differ.
PATIENCE, CLOCKS = 15.0, 60.0
#: Seconds in which PostgreSQL must accept a connection.
CONNECTING = 5.0
#: Seconds within which a connection for transactions must exist once there is a session.
READY = 5.0
#: Seconds for which a start waits for the session of an earlier server with its name to end.
TAKEOVER = 8.0
#: Seconds between two attempts, at first and at most.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 0.8
#: Connections for transactions.
CONNECTIONS = 6
#: The first half of advisory locks, by their purpose; the second is a number or a hash.
PRESENCE, NAMES, SERIES, FACTS, MIGRATIONS, PLACES = range(0x6A736F00, 0x6A736F06)
#: The notifications to other servers.
JOURNAL, KNOWN, FREE = "mirror_journal", "mirror_facts", "mirror_places"
#: SQL: the servers that are there.
LIVING = (
    "SELECT objid::INT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2 "
    f"AND classid = {PRESENCE} AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
#: SQL: the address at which a server answers.
_ADDRESS = (
    "UPDATE servers SET address = format('http://%%s:%%s', coalesce(%s, host(inet_client_addr()), '127.0.0.1'), %s::INT) WHERE id = %s"
)
#: Most server names, as the ids of exports can distinguish.
MOST_NAMES = 1000
#: PostgreSQL's messages for passing problems.
_PASSING = re.compile(r"starting up|shutting down|recovery mode|too many c|reserved for|disk full|No space left", re.IGNORECASE)
_NO_PASSWORD = re.compile(r"password authentication failed|no password supplied")

Cursor = psycopg.AsyncCursor[Any]
_Connection = psycopg.AsyncConnection[Any] | psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Member:
    """A running server of the cluster."""

    id: int
    name: str
    version: str
    address: str
    since: float
    number: int


#: Prefixes of error codes for problems of PostgreSQL itself, not of a statement: it lacks resources, or its files.
_UNABLE = ("53", "58", "XX")
#: The code for a database that has become read-only.
_READ_ONLY = "25006"


def other_versions(members: Iterable[Member]) -> str:
    """Which server has which version, if they differ; "" if not."""
    by_version: dict[str, list[str]] = {}
    for member in members:
        by_version.setdefault(member.version, []).append(member.name)
    if len(by_version) <= 1:
        return ""
    told = ", ".join(f"{' and '.join(names)} {version}" for version, names in sorted(by_version.items()))
    return f"the servers differ: {told}; expected one version of all within a day"


class _Wrong(Exception):
    """A problem that waiting does not mend."""


class ClusterDatabase:
    """The PostgreSQL at ``url``, for the server ``name``; ``clock`` gives Unix seconds."""

    def __init__(self, url: str, name: str, version: str, *, clock: Callable[[], float] = time.time) -> None:
        self.name, self.version = name, version
        self.number = 0  #: the number of its name, always the same; 0 while unknown
        self.id = 0  #: the number of this server, a new one after each absence
        self.identity = ""  #: of the cluster
        self.why = "it was not asked yet"  #: why the cluster is away
        self.on_connect: Callable[[], Awaitable[None]] | None = None  #: awaited whenever the cluster is back
        self.on_notice: Callable[[str, str], None] = lambda channel, payload: None
        self.losses = 0
        self.problem = ""  #: what keeps PostgreSQL from its work while it is there
        self._url, self._clock = url, clock
        self._listens: tuple[str | None, int] | None = None
        self._session: psycopg.Connection[Any] | None = None
        self._threads = ThreadPoolExecutor(2, "cluster-session")
        self._back = asyncio.Event()
        self._lost_at = -math.inf  #: by the monotonic clock
        self._pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] | None = None
        self._lost = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._keeper: asyncio.Task[None] | None = None
        self._scopes: set[asyncio.Timeout] = set()
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # it logs each attempt; here it is logged once
        self._connections: WeakSet[_Connection] = WeakSet()  #: those that may be open
        self._unanswered = math.inf  #: since when a keep-alive is, by the monotonic clock
        self._refusal = ""  #: why the last connection for transactions could not be made

    @property
    def connected(self) -> bool:
        """True while there is a session."""
        return self._session is not None

    # ---- starting, stopping ----------------------------------------------------------------------

    async def start(self) -> None:
        """Connect, or keep trying; ConfigError for what waiting does not mend."""
        until = time.monotonic() + TAKEOVER
        while True:
            try:
                await self._connect()
                break
            except _Taken as problem:
                if time.monotonic() > until:
                    raise ConfigError(f"[cluster] {problem}") from problem
                await asyncio.sleep(FIRST_PAUSE)
            except _Wrong as problem:
                raise ConfigError(f"[cluster] {problem}") from problem
            except ClusterAway as problem:
                self.why = str(problem)
                log.warning("the cluster is away, and this mirror asks JSOC for nothing problem=%r", str(problem))
                break
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Leave the cluster."""
        if self._keeper is not None:
            await end(self._keeper)
        await self._disconnect("this mirror stops")
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.sleep(0)  # so that what came at the last moment is closed

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            if self.connected:
                await self._lost.wait()
                await self._disconnect(self.why)
                pause = FIRST_PAUSE
            try:
                await self._connect()
            except (_Wrong, ClusterAway) as problem:
                if str(problem) != self.why:
                    log.warning("the cluster is away problem=%r", str(problem))
                self.why = str(problem)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            log.info("the cluster is there again")

    # ---- for those who need it --------------------------------------------------------------------

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Cursor]:
        """A cursor in a transaction; ClusterAway if there is no session, or PostgreSQL fails."""
        pool = await self._there()
        try:
            async with (
                pool.connection(timeout=PATIENCE) as connection,
                connection.transaction(),
                connection.cursor() as cursor,
            ):
                yield cursor
                if self.problem:
                    await cursor.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL")
                    row = await cursor.fetchone()
                    self.problem = "" if row and row[0] else self.problem
        except psycopg.Error as problem:
            raise self._failed(problem) from problem

    async def look_again(self) -> None:
        """Check whether PostgreSQL can do its work again, if it could not; to be called now and then."""
        if self.problem and self.connected:
            with suppress(ClusterAway):
                async with self.transaction() as cursor:
                    await cursor.execute("UPDATE servers SET version = version WHERE id = %s", (self.id,))

    @asynccontextmanager
    async def while_there(self) -> AsyncIterator[None]:
        """End what runs inside with ClusterAway when the session ends."""
        await self._there()
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.add(scope)
                try:
                    yield
                finally:
                    self._scopes.discard(scope)
        except TimeoutError:
            if scope.expired():
                raise self._away() from None
            raise

    async def on_session(self, sql: str, values: tuple[Any, ...] = ()) -> tuple[Any, ...] | None:
        """The first row of a statement in the session itself, which holds the locks; ClusterAway as above."""
        session = self._session
        if session is None:
            raise self._away()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, lambda: session.execute(sql.encode(), values).fetchone()
            )
        except psycopg.Error as problem:
            self._lose(f"the cluster's PostgreSQL {_said(problem)}")
            raise self._away() from problem

    async def lock(self, lock: str, values: tuple[Any, ...]) -> bool:
        """Take an advisory lock for the session; False if another server has it, ClusterAway as above.

        ``lock`` is its two numbers in SQL. A caller that is cancelled meanwhile leaves nothing locked.
        """

        async def locked() -> bool:
            row = await self.on_session(f"SELECT pg_try_advisory_lock({lock})", values)
            return bool(row and row[0])

        async def give_back(got: bool) -> None:
            if got:
                with suppress(ClusterAway):
                    await self.on_session(f"SELECT pg_advisory_unlock({lock})", values)

        return await taken(locked(), give_back)

    async def members(self) -> list[Member]:
        """The servers that are there, by name."""
        sql = (
            "SELECT id, name, version, address, extract(epoch FROM since)::FLOAT8, number FROM servers JOIN names USING (name) "
            f"WHERE id IN ({LIVING}) ORDER BY name, id"
        )
        async with self.transaction() as cursor:
            await cursor.execute(sql)
            return [Member(*row) for row in await cursor.fetchall()]

    async def name_of(self, number: int) -> str | None:
        """The name with a number, whether its server is there or not; None if there is none."""
        async with self.transaction() as cursor:
            await cursor.execute("SELECT name FROM names WHERE number = %s", (number,))
            row = await cursor.fetchone()
            return None if row is None else str(row[0])

    async def announce(self, host: str | None, port: int) -> None:
        """Tell the others this server's address; None: the one from which PostgreSQL sees it."""
        self._listens = (host, port)
        if self.connected:
            with suppress(ClusterAway):
                async with self.transaction() as cursor:
                    await cursor.execute(_ADDRESS, (host, port, self.id))

    async def _there(self) -> AsyncConnectionPool[psycopg.AsyncConnection[Any]]:
        """The connections; for RETURN seconds after the end of a session this waits for the next."""
        rest = self._lost_at + RETURN - time.monotonic()
        if self._pool is None and rest > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(rest):
                    await self._back.wait()
        if self._pool is None:
            raise self._away()
        return self._pool

    def _failed(self, problem: psycopg.Error) -> ClusterAway:
        """Turn a failed statement into the caller's error, and note it for the status."""
        said = _said(problem)
        if isinstance(problem, PoolTimeout):
            said = f"has no connection left for this mirror{self._refusal and ': it '}{self._refusal}"
        told = f"the cluster's PostgreSQL {said}"
        if problem.sqlstate == _READ_ONLY:
            self._lose("the cluster's PostgreSQL is read-only; expected one that can be written to")
        elif self.connected and (isinstance(problem, PoolTimeout) or (problem.sqlstate or "").startswith(_UNABLE)):
            if told != self.problem:
                log.warning("the cluster's PostgreSQL cannot do its work problem=%r", told)
            self.problem = told
        return ClusterAway(told)

    def _away(self) -> ClusterAway:
        return ClusterAway(f"the cluster is away, and no mirror of it asks JSOC alone: {self.why}")

    # ---- connecting ------------------------------------------------------------------------------

    async def _connect(self) -> None:
        self._lost.clear()
        self._unanswered = math.inf
        listener = await self._open()
        pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]] | None = None
        session: psycopg.Connection[Any] | None = None
        # From here on PostgreSQL may fall silent at any statement.
        silent = asyncio.get_running_loop().call_later(PATIENCE, self._cut)
        try:
            await self._look_at(listener)
            await migrate(listener)
            await listener.execute("SET search_path = mirror")
            row = await (await listener.execute("SELECT id::TEXT FROM cluster")).fetchone()
            self.identity = "" if row is None else str(row[0])
            session = await self._joined()
            for channel in (JOURNAL, KNOWN, FREE):
                await listener.execute(f"LISTEN {channel}".encode())
            pool = AsyncConnectionPool(
                self._url, connection_class=self._pooled(), min_size=1, max_size=CONNECTIONS, open=False, timeout=PATIENCE,
                kwargs=_settings(self.name), check=AsyncConnectionPool.check_connection, reconnect_timeout=PATIENCE,
            )  # fmt: skip
            await pool.open(wait=True, timeout=READY)
        except BaseException as problem:
            await _closed(listener, pool)
            _end(session)
            if isinstance(problem, psycopg.errors.InsufficientPrivilege):
                expected = "expected a user who may create the schema mirror there, as the owner of the database may"
                raise _Wrong(f"the PostgreSQL of `database` {_said(problem)}; {expected}") from problem
            if isinstance(problem, psycopg.Error):
                raise self._failed(problem) from problem
            raise
        finally:
            silent.cancel()
        self._session, self._pool, self.why = session, pool, ""
        self._tasks = [asyncio.create_task(self._listen(listener)), asyncio.create_task(self._hear(session))]
        loop = asyncio.get_running_loop()
        Thread(target=self._speak, args=(session, loop), name="cluster-word", daemon=True).start()
        self._back.set()
        if self.on_connect is not None:
            try:
                await self.on_connect()
            except MirrorError as problem:
                await self._disconnect(str(problem))
                if isinstance(problem, ConfigError):
                    raise _Wrong(str(problem).removeprefix("[cluster] ")) from problem
                raise ClusterAway(str(problem)) from problem

    async def _open(self) -> psycopg.AsyncConnection[Any]:
        try:
            made = await psycopg.AsyncConnection.connect(self._url, **_settings(self.name))
        except psycopg.OperationalError as problem:
            text = _said(problem)
            if _NO_PASSWORD.search(text) or ("FATAL" in text and not _PASSING.search(text)):
                raise _Wrong(f"the PostgreSQL of `database` {text}") from problem
            raise ClusterAway(f"the cluster's PostgreSQL {text}") from problem
        except psycopg.Error as problem:
            raise _Wrong(f"database: {_said(problem)}") from problem
        self._connections.add(made)
        return made

    async def _look_at(self, session: psycopg.AsyncConnection[Any]) -> None:
        version = session.info.server_version
        if version < OLDEST:
            raise _Wrong(f"database: PostgreSQL is {version // 10000}; expected {OLDEST // 10000} or later")
        sql = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', extract(epoch FROM clock_timestamp())::FLOAT8"
        row = await (await session.execute(sql)).fetchone()
        recovering, read_only, now = row or (False, False, 0.0)
        if recovering:
            raise ClusterAway("the cluster's PostgreSQL is a standby, or still recovering; expected one that can be written to")
        if read_only:
            raise ClusterAway("the cluster's PostgreSQL is read-only; expected one that can be written to")
        off = _difference(self._clock(), now, self._clock())
        if off:
            raise _Wrong(off)

    async def _joined(self) -> psycopg.Connection[Any]:
        """The session; one that comes when nobody waits any more is closed."""
        joining = asyncio.get_running_loop().run_in_executor(self._threads, self._join)
        try:
            return await asyncio.shield(joining)
        except asyncio.CancelledError:
            joining.add_done_callback(lambda done: None if done.exception() else _end(done.result()))
            raise

    def _join(self) -> psycopg.Connection[Any]:
        """Open a session with a number of its own, and remove servers that are gone, with their flights."""
        session = psycopg.connect(self._url, **_settings(self.name))
        self._connections.add(session)
        try:
            with session.transaction():
                self.number = _named(session, self.name)
                sql = "INSERT INTO servers (name, version) VALUES (%s, %s) RETURNING id"
                row = session.execute(sql, (self.name, self.version)).fetchone()
                self.id = 0 if row is None else int(row[0])
                session.execute("SELECT pg_advisory_lock(%s, %s)", (PRESENCE, self.id))
                if self._listens is not None:
                    session.execute(_ADDRESS, (*self._listens, self.id))
            session.execute(f"DELETE FROM servers WHERE id <> {self.id} AND id NOT IN ({LIVING})".encode())
            if session.info.server_version >= 140000:
                session.execute(f"SET idle_session_timeout = {int(SILENCE * 1000)}".encode())
        except BaseException:
            session.close()
            raise
        return session

    async def _disconnect(self, why: str) -> None:
        """End everything that was done on behalf of the session."""
        session, pool, self._session, self._pool = self._session, self._pool, None, None
        self.why = why
        self._back.clear()
        self._lost_at = min(self._unanswered, time.monotonic())
        self.problem = ""
        tasks, self._tasks = self._tasks, []
        for scope in tuple(self._scopes):
            with suppress(RuntimeError):
                scope.reschedule(asyncio.get_running_loop().time())
        await end(*tasks)
        await _closed(pool)
        await asyncio.get_running_loop().run_in_executor(self._threads, _end, session)

    def _lose(self, why: str) -> None:
        if self.connected and not self._lost.is_set():
            self.losses += 1
            log.warning("the session with the cluster ended problem=%r", why)
            self.why = why
            self._lost.set()

    def _speak(self, session: psycopg.Connection[Any], loop: asyncio.AbstractEventLoop) -> None:
        """Keep the session alive, from a thread: a busy event loop must not make the server seem gone."""
        while self._session is session:
            time.sleep(WORD)
            before, self._unanswered = self._clock(), time.monotonic()
            try:
                row = session.execute("SELECT extract(epoch FROM clock_timestamp())::FLOAT8").fetchone()
                why = "" if row is None else _difference(before, row[0], self._clock())
            except psycopg.Error as problem:
                why = f"the cluster's PostgreSQL {_said(problem)}"
            if why:
                with suppress(RuntimeError):  # the loop may have ended
                    loop.call_soon_threadsafe(self._lose_of, session, why)
                return
            self._unanswered = math.inf

    async def _hear(self, session: psycopg.Connection[Any]) -> None:
        """Give up a session whose keep-alives go unanswered, and all connections with it."""
        suspect = math.inf
        while self._session is session:
            await asyncio.sleep(WORD)
            since = self._unanswered
            waited = time.monotonic() - since
            if waited <= ANSWER:
                continue
            # If this process was not scheduled, the answer may have come but not been read: look twice.
            before, suspect = suspect, since
            if before == since:
                self._lose_of(session, f"the cluster's PostgreSQL has said nothing for {waited:.0f} s")
                self._cut()
                return

    def _cut(self) -> None:
        """Cut all connections, so that waits for PostgreSQL fail; nothing else is known to end such a wait."""
        for connection in tuple(self._connections):
            if not connection.closed:
                with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as line:
                    line.shutdown(socket.SHUT_RDWR)

    def _pooled(self) -> type[psycopg.AsyncConnection[Any]]:
        """The class of connections for transactions, which notes why one cannot be made."""
        database = self

        class Pooled(psycopg.AsyncConnection[Any]):
            @classmethod
            async def connect(cls, *arguments: Any, **more: Any) -> Pooled:
                try:
                    made = await super().connect(*arguments, **more)
                except psycopg.Error as problem:
                    said = _said(problem)
                    if database.connected and said != database._refusal:
                        log.warning("PostgreSQL refuses one more connection problem=%r", said)
                    database._refusal = said
                    raise
                database._refusal = ""
                database._connections.add(made)
                return made

        return Pooled

    def _lose_of(self, session: psycopg.Connection[Any], why: str) -> None:
        if self._session is session:
            self._lose(why)

    async def _listen(self, listener: psycopg.AsyncConnection[Any]) -> None:
        try:
            async for notice in listener.notifies():
                self.on_notice(notice.channel, notice.payload)
        except psycopg.Error as problem:
            self._lose(f"the cluster's PostgreSQL {_said(problem)}")
        finally:
            await _closed(listener)


class _Taken(_Wrong):
    """Another server has the name, or the session of an earlier one has not ended yet."""


def _difference(before: float, there: float, after: float) -> str:
    """What is wrong with this clock, which was read before and after PostgreSQL's; "" if it is right."""
    ahead, behind = before - there, there - after
    if max(ahead, behind) <= CLOCKS:
        return ""
    return (
        f"the clock of this machine is {max(ahead, behind):,.0f} s {'ahead of' if ahead > 0 else 'behind'} that of the cluster's "
        "PostgreSQL; expected the same time, as NTP keeps it: what was checked last would not be known"
    )


def _settings(name: str) -> dict[str, Any]:
    patience = int(PATIENCE * 1000)
    return {
        "autocommit": True,
        "application_name": f"jsoc-mirror {name}",
        "connect_timeout": int(CONNECTING),
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": patience,
        # A server that is paused in the middle of a transaction must not keep its locks from the others.
        "options": f"-c search_path=mirror -c statement_timeout={patience} -c client_min_messages=warning "
        f"-c idle_in_transaction_session_timeout={int(SILENCE * 1000)} "
        f"-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
    }


def _said(problem: psycopg.Error) -> str:
    """The error on one line, without addresses and passwords."""
    text = " ".join(str(problem).split()) or type(problem).__name__
    state = f" ({problem.sqlstate})" if problem.sqlstate else ""
    if _NO_PASSWORD.search(text):
        text += "; expected its password in PGPASSFILE, or in MIRROR_CLUSTER__DATABASE"
    return f"says: {redacted(text)}{state}"


def name_of_machine() -> str:
    """The default name of a server: its machine's."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:63] or "mirror"


def _named(session: psycopg.Connection[Any], name: str) -> int:
    """Take a name, which only one server may have; its number."""
    got = session.execute("SELECT pg_try_advisory_lock(%s, hashtext(%s))", (NAMES, name)).fetchone()
    if got is None or not got[0]:
        raise _Taken(f"name = {name!r}: a server of that name is in the cluster already; expected another name for each")
    session.execute("INSERT INTO names (name) VALUES (%s) ON CONFLICT DO NOTHING", (name,))
    row = session.execute("SELECT number FROM names WHERE name = %s", (name,)).fetchone()
    number = 0 if row is None else int(row[0])
    if number >= MOST_NAMES:
        raise _Wrong(f"name: there were {MOST_NAMES - 1} names in this cluster already; expected one of them")
    return number


def _end(session: psycopg.Connection[Any] | None) -> None:
    if session is not None:
        with suppress(psycopg.Error, OSError):
            session.close()


async def _closed(*parts: psycopg.AsyncConnection[Any] | AsyncConnectionPool[Any] | None) -> None:
    for part in parts:
        with suppress(psycopg.Error, OSError):
            if isinstance(part, AsyncConnectionPool):
                await part.close(timeout=0)  # otherwise it waits for connections that are never made
            elif part is not None:
                await part.close()


async def migrate(connection: psycopg.AsyncConnection[Any]) -> None:
    """Bring the database up to date in one transaction; a newer one is refused."""
    files = schema_files("cluster")
    newest = files[-1][0]
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", (MIGRATIONS,))
        await connection.execute("CREATE SCHEMA IF NOT EXISTS mirror")
        await connection.execute("SET LOCAL search_path = mirror")
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_version (version INT NOT NULL, applied_at TIMESTAMPTZ NOT NULL DEFAULT now())"
        )
        row = await (await connection.execute("SELECT coalesce(max(version), 0) FROM schema_version")).fetchone()
        version = 0 if row is None else int(row[0])
        if version > newest:
            raise _Wrong(
                f"the cluster's PostgreSQL has schema version {version}, this program knows {newest}; use a newer jsoc-mirror"
            )
        for number, file in files:
            if number > version:
                await connection.execute(file.read_bytes())
                await connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (number,))
