"""What a request brings along to show who sends it: headers as they come, read without an error for any of them."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from mirror.config.access import name_in

COOKIE = "jsoc-mirror"


@dataclass(frozen=True, slots=True)
class Credentials:
    """``user`` is whom the sender calls himself, ``secret`` what is to prove it; "" for what did not come."""

    user: str = ""
    secret: str = ""


NONE = Credentials()


def read_credentials(header: str) -> Credentials:
    """Of a header ``Authorization`` or ``Proxy-Authorization``: Bearer, or Basic whose password is the token.

    A token that was put in the place of the user's name counts too. What makes no sense is as good as nothing.
    """
    kind, _, value = header.strip().partition(" ")
    if kind.lower() == "bearer":
        return Credentials(secret=value.strip())
    if kind.lower() != "basic":
        return NONE
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except ValueError:
        return NONE
    user, _, secret = text.partition(":")
    named = name_in(user)
    if named is not None and not secret:
        return Credentials(named, user)
    return Credentials(named or user, secret)
