"""What the gate found out about a request, for handlers and templates: ``request.get(PRINCIPAL)``."""

from __future__ import annotations

from aiohttp import web

from mirror.services.access.authentication import Principal

#: Who sends the request, and with which role.
PRINCIPAL = web.RequestKey("principal", Principal)
#: What a form of a page must bring along in its field ``form_token``.
FORM_TOKEN = web.RequestKey("form_token", str)


#: How a handler says how many records it tells of: ``request[RECORDS] = 40``.
RECORDS = web.RequestKey("records", int)


#: Says that keywords in exported files have only the digits that print: ``printed``.
VALUES = "X-Mirror-Values"
