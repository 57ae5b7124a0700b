"""The object store of a cluster: S3 of any make, or a folder that all servers share.

1. An object is put once and never changed: ``put_new`` creates one that does not exist, and of several that put the
   same key at a time one gets True.
2. After ``put_new`` has returned, the object is durable; after it has raised, it may exist or not, which putting it
   again tells.
3. Every error says whether asking again later helps (``ObjectStoreAway``), somebody must mend something
   (``ObjectStoreRefused``), what came is not what was put (``ObjectDamaged``), or it does not exist
   (``ObjectMissing``).
4. A store that does not begin to answer within FIRST seconds is away; for SHUNNED seconds nobody else waits for it.
5. ``problem`` is what keeps the store from its work, until it has answered again.

obstore is imported when a store is opened, so that a mirror without a cluster does without it.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import re
import secrets
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from mirror.errors import (
    ConfigError,
    ObjectDamaged,
    ObjectMissing,
    ObjectStoreAway,
    ObjectStoreError,
    ObjectStoreRefused,
    StorageError,
    explained,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from obstore.store import ClientConfig, LocalStore, RetryConfig, S3Store

#: The object that says to which cluster the objects belong.
MARK = "cluster.json"
#: Bytes of an object that are read at a time.
PIECE = 1 << 20
#: How many put one key at the same time in the probe of a store.
RIVALS = 8
#: Seconds of silence after which the store is away. A whole object may be uploading meanwhile.
SILENCE = 30.0
CONNECT = 5.0
#: Seconds within which a store must begin to answer, and for which one that did not is left alone.
FIRST, SHUNNED = 10.0, 2.0
_RETRY: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
_CODE = re.compile(r"<Code>([A-Za-z]+)</Code>")
_STATUS = re.compile(r"status code: ([0-9]{3})")
#: S3's errors, in words that say what to do.
_WORDS = {
    "NoSuchBucket": "has no such bucket; make it first, or correct [cluster] objects",
    "InvalidAccessKeyId": "does not know the key in AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "refuses the key: AWS_SECRET_ACCESS_KEY is not that of AWS_ACCESS_KEY_ID",
    "AccessDenied": "does not let this key do that; expected rights to read, write, list and delete",
    "RequestTimeTooSkewed": "finds the clock of this machine wrong; set it (timedatectl)",
    "PermanentRedirect": "has the bucket in another region; set AWS_REGION",
    "AuthorizationHeaderMalformed": "has the bucket in another region; set AWS_REGION",
    "NotImplemented": "does not do that; expected an S3 with conditional puts",
    "QuotaExceeded": "is full: the quota of this key is used up",
    "XMinioStorageFull": "is full",
    "InsufficientStorage": "is full",
}
_KEYS = ("access_key_id", "secret_access_key", "session_token")
#: Where obstore finds a key other than AWS_ACCESS_KEY_ID.
_OTHER_KEYS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)


@dataclass(frozen=True, slots=True)
class Incoming:
    """An object that is being read: its whole ``size``, and its bytes as they come."""

    size: int
    pieces: AsyncIterator[bytes]


class Objects:
    """The objects of one store. Keys are names with slashes; ``place`` is its address, for messages."""

    def __init__(self, store: S3Store | LocalStore, place: str, folder: Path | None = None) -> None:
        self._store = store
        self._folder = folder
        self.place = place
        self.problem = ""
        self.unfit = ""  #: what a cluster needs and it can no longer do: nothing is put meanwhile
        self.is_marked = False  #: MARK was seen: if it is missing later, the folder is not mounted
        self._silent_until = -math.inf  #: by the monotonic clock

    async def put_new(self, key: str, data: bytes | Path, patience: float | None = None) -> bool:
        """Put an object that does not exist; False if it does, whatever its bytes.

        ``patience``: seconds after which the store counts as away; without it, a file may take as long as data moves.
        """
        import obstore  # noqa: PLC0415  (see the docstring of the module)

        if self.unfit and key != MARK:
            raise ObjectStoreAway(f"{self.place} {self.unfit}")
        seconds = math.inf if patience is None and isinstance(data, Path) else patience
        try:
            async with self._asked("put", key, seconds):
                if self._folder is not None and self.is_marked and not (self._folder / MARK).exists():
                    raise ObjectStoreAway(f"{MARK} is not in {self.place} any more: is their folder mounted?")
                await obstore.put_async(self._store, key, data, mode="create", use_multipart=False)
        except _AlreadyThere:
            return False
        if self._folder is not None:
            try:
                await asyncio.to_thread(self._sync, self._folder / key)
            except OSError as problem:
                with suppress(OSError):  # nobody was told of it, and it may not last
                    (self._folder / key).unlink()
                self.problem = f"the object store cannot put {self._named(key)}: {explained(problem)}"
                raise ObjectStoreAway(self.problem) from problem
        return True

    async def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """All bytes of an object; ObjectDamaged if they are not what ``sha256`` promises."""
        async with self.reading(key) as incoming:
            data = b"".join([piece async for piece in incoming.pieces])
        if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
            raise ObjectDamaged(f"{self._named(key)} has other bytes than its sha256 {sha256}")
        return data

    async def get_to(self, key: str, path: Path, *, sha256: str | None = None) -> None:
        """Write an object to a new file, which appears only when it is complete and right; StorageError if it cannot."""
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        digest = hashlib.sha256()
        try:
            async with self.reading(key) as incoming:
                with beside.open("xb") as file:
                    async for piece in incoming.pieces:
                        digest.update(piece)
                        await asyncio.to_thread(file.write, piece)
            if sha256 is not None and digest.hexdigest() != sha256:
                raise ObjectDamaged(f"{self._named(key)} has other bytes than its sha256 {sha256}")
            beside.rename(path)
        except OSError as problem:
            raise StorageError(f"cannot write {path}: {explained(problem)}") from problem
        finally:
            beside.unlink(missing_ok=True)

    @asynccontextmanager
    async def reading(self, key: str, start: int = 0) -> AsyncIterator[Incoming]:
        """An object from byte ``start`` on, as it comes; ObjectDamaged if fewer or more bytes come."""
        import obstore  # noqa: PLC0415

        async with self._asked("get", key):
            options: dict[str, dict[str, int]] = {"range": {"offset": start}} if start else {}
            result = await obstore.get_async(self._store, key, options=options)  # type: ignore[arg-type]
            size, began = result.meta["size"], result.range[0]
        if began != start:
            raise ObjectDamaged(f"{self._named(key)}: the store begins at byte {began} instead of {start}")
        yield Incoming(size, self._pieces(key, result.stream(PIECE), size - start))

    async def _pieces(self, key: str, stream: AsyncIterator[bytes], expected: int) -> AsyncIterator[bytes]:
        count = 0
        with self._translated("get", key):
            async for piece in stream:
                count += len(piece)
                if count > expected:
                    break
                yield bytes(piece)
        if count != expected:
            raise ObjectDamaged(f"{self._named(key)}: {count:,} bytes came instead of {expected:,}")

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``; fewer if the object ends before."""
        import obstore  # noqa: PLC0415

        async with self._asked("get a range of", key):
            data = bytes(await obstore.get_range_async(self._store, key, start=start, end=end))
        if len(data) > end - start:
            raise ObjectDamaged(f"{self._named(key)}: {len(data):,} bytes came for {end - start:,}")
        return data

    async def exists(self, key: str) -> int | None:
        """The size of an object; None if it does not exist."""
        import obstore  # noqa: PLC0415

        try:
            async with self._asked("look for", key):
                return (await obstore.head_async(self._store, key))["size"]
        except ObjectMissing:
            return None

    async def list(self, prefix: str = "") -> AsyncIterator[tuple[str, int]]:
        """Key and size of every object in a folder (whole names: ``blobs/ab``), in no particular order."""
        import obstore  # noqa: PLC0415

        pages = aiter(obstore.list(self._store, prefix.rstrip("/") or None))
        while True:
            async with self._asked("list", prefix):
                some = await anext(pages, None)
            if some is None:
                return
            for meta in some:
                yield meta["path"], meta["size"]

    async def delete(self, key: str) -> None:
        """Delete an object, if it exists."""
        import obstore  # noqa: PLC0415

        with suppress(ObjectMissing):
            async with self._asked("delete", key):
                await obstore.delete_async(self._store, key)

    def _sync(self, path: Path) -> None:
        """Make a new file in a shared folder durable, with its name and those of new folders."""
        assert self._folder is not None
        for each in (path, *path.relative_to(self._folder).parents):
            fd = os.open(self._folder / each, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _named(self, key: str) -> str:
        return f"{self.place}/{key}"

    @asynccontextmanager
    async def _asked(self, verb: str, key: str, patience: float | None = None) -> AsyncIterator[None]:
        """A request to the store; its outcome updates what is known about the store."""
        if time.monotonic() < self._silent_until:
            raise ObjectStoreAway(self.problem)
        try:
            with self._translated(verb, key):
                async with asyncio.timeout(None if patience == math.inf else patience or FIRST):
                    yield
        except (ObjectMissing, _AlreadyThere):
            self.problem = ""
            raise
        except ObjectStoreError as problem:
            self.problem = str(problem)
            if isinstance(problem.__cause__, TimeoutError):
                self._silent_until = time.monotonic() + SHUNNED
            raise
        self.problem, self._silent_until = "", -math.inf

    @contextmanager
    def _translated(self, verb: str, key: str) -> Iterator[None]:
        """Turn obstore's errors into ours."""
        from obstore import exceptions  # noqa: PLC0415

        try:
            yield
        except ObjectStoreError:
            raise
        except exceptions.AlreadyExistsError as problem:
            raise _AlreadyThere(key) from problem
        except (exceptions.BaseError, OSError) as problem:
            raise self._error(verb, key, problem) from problem

    def _error(self, verb: str, key: str, problem: Exception) -> ObjectStoreError:
        text = str(problem).partition("\n\nDebug source")[0].strip()
        found, said = _STATUS.search(text), _CODE.search(text)
        status, code = int(found[1]) if found else 0, said[1] if said else ""
        what = f"the object store cannot {verb} {self._named(key)}"
        if isinstance(problem, TimeoutError):
            return ObjectStoreAway(f"{what}: it says nothing")
        if code in _WORDS:
            refused = "full" not in _WORDS[code]
            kind = ObjectStoreRefused if refused else ObjectStoreAway
            return kind(f"{what}: it {_WORDS[code]}")
        if verb == "list" and status == 404:  # an S3 says NoSuchBucket, or that there is nothing
            return ObjectStoreRefused(f"{what}: it answers with HTTP 404; is there an S3 at the endpoint?")
        if isinstance(problem, FileNotFoundError) or status == 404:
            return ObjectMissing(f"{self._named(key)} is not in the object store")
        if status in (401, 403) or isinstance(problem, PermissionError) or "Permission" in type(problem).__name__:
            return ObjectStoreRefused(f"{what}: access denied; expected the right key in AWS_ACCESS_KEY_ID")
        if status == 429 or status >= 500:
            return ObjectStoreAway(f"{what}: it answers with HTTP {status}")
        if status:
            return ObjectStoreRefused(f"{what}: it answers with HTTP {status} {code}".rstrip())
        if "redirect without LOCATION" in text:
            return ObjectStoreRefused(f"{what}: it {_WORDS['PermanentRedirect']}")
        first = text.partition("\n")[0]
        if "error sending request" in text or "timed out" in text or "Error performing" in text:
            return ObjectStoreAway(f"{what}: no answer; is it up, and is the endpoint right? ({first})")
        if self._folder is not None and "nvalid" not in text:
            return ObjectStoreAway(f"{what}: {first}")
        return ObjectDamaged(f"{what}: what comes is not what a store says ({first})")


async def probe(store: Objects) -> None:
    """Try everything that a cluster needs; ObjectStoreRefused lists all that this store lacks.

    Problems with the way to it, or with the key, are raised unchanged.
    """
    folder = f"probe/{secrets.token_hex(8)}"
    mine, raced = f"{folder}/one", f"{folder}/raced"
    [key async for key, _ in store.list(folder)]  # says NoSuchBucket, where puts would make one
    try:
        lacks = [*await _lacks_of_puts(store, mine, raced), *await _lacks_of_reading(store, folder, mine, raced)]
    finally:
        with suppress(ObjectStoreError):
            await store.delete(raced)
            await store.delete(mine)
    with suppress(ObjectMissing):
        await store.get(mine)
        lacks.append("deleting: what was deleted is there still")
    if [key async for key, _ in store.list(folder)]:
        lacks.append("listing: it shows what was deleted")
    if lacks:
        raise ObjectStoreRefused(f"{store.place} cannot serve a cluster; it lacks {'; '.join(lacks)}")


async def _lacks_of_puts(store: Objects, mine: str, raced: str) -> list[str]:
    lacks = []
    if not await store.put_new(mine, b"0123456789"):
        lacks.append("puts: a new object was said to be there already")
    if await store.put_new(mine, b"other bytes"):
        lacks.append("create-only puts (If-None-Match: *): an object was overwritten")
    won = await asyncio.gather(*(store.put_new(raced, b"%d" % rival) for rival in range(RIVALS)))
    if sum(won) != 1:
        lacks.append(f"create-only puts: {sum(won)} of {RIVALS} at a time were told that theirs is the object")
    elif await store.get(raced) != b"%d" % won.index(True):
        lacks.append("create-only puts: another than the one who was told so has put the object")
    return lacks


async def _lacks_of_reading(store: Objects, folder: str, mine: str, raced: str) -> list[str]:
    lacks = []
    if await store.exists(mine) != 10 or await store.get(mine) not in (b"0123456789", b"other bytes"):
        lacks.append("reading: what was put is not what comes")
    elif (await store.get_range(mine, 2, 5)) != (await store.get(mine))[2:5]:
        lacks.append("ranges: other bytes than asked for come")
    if {key async for key, _ in store.list(folder)} != {mine, raced}:
        lacks.append("listing: a new object is not shown at once")
    if await store.exists(f"{folder}/none") is not None:
        lacks.append("truth: an object that was never put is said to be there")
    return lacks


class _AlreadyThere(ObjectStoreError):
    """The object exists already."""


def open_objects(url: str, endpoint: str | None = None, environ: Mapping[str, str] = os.environ) -> Objects:
    """The store at ``s3://bucket/prefix`` or ``file:///folder``; ConfigError if that is invalid.

    ``endpoint`` is the address of an S3 that is not AWS. It is not contacted yet.
    """
    try:
        from obstore.exceptions import BaseError  # noqa: PLC0415
        from obstore.store import LocalStore, S3Store  # noqa: PLC0415
    except ImportError as problem:
        raise ConfigError(f"[cluster] objects needs {problem.name}: pip install 'jsoc-mirror[cluster]'") from problem
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        folder = Path(unquote(parts.path))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise ConfigError(f"[cluster] objects: {folder} cannot be made: {problem.strerror}") from problem
        return Objects(LocalStore(folder), url.rstrip("/"), folder)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigError(f'[cluster] objects = {url!r}: expected "s3://bucket/prefix" or "file:///folder"')
    endpoint = endpoint or environ.get("AWS_ENDPOINT_URL") or environ.get("AWS_ENDPOINT")  # as other programs do
    halves = [bool(environ.get(name)) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")]
    if any(halves) is not all(halves) or (endpoint is not None and not any((*halves, *map(environ.get, _OTHER_KEYS)))):
        found = "half a key" if any(halves) else "no key"
        raise ConfigError(f"[cluster] objects: {found}; expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    options: ClientConfig = {
        "allow_http": endpoint is not None and endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=CONNECT),
        "read_timeout": timedelta(seconds=SILENCE),
        "timeout": timedelta(seconds=20 * SILENCE),
    }
    keys = {name: environ[f"AWS_{name.upper()}"] for name in _KEYS if environ.get(f"AWS_{name.upper()}")}
    at = {} if endpoint is None else {"endpoint": endpoint, "virtual_hosted_style_request": False}
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        store = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            region=region,
            disable_bulk_delete=True,  # which some makes do not have
            client_options=options,
            retry_config=_RETRY,
            **keys,  # type: ignore[arg-type]
            **at,  # type: ignore[arg-type]
        )
    except (BaseError, ValueError) as problem:
        said = str(problem).partition("\n")[0]
        raise ConfigError(f"[cluster] objects = {url!r}: these values cannot be used: {said}") from problem
    return Objects(store, url.rstrip("/"))
