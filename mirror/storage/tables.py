"""Reads and writes of the tables of files and jobs, whose failures are errors of the store."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from mirror.drms.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from mirror.storage.database import Cursor, Database

log = logging.getLogger(__name__)

T = TypeVar("T")


class Tables:
    """The database, with its refusals in words: a full disk at a commit is a StorageError like any other."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, work: Callable[[Cursor], T]) -> T:
        """Run ``work``, which changes nothing."""
        try:
            return await self._database.read(work)
        except duckdb.Error as error:
            raise StorageError(f"the index cannot be read: {error}") from error

    async def write(self, work: Callable[[Cursor], T]) -> T:
        """Run ``work`` in one transaction; after an error nothing of it has happened."""
        try:
            return await self._database.write(work)
        except duckdb.Error as error:
            raise StorageError(f"the index cannot be written, nothing was changed: {error}") from error


async def if_possible(work: Awaitable[object], what: str) -> bool:
    """Await a write that can wait for a later time; True if it was made. A full disk is worth a line in the log.

    For what tidies up: it must neither keep a store that holds much from serving it, nor stop its end.
    """
    try:
        await work
    except StorageError as problem:
        log.warning("put off step=%s error=%s", what, problem)
        return False
    return True


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``; if the caller is cancelled meanwhile, finish it first and be cancelled then.

    For pairs of steps, one in the database and one on the disk, that belong together.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever is cancelled does not hear of it
        raise
