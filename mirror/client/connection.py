"""The HTTP client of a mirror, used by the command line and ``mirror.Client``: calls, and their errors.

A call is made from the contract of a path (``mirror.api``), which also says how to decode the answer.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPResponse, HTTPSConnection
from types import MappingProxyType
from typing import IO, Any, Generic, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec

from mirror.api.contract import JSON, Asked, Endpoint, encoded, plain
from mirror.errors import BadRequest, MirrorError, SyntaxProblem

Q = TypeVar("Q", bound=Asked)
A = TypeVar("A")
T = TypeVar("T")

DEFAULT_URL = "http://127.0.0.1:8040"
_LATIN_1 = 0xFF  #: the last character that JSOC's programs know
#: The codes of redirects, and how many are followed.
_MOVED, _HOPS = frozenset({301, 302, 307, 308}), 3


class RemoteError(MirrorError):
    """A refusal in the mirror's own words; ``code`` is the HTTP code, 0 if nothing answered; ``body`` as it came.

    ``missing`` names each thing that is not available, if the mirror says so.
    """

    def __init__(self, message: str, code: int = 0, body: bytes = b"", missing: Sequence[str] = ()) -> None:
        self.code, self.body, self.missing = code, body, tuple(missing)
        super().__init__(message)


class Absent(RemoteError):
    """Nothing answers at ``url``; ``why`` has the reason."""

    def __init__(self, url: str, why: object) -> None:
        self.url, self.why = url, why
        super().__init__(f"no mirror at {url} ({why}); start one with `mirror serve`, or give its address")


class Broken(RemoteError):
    """A truncated answer."""

    def __init__(self, url: str, why: object) -> None:
        super().__init__(f"the connection to {url} was lost ({why}); try again, or request less at a time")


class Wordless(RemoteError):
    """An error without an explanation, as no mirror sends it."""

    def __init__(self, code: int, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the mirror answered HTTP {code} {reason}", code)


class Strange(RemoteError):
    """An answer that violates the contract, and ``why``: from another version, or not from a mirror at all."""

    def __init__(self, url: str, why: object) -> None:
        self.why = why
        super().__init__(f"the server at {url} is not a mirror, or has an incompatible version: {why}")


class Call(msgspec.Struct, Generic[T], frozen=True):
    """One request, and how to read its answer."""

    path: str
    read: Callable[[IO[bytes]], T]
    method: str = "GET"
    params: Mapping[str, str] = MappingProxyType({})
    data: bytes | IO[bytes] | None = None
    headers: Mapping[str, str] = MappingProxyType({})

    def address(self, base: str) -> str:
        """The URL of the request."""
        query = f"?{urlencode(_within_latin_1(self.params), encoding='latin-1')}" if self.params else ""
        return f"{base}{quote(self.path)}{query}"


def _within_latin_1(params: Mapping[str, str]) -> Mapping[str, str]:
    """The parameters of a query; BadRequest for a character that JSOC's programs do not have."""
    for name, text in params.items():
        foreign = next((at for at, character in enumerate(text) if ord(character) > _LATIN_1), None)
        if foreign is not None:
            shown, wrong = text.encode("utf-8", "replace").decode(), ascii(text[foreign])
            if text[foreign].isprintable():
                wrong = repr(text[foreign])
            raise SyntaxProblem(f"{name} has the character {wrong}", text=shown, position=foreign, expected="characters of Latin-1, as at JSOC")
    return params


def call(
    endpoint: Endpoint[Q, A], asked: Q | None = None, headers: Mapping[str, str] | None = None, **names: str
) -> Call[A]:
    """A call of an endpoint; ``names`` are the parts of its path. BadRequest for one that is no part of a path."""
    for name, part in () if endpoint.pattern else names.items():
        if not part.strip(".") or "/" in part:
            raise BadRequest(f"{name} is {part[:100]!r}; expected a name without slashes")
    path, given = endpoint.path.format(**names), {} if asked is None else plain(asked)
    reply = {"Accept": endpoint.media[0], **(headers or {})}
    decoder = msgspec.json.Decoder(endpoint.answer)
    read = lambda answer: decoder.decode(answer.read())  # noqa: E731
    if endpoint.by_query:
        return Call(path, read, endpoint.method, parameters(given), None, reply)
    return Call(path, read, endpoint.method, {}, encoded(given), {**reply, "Content-Type": JSON})


