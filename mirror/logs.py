"""The log: one line an event, as ``key=value`` for people and grep, or as JSON for what collects logs.

The program logs by the standard library, with messages such as ``"export failed job=%s error=%s"``. The
names in front of each value make the fields; what stands before the first of them is the event.

No line has an e-mail address, a token, a password or a cookie, whoever wrote it (``mirror.redaction``), and of a
request that could not be read there is nothing but what was wrong with it and who sent it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any

from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import HttpProcessingError

from mirror.redaction import redacted

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.config import Log

_FIELD = re.compile(r"\b(\w+)=%[a-z]")
_PLAIN = re.compile(r"[^\s\"=]+")
#: Characters of one value in a line, and as many more as an address may have that is cut.
_LONGEST, _SPARE = 20_000, 400


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a record says: time (ISO 8601, UTC), level, logger, event, then its own fields in order."""
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    said: dict[str, Any] = {
        "time": time.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
    }
    unread = record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)
    if unread and record.name.startswith("aiohttp"):  # its message and its traceback quote the request
        said |= {"event": "a request cannot be read", **_unread(record)}
        return said
    said |= {name: _clean(value) for name, value in _event(record).items()}
    if record.exc_info:
        said["exception"] = _clean(logging.Formatter().formatException(record.exc_info))
    return said


def _unread(record: logging.LogRecord) -> dict[str, Any]:
    """Who sent it, and the kind of what was wrong."""
    sender = record.args if isinstance(record.args, tuple) else ()
    problem = record.exc_info[1] if record.exc_info else None
    return {"problem": type(problem).__name__, "client": str(sender[0]) if sender else None}


def _clean(value: object) -> object:
    """A value that may stand in a log."""
    if not isinstance(value, str):
        return value
    if len(value) <= _LONGEST:
        return redacted(value)
    return f"{redacted(value[: _LONGEST + _SPARE])[:-_SPARE]}..."


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


class KeyValue(logging.Formatter):
    """``time=... level=warning event="export failed" job=JSOC_...``: one line, whatever is in the values."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return " ".join(f"{name}={_quoted(value)}" for name, value in fields(record).items())


class Json(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return json.dumps(fields(record), ensure_ascii=False)


def _quoted(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class Requests(AbstractAccessLogger):
    """One line for each answered request, if the configuration asks for it."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line; the query is left out, since it may be a megabyte or name somebody's address."""
        self.logger.info(
            "request method=%s path=%s status=%d bytes=%d ms=%d origin=%s client=%s",
            request.method,
            request.path,
            response.status,
            response.body_length,
            round(time * 1000),
            response.headers.get("X-Mirror"),
            request.remote,
        )


def set_up(log: Log) -> None:
    """Let everything that this process logs go where the configuration says; what was set up before is replaced.

    To stderr, or to a file that is rotated: ``file``, ``file.1``, ... OSError if that cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stderr)
    if log.file is not None:
        log.file.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(log.file, maxBytes=log.size, backupCount=log.files, encoding="utf-8")
    handler.setFormatter(Json() if log.format == "json" else KeyValue())
    logging.basicConfig(level=_LEVELS[log.level], handlers=[handler], force=True)
    logging.getLogger("aiohttp").setLevel(logging.WARNING)


_LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
