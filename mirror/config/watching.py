"""Follows edits of config.toml while the mirror runs: read, checked as a whole, applied; a bad edit changes nothing.

What cannot be changed in a running mirror (its address, the place of its store) waits for the next start, and
the log and the status say so.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import fields
from typing import TYPE_CHECKING

from mirror.api.monitoring import ConfigState
from mirror.config.loading import Config, load_config
from mirror.errors import ConfigError, MirrorError
from mirror.humanize import stamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

#: What is applied while running: sections, and single keys of others.
LIVE = frozenset(
    {"subscription", "freshness", "plain_file", "token", "upstream.policy", "storage.quota"}
    | {"upstream.records_per_hour", "upstream.bytes_per_day"}
    | {f"access.{name}" for name in ("networks", "hosts", "requests", "pass_through")}
)


def waiting_for_restart(running: Config, wanted: Config) -> list[str]:
    """The sections and keys, such as "server.port", that differ and are not applied while running."""
    return [name for name in differing(running, wanted) if name not in LIVE]


def differing(one: Config, other: Config) -> list[str]:
    """Where two configurations differ: "server.port", or the name of a whole list."""
    found: list[str] = []
    for section in fields(Config):
        a, b = getattr(one, section.name), getattr(other, section.name)
        if isinstance(a, tuple):
            found += [section.name] * (a != b)
        else:
            found += [
                f"{section.name}.{f.name}" for f in fields(a) if getattr(a, f.name) != getattr(b, f.name)
            ]
    return found


async def edits(path: Path) -> AsyncIterator[None]:
    """One item each time that the file may have changed. Its folder is watched: editors put a new file there."""
    import watchfiles  # noqa: PLC0415  (a mirror without a configuration has nothing to watch)

    # If the file is a link into another folder, any event here may concern it.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # it logs every change
    linked = path.is_symlink()  # noqa: ASYNC240  (once, before anything is served)
    chosen = watchfiles.awatch(
        path.parent.absolute(),
        recursive=False,
        step=20,
        debounce=200,
        watch_filter=lambda _, changed: linked or changed.endswith(f"/{path.name}"),
    )
    async for _ in chosen:
        yield None


class ConfigWatcher:
    """Keeps the mirror in agreement with its file. ``apply`` applies a configuration; ``changes`` yields at edits."""

    def __init__(
        self,
        path: Path | None,
        running: Config,
        environ: Mapping[str, str],
        apply: Callable[[Config], Awaitable[None]],
        now: Callable[[], float],
        changes: Callable[[Path], AsyncIterator[None]] = edits,
    ) -> None:
        self._path = path
        self._started_with = running
        self._good = running
        self._environ = environ
        self._apply = apply
        self._now = now
        self._changes = changes
        self._loaded_at = now()
        self._problem = ""
        self._turn = asyncio.Lock()

    def status(self) -> ConfigState:
        """Which file it is, since when it is in force, what is wrong with it now, and what waits for a restart."""
        return ConfigState(
            file=None if self._path is None else str(self._path.absolute()),
            loaded=stamp(self._loaded_at),
            problem=self._problem,
            waiting_for_restart=waiting_for_restart(self._started_with, self._good),
        )

    async def run(self) -> None:
        """Follow the file until cancelled."""
        if self._path is None:
            return
        try:
            async for _ in self._changes(self._path):
                await self.reload()
        except (OSError, RuntimeError) as problem:
            self._problem = f"changes of {self._path} cannot be detected, restart after editing: {problem}"
            log.warning("configuration not watched file=%s error=%s", self._path, problem)

    async def reload(self) -> None:
        """Read the file, and apply it if it is valid as a whole and has changed."""
        async with self._turn:  # an edit through the mirror itself is seen by the watcher too
            if self._path is not None:
                await self._reload()

    async def _reload(self) -> None:
        try:
            wanted = load_config(self._path, self._environ)
        except ConfigError as problem:
            self._refuse(problem)
            return
        if wanted == self._good:
            if self._problem:
                log.info("configuration is valid again file=%s", self._path)
            self._problem = ""
            return
        try:
            await self._apply(wanted)
        except MirrorError as problem:
            self._refuse(problem)
            return
        changed = differing(self._good, wanted)
        self._good, self._problem, self._loaded_at = wanted, "", self._now()
        waiting = [name for name in waiting_for_restart(self._started_with, wanted) if name in changed]
        log.info("configuration applied file=%s changed=%s", self._path, ",".join(changed))
        if waiting:
            log.warning("configuration needs a restart file=%s keys=%s", self._path, ",".join(waiting))

    def _refuse(self, problem: MirrorError) -> None:
        """Keep what is in force; the same problem is logged once."""
        if str(problem) != self._problem:
            log.error("configuration not applied, keeping the last valid one: %s", problem)
        self._problem = str(problem)
