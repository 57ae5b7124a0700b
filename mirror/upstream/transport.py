"""HTTP to the archive: bytes out, bytes in, and every way in which that fails as one of two errors.

UpstreamUnreachable: nobody answered, or somebody in front of the archive said that it is not there.
UpstreamBroken: an answer came that cannot be used, cut short for example.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from mirror import __version__
from mirror.errors import BadRequest, UpstreamBroken, UpstreamLacks, UpstreamUnreachable
from mirror.upstream.bodies import ENCODINGS, PAGE, Bounds, bounded, whole
from mirror.upstream.via import PROBLEM
from mirror.wire.params import FORM, encode_params

#: Longer queries are sent as a form: servers and proxies cut lines of requests somewhere above 2 kB.
LONGEST_QUERY = 2000
#: "Not now", said by gateways and by servers that are overrun.
AWAY = frozenset({429, 502, 503, 504})
#: Headers that concern one connection only, and those that we set ourselves.
HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-authenticate", "proxy-authorization"})
HOP_BY_HOP |= {"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
_OURS = HOP_BY_HOP | {"host", "user-agent", "content-length", "expect", "via"}
#: Seconds; more than any mirror has been running.
_OLDEST = 1e10


@dataclass(frozen=True, slots=True)
class Passthrough:
    """An answer on its way through: ``body`` is as it was sent, compressed if ``headers`` say so."""

    status: int
    headers: CIMultiDict[str]
    body: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The body of an answer, and how many seconds ago it was so: 0 unless a mirror says otherwise."""

    body: bytes
    age: float


def user_agent(email: str | None) -> str:
    """Who we are and whom to write to if we misbehave."""
    return f"jsoc-mirror/{__version__} ({email or 'no contact given'})"


class Transport:
    """Talks to one host, ``url`` as in "http://host:port". ``timeout`` is in seconds, for a whole request.

    ``onward`` gives headers for each request; they replace those of a client whose request is passed on.

    Takes no proxy from the environment: HTTP_PROXY may well name the mirror itself.
    """

    def __init__(
        self, url: str, *, timeout: float, agent: str, onward: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        self._onward = onward
        self._url = url.rstrip("/")
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

        The timeout holds for each piece instead of the whole, for which ``bounds`` hold. What fails while ``body``
        is read is raised there.
        """
        if not target.startswith("/"):
            raise BadRequest(f"{target[:100]!r} is not a path; expected one that starts with '/'")
        with self._failures():
            passed = _forwarded(headers, _OURS)
            passed.update(self._onward())
            answer = await self._opened(method, target, passed, body)
        async with answer:  # outside of _failures: what fails in the caller's block is not upstream's
            _check_problem(answer.headers)
            pieces = self._pieces(bounded(answer.content.iter_any(), bounds))
            yield Passthrough(answer.status, _forwarded(answer.headers, HOP_BY_HOP), pieces)

    async def close(self) -> None:
        """Closes all connections; what still asks after that hears UpstreamUnreachable."""
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
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> aiohttp.ClientResponse:
        """An answer of which only the head was read, with everything as the client wants it and no more."""
        return await self._connected().request(
            method,
            URL(self._url + target, encoded=True),
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
        """The session, opened at the first request: only then is there an event loop for sure."""
        if self._closed:
            raise UpstreamUnreachable(f"{self._url} is not asked any more: the mirror stops")
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
        """What aiohttp raises, as our errors."""
        try:
            yield
        except TimeoutError as problem:
            raise UpstreamUnreachable(f"{self._url} did not answer within {self._timeout:g} s") from problem
        except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as problem:
            raise UpstreamBroken(f"{self._url}: the answer is cut short or garbled: {problem}") from problem
        except (aiohttp.ClientError, OSError) as problem:
            raise UpstreamUnreachable(f"{self._url} cannot be reached: {problem}") from problem


def _check_problem(headers: Mapping[str, str]) -> None:
    """Raise what another mirror says that it cannot do."""
    if PROBLEM in headers:
        raise UpstreamLacks(f"the mirror upstream cannot tell: {unquote(headers[PROBLEM])}")


def _age(headers: Mapping[str, str]) -> float:
    text = headers.get("Age", "")
    return min(float(text), _OLDEST) if text.isascii() and text.isdigit() else 0.0


def _check_code(status: int, headers: Mapping[str, str]) -> None:
    if status in AWAY:
        raise UpstreamUnreachable(f"upstream is away: HTTP {status}")
    if 300 <= status < 400 and "Location" in headers:
        raise UpstreamBroken(
            f"HTTP {status}: upstream sends the question elsewhere, to {headers['Location'][:100]!r}; redirects are not "
            "followed, expected [upstream] url to name the server that answers"
        )
    if status != 200:
        raise UpstreamBroken(f"HTTP {status} instead of 200")


def _forwarded(headers: Mapping[str, str], without: frozenset[str]) -> CIMultiDict[str]:
    """The headers that go on to the other side: all but ``without`` and what ``Connection`` names."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    kept = ((k, v) for k, v in headers.items() if k.lower() not in without | named)
    return CIMultiDict(kept)
