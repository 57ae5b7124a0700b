"""Recent answers, kept whole for the same question: in memory, with a size limit.

An answer is kept with what it depends on, and reused only while a process without it would give the same answer:
the caller has that checked each time.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isal import isal_zlib

if TYPE_CHECKING:
    from mirror.readthrough.records import Basis

#: The most bytes of all answers together, of one, and of a question.
MOST_BYTES, MOST_OF_ONE, LONGEST_QUESTION = 32 << 20, 8 << 20, 4096
#: About how many bytes an entry takes in addition to its answer and question.
_OVERHEAD = 2000
#: The compression level, and zlib's number for the format.
_LEVEL, _GZIP = 2, 31


@dataclass(slots=True)
class Answer:
    """The body of an answer about ``ds``, how many records it has, and what it depends on."""

    ds: str
    body: bytes
    records: int
    basis: tuple[Basis, ...]
    packed: bytes | None = None  #: the same as gzip, once it was requested

    def pack(self) -> bytes:
        """Compress the body, once."""
        if self.packed is None:
            self.packed = isal_zlib.compress(self.body, _LEVEL, _GZIP)
        return self.packed


class Answers:
    """Answers by question; the least recently used is dropped first."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._bytes = 0
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._sizes: dict[str, int] = {}

    def find(self, question: str) -> Answer | None:
        """The last answer, which may be out of date."""
        found = self._answers.get(question)
        if found is not None:
            self._answers.move_to_end(question)
        return found

    def keep(self, question: str, answer: Answer) -> None:
        """Keep an answer, replacing an earlier one."""
        self.drop(question)
        if len(question) > LONGEST_QUESTION or len(answer.body) > MOST_OF_ONE:
            return
        self._answers[question] = answer
        self.grown(question)

    def grown(self, question: str) -> None:
        """Account for an answer that has grown since it was kept, because it was packed as well."""
        answer = self._answers.get(question)
        if answer is None:
            return
        size = _OVERHEAD + 2 * len(question) + len(answer.body) + len(answer.packed or b"")
        self._bytes += size - self._sizes.get(question, 0)
        self._sizes[question] = size
        while self._bytes > self._most:
            self.drop(next(iter(self._answers)))

    def drop(self, question: str) -> None:
        """Drop an answer."""
        self._answers.pop(question, None)
        self._bytes -= self._sizes.pop(question, 0)
