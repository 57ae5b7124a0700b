"""The API of adoption: files of this machine by their paths, files of others as uploads.

A path is taken from this machine only: over the network it would say what lies on the mirror's disks, and
name another file than the principal's. Originals are never removed here; whoever asks does that.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import asdict, replace
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from mirror.errors import BadRequest, StorageError, explained
from mirror.server.bodies import parse_json
from mirror.services.adoption.adopt import Item, Outcome
from mirror.services.adoption.scan import Stamp
from mirror.storage.files.unit_path import unit_file

if TYPE_CHECKING:
    from mirror.services.adoption.adopt import Adoption

#: Files of one request.
MOST_FILES = 1000
UPLOAD_TYPE = "image/fits"
_PIECE = 1 << 20
_MEMBERS = ("files", "how", "dry_run", "compare")
_EXAMPLE = '{"files": [{"path": "/data/image.fits", "size": 5760, "mtime_ns": 0, "inode": 0}]}'


class AdoptApi:
    """The handlers; ``folder`` takes uploads while they come, and is swept at each start."""

    def __init__(self, adoption: Adoption, folder: Path) -> None:
        self._adoption = adoption
        self._folder = folder

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Serve everything at its path."""
        router.add_post("/api/adopt", self.adopt)
        router.add_post("/api/adopt/upload", self.upload)

    async def adopt(self, request: web.Request) -> web.Response:
        """``files`` with their paths and how they look to the principal, ``how`` (copy or link), ``dry_run``, ``compare``.

        A file that looks otherwise from here, or cannot be seen, is answered with the state "unseen"; every
        file is that for who asks from another machine.
        """
        given = await _body(request)
        files = [_file(entry) for entry in given["files"]]
        items = [Item(path) for path, _ in files]
        near = _is_near(request.remote)
        visible = await asyncio.to_thread(lambda: [near and _sees(path, stamp) for path, stamp in files])
        seen = [item for item, sees in zip(items, visible, strict=True) if sees]
        outcomes = iter(
            await self._adoption.adopt(seen, given["how"], dry_run=given["dry_run"], compare=given["compare"])
        )
        answer = [
            asdict(next(outcomes)) if sees else {**_UNSEEN, "path": str(item.path)}
            for item, sees in zip(items, visible, strict=True)
        ]
        return web.json_response({"outcomes": answer})

    async def upload(self, request: web.Request) -> web.Response:
        """The file as the body, ``name`` and perhaps ``unit`` (its path below /SUM), ``dry_run=1``."""
        if request.content_type != UPLOAD_TYPE:
            raise BadRequest(f"expected a FITS file, with the header Content-Type: {UPLOAD_TYPE}")
        name, unit = request.query.get("name", ""), request.query.get("unit") or None
        if not name or "/" in name or (unit is not None and unit_file(unit) is None):
            raise BadRequest("expected name, what the file is called, and unit only as /SUM0/D1/S00000/name")
        path = self._folder / f"{uuid.uuid4().hex}.upload"
        try:
            await _receive(request, path)
            item, dry = Item(path, name, unit), request.query.get("dry_run") == "1"
            (outcome,) = await self._adoption.adopt([item], "link", dry_run=dry, compare=True)
        finally:
            with suppress(OSError):
                path.unlink()
        outcome = replace(outcome, path=name, how="uploaded" if outcome.how else "")
        return web.json_response({"outcomes": [asdict(outcome)]})


_UNSEEN = {**asdict(Outcome("", "later", reason="the mirror does not see this file")), "state": "unseen"}


def _is_near(remote: str | None) -> bool:
    """True for who asks from this machine."""
    try:
        return remote is not None and ip_address(remote.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _sees(path: Path, stamp: Stamp) -> bool:
    try:
        with path.open("rb") as file:
            file.read(1)
        return Stamp.of(path.stat()) == stamp
    except OSError:
        return False


async def _receive(request: web.Request, path: Path) -> None:
    try:
        with path.open("xb") as file:
            async for piece in request.content.iter_chunked(_PIECE):
                await asyncio.to_thread(file.write, piece)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {explained(error)}") from error


async def _body(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise BadRequest("expected a JSON object, with the header Content-Type: application/json")
    given = parse_json(await request.read(), "the body")
    if not isinstance(given, dict) or not isinstance(given.get("files"), list):
        raise BadRequest(f"expected an object with files, such as {_EXAMPLE}")
    unknown = next((name for name in given if name not in _MEMBERS), None)
    if unknown is not None:
        raise BadRequest(f"the member {unknown!r} is not known; expected some of {', '.join(_MEMBERS)}")
    if len(given["files"]) > MOST_FILES:
        raise BadRequest(f"{len(given['files'])} files at once; expected at most {MOST_FILES}")
    if given.get("how", "copy") not in ("copy", "link"):
        raise BadRequest(f"how is {given['how']!r}; expected copy or link")
    flags = {name: given.get(name, False) for name in ("dry_run", "compare")}
    wrong = next((name for name, value in flags.items() if not isinstance(value, bool)), None)
    if wrong is not None:
        raise BadRequest(f"{wrong} is {flags[wrong]!r}; expected true or false")
    return {"files": given["files"], "how": given.get("how", "copy"), **flags}


def _file(entry: Any) -> tuple[Path, Stamp]:
    """The path and stamp of an entry; a path must be absolute: the mirror stands in another folder."""
    try:
        path, numbers = entry["path"], [entry[name] for name in ("size", "mtime_ns", "inode")]
    except (TypeError, KeyError):
        raise BadRequest(f"a file needs path, size, mtime_ns and inode, as in {_EXAMPLE}") from None
    plain = isinstance(path, str) and path.startswith("/") and "\0" not in path
    if not plain or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
        raise BadRequest(f"a file needs an absolute path and whole numbers, as in {_EXAMPLE}")
    return Path(path), Stamp(*numbers)
