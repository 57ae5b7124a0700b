"""E-mail addresses: which of them the simulator treats as registered."""

from __future__ import annotations

from mirror.wire.export import NOT_AN_ADDRESS, REGISTERED, UNKNOWN, AddressAnswer

#: Addresses with this name, or of this host, are never registered; all others are.
STRANGER, NOWHERE = "notregistered", "nowhere.org"


def check(address: str) -> AddressAnswer:
    """Whether an address is registered: all are, except a stranger's."""
    name, _, host = address.partition("@")
    if not name or "." not in host.strip("."):
        return AddressAnswer(NOT_AN_ADDRESS, "The address is not an e-mail address.")
    if name == STRANGER or host == NOWHERE:
        return AddressAnswer(UNKNOWN, "The address is not registered.")
    return AddressAnswer(REGISTERED, "The address is registered.")


def is_registered(address: str) -> bool:
    """True for an address that may ask for exports."""
    return check(address).status == REGISTERED
