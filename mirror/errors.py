"""Every error that the mirror raises on purpose, as one tree, split by whose fault it is.

    MirrorError
    ├── BadRequest                the client's fault; nothing was changed
    │   ├── SyntaxProblem         a text that does not parse: shows the text, a caret, what was expected
    │   ├── UnknownSeries         no such series
    │   ├── UnknownName           no such keyword, segment, link or prime key
    │   ├── WrongFields           something filled in with some of its fields wrong
    │   └── Refused               understood, but not something we do
    ├── UpstreamError             JSOC's fault, or the way to it
    │   ├── UpstreamUnreachable   no answer: refused, timed out, circuit open
    │   │   └── ClusterAway       the other mirrors cannot be reached, and nobody asks JSOC alone
    │   ├── UpstreamBroken        an answer that is not what the protocol promises
    │   ├── UpstreamRefused       JSOC answered with a status other than 0
    │   └── UpstreamLacks         upstream is a mirror, and cannot give this
    ├── OverLimit                 more than one client may take
    │   ├── OutOfTime             it took too long
    │   ├── TooLarge              its answer, or what it needs, is too large
    │   └── TooMany               too many ask at a time, or one asks too often
    ├── NotHeld                   the mirror may not ask upstream, and does not hold what was asked
    │   └── OverBudget            what may be asked of upstream in an hour, or in a day, is used up
    ├── StorageError              the local store: locked, too new, full, damaged
    ├── ObjectStoreError          the object store of a cluster, or the way to it
    │   ├── ObjectStoreAway       no answer, or full: asking again later may help
    │   ├── ObjectStoreRefused    a wrong key, no bucket, or it cannot do what is needed
    │   ├── ObjectDamaged         other bytes than were put
    │   └── ObjectMissing         no such object
    └── ConfigError               config.toml or the environment

The table that turns them into DRMS status and HTTP code is in ``mirror.server.errors``.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class MirrorError(Exception):
    """The root of every error raised on purpose; ``str()`` of it is meant for people."""


class BadRequest(MirrorError):
    """The request is wrong; asking again unchanged gives the same error."""


class SyntaxProblem(BadRequest):
    """A text that does not parse.

    ``text`` is the whole text, ``position`` the 0-based offset of the error,
    ``message`` says what was found, ``expected`` what would have been right.
    """

    def __init__(self, message: str, *, text: str, position: int, expected: str = "") -> None:
        self.message = message
        self.text = text
        self.position = max(0, min(position, len(text)))
        self.expected = expected
        super().__init__(message)

    def __str__(self) -> str:
        """Three lines: what was wrong, the text (cut to a window around the place), a caret."""
        head = f"{self.message}; expected {self.expected}" if self.expected else self.message
        return f"{head}\n{self.marked()}"

    def marked(self, width: int = 100) -> str:
        """The text on one line, at most ``width`` characters of it, and a caret below the place."""
        start = max(0, self.position - width // 2)
        window = self.text[start : start + width]
        line = "".join(c if c.isprintable() else "?" for c in window)
        lead, tail = "..." if start else "", "..." if start + width < len(self.text) else ""
        return f"  {lead}{line}{tail}\n  {' ' * (len(lead) + self.position - start)}^"


class UnknownSeries(BadRequest):
    """No series has this name; ``near`` are similar names."""

    def __init__(self, name: str, near: Sequence[str] = ()) -> None:
        self.name = name
        hint = f"did you mean {' or '.join(near)}?" if near else "expected a series that show_series lists"
        super().__init__(f"series {name!r} not found; {hint}")


class UnknownName(BadRequest):
    """A keyword, segment, link or prime key that the series does not have; ``problem`` says where it is."""

    def __init__(self, message: str, problem: SyntaxProblem | None = None) -> None:
        self.problem = problem
        super().__init__(message)


class WrongFields(BadRequest):
    """A form with wrong fields; ``fields`` has what was expected, for each wrong one.

    ``given`` has their values.
    """

    def __init__(self, fields: dict[str, str], given: Mapping[str, object]) -> None:
        self.fields = fields
        answer = {name: f" = {given[name]!r}" if name in given else "" for name in fields}
        super().__init__("; ".join(f"{name}{answer[name]}: {problem}" for name, problem in fields.items()))


class Refused(BadRequest):
    """A request that is understood but not served, with the reason."""


class OverLimit(MirrorError):
    """More than one client may take of what all share."""


class OutOfTime(OverLimit):
    """It took longer than it may."""


class TooLarge(OverLimit):
    """The answer, or the work to find it, is larger than allowed."""


class TooMany(OverLimit):
    """Too many ask at a time, or one asks too much; if given, a number of seconds after which to ask again."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


