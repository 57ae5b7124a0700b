"""The files of a subscription: the newest records that lack some, a few at a time."""

from __future__ import annotations

import logging
from asyncio import gather
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mirror.drms.recordset import Bracket, RecordSet, Where
from mirror.errors import MirrorError, UpstreamRefused
from mirror.services.exports.segment_files import FileLocation as Place
from mirror.services.exports.segment_files import RequestedFile, requested_files
from mirror.wire.info import RsListRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mirror.drms.series import Series
    from mirror.readthrough.files import Files
    from mirror.readthrough.policy import JsocInfo, Rules
    from mirror.services.exports.assembling import Assembler
    from mirror.services.exports.staging import Staging
    from mirror.services.subscriptions.holdings import Scope, SubscriptionHoldings
    from mirror.storage.files.holdings import Holdings, RecordSegment
    from mirror.storage.files.table import Blob
    from mirror.storage.index.index import Index
    from mirror.storage.index.layout import Row
    from mirror.upstream.pacing import Priority

log = logging.getLogger(__name__)

#: Records in a batch: their files are fetched before anything else is considered.
BATCH = 16
#: Files under way at a time: while one is recorded the next may arrive.
AT_ONCE = 2
#: Seconds until a file that is not available is tried again.
AGAIN = 86_400.0


@dataclass
class Spared:
    """Records that are left alone for some time: their files are not available, or not wanted."""

    until: dict[int, float] = field(default_factory=dict)
    absent: set[RecordSegment] = field(default_factory=set)  #: files that are not available

    def now(self, now: float) -> list[int]:
        """The numbers of those that are left alone at ``now``."""
        self.until = {recnum: end for recnum, end in self.until.items() if end > now}
        self.absent = {owner for owner in self.absent if owner.recnum in self.until}
        return list(self.until)

    def add(self, recnums: Iterable[int], until: float) -> None:
        """Leave these alone too."""
        self.until |= dict.fromkeys(recnums, until)


@dataclass(frozen=True)
class Batch:
    """The purpose of a batch.

    ``may_go`` says before each file whether it may be fetched now. If so ``ended`` is called with the result: the file,
    or None.
    """

    scope: Scope
    priority: Priority
    spared: Spared
    may_go: Callable[[], bool]
    ended: Callable[[Blob | None], object]
    pictures: bool = False  #: whether quick looks of its files are made ahead


class SyncFiles:
    """Fetches files in batches. ``address`` is for files that must come back from tape; without one they are left out."""

    def __init__(
        self,
        index: Index,
        standing: SubscriptionHoldings,
        holdings: Holdings,
        files: Files,
        staging: Staging,
        assembler: Assembler,
        upstream: JsocInfo,
        rules: Rules,
        address: str | None,
    ) -> None:
        self._index = index
        self._standing = standing
        self._holdings = holdings
        self._files = files
        self._staging = staging
        self._assembler = assembler
        self._upstream = upstream
        self._rules = rules
        self._address = address
        #: Called for each file of which pictures should be made.
        self.on_picture: Callable[[RequestedFile], object] = lambda _: None

    async def batch(self, batch: Batch) -> bool:
        """Fetch the files of the newest records that lack some; False if there are none.

        Raises what prevents files from coming now. Records with files that are not available are left alone for a day.
        """
        scope, spared, now = batch.scope, batch.spared, self._rules.timestamp()
        found = await self._standing.lacking(scope, spared.now(now), BATCH)
        if not found.rows:
            return False
        rows = found.rows
        if found.undecided:
            chosen = await self._decided(scope, found.undecided, batch.priority)
            spared.add(found.undecided - chosen, now + AGAIN)
            rows = [row for row in rows if row.recnum not in found.undecided or row.recnum in chosen]
        await self._fetch(batch, rows)
        return True

    async def _fetch(self, batch: Batch, rows: Sequence[Row]) -> None:
        scope, series = batch.scope, batch.scope.records.series
        wanted = requested_files(self._index.layout(series), rows, scope.segments)
        held = {h.record for h in await self._holdings.of_records(series.name, [r.recnum for r in rows])}
        lacking = [w for w in wanted if w.owner not in held]
        if scope.precise:
            await self._assembler.keep_precise(self._index.layout(series), rows, batch.priority)
        went = await self._at_once(batch, [w for w in lacking if w.place is Place.ONLINE])
        gone = [w for w in went if went[w] is None]
        offline = [w for w in lacking if w.place is Place.OFFLINE] + gone
        came = await self._from_tape(series, offline) if offline else set()
        # What stopped midway is tried again; the others had their chance.
        tried = {w.owner for w in lacking if w.place is Place.NOWHERE} | {w.owner for w in offline}
        absent, again = tried - came, self._rules.timestamp() + AGAIN
        batch.spared.absent |= absent
        batch.spared.add((owner.recnum for owner in absent), again)
        if not lacking:  # only values at full precision were missing; those that did not come now are not available
            batch.spared.add((row.recnum for row in rows), again)

    async def _at_once(self, batch: Batch, wanted: Sequence[RequestedFile]) -> dict[RequestedFile, Blob | None]:
        """Each file that was tried, with None if it does not exist; raises the first failure of another kind."""
        done: dict[RequestedFile, Blob | None] = {}
        problems: list[MirrorError] = []
        left: Iterator[RequestedFile] = iter(wanted)

        async def lane() -> None:
            for each in left:
                if problems or not batch.may_go():
                    return
                try:
                    done[each] = await self._one(batch, each)
                except MirrorError as problem:
                    problems.append(problem)

        await gather(*(lane() for _ in range(AT_ONCE)))
        if problems:
            raise problems[0]
        return done

    async def _one(self, batch: Batch, wanted: RequestedFile) -> Blob | None:
        file = wanted.source
        blob = None
        try:
            blob = await self._files.get(file, batch.priority)
        except UpstreamRefused as problem:
            log.info("not available record=%s segment=%s error=%s", wanted.record, wanted.segment, problem)
        finally:
            batch.ended(blob)
        if blob is not None and batch.pictures:
            self.on_picture(wanted)
        return blob

    async def _from_tape(self, series: Series, wanted: Sequence[RequestedFile]) -> set[RecordSegment]:
        """The files that an export brought back, if there is an address for it."""
        if not self._address:
            return set()
        try:
            return set(await self._staging.bring_back(series, wanted, self._address))
        except UpstreamRefused as problem:
            log.warning("not staged series=%s files=%s error=%s", series.name, len(wanted), problem)
            return set()

    async def _decided(self, scope: Scope, recnums: frozenset[int], priority: Priority) -> set[int]:
        """The records for which the condition holds, according to upstream."""
        assert scope.files is not None
        numbers = ":" + ",".join(f"#{n}" for n in sorted(recnums))
        wheres = [f for f in scope.files.source.filters if isinstance(f, Where)]
        ds = str(RecordSet(scope.records.series.name, (Bracket(numbers), *wheres)))
        answer = await self._upstream.rs_list(RsListRequest(ds, keys=("*recnum*",)), priority)
        return set(map(int, answer.keywords[0][1])) if answer.count and answer.keywords else set()
