"""A mirror that lives as long as one command: if none runs, the command opens the store itself.

So `mirror search` works on a laptop without a server: it serves on a port of its own, to itself alone, and stops. It
does not touch a store that another mirror owns.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from mirror.config.loading import Access, Config, load_config
from mirror.errors import StorageError


@contextmanager
def own_mirror() -> Iterator[str]:
    """The address of a mirror in this process, on the store that the configuration names."""
    from mirror.daemon import serve  # noqa: PLC0415  (only a command without a server needs all of it)

    check_owner(store_path())
    address: Future[str] = Future()
    stop = threading.Event()

    async def stopped() -> None:
        await asyncio.to_thread(stop.wait)

    def run() -> None:
        try:
            asyncio.run(serve(_private(), ready=address.set_result, stopped=stopped))
        except BaseException as problem:  # noqa: BLE001  (raised again where the address is waited for)
            if not address.done():
                address.set_exception(problem)

    thread = threading.Thread(target=run, name="own mirror")
    thread.start()
    try:
        yield address.result()
    finally:
        stop.set()
        thread.join()


def _private() -> Config:
    """The daemon's configuration, but with a port of its own."""
    named = os.environ.get("MIRROR_CONFIG")
    config = load_config(Path(named) if named else None, os.environ)
    server = replace(config.server, host="127.0.0.1", port=0)
    return replace(config, server=server, access=Access(), token=())  # only this command asks it


def check_owner(store: Path) -> None:
    """StorageError if root uses somebody else's store, whose mirror could not open what root has written there."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    try:
        owner = store.stat().st_uid
    except OSError:  # there is none yet
        return
    if owner == 0:
        return
    import pwd  # noqa: PLC0415  (there is none on Windows)

    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"#{owner}"
    raise StorageError(
        f"the store {store} belongs to {name}, whose mirror could not use what root writes there; run this as that user: "
        f"runuser -u {name} -- mirror ..."
    )


def store_path() -> Path:
    """The folder of the configured store."""
    return _private().storage.path


def has_store() -> bool:
    """True if the configured store has been used by a mirror."""
    from mirror.daemon import DATABASE  # noqa: PLC0415
    from mirror.storage.database.index_file import contents  # noqa: PLC0415

    folder = _private().storage.path
    return (folder / DATABASE).exists() or bool(contents(folder))
