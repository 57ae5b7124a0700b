"""A small client of a running mirror: JSON over HTTP, failures as one sentence."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

import click
from click.core import ParameterSource

from mirror.cli.local import has_store, own_mirror

DEFAULT_URL = "http://127.0.0.1:8040"
Params = Mapping[str, str | None] | None
F = TypeVar("F", bound=Callable[..., Any])

#: HTTP_PROXY may name this very mirror, which as a proxy knows no host but JSOC.
_opener = build_opener(ProxyHandler({}))


class Daemon:
    """The mirror at ``url``; ``timeout`` is in seconds, and long, since a search may wait for JSOC."""

    def __init__(self, url: str, *, timeout: float = 3600.0) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout

    def get(self, path: str, params: Params = None) -> Any:
        """The JSON at ``path``; parameters that are None are left out.

        Raises click.ClickException with the mirror's own words, or with what to do if none is there.
        """
        return self._json(self._address(path, params))

    def send(self, method: str, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON that answers a JSON object; members that are None are left out. Raises as ``get``."""
        data = json.dumps({name: value for name, value in body.items() if value is not None}).encode()
        headers = {"Content-Type": "application/json"}
        # The address is that of the mirror, which the user has named.
        return self._json(Request(self._address(path), data, headers, method=method))  # noqa: S310

    @contextmanager
    def stream(self, path: str, params: Params = None) -> Iterator[HTTPResponse]:
        """What is at ``path``, to be read; also what fails while it is read is raised as ``get`` does."""
        with self._told(), _opener.open(self._address(path, params), timeout=self._timeout) as answer:
            yield answer

    def _json(self, request: str | Request) -> Any:
        with self._told(), _opener.open(request, timeout=self._timeout) as answer:
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
            raise click.ClickException(_complaint(problem)) from problem
        except (URLError, TimeoutError, ConnectionError) as problem:
            raise click.ClickException(self._absent(getattr(problem, "reason", problem))) from problem
        except (ValueError, HTTPException) as problem:
            raise click.ClickException(f"what answers at {self.url} is not a mirror: {problem}") from problem

    def _absent(self, reason: object) -> str:
        return (
            f"no mirror answers at {self.url} ({reason}).\n"
            "Start one with `mirror serve`, or say where it is: --url http://HOST:PORT, or MIRROR_URL."
        )


def url_option(command: F) -> F:
    """``--url``, where the mirror is; the function gets it as ``daemon``."""
    return click.option(
        "--url",
        "daemon",
        default=DEFAULT_URL,
        show_default=True,
        envvar="MIRROR_URL",
        callback=_daemon,
        help="Where the mirror is; where none runs, the store is opened for this command.  [env: MIRROR_URL]",
    )(command)


def _daemon(context: click.Context, option: click.Parameter, url: str) -> Daemon:
    """The mirror at ``url``, or one of our own if nobody named one, none runs, and there is a store."""
    named = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
    if not named and not _listens(url) and has_store():
        return Daemon(context.with_resource(own_mirror()))
    return Daemon(url)


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1).close()
    except OSError:
        return False
    return True


def _complaint(problem: HTTPError) -> str:
    """What the mirror says went wrong, or the bare code if it is no mirror that speaks."""
    bare = f"the mirror answered HTTP {problem.code} {problem.reason}"
    try:
        body = problem.read()
        if problem.headers.get("Content-Type", "").startswith("text/plain"):  # of paths that browsers ask for too
            return body.decode(errors="replace").strip() or bare
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError, HTTPException, OSError):
        return bare