def parameters(given: Mapping[str, object]) -> dict[str, str]:
    """Members as parameters of a query."""
    words = {True: "1", False: "0"}
    return {n: words[v] if isinstance(v, bool) else str(v) for n, v in given.items() if v is not None}


class Connection:
    """The mirror at ``url``; ``timeout`` in seconds, for one answer. All failures are RemoteErrors.

    No proxy is used: HTTP_PROXY may name this very mirror, which as a proxy knows no host but JSOC. ``http.client``
    alone loads in half the time of ``urllib.request``, and a command asks only once or twice.
    """

    def __init__(self, url: str, token: str | None, timeout: float) -> None:
        self.url = url.rstrip("/")
        if token and not (token.isascii() and token.isprintable()):
            raise BadRequest("the token has characters that no token has; expected it as `mirror token create` printed it")
        self.known_by = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout = timeout

    @contextmanager
    def opened(self, asked: Call[Any]) -> Iterator[HTTPResponse]:
        """The answer to a call, to be read."""
        try:
            answer = self._sent(asked, asked.address(self.url))
        except OSError as problem:
            raise Absent(self.url, problem) from problem
        except (HTTPException, ValueError) as problem:  # something that does not speak HTTP
            raise Strange(self.url, problem) from problem
        with answer:
            if not 200 <= answer.status < 300:
                raise refusal(answer.status, answer.reason, answer.headers.get("Content-Type", ""), _rest(answer))
            yield answer

    def _sent(self, asked: Call[Any], address: str, hops: int = _HOPS) -> HTTPResponse:
        """The answer from an address, or from where a server in front of the mirror redirects to."""
        parts = urlsplit(address)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=self._timeout)
        target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
        headers = {**asked.headers, **self.known_by, "Connection": "close"}
        try:
            connection.request(asked.method, target, asked.data, headers)
            answer = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        onward = urljoin(address, answer.headers.get("Location", ""))
        if answer.status in _MOVED and asked.data is None and hops and urlsplit(onward).hostname == parts.hostname:
            answer.close()
            return self._sent(asked, onward, hops - 1)
        return answer

    def follow(
        self, endpoint: Endpoint[Q, A], asked: Q, word: type[T], reply: Callable[[T], None], **names: str
    ) -> A:
        """The result of a long task; ``reply`` is called with each report of its progress."""
        with self.opened(call(endpoint, asked, None, **names)) as answer:
            for line in answer:
                given = msgspec.json.decode(line, type=dict[str, Any])
                if "error" in given:
                    raise RemoteError(str(given["error"]), missing=_missing(given))
                if "done" in given and "step" not in given:
                    return msgspec.convert(given["done"], endpoint.answer)
                reply(msgspec.convert(given, word))
        raise RemoteError(f"the mirror at {self.url} stopped before the task ended; see its log")

    def exchange(self, asked: Call[T]) -> tuple[T, HTTPMessage]:
        """The answer to a call, and its headers."""
        with self.opened(asked) as answer:
            return read(self.url, asked, answer), answer.headers


def read(url: str, asked: Call[T], answer: IO[bytes]) -> T:
    """An answer, decoded."""
    try:
        return asked.read(answer)
    except msgspec.MsgspecError as problem:
        raise Strange(url, problem) from problem
    except (HTTPException, OSError) as problem:
        raise Broken(url, problem) from problem


def refusal(code: int, reason: str, kind: str, body: bytes) -> RemoteError:
    """The error in an answer, in its own words."""
    if kind.startswith("text/plain") and (words := body.decode(errors="replace").strip()):
        return RemoteError(words, code)  # of paths for browsers too
    try:
        given = msgspec.json.decode(body)
        return RemoteError(str(given["error"]), code, body, _missing(given))
    except (ValueError, KeyError, TypeError):
        return Wordless(code, reason)


def _missing(given: dict[str, Any]) -> list[str]:
    missing = given.get("missing")
    return [str(each) for each in missing] if isinstance(missing, list) else []


def _rest(answer: HTTPResponse) -> bytes:
    try:
        return answer.read()
    except (HTTPException, OSError):
        return b""


def begun(ask: Callable[[], T], undo: Callable[[T], object]) -> T:
    """The answer to a request that begins something. After Ctrl-C it is undone, once the answer says what it is."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  (few commands begin something)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask)
        try:
            return answer.result()
        except KeyboardInterrupt:
            undo(answer.result())
            raise


def user_name() -> str:
    """Who runs this program, as owners of pins are named."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in some containers
        return str(os.getuid())
