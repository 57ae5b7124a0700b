"""What differs for a program that a test starts so: it looks again soon whether JSOC has staged an export."""

from __future__ import annotations


def prepare(_: list[str]) -> None:
    """Called in a fork, before the program runs."""
    from mirror.services.exports import staging

    staging.SHORTEST_WAIT = staging.LONGEST_WAIT = 0.2
