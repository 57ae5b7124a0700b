"""checkAddress.sh: is an e-mail address registered for exports?

The address is quoted twice: clients quote it, as UTF-8, and then the query string that contains it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote_plus, unquote_plus

from mirror.errors import BadRequest
from mirror.wire.answer import load_object, member

#: Statuses: what the program says about an address. A negative one means that it is not an address.
INITIATED, REGISTERED, PENDING, UNKNOWN, NOT_AN_ADDRESS = 1, 2, 3, 4, -2


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """``check_only``: answer without starting a registration."""

    address: str
    check_only: bool = True


@dataclass(frozen=True, slots=True)
class AddressAnswer:
    """``status`` as above, ``msg`` for people."""

    status: int
    msg: str


def decode_address(params: Mapping[str, str]) -> AddressRequest:
    """The request in ``params``, which are decoded once already; BadRequest without ``address``."""
    if "address" not in params:
        raise BadRequest("the parameter address is missing; expected an e-mail address")
    address = unquote_plus(params["address"])
    return AddressRequest(address, params.get("checkonly", "0") not in ("", "0"))


def encode_address(request: AddressRequest) -> dict[str, str]:
    """The parameters of this request; encoding them as a query string quotes the second time."""
    return {"address": quote_plus(request.address), **({"checkonly": "1"} if request.check_only else {})}


def encode_address_answer(answer: AddressAnswer) -> bytes:
    """One line of JSON as the real script prints it."""
    return (json.dumps({"status": answer.status, "msg": answer.msg}) + "\n").encode("ascii")


def decode_address_answer(data: bytes) -> AddressAnswer:
    """Decode an answer. Its statuses are not those of the other programs: none is an error."""
    members = load_object(data)
    return AddressAnswer(member(members, "status", int), member(members, "msg", str, default=""))
