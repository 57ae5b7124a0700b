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
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from mirror.api.contract import UNSET, Asked, Endpoint, Nothing, encoded, plain
from mirror.api.coverage import COVERAGE, CoverageQuery
from mirror.api.cutouts import FITS, CutoutQuery
from mirror.api.exports import FILES, JOB, SUBMIT, ExportBody, FilesQuery, Job, JobQuery
from mirror.api.monitoring import STATUS
from mirror.api.search import SEARCH, SERIES, Found, SearchQuery
from mirror.api.sql import MEDIA, SQL
from mirror.client.connection import (
    DEFAULT_URL,
    Absent,
    Broken,
    Call,
    Connection,
    RemoteError,
    call,
    read,
    refusal,
)
from mirror.client.cutouts import name_format, tracking_start
from mirror.client.redirect import without_token

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AsyncClient", "Client", "RemoteError"]

Kind = Literal["pandas", "polars", "arrow"]
Params = Sequence[Any] | Mapping[str, Any]
T = TypeVar("T")

#: Seconds between two looks at a job.
LOOK = 0.5


# ---- the requests ---------------------------------------------------------------------------------


def sql_call(statement: str, params: Params, kind: Kind, fill: bool) -> Call[Any]:
    """A statement, whose answer comes as Arrow."""
    given = dict(params) if isinstance(params, Mapping) else list(params)
    body = encoded({"query": statement, "params": given, "fill": fill})
    headers = {"Accept": MEDIA["arrow"], "Content-Type": "application/json"}
    return Call(SQL.path, lambda answer: _table(answer, kind), SQL.method, data=body, headers=headers)


def search_call(
    recordset: str,
    key: str | Sequence[str] | None,
    seg: str | Sequence[str] | None,
    n: int | None,
    where: str | None = None,
) -> Call[Found]:
    """A search; without names it gives the prime keys."""
    return call(SEARCH, SearchQuery(ds=recordset, key=_names(key), seg=_names(seg), n=n, where=where))


def job_call(recordset: str, seg: str | Sequence[str] | None, protocol: str, email: str | None) -> Call[Job]:
    """An export."""
    return call(SUBMIT, ExportBody(ds=recordset, seg=_names(seg), protocol=protocol, email=email))


def file_call(path: str) -> Call[bytes]:
    """A file of an export."""
    return Call(path, lambda answer: answer.read())


def _bytes_call(endpoint: Endpoint[Any, bytes], asked: Asked, **names: str) -> Call[bytes]:
    """What an endpoint answers that is no JSON."""
    return msgspec.structs.replace(call(endpoint, asked, None, **names), read=lambda answer: answer.read())


def _names(names: str | Sequence[str] | None) -> str:
    return names or "" if names is None or isinstance(names, str) else ",".join(names)


def _table(answer: IO[bytes], kind: Kind) -> Any:
    """An Arrow stream, read while it comes, as a table of the library that was asked for."""
    import pyarrow as pa  # noqa: PLC0415  (see the module's docstring)

    table = pa.ipc.open_stream(answer).read_all()
    if kind == "polars":
        import polars as pl  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415

        return pl.from_arrow(table)
    return table if kind == "arrow" else table.to_pandas()


def _frame(answer: Sequence[object]) -> pd.DataFrame:
    """A list of objects as a frame."""
    import pandas as pd  # noqa: PLC0415

    return pd.DataFrame(plain(answer))


def _frame_of_rows(answer: Found) -> pd.DataFrame:
    """Columns and rows as a frame; numbers stay text, as JSOC prints them, unless they are integers already."""
    import pandas as pd  # noqa: PLC0415

    return pd.DataFrame(answer.rows, columns=answer.columns)


def door(url: str | None, token: str | None) -> tuple[str, str | None]:
    """The address of a mirror, and the token that lets one in there; it may also be in the address."""
    address, given = without_token(url or os.environ.get("MIRROR_URL") or DEFAULT_URL)
    return address, token or given or os.environ.get("MIRROR_TOKEN")


def _unfinished(job: Job) -> bool:
    """True while a job goes on; RemoteError for one that failed."""
    if job.state == "failed":
        raise RemoteError(f"{job.id} failed: {job.error}")
    return job.state != "done"


def _files(job: Job) -> list[tuple[str, str]]:
    """Name and path of each file that is there."""
    return [(f.name, f.path) for f in (() if job.files is UNSET else job.files) if f.path]


# ---- the clients ----------------------------------------------------------------------------------


