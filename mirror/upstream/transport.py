"""HTTP to the archive: bytes out, bytes in, and every kind of failure as one of two errors.

UpstreamUnreachable: nobody answered, or a server in front of the archive said that it is not there.
UpstreamBroken: an answer came that cannot be used, because it is truncated, for example.

Bodies have bounds: in bytes after decompression, in time, and in speed. What comes may be anything: a megabyte that
unpacks to gigabytes, a body without end, one byte a minute. Nothing is kept beyond a bound, and whatever exceeds one
is UpstreamBroken.

A mirror may have another mirror as its upstream, and asks it as any client does. Each adds its name to the header
``Via`` of a question. So the other knows that a mirror asks, and one that finds its own name has found a circle.
"""

from __future__ import annotations

import asyncio
import os
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from mirror import __version__
from mirror.errors import BadRequest, ConfigError, UpstreamBroken, UpstreamLacks, UpstreamUnreachable
from mirror.wire.params import FORM, encode_params
from mirror.wire.paths import JSOC_HOSTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator


_PREFIX = "jsoc-mirror-"
#: The header of an answer to a mirror that says why it could not be given, percent-encoded.
PROBLEM = "X-Mirror-Problem"
#: Most mirrors in a row, more than anyone has: it ends circles even of mirrors that change their names.
MOST = 8


class Route:
    """This mirror's place on a question's way; ``name`` must differ from that of every other mirror.

    ``token`` admits this mirror at the next one. The current question is a context variable, which tasks inherit, so
    that all that is done for it knows it.
    """

    def __init__(self, name: str, token: str | None = None) -> None:
        self.name = _PREFIX + name
        self._known_by = {"Authorization": f"Bearer {token}"} if token else {}
        self._via: ContextVar[str] = ContextVar("via", default="")
        self._check: ContextVar[bool] = ContextVar("check", default=False)

    def enter(self, via: str, *, check: bool = False) -> None:
        """Note a question that came this way, and demands a check if ``check``; ConfigError if it was here before."""
        names = mirrors(via)
        if self.name in names or len(names) >= MOST:
            raise ConfigError(
                f"loop of mirrors ({' -> '.join([*names, self.name])}); set [upstream] url "
                "of each to JSOC, or to a mirror closer to it"
            )
        self._via.set(via if names else "")
        self._check.set(check)

    def onward(self) -> dict[str, str]:
        """The headers of requests for the current question; a demand for a check is passed on to every mirror."""
        before = self._via.get()
        headers = {"Via": f"{before}, 1.1 {self.name}" if before else f"1.1 {self.name}", **self._known_by}
        return {**headers, "Cache-Control": "no-cache"} if self._check.get() else headers


def mirrors(via: str) -> list[str]:
    """The mirrors that a header ``Via`` names, in order."""
    words = (entry.split() for entry in via.split(","))
    return [w[1] for w in words if len(w) > 1 and w[1].startswith(_PREFIX)]


