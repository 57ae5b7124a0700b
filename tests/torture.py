"""A mirror with everybody at it at once, killed again and again; and what must hold after each restart.

A life begins with the judge: whatever anybody was ever told must still be answered, equal; of a mirror that is
offline without asking anybody. Then it may ask, and people search, download, export, ask SQL, adopt and check until
it is killed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.lab import AJAX, JSOC_INFO

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FETCH = AJAX + "jsoc_fetch"
#: Files of 20 to 100 kB, ten a record set; the quota has room for some hundred of them.
FILES, SEGMENT = "hmi.sharp_cea_720s", "bitmap"
QUOTA = 12_000_000
#: Exports hold their files back from eviction, and pins do.
MOST_EXPORTS, MOST_PINS = 4, 20
SERIES = ("hmi.v_45s", "hmi.m_45s", "aia.lev1_euv_12s", "hmi.sharp_720s", FILES)
#: What each life of a mirror has in its environment; the upstream and the store come besides.
SETTINGS = {
    "MIRROR_SERVER__PORT": "0",
    "MIRROR_UPSTREAM__POLICY": "offline",
    "MIRROR_UPSTREAM__EMAIL": "torture@example.com",
    "MIRROR_STORAGE__QUOTA": f"{QUOTA // 1_000_000}MB",
    "MIRROR_FILL__CHUNK_RECORDS": "60",
    "MIRROR_LOG__LEVEL": "warning",
}
_GONE = (aiohttp.ClientError, ConnectionError, asyncio.TimeoutError)


@dataclass
class Told:
    """What people were told with success; ``asked`` are exports under way, ``sums`` the archive's files by path."""

    lists: dict[tuple[str, str], Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    pinned: set[str] = field(default_factory=set)
    exports: dict[str, dict[str, str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sums: dict[str, str] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)


class Torture:
    """The people, and the judge. ``upstream`` is the address of the simulator; ``dice`` decides everything."""

    def __init__(self, session: aiohttp.ClientSession, upstream: str, dice: random.Random) -> None:
        self._session = session
        self._upstream = upstream
        self._dice = dice
        self.told = Told()
        self.problems: list[str] = []
        self._url = ""

    # ---- people ----------------------------------------------------------------------------------

    async def live(self, url: str) -> None:
        """Let the mirror ask, and everybody at it, until it is gone."""
        self._url = url
        with suppress(*_GONE):
            await self._post("/api/policy", {"policy": "fallback"})
        people = (
            self._search,
            self._search,
            self._download,
            self._export,
            self._sql,
            self._adopt,
            self._check,
        )
        await asyncio.gather(*(self._again(p) for p in people))

    async def _again(self, act: Callable[[], Awaitable[object]]) -> None:
        try:
            while True:
                await act()
                self.told.done[act.__name__.strip("_")] += 1
        except _GONE:
            return

    async def _search(self) -> None:
        ds, key = self.question(), self._dice.choice(("*recnum*", "T_REC,QUALITY,*recnum*", "**ALL**"))
        answer = await self._records(self._url, ds, key)
        if answer is not None:
            self.told.lists.setdefault((ds, key), answer)

    async def _download(self) -> None:
        path = self._dice.choice(await self._files(self._one_record()))
        code, content = await self._get(self._url, path)
        if code == 200:
            self.told.files[path] = _sum(content)
        if self._dice.random() < 0.05 and len(self.told.pinned) < MOST_PINS:
            await self._pin(self._one_record())

    async def _pin(self, ds: str) -> None:
        """Fetch the files of some records and pin them; if all were held then, they are promised."""
        paths = await self._files(ds)
        for path in paths:
            await self._get(self._url, path)
        answer = await self._post("/api/pins", {"ds": ds, "owner": "ada", "reason": "torture"})
        for path in paths if answer.get("not_held") == 0 else []:
            self.told.files[path] = await self._real(path)
            self.told.pinned.add(path)

    async def _export(self) -> None:
        """Ask for an export, or how far one is that was asked for in an earlier life."""
        if len(self.told.exports) + len(self.told.asked) < MOST_EXPORTS:
            params = {"op": "exp_request", "ds": self._one_record(), "method": "url", "notify": "torture@example.com",
                      "protocol": self._dice.choice(("as-is", "fits"))}  # fmt: skip
            told = await self._json(FETCH, params)
            if "requestid" in told:
                self.told.asked.append(told["requestid"])
        for job in list(self.told.asked):
            told = await self._json(FETCH, {"op": "exp_status", "requestid": job})
            if str(told.get("status")) not in ("1", "2"):
                self.told.asked.remove(job)
            if str(told.get("status")) == "0" and told.get("data"):
                await self._take(told)
            elif str(told.get("status")) not in ("0", "1", "2") and "no room" not in str(told):
                self.problems.append(f"export failed: {told}")
        await self._json("/api/jobs", {})
        await asyncio.sleep(0.3)

    async def _take(self, told: dict[str, Any]) -> None:
        """The files of an export that is done; told with its status, they are promised."""
        files = {}
        for each in told["data"]:
            path = f"{told['dir']}/{each['filename']}"
            code, content = await self._get(self._url, path)
            if code == 200:
                files[path] = _sum(content)
        self.told.exports.setdefault(told["requestid"], {}).update(files)

    async def _sql(self) -> None:
        series = self._dice.choice(SERIES)
        statement = f"SELECT count(*), count(DISTINCT recnum) FROM {series}"
        async with self._session.post(f"{self._url}/api/sql", data=statement) as response:
            answer = await response.json()
        if response.status == 200 and answer["rows"][0][0] != answer["rows"][0][1]:
            self.problems.append(f"SQL has records twice: {series} {answer['rows']}")
        if response.status not in (200, 400, 429) or "parquet" in str(answer.get("error")):
            self.problems.append(f"SQL of {series} gives {response.status} {answer}")
        await asyncio.sleep(self._dice.random())

    async def _adopt(self) -> None:
        path = self._dice.choice(await self._files(self._one_record()))
        _, content = await self._get(self._upstream, path)
        params = {"name": path.rpartition("/")[2], "unit": path}
        headers = {"Content-Type": "image/fits"}
        async with self._session.post(
            f"{self._url}/api/adopt/upload", params=params, data=content, headers=headers
        ) as response:
            outcome = await response.json()
        if outcome.get("state") in ("placed", "held"):
            self.told.files[path] = _sum(content)
        await asyncio.sleep(self._dice.random())

    async def _check(self) -> None:
        await asyncio.sleep(self._dice.random() * 2)
        await self._post("/api/check", {"scope": self._dice.choice(("all", "files", "index"))})

    # ---- the judge -------------------------------------------------------------------------------

    async def judge(self, url: str, *, most: int = 25) -> None:
        """Compare what a mirror says with what people were told, and with the archive."""
        self._url = url
        for ds, key in self._some(self.told.lists, most):
            found = await self._records(url, ds, key)
            if found != self.told.lists[ds, key]:
                self.problems.append(f"lost or changed: {ds} {key}")
        for path in self._some(self.told.files, most):
            await self._judge_file(path, self.told.files[path], must=path in self.told.pinned)
        for files in self.told.exports.values():
            for path, known in files.items():
                await self._judge_file(path, known, must=True)
        await self._judge_ranges(most)
        await self._judge_store()

    async def _judge_file(self, path: str, known: str, *, must: bool) -> None:
        code, content = await self._get(self._url, path)
        if code == 200 and _sum(content) != known:
            self.problems.append(f"other bytes: {path}")
        if code == 200 and path.startswith("/SUM") and known != await self._real(path):
            self.problems.append(f"not the archive's bytes: {path}")
        if code != 200 and must:
            self.problems.append(f"lost: {path} {code}")

    async def _judge_ranges(self, most: int) -> None:
        """Whatever is answered, of any range, is the archive's own answer."""
        for ds in [self.question() for _ in range(min(most, 100) // 2)]:
            found = await self._records(self._url, ds, "T_REC,*recnum*")
            if found is not None and found != await self._records(self._upstream, ds, "T_REC,*recnum*"):
                self.problems.append(f"invented or missing: {ds}")

    async def _judge_store(self) -> None:
        told = (await self._get(self._url, "/metrics"))[1].decode()
        held = float(told.partition("\nmirror_blob_bytes ")[2].split()[0])
        if held > QUOTA:
            self.problems.append(f"{held} bytes held, above the quota")

    async def judge_check(self, url: str) -> Counter[str]:
        """A whole check; what it found, by kind and outcome."""
        self._url = url
        await self._post("/api/check", {"scope": "all", "restart": True})
        while (told := json.loads((await self._get(url, "/api/check"))[1]))["running"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        if not told["ok"]:
            self.problems.append(f"check: {told['findings']}")
        return Counter(f"{f['kind']} {f['outcome']}" for f in told["findings"])

    # ---- questions -------------------------------------------------------------------------------

    def question(self) -> str:
        """A range of records, of four days of 2014, a few minutes to an hour long."""
        dice = self._dice
        series = dice.choice(SERIES)
        at = f"2014.01.0{dice.randrange(1, 5)}_{dice.randrange(24):02}:{dice.randrange(60):02}_TAI"
        long = f"{dice.choice((3, 12, 30, 60))}m"
        if series.startswith("aia"):
            at, long = at.removesuffix("_TAI"), f"{dice.choice((1, 2, 4))}m"
            return f"{series}[{at}/{long}][{dice.choice((94, 171, 304))}]"
        return f"{series}[][{at}/{long}]" if "sharp" in series else f"{series}[{at}/{long}]"

    def _one_record(self) -> str:
        at = f"2014.01.0{self._dice.randrange(1, 3)}_{self._dice.randrange(24):02}:00_TAI"
        return f"{FILES}[][{at}/12m]{{{SEGMENT}}}"

    async def _files(self, ds: str) -> list[str]:
        """The paths of the files of some records, as the archive tells them."""
        params = {"op": "rs_list", "ds": ds.partition("{")[0], "seg": SEGMENT, "key": "*recnum*"}
        async with self._session.get(self._upstream + JSOC_INFO, params=params) as response:
            told = await response.json(content_type=None)
        return list(told["segments"][0]["values"]) if told.get("count") else []

    async def _records(self, url: str, ds: str, key: str) -> Any:
        """An answer without what differs from time to time; None if it is no success."""
        params = {"op": "rs_list", "ds": ds, "key": key}
        if ds.startswith(FILES) and key == "*recnum*":
            params["seg"] = SEGMENT
        async with self._session.get(url + JSOC_INFO, params=params) as response:
            told = await response.json(content_type=None)
        return {k: v for k, v in told.items() if k != "runtime"} if told.get("status") == 0 else None

    async def _real(self, path: str) -> str:
        if path not in self.told.sums:
            self.told.sums[path] = _sum((await self._get(self._upstream, path))[1])
        return self.told.sums[path]

    async def _get(self, url: str, path: str) -> tuple[int, bytes]:
        async with self._session.get(url + path) as response:
            return response.status, await response.read()

    async def _json(self, path: str, params: dict[str, str]) -> Any:
        async with self._session.get(self._url + path, params=params) as response:
            return await response.json(content_type=None)

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        async with self._session.post(self._url + path, json=body) as response:
            return await response.json(content_type=None)

    def _some(self, things: dict[Any, Any], most: int) -> list[Any]:
        """The newest, and others by chance."""
        names = list(things)
        return names[-most // 2 :] + self._dice.sample(names, min(len(names), most // 2))


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
