"""The log of requests to the simulator: one entry per request, kept until it ends."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Entry:
    """One request; ``records`` and ``bytes`` are those of the answer.

    ``status`` is the DRMS status of the answer, the HTTP code of one that was not 200, or the name of the fault that
    replaced it.
    """

    time: float  #: Unix time at which the request arrived
    program: str
    params: Mapping[str, str]
    status: int | str
    records: int
    bytes: int


@dataclass
class Log:
    """Entries in the order in which their answers were made."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)

    def to_json(self) -> list[dict[str, Any]]:
        """The answer to ``GET /_simulator/log``."""
        return [asdict(entry) for entry in self.entries]
