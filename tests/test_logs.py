"""What a line of the log looks like, and where it goes."""

from __future__ import annotations

import json
import logging
import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.config.loading import Log
from mirror.errors import ConfigError
from mirror.logs import Json, KeyValue, set_up


def record(message: object, *args: object, error: Exception | None = None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord("mirror.part", logging.WARNING, "part.py", 1, message, args, info)  # type: ignore[arg-type]


def test_names_in_front_of_values_become_fields():
    line = json.loads(Json().format(record("export failed job=%s tries=%d", "JSOC_1", 3)))
    assert line.items() >= {"event": "export failed", "job": "JSOC_1", "tries": 3, "level": "warning"}.items()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_text_puts_what_has_blanks_into_quotes():
    line = KeyValue().format(record("export failed job=%s error=%s", "JSOC_1", 'a "b" = c\nd'))
    assert line.endswith('event="export failed" job=JSOC_1 error="a \\"b\\" = c\\nd"')


@given(st.text(), st.text())
def test_an_event_is_one_line_whatever_is_in_it(first, second):
    for form in (Json(), KeyValue()):
        line = form.format(record("a thing one=%s two=%s", first, second))
        assert not re.search(r"[\r\n]", line)


@given(st.text(), st.text())
def test_json_gives_back_what_was_logged(first, second):
    line = json.loads(Json().format(record("a thing one=%s two=%s", first, second)))
    assert (line["one"], line["two"]) == (first, second)


def test_messages_of_other_libraries_are_events_as_they_are():
    assert json.loads(Json().format(record("%s of %s done", 1, 2)))["event"] == "1 of 2 done"
    assert json.loads(Json().format(record("100%")))["event"] == "100%"


def test_an_exception_stays_on_the_line():
    line = KeyValue().format(record("request failed path=%s", "/x", error=ValueError("bad\nvalue")))
    assert "ValueError" in line
    assert "\n" not in line


@pytest.fixture
def logging_as_before():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level


def test_a_file_is_put_aside_when_it_is_full(tmp_path, logging_as_before):
    set_up(Log(file=tmp_path / "logs" / "mirror.log", size=2000, files=2, format="json"))
    for n in range(100):
        logging.getLogger("mirror.test").info("event n=%d", n)
    assert sorted(p.name for p in (tmp_path / "logs").iterdir()) == [
        "mirror.log",
        "mirror.log.1",
        "mirror.log.2",
    ]
    lines = (tmp_path / "logs" / "mirror.log").read_text().splitlines()
    assert json.loads(lines[-1])["n"] == 99


def test_what_is_below_the_level_is_left_out(tmp_path, logging_as_before):
    set_up(Log(file=tmp_path / "mirror.log", level="error"))
    logging.getLogger("mirror.test").warning("quiet")
    logging.getLogger("mirror.test").error("loud")
    assert "loud" in (text := (tmp_path / "mirror.log").read_text())
    assert "quiet" not in text


def test_a_pipe_that_nobody_reads_is_no_log_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match=r"\[log\] file = '.*pipe' cannot be written: No such device or address"):
        set_up(Log(file=tmp_path / "pipe"))
