"""Many clients at one mirror for a while, each answer compared with the archive's own.

    python benchmarks/soak.py                                   # 200 clients for ten minutes
    python benchmarks/soak.py --clients 20 --minutes 1 --seed 7

``mirror simulate`` and ``mirror serve`` run as separate programs; the clients send a mix of typical requests: searches
of cached and missing records, counts, conditions, SQL, files, exports, pages and the API. The simulator's answer to
the same question is the truth: bytes except for ``runtime``, hashes of files, sums over its record numbers. A refusal
because of too many requests (429) is counted, but is neither wrong nor a failure. Goal: nothing wrong, no 5xx, no
failure; the exit code says so. Only this computer is asked; a store of ``--disk`` bytes gets no more new records.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import io
import json
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
from astropy.io import fits
from common import INFO, Program, hardware, run_mirror, run_simulator
from yarl import URL

from mirror.wire.params import encode_params

FETCH = "/cgi-bin/ajax/jsoc_fetch"
ADDRESS = "soak@example.com"
#: Series with the requested keywords, and the minutes of the longest window.
SERIES = {
    "hmi.v_45s": ("T_REC,OBS_VR,QUALITY,*recnum*", 60),
    "hmi.m_45s": ("T_REC,DATAMEAN,DATE,*recnum*", 60),
    "hmi.m_720s": ("T_REC,CRLT_OBS,DATAMEAN,*recnum*", 600),
    "hmi.ic_720s": ("T_REC,QUALITY,*recnum*", 600),
    "aia.lev1_euv_12s": ("T_REC,WAVELNTH,EXPTIME,*recnum*", 4),
    "hmi.sharp_720s": ("HARPNUM,T_REC,USFLUX,*recnum*", 120),
    "hmi.sharp_cea_720s": ("HARPNUM,T_REC,*recnum*", 120),
}
CONDITIONS = ("QUALITY=0", "QUALITY>0", "QUALITY<>0")
#: Small files, some ten per record set.
FILES, SEGMENT = "hmi.sharp_cea_720s", "bitmap"
PAGES = (
    "/",
    "/jobs",
    "/subscriptions",
    "/upkeep",
    "/coverage",
    "/series",
    "/series/hmi.v_45s",
    "/sql",
    "/login",
)
APIS = (
    "/api/status",
    "/api/coverage?series=hmi.v_45s",
    "/api/series",
    "/api/jobs",
    "/api/subscriptions",
    "/metrics",
    "/api/policy",
)
#: The relative frequency of each kind.
MIX = {
    "warm": 40, "cold": 8, "count": 6, "condition": 6, "sql": 6, "held file": 10, "cold file": 4, "export": 2, "page": 8, "api": 10,
}  # fmt: skip
COLD = frozenset({"cold", "cold file", "export"})
#: Windows and records that are requested repeatedly.
WARM, HELD = 40, 12
#: Truths that are cached, problems that are printed, and seconds that a request may take.
REMEMBERED, PRINTED, PATIENCE = 20_000, 20, 120.0
_RUNTIME = re.compile(rb',?\s*"runtime"\s*:\s*[^,}\]]*')
#: Keywords that say how a file was written, not what is in it.
_OF_THE_WRITER = frozenset({"CHECKSUM", "COMMENT", "HISTORY", ""})
_TOO_MANY = 429
_BROKEN = 500


class Refused(Exception):
    """Too many requests at the moment."""


@dataclass
class Tally:
    """The results, by kind of question."""

    took: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  #: 5xx
    failed: Counter[str] = field(default_factory=Counter)  #: other errors, by kind and message
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> bool:
        return not (self.wrong or self.broken or self.failed)


class Soak:
    """The clients of a mirror at ``url``; ``dice`` decides what they ask, ``truth`` is the simulator's address."""

    def __init__(self, session: aiohttp.ClientSession, url: str, truth: str, dice: random.Random) -> None:
        self._session = session
        self._url = url
        self._truth = truth
        self._known: OrderedDict[tuple[str, str], Any] = OrderedDict()
        self._warm = [question(dice) for _ in range(WARM)]
        self._held = [record(dice) for _ in range(HELD)]
        self.tally = Tally()
        self.full = False  #: no room for more
        self._kinds: dict[str, Callable[[random.Random], Awaitable[None]]] = {
            "warm": lambda dice: self._search("warm", dice.choice(self._warm)),
            "cold": lambda dice: self._search("cold", question(dice)),
            "count": self._count,
            "condition": self._condition,
            "sql": self._sql,
            "held file": lambda dice: self._file("held file", dice.choice(self._held)),
            "cold file": lambda dice: self._file("cold file", record(dice)),
            "export": self._export,
            "page": self._page,
            "api": self._api,
        }

    async def prepare(self) -> None:
        """Send the requests once that are repeated later."""
        for ds in self._warm:
            await self._search("prepare", ds)
        for ds in self._held:
            await self._file("prepare", ds)

    async def client(self, number: int, seed: int, until: float) -> None:
        """Send one request after the other."""
        dice = random.Random(seed * 1_000_003 + number)
        while time.monotonic() < until:
            kind = dice.choices(list(MIX), list(MIX.values()))[0]
            await self._one("warm" if kind in COLD and self.full else kind, dice)
            await asyncio.sleep(dice.random() * 0.2)

    async def _one(self, kind: str, dice: random.Random) -> None:
        try:
            await self._kinds[kind](dice)
        except Refused:
            self.tally.refused[kind] += 1
            await asyncio.sleep(1)
        except TimeoutError:
            self.tally.failed[f"{kind}: no answer in {PATIENCE:.0f} s"] += 1
        except (aiohttp.ClientError, ConnectionError) as problem:
            self.tally.failed[f"{kind}: {type(problem).__name__}: {problem}"[:200]] += 1
        except (ValueError, LookupError, TypeError) as problem:
            self._mistake(kind, "an answer that cannot be read", f"{type(problem).__name__}: {problem}")

    # ---- kinds -----------------------------------------------------------------------------------

    async def _search(self, kind: str, ds: str) -> None:
        params = {"op": "rs_list", "ds": ds, "key": SERIES[ds.partition("[")[0]][0]}
        await self._same(kind, INFO, params)

    async def _count(self, dice: random.Random) -> None:
        await self._same("count", INFO, {"op": "rs_summary", "ds": dice.choice(self._warm)})

    async def _condition(self, dice: random.Random) -> None:
        ds = dice.choice([ds for ds in self._warm if not ds.startswith("hmi.sharp")])
        params = {
            "op": "rs_list",
            "ds": f"{ds}[? {dice.choice(CONDITIONS)} ?]",
            "key": "T_REC,QUALITY,*recnum*",
        }
        await self._same("condition", INFO, params)

    async def _sql(self, dice: random.Random) -> None:
        """A sum over record numbers, of a record set or of the table of its series."""
        ds = dice.choice(self._warm)
        numbers = await self._numbers(ds)
        source = f"jsoc('{ds}')"
        if ds.startswith("hmi.") and "sharp" not in ds and numbers and dice.random() < 0.5:
            source = f"{ds.partition('[')[0]} WHERE recnum IN ({','.join(map(str, numbers))})"
        body = {"query": f"SELECT count(*), sum(recnum), min(recnum), max(recnum) FROM {source}"}
        content = await self._asked("sql", "POST", "/api/sql", json=body)
        if content is None:
            return
        row = [None if value is None else int(value) for value in json.loads(content)["rows"][0]]
        expected = [
            len(numbers),
            *((sum(numbers), min(numbers), max(numbers)) if numbers else (None, None, None)),
        ]
        if row != expected:
            self._mistake("sql", body["query"][:300], f"{row} instead of {expected}")

    async def _file(self, kind: str, ds: str) -> None:
        for path in (await self._paths(ds))[:1]:
            content = await self._asked(kind, "GET", path)
            if content is not None and digest(content) != await self._sum(path, digest):
                self._mistake(kind, path, "other bytes than the archive's")

    async def _export(self, dice: random.Random) -> None:
        ds = dice.choice(self._held) if dice.random() < 0.5 else record(dice)
        method, protocol = dice.choice((("url_quick", "as-is"), ("url", "as-is"), ("url", "fits")))
        params = {
            "op": "exp_request",
            "ds": f"{ds}{{{SEGMENT}}}",
            "method": method,
            "protocol": protocol,
            "notify": ADDRESS,
            "format": "json",
        }
        told = await self._exported(self._url, params)
        expected = await self._exported(self._truth, params)
        if told is None or expected is None:
            return
        if str(told["status"]) != "0":
            if told["status"] != expected["status"]:  # files that are offline are so for everybody
                self.tally.failed[f"export: {told.get('error')}"[:200]] += 1
            return
        if str(expected["status"]) != "0":
            return  # the mirror has cached what the archive would have to bring back first
        if [file["record"] for file in told["data"]] != [file["record"] for file in expected["data"]]:
            self._mistake("export", f"{params}", f"{told['data']} instead of {expected['data']}"[:600])
            return
        for mine, real in zip(told["data"][:2], expected["data"][:2], strict=True):
            content = await self._asked("export", "GET", path_of(told, mine))
            path = path_of(expected, real)
            of: Callable[[bytes], Any] = meaning if protocol == "fits" else digest
            if content is not None and not agrees(of(content), await self._sum(path, of)):
                self._mistake(
                    "export", f"{params}", f"{mine['filename']} has other content than the archive's"
                )

    async def _page(self, dice: random.Random) -> None:
        path = dice.choice((*PAGES, f"/search?{encode_params({'ds': dice.choice(self._warm)})}"))
        content = await self._asked("page", "GET", path)
        if content is not None and not content.rstrip().endswith(b"</html>"):
            self._mistake("page", path, "ends before its end")

    async def _api(self, dice: random.Random) -> None:
        if dice.random() < 0.5:
            content = await self._asked("api", "GET", dice.choice(APIS))
            if content == b"":
                self._mistake("api", "an answer", "nothing")
            return
        ds = dice.choice(self._warm)
        content = await self._asked(
            "api", "GET", f"/api/search?{encode_params({'ds': ds, 'key': '*recnum*'})}"
        )
        if content is not None:
            rows = [int(row[0]) for row in json.loads(content)["rows"]]
            if rows != await self._numbers(ds):
                self._mistake("api", ds, f"{len(rows)} records, not those of the archive")

    # ---- asking ----------------------------------------------------------------------------------

    async def _same(self, kind: str, path: str, params: dict[str, str]) -> None:
        target = f"{path}?{encode_params(params)}"
        content = await self._asked(kind, "GET", target)
        expected = await self._remembered("answer", target, self._get)
        if content is not None and plain(content) != plain(expected):
            self._mistake(kind, target, f"{content[:300]!r} instead of {expected[:300]!r}")

    async def _asked(self, kind: str, verb: str, target: str, **options: Any) -> bytes | None:
        """The mirror's answer, timed; None if it is an error, which is counted."""
        began = time.monotonic()
        async with self._session.request(verb, URL(self._url + target, encoded=True), **options) as response:
            content = await response.read()
        self.tally.took[kind].append(time.monotonic() - began)
        if response.status == _TOO_MANY:
            raise Refused
        if response.status >= _BROKEN:
            self.tally.broken.append(f"{kind}: {response.status} {target[:300]}: {content[:300]!r}")
        elif response.status != 200:
            self.tally.failed[f"{kind}: {response.status} {content[:160]!r}"] += 1
        return content if response.status == 200 else None

    async def _exported(self, base: str, params: dict[str, str]) -> dict[str, Any] | None:
        """The result of an export, its index or the refusal; None if there is no answer, which is counted."""
        target, began = f"{FETCH}?{encode_params(params)}", time.monotonic()
        while time.monotonic() - began < PATIENCE:
            content = await (self._asked("export", "GET", target) if base == self._url else self._get(target))
            if content is None:
                return None
            told: dict[str, Any] = json.loads(content)
            if str(told["status"]) not in ("1", "2"):
                return told
            again = {"op": "exp_status", "requestid": told["requestid"], "format": "json"}
            target = f"{FETCH}?{encode_params(again)}"
            await asyncio.sleep(0.5)
        self.tally.failed[f"export: not done in {PATIENCE:.0f} s"] += base == self._url
        return None

    # ---- truth -----------------------------------------------------------------------------------

    async def _get(self, target: str) -> bytes:
        async with self._session.get(URL(self._truth + target, encoded=True)) as response:
            return await response.read()

    async def _remembered(self, what: str, name: str, ask: Callable[[str], Awaitable[Any]]) -> Any:
        if (what, name) not in self._known:
            self._known[what, name] = await ask(name)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return self._known[what, name]

    async def _numbers(self, ds: str) -> list[int]:
        async def ask(name: str) -> list[int]:
            told = json.loads(
                await self._get(f"{INFO}?{encode_params({'op': 'rs_list', 'ds': name, 'key': '*recnum*'})}")
            )
            return [int(n) for n in told["keywords"][0]["values"]] if told["count"] else []

        found: list[int] = await self._remembered("numbers", ds, ask)
        return found

    async def _paths(self, ds: str) -> list[str]:
        async def ask(name: str) -> list[str]:
            params = {"op": "rs_list", "ds": name, "key": "*recnum*", "seg": SEGMENT}
            told = json.loads(await self._get(f"{INFO}?{encode_params(params)}"))
            return [p for p in told["segments"][0]["values"] if p.startswith("/")] if told["count"] else []

        found: list[str] = await self._remembered("paths", ds, ask)
        return found

    async def _sum(self, path: str, of: Callable[[bytes], Any]) -> Any:
        async def ask(name: str) -> Any:
            return of(await self._get(name))

        return await self._remembered(of.__name__, path, ask)

    def _mistake(self, kind: str, asked: str, what: str) -> None:
        self.tally.wrong.append(f"{kind}: {asked}: {what}")


