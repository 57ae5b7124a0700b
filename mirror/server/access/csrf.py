"""Requests that another site makes a browser send here: how they are recognized, as pure functions of headers.

Two ways are closed. A page elsewhere may send a form, show a picture, or link to an address that makes an export: its
browser says where the request comes from (``Sec-Fetch-Site``, ``Origin``, ``Referer``; over plain HTTP the first is not
sent, and a page can suppress the last one). And a foreign name may resolve to our address (DNS rebinding): then the
page counts as ours, but ``Host`` has that name. Scripts send none of these headers.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FORMS = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})
_LOCAL = ("localhost", "*.localhost")
_HOST = re.compile(r"(?:\[(?P<ip6>[0-9a-f:.]+)\]|(?P<name>[^:@/\[\]\s]+))(?::[0-9]{0,5})?", re.IGNORECASE)


def is_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """True if a browser says that a page of another site sends this; other clients do not say."""
    site = headers.get("Sec-Fetch-Site", "").strip().lower()
    if site:
        return site not in ("same-origin", "none")
    page = headers.get("Origin", headers.get("Referer"))
    if page is None:
        return False
    try:
        return urlsplit(page).netloc.lower() != headers.get("Host", "").strip().lower()
    except ValueError:
        return True


def is_embedded_elsewhere(headers: Mapping[str, str]) -> bool:
    """True if a page of another site embeds this or its script requests it, rather than linking to it."""
    mode = headers.get("Sec-Fetch-Mode", "navigate").strip().lower()
    return is_from_elsewhere(headers) and mode not in ("navigate", "nested-navigate")


def hides_its_page(headers: Mapping[str, str]) -> bool:
    """True if a browser sends this without naming its page: over plain HTTP a page can arrange that."""
    if any(name in headers for name in ("Sec-Fetch-Site", "Origin", "Referer")):
        return False
    return headers.get("User-Agent", "").startswith("Mozilla/") and "Accept-Language" in headers


def is_of_browser(headers: Mapping[str, str]) -> bool:
    """True if a browser sends this, as far as its headers show."""
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
    """The header without its port; "" if it is not a name with a port."""
    found = _HOST.fullmatch(host.strip().lower())
    return "" if found is None else found["ip6"] or found["name"].rstrip(".")


def local_path(text: str) -> str:
    """A path of this mirror to redirect to; "/" for anything else, above all addresses of other sites."""
    plain = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable()
    return text if plain and "\\" not in text else "/"
