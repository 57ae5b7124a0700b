"""The audit: who did what to the mirror itself, recorded once a request has ended, however it ended."""

from __future__ import annotations

import json
import logging
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from mirror.api.access import AuditLine
from mirror.errors import StorageError
from mirror.humanize import stamp
from mirror.redaction import redacted
from mirror.storage.database.database import Tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from mirror.storage.database.database import Cursor, Database

log = logging.getLogger(__name__)

#: Seconds for which entries are kept.
KEPT = 400 * 86400.0
#: Characters of what was sent that are kept.
LONGEST = 1000
#: Members of a body that identify or authenticate somebody.
_PRIVATE = frozenset({"address", "email", "notify", "token", "password", "secret", "hash"})


def about(body: bytes) -> str:
    """A JSON body as it is recorded: without addresses and secrets, and shortened."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    text = json.dumps(_masked(given), ensure_ascii=False)[:LONGEST]
    return text.encode("utf-8", "replace").decode()  # JSON may have what is no text


def _masked(given: Any, depth: int = 4) -> Any:
    if isinstance(given, dict) and depth:
        return {
            redacted(k): "..." if k.lower() in _PRIVATE else _masked(v, depth - 1) for k, v in given.items()
        }
    if isinstance(given, list) and depth:
        return [_masked(value, depth - 1) for value in given[:100]]
    if isinstance(given, dict | list):
        return "..."
    return redacted(given) if isinstance(given, str) else given


class Audit:
    """Records deeds, and lists them; ``now`` gives Unix seconds."""

    def __init__(self, table: AuditTable, now: Callable[[], float]) -> None:
        self._table = table
        self._now = now

    async def note(self, who: str, address: str, action: str, body: bytes, code: int) -> None:
        """Record what somebody did and how it was answered. A store that cannot be written stops nobody."""
        now, who, action = self._now(), redacted(who), redacted(action)
        log.info("audit who=%s address=%s action=%s code=%d", who, address, action, code)
        try:
            await self._table.add(Deed(now, who, address, action, about(body), code), oldest=now - KEPT)
        except StorageError as problem:
            log.warning("an action could not be written down who=%s action=%s error=%s", who, action, problem)

    async def last(self, since: float | None, most: int) -> list[AuditLine]:
        """The last deeds, newest first, since a time in Unix seconds."""
        return [_told(deed) for deed in await self._table.found(since, most)]


def _told(deed: Deed) -> AuditLine:
    return AuditLine(
        at=stamp(deed.at),
        who=deed.who,
        address=deed.address,
        action=deed.action,
        outcome="done" if deed.code < 400 else "refused" if deed.code in (401, 403, 407) else "failed",
        code=deed.code,
        about=deed.about,
    )


_COLUMNS = "moment, who, address, action, about, code"


@dataclass(frozen=True, slots=True)
class Deed:
    """At ``at`` (Unix seconds) ``who``, from an address, did ``action``, which was answered with ``code``.

    ``about`` is what was sent with it, shortened.
    """

    at: float
    who: str
    address: str
    action: str
    about: str
    code: int


class AuditTable:
    """The rows of audit."""

    def __init__(self, database: Database) -> None:
        self._tables = Tables(database)

    async def add(self, deed: Deed, *, oldest: float) -> None:
        """Record a deed, and delete those before ``oldest``."""

        def work(cursor: Cursor) -> None:
            cursor.execute(
                f"INSERT INTO mirror.audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", list(astuple(deed))
            )
            cursor.execute("DELETE FROM mirror.audit WHERE moment < ?", [oldest])

        await self._tables.write(work)

    async def found(self, since: float | None, most: int) -> list[Deed]:
        """The last deeds, newest first, since a time in Unix seconds."""
        sql = (
            f"SELECT {_COLUMNS} FROM mirror.audit WHERE moment >= ? ORDER BY moment DESC, rowid DESC LIMIT ?"
        )
        rows = await self._tables.read(lambda c: c.execute(sql, [since or 0.0, most]).fetchall())
        return [Deed(*row) for row in rows]
