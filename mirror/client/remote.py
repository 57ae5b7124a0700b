"""A mirror from Python: searches and SQL as tables, files, maps and cubes, and whatever else a mirror does.

>>> import mirror
>>> client = mirror.Client("http://mirror.example.org:8040")  # doctest: +SKIP
>>> client.search("hmi.v_45s[2014.01.01_TAI/1h]", "T_REC,DATAMEAN", kind="astropy")  # doctest: +SKIP
>>> client.sql("SELECT t_rec, datamean FROM hmi.v_45s WHERE quality = 0")  # doctest: +SKIP

``Client`` blocks, ``AsyncClient`` has the same methods to be awaited. Both only speak HTTP; libraries for tables and
images are imported when one of theirs is wanted.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from functools import partial, wraps
from html import escape
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from mirror.api import datasets as sets
from mirror.api.contract import UNSET, Asked, Endpoint, Nothing, encoded, plain
from mirror.api.coverage import COVERAGE, CoverageQuery
from mirror.api.exports import CANCEL, ENDED_STATES, FILES, JOB, SUBMIT, ExportBody, FilesQuery, Job, JobQuery
from mirror.api.fills import ESTIMATE, FILL, Estimate, EstimateQuery, FillBody
from mirror.api.freshness import CHANGES, ChangesQuery
from mirror.api.images import FILM, FILM_FILE, FITS, CutoutQuery, FilmBody
from mirror.api.maintenance import PIN, UNPIN, PinBody, Pinned, Unpinned
from mirror.api.monitoring import STATUS
from mirror.api.search import SEARCH, SERIES, SearchQuery
from mirror.api.sql import MEDIA, SQL
from mirror.api.subscriptions import ADD, SubscriptionTable
from mirror.api.transfer import BUNDLE, BundleBody, Bundled, Progress
from mirror.client.connection import DEFAULT_URL, Call, Connection, RemoteError, begun, call, user_name
from mirror.client.cutouts import Cutout, Units, address_of, drms_names, images_of
from mirror.client.delivery import Delivered, Delivery, Failure, Item, kept, name_problem
from mirror.client.redirect import checked, without_token
from mirror.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import pandas as pd

    from mirror.client.frames import Kind

__all__ = ["AsyncClient", "Client", "Cutout", "Dataset", "RemoteError"]

Params = Sequence[Any] | Mapping[str, Any]
Names = str | Sequence[str] | None
T = TypeVar("T")
Q = TypeVar("Q", bound=Asked)
A = TypeVar("A")

#: Seconds between two looks at a job, and files or cutouts that are fetched at a time.
LOOK, FILES_AT_ONCE, CUTOUTS_AT_ONCE = 0.5, 4, 2


def door(url: str | None, token: str | None) -> tuple[str, str | None]:
    """The address of a mirror, and the token that admits one there, which may also be in the address.

    ValueError for what is no address.
    """
    address, given = without_token(checked(url or os.environ.get("MIRROR_URL") or DEFAULT_URL))
    return address, token or given or os.environ.get("MIRROR_TOKEN")


class Client:
    """The mirror at ``url`` (else MIRROR_URL, else this computer's). ``timeout`` in seconds, for one answer.

    ``token`` (else MIRROR_TOKEN) is for mirrors that want one. Every method raises RemoteError in the mirror's own
    words, and BadRequest for an impossible request. Names of keywords and segments are a text with commas, or a list.
    """

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 3600.0) -> None:
        self._connection = Connection(*door(url, token), timeout)
        self.url = self._connection.url

    def __repr__(self) -> str:
        return f"mirror.Client({self.url!r})"

    def _repr_html_(self) -> str:
        """The mirror with what it has, or with why that is unknown."""
        try:
            status = self.status()
            text = f"{status['records']:,} records of {len(self._ask(SERIES, Nothing())):,} series, policy {status['policy']}"
        except RemoteError as problem:
            text = str(problem)
        return f"<b>JSOC mirror</b> <code>{escape(self.url)}</code>: {escape(text)}"

    # ---- tables ----------------------------------------------------------------------------------

    def sql(self, statement: str, params: Params = (), *, kind: Kind = "pandas", fill: bool = False) -> Any:
        """The rows of a statement: a pandas or polars frame, an Arrow table, or an astropy QTable, by ``kind``.

        A pandas frame finds its columns in any case. ``params`` are values for ``?``, or by name for ``$name``.
        ``fill`` first fetches what is missing of the record sets in ``jsoc()``.
        """
        from mirror.client import frames  # noqa: PLC0415  (imports pandas)

        frames.check(kind)
        if not isinstance(statement, str):
            raise BadRequest(f"the statement is {statement!r}; expected SQL as a text")
        given = dict(params) if isinstance(params, Mapping) else list(params)
        try:
            body = encoded({"query": statement, "params": given, "fill": fill})
        except TypeError as problem:
            raise BadRequest(f"a parameter is of a type that SQL does not have ({problem}); expected numbers, texts, times or lists") from problem
        headers = {"Accept": MEDIA["arrow"], "Content-Type": "application/json"}
        return self._do(
            Call(SQL.path, lambda answer: frames.from_arrow(_arrow(answer), kind), SQL.method, data=body, headers=headers)
        )

    def search(
        self,
        recordset: str,
        key: Names = None,
        seg: Names = None,
        *,
        where: str | None = None,
        n: int | None = None,
        kind: Kind = "pandas",
        times: bool = False,
        typed: bool = True,
    ) -> Any:
        """Keywords and paths of a record set, one row per record; what is not cached is fetched from JSOC.

        Columns have drms's types: integers, floats (NaN where missing), else text; with ``times``, times are timestamps
        (NaT where missing), by the clock that they print. With ``typed=False`` everything is text, as JSOC prints it.
        ``kind`` is pandas, polars, arrow, or astropy: a QTable with the units of the structure, and masked Time.
        Without names it gives the prime keys. ``where`` is an SQL condition on the keywords; ``n`` limits the result to
        the first records, or the last if negative.
        """
        from mirror.client import frames  # noqa: PLC0415  (see above)

        frames.check(kind)
        found = self._ask(SEARCH, SearchQuery(ds=recordset, key=_names(key), seg=_names(seg), n=n, where=where))
        return frames.table(found, kind, times=times, typed=typed)

    def series(self) -> pd.DataFrame:
        """Cached series, with the number of records that the mirror has of each."""
        return _frame(self._ask(SERIES, Nothing()))

    def coverage(self, series: str | None = None) -> pd.DataFrame:
        """Ranges that are fully cached, of one series or all."""
        return _frame(self._ask(COVERAGE, CoverageQuery(series=series)))

    def changes(self, series: str | None = None, since: str | None = None, n: int = 1000) -> pd.DataFrame:
        """Records that JSOC has reprocessed or withdrawn, newest first; ``since`` is a date, or "7d" for a week ago."""
        return _frame(self._ask(CHANGES, ChangesQuery(series=series, since=since, n=n)))

    def status(self) -> dict[str, Any]:
        """The state of the mirror."""
        answer: dict[str, Any] = plain(self._ask(STATUS, Nothing()))
        return answer

    # ---- files -----------------------------------------------------------------------------------

    def fetch(
        self,
        recordset: str,
        to: str | Path = ".",
        *,
        seg: Names = None,
        protocol: Literal["as-is", "fits"] = "fits",
        email: str | None = None,
        name: str | None = None,
        overwrite: bool = False,
        progress: bool | None = None,
    ) -> list[Path]:
        """The files of a record set in the folder ``to``, by default with all keywords in their headers.

        Several come at a time. They get drms's names for exports
        (``hmi.m_720s.20140101_000000_TAI.1.magnetogram.fits``), or names by ``name``, JSOC's filenamefmt. Existing
        files with the right length are left alone, so that an interrupted fetch continues where it stopped; another
        file in the way is an error, unless ``overwrite``. ``progress``: a bar, by default on a terminal. RemoteError,
        once all others have come, names unavailable files.
        """
        if protocol not in ("as-is", "fits"):
            raise BadRequest(f"protocol is {protocol!r}; expected as-is or fits")
        fmt = name or drms_names(recordset, self._ask)
        with _bar("preparing", progress) as told:
            if protocol == "fits":
                items = self._exported(recordset, _names(seg), email, fmt, told)
            else:
                asked = FilesQuery(ds=recordset, seg=_names(seg), name=fmt)
                listed = self._ask(FILES, asked)
                if any(file.state == "offline" for file in listed):  # an export makes JSOC bring them back from tape
                    self._ended(self._ask(SUBMIT, ExportBody(ds=recordset, seg=_names(seg), email=email)), told)
                    listed = self._ask(FILES, asked)
                items = [Item(f.name, f.record, f.segment, f.path, f.size, f.sha256) for f in listed if f.state != "nowhere"]
        if problem := name_problem([item.name for item in items]):
            raise RemoteError(problem.replace("--name", "name"))
        folder = Path(to)
        folder.mkdir(parents=True, exist_ok=True)
        delivery = Delivery(self._connection, folder, lambda _: None, link=False, overwrite=overwrite)
        with _bar("fetching", progress) as told:
            came = _at_once(delivery.bring, items, FILES_AT_ONCE, told, delivery.stop)
        return _paths(folder, came)

    def export(
        self, recordset: str, *, seg: Names = None, method: str = "url", protocol: str = "as-is", process: str = "",
        name: str | None = None, n: int | None = None, email: str | None = None, wait: bool = True,
    ) -> Job:  # fmt: skip
        """An export at the mirror, like JSOC's: the job, with its files once it is done (``wait``).

        RemoteError if it failed.
        """
        body = ExportBody(
            ds=recordset, seg=_names(seg), n=n, method=method, protocol=protocol, process=process, name=name, email=email
        )
        job = self._ask(SUBMIT, body)
        return self._ended(job) if wait else job

    def estimate(self, recordset: str, *, seg: Names = None, n: int | None = None, export: bool = False) -> Estimate:
        """What of a record set would be fetched from JSOC, in records, files, bytes and seconds; nothing is fetched.

        ``seg``: names, or ALL, for files too; ``export``: as an export would have them.
        """
        return self._ask(ESTIMATE, EstimateQuery(ds=recordset, seg=_names(seg), n=n, export=export))

    def fill(self, recordset: str, *, wait: bool = True, progress: bool | None = None) -> Job:
        """Fetch all records of a record set that are missing, however many: the job, once it is done (``wait``)."""
        job = self._ask(JOB, JobQuery(), id=str(self._ask(FILL, FillBody(ds=recordset)).id))
        with _bar("fetching records", progress) as told:
            return self._ended(job, told) if wait else job

    def job(self, id: str) -> Job:  # noqa: A002  (as the job calls it)
        """An export or a fill, as it is now."""
        return self._ask(JOB, JobQuery(), id=id)

    def pin(
        self, recordset: str, *, seg: Names = None, n: int | None = None, reason: str = "", seconds: float | None = None,
        owner: str | None = None,
    ) -> Pinned:  # fmt: skip
        """Keep the cached files of a record set from being evicted, for good or for ``seconds``."""
        body = PinBody(ds=recordset, owner=owner or user_name(), seg=_names(seg), n=n, reason=reason, seconds=seconds)
        return self._ask(PIN, body)

    def unpin(self, recordset: str, *, seg: Names = None, n: int | None = None, owner: str | None = None) -> Unpinned:
        """Remove pins of ``owner``, by default one's own."""
        return self._ask(UNPIN, PinBody(ds=recordset, owner=owner or user_name(), seg=_names(seg), n=n))

    def subscribe(self, series: str, start: str, **table: Any) -> str:
        """Have the mirror keep a series up to date; ``table``: other keys of a [[subscription]]. Returns its name."""
        return self._ask(ADD, SubscriptionTable(series=series, start=start, **table)).name

    def bundle(
        self, recordsets: str | Sequence[str], to: str | Path, *, files: bool = True, cached: bool = False,
        fits: bool = False,
    ) -> Bundled:  # fmt: skip
        """Write a part of the mirror to a folder on its machine, for import by another; only from that machine."""
        several = (recordsets,) if isinstance(recordsets, str) else tuple(recordsets)
        body = BundleBody(to=str(Path(to).absolute()), recordsets=several, files=files, held=cached, fits=fits)
        return self._connection.follow(BUNDLE, body, Progress, lambda _: None)

    # ---- images ----------------------------------------------------------------------------------

    def cutout(
        self,
        recordset: str,
        center: tuple[float, float] | None = None,
        size: tuple[float, float] | None = None,
        to: str | Path = ".",
        *,
        units: Units = "arcsec",
        scale: str | None = None,
        track: bool = False,
        t_ref: str | None = None,
        seg: Names = None,
        cutout: Cutout | None = None,
    ) -> list[Path]:
        """Parts of the images of a record set, as FITS files in the folder ``to``, named as drms names exports.

        ``size`` (width, height) around ``center`` (x, y), in arcsec from disk centre or as FITS pixel numbers;
        ``scale`` "1/4" averages squares of 4 x 4 pixels. With ``track`` the centre moves with the rotation of the Sun,
        starting at ``t_ref`` or else the first record, and all cutouts have the same shape. Pixels are not resampled.
        All of this can also be given as one value, ``cutout=mirror.Cutout(...)``.
        """
        wanted = _one(cutout, Cutout(center, size, units, scale, track, t_ref))
        return [kept(Path(to), name, data) for name, data in self._images(recordset, wanted, seg)]

    def maps(
        self,
        recordset: str,
        center: tuple[float, float] | None = None,
        size: tuple[float, float] | None = None,
        *,
        units: Units = "arcsec",
        scale: str | None = None,
        track: bool = False,
        t_ref: str | None = None,
        seg: Names = None,
        cutout: Cutout | None = None,
    ) -> Any:
        """The images of a record set as a sunpy Map, or a MapSequence of several; cut out as ``cutout`` does.

        Without ``center``, ``size`` and ``scale`` they are whole. Needs sunpy: ``pip install 'jsoc-mirror[maps]'``.
        """
        from mirror.client import frames, images  # noqa: PLC0415  (see above)

        frames.needed("sunpy.map", "maps")
        wanted = _one(cutout, Cutout(center, size, units, scale, track, t_ref))
        return images.sun_maps([data for _, data in self._images(recordset, wanted, seg)])

    def cube(
        self,
        recordset: str,
        center: tuple[float, float] | None = None,
        size: tuple[float, float] | None = None,
        *,
        units: Units = "arcsec",
        scale: str | None = None,
        track: bool = False,
        t_ref: str | None = None,
        seg: Names = None,
        cutout: Cutout | None = None,
    ) -> Any:
        """The images of a record set as one lazy xarray.DataArray (time, y, x) over dask, fetched as they are computed.

        A slice of whole images asks the mirror for those pixels of each file. With ``center`` and ``size`` (or ``scale``)
        the frames are cutouts, as from ``cutout``; with ``track`` they follow the place. Floats, NaN where there is no
        value; times by the clock that they print. Needs dask and xarray: ``pip install 'jsoc-mirror[cube]'``.
        """
        from mirror.client import frames, images  # noqa: PLC0415  (see above)

        for module in ("dask.array", "xarray"):
            frames.needed(module, "cube")
        asked = _one(cutout, Cutout(center, size, units, scale, track, t_ref)).query(recordset, self._ask)
        files = images_of(recordset, _names(seg), None, self._ask)
        segments = sorted({file.segment for file in files})
        if len(segments) > 1:
            raise RemoteError(f"{recordset} has the segments {', '.join(segments)}; expected one, as seg")
        known = self._ask(SEARCH, SearchQuery(ds=recordset, n=1))
        times = frames.times_of([file.record for file in files], known.kinds)
        got = [(file.record, partial(self._fits, address_of(file))) for file in files]
        return images.cube(got, asked, times, {"recordset": recordset, "segment": segments[0], "mirror": self.url})

    def film(
        self, recordset: str, to: str | Path, *, seg: Names = None, n: int | None = None, size: int = 512, fps: int = 10,
        step: int = 1, fetch: bool = False, progress: bool | None = None,
    ) -> Path:  # fmt: skip
        """A film of the images of a record set, as MP4 in the file ``to``; made by the mirror, as a job.

        Every ``step``-th record, ``fps`` frames per second, no side above ``size`` pixels (128, 256, 512 or 1024). Only
        from cached files, unless ``fetch``. RemoteError if there are none, or the mirror has no imageio-ffmpeg.
        """
        body = FilmBody(ds=recordset, seg=_names(seg), n=n, size=size, fps=fps, step=step, fetch=fetch)
        job = begun(lambda: self._ask(FILM, body), lambda job: self._ask(CANCEL, Nothing(), id=job.id))
        try:
            with _bar("making the film", progress) as told:
                job = self._ended(job, told)
        except KeyboardInterrupt:
            self._ask(CANCEL, Nothing(), id=job.id)
            raise
        made = self._do(msgspec.structs.replace(call(FILM_FILE, id=job.id), read=lambda answer: answer.read()))
        return kept(Path(to).parent, Path(to).name, made)

    # ---- data sets -------------------------------------------------------------------------------

    def datasets(self) -> pd.DataFrame:
        """The data sets of the mirror, newest first."""
        return _frame(self._ask(sets.DATASETS, Nothing()))

    def dataset(
        self, name: str, ds: str | Sequence[str] | None = None, *, sql: str | None = None, files: bool = False,
        title: str = "",
    ) -> Dataset:  # fmt: skip
        """A data set to cite. With record sets ``ds``, or a statement ``sql`` that gives ``recnum``, it is created.

        It keeps these records in these versions, and with ``files`` their files, for good. RemoteError if one to be
        created exists already, or one to be found does not.
        """
        if ds is not None or sql is not None:
            several = (ds,) if isinstance(ds, str) else tuple(ds or ())
            body = sets.CreateBody(name=name, ds=several, sql=sql, files=files, title=title)
            self._connection.follow(sets.CREATE, body, Progress, lambda _: None)
        found = Dataset(self._connection, name)
        found.show()
        return found

    def fetch_dataset(self, crate: str | Path) -> Dataset:
        """Restore the data set of a crate in a folder of the mirror's machine: the same records and versions.

        RemoteError names those that JSOC no longer has; then nothing is made.
        """
        body = sets.CrateBody(crate=str(Path(crate).absolute()))
        made = self._connection.follow(sets.FETCH, body, Progress, lambda _: None)
        return Dataset(self._connection, made.name)

    # ---- inside ----------------------------------------------------------------------------------

    def _images(self, recordset: str, wanted: Cutout, seg: Names) -> Iterator[tuple[str, bytes]]:
        """Name and bytes of each image, or part of it, in their order."""
        asked = wanted.query(recordset, self._ask)
        files = images_of(recordset, _names(seg), None, self._ask)
        with ThreadPoolExecutor(CUTOUTS_AT_ONCE) as pool:
            yield from zip([f.name for f in files], pool.map(lambda f: self._fits(address_of(f), asked), files), strict=True)

    def _fits(self, address: str, asked: CutoutQuery, first: int | None = None) -> bytes:
        """The file of one record, or the requested part of it, or its ``first`` bytes."""
        headers = {} if first is None else {"Range": f"bytes=0-{first - 1}"}
        bare = call(FITS, asked, headers, recordset=address)
        return self._do(msgspec.structs.replace(bare, read=lambda answer: answer.read()))

    def _exported(
        self, recordset: str, seg: str, email: str | None, name: str, told: Callable[[int, int], None]
    ) -> list[Item]:
        body = ExportBody(ds=recordset, seg=seg, protocol="fits", name=name, email=email)
        job = self._ended(self._ask(SUBMIT, body), told)
        files = () if job.files is UNSET else job.files
        return [Item(f.name, f.record, "", f.path, f.size, f.sha256) for f in files if f.path]

    def _ended(self, job: Job, told: Callable[[int, int], None] = lambda _, __: None) -> Job:
        """A job once it has ended; RemoteError if it failed."""
        while job.state not in ENDED_STATES:
            time.sleep(LOOK)
            job = self._ask(JOB, JobQuery(), id=job.id)
            told(job.ready, job.total)
        if job.state != "done":
            raise RemoteError(f"{job.id} {job.state}{f': {job.error}' if job.error else ''}")
        return self._ask(JOB, JobQuery(), id=job.id)

    def _ask(self, endpoint: Endpoint[Q, A], asked: Q | None = None, **names: str) -> A:
        ds = getattr(asked, "ds", None)
        for each in (ds,) if ds is None or not isinstance(ds, list | tuple) else ds:
            if each is not None and not isinstance(each, str):
                raise BadRequest(f"the record set is {each!r}; expected a text, such as 'hmi.v_45s[2014.01.01_TAI/1h]'")
        return self._do(call(endpoint, asked, None, **names))

    def _do(self, asked: Call[T]) -> T:
        return self._connection.exchange(asked)[0]


class Dataset:
    """A data set of a mirror: records in fixed versions, and their files."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = name

    def __repr__(self) -> str:
        return f"mirror.Dataset({self.name!r}) at {self._connection.url}"

    def _repr_html_(self) -> str:
        return self.show()._repr_html_()

    def show(self) -> sets.Dataset:
        """What it is: its statement, series, counts, and the hash that names its content."""
        return self._ask(sets.DATASET, Nothing())

    def records(self) -> pd.DataFrame:
        """Its records: series, recnum, name, and the sha256 of their keywords and of their files."""
        return _frame(self._ask(sets.RECORDS, Nothing()))

    def verify(self) -> sets.Verified:
        """Whether all of it is in the store as it was: records by their values, files by their bytes."""
        return self._connection.follow(sets.VERIFY, Nothing(), Progress, lambda _: None, name=self.name)

    def diff(self) -> sets.Difference:
        """What JSOC has reprocessed or withdrawn since, by record and keyword; JSOC is asked."""
        return self._connection.follow(sets.DIFF, Nothing(), Progress, lambda _: None, name=self.name)

    def export(self, to: str | Path, *, files: bool = False) -> Path:
        """Write an RO-Crate to a new folder on the mirror's machine, with ``files`` if wanted."""
        body = sets.CrateBody(crate=str(Path(to).absolute()), files=files)
        return Path(self._connection.follow(sets.EXPORT, body, Progress, lambda _: None, name=self.name).crate)

    def delete(self) -> None:
        """Remove it: its records and files stay cached, but are no longer kept from eviction."""
        self._ask(sets.DELETE, Nothing())

    def _ask(self, endpoint: Endpoint[Q, A], asked: Q) -> A:
        return self._connection.exchange(call(endpoint, asked, None, name=self.name))[0]


class AsyncClient:
    """The methods of ``Client``, to be awaited: each runs in a thread of its own."""

    def __init__(self, url: str | None = None, *, token: str | None = None, timeout: float = 3600.0) -> None:
        self._client = Client(url, token=token, timeout=timeout)
        self.url = self._client.url

    def __repr__(self) -> str:
        return f"mirror.AsyncClient({self.url!r})"

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]: ...


