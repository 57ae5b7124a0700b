"""What bounds a request, piece by piece: the parser of heads, forms, queries, deadlines, descriptors, the log."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from urllib.parse import unquote_to_bytes

import pytest
from aiohttp.http import HttpRequestParser
from aiohttp.http_exceptions import HttpProcessingError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.daemon import free_descriptors
from mirror.drms.parser import MOST_FILTERS, MOST_SETS, MOST_VALUES, parse_query
from mirror.errors import BadRequest, SyntaxProblem
from mirror.logs import LINES, SECONDS, Flood, Json, KeyValue
from mirror.server import limits
from mirror.server.connections import BoundedParser, Deadlines, TooMuch
from mirror.server.limits import HEADERS, MIB
from mirror.wire.params import MOST_PARAMETERS, decode_body, decode_params

FORM_PIECES = st.lists(st.sampled_from(["%41", "%", "%%", "%4", "&", "=", "+", "a", "%zz", "%00", "é"]), max_size=50).map("".join)


@given(FORM_PIECES, st.integers(1, 400))
@settings(max_examples=100, deadline=None)
def test_escapes_are_read_as_the_standard_library_reads_them_whatever_their_size(piece, times):
    value = (piece.replace("&", "").replace("=", "").encode() * times).decode("latin-1")
    expected = unquote_to_bytes(value.replace("+", " ").encode("latin-1")).decode("latin-1").partition("\0")[0]
    assert decode_params(f"a={value}")["a"] == expected


@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=5), st.text('x\r\n-;"=', max_size=30)), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_parts_are_read_as_they_were_written(parts):
    written = "".join(
        f'--b0\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts
    )
    assert decode_body((written + "--b0--\r\n").encode(), 'multipart/form-data; boundary="b0"') == dict(parts)


@pytest.mark.parametrize(
    "body",
    [
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n' * 40_000 + b"--x--",
        b"--x\r\n" * 40_000 + b"--x--",
        b"--x\r\n" + b"a: b\r\n" * 1000 + b"\r\nc\r\n--x--",
        b"--x\r\nContent-Disposition: form-data" + b';a="' * 400 + b"\r\n\r\nc\r\n--x--",
        b"--x\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--x--",
        b"--x",
        b"",
    ],
    ids=["many", "empty", "headers", "disposition", "base64", "endless", "nothing"],
)
def test_parts_that_are_too_many_or_too_much_are_refused(body):
    with pytest.raises(BadRequest, match=r"part|end"):
        decode_body(body, "multipart/form-data; boundary=x")


def test_more_parameters_than_anybody_needs_are_refused():
    with pytest.raises(BadRequest, match="1,001 parameters"):
        decode_params("a=b&" * MOST_PARAMETERS)
    with pytest.raises(BadRequest, match="parameters"):
        decode_body(b"&" * MIB)


@pytest.mark.parametrize(
    "text",
    ["a.b," * (MOST_SETS + 1) + "a.b", "a.b" + "[1]" * (MOST_FILTERS + 1), "a.b[" + "1," * (MOST_VALUES + 1) + "1]"],
    ids=["sets", "filters", "values"],
)
def test_a_query_of_too_many_sets_filters_or_values_is_refused(text):
    with pytest.raises(SyntaxProblem, match=r"too many|commas"):
        parse_query(text)


# ---- the parser ---------------------------------------------------------------------------------


def a_parser():
    protocol = SimpleNamespace(pause_reading=lambda: None, resume_reading=lambda *_: None)
    loop = asyncio.new_event_loop()
    try:
        inner = HttpRequestParser(
            protocol, loop, 2**16, max_line_size=limits.TARGET, max_field_size=limits.HEADER, max_headers=HEADERS
        )  # fmt: skip
        return BoundedParser(inner)
    finally:
        loop.close()


HEAD_TEXTS = st.text(st.sampled_from('/.;,="%a1 \\[({é'), min_size=1, max_size=8).flatmap(
    lambda text: st.integers(1, 60_000).map(lambda n: (text * n)[:n])
)
NAMES = st.sampled_from(["Cookie", "Content-Type", "Range", "Accept", "If-None-Match", "X", "Forwarded", "Via"])


@given(HEAD_TEXTS, st.lists(st.tuples(NAMES, HEAD_TEXTS), max_size=8), st.integers(1, 5000))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_comes_through_the_parser_is_within_the_limits_however_it_is_cut(path, headers, step):
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    data = f"GET /{path} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()
    parser, messages = a_parser(), []
    try:
        for start in range(0, len(data), step):
            messages += parser.feed_data(data[start : start + step])[0]
    except HttpProcessingError:  # one that has too much, or is no head of HTTP
        pass
    for message, _ in messages:
        assert len(message.path.partition("?")[0]) <= limits.PATH
        assert sum(len(n) + len(v) for n, v in message.raw_headers) <= limits.ALL_HEADERS
        assert all(len(v) <= limits.SHORT_HEADERS.get(n.decode().lower(), limits.HEADER) for n, v in message.raw_headers)


def test_a_head_that_never_ends_is_not_kept():
    parser, fed = a_parser(), 0
    with pytest.raises(Exception, match=r"bytes|headers"):  # noqa: PT012  (it is the n-th that fails)
        parser.feed_data(b"GET / HTTP/1.1\r\n")
        for number in range(100_000):
            line = b"x%d: %b\r\n" % (number, b"y" * 8000)
            fed += len(line)
            parser.feed_data(line)
    assert fed < 2 * limits.HEADERS * limits.HEADER
    assert parser.feed_data(b"more") == ((), False, b"")


def test_a_head_that_has_too_much_is_given_on_to_nobody():
    with pytest.raises(TooMuch) as caught:
        a_parser().feed_data(b"GET /" + b"/" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    assert caught.value.code == 414


def test_a_body_is_late_when_it_comes_slowly_and_not_when_it_is_made_to_wait():
    def late(rate, *, held=False):
        deadlines = Deadlines(0.0)
        return any(deadlines.body_is_late(2.0 * n, int(2 * n * rate), done=False, held=held) for n in range(60))

    assert late(0)
    assert late(limits.BODY_RATE / 2)
    assert not late(limits.BODY_RATE * 2)
    assert not late(0, held=True)


def test_a_head_is_late_from_its_first_byte_on():
    deadlines = Deadlines(0.0)
    assert not deadlines.head_is_late(1000.0)
    deadlines.received(1000.0, in_head=True)
    deadlines.received(1010.0, in_head=True)
    assert deadlines.head_is_late(1001.0 + limits.HEAD_SECONDS)
    deadlines.received(1011.0, in_head=False)
    assert not deadlines.head_is_late(2000.0)


@pytest.mark.parametrize("limit, room", [(65_536, 65_024), (1024, 512), (256, 128), (1, 1)])
def test_connections_leave_descriptors_for_everything_else(limit, room):
    assert free_descriptors(limit) == room


# ---- the log ------------------------------------------------------------------------------------


def line(message, *args, number=1):
    return logging.LogRecord("mirror.part", logging.WARNING, "part.py", number, message, args, None)


def test_a_flood_of_one_kind_is_left_out_and_counted_and_others_are_not():
    now = [0.0]
    flood = Flood(lambda: now[0])
    written = [flood.filter(line("a thing path=%s", n)) for n in range(1000)]
    assert sum(written) == LINES
    assert flood.filter(line("another", number=2))
    now[0] = SECONDS
    last = line("a thing path=%s", "x")
    assert flood.filter(last)
    assert f"left_out={1000 - LINES}" in KeyValue().format(last)


@given(st.text() | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
@settings(max_examples=120, deadline=None)
def test_a_line_has_nothing_that_moves_a_cursor_and_can_be_written(value):
    for form in (KeyValue(), Json()):
        text = form.format(line("a thing path=%s", value))
        assert text.isprintable()
        text.encode("utf-8")


def test_a_line_is_no_longer_than_it_must_be():
    for form in (KeyValue(), Json()):
        assert len(form.format(line("a thing path=%s", "x" * MIB))) < 3000
