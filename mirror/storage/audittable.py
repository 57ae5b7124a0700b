"""Who did what to the mirror, and how that ended: added to, read, and forgotten after a while."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from mirror.storage.tables import Tables

if TYPE_CHECKING:
    from mirror.storage.database import Cursor, Database

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
        """Write a deed down, and forget those before ``oldest``."""

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
