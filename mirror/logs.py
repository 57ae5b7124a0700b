"""The log: one line per event, as ``key=value`` for people and grep, or as JSON for log collectors.

The program logs through the standard library, with messages such as ``"export failed job=%s error=%s"``. The
names in front of the values make the fields; the text before the first of them is the event.

No line has an e-mail address, a token, a password or a cookie, whoever wrote it (``mirror.redaction``). Of a request
that could not be read, only what was wrong with it and who sent it is logged.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any

from aiohttp.http_exceptions import HttpProcessingError

from mirror.errors import ConfigError
from mirror.redaction import redacted

if TYPE_CHECKING:
    from pathlib import Path

    from mirror.config.loading import Log

#: The logger of answered requests.
REQUESTS = "mirror.requests"

_FIELD = re.compile(r"\b(\w+)=%[a-z]")
_PLAIN = re.compile(r"[^\s\"=]+")
#: Most characters of a value, and of a traceback, whose end says most; and a margin for an address at the cut.
_LONGEST, _LONGEST_TRACEBACK, _SPARE = 2000, 8000, 400
#: Most lines of one kind in SECONDS seconds.
LINES, SECONDS = 100, 10.0


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record: time (ISO 8601, UTC), level, logger, event, then its own in order."""
    moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    said: dict[str, Any] = {
        "time": moment.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
    }
    unread = record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)
    if unread and record.name.startswith("aiohttp"):  # its message and its traceback quote the request
        said |= {"event": "a request cannot be read", **_unread(record)}
        return said
    said |= {name: _clean(value) for name, value in _event(record).items()}
    if record.exc_info:
        said["exception"] = _last(logging.Formatter().formatException(record.exc_info))
    if left_out := getattr(record, "left_out", 0):
        said["left_out"] = left_out
    return said


def _unread(record: logging.LogRecord) -> dict[str, Any]:
    """Who sent the unreadable request, and the kind of error."""
    sender = record.args if isinstance(record.args, tuple) else ()
    problem = record.exc_info[1] if record.exc_info else None
    return {"problem": type(problem).__name__, "client": str(sender[0]) if sender else None}


def _clean(value: object) -> object:
    """A value that may appear in a log."""
    if not isinstance(value, str):
        return value
    if len(value) <= _LONGEST:
        return redacted(value)
    return f"{redacted(value[: _LONGEST + _SPARE])[:-_SPARE]}... ({len(value):,} characters)"


def _event(record: logging.LogRecord) -> dict[str, Any]:
    template = record.msg if isinstance(record.msg, str) else ""
    names = _FIELD.findall(template)
    values = record.args if isinstance(record.args, tuple) else ()
    if not names or len(names) != len(values):  # a message of another library
        return {"event": record.getMessage()}
    event = template[: _FIELD.search(template).start()].strip()  # type: ignore[union-attr]
    return {"event": event, **{name: _plain(value) for name, value in zip(names, values, strict=True)}}


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float) or value is None else str(value)


def _last(text: str) -> str:
    end = redacted(text[-_LONGEST_TRACEBACK - _SPARE :])
    return end if len(end) <= _LONGEST_TRACEBACK else f"... {end[-_LONGEST_TRACEBACK:]}"


class KeyValue(logging.Formatter):
    """``time=... level=warning event="export failed" job=JSOC_...``: one line, whatever is in the values."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return " ".join(f"{name}={_quoted(value)}" for name, value in fields(record).items())


class Json(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said = fields(record)
        shown = all(value.isprintable() for value in said.values() if isinstance(value, str))
        return json.dumps(said, ensure_ascii=not shown)


def _quoted(value: object) -> str:
    text = "none" if value is None else str(value)
    if not text.isprintable():  # characters that move a terminal's cursor, or are none at all
        return json.dumps(text).replace("\x7f", "\\u007f")
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class Flood(logging.Filter):
    """Limits the lines of each kind in a period; the first one afterwards says how many were left out.

    A kind is a place in the code. The log of requests, which the configuration asks for, is not limited.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int], _Kind] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if record.name == REQUESTS:
            return True
        now, place = self._clock(), (record.pathname, record.lineno)
        kind = self._kinds.get(place)
        if kind is None or now - kind.since >= SECONDS:
            record.left_out = 0 if kind is None else kind.left_out
            self._kinds[place] = kind = _Kind(now)
        kind.lines += 1
        kind.left_out += kind.lines > LINES
        return kind.lines <= LINES


@dataclass(slots=True)
class _Kind:
    """Lines of one kind since the period's start: how many came, and how many were left out."""

    since: float
    lines: int = 0
    left_out: int = 0


def set_up(log: Log) -> None:
    """Send everything that this process logs to where the configuration says, in place of an earlier set-up.

    That is stderr, or a rotated file: ``file``, ``file.1``, ... It is stderr too if the disk has no room to create the
    file; ConfigError if it cannot be written for another reason. A line that cannot be written is left out.
    """
    logging.raiseExceptions = False
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if log.file is not None:
        handler = _file_handler(log, log.file) or handler
    handler.addFilter(Flood())
    handler.setFormatter(Json() if log.format == "json" else KeyValue())
    logging.basicConfig(level=_LEVELS[log.level], handlers=[handler], force=True)
    logging.getLogger("aiohttp").setLevel(logging.WARNING)


def _file_handler(log: Log, file: Path) -> logging.Handler | None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0)))  # a pipe without a reader is an error
        return RotatingFileHandler(file, maxBytes=log.size, backupCount=log.files, encoding="utf-8")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return None
        raise ConfigError(f"[log] file = {str(file)!r} cannot be written: {error.strerror}") from error


_LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
