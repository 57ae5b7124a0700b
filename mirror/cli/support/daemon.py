"""A small client of a running mirror: JSON over HTTP, failures as one sentence."""

from __future__ import annotations

import functools
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import UNAUTHORIZED, HTTPException, HTTPResponse, IncompleteRead
from typing import Any, BinaryIO, TypeVar, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

import click
from click.core import ParameterSource

from mirror.cli.support.own_mirror import has_store, own_mirror
from mirror.client.redirect import without_token

DEFAULT_URL = "http://127.0.0.1:8040"
Params = Mapping[str, str | None] | None
#: Where --token waits for --url.
_TOKEN = "mirror.token"  # noqa: S105
_WHERE = "say where it is: --url http://HOST:PORT, or MIRROR_URL."
F = TypeVar("F", bound=Callable[..., Any])


def _opening(token: str | None) -> OpenerDirector:
    """What sends requests, with the token. HTTP_PROXY may name this very mirror, which as a proxy knows JSOC only."""
    opener = build_opener(ProxyHandler({}))
    if token:
        opener.addheaders.append(("Authorization", f"Bearer {token}"))
    return opener


class Daemon:
    """The mirror at ``url``; ``timeout`` is in seconds, and long, since a search may wait for JSOC.

    ``token`` goes with every request; it may also be the password in ``url``.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 3600.0) -> None:
        address, given = without_token(url)
        self.url = address.rstrip("/")
        self._opener = _opening(given or token)
        self._timeout = timeout

    def get(self, path: str, params: Params = None, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON at ``path``; parameters that are None are left out.

        Raises click.ClickException with the mirror's own words, or with what to do if none is there.
        """
        return self._json(Request(self._address(path, params), headers=dict(headers or {})))  # noqa: S310

    def get_told(self, path: str, params: Params = None) -> tuple[Any, Mapping[str, str]]:
        """The same with the headers of the answer, which say how it came about."""
        with (
            self._told(),
            self._opener.open(Request(self._address(path, params)), timeout=self._timeout) as answer,  # noqa: S310
        ):
            return json.load(answer), answer.headers

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that answers a JSON object; members that are None are left out. Raises as ``get``."""
        return self.send_told(method, path, body)[0]

    def send_told(self, method: str, path: str, body: Mapping[str, Any]) -> tuple[Any, Mapping[str, str]]:
        """The same with the headers of the answer."""
        data = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        headers = {"Content-Type": "application/json"}
        # The address is that of the mirror, which the user has named.
        request = Request(self._address(path), data, headers, method=method)  # noqa: S310
        with self._told(), self._opener.open(request, timeout=self._timeout) as answer:
            return json.load(answer), answer.headers

    def follow(self, path: str, body: Mapping[str, Any], told: Callable[[Any], None]) -> Any:
        """What a long task comes to, which tells how far it is, line by line; raises as ``get`` does."""
        data = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        request = Request(self._address(path), data, {"Content-Type": "application/json"}, method="POST")  # noqa: S310
        with self._told(), self._opener.open(request, timeout=self._timeout) as answer:
            for line in answer:
                word = json.loads(line)
                if "error" in word:
                    raise click.ClickException(str(word["error"]))
                if "done" in word and "step" not in word:
                    return word["done"]
                told(word)
        raise click.ClickException(f"the mirror at {self.url} ended before the task did; its log says why")

    def upload(self, path: str, params: Params, kind: str, file: BinaryIO) -> Any:
        """The JSON that answers the bytes of a file, sent as ``kind``; raises as ``get``, and what reading raises."""
        size = os.fstat(file.fileno()).st_size
        headers = {"Content-Type": kind, "Content-Length": str(size)}
        return self._json(Request(self._address(path, params), file, headers, method="POST"))  # noqa: S310

    @contextmanager
    def stream(
        self, path: str, params: Params = None, body: Mapping[str, Any] | None = None
    ) -> Iterator[HTTPResponse]:
        """What is at ``path``, or answers a JSON object, to be read; what fails meanwhile is raised as ``get`` does."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = Request(self._address(path, params), data, headers)  # noqa: S310  (as above)
        with self._told(), self._opener.open(request, timeout=self._timeout) as answer:
            yield answer

    def _json(self, request: str | Request) -> Any:
        with self._told(), self._opener.open(request, timeout=self._timeout) as answer:
            return json.load(answer)

    def _address(self, path: str, params: Params = None) -> str:
        given = {name: value for name, value in (params or {}).items() if value is not None}
        query = f"?{urlencode(given, encoding='latin-1', errors='replace')}" if given else ""
        return f"{self.url}{quote(path)}{query}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Failures of HTTP in words."""
        try:
            yield
        except HTTPError as problem:
            raise click.ClickException(self._complaint(problem)) from problem
        except (URLError, TimeoutError, ConnectionError) as problem:
            raise click.ClickException(self._absent(getattr(problem, "reason", problem))) from problem
        except IncompleteRead as problem:
            raise click.ClickException(f"{self.url} ended in the middle of an answer; try again") from problem
        except (ValueError, HTTPException) as problem:
            raise click.ClickException(self.foreign(str(problem))) from problem

    def _complaint(self, problem: HTTPError) -> str:
        """What the mirror says went wrong, or that it is no mirror that speaks."""
        bare = (
            f"what answers at {self.url} is not a mirror, or something stands before it: "
            f"HTTP {problem.code} {problem.reason}.\n{_WHERE}"
        )
        try:
            body = problem.read()
            if problem.headers.get("Content-Type", "").startswith("text/plain"):  # of paths for browsers too
                return body.decode(errors="replace").strip() or bare
            told = str(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError, HTTPException, OSError):
            return bare
        refused = problem.code == UNAUTHORIZED
        return f"{told}; it is given by --token or MIRROR_TOKEN" if refused else _apart(told)

    def foreign(self, why: str) -> str:
        """What to say of an answer that no mirror gives."""
        return f"what answers at {self.url} is not a mirror: {why}.\n{_WHERE}"

    def is_mirror(self) -> bool:
        """True if what is there answers as a mirror does."""
        try:
            told = self.get("/api/status")
        except click.ClickException:
            return False
        return isinstance(told, dict) and {"policy", "searches"} <= told.keys()

    def _absent(self, reason: object) -> str:
        return f"no mirror answers at {self.url} ({reason}).\nStart one with `mirror serve`, or {_WHERE}"