# ---- questions ---------------------------------------------------------------------------------------


def question(dice: random.Random) -> str:
    """A window of some minutes or hours in eight years."""
    series = dice.choice(list(SERIES))
    start = datetime(2012, 1, 1, tzinfo=UTC) + timedelta(minutes=dice.randrange(8 * 365 * 1440))
    length = dice.randint(1, SERIES[series][1])
    if series.startswith("aia"):
        return f"{series}[{start:%Y-%m-%dT%H:%M:%SZ}/{length}m][{dice.choice((94, 131, 171, 193, 211, 304, 335))}]"
    window = f"[{start:%Y.%m.%d_%H:%M:%S}_TAI/{length}m]"
    return f"{series}[]{window}" if "sharp" in series else f"{series}{window}"


def record(dice: random.Random) -> str:
    """Some records with small files, of one moment."""
    start = datetime(2014, 1, 1, tzinfo=UTC) + timedelta(minutes=12 * dice.randrange(365 * 120))
    return f"{FILES}[][{start:%Y.%m.%d_%H:%M:%S}_TAI]"


def plain(content: bytes) -> bytes:
    """An answer without what differs from one time to the next."""
    return _RUNTIME.sub(b"", content)


def digest(content: bytes) -> str:
    """The hash of a file as it is in the archive."""
    return hashlib.sha256(content).hexdigest()