class Client:
    """The mirror at ``url`` (else MIRROR_URL, else this computer's). ``timeout`` in seconds, for one answer.

    ``token`` (else MIRROR_TOKEN) for mirrors that want one. Every method raises RemoteError with the mirror's own
    words.
    """

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 3600.0) -> None:
        self._connection = Connection(*door(url, token), timeout)
        self.url = self._connection.url

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
        return _frame_of_rows(self._do(search_call(recordset, key, seg, n, where)))

    def series(self) -> pd.DataFrame:
        """Cached series, with how many records it holds."""
        return _frame(self._do(call(SERIES, Nothing())))

    def coverage(self, series: str | None = None) -> pd.DataFrame:
        """Ranges that are fully cached."""
        return _frame(self._do(call(COVERAGE, CoverageQuery(series=series))))

    def status(self) -> dict[str, Any]:
        """The state of the mirror."""
        answer: dict[str, Any] = plain(self._do(call(STATUS, Nothing())))
        return answer

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
            job = self._do(call(JOB, JobQuery(), id=job.id))
        folder = Path(to)
        folder.mkdir(parents=True, exist_ok=True)
        return [kept(folder, name, self._do(file_call(path))) for name, path in _files(job)]

    def cutout(
        self,
        recordset: str,
        center: tuple[float, float] | None = None,
        size: tuple[float, float] | None = None,
        to: str | Path = ".",
        *,
        units: Literal["arcsec", "pixels"] = "arcsec",
        scale: str | None = None,
        track: bool = False,
        t_ref: str | None = None,
        seg: str | Sequence[str] | None = None,
    ) -> list[Path]:
        """Parts of the images of a record set, as FITS files in the folder ``to``, named as drms names exports.

        ``size`` (width, height) around ``center`` (x, y), in arcsec from disk centre or as FITS pixel numbers; ``scale``
        "1/4" averages squares of 4 x 4 pixels. With ``track`` the centre moves with the rotation of the Sun, from
        ``t_ref`` on, else from the first record, and all cutouts have the same shape. Pixels are not resampled.
        """
        folder = Path(to)
        folder.mkdir(parents=True, exist_ok=True)
        given = self._cutouts(recordset, center, size, units, scale, t_ref, seg, track=track)
        return [kept(folder, name, data) for name, data in given]

    def maps(
        self,
        recordset: str,
        center: tuple[float, float] | None = None,
        size: tuple[float, float] | None = None,
        *,
        units: Literal["arcsec", "pixels"] = "arcsec",
        scale: str | None = None,
        track: bool = False,
        t_ref: str | None = None,
        seg: str | Sequence[str] | None = None,
    ) -> Any:
        """The images of a record set as a sunpy Map, or a MapSequence of several; cut out as ``cutout`` does.

        Without ``center``, ``size`` and ``scale`` they are whole. Needs sunpy: ``pip install 'jsoc-mirror[maps]'``.
        """
        try:
            import sunpy.map  # type: ignore[import-untyped, unused-ignore]  # noqa: PLC0415  (only maps need it)
            from astropy.io import fits  # noqa: PLC0415
        except ImportError as problem:
            raise ImportError(f"maps need sunpy ({problem}): pip install 'jsoc-mirror[maps]'") from problem
        made = []
        for _, data in self._cutouts(recordset, center, size, units, scale, t_ref, seg, track=track):
            with fits.open(io.BytesIO(data)) as hdus:
                image = hdus[-1]
                made.append(sunpy.map.Map(image.data, image.header))
        return made[0] if len(made) == 1 else sunpy.map.Map(made, sequence=True)

    def _cutouts(
        self,
        recordset: str,
        center: tuple[float, float] | None,
        size: tuple[float, float] | None,
        units: Literal["arcsec", "pixels"],
        scale: str | None,
        t_ref: str | None,
        seg: str | Sequence[str] | None,
        *,
        track: bool,
    ) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of each cutout."""
        known = self._do(search_call(recordset, None, None, 1))
        if track and t_ref is None:
            t_ref = tracking_start([str(row[0]) for row in self._do(search_call(recordset, "T_REC", None, 1)).rows])
        (x, y), (width, height) = center or (None, None), size or (None, None)
        asked = CutoutQuery(
            x=x, y=y, width=width, height=height, units=units if center else None, scale=scale, t_ref=t_ref
        )
        names = name_format(recordset.partition("[")[0].partition("{")[0].strip(), known.columns)
        for file in self._do(call(FILES, FilesQuery(ds=recordset, seg=_names(seg), name=names))):
            if file.name.lower().endswith(".fits"):
                yield file.name, self._do(_bytes_call(FITS, asked, recordset=f"{file.record}{{{file.segment}}}"))

    def _do(self, asked: Call[T]) -> T:
        return self._connection.exchange(asked)[0]


class AsyncClient:
    """The same for programs that await; each answer is read whole."""

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 3600.0) -> None:
        address, token = door(url, token)
        self.url = address.rstrip("/")
        self._known_by = {"Authorization": f"Bearer {token}"} if token else {}
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
        return _frame_of_rows(await self._do(search_call(recordset, key, seg, n, where)))

    async def series(self) -> pd.DataFrame:
        """See ``Client.series``."""
        return _frame(await self._do(call(SERIES, Nothing())))

    async def coverage(self, series: str | None = None) -> pd.DataFrame:
        """See ``Client.coverage``."""
        return _frame(await self._do(call(COVERAGE, CoverageQuery(series=series))))

    async def status(self) -> dict[str, Any]:
        """See ``Client.status``."""
        answer: dict[str, Any] = plain(await self._do(call(STATUS, Nothing())))
        return answer

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
            job = await self._do(call(JOB, JobQuery(), id=job.id))
        folder = Path(to)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        return [
            await asyncio.to_thread(kept, folder, name, await self._do(file_call(path)))
            for name, path in _files(job)
        ]

    async def _do(self, asked: Call[T]) -> T:
        import aiohttp  # noqa: PLC0415  (only those who await need it)

        timeout = aiohttp.ClientTimeout(self._timeout)
        headers = {**asked.headers, **self._known_by}
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(asked.method, asked.address(self.url), data=asked.data, headers=headers) as answer,
            ):
                body = await answer.read()
        except aiohttp.ClientPayloadError as problem:
            raise Broken(self.url, problem) from problem
        except (aiohttp.ClientError, TimeoutError) as problem:
            raise Absent(self.url, problem) from problem
        if not answer.ok:
            raise refusal(answer.status, answer.reason or "", answer.content_type, body)
        return await asyncio.to_thread(read, self.url, asked, io.BytesIO(body))


def kept(folder: Path, name: str, data: bytes) -> Path:
    """Write a file that is there whole or not at all."""
    place, part = folder / Path(name).name, folder / f".{Path(name).name}.part"
    part.write_bytes(data)
    return part.replace(place)