def token_option(command: F) -> F:
    """``--token``, for mirrors that want one; ``--url`` takes it from here."""
    return click.option(
        "--token",
        envvar="MIRROR_TOKEN",
        expose_value=False,
        is_eager=True,  # before --url, which needs it
        callback=lambda context, _, given: context.meta.update({_TOKEN: given}),
        help="A token, where the mirror wants one; others see what stands in a command.  [env: MIRROR_TOKEN]",
    )(command)


def url_option(command: F) -> F:
    """``--url``, where the mirror is, and ``--token``; the function gets it as ``daemon``."""
    return _url(
        command, _daemon, "Where the mirror is; where none runs, the store is opened for this command."
    )


def store_option(command: F) -> F:
    """``--url`` for commands that make the store where there is none yet."""
    return _url(
        command, _daemon_or_store, "Where the mirror is; where none runs, the store is opened, or made."
    )


def running_option(command: F) -> F:
    """``--url`` for commands that never open the store themselves."""
    return _url(command, lambda context, _, url: _named(context, url), "Where the mirror is.")


def _url(command: F, found: Callable[[click.Context, click.Parameter, str], Daemon], words: str) -> F:
    return click.option(
        "--url",
        "daemon",
        default=DEFAULT_URL,
        show_default=True,
        envvar="MIRROR_URL",
        callback=found,
        help=f"{words}  [env: MIRROR_URL]",
    )(token_option(_of_a_mirror(command)))


def _of_a_mirror(command: F) -> F:
    """The command, where an answer that makes no sense is one clear error if it is no mirror that gave it."""

    @functools.wraps(command)
    def guarded(*arguments: Any, daemon: Daemon, **options: Any) -> Any:
        try:
            return command(*arguments, daemon=daemon, **options)
        except (LookupError, TypeError, AttributeError, ValueError) as problem:
            if daemon.is_mirror():
                raise
            raise click.ClickException(daemon.foreign("it gives other answers")) from problem

    return cast("F", guarded)


def _daemon_or_store(context: click.Context, option: click.Parameter, url: str) -> Daemon:
    named = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
    return _named(context, url) if named or _listens(url) else Daemon(context.with_resource(own_mirror()))


def _daemon(context: click.Context, option: click.Parameter, url: str) -> Daemon:
    """The mirror at ``url``, or one of our own if nobody named one, none runs, and there is a store."""
    named = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
    if not named and not _listens(url) and has_store():
        return Daemon(context.with_resource(own_mirror()))
    return _named(context, url)


def _named(context: click.Context, url: str) -> Daemon:
    if not _is_address(url):
        shown = url.rpartition("@")[2]  # without a token
        raise click.UsageError(f"{shown!r} is not the address of a mirror; {_WHERE}", context)
    return Daemon(url, token=context.meta.get(_TOKEN))


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1).close()
    except OSError:
        return False
    return True


def _apart(error: str) -> str:
    """An error with what is missing a span a line, where there are several."""
    before, mark, spans = error.partition(" is not held: ")
    if not mark or "; " not in spans:
        return error
    return "\n  ".join([f"{before}{mark.rstrip()}", *spans.split("; ")])