def _awaited(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    async def wait(self: AsyncClient, *arguments: Any, **named: Any) -> Any:
        return await asyncio.to_thread(method, self._client, *arguments, **named)

    return wait


for _name, _method in list(vars(Client).items()):
    if callable(_method) and not _name.startswith("_"):
        setattr(AsyncClient, _name, _awaited(_method))


# ---- small parts -------------------------------------------------------------------------------------


def _one(value: Cutout | None, named: Cutout) -> Cutout:
    """The cutout that is meant; BadRequest if it is given twice, or is impossible."""
    if value is None:
        named.check()
        return named
    value.check()
    if named != Cutout():
        raise BadRequest("the cutout is given twice; expected cutout=, or center, size and what belongs to them")
    return value


def _names(names: Names) -> str:
    if names is None or isinstance(names, str):
        return names or ""
    try:
        return ",".join(names)
    except TypeError as problem:
        raise BadRequest(f"names are {names!r}; expected a text with commas, or a list of texts") from problem


def _arrow(answer: IO[bytes]) -> Any:
    """An Arrow stream, read while it comes."""
    import pyarrow as pa  # noqa: PLC0415  (takes long to import)

    return pa.ipc.open_stream(answer).read_all()


def _frame(answer: Sequence[object]) -> pd.DataFrame:
    """A list of objects as a frame."""
    from mirror.client.frames import Frame  # noqa: PLC0415  (see above)

    return Frame(plain(answer))


def _at_once(
    work: Callable[[Item], Delivered | Failure], items: Sequence[Item], most: int, told: Callable[[int, int], None],
    stop: Callable[[], None],
) -> list[Delivered | Failure]:  # fmt: skip
    """Deliver items, several at a time; ctrl-C ends all."""
    with ThreadPoolExecutor(most) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for count, _ in enumerate(as_completed(futures), start=1):
                told(count, len(items))
        except BaseException:
            stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [future.result() for future in futures]


def _paths(folder: Path, came: Sequence[Delivered | Failure]) -> list[Path]:
    failed = [each for each in came if isinstance(each, Failure)]
    if failed:
        first = "; ".join(f"{each.record}: {each.error}" for each in failed[:5])
        words = first.replace("use --overwrite to replace it", "overwrite=True replaces it")
        noun, verb = "file" if len(came) == 1 else "files", "is" if len(failed) == 1 else "are"
        raise RemoteError(f"{len(failed)} of {len(came)} {noun} {verb} not available: {words}")
    return [folder / each.name for each in came]


@contextmanager
def _bar(text: str, wanted: bool | None) -> Iterator[Callable[[int, int], None]]:
    """A function to report how many of how many are done: it shows a bar if wanted, by default on a terminal."""
    if not (sys.stderr.isatty() if wanted is None else wanted):
        yield lambda _, __: None
        return
    from rich import progress as bars  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415  (only for the bar)

    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)