def meaning(content: bytes) -> list[tuple[dict[str, Any], str]]:
    """For each unit of a FITS file the values of its keywords, however they are written, and the hash of its data."""
    with fits.open(io.BytesIO(content), disable_image_compression=True) as hdus:
        return [(_values(hdu.header), digest(_data(content, hdu.fileinfo()))) for hdu in hdus]


def _values(header: fits.Header) -> dict[str, Any]:
    """The present values: JSOC's software and the simulator write missing ones in two ways."""
    return {
        name: value
        for name, value in header.items()
        if name not in _OF_THE_WRITER and value is not None and not isinstance(value, fits.card.Undefined)
    }


def _data(content: bytes, place: dict[str, int]) -> bytes:
    return content[place["datLoc"] : place["datLoc"] + place["datSpan"]]


def agrees(mine: Any, real: Any) -> bool:
    """True for the same hash, or the same data below all keywords of the archive; JSOC's own exports have some more."""
    if isinstance(real, str):
        return bool(mine == real)
    return len(mine) == len(real) and all(
        data == expected and values.items() >= keywords.items()
        for (values, data), (keywords, expected) in zip(mine, real, strict=True)
    )


def path_of(index: dict[str, Any], file: dict[str, Any]) -> str:
    """Where a file of an export lies."""
    name = str(file["filename"])
    return name if name.startswith("/") else f"{index['dir']}/{name}"