MB = 1 << 20
#: Bytes that are decompressed at a time, in a few milliseconds.
STEP = MB
#: From RATIO_FROM bytes on, an answer that was compressed to less than a MOST_RATIO-th of itself is refused. Answers
#: about records have ratios of 5 to 30, a single repeating value one of a thousand.
RATIO_FROM, MOST_RATIO = 16 * MB, 200
#: Bytes per second that must come on average, checked after every WINDOW seconds of waiting.
SLOWEST, WINDOW = 1_000, 30.0
#: The encodings that are requested and understood.
ENCODINGS = "gzip, deflate"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most bytes and seconds of a body that is passed on."""

    size: int
    seconds: float


#: An answer of a program that is passed on to the client.
PROGRAM = Bounds(256 * MB, 900.0)
#: Any other page or file; one with several days of images has some 100 GB.
PAGE = Bounds(1 << 40, 7 * 86400.0)


async def whole(pieces: AsyncIterator[bytes], encoding: str, most: int) -> bytes:
    """All of a body, decompressed; UpstreamBroken if that is more than ``most`` bytes."""
    unpack = _unpacker(encoding.strip().lower())
    found, came = bytearray(), 0
    async for piece in pieces:
        came += len(piece)
        for part in unpack(piece):
            found += part
            if len(found) > most:
                raise UpstreamBroken(f"the answer has more than {most:,} bytes; no answer to this question needs so many")
            if len(found) > RATIO_FROM and len(found) > MOST_RATIO * came:
                raise UpstreamBroken(
                    f"{came:,} bytes of the answer unpack to more than {len(found):,}; no answer to a question does so"
                )
            if len(part) >= STEP:
                await asyncio.sleep(0)  # the event loop goes on
    for part in unpack(b""):
        found += part
    return bytes(found)


async def bounded(
    pieces: AsyncIterator[bytes], bounds: Bounds, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[bytes]:
    """The pieces of a body; raises in the middle of one that is too large, too long or too slow.

    The time that the consumer takes does not count.
    """
    came = 0
    waited = in_window = 0.0
    began = clock()
    while True:
        asked = clock()
        try:
            piece = await anext(pieces)
        except StopAsyncIteration:
            return
        waited += clock() - asked
        came, in_window = came + len(piece), in_window + len(piece)
        if came > bounds.size or clock() - began > bounds.seconds:
            raise UpstreamBroken(f"the answer does not end: {came:,} bytes in {clock() - began:,.0f} s")
        if waited > WINDOW:
            if in_window < SLOWEST * waited:
                raise UpstreamUnreachable(f"only {in_window:,.0f} bytes of the answer came in {waited:.0f} s")
            waited = in_window = 0.0
        yield piece


def _unpacker(encoding: str) -> Callable[[bytes], Iterable[bytes]]:
    if encoding in ("", "identity"):
        return lambda piece: [piece] if piece else []
    if encoding in ("gzip", "x-gzip", "deflate"):
        return _Parts(encoding)
    raise UpstreamBroken(f"the answer is encoded as {encoding[:40]!r}; expected {ENCODINGS}")


class _Parts:
    """Decompresses a body, at most ``STEP`` bytes at a time; a call without bytes checks that the body has ended."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._begun = False
        self._packed = self._new(zlib.MAX_WBITS)
        self._piece = b""

    def _new(self, bits: int) -> zlib._Decompress:
        return zlib.decompressobj(bits if self._encoding == "deflate" else 16 + zlib.MAX_WBITS)

    def __call__(self, piece: bytes) -> _Parts:
        self._piece = piece
        return self

    def __iter__(self) -> Iterator[bytes]:
        piece, self._piece = self._piece, b""
        if not piece:
            if self._begun and not self._packed.eof:
                raise UpstreamBroken("the answer is cut short: its compressed body has no end")
            return
        try:
            yield from self._unpacked(piece)
        except zlib.error as problem:
            raise UpstreamBroken(f"the answer is garbled: {problem}") from problem

    def _unpacked(self, piece: bytes) -> Iterator[bytes]:
        while piece:
            if self._packed.eof:  # a gzip file may have several members
                self._packed, self._begun = self._new(zlib.MAX_WBITS), False
            try:
                part = self._packed.decompress(piece, STEP)
            except zlib.error:
                if self._begun or self._encoding != "deflate":
                    raise
                self._packed = self._new(-zlib.MAX_WBITS)  # without its header, as some servers write it
                part = self._packed.decompress(piece, STEP)
            self._begun = True
            piece = self._packed.unconsumed_tail or self._packed.unused_data
            if part:
                yield part


