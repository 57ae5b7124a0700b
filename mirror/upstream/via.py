"""The way that a question takes through mirrors: each adds its name to the header ``Via``.

A mirror whose upstream is another mirror asks as any client does. Its name on a question tells the other
that a mirror asks; a mirror that finds its own name there would be asked in a circle for ever.
"""

from __future__ import annotations

from contextvars import ContextVar

from mirror.errors import ConfigError

_PREFIX = "jsoc-mirror-"
#: In an answer to a mirror: why it could not be given, percent-encoded.
PROBLEM = "X-Mirror-Problem"
#: Mirrors in a row; more than anyone has, so that even mirrors that change their names end a circle.
MOST = 8


class Route:
    """This mirror's place on the way; ``name`` must differ from that of every other mirror.

    ``token`` is what lets this mirror in at the next one.

    Which question is answered is known to all that is done for it, as tasks take that over from who starts them.
    """

    def __init__(self, name: str, token: str | None = None) -> None:
        self.name = _PREFIX + name
        self._known_by = {"Authorization": f"Bearer {token}"} if token else {}
        self._via: ContextVar[str] = ContextVar("via", default="")
        self._check: ContextVar[bool] = ContextVar("check", default=False)

    def enter(self, via: str, *, check: bool = False) -> None:
        """A question came by this way, which demands a check if ``check``; ConfigError if it has been here before."""
        names = mirrors(via)
        if self.name in names or len(names) >= MOST:
            raise ConfigError(
                f"mirrors ask each other in a circle ({' -> '.join([*names, self.name])}); expected [upstream] url "
                "of each to name JSOC, or a mirror nearer to it"
            )
        self._via.set(via if names else "")
        self._check.set(check)

    def onward(self) -> dict[str, str]:
        """The headers of what is asked for the question at hand: a check is one at every mirror on the way."""
        before = self._via.get()
        headers = {"Via": f"{before}, 1.1 {self.name}" if before else f"1.1 {self.name}", **self._known_by}
        return {**headers, "Cache-Control": "no-cache"} if self._check.get() else headers


def mirrors(via: str) -> list[str]:
    """The mirrors that a header ``Via`` names, in order."""
    words = (entry.split() for entry in via.split(","))
    return [w[1] for w in words if len(w) > 1 and w[1].startswith(_PREFIX)]
