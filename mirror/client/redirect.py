"""Points drms and sunpy to a mirror: a server for ``drms.Client``, or one line for a whole script.

``drms`` finds JSOC through one object, the ServerConfig registered as "jsoc": every ``drms.Client()``
without a server asks it for each address, at the time of the request, and ``sunpy`` knows no other way.
``use`` changes the addresses in that one object. So requests to other hosts do not go to the mirror, no environment
variable is touched, child processes are left alone, and clients made earlier follow too. It does not affect an
address that a script spells out (``"http://jsoc.stanford.edu" + path``); for those there is ``HTTP_PROXY``.

The address of a mirror that wants a token includes it: ``http://ada:TOKEN@host:8040``. urllib, which drms uses, does
not accept such addresses; ``use`` and ``server_config`` make it do so in this process.

``drms`` is imported when it is needed: a server that runs a mirror does not need the client.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from drms import ServerConfig

#: The path of JSOC's programs below a host, and their names.
CGI_PATH = "cgi-bin/ajax/"
_PROGRAMS = {
    "cgi_show_series": "show_series",
    "cgi_jsoc_info": "jsoc_info",
    "cgi_jsoc_fetch": "jsoc_fetch",
    "cgi_check_address": "checkAddress.sh",
    "cgi_show_series_wrapper": "showextseries",
}


def server_config(url: str, *, name: str = "mirror") -> ServerConfig:
    """A server for ``drms.Client(server=...)``: the mirror at ``url``, such as "http://host:8040".

    It offers everything that drms can do at JSOC: the list of series, searches, exports, downloads.
    Raises ValueError if ``url`` is not the address of a host, ImportError if drms is not installed.
    """
    import drms  # noqa: PLC0415  (see the module's docstring)

    return drms.ServerConfig(_entries(_base(url)), name=name)


def use(url: str) -> Redirection:
    """Send what this process asks JSOC through drms, and so through sunpy, to the mirror at ``url``.

    In effect until the process ends, until the next ``use``, or until ``close()`` of the returned object; in a
    ``with`` statement until its end. Raises as ``server_config`` does; then nothing has changed.
    """
    import drms  # noqa: PLC0415  (see the module's docstring)

    server = drms.HttpJsonClient("jsoc").server
    before = dict(server.to_dict())
    _assign(server, _entries(_base(url)))
    return Redirection(server, before)


class Redirection:
    """What ``use`` has changed; ``close()``, or the end of a ``with`` statement, undoes it."""

    def __init__(self, server: ServerConfig, before: Mapping[str, str]) -> None:
        self._server = server
        self._before = dict(before)

    @property
    def url(self) -> str:
        """Where requests go now, with a slash at its end."""
        return without_token(str(self._server.http_download_baseurl))[0]

    def close(self) -> None:
        """Send requests where they went before; closing again does the same again."""
        _assign(self._server, self._before)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<JSOC is asked at {self.url}>"


def _entries(base: str) -> dict[str, str]:
    """Every entry of a ServerConfig that has an address, and the names of the programs."""
    addresses = {
        f"url{key.removeprefix('cgi')}": f"{base}{CGI_PATH}{name}" for key, name in _PROGRAMS.items()
    }
    return {
        **_PROGRAMS,
        **addresses,
        "cgi_baseurl": base + CGI_PATH,
        "http_download_baseurl": base,
        "show_series_wrapper_dbhost": "hmidb2",  # what drms sends to JSOC; without it drms lists nothing
        "encoding": "latin1",
    }


def without_token(url: str) -> tuple[str, str | None]:
    """An address without the name and the password in it, and the password, or the name if there is none."""
    parts = urlsplit(url)
    given, _, host = parts.netloc.rpartition("@")
    name, _, password = given.partition(":")
    return parts._replace(netloc=host).geturl(), unquote(password or name) or None


def checked(url: str) -> str:
    """The address, if it can be that of a mirror; else ValueError."""
    _base(url)
    return url


def _teach_urllib() -> None:
    """Make urllib's ``urlopen`` accept addresses with a name and a password, without other changes."""
    from urllib import request  # noqa: PLC0415  (most importers never use it)

    class Userinfo(request.BaseHandler):
        """Turns a name and password in an address into the equivalent header."""

        handler_order = 50  # before handlers that look at the host

        def http_request(self, asked: request.Request) -> request.Request:
            """The request, with the bare host in its address."""
            given, _, host = (asked.host or "").rpartition("@")
            if given:
                plain = ":".join(unquote(part) for part in given.split(":", 1))
                asked.host = host
                asked.add_unredirected_header("Authorization", f"Basic {base64.b64encode(plain.encode()).decode()}")
            return asked

        https_request = http_request

    opener = getattr(request, "_opener", None)
    if opener is None:
        opener = request.build_opener()
        request.install_opener(opener)
    if not any(type(handler).__name__ == Userinfo.__name__ for handler in getattr(opener, "handlers", ())):
        opener.add_handler(Userinfo())


def _base(url: str) -> str:
    """``url`` with one slash at its end; ValueError unless it is http or https and names a host."""
    given: object = url  # of scripts, which may have anything
    parts = urlsplit(url if isinstance(given, str) else "")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        shown = without_token(url)[0] if isinstance(given, str) else given
        raise ValueError(
            f"{shown!r} is not the address of a mirror; expected something like 'http://host:8040'"
        )
    if "@" in parts.netloc:
        _teach_urllib()
    return url.rstrip("/") + "/"


def _assign(server: Any, entries: Mapping[str, str]) -> None:
    for key, value in entries.items():
        setattr(server, key, value)
