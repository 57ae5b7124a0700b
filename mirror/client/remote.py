"""A mirror from Python: SQL, searches, coverage and files, as tables that notebooks understand.

>>> import mirror
>>> client = mirror.Client("http://mirror.example.org:8040")  # doctest: +SKIP
>>> client.sql("SELECT t_rec, datamean FROM hmi.v_45s WHERE quality = 0")  # doctest: +SKIP

``Client`` waits, ``AsyncClient`` has the same methods to be awaited. Both only speak HTTP; pandas, polars and
pyarrow are imported when a table of theirs is asked for.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Generic, Literal, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from mirror.client.redirect import without_token
from mirror.errors import MirrorError

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["pandas", "polars", "arrow"]
Params = Sequence[Any] | Mapping[str, Any]
T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8040"
ARROW = "application/vnd.apache.arrow.stream"
#: Seconds between two looks at a job.
LOOK = 0.5
#: HTTP_PROXY may name this very mirror, which as a proxy knows no host but JSOC.
_opener = build_opener(ProxyHandler({}))


class RemoteError(MirrorError):
    """What a mirror refused, in its own words; ``code`` is the HTTP code, 0 if none answered."""

    def __init__(self, message: str, code: int = 0) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request, and how its answer is read."""

    path: str
    read: Callable[[IO[bytes]], T]
    params: Mapping[str, str | None] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    accept: str = "application/json"

    def address(self, base: str) -> str:
        """Where the request goes."""
        given = {name: value for name, value in self.params.items() if value is not None}
        return f"{base}{quote(self.path)}" + (
            f"?{urlencode(given, encoding='latin-1', errors='replace')}" if given else ""
        )

    @property
    def headers(self) -> dict[str, str]:
        """What the request says of itself."""
        return {"Accept": self.accept} | (
            {"Content-Type": "application/json"} if self.body is not None else {}
        )

    @property
    def data(self) -> bytes | None:
        """The body of a POST; None for a GET."""
        return None if self.body is None else json.dumps(self.body).encode()


# ---- the requests ---------------------------------------------------------------------------------


def sql_call(statement: str, params: Params, kind: Kind, fill: bool) -> Call[Any]:
    """A statement, whose answer comes as Arrow."""
    given = dict(params) if isinstance(params, Mapping) else list(params)
    body = {"query": statement, "params": given, "fill": fill}
    return Call("/api/sql", lambda answer: _table(answer, kind), body=body, accept=ARROW)


def search_call(
    recordset: str,
    key: str | Sequence[str] | None,
    seg: str | Sequence[str] | None,
    n: int | None,
    where: str | None = None,
) -> Call[pd.DataFrame]:
    """A search; without names it gives the prime keys."""
    limit = None if n is None else str(n)
    params = {"ds": recordset, "key": _names(key), "seg": _names(seg), "n": limit, "where": where}
    return Call("/api/search", _frame_of_rows, params)


def _names(names: str | Sequence[str] | None) -> str | None:
    return names if names is None or isinstance(names, str) else ",".join(names)


def _table(answer: IO[bytes], kind: Kind) -> Any:
    """An Arrow stream, read while it comes, as a table of the library that was asked for."""
    import pyarrow as pa  # noqa: PLC0415  (see the module's docstring)

    table = pa.ipc.open_stream(answer).read_all()
    if kind == "polars":
        import polars as pl  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

        return pl.from_arrow(table)
    return table if kind == "arrow" else table.to_pandas()


def _frame(answer: IO[bytes]) -> pd.DataFrame:
    """A list of objects as a frame."""
    import pandas as pd  # noqa: PLC0415

    return pd.DataFrame(json.load(answer))


def _frame_of_rows(answer: IO[bytes]) -> pd.DataFrame:
    """Columns and rows as a frame; numbers stay text, as JSOC prints them, unless they are integers already."""
    import pandas as pd  # noqa: PLC0415

    told = json.load(answer)
    return pd.DataFrame(told["rows"], columns=told["columns"])


