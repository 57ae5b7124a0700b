"""Requests that another site has a browser send here: how they are told, as pure questions about headers.

Two ways are closed. A page elsewhere may send a form, or ask for an export by an address: its browser says
where it comes from (``Sec-Fetch-Site``, ``Origin``). And a name of theirs may lead to our address (DNS
rebinding): then the page counts as ours, but asks for ``Host`` by that name.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_LOCAL = ("localhost", "*.localhost")


def is_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """True if a browser says that a page of another site sends this; whoever is no browser says nothing."""
    site = headers.get("Sec-Fetch-Site", "").strip().lower()
    if site:
        return site not in ("same-origin", "none")
    origin = headers.get("Origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin).netloc.lower() != headers.get("Host", "").strip().lower()
    except ValueError:
        return True


def is_of_browser(headers: Mapping[str, str]) -> bool:
    """True if a browser sends this, as far as it says so."""
    return any(name in headers for name in ("Sec-Fetch-Site", "Origin", "Cookie"))


def is_our_name(host: str, names: Iterable[str]) -> bool:
    """Whether a header ``Host`` names us: an address, this computer, or one of ``names`` (``*`` for anything)."""
    name = _name(host)
    try:
        ip_address(name)
    except ValueError:
        return any(fnmatchcase(name, pattern.lower()) for pattern in (*_LOCAL, *names))
    return True


def _name(host: str) -> str:
    """The header without its port."""
    text = host.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0].rstrip(".")


def local_path(text: str) -> str:
    """A path of this mirror to go on to; "/" for anything else, above all addresses of other sites."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if plain and "\\" not in text else "/"
