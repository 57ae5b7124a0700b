"""Whatever arrives: one clear error in JSOC's manner, nothing lost, and the server stays up."""

from __future__ import annotations

import asyncio
import io
import socket

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.wire.params import encode_params
from tests.lab import AJAX, JSOC_INFO, lab
from tests.waiting import PATIENCE

#: One mirror takes it all.
pytestmark = pytest.mark.asyncio(loop_scope="module")

MEGABYTE = 2**20
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mirror(tmp_path_factory):
    async with lab(tmp_path_factory.mktemp("store")) as made:
        yield made


def error(answer):
    """The message of an answer that is one error in JSOC's manner."""
    assert answer.code == 200
    told = answer.json
    assert told.keys() == {"status", "error"}, told
    assert told["status"] == 1
    assert "see the mirror's log" not in told["error"], "an error that nobody foresaw"
    return told["error"]


async def alive(mirror):
    return len(await mirror.recnums("hmi.v_45s[2014.01.01_TAI/90s]")) == 2


# ---- wrong requests -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params, words",
    [
        ({}, ["op is missing", "series_struct"]),
        ({"op": "rs_lost", "ds": "hmi.v_45s"}, ["'rs_lost'", "rs_list"]),
        ({"op": "rs_list"}, ["ds is missing"]),
        ({"op": "rs_list", "ds": "hmi.nosuch[1]"}, ["hmi.nosuch", "not found"]),
        ({"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI"}, ["^"]),
        ({"op": "rs_list", "ds": "hmi.v_45s[NOSUCH=3]"}, ["NOSUCH", "T_REC, CAMERA"]),
        ({"op": "rs_list", "ds": "hmi.v_45s[yesterday]"}, ["^"]),
        ({"op": "rs_list", "ds": "hmi.v_45s[? bogus = 1 ?]"}, ["bogus"]),
        ({"op": "rs_list", "ds": "hmi.v_45s[? 1=1; drop table x ?]"}, ["^"]),
        ({"op": "rs_list", "ds": "hmi.v_45s[? pg_sleep(10) ?]"}, ["pg_sleep"]),
        ({"op": "rs_list", "ds": "hmi.v_45s[? QUALITY in (select recnum from hmi.m_45s) ?]"}, ["subselect"]),
        ({"op": "rs_list", "ds": "hmi.v_45s[? QUALITY = 0 -- ?]"}, ["^"]),
        ({"op": "rs_list", "ds": "hmi.v_45s[1][2][3]"}, ["more values than prime keys"]),
        ({"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI/1d@1s]"}, ["comes to 0"]),
        ({"op": "series_struct", "ds": "hmi.nosuch"}, ["hmi.nosuch"]),
        ({"op": "rs_summary", "ds": "hmi.v_45s["}, ["^"]),
    ],
)
async def test_a_wrong_request_is_an_error_that_says_what_was_expected(mirror, params, words):
    await mirror.ask("hmi.v_45s[2014.01.01_TAI/1h]")
    message = error(await mirror.get(JSOC_INFO, params))
    assert all(word in message for word in words), message


@pytest.mark.parametrize("program", ["jsoc_info", "show_info"])
@pytest.mark.parametrize("ds", ["", "[", "]", "hmi", ".", "hmi.", ",", "hmi.v_45s,", "{}", "\x7f", "é.ü"])
async def test_what_names_no_series_is_an_error_of_every_program(mirror, program, ds):
    params = {"op": "rs_list", "ds": ds, "key": "T_REC"}
    answer = await mirror.get(AJAX + program, params)
    if program == "show_info":  # its answers are text, and so are its errors
        assert answer.code == 200
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.body.startswith(b"### show_info") or ds == "hmi.v_45s,", answer.body
    elif ds != "hmi.v_45s,":  # a trailing comma is passed over
        error(answer)
    assert await alive(mirror)


async def test_unknown_names_of_keywords_are_answered_and_not_an_error(mirror):
    told = (await mirror.ask("hmi.v_45s[2014.01.01_TAI]", "NOSUCH", seg="nosuch", link="nosuch")).told
    assert told["keywords"][0]["values"] == ["Invalid KeyLink"]
    assert told["segments"][0]["values"] == ["InvalidSegName"]
    assert told["links"][0]["values"] == ["Invalid_Link"]


