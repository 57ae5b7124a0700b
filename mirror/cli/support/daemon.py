"""The running mirror, for commands: requests to it, failures as one sentence, and the options that name it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import UNAUTHORIZED, HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

import click
import msgspec
from click.core import ParameterSource

from mirror.api.contract import JSON, Asked, Endpoint, Nothing, encoded, plain
from mirror.api.monitoring import STATUS
from mirror.client.connection import (
    DEFAULT_URL,
    Absent,
    Broken,
    Call,
    Connection,
    RemoteError,
    Strange,
    Wordless,
    call,
    parameters,
)
from mirror.client.redirect import without_token

#: The key under which --token is kept for --url.
_TOKEN = "mirror.token"  # noqa: S105
_WHERE = "give its address with --url http://HOST:PORT or MIRROR_URL."
F = TypeVar("F", bound=Callable[..., Any])
Q = TypeVar("Q", bound=Asked)
A = TypeVar("A")
W = TypeVar("W")


class Daemon:
    """The mirror at ``url``; ``timeout`` is in seconds, and long, since a search may wait for JSOC.

    ``token`` is sent with every request; it may also be the password in ``url``. Every failure is a ClickException,
    with the mirror's own message, or with what to do if there is no mirror.
    """

    def __init__(self, url: str, *, token: str | None = None, timeout: float = 3600.0) -> None:
        address, given = without_token(url)
        self._token = given or token
        self.connection = Connection(address, self._token, timeout)
        self.url = self.connection.url

    def patient(self, seconds: float) -> Daemon:
        """The same mirror with this timeout, in seconds."""
        return Daemon(self.url, token=self._token, timeout=seconds)

    def ask(self, endpoint: Endpoint[Q, A], asked: Q | None = None, **names: str) -> A:
        """The answer of an endpoint; ``names`` are the variable parts of its path."""
        return self.exchange(endpoint, asked, None, **names)[0]

    def exchange(
        self, endpoint: Endpoint[Q, A], asked: Q | None = None, headers: Mapping[str, str] | None = None,
        **names: str,
    ) -> tuple[A, HTTPMessage]:  # fmt: skip
        """The same with the headers of the answer, which say how it came about."""
        with self._in_words():
            return self.connection.exchange(call(endpoint, asked, headers, **names))

    def follow(
        self, endpoint: Endpoint[Q, A], asked: Q, word: type[W], reply: Callable[[W], None], **names: str
    ) -> A:
        """The result of a long task, which reports its progress line by line."""
        with self._in_words():
            return self.connection.follow(endpoint, asked, word, reply, **names)

    def upload(self, endpoint: Endpoint[Q, A], asked: Q, file: BinaryIO) -> A:
        """The answer to the bytes of a file; also raises what reading it raises."""
        bare = call(endpoint, asked)
        size = str(os.fstat(file.fileno()).st_size)
        headers = {**bare.headers, "Content-Type": endpoint.taken, "Content-Length": size}
        with self._in_words():
            return self.connection.exchange(Call(bare.path, bare.read, bare.method, bare.params, file, headers))[0]

    @contextmanager
    def stream(self, path: str, asked: object = None, body: object = None) -> Iterator[HTTPResponse]:
        """The content at ``path``, or the answer to a JSON object, as a stream; failures while reading are reported."""
        params = parameters(plain(asked)) if asked is not None else {}
        bare = Call(path, lambda answer: answer, "GET", params)
        if body is not None:
            headers = {"Content-Type": JSON}
            bare = Call(path, bare.read, "POST", params, encoded(body), headers)
        with self._in_words(), self.connection.opened(bare) as answer:
            yield answer

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """Failures as a command reports them."""
        try:
            yield
        except RemoteError as problem:
            raise click.ClickException(self._words(problem)) from problem
        except (TimeoutError, ConnectionError) as problem:
            raise click.ClickException(self._words(Absent(self.url, problem))) from problem
        except (ValueError, HTTPException) as problem:
            raise click.ClickException(self._words(Strange(self.url, problem))) from problem

    def _words(self, problem: RemoteError) -> str:
        if isinstance(problem, Absent):
            return f"no mirror at {self.url} ({problem.why}).\nStart one with `mirror serve`, or {_WHERE}"
        if isinstance(problem, Broken):
            return f"the connection to {self.url} was lost; try again"
        if isinstance(problem, Wordless):
            return (
                f"the server at {self.url} is not a mirror, or is behind a proxy: "
                f"HTTP {problem.code} {problem.reason}.\nFor another mirror, {_WHERE}"
            )
        if isinstance(problem, Strange):
            if isinstance(problem.__cause__, msgspec.ValidationError) and self._is_mirror():
                return f"the mirror at {self.url} has an incompatible version: {problem.why}"
            return f"the server at {self.url} is not a mirror: {problem.why}.\nFor another mirror, {_WHERE}"
        if problem.code == UNAUTHORIZED:
            return f"{str(problem).rstrip('.')}. Set it with MIRROR_TOKEN or --token."
        return _apart(str(problem))

    def _is_mirror(self) -> bool:
        """True if the server there answers as a mirror of some version does."""
        status = call(STATUS, Nothing())
        try:
            reply = self.connection.exchange(Call(status.path, lambda answer: msgspec.json.decode(answer.read())))[0]
        except (RemoteError, ValueError):
            return False
        return isinstance(reply, dict) and {"policy", "searches"} <= reply.keys()


def token_option(command: F) -> F:
    """``--token``, for mirrors that require one; ``--url`` takes it from here."""
    return click.option(
        "--token",
        envvar="MIRROR_TOKEN",
        expose_value=False,
        is_eager=True,  # before --url, which needs it
        callback=lambda context, _, given: context.meta.update({_TOKEN: given}),
        help="Access token (prefer MIRROR_TOKEN: command lines are visible to other users).  [env: MIRROR_TOKEN]",
    )(command)


def url_option(command: F) -> F:
    """``--url``, where the mirror is, and ``--token``; the function gets it as ``daemon``."""
    return _url(
        command, _daemon, "Address of the mirror; if none runs, the store is opened directly."
    )


def store_option(command: F) -> F:
    """``--url`` for commands that create the store if there is none yet."""
    return _url(
        command, _daemon_or_store, "Address of the mirror; if none runs, the store is opened or created."
    )


def running_option(command: F) -> F:
    """``--url`` for commands that never open the store themselves."""
    return _url(command, lambda context, _, url: _named(context, url), "Address of the mirror.")


def _url(command: F, found: Callable[[click.Context, click.Parameter, str], Daemon], words: str) -> F:
    def named(context: click.Context, option: click.Parameter, url: str) -> Daemon:
        default = context.get_parameter_source(option.name or "") is ParameterSource.DEFAULT
        if context.resilient_parsing:  # a shell completes names: open nothing for that
            return Daemon(_configured(context, url) if default else url, token=context.meta.get(_TOKEN))
        return found(context, option, _configured(context, url) if default else url)

    return click.option(
        "--url",
        "daemon",
        default=DEFAULT_URL,
        show_default=True,
        envvar="MIRROR_URL",
        callback=named,
        help=f"{words}  [env: MIRROR_URL]",
    )(token_option(command))


def _daemon_or_store(context: click.Context, option: click.Parameter, url: str) -> Daemon:
    named = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
    return _named(context, url) if named or _listens(url) else _own(context)


def _daemon(context: click.Context, option: click.Parameter, url: str) -> Daemon:
    """The mirror at ``url``, or one of our own if none is named, none runs, and there is a store."""
    named = context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
    if not named and not _listens(url) and _has_store():
        return _own(context)
    return _named(context, url)


def _configured(context: click.Context, default: str) -> str:
    """The address at which the configured mirror listens, if the file or environment has one; else ``default``."""
    path = Path(os.environ.get("MIRROR_CONFIG") or os.devnull)
    edited = any("--config" in option.opts for option in context.command.params)  # by this command, which may create it
    if path == Path(os.devnull) or (edited and not path.exists()):
        if not any(name.startswith("MIRROR_SERVER__") for name in os.environ):
            return default
        path = Path(os.devnull)
    from mirror.config.loading import load_config  # noqa: PLC0415  (most commands name no file)
    from mirror.listening import url_of  # noqa: PLC0415  (the same)

    server = load_config(path, os.environ).server
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)  # noqa: S104  (to reach it, not to listen)
    return url_of(host, server.port) if server.port else default


def _own(context: click.Context) -> Daemon:
    """A mirror in this process, for as long as the command runs."""
    from mirror.cli.support.own_mirror import own_mirror  # noqa: PLC0415  (with all of a server behind it)

    return Daemon(context.with_resource(own_mirror()))


def _has_store() -> bool:
    from mirror.cli.support.own_mirror import has_store  # noqa: PLC0415  (the same)

    return has_store()


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
    """An error with its missing spans on separate lines, if there are several."""
    before, mark, spans = error.partition(" is not cached for: ")
    if not mark or "; " not in spans:
        return error
    return "\n  ".join([f"{before}{mark.rstrip()}", *spans.split("; ")])