#: Longer queries are sent as a form: servers and proxies truncate request lines somewhere above 2 kB.
LONGEST_QUERY = 2000
#: "Not now", from gateways and overloaded servers.
AWAY = frozenset({429, 502, 503, 504})
#: Headers that concern one connection only, and (``_OURS``) those that we set ourselves as well.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-authenticate", "proxy-authorization"})
HOP_BY_HOP |= {"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_OURS = HOP_BY_HOP | {"host", "user-agent", "content-length", "expect", "via"}
#: Seconds; more than any mirror has been running.
_OLDEST = 1e10


@dataclass(frozen=True, slots=True)
class Passthrough:
    """An answer that is passed on: ``body`` is as it was sent, compressed if ``headers`` say so."""

    status: int
    headers: CIMultiDict[str]
    body: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The body of an answer, and its age in seconds: 0 unless a mirror says otherwise."""

    body: bytes
    age: float


class _AddressTooLong(UpstreamBroken):
    """A server on the way does not accept a request line of that length."""


def user_agent(email: str | None) -> str:
    """The User-Agent: who we are, and whom to write to if we misbehave."""
    return f"jsoc-mirror/{__version__} ({email or 'no contact given'})"


class Transport:
    """Talks to one host, ``url`` as in "http://host:port". ``timeout`` is in seconds, for a whole request.

    ``onward`` gives headers for each request; they replace those of a client whose request is passed on.

    Proxies in the environment are ignored: HTTP_PROXY may well name the mirror itself.
    """

    def __init__(
        self, url: str, *, timeout: float, agent: str, onward: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        self._onward = onward
        self._url = url.rstrip("/")
        self._is_jsoc = URL(url).host in JSOC_HOSTS
        self._timeout = timeout
        self._agent = agent
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def fetch(self, path: str, params: Mapping[str, str], most: int) -> Fetched:
        """The answer with code 200 to ``params``, a GET or, if they are long, a POST.

        UpstreamBroken if it has more than ``most`` bytes. No redirect is followed.
        """
        query = encode_params(params)
        with self._failures():
            if len(query) <= LONGEST_QUERY:
                with suppress(_AddressTooLong):
                    return await self._body("GET", f"{path}?{query}", None, most)
            return await self._body("POST", path, query.encode("ascii"), most)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        bounds: Bounds = PAGE,
    ) -> AsyncIterator[Passthrough]:
        """Any request, unread; ``target`` is a path with its query, as it was sent. No redirect is followed.

        ``Host`` among the headers is which of JSOC's names a client asked for. If this mirror asks JSOC itself, it asks
        that host; a server in between gets the name. No other name is passed on.

        The timeout holds for each piece, ``bounds`` hold for the whole. Failures while ``body`` is read are raised
        there.
        """
        if not target.startswith("/"):
            raise BadRequest(f"{target[:100]!r} is not a path; expected one that starts with '/'")
        with self._failures():
            passed = _forwarded(headers, _OURS)
            passed.update(self._onward())
            url, host = self._url, headers.get("Host", "")
            if host in JSOC_HOSTS and url.startswith("http://"):  # a certificate is for one host name
                url, passed["Host"] = (f"http://{host}" if self._is_jsoc else url), host
            answer = await self._opened(method, url + target, passed, body)
        async with answer:  # outside of _failures: what fails in the caller's block is not upstream's
            _check_problem(answer.headers)
            pieces = self._pieces(bounded(answer.content.iter_any(), bounds))
            yield Passthrough(answer.status, _forwarded(answer.headers, HOP_BY_HOP), pieces)

    async def close(self) -> None:
        """Close all connections; later requests raise UpstreamUnreachable."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _body(self, method: str, target: str, form: bytes | None, most: int) -> Fetched:
        url = URL(self._url + target, encoded=True)
        headers = {**self._onward(), "Accept-Encoding": ENCODINGS, **({} if form is None else {"Content-Type": FORM})}
        asked = self._connected().request(
            method, url, data=form, headers=headers, allow_redirects=False, auto_decompress=False
        )
        async with asked as answer:
            _check_problem(answer.headers)
            _check_code(answer.status, answer.headers)
            body = await whole(answer.content.iter_any(), answer.headers.get("Content-Encoding", ""), most)
            return Fetched(body, _age(answer.headers))

    async def _opened(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        """An answer of which only the head was read, to exactly the request that the client made."""
        return await self._connected().request(
            method,
            URL(url, encoded=True),
            headers=headers,
            data=body,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._timeout, sock_read=self._timeout),
            allow_redirects=False,
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type"),
        )

    async def _pieces(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        with self._failures():
            async for piece in body:
                yield piece

    def _connected(self) -> aiohttp.ClientSession:
        """The session, opened at the first request: only then is there certainly an event loop."""
        if self._closed:
            raise UpstreamUnreachable(f"{self._url} is no longer contacted: the mirror is shutting down")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                headers={"User-Agent": self._agent},
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn aiohttp's exceptions into our errors."""
        try:
            yield
        except TimeoutError as problem:
            raise UpstreamUnreachable(f"{self._url} did not respond within {self._timeout:g} s") from problem
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as problem:
            raise UpstreamBroken(f"{self._url}: the answer is cut short or garbled: {problem}") from problem
        except (aiohttp.ClientError, OSError) as problem:
            raise UpstreamUnreachable(f"{self._url} cannot be reached: {_why(problem)}") from problem


def _check_problem(headers: Mapping[str, str]) -> None:
    """Raise the problem that another mirror reports."""
    if PROBLEM in headers:
        raise UpstreamLacks(f"the upstream mirror reports: {unquote(headers[PROBLEM])}")


def _age(headers: Mapping[str, str]) -> float:
    text = headers.get("Age", "")
    return min(float(text), _OLDEST) if text.isascii() and text.isdigit() else 0.0


def _check_code(status: int, headers: Mapping[str, str]) -> None:
    if status in AWAY:
        raise UpstreamUnreachable(f"JSOC is not responding: HTTP {status}")
    if 300 <= status < 400 and "Location" in headers:
        raise UpstreamBroken(
            f"HTTP {status}: upstream redirects to {headers['Location'][:100]!r}; redirects are not "
            "followed, expected [upstream] url to name the server that answers"
        )
    if status == 414:
        raise _AddressTooLong("HTTP 414: the address is too long for upstream")
    if status != 200:
        raise UpstreamBroken(f"HTTP {status} instead of 200")


def _forwarded(headers: Mapping[str, str], without: frozenset[str]) -> CIMultiDict[str]:
    """The headers to pass on: all but ``without`` and those that ``Connection`` names."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    kept = ((k, v) for k, v in headers.items() if k.lower() not in without | named)
    return CIMultiDict(kept)


def _why(problem: Exception) -> str:
    """Why a connection cannot be made, in the system's words if it has any, else in aiohttp's."""
    if not isinstance(problem, aiohttp.ClientConnectorError):
        return str(problem)
    number = problem.errno or 0  # negative if a host name is not known
    return os.strerror(number) if number > 0 else problem.strerror or str(problem)
