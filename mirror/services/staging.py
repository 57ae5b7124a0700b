"""Files that JSOC must bring back from tape: one export request for all of them, polled as JSOC says."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from mirror.drms.errors import UpstreamBroken, UpstreamRefused, UpstreamUnreachable
from mirror.drms.export import (
    NO_DATA_FILE,
    ExportFile,
    ExportRequest,
    Failed,
    Finished,
    Immediate,
    Pending,
    Protocol,
    StatusRequest,
)
from mirror.storage.unitfile import UnitFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from mirror.drms.export import ExportAnswer
    from mirror.drms.series import Series
    from mirror.engine.downloads import Downloads
    from mirror.services.wanted import Wanted
    from mirror.storage.blobtable import Blob
    from mirror.storage.holdings import Holdings, RecordSegment
    from mirror.upstream.client import UpstreamClient

log = logging.getLogger(__name__)

#: Seconds between two looks at a request, at least and at most, whatever JSOC says.
SHORTEST_WAIT, LONGEST_WAIT = 1.0, 60.0
#: Seconds after which staging counts as failed.
PATIENCE = 24 * 3600.0
#: Status 6, "no such request", is what JSOC says for a moment before it knows a request.
NOT_YET_KNOWN, TRIES = 6, 5
FORMAT = "{recnum:%d}.{segment}"


class Staging:
    """Requests upstream, one at a time, as JSOC asks of everyone."""

    def __init__(
        self,
        upstream: UpstreamClient,
        downloads: Downloads,
        holdings: Holdings,
        address: str | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._upstream = upstream
        self._downloads = downloads
        self._holdings = holdings
        self._address = address
        self._sleep = sleep
        self._one_request = asyncio.Lock()

    async def bring_back(
        self, series: Series, files: Sequence[Wanted], address: str | None
    ) -> dict[RecordSegment, Wanted]:
        """Have offline files exported as they are, and keep them; each with the path it is held under.

        Those that came back before are not asked for again.
        """
        came = await self._held(series, files)
        left = [wanted for wanted in files if wanted.owner not in came]
        if left:
            came |= await self._brought_back(series, left, address)
        return came

    async def _held(self, series: Series, files: Sequence[Wanted]) -> dict[RecordSegment, Wanted]:
        found = await self._holdings.of_records(series.name, {w.owner.recnum for w in files})
        holdings = {holding.record: holding for holding in found}
        return {
            w.owner: replace(w, path=holdings[w.owner].path, file=holdings[w.owner].file.file)
            for w in files
            if w.owner in holdings
        }

    async def _brought_back(
        self, series: Series, files: Sequence[Wanted], address: str | None
    ) -> dict[RecordSegment, Wanted]:
        recnums = ",".join(f"#{n}" for n in sorted({w.owner.recnum for w in files}))
        segments = ",".join(dict.fromkeys(w.segment for w in files))
        request = ExportRequest(
            f"{series.name}[:{recnums}]{{{segments}}}",
            protocol=Protocol("as-is"),
            filenamefmt=FORMAT,
            notify=address or self._address,
            allow_staging=True,
        )
        index = await self._exported(request)
        came: dict[RecordSegment, Wanted] = {}
        for wanted in files:
            row = _row_of(wanted, index)
            if row is not None:
                came[wanted.owner] = await self._keep(wanted, index.dir, row)
        return came

    async def _exported(self, request: ExportRequest) -> Finished:
        async with self._one_request:
            answer = await self._upstream.export(request)
            if isinstance(answer, Failed):
                raise UpstreamRefused(answer.status, answer.error)
            if isinstance(answer, Immediate):
                return Finished(
                    "", answer.method, answer.protocol, len(answer.files), answer.size, "", answer.files
                )
            return await self.finished(StatusRequest(answer.request_id))

    async def finished(self, status: StatusRequest) -> Finished:
        """The index of a request, once upstream is done with it; UpstreamRefused if it fails.

        That upstream is away for some time is no reason to give up what it works on.
        """
        waited = 0.0
        unknown = 0
        while waited < PATIENCE:
            answer = await self._look(status)
            if isinstance(answer, Finished):
                return answer
            wait = SHORTEST_WAIT if answer else LONGEST_WAIT
            if isinstance(answer, Pending):
                wait = min(max(float(answer.wait), SHORTEST_WAIT), LONGEST_WAIT)
            elif isinstance(answer, Failed):
                unknown += 1
                if answer.status != NOT_YET_KNOWN or unknown > TRIES:
                    raise UpstreamRefused(answer.status, answer.error)
            waited += wait
            await self._sleep(wait)
        raise UpstreamBroken(f"request {status.request_id} was not done after {PATIENCE / 3600:.0f} hours")

    async def _look(self, status: StatusRequest) -> ExportAnswer | None:
        try:
            return await self._upstream.export(status)
        except (UpstreamUnreachable, UpstreamBroken) as problem:
            log.warning("no word of request=%s error=%s", status.request_id, problem)
            return None

    async def fetched(self, path: str) -> Blob:
        """A file of an export directory upstream."""

        async def noted(_: Blob) -> None:
            """Nothing: the job that asked for it says what it is."""

        return await self._downloads.start(path, noted).kept()

    async def _keep(self, wanted: Wanted, folder: str, row: ExportFile) -> Wanted:
        path = row.filename if row.filename.startswith("/") else f"{folder}/{row.filename}"
        blob = await self.fetched(path)
        name = row.filename.rpartition("/")[2].removeprefix(f"{wanted.owner.recnum}.")
        file = UnitFile(wanted.sunum, 0, name)
        await self._holdings.add(file, blob, record=wanted.owner)
        return replace(wanted, path=file.path(), file=name)


def _row_of(wanted: Wanted, index: Finished) -> ExportFile | None:
    shown = f"{wanted.record}{{{wanted.segment}}}"
    for row in index.files:
        if row.record == shown and row.filename not in ("", NO_DATA_FILE):
            return row
    return None