@pytest.mark.parametrize(
    "ds",
    [
        "hmi.v_45s[0001.01.01-9999.12.31]",
        "hmi.v_45s[1970.01.01_TAI/100000000000d]",
        "hmi.v_45s[1970.01.01_TAI-2100.01.01_TAI@1h]",
        "hmi.v_45s[#-99999999999999999999-#99999999999999999999]",
        "hmi.v_45s[#1-#9223372036854775807]",
        "hmi.v_45s[#9223372036854775807]",
        "hmi.v_45s[:#1-#9223372036854775807]",
        "hmi.v_45s[:#99999999999999999999999]",
        "hmi.v_45s[2014.01.01_TAI/1e300d]",
        "hmi.v_45s[2014.01.01_TAI][99999999999999999999]",
        "hmi.v_45s[2014.01.02_TAI-2014.01.01_TAI]",
        "hmi.v_45s[#20-#10]",
        "hmi.v_45s[? QUALITY = 99999999999999999999999999999999 ?]",
        "hmi.v_45s[? DATAMEAN > 1e999 ?]",
        "aia.lev1_euv_12s[2014.01.01/1d][10-5]",
        "su_test.nokeyidx[0001.01.01-9999.12.31]",
        "su_test.carr[#-1000000-#1000000]",
    ],
)
async def test_absurd_ranges_are_answered_as_by_jsoc_or_refused(mirror, ds):
    expected = await mirror.session.get(
        mirror.simulator.make_url(JSOC_INFO), params={"op": "rs_list", "ds": ds, "key": "*recnum*"}
    )
    told = await expected.json(content_type=None)
    answer = await mirror.ask(ds)
    if told["status"] == 0:
        del told["runtime"]
        assert answer.told == told
    else:
        error(answer)
    assert await alive(mirror)


# ---- large requests -----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_ten_thousand_names_of_keywords_are_answered(mirror, method):
    names = [f"KEY{n}" for n in range(9_999)] + ["T_REC"]
    params = {"op": "rs_list", "ds": "hmi.v_45s[2014.01.01_TAI]", "key": ",".join(names)}
    if method == "GET":
        answer = await mirror.get(JSOC_INFO, params)
    else:
        answer = await mirror.request("POST", JSOC_INFO, data=params)
    keywords = answer.told["keywords"]
    assert [k["name"] for k in keywords] == names
    assert keywords[0]["values"] == ["Invalid KeyLink"]
    assert keywords[-1]["values"] == ["2014.01.01_00:00:00_TAI"]


def post(mirror, params):
    """A form of any size."""
    return mirror.request("POST", JSOC_INFO, data=io.BytesIO(encode_params(params).encode()), headers=FORM)


