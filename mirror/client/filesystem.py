"""``jsoc://`` for fsspec: a record's file as a file that astropy, dask and zarr can open and read in parts.

>>> import fsspec
>>> with fsspec.open("jsoc://hmi.m_720s[2014.01.01_00:00:00_TAI]{magnetogram}") as file:  # doctest: +SKIP
...     file.read(2880)

The mirror is ``url`` in the storage options, else MIRROR_URL, else this computer's. fsspec finds this module by the
package's entry point, and imports it when a ``jsoc://`` address is opened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPResponse
from typing import IO, Any

import msgspec
from fsspec.spec import (  # type: ignore[import-untyped]
    AbstractBufferedFile,
    AbstractFileSystem,
)

from mirror.api.images import FITS, FileChoices
from mirror.client.connection import Call, Connection, RemoteError
from mirror.client.remote import door

#: Bytes that are read at a time, at least.
BLOCK = 256 * 1024


class JsocFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """The files of records, read-only. A path is a record set with a segment that names one file.

    ``ls`` of a record set that names several gives their paths. FileNotFoundError for what does not exist, ValueError
    for a path that is wrong or names several files, each in the mirror's words; RemoteError if that does not answer.
    What ``open`` does not find is a plain OSError.
    """

    protocol = "jsoc"

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 600.0, **options: Any) -> None:
        super().__init__(**options)
        self._connection = Connection(*door(url, token), timeout)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name and size in bytes."""
        path = self._strip_protocol(path)
        with self._opened(path, {"Range": "bytes=0-0"}) as answer:
            size = int(answer.headers["Content-Range"].rpartition("/")[2])
            return {"name": path, "size": size, "type": "file", "etag": answer.headers.get("ETag")}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """The file of a path, or the first hundred files of a record set that names several."""
        path = self._strip_protocol(path)
        try:
            found = [self.info(path)]
        except _Several as several:
            names = [f"{choice.record}{{{choice.segment}}}" for choice in several.choices]
            found = [{"name": name, "size": None, "type": "file"} for name in names]
        return found if detail else [each["name"] for each in found]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes of a file, from ``start`` to before ``end``; counted from its end if negative."""
        path = self._strip_protocol(path)
        if (start or 0) < 0 or (end or 0) < 0:
            size = self.info(path)["size"]
            start, end = (None if at is None else at + size if at < 0 else at for at in (start, end))
        if end is not None and end <= (start or 0):
            return b""
        wanted = {} if not start and end is None else {"Range": f"bytes={start or 0}-{'' if end is None else end - 1}"}
        with self._opened(path, wanted) as answer:
            return answer.read()

    def _open(self, path: str, mode: str = "rb", block_size: int | str | None = None, **options: Any) -> _File:
        if mode != "rb":
            raise ValueError(f"mode is {mode!r}; expected 'rb': the files of JSOC are read-only")
        size = block_size if isinstance(block_size, int) else BLOCK
        try:
            return _File(self, path, mode, size, cache_type="readahead", **options)
        except FileNotFoundError as problem:  # fsspec takes brackets for a pattern, and would complain about glob characters
            raise OSError(str(problem)) from problem

    @contextmanager
    def _opened(self, path: str, headers: dict[str, str]) -> Iterator[HTTPResponse]:
        """The answer to a request; refusals become the errors that programs expect from files."""
        if not path.strip("/"):
            raise ValueError("no record set after jsoc://; expected one that names one file, as jsoc://SERIES[KEY]{SEGMENT}")
        try:
            with self._connection.opened(Call(FITS.path.format(recordset=path), IO.read, headers=headers)) as answer:
                yield answer
        except RemoteError as problem:
            if problem.code == HTTPStatus.MULTIPLE_CHOICES:
                raise _Several(msgspec.json.decode(problem.body, type=FileChoices)) from None
            if problem.code == HTTPStatus.NOT_FOUND:
                raise FileNotFoundError(str(problem)) from problem
            if problem.code in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN):
                raise ValueError(str(problem)) from problem
            raise


class _File(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is read by ranges."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        body: bytes = self.fs.cat_file(self.path, start, end)
        return body


class _Several(ValueError):
    def __init__(self, several: FileChoices) -> None:
        self.choices = several.choices
        super().__init__(several.error)