def _whole(answer: IO[bytes]) -> bytes:
    return answer.read()


def _refusal(code: int, reason: str, body: bytes) -> RemoteError:
    try:
        return RemoteError(str(json.loads(body)["error"]), code)
    except (ValueError, KeyError, TypeError):
        return RemoteError(f"the mirror answered HTTP {code} {reason}", code)


def _absent(url: str, why: object) -> RemoteError:
    return RemoteError(
        f"no mirror answers at {url} ({why}); start one with `mirror serve`, or name its address"
    )


def _broken(url: str, why: object) -> RemoteError:
    return RemoteError(f"the answer of {url} broke off ({why}); ask again, or for less at a time")


def _door(url: str | None, token: str | None) -> tuple[str, dict[str, str]]:
    """The address of a mirror, and the headers that let one in there; a token may also be in the address."""
    address, given = without_token(url or os.environ.get("MIRROR_URL") or DEFAULT_URL)
    token = token or given or os.environ.get("MIRROR_TOKEN")
    return address.rstrip("/"), {"Authorization": f"Bearer {token}"} if token else {}


def _unfinished(job: Mapping[str, Any]) -> bool:
    """True while a job goes on; RemoteError for one that failed."""
    if job["state"] == "failed":
        raise RemoteError(f"{job['id']} failed: {job['error']}")
    return bool(job["state"] != "done")


# ---- the clients ----------------------------------------------------------------------------------


class Client:
    """The mirror at ``url`` (else MIRROR_URL, else this computer's). ``timeout`` in seconds, for one answer.

    ``token`` (else MIRROR_TOKEN) for mirrors that want one. Every method raises RemoteError with the mirror's own
    words.
    """

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 3600.0) -> None:
        self.url, self._known_by = _door(url, token)
        self._timeout = timeout

    def sql(self, statement: str, params: Params = (), *, kind: Kind = "pandas", fill: bool = False) -> Any:
        """The rows of a statement as a pandas or polars frame, or an Arrow table.

        ``params`` are values for ``?``, or by name for ``$name``. ``fill`` fetches what is missing of the
        record sets of ``jsoc()`` first.
        """
        return self._do(sql_call(statement, params, kind, fill))

    def search(
        self,
        recordset: str,
        key: str | Sequence[str] | None = None,
        seg: str | Sequence[str] | None = None,
        *,
        where: str | None = None,
        n: int | None = None,
    ) -> pd.DataFrame:
        """Keywords and paths of a record set, as JSOC prints them; what is not held is asked of JSOC.

        ``where`` is a condition in SQL over the keywords.
        """
        return self._do(search_call(recordset, key, seg, n, where))

    def series(self) -> pd.DataFrame:
        """The series that the mirror knows, with how many records it holds."""
        return self._do(Call("/api/series", _frame))

    def coverage(self, series: str | None = None) -> pd.DataFrame:
        """The spans for which every record is held."""
        return self._do(Call("/api/coverage", _frame, {"series": series}))

    def status(self) -> dict[str, Any]:
        """How the mirror is doing."""
        return self._do(Call("/api/status", json.load))

    def fetch(
        self,
        recordset: str,
        to: str | Path = ".",
        *,
        seg: str | Sequence[str] | None = None,
        protocol: Literal["as-is", "fits"] = "fits",
        email: str | None = None,
    ) -> list[Path]:
        """The files of a record set in the folder ``to``, by default with all keywords in their headers."""
        job = self._do(job_call(recordset, seg, protocol, email))
        while _unfinished(job):
            time.sleep(LOOK)
            job = self._do(Call(f"/api/jobs/{job['id']}", json.load))
        folder = Path(to)
        folder.mkdir(parents=True, exist_ok=True)
        return [kept(folder, f["name"], self._do(Call(f["path"], _whole))) for f in job["files"] if f["path"]]

    def _do(self, call: Call[T]) -> T:
        request = Request(call.address(self.url), call.data, call.headers | self._known_by)  # noqa: S310  (the user named it)
        try:
            answer = _opener.open(request, timeout=self._timeout)
        except HTTPError as problem:
            raise _refusal(problem.code, problem.reason, problem.read()) from None
        except (URLError, TimeoutError, ConnectionError) as problem:
            raise _absent(self.url, getattr(problem, "reason", problem)) from problem
        with answer:
            try:
                return call.read(answer)
            except (HTTPException, OSError) as problem:
                raise _broken(self.url, problem) from problem


