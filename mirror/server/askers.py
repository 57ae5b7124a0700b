"""What the gate found out about a request, for handlers and templates: ``request.get(ASKER)``."""

from __future__ import annotations

from aiohttp import web

from mirror.services.doors import Asker

#: Who sends the request, and with which role.
ASKER = web.RequestKey("asker", Asker)
#: What a form of a page must bring along in its field ``form_token``.
FORM_TOKEN = web.RequestKey("form_token", str)
