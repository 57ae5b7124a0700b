"""Where a server listens: sockets that are bound before anything else begins, or one clear error.

So a port in use is noticed before a store is opened or JSOC is asked. Nobody can reach a bound socket until its
server listens.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from typing import Any

from mirror.errors import ConfigError

#: The system's errors for an address that this computer does not have.
_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def bind(host: str, port: int, how: str, *, shared: bool = False) -> list[socket.socket]:
    """A socket for each address of ``host``, bound to ``port`` (0: a free one). ``shared``: others listen there too.

    ConfigError with the address and what is wrong with it; ``how`` says where host and port are configured.
    """
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in _addresses(host, port):
            try:
                sockets.append(_bound(family, address, shared=shared))
            except OSError as problem:  # "localhost" may name an IPv6 address on a computer without IPv6
                if problem.errno not in _ABSENT:
                    raise
                absent = problem
        if absent is not None and not sockets:
            raise absent
    except OSError as problem:
        for made in sockets:
            made.close()
        raise refused(host, port, how, problem) from problem
    return sockets


def refused(host: str, port: int, how: str, problem: OSError) -> ConfigError:
    """The error that says why nobody can listen there, and what to do."""
    return ConfigError(f"cannot listen at {url_of(host, port)}: {_explained(host, port, problem)}: {how}")


def url_of(host: str, port: int) -> str:
    """The address of a server, ``http://127.0.0.1:8040``; with brackets for IPv6."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _addresses(host: str, port: int) -> list[tuple[int, Any]]:
    """Families and addresses of a host, each once."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (UnicodeError, ValueError) as problem:  # an empty or too long label, or a NUL
        raise socket.gaierror(socket.EAI_NONAME, str(problem)) from problem
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def _bound(family: int, address: Any, *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix" and sys.platform != "cygwin":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made


def _explained(host: str, port: int, problem: OSError) -> str:
    if isinstance(problem, socket.gaierror):
        return f"{host!r} is not an address, nor a host name that this computer can resolve; expected one"
    if problem.errno == errno.EADDRINUSE:
        return f"port {port} is in use, perhaps by another mirror; expected a free port"
    if problem.errno in _ABSENT:
        return f"{host} is not an address of this computer; expected one that is, such as 127.0.0.1"
    if problem.errno in (errno.EACCES, errno.EPERM):
        return f"this user may not use port {port}; expected one from 1024 on"
    return f"{problem.strerror or problem}; expected a free address and port"
