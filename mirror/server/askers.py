"""What the gate found out about a request, for handlers and templates: ``request.get(ASKER)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from mirror.services.doors import Asker

if TYPE_CHECKING:
    from mirror.access import Role

#: Who sends the request, and with which role.
ASKER = web.RequestKey("asker", Asker)
#: What a form of a page must bring along in its field ``form_token``.
FORM_TOKEN = web.RequestKey("form_token", str)


def may(request: web.Request, role: Role) -> bool:
    """Whether whoever asks has this role: for what a page shows only to those who can use it."""
    asker = request.get(ASKER)
    return asker is not None and asker.role >= role