class AsyncClient:
    """The same for programs that await; each answer is read whole."""

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 3600.0) -> None:
        self.url, self._known_by = _door(url, token)
        self._timeout = timeout

    async def sql(
        self, statement: str, params: Params = (), *, kind: Kind = "pandas", fill: bool = False
    ) -> Any:
        """See ``Client.sql``."""
        return await self._do(sql_call(statement, params, kind, fill))

    async def search(
        self,
        recordset: str,
        key: str | Sequence[str] | None = None,
        seg: str | Sequence[str] | None = None,
        *,
        where: str | None = None,
        n: int | None = None,
    ) -> pd.DataFrame:
        """See ``Client.search``."""
        return await self._do(search_call(recordset, key, seg, n, where))

    async def series(self) -> pd.DataFrame:
        """See ``Client.series``."""
        return await self._do(Call("/api/series", _frame))

    async def coverage(self, series: str | None = None) -> pd.DataFrame:
        """See ``Client.coverage``."""
        return await self._do(Call("/api/coverage", _frame, {"series": series}))

    async def status(self) -> dict[str, Any]:
        """See ``Client.status``."""
        return await self._do(Call("/api/status", json.load))

    async def fetch(
        self,
        recordset: str,
        to: str | Path = ".",
        *,
        seg: str | Sequence[str] | None = None,
        protocol: Literal["as-is", "fits"] = "fits",
        email: str | None = None,
    ) -> list[Path]:
        """See ``Client.fetch``."""
        job = await self._do(job_call(recordset, seg, protocol, email))
        while _unfinished(job):
            await asyncio.sleep(LOOK)
            job = await self._do(Call(f"/api/jobs/{job['id']}", json.load))
        folder = Path(to)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        files = [f for f in job["files"] if f["path"]]
        return [
            await asyncio.to_thread(kept, folder, f["name"], await self._do(Call(f["path"], _whole)))
            for f in files
        ]

    async def _do(self, call: Call[T]) -> T:
        import aiohttp  # noqa: PLC0415  (only those who await need it)

        timeout = aiohttp.ClientTimeout(self._timeout)
        method = "GET" if call.data is None else "POST"
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    method, call.address(self.url), data=call.data, headers=call.headers | self._known_by
                ) as answer,
            ):
                body = await answer.read()
        except aiohttp.ClientPayloadError as problem:
            raise _broken(self.url, problem) from problem
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise _absent(self.url, problem) from problem
        if answer.status != 200:  # noqa: PLR2004, RUF100
            raise _refusal(answer.status, answer.reason or "", body)
        return await asyncio.to_thread(call.read, io.BytesIO(body))


def job_call(
    recordset: str, seg: str | Sequence[str] | None, protocol: str, email: str | None
) -> Call[dict[str, Any]]:
    """An export."""
    wish = {"ds": recordset, "seg": _names(seg), "protocol": protocol, "email": email}
    return Call(
        "/api/jobs", json.load, body={name: value for name, value in wish.items() if value is not None}
    )


def kept(folder: Path, name: str, data: bytes) -> Path:
    """Write a file that is there whole or not at all."""
    place, part = folder / Path(name).name, folder / f".{Path(name).name}.part"
    part.write_bytes(data)
    return part.replace(place)