# ---- the run -----------------------------------------------------------------------------------------


async def watch(soak: Soak, mirror: Program, store: Path, most: int, memory: list[float]) -> None:
    """Note the daemon's memory, and say when the store is full."""
    while True:
        memory.append(mirror.memory())
        size = await asyncio.to_thread(size_of, store)
        soak.full = size > most
        done = sum(map(len, soak.tally.took.values()))
        print(
            f"{done:9,} answers, {len(soak.tally.wrong)} wrong, {len(soak.tally.broken)} of 5xx, {soak.tally.failed.total()} failed, "
            f"{soak.tally.refused.total()} refused; {memory[-1]:.0f} MB, store {size / 1e6:.0f} MB",
            flush=True,
        )
        await asyncio.sleep(10)


def size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # it went meanwhile
            total += path.stat().st_size if path.is_file() else 0
    return total


async def run(options: argparse.Namespace, store: Path) -> tuple[Tally, list[float], float]:
    settings = {"UPSTREAM__EMAIL": ADDRESS, "STORAGE__QUOTA": "300MB", "LOG__LEVEL": "warning"}
    with run_simulator() as simulator, run_mirror(store, upstream=simulator.url, **settings) as mirror:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session:
            soak = Soak(session, mirror.url, simulator.url, random.Random(options.seed))
            await soak.prepare()
            memory: list[float] = []
            watching = asyncio.ensure_future(watch(soak, mirror, store, options.disk * 10**9, memory))
            until = time.monotonic() + options.minutes * 60
            await asyncio.gather(*(soak.client(n, options.seed, until) for n in range(options.clients)))
            watching.cancel()
            return soak.tally, memory, mirror.memory("VmHWM")