def _redacted(text: str) -> str:
    from mirror.redaction import redacted  # noqa: PLC0415  (its patterns take longer to make than a command to start)

    return redacted(text)


class UpstreamError(MirrorError):
    """JSOC, or the way to it, did not give what was needed.

    What it said is repeated in logs and lists, without addresses and tokens that it may contain.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_redacted(message))


class UpstreamUnreachable(UpstreamError):
    """No answer: connection refused, timed out, or the circuit breaker is open."""


class ClusterAway(UpstreamUnreachable):
    """What the mirrors share cannot be reached, and without it none of them asks JSOC."""


class UpstreamBroken(UpstreamError):
    """An answer that is not what the protocol promises: broken JSON, wrong count, wrong shape."""


class UpstreamRefused(UpstreamError):
    """JSOC answered with a status other than 0; ``status`` and ``message`` are its own."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = _redacted(message)
        super().__init__(f"JSOC refused, status {status}: {message}")


class UpstreamLacks(UpstreamError):
    """Upstream is another mirror, and cannot give this: it is offline, say, or JSOC does not answer it."""


class NotHeld(MirrorError):
    """Not held here, and upstream may not be asked; ``missing`` names what is missing."""

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        self.missing = missing
        super().__init__(message)


class OverBudget(NotHeld):
    """The budget for upstream is used up; from ``until`` on, in Unix seconds, there is more."""

    def __init__(self, message: str, until: float) -> None:
        self.until = until
        super().__init__(message)


class StorageError(MirrorError):
    """The local store cannot be used: locked by another process, too new, full, or damaged."""


class ObjectStoreError(MirrorError):
    """The object store that several mirrors share, or the way to it, failed."""


class ObjectStoreAway(ObjectStoreError):
    """No answer: connection refused, timed out, overloaded or full. Nothing is lost; a later attempt may succeed."""


class ObjectStoreRefused(ObjectStoreError):
    """A lasting refusal: a wrong key, no such bucket, or something that the store cannot do."""


class ObjectDamaged(ObjectStoreError):
    """What came is not what was put: other bytes, too few, or some page instead."""


class ObjectMissing(ObjectStoreError):
    """There is no such object."""


class ConfigError(MirrorError):
    """config.toml or the environment has something invalid."""


_FULL = "the disk is full; free some space on it, or evict files from the store"


_ADVICE = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: "the disk quota of this user is used up; free some space, or evict files from the store",
    errno.EROFS: "the file system is read-only; a systemd service may write only to the folders in ReadWritePaths= of its unit",
    errno.EACCES: "permission denied; the store must belong to the user who runs the mirror",
    errno.EPERM: "not permitted; the store must belong to the user who runs the mirror",
    errno.EIO: "the disk reports an input/output error; look at its health",
    errno.EXDEV: "source and target lie on different file systems; the store must lie on one",
    errno.EMLINK: "too many hard links to one file",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n)",
    errno.ENFILE: "too many open files on this machine",
    errno.ENAMETOOLONG: "the name is too long for the file system",
}


def explained(error: OSError) -> str:
    """What an error of the system means here, in words."""
    return _ADVICE.get(error.errno or 0) or error.strerror or str(error)
