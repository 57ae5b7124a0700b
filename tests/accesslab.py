"""Tokens for tests, whose hashes cost next to nothing, and the config.toml that names them."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from mirror.config.access import hash_of

if TYPE_CHECKING:
    from tests.lab import Answer, Lab

#: What a browser says of a request that one of our own pages sends.
BROWSER = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}

TOKENS = {
    role: f"{name}.{role[0] * 43}" for role, name in (("read", "rita"), ("export", "ed"), ("admin", "ada"))
}


def table(token: str, role: str) -> str:
    """The table of a token."""
    hashed = hash_of(token)
    return f'[[token]]\nname = "{token.partition(".")[0]}"\nrole = "{role}"\nhash = "{hashed}"\n'


CONFIG = "".join(table(token, role) for role, token in TOKENS.items())


def bearer(role: str) -> dict[str, str]:
    """The header of an API's client."""
    return {"Authorization": f"Bearer {TOKENS[role]}"}


def basic(role: str, user: str = "me") -> str:
    """What a client makes of a name and password in an address."""
    return "Basic " + base64.b64encode(f"{user}:{TOKENS[role]}".encode()).decode()


async def log_in(made: Lab, token: str, **more: str) -> Answer:
    """What the page answers to this token, given in its form."""
    page = await made.get("/login", {"next": "/api/status"})
    form = re.search(r'name="form_token" value="(\w+)"', page.body.decode())[1]
    data = {"token": token, "next": "/api/status", "form_token": form, **more}
    return await made.request("POST", "/login", data=data, headers=BROWSER, allow_redirects=False)