def summary(tally: Tally, memory: list[float], peak: float) -> None:
    print(f"\n{'kind':10} {'answers':>9} {'median':>9} {'p99':>9} {'worst':>9}   milliseconds")
    for kind, took in sorted(tally.took.items()):
        ordered = sorted(took)
        figures = (statistics.median(ordered), ordered[len(ordered) * 99 // 100], ordered[-1])
        print(f"{kind:10} {len(ordered):9,} " + " ".join(f"{1e3 * value:9.1f}" for value in figures))
    print(
        f"memory of the daemon: {memory[0]:.0f} MB at first, {memory[-1]:.0f} MB at the end, {peak:.0f} MB at most"
    )
    print(f"refused (429): {dict(tally.refused)}")
    for name, problems in (("wrong", tally.wrong), ("5xx", tally.broken)):
        print(f"{name}: {len(problems)}")
        for problem in problems[:PRINTED]:
            print(f"  {problem}")
    print(f"failed: {tally.failed.total()}")
    for problem, times in tally.failed.most_common(PRINTED):
        print(f"  {times} x {problem}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--disk", type=int, default=6, help="GB of the store above which nothing new is asked for"
    )
    options = parser.parse_args()
    print(hardware(), f"seed {options.seed}, {options.clients} clients, {options.minutes:g} minutes")
    with tempfile.TemporaryDirectory() as folder:
        tally, memory, peak = asyncio.run(run(options, Path(folder) / "store"))
    summary(tally, memory, peak)
    raise SystemExit(0 if tally.good else 1)


if __name__ == "__main__":
    main()