LARGE = {
    "values": "hmi.v_45s[" + "1," * (MEGABYTE // 2) + "1]",
    "times": "hmi.v_45s[" + "2014.01.01_TAI," * (MEGABYTE // 15) + "2014.01.01_TAI]",
    "integers": "aia.lev1_euv_12s[2014.01.01][" + "171," * (MEGABYTE // 4) + "171]",
    "strings": "su_test.zoo[" + "alpha," * (MEGABYTE // 6) + "beta]",
    "numbers": "hmi.v_45s[:" + "#5," * (MEGABYTE // 3) + "#5]",
    "brackets": "hmi.v_45s" + "[]" * (MEGABYTE // 2),
    "sets": "hmi.v_45s," * (MEGABYTE // 10) + "hmi.v_45s",
    "open": "hmi.v_45s" + "[" * MEGABYTE,
    "nested": "hmi.v_45s[? " + "(" * (MEGABYTE // 2) + ")" * (MEGABYTE // 2) + " ?]",
    "negations": "hmi.v_45s[? " + "NOT " * (MEGABYTE // 4) + "QUALITY = 0 ?]",
    "conditions": "hmi.v_45s[? " + "QUALITY = 0 AND " * (MEGABYTE // 16) + "QUALITY = 0 ?]",
    "sum": "hmi.v_45s[? QUALITY = " + "1+" * (MEGABYTE // 2) + "1 ?]",
    "text": "hmi.v_45s[? CODEVER3 = '" + "x" * MEGABYTE + "' ?]",
    "list": "hmi.v_45s[? QUALITY in (" + "1," * (MEGABYTE // 2) + "1) ?]",
    "name": "x" * MEGABYTE + "." + "y" * 10,
    "blanks": "hmi.v_45s[" + " " * MEGABYTE + "]",
}


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_query_of_a_megabyte_is_answered_in_time(mirror, method):
    for kind, ds in LARGE.items():
        params = {"op": "rs_list", "ds": ds, "key": "*recnum*", "n": "2"}
        request = mirror.get(JSOC_INFO, params) if method == "GET" else post(mirror, params)
        answer = await asyncio.wait_for(request, PATIENCE)
        if method == "GET":
            assert answer.code == 414, kind
            continue
        assert answer.json["status"] == 0 or len(error(answer)) < 2_000, kind
    assert await alive(mirror)


async def test_long_lists_are_answered_as_by_jsoc(mirror):
    lists = [
        "hmi.v_45s[" + ",".join(f"#{14726400 + 2 * i}" for i in range(3000)) + "]",
        "aia.lev1_euv_12s[2014.01.01/1m][" + ",".join(map(str, range(1000))) + "]",
        "hmi.v_45s[2014.01.01_TAI/1h][? " + "QUALITY = 0 OR " * 2000 + "QUALITY = 0 ?]",
    ]
    for ds in lists:
        answer = await post(mirror, {"op": "rs_list", "ds": ds, "key": "*recnum*"})
        form = encode_params({"op": "rs_list", "ds": ds, "key": "*recnum*"}).encode()
        direct = await mirror.session.post(
            mirror.simulator.make_url(JSOC_INFO), data=io.BytesIO(form), headers=FORM
        )
        assert answer.json["count"] == (await direct.json(content_type=None))["count"] > 0


async def test_a_request_beyond_all_measure_is_refused(mirror):
    huge = "x" * (5 * MEGABYTE)
    answer = await post(mirror, {"op": "rs_list", "ds": huge})
    assert 400 <= answer.code < 500 or error(answer)
    assert await alive(mirror)


# ---- strange bytes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "op=rs_list&ds=hmi.v_45s%00[2014.01.01_TAI]&key=T_REC",
        "op=rs_list&ds=hmi.v_45s%5B%00%5D&key=T_REC",
        "op=rs_list&ds=hmi.v_45s[%E9%FF%80]&key=T_REC",
        "op=rs_list&ds=%C3%A9&key=T_REC",
        "op=rs_list&ds=hmi.v_45s[2014.01.01_TAI]&key=%00",
        "op=rs_list&ds=hmi.v_45s[2014.01.01_TAI]&key=%FF%FE,T_REC",
        "op=rs_list&ds=hmi.v_45s[?%20CODEVER3%20=%20'%FF'%20?]&key=T_REC",
        "op=rs_list&ds=hmi.v_45s[2014.01.01_TAI]&key=T_REC&n=%FF",
        "op=rs_list&ds=su_test.zoo[%1F]&key=*recnum*",
        "op=%00rs_list&ds=hmi.v_45s",
        "%00",
        "&&==&=;%%%",
        "op=rs_list&op=rs_summary&ds=a&ds=hmi.v_45s[2014.01.01_TAI]",
    ],
)
async def test_bytes_that_mean_nothing_are_answered_once(mirror, query):
    answer = await mirror.get(JSOC_INFO, query)
    assert answer.code == 200
    assert answer.json["status"] in (0, 1)
    if answer.json["status"]:
        error(answer)
    posted = await mirror.request("POST", JSOC_INFO, data=query.encode(), headers=FORM)
    assert posted.told == answer.told


@pytest.mark.parametrize(
    "body, kind",
    [
        (b"\x00\xff", "application/json"),
        (b"{}", "application/json"),
        (b"", "multipart/form-data"),
        (b"--x\r\n", "multipart/form-data; boundary=x"),
        (b"\x00" * 1000, "application/x-www-form-urlencoded"),
        (b"op=rs_list", "text/\xe9".encode("latin-1").decode("latin-1")),
    ],
)
async def test_bodies_that_are_no_form_are_errors(mirror, body, kind):
    error(await mirror.request("POST", JSOC_INFO, data=body, headers={"Content-Type": kind}))


@pytest.mark.parametrize("path", ["show_series", "showextseries"])
async def test_filters_that_are_no_patterns_are_errors_or_find_nothing(mirror, path):
    for pattern in ("(", "[", "*", "a{99999}", "(a+)+$", "%00", "\\", "x" * 10_000):
        answer = await mirror.get(AJAX + path, {"filter": pattern})
        assert answer.code == 200, pattern
        assert isinstance(answer.json, dict), pattern
    assert await alive(mirror)


@pytest.mark.parametrize(
    "line",
    [b"GET", b"\x00\x00\x00", b"GET /\xff\xfe HTTP/1.1", b"GET http:// HTTP/1.1", b"BREW / HTTP/1.1", b"GET / HTTP/9.9",
     b"GET /cgi-bin/ajax/jsoc_info?ds=\xe9\xff&op=rs_list HTTP/1.1", b"GET * HTTP/1.1", b"GET //x/../.. HTTP/1.1",
     b"GET /%00 HTTP/1.1", b"\x16\x03\x01\x02\x00\x01\x00"],
)  # fmt: skip
async def test_lines_that_are_no_http_do_no_harm(mirror, line):
    reply = await asyncio.to_thread(
        raw, mirror.server.port, line + b"\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    assert not reply or reply.startswith(b"HTTP/1.")
    assert not reply or not reply.startswith(b"HTTP/1.1 5") or b"HTTP/1.1 505" in reply or b" 501 " in reply
    assert await alive(mirror)


def raw(port, data):
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        reply = b""
        while piece := connection.recv(65536):
            reply += piece
        return reply


# ---- chance -------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    ["hmi.v_45s", "su_test.zoo", "[", "]", "[?", "?]", "[!", "!]", "[:#", "#", "$", "^", "@", "/", "-", ",", "{", "}", "'",
     '"', "2014.01.01_TAI", "1h", "QUALITY", "=", "0", "AND", "(", ")", " ", "%", "*", "\x00", "\xff", "NaN", "T_REC", "1e999"]
)  # fmt: skip
QUERIES = st.lists(PIECES, max_size=14).map("".join) | st.text(st.characters(max_codepoint=255), max_size=40)
PARAMS = st.fixed_dictionaries(
    {"op": st.sampled_from(["rs_list", "rs_summary", "series_struct"]), "ds": QUERIES},
    optional={
        "key": QUERIES,
        "seg": QUERIES,
        "n": QUERIES,
        "R": st.sampled_from(["1", "0", ""]),
        "link": QUERIES,
    },
)


async def test_chance_gets_an_answer_or_one_error(mirror):
    for params in draw(PARAMS, 300):
        judged(await mirror.get(JSOC_INFO, params), params)
    for data in draw(st.binary(max_size=80), 150):
        judged(await mirror.request("POST", JSOC_INFO, data=data, headers=FORM), data)
    assert await alive(mirror)


def judged(answer, given_):
    assert answer.code == 200, given_
    told = answer.json
    if told["status"] != 0:
        assert told.keys() == {"status", "error"}, given_
        assert told["error"].strip(), given_
        assert "see the mirror's log" not in told["error"], given_


def draw(strategy, count):
    """Examples of a strategy, the same in every run: hypothesis cannot await."""
    found = []

    @settings(max_examples=count, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(example):
        found.append(example)

    collect()
    return found


@pytest.mark.parametrize(
    "method, path, expected",
    [
        ("POST", "/api/search", "GET"), ("PATCH", "/api/search", "GET"), ("PUT", "/api/jobs/x", "DELETE, GET"), ("GET", "/api/fill", "POST"),
        ("DELETE", "/jobs", "GET"), ("POST", "/healthz", "GET"), ("POST", "/fits/hmi.v_45s", "GET"), ("PUT", "/login", "GET, POST"),
    ],
)  # fmt: skip
async def test_another_method_than_a_path_of_ours_has_is_told_which_it_has(mirror, method, path, expected):
    answer = await mirror.request(method, path)
    assert (answer.code, answer.json) == (405, {"error": f"{method} is no method of {path}; expected {expected}"})
    assert set(expected.split(", ")) <= set(answer.headers["Allow"].split(", "))


async def test_a_path_of_ours_that_is_not_there_is_not_found(mirror):
    answer = await mirror.request("POST", "/api/nothing")
    assert (answer.code, answer.json["error"]) == (404, "not found: POST /api/nothing in this mirror")
